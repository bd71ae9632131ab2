"""The pictures of a forecast: some of its windows, and how its error grows with the steps ahead."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from danlu.data.series import Origins, SeriesTable, Windows
from danlu.evaluate.forecast import Forecasts, by_step
from danlu.evaluate.intervals import figure
from danlu.prose import percent
from danlu.report.svg import BLUE, GREY, INK, ORANGE, Panel, short

if TYPE_CHECKING:
    from danlu.trained import Trained

__all__ = ["Drawn", "coming_of", "examples_of", "forecast_sections", "step_plot", "window_plot"]

_DRAWN = 3  # columns, or series, that are drawn


@dataclasses.dataclass(frozen=True, eq=False)
class Drawn:
    """One forecast to draw.

    Attributes:
        title: what is forecast, and which forecast it is.
        times: ``(past + horizon,)`` date-times or whole numbers.
        past: ``(past,)`` the values before the forecast.
        prediction: ``(horizon,)``.
        truth: ``(horizon,)``, or None where it has not come yet.
        band: ``(horizon, 2)``, low and high, or None.
    """

    title: str
    times: np.ndarray
    past: np.ndarray
    prediction: np.ndarray
    truth: np.ndarray | None = None
    band: np.ndarray | None = None


def examples_of(windows: Windows, found: Forecasts) -> list[Drawn]:
    """The test forecasts of the first columns with the median and with the largest error."""
    errors, drawn = np.square(found.prediction - found.truth).mean(axis=1), []
    for channel in range(min(windows.targets, _DRAWN)):
        order = np.argsort(errors[:, channel], kind="stable")
        for place, which in ((order[len(order) // 2], "a middling forecast"), (order[-1], "the worst")):
            bands = None if found.bands is None else found.bands[place]
            one = _drawn(windows, place, channel, which, found.prediction[place], bands)
            drawn.append(dataclasses.replace(one, truth=found.truth[place, :, channel]))
    return drawn


def coming_of(trained: Trained, table: SeriesTable) -> list[Drawn]:
    """The forecast of the steps after the last row, of the first columns of the first series that allow one."""
    encoder = trained.encoder
    targets = len(encoder.columns.targets)
    able = [(number, each.steps) for number, each in enumerate(table.series) if encoder.lacking(each) is None]
    if not able:
        return []
    windows = encoder.transform(Origins(table, np.array(able[: max(_DRAWN // targets, 1)])))
    answers = trained.answer(windows)
    return [
        _drawn(windows, place, channel, "", answer[..., 0], answer[..., 1:] if answer.shape[-1] > 1 else None)
        for place, answer in enumerate(answers)
        for channel in range(min(targets, _DRAWN))
    ]


def _drawn(
    windows: Windows, place: int, channel: int, which: str, prediction: np.ndarray, bands: np.ndarray | None
) -> Drawn:
    """A window's forecast ``(horizon, targets)`` of one column, with the quantiles ``(horizon, targets, quantiles)``."""
    number, step = (int(each) for each in windows.index[place])
    one, table, horizon = windows.table.series[number], windows.table, windows.horizon
    first = max(0, step - min(windows.context, 2 * horizon + 8))
    name = short(table.columns.targets[channel]) + (f", {short(one.name)}" if one.name else "")
    times = table.calendar.times(one.start + np.arange(first, step + horizon)).to_numpy()
    band = None if bands is None else bands[:, channel][:, [0, -1]]
    title = name + (f": {which}" if which else "")
    return Drawn(title, times, one.values[first:step, channel], prediction[:, channel], band=band)


