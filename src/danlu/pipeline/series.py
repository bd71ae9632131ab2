"""Time series: forecasts of the next steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from danlu.artifact import Artifact, save_artifact
from danlu.data import read_table
from danlu.data.series import Columns, SeriesEncoder, SeriesTable, Windows, cut_by_time, find_season, read_series
from danlu.errors import ArtifactError, ConfigError, DataError, SchemaError, nearest
from danlu.evaluate.forecast import (
    Forecasts,
    compare_forecasts,
    forecast_scores,
    mase_scale,
    naive_forecast,
    ridge_forecast,
    ridge_weights,
)
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Domain, Prepared
from danlu.pipeline.judge import Judgement
from danlu.pipeline.model import Model, Say, warn
from danlu.tasks import Recipe
from danlu.tasks.forecast import ForecastLearned, ForecastModel, choose_context, forecast_recipe, learn_forecast

__all__ = ["PreparedSeries", "SeriesForecasts", "SeriesModel"]

_NUMBERS = 2e7  # that are forecast at most in a test: origins are left out evenly beyond it
_MOST_COLUMNS = 200  # whose autocorrelation is looked at


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PreparedSeries(Prepared):
    """Windows of the three parts, and what was learnt about the series.

    Attributes:
        table: the series.
        encoder: scales them, fitted to the training part.
        train, validation: windows to learn from, and to choose the best epoch by.
        test: windows that the result is measured on, or None.
        season: steps of a season, 1 without one.
        season_by: where it is from, in words.
        naive: ``(series, targets)``, see :class:`~danlu.tasks.forecast.ForecastModel`.
        tested: the series of the test windows: those of ``table``, or of a file of their own.
    """

    table: SeriesTable
    encoder: SeriesEncoder
    train: Windows
    validation: Windows
    test: Windows | None
    season: int
    season_by: str
    naive: np.ndarray
    tested: SeriesTable

    def lines(self) -> Iterable[str]:
        columns, encoder = self.table.columns, self.encoder
        many = f" of {len(self.table.series):,} series" if columns.series else ""
        season = f"a season of {self.season} steps ({self.season_by})" if self.season > 1 else "no season was found"
        return [
            f"forecast: {_listed(columns.targets)}{many}, {encoder.horizon} steps of {encoder.calendar} ahead from the last "
            f"{encoder.context}; {season}",
        ]


class SeriesForecasts(Domain):
    """Series on even steps, forecast some steps ahead."""

    kind = "series"

    def claims(self, config: TrainConfig, source: Any) -> bool:
        return bool(config.forecast.columns)

    def prepare(self, config: TrainConfig, source: Any) -> PreparedSeries:
        return _prepare(config, source)

    def plan(self, config: TrainConfig, prepared: PreparedSeries) -> Recipe:
        for name, value in (("members", config.model.members), ("depth", config.model.depth)):
            if value is not None:
                raise ConfigError(f"model.{name} is for tables; a forecaster has model.width hidden units, or none")
        loss = {} if config.trainer.loss == "auto" else {"loss": config.trainer.loss}
        network: dict[str, Any] = {"hidden": config.model.width, "dropout": config.model.dropout}
        network = {name: value for name, value in network.items() if value is not None}
        return forecast_recipe(prepared.train, network=network, **loss, **config.trainer.chosen())

    def learn(self, config: TrainConfig, prepared: PreparedSeries, plan: Recipe, **how: Any) -> Any:
        found: ForecastLearned = learn_forecast(
            prepared.train,
            encoder=prepared.encoder,
            plan=plan,
            validation=prepared.validation,
            series=[each.name for each in prepared.table.series],
            season=prepared.season,
            naive=prepared.naive,
            refit=config.forecast.refit,
            seed=config.trainer.seed,
            **how,
        )
        return found

    def judge(self, config: TrainConfig, prepared: PreparedSeries, trained: ForecastModel) -> Judgement | None:
        if prepared.test is None:
            return None
        known = _joined(prepared.train, prepared.validation) if config.evaluate.baselines else None
        options: Any = {"resamples": config.evaluate.resamples, "seed": config.trainer.seed}
        return _judged(trained, prepared.tested, prepared.test, known, simple=config.evaluate.baselines, **options)

    def save(
        self, folder: str | Path, trained: ForecastModel, *, metrics: Mapping[str, Any], provenance: Mapping[str, Any]
    ) -> None:
        encoder = trained.encoder
        save_artifact(
            folder,
            model=trained.network,
            variables=(trained.params, trained.state),
            task={"task": "forecast", "targets": list(encoder.columns.targets)},
            encoder={**encoder.to_json(), "season": trained.season},
            encoder_arrays={
                "mean": encoder.mean,
                "scale": encoder.scale,
                "naive": trained.naive,
                "widen": trained.widen,
            },
            metrics=metrics,
            provenance=provenance,
        )

    def load(self, artifact: Artifact) -> Model:
        arrays = artifact.encoder_arrays
        encoder = SeriesEncoder.from_state(artifact.encoder, arrays)
        season, naive, widen = artifact.encoder.get("season"), arrays.get("naive"), arrays.get("widen")
        network, targets = artifact.model, len(encoder.columns.targets)
        outputs = 1 + len(getattr(network, "quantiles", ()))
        if type(season) is not int or season < 1 or naive is None or naive.shape != (len(encoder.names), targets):
            raise ArtifactError("the saved season or errors of the series are not valid")
        if widen is None or widen.shape != (encoder.horizon,) or not (widen > 0).all():
            raise ArtifactError("the saved widths of the intervals are not valid")
        try:
            fits = network.out_shape(encoder.in_shape) == (encoder.horizon, targets, outputs)
        except (ConfigError, DataError):
            fits = False
        if not fits:
            raise ArtifactError("the saved network does not forecast the saved columns and steps")
        trained = ForecastModel(network, artifact.params, artifact.state, encoder, season, naive, widen)
        return self.model(trained, artifact.metrics, artifact.provenance)

    def model(self, trained: ForecastModel, metrics: Mapping[str, Any], provenance: Mapping[str, Any]) -> SeriesModel:
        return SeriesModel(trained, metrics, provenance)

    def report(self, prepared: PreparedSeries, trained: ForecastModel, judgement: Judgement | None) -> dict[str, Any]:
        facts = {
            "horizon": f"{trained.encoder.horizon} steps of {trained.encoder.calendar}",
            "context": f"{trained.encoder.context} steps",
            "season": f"{prepared.season} steps, {prepared.season_by}" if prepared.season > 1 else "none found",
        }
        fields = {"target": _listed(prepared.table.columns.targets), "task": "forecast", "facts": facts}
        if judgement is None or prepared.test is None:
            return fields
        from danlu.report.forecasts import forecast_sections

        names = prepared.table.columns.targets
        return fields | {"sections": forecast_sections(*_forecasts(trained, prepared.tested, prepared.test), names)}


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class SeriesModel(Model):
    """A model that forecasts series."""

    @property
    def purpose(self) -> str:
        encoder = self.predictor.encoder
        return f"forecast of {_listed(encoder.columns.targets)}, {encoder.horizon} steps of {encoder.calendar}"

    def predict(self, source: Any, *, lenient: bool = False, say: Say = warn) -> pl.DataFrame:
        """The steps after the last row of each series: a row a step, and a column's name where there are several.

        ``low`` and ``high`` are the lowest and highest quantile that the model forecasts (10 % and 90 %).

        Args:
            source: at least as many rows as the context is long; where the model uses known columns, and rows with them for the
                steps to come, in which the columns to forecast are empty.
            lenient: whether a series that was not there in training is scaled by its own rows, with a note, instead of refused.
            say: called with each notice.

        Raises:
            SchemaError: columns, steps or series that do not fit what the model was trained on.
        """
        trained, table = _new(self.predictor, source, lenient, say)
        encoder = trained.encoder
        short = [each for each in table.series if each.steps < encoder.context]
        if short:
            of = f" of series {short[0].name!r}" if short[0].name else ""
            raise SchemaError(
                f"the rows{of} are {short[0].steps:,} steps of {encoder.calendar}; a forecast is made from the last "
                f"{encoder.context}",
                hint="give the rows before them as well",
            )
        behind = [each for each in table.series if len(each.values) < each.steps + encoder.horizon]
        if encoder.columns.known and behind:
            of = f" of series {behind[0].name!r}" if behind[0].name else ""
            raise SchemaError(
                f"the rows{of} hold {len(behind[0].values) - behind[0].steps} steps after the last value of "
                f"{_listed(encoder.columns.targets)}; expected {encoder.horizon}, with {_listed(encoder.columns.known)}",
                hint="append a row for each step to come, in which the columns to forecast are empty",
            )
        index = np.array([[number, each.steps] for number, each in enumerate(table.series)])
        windows = _windows(table, encoder, index)
        return _frame(trained, table, windows, *trained.forecast(windows, _places(encoder, table, windows)))

    def evaluate(self, source: Any, *, lenient: bool = False, say: Say = warn, resamples: int = 1000) -> Judgement:
        trained, table = _new(self.predictor, source, lenient, say)
        encoder = trained.encoder
        values = encoder.transform(table)
        windows = Windows.find(table, values, context=encoder.context, horizon=encoder.horizon)
        if not len(windows):
            raise SchemaError(
                f"no series has {encoder.context + encoder.horizon:,} steps with values, which measuring a forecast of "
                f"{encoder.horizon} from {encoder.context} needs"
            )
        return _judged(trained, table, windows, None, simple=True, resamples=resamples)


def _prepare(config: TrainConfig, source: Any) -> PreparedSeries:
    settings, data = config.forecast, config.data
    if config.split.method not in ("stratified", "time"):
        raise ConfigError(f"split.method={config.split.method} is for tables; series are divided by time")
    if data.target:
        raise ConfigError(f"data.target is {data.target!r}; a forecast names its columns with forecast.columns")
    read = read_table(source, delimiter=data.delimiter, header={"yes": True, "no": False}.get(data.header, "auto"))
    read = dataclasses.replace(read, frame=read.frame.drop(data.drop, strict=False))
    names = {name: getattr(settings, name) for name in ("time", "observed", "known", "series")}
    table = read_series(read, settings.columns, **names)
    share = 0.0 if data.test is not None else config.split.test
    first, second = cut_by_time(table, config.split.validation, share)
    lengths = [max(0, min(each.steps, first - each.start)) for each in table.series]
    notices = list(table.notices)
    past = [
        each.values[:length, : len(table.columns.targets)] for each, length in zip(table.series, lengths, strict=True)
    ]
    season, season_by = settings.season or 0, "forecast.season"
    if not season:
        season = find_season([column for part in past for column in part.T][:_MOST_COLUMNS])
        season_by = "by the autocorrelation of the training part"
    horizon = settings.horizon
    context = settings.context or choose_context(int(np.median(lengths)), horizon, season)
    encoder = SeriesEncoder.fit(table, first, context=context, horizon=horizon)
    values, size = encoder.transform(table), {"context": context, "horizon": horizon}
    train = Windows.find(table, values, stop=first, **size)
    validation = Windows.find(table, values, start=first, stop=second, **size)
    test, tested = Windows.find(table, values, start=second, **size), table
    if data.test is not None:
        tested = read_series(data.test, table.columns, calendar=table.calendar)
        notices += [f"test: {notice}" for notice in tested.notices]
        test = Windows.find(tested, encoder.transform(tested), **size)
    need = f"a forecast of {horizon} steps from the {context} before"
    if not len(train):
        raise DataError(
            f"the training part has {max(lengths):,} steps, too few for {need}",
            hint="forecast fewer steps, or set forecast.context to fewer",
        )
    for name, part, asked in (("validation", validation, True), ("test", test, share > 0 or data.test is not None)):
        if asked and not len(part):
            raise DataError(
                f"no stretch of the {name} part has {horizon} steps with values, which {need} needs",
                hint=f"forecast fewer steps, or give it a larger share: split.{name}=0.3",
            )
    silent = len(table.series) - len(np.unique(train.index[:, 0]))
    if silent:
        notices.append(
            f"{silent:,} of {len(table.series):,} series are too short in the training part to be learnt from"
        )
    rows = {"train": sum(lengths), "validation": 0, "test": 0}
    rows["validation"] = sum(max(0, min(each.steps, second - each.start)) for each in table.series) - rows["train"]
    rows["test"] = len(tested) - (0 if tested is not table else rows["train"] + rows["validation"])
    moments = table.calendar.times(np.array([first, second]))
    split = f"by time: validation from {moments[0]}" + (f", test from {moments[1]}" if share > 0 else "")
    return PreparedSeries(
        rows=rows,
        split=split,
        notices=tuple(notices),
        table=table,
        encoder=encoder,
        train=train,
        validation=validation,
        test=test if len(test) else None,
        season=season,
        season_by=season_by,
        naive=np.stack([mase_scale(part, season) for part in past]),
        tested=tested,
    )


def _new(trained: ForecastModel, source: Any, lenient: bool, say: Say) -> tuple[ForecastModel, SeriesTable]:
    """New series, checked against those trained on, and the model that knows them all."""
    columns = trained.encoder.columns
    read = read_table(source)
    _check_columns(read.frame, columns)
    table = read_series(read, columns, calendar=trained.encoder.calendar)
    for notice in table.notices:
        say(notice)
    strange = [each for each in table.series if each.name not in trained.encoder.names]
    if not strange:
        return trained, table
    names = ", ".join(repr(each.name) for each in strange[:5]) + (", …" if len(strange) > 5 else "")
    if not lenient:
        raise SchemaError(
            f"{len(strange):,} series were not there in training: {names}",
            hint="leave them out, or have them scaled by their own rows with lenient=True (--lenient)",
        )
    say(f"series that were not there in training are scaled by their own rows: {names}")
    count = len(columns.targets)
    own = SeriesEncoder.fit(dataclasses.replace(table, series=tuple(strange)), 2**62, context=1, horizon=1)
    encoder = dataclasses.replace(
        trained.encoder,
        names=(*trained.encoder.names, *own.names),
        mean=np.concatenate([trained.encoder.mean, own.mean]),
        scale=np.concatenate([trained.encoder.scale, own.scale]),
    )
    more = [mase_scale(each.values[: each.steps, :count], trained.season) for each in strange]
    return dataclasses.replace(trained, encoder=encoder, naive=np.concatenate([trained.naive, np.stack(more)])), table


def _check_columns(frame: pl.DataFrame, columns: Columns) -> None:
    problems = []
    for name in (*columns.values, columns.time, *([columns.series] if columns.series else [])):
        if name not in frame.columns:
            close = nearest(name, [each for each in frame.columns if each not in columns.values])
            problems.append(
                f"column {name!r} is missing" + (f" (there is {close!r}; is it the same?)" if close else "")
            )
        elif name == columns.time and not (frame[name].dtype == pl.Datetime or frame[name].dtype.is_integer()):
            problems.append(f"column {name!r} holds {frame[name].dtype}; expected moments")
        elif name in columns.values and not (frame[name].dtype.is_numeric() or frame[name].dtype == pl.Boolean):
            problems.append(f"column {name!r} holds {frame[name].dtype}; expected numbers")
    if problems:
        raise SchemaError(
            "the data does not fit the data that the model was trained on:\n  - " + "\n  - ".join(problems)
        )


def _windows(table: SeriesTable, encoder: SeriesEncoder, index: np.ndarray) -> Windows:
    columns = encoder.columns
    return Windows(
        encoder.transform(table), encoder.context, encoder.horizon, len(columns.targets), len(columns.known), index
    )


def _places(encoder: SeriesEncoder, table: SeriesTable, windows: Windows) -> np.ndarray:
    """The number of each window's series in the encoder."""
    of_series = np.array([encoder.place(each.name) for each in table.series])
    found: np.ndarray = of_series[windows.index[:, 0]]
    return found


