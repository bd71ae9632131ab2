"""Time series: forecasts of the next steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from danlu.artifact import Artifact
from danlu.blueprint import Blueprint
from danlu.data import read_table
from danlu.data.series import (
    SeriesEncoder,
    SeriesTable,
    Windows,
    cut_by_fold,
    cut_by_time,
    find_season,
    listed,
    read_series,
)
from danlu.errors import ConfigError, DataError, SchemaError
from danlu.evaluate.forecast import mase_scale, ridge_forecast, ridge_weights
from danlu.evaluate.judgement import Judgement
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Beside, Domain, Option, Prepared, Simple
from danlu.pipeline.used import COMMON, CROSSED, RECIPE, WRITTEN, check_columns, with_notices
from danlu.tasks import Forecast, Quantiles, Recipe, forecast_recipe, learn_forecast
from danlu.tasks.forecast import choose_context
from danlu.trained import Learned, Read, Say, Trained

__all__ = ["PreparedSeries", "SeriesForecasts"]

_MOST_COLUMNS = 200  # whose autocorrelation is looked at
_NUMBERS = 2e7  # that are forecast at most in a test: origins are left out evenly beyond it


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
        naive: ``(series, targets)``, see :class:`~danlu.tasks.Quantiles`.
    """

    table: SeriesTable
    encoder: SeriesEncoder
    train: Windows
    validation: Windows
    test: Windows | None
    season: int
    season_by: str
    naive: np.ndarray

    def lines(self) -> Iterable[str]:
        columns, encoder = self.table.columns, self.encoder
        many = f" of {len(self.table.series):,} series" if columns.series else ""
        season = f"a season of {self.season} steps ({self.season_by})" if self.season > 1 else "no season was found"
        return [
            f"forecast: {listed(columns.targets)}{many}, {encoder.horizon} steps of {encoder.calendar} ahead from the last "
            f"{encoder.context}; {season}",
        ]