def window_plot(drawn: Drawn) -> str:
    """One forecast over its dates: the values before it, the true values, the forecast, and the interval."""
    import matplotlib.dates as dates

    before, after = drawn.times[: len(drawn.past)], drawn.times[len(drawn.past) :]
    with Panel(drawn.title) as (panel, axes):
        seen = drawn.past if drawn.truth is None else [*drawn.past, *drawn.truth]
        axes.plot(
            drawn.times[: len(seen)], seen, color=INK, lw=1.1, label="so far" if drawn.truth is None else "what came"
        )
        if len(before):
            axes.axvline(before[-1], color=GREY, lw=1, ls=":")
        if drawn.band is not None:
            axes.fill_between(after, drawn.band[:, 0], drawn.band[:, 1], color=BLUE, alpha=0.2, lw=0, label="interval")
        axes.plot(
            after, drawn.prediction, color=ORANGE, lw=1.6, marker="o" if len(after) < 3 else "", ms=3, label="forecast"
        )
        axes.margins(y=0.2)  # room for the legend
        axes.legend(fontsize=7, loc="upper left", ncols=3, columnspacing=1, handlelength=1.2)
        if drawn.times.dtype.kind == "M":
            where = dates.AutoDateLocator(minticks=3, maxticks=5)
            axes.xaxis.set_major_locator(where)
            axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(where))
        else:
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.set(xlabel="step")
    return panel.svg


def step_plot(forecasts: Forecasts, name: str, label: str, *, level: float | None = None) -> str:
    """A measure at each step ahead; ``level`` is the value that it should have."""
    values = by_step(forecasts, name)
    with Panel(label) as (panel, axes):
        axes.plot(np.arange(1, len(values) + 1), values, color=BLUE, marker="o" if len(values) < 3 else "", ms=4)
        if level is not None:
            axes.axhline(level, color=GREY, lw=1, ls=":")
        axes.set(xlabel="steps ahead")
        axes.set_ylim(bottom=0, top=1.02 if level is not None else None)
    return panel.svg


def forecast_sections(
    forecasts: Forecasts,
    names: tuple[str, ...],
    examples: Sequence[Drawn],
    coming: Sequence[Drawn],
    *,
    lacking: str = "",
    said: str = "",
) -> list[tuple[str, str]]:
    """The report's sections of a forecast.

    Args:
        forecasts: of the test windows.
        names: of the columns.
        examples: some of them.
        coming: forecasts of the steps after the data's last one.
        lacking: why there are none.
        said: what is to be said about the interval.

    Returns:
        Titles and HTML.
    """
    levels = forecasts.levels
    share = levels[-1] - levels[0] if len(levels) > 1 else 0.0
    sections = []
    if coming:
        text = (
            f"The steps after the last row; the interval should contain {percent(share)} of the values."
            if share
            else ""
        )
        sections.append(("What comes next", f"<p>{text}</p>" + _figures([window_plot(each) for each in coming])))
    elif lacking:
        sections.append(("What comes next", f"<p>{html.escape(lacking)}</p>"))
    text = "The test forecasts with the median and with the largest error." + (f" {said}" if said else "")
    sections.append(("Forecasts", f"<p>{html.escape(text)}</p>" + _figures([window_plot(each) for each in examples])))
    steps = [
        step_plot(forecasts, "mse", "MSE (standardised) by step"),
        step_plot(forecasts, "scaled_mae", "MAE (standardised) by step"),
    ]
    if share:
        steps.append(step_plot(forecasts, "coverage", "Coverage of the interval by step", level=share))
    sections.append(("How far ahead", _figures(steps)))
    sections.append(("Each column", _table(forecasts, names)))
    return sections


def _figures(figures: list[str]) -> str:
    return '<div class="figures">' + "".join(f"<div>{figure}</div>" for figure in figures) + "</div>"


def _table(forecasts: Forecasts, names: tuple[str, ...]) -> str:
    """RMSE and MAE of each column in its own unit."""
    error = forecasts.prediction - forecasts.truth
    rmse, mae = np.sqrt(np.square(error).mean(axis=(0, 1))), np.abs(error).mean(axis=(0, 1))
    mse = forecasts.errors("mse").mean(axis=(0, 1))
    rows = "".join(
        f'<tr><td translate="no">{html.escape(name)}</td><td class="n">{figure(rmse[i])}</td><td class="n">{figure(mae[i])}</td>'
        f'<td class="n">{figure(mse[i])}</td></tr>'
        for i, name in enumerate(names)
    )
    head = '<tr><th></th><th class="n">RMSE</th><th class="n">MAE</th><th class="n">MSE (standardised)</th></tr>'
    return f'<p>RMSE and MAE in the column\'s own unit.</p><div class="scroll"><table>{head}{rows}</table></div>'