def _joined(one: Windows, other: Windows) -> Windows:
    return dataclasses.replace(one, index=np.concatenate([one.index, other.index]))


def _forecasts(trained: ForecastModel, table: SeriesTable, windows: Windows) -> tuple[Forecasts, Windows]:
    """The network's forecasts of windows, or of as many as can be measured in seconds."""
    numbers = len(windows) * windows.horizon * windows.targets
    apart = int(np.ceil(numbers / _NUMBERS))
    windows = windows.take(np.arange(0, len(windows), apart)) if apart > 1 else windows
    places = _places(trained.encoder, table, windows)
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


def _judged(
    trained: ForecastModel, table: SeriesTable, windows: Windows, known: Windows | None, *, simple: bool, **options: Any
) -> Judgement:
    """The scores beside the naive forecasts and, where there are windows to learn it from, ridge regression."""
    every = len(windows)
    ours, windows = _forecasts(trained, table, windows)
    others, comparisons = {}, []
    for label, prediction in _simple(trained, table, windows, known) if simple else ():
        theirs = dataclasses.replace(ours, prediction=prediction, levels=(), bands=None)
        others[label] = forecast_scores(theirs, **options)
        comparisons.append(compare_forecasts(ours, theirs, label, **options))
    apart = -(-every // len(windows))
    rolling = "each step" if apart == 1 else f"each {apart}th step"
    rows = np.arange(0, len(windows), max(1, windows.horizon // apart))
    bands = np.zeros((*ours.truth.shape, 0)) if ours.bands is None else ours.bands
    shown = _frame(trained, table, windows.take(rows), ours.prediction[rows], bands[rows], truth=True)
    return Judgement(
        forecast_scores(ours, **options),
        others=others,
        comparisons=tuple(comparisons),
        tested=f"{len(windows):,} forecasts, from {rolling}",
        predictions=shown,
    )


def _simple(
    trained: ForecastModel, table: SeriesTable, windows: Windows, known: Windows | None
) -> Iterable[tuple[str, np.ndarray]]:
    """What a forecast has to beat, in the targets' own units, on the same windows."""
    inputs, places = windows.inputs(), _places(trained.encoder, table, windows)
    past = (inputs["past"] if isinstance(inputs, Mapping) else inputs)[:, :, : windows.targets]
    scaled = {"the last value": naive_forecast(past, windows.horizon)}
    if 1 < trained.season <= windows.context:
        scaled["the last season"] = naive_forecast(past, windows.horizon, trained.season)
    if known is not None:
        (weights,) = ridge_weights(known, targets=windows.targets)
        scaled["ridge regression"] = ridge_forecast(weights, past, targets=windows.targets)
    return [(label, trained.encoder.inverse(values, places)) for label, values in scaled.items()]


def _frame(
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
        values = trained.encoder.inverse(windows.outputs(), _places(trained.encoder, table, windows))
        flat["truth"] = pl.Series(values.swapaxes(1, 2).ravel())
    flat["forecast"] = pl.Series(prediction.swapaxes(1, 2).ravel())
    if bands.shape[-1]:
        flat["low"] = pl.Series(bands[..., 0].swapaxes(1, 2).ravel())
        flat["high"] = pl.Series(bands[..., -1].swapaxes(1, 2).ravel())
    return pl.DataFrame(flat)


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
