"""Time series: forecasts of the next steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from danlu.artifact import Artifact, save_artifact
from danlu.data import read_table
from danlu.data.series import SeriesEncoder, SeriesTable, Windows, cut_by_time, find_season, read_series
from danlu.errors import ArtifactError, ConfigError, DataError
from danlu.evaluate.forecast import (
    mase_scale,
)
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Domain, Prepared
from danlu.pipeline.forecaster import SeriesModel
from danlu.pipeline.forecasts import coming_of, examples_of, forecasts_of, held, judge_forecasts, listed
from danlu.pipeline.judge import Judgement
from danlu.pipeline.model import Model
from danlu.pipeline.used import COMMON, RECIPE, WRITTEN, check_columns, with_notices
from danlu.report.forecasts import forecast_sections
from danlu.tasks import Recipe
from danlu.tasks.forecast import ForecastLearned, ForecastModel, choose_context, forecast_recipe, learn_forecast

__all__ = ["PreparedSeries", "SeriesForecasts"]

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
            f"forecast: {listed(columns.targets)}{many}, {encoder.horizon} steps of {encoder.calendar} ahead from the last "
            f"{encoder.context}; {season}",
        ]


class SeriesForecasts(Domain):
    """Series on even steps, forecast some steps ahead."""

    kind = "series"
    noun = "forecasts"
    uses = (
        *COMMON,
        *RECIPE,
        *WRITTEN,
        "forecast.*",
        "model.dropout",
        "model.width",
        "split.method",
        "trainer.loss",
    )
    instead: ClassVar[Mapping[str, str]] = {
        "data.target": "--forecast COLUMN names what is forecast; leave --target out"
    }

    def claims(self, config: TrainConfig, source: Any) -> bool:
        return bool(config.forecast.columns)

    def prepare(self, config: TrainConfig, source: Any) -> PreparedSeries:
        return _prepare(config, source)

    def plan(self, config: TrainConfig, prepared: PreparedSeries) -> Recipe:
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
        options: Any = {"seed": config.trainer.seed}
        return judge_forecasts(
            trained, prepared.tested, prepared.test, known, simple=config.evaluate.baselines, **options
        )

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
        fields = {"target": listed(prepared.table.columns.targets), "task": "forecast", "facts": facts}
        if judgement is None or prepared.test is None:
            return fields
        found, windows = forecasts_of(trained, prepared.tested, prepared.test)
        known = prepared.table.columns.known
        sections = forecast_sections(
            found,
            prepared.table.columns.targets,
            examples_of(trained, prepared.tested, windows, found),
            coming_of(trained, prepared.tested),
            lacking=f"A forecast of the next {trained.encoder.horizon} steps needs their {listed(known)}: append such rows to the data."
            if known
            else f"No series has the {trained.encoder.context} steps before that a forecast is made from.",
            said=held(judgement.scores, trained),
        )
        ideals = {"coverage": trained.levels[-1] - trained.levels[0]} if len(trained.levels) > 1 else {}
        return fields | {"sections": sections, "ideals": ideals}


def _prepare(config: TrainConfig, source: Any) -> PreparedSeries:
    settings, data = config.forecast, config.data
    if config.split.method not in ("stratified", "time"):
        raise ConfigError(f"split.method={config.split.method} is for tables; series are divided by time")
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
        other = read_table(data.test, typed=False, **data.form())
        tested = read_series(other, table.columns, calendar=table.calendar, formats=table.formats)
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
    moments = [str(each).removesuffix(" 00:00:00") for each in table.calendar.times(np.array([first, second]))]
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


def _joined(one: Windows, other: Windows) -> Windows:
    return dataclasses.replace(one, index=np.concatenate([one.index, other.index]))