class SeriesForecasts(Domain):
    """Series with even steps, to forecast some steps ahead."""

    kind = "series"
    noun = "forecasts"
    instead_of_why = "the report of the run shows forecasts beside what came"
    encoder = SeriesEncoder
    head = Quantiles
    sections: ClassVar[Mapping[str, type[Blueprint]]] = {"forecast": Forecast}
    options = (
        Option(
            "--forecast",
            "",
            "Columns of a time series to forecast: A, or A,B, or all.",
            settings=lambda text: {"forecast.columns": [column.strip() for column in text.split(",")]},
        ),
        Option("--horizon", "forecast.horizon", "How many steps to forecast.", int),
        Option("--series", "forecast.series", "The column that identifies the series."),
        Option("--time", "forecast.time", "The time column."),
    )
    columns = ("forecast.columns", "forecast.time", "forecast.series")
    uses = (*COMMON, RECIPE, WRITTEN, CROSSED, "forecast.*", "model.dropout|width", "split.method", "trainer.loss")
    by_time = True
    beside = (
        Beside(
            "evaluate.repeats",
            lambda config: False,
            "folds by time are not drawn, so that they would be the same again",
        ),
    )
    instead: ClassVar[Mapping[str, str]] = {
        "data.target": "--forecast COLUMN names what is forecast; leave --target out"
    }

    def claims(self, config: TrainConfig, source: Any) -> bool:
        return bool(config.forecast.columns)

    def prepare(self, config: TrainConfig, source: Any) -> PreparedSeries:
        settings, data = config.forecast, config.data
        if config.split.method not in ("stratified", "time"):
            raise ConfigError(f"split.method={config.split.method} is for tables; series are split by time")
        read = read_table(
            source,
            **data.form(),
            missing=data.marks(),
            kinds={**({settings.series: "categorical"} if settings.series else {}), **data.kinds},
            dates=data.dates,
        )
        check_columns(data, read.names)
        read = dataclasses.replace(read, frame=read.frame.drop(data.drop))
        names = {name: getattr(settings, name) for name in ("time", "observed", "known", "series")}
        try:
            table = read_series(read, settings.columns, **names)
        except DataError as error:
            raise with_notices(error, [notice for notice in read.notices if "read as texts" in notice]) from error
        share = 0.0 if data.test is not None else config.split.test
        end = None
        if config.fold is None:
            first, second = cut_by_time(table, config.split.validation, share)
        else:
            first, second, end = cut_by_fold(table, config.fold, config.split.validation)
        lengths = [max(0, min(each.steps, first - each.start)) for each in table.series]
        notices = list(table.notices)
        past = [
            each.values[:length, : len(table.columns.targets)]
            for each, length in zip(table.series, lengths, strict=True)
        ]
        season, season_by = settings.season or 0, "forecast.season"
        if not season:
            season = find_season([column for part in past for column in part.T][:_MOST_COLUMNS])
            season_by = "by the autocorrelation of the training part"
        horizon = settings.horizon
        try:
            context = settings.context or choose_context(int(np.median(lengths)), horizon, season)
        except DataError as error:
            raise _of_fold(config, error) from error
        encoder = SeriesEncoder.fit(table, first, context=context, horizon=horizon)
        train, validation = encoder.windows(table, stop=first), encoder.windows(table, first, second)
        test = encoder.windows(table, second, end)
        if data.test is not None:
            other = read_table(data.test, typed=False, **data.form())
            tested = read_series(other, table.columns, calendar=table.calendar, formats=table.formats)
            notices += [f"test: {notice}" for notice in tested.notices]
            for each in tested.series:
                encoder.place(each.name)
            test = encoder.windows(tested)
        need = f"a forecast of {horizon} steps from the {context} before"
        if not len(train):
            raise _of_fold(
                config,
                DataError(
                    f"the training part has {max(lengths):,} steps, too few for {need}",
                    hint="forecast fewer steps, or set forecast.context to fewer",
                ),
            )
        for name, part, asked in (("validation", validation, True), ("test", test, share > 0 or data.test is not None)):
            if asked and not len(part):
                larger = "use fewer folds" if config.fold else f"give it a larger share: split.{name}=0.3"
                raise DataError(
                    f"no part of the {name} part has {horizon} steps with values, which {need} needs",
                    hint=f"forecast fewer steps, or {larger}",
                )
        silent = len(table.series) - len(np.unique(train.index[:, 0]))
        if silent:
            notices.append(f"{silent:,} of {len(table.series):,} series are too short in the training part to train on")
        rows = {"train": sum(lengths), "validation": 0, "test": 0}
        before = sum(max(0, min(each.steps, second - each.start)) for each in table.series)
        until = (
            len(test.table) if end is None else sum(max(0, min(each.steps, end - each.start)) for each in table.series)
        )
        rows["validation"] = before - rows["train"]
        rows["test"] = until - (before if test.table is table else 0)
        moments = [str(each).removesuffix(" 00:00:00") for each in table.calendar.times(np.array([first, second]))]
        split = f"by time: validation from {moments[0]}" + (f", test from {moments[1]}" if share > 0 or end else "")
        if config.fold is not None:
            split = f"fold {config.fold.number + 1} of {config.fold.count}, {split}; trained on what came before"
        return PreparedSeries(
            rows=rows,
            split=split,
            notices=tuple(notices),
            table=table,
            encoder=encoder,
            train=train,
            validation=validation,
            test=test.thinned(_NUMBERS) if len(test) else None,
            season=season,
            season_by=season_by,
            naive=np.stack([mase_scale(part, season) for part in past]),
        )

    def plan(self, config: TrainConfig, prepared: PreparedSeries) -> Recipe:
        network: dict[str, Any] = {"hidden": config.model.width, "dropout": config.model.dropout}
        network = {name: value for name, value in network.items() if value is not None}
        return forecast_recipe(prepared.train, network=network, **config.decided("loss"))

    def learn(self, config: TrainConfig, prepared: PreparedSeries, plan: Recipe, **how: Any) -> Learned:
        return learn_forecast(
            prepared.train,
            encoder=prepared.encoder,
            plan=plan,
            validation=prepared.validation,
            season=prepared.season,
            naive=prepared.naive,
            refit=config.forecast.refit,
            seed=config.trainer.seed,
            **how,
        )

    def for_trial(self, config: TrainConfig) -> TrainConfig:
        return config.with_setting("forecast.refit", value=False)

    def test(self, config: TrainConfig, prepared: PreparedSeries, trained: Trained) -> Judgement | None:
        test = prepared.test
        return None if test is None else trained.judge(test, test, noun=test.noun, seed=config.trainer.seed)

    def simple(self, config: TrainConfig, prepared: PreparedSeries, trained: Trained, ours: Any) -> Iterable[Simple]:
        test: Any = prepared.test
        yield from trained.head.simple(test, ours)
        (weights,) = ridge_weights(prepared.train.joined(prepared.validation), targets=test.targets)
        found = ridge_forecast(weights, test.past(), targets=test.targets)
        yield trained.head.simply("ridge regression", test, ours, found)

    def read(self, trained: Trained, source: Any, *, lenient: bool, say: Say, truth: bool = False) -> Read:
        """The series up to their last value, of which the next steps are forecast; with the truth, all forecasts inside them."""
        encoder = trained.encoder
        table = encoder.read(source)
        for notice in table.notices:
            say(notice)
        strange = [repr(each.name) for each in table.series if each.name not in encoder.names]
        names = ", ".join(strange[:5]) + (", …" if len(strange) > 5 else "")
        if strange and not lenient:
            raise SchemaError(
                f"{len(strange):,} series were not in the training data: {names}",
                hint="leave them out, or scale them by their own rows with lenient=True (--lenient)",
            )
        if strange:
            say(f"series that were not in the training data are scaled by their own rows: {names}")
        if not truth:
            return Read(encoder.following(table))
        windows = encoder.windows(table).thinned(_NUMBERS)
        if not len(windows):
            raise SchemaError(
                f"no series has {encoder.context + encoder.horizon:,} steps with values, which measuring a forecast of "
                f"{encoder.horizon} from {encoder.context} needs"
            )
        return Read(windows, windows, noun=windows.noun)

    def purpose(self, trained: Trained) -> str:
        encoder = trained.encoder
        return f"forecast of {listed(encoder.columns.targets)}, {encoder.horizon} steps of {encoder.calendar}"

    def old_head(self, artifact: Artifact) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        levels = getattr(artifact.model, "quantiles", ())
        return {"levels": levels, "season": artifact.encoder.get("season")}, dict(artifact.encoder_arrays)

    def report(self, prepared: PreparedSeries, trained: Trained, judgement: Judgement | None) -> dict[str, Any]:
        from danlu.report.forecasts import coming_of, examples_of, forecast_sections

        encoder, columns = prepared.encoder, prepared.table.columns
        facts = {
            "horizon": f"{encoder.horizon} steps of {encoder.calendar}",
            "context": f"{encoder.context} steps",
            "season": f"{prepared.season} steps, {prepared.season_by}" if prepared.season > 1 else "none found",
        }
        fields = {"target": listed(columns.targets), "task": "forecast", "facts": facts}
        if judgement is None or prepared.test is None:
            return fields
        found: Any = judgement.evidence
        sections = forecast_sections(
            found,
            columns.targets,
            examples_of(prepared.test, found),
            coming_of(trained, prepared.test.table),
            lacking=f"To forecast the next {encoder.horizon} steps, append rows with their {listed(columns.known)} to the data."
            if columns.known
            else f"No series has the {encoder.context} past steps that a forecast needs.",
            said=" ".join(trained.head.notes(found)),
        )
        ideals = {"coverage": found.levels[-1] - found.levels[0]} if len(found.levels) > 1 else {}
        return fields | {"sections": sections, "ideals": ideals}


def _of_fold(config: TrainConfig, error: DataError) -> DataError:
    """The same error, which fewer folds would avoid as well: the first is trained on the first of one block more than there are folds."""
    return error if config.fold is None else DataError(error.message, hint=f"use fewer folds, or {error.hint}")
