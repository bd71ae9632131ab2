"""Forecasts of a table's windows: what is foretold, what it is worth, and how it is shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import polars as pl

from danlu.data.series import SeriesEncoder, SeriesTable, Windows
from danlu.evaluate import Interval, compare
from danlu.evaluate.forecast import (
    Forecasts,
    coverage_verdict,
    naive_forecast,
    ridge_forecast,
    ridge_weights,
)
from danlu.pipeline.judge import Judgement
from danlu.report.forecasts import Drawn
from danlu.report.svg import short
from danlu.tasks.forecast import ForecastModel

__all__ = [
    "coming_of",
    "examples_of",
    "forecast_frame",
    "forecasts_of",
    "held",
    "judge_forecasts",
    "listed",
    "places_of",
    "windows_at",
]

_DRAWN = 3  # columns, or series, that are drawn
_NUMBERS = 2e7  # that are forecast at most in a test: origins are left out evenly beyond it


def windows_at(table: SeriesTable, encoder: SeriesEncoder, index: np.ndarray) -> Windows:
    """The windows whose places ``index`` names: ``(windows, 2)``, the number of a series and the step that its forecast begins with."""
    columns = encoder.columns
    return Windows(
        encoder.transform(table), encoder.context, encoder.horizon, len(columns.targets), len(columns.known), index
    )


def places_of(encoder: SeriesEncoder, table: SeriesTable, windows: Windows) -> np.ndarray:
    """The number of each window's series in the encoder."""
    of_series = np.array([encoder.place(each.name) for each in table.series])
    found: np.ndarray = of_series[windows.index[:, 0]]
    return found


def forecasts_of(trained: ForecastModel, table: SeriesTable, windows: Windows) -> tuple[Forecasts, Windows]:
    """The network's forecasts of windows, or of as many as can be measured in seconds."""
    numbers = len(windows) * windows.horizon * windows.targets
    apart = int(np.ceil(numbers / _NUMBERS))
    windows = windows.take(np.arange(0, len(windows), apart)) if apart > 1 else windows
    places = places_of(trained.encoder, table, windows)
    prediction, bands = trained.forecast(windows, places)
    truth = trained.encoder.inverse(windows.outputs(), places)
    starts = np.array([each.start for each in table.series])
    found = Forecasts(
        truth,
        prediction,
        trained.encoder.scale[places, : windows.targets],
        trained.naive[places],
        starts[windows.index[:, 0]] + windows.index[:, 1],
        trained.levels,
        bands if trained.levels else None,
    )
    return found, windows


def judge_forecasts(
    trained: ForecastModel, table: SeriesTable, windows: Windows, known: Windows | None, *, simple: bool, **options: Any
) -> Judgement:
    """The scores beside the naive forecasts and, where there are windows to learn it from, ridge regression."""
    every = len(windows)
    ours, windows = forecasts_of(trained, table, windows)
    others, comparisons = {}, []
    for label, prediction in _simple(trained, table, windows, known) if simple else ():
        theirs = dataclasses.replace(ours, prediction=prediction, levels=(), bands=None)
        others[label] = theirs.scores(**options)
        # What follows the series is no constant answer, even of a series that stands still.
        comparisons.append(compare(ours, theirs, label, constant=False, **options))
    apart = -(-every // len(windows))
    rolling = "each step" if apart == 1 else f"each {apart}th step"
    rows = np.arange(0, len(windows), max(1, windows.horizon // apart))
    bands = np.zeros((*ours.truth.shape, 0)) if ours.bands is None else ours.bands
    shown = forecast_frame(trained, table, windows.take(rows), ours.prediction[rows], bands[rows], truth=True)
    scores = ours.scores(**options)
    return Judgement(
        scores,
        others=others,
        comparisons=tuple(comparisons),
        tested=f"{len(windows):,} forecasts, from {rolling}",
        predictions=shown,
        notes=(said,) if (said := held(scores, trained)) else (),
    )


def held(scores: Mapping[str, Interval], trained: ForecastModel) -> str:
    """Whether the interval holds as much of what comes as it is to; empty for a forecast without one."""
    if "coverage" not in scores or len(trained.levels) < 2:
        return ""
    return coverage_verdict(scores["coverage"], trained.levels[-1] - trained.levels[0])


def examples_of(trained: ForecastModel, table: SeriesTable, windows: Windows, found: Forecasts) -> list[Drawn]:
    """Of the test's forecasts of the first columns, the one with the middle error and the worst."""
    errors, drawn = np.square(found.prediction - found.truth).mean(axis=1), []
    for channel in range(min(windows.targets, _DRAWN)):
        order = np.argsort(errors[:, channel], kind="stable")
        for place, which in ((order[len(order) // 2], "a middling forecast"), (order[-1], "the worst")):
            number, step = (int(each) for each in windows.index[place])
            band = None if found.bands is None else found.bands[place, :, channel][:, [0, -1]]
            drawn.append(
                _drawn(trained, table, number, step, channel, which, found.prediction[place, :, channel], band)
            )
            drawn[-1] = dataclasses.replace(drawn[-1], truth=found.truth[place, :, channel])
    return drawn


def coming_of(trained: ForecastModel, table: SeriesTable) -> list[Drawn]:
    """The forecast of the steps after the last row, of the first columns of the first series that allow one."""
    encoder = trained.encoder
    able = [
        (number, each.steps)
        for number, each in enumerate(table.series)
        if each.steps >= encoder.context
        and (not encoder.columns.known or len(each.values) >= each.steps + encoder.horizon)
    ]
    targets = len(encoder.columns.targets)
    chosen = able[: max(_DRAWN // targets, 1)]
    if not chosen:
        return []
    windows = windows_at(table, encoder, np.array(chosen))
    prediction, bands = trained.forecast(windows, places_of(encoder, table, windows))
    drawn = []
    for place, (number, step) in enumerate(chosen):
        for channel in range(min(targets, _DRAWN)):
            band = bands[place, :, channel][:, [0, -1]] if trained.levels else None
            one = _drawn(trained, table, number, step, channel, "", prediction[place, :, channel], band)
            drawn.append(one)
    return drawn


def _drawn(
    trained: ForecastModel,
    table: SeriesTable,
    number: int,
    step: int,
    channel: int,
    which: str,
    prediction: np.ndarray,
    band: np.ndarray | None,
) -> Drawn:
    one, horizon = table.series[number], trained.encoder.horizon
    first = max(0, step - min(trained.encoder.context, 2 * horizon + 8))
    column = trained.encoder.columns.targets[channel]
    name = short(column) + (f", {short(one.name)}" if one.name else "") + (f": {which}" if which else "")
    times = table.calendar.times(one.start + np.arange(first, step + horizon)).to_numpy()
    return Drawn(name, times, one.values[first:step, channel], prediction, band=band)


def _simple(
    trained: ForecastModel, table: SeriesTable, windows: Windows, known: Windows | None
) -> Iterable[tuple[str, np.ndarray]]:
    """What a forecast has to beat, in the targets' own units, on the same windows."""
    inputs, places = windows.inputs(), places_of(trained.encoder, table, windows)
    past = (inputs["past"] if isinstance(inputs, Mapping) else inputs)[:, :, : windows.targets]
    scaled = {"the last value": naive_forecast(past, windows.horizon)}
    if 1 < trained.season <= windows.context:
        scaled["the last season"] = naive_forecast(past, windows.horizon, trained.season)
    if known is not None:
        (weights,) = ridge_weights(known, targets=windows.targets)
        scaled["ridge regression"] = ridge_forecast(weights, past, targets=windows.targets)
    return [(label, trained.encoder.inverse(values, places)) for label, values in scaled.items()]


def forecast_frame(
    trained: ForecastModel,
    table: SeriesTable,
    windows: Windows,
    prediction: np.ndarray,
    bands: np.ndarray,
    *,
    truth: bool = False,
) -> pl.DataFrame:
    """A row a window, column and step."""
    columns, horizon = trained.encoder.columns, windows.horizon
    count, targets = len(windows), len(columns.targets)
    starts = np.array([each.start for each in table.series])
    steps = (starts[windows.index[:, 0]] + windows.index[:, 1])[:, None, None] + np.arange(horizon)
    each = np.broadcast_to(steps, (count, targets, horizon))
    flat = {columns.time: trained.encoder.calendar.times(each.ravel())}
    if columns.series:
        names = np.array([one.name for one in table.series])[windows.index[:, 0]]
        flat = {columns.series: pl.Series(np.repeat(names, targets * horizon)), **flat}
    if targets > 1:
        flat["column"] = pl.Series(np.tile(np.repeat(np.array(columns.targets), horizon), count))
    if truth:
        values = trained.encoder.inverse(windows.outputs(), places_of(trained.encoder, table, windows))
        flat["truth"] = pl.Series(values.swapaxes(1, 2).ravel())
    flat["forecast"] = pl.Series(prediction.swapaxes(1, 2).ravel())
    if bands.shape[-1]:
        flat["low"] = pl.Series(bands[..., 0].swapaxes(1, 2).ravel())
        flat["high"] = pl.Series(bands[..., -1].swapaxes(1, 2).ravel())
    return pl.DataFrame(flat)


def listed(names: tuple[str, ...]) -> str:
    """Names with commas between them, the first six of many."""
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
