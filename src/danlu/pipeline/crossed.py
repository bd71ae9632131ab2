"""Cross-validation of any kind of data: trainings that each leave a fold of the rows out and are tested on it.

A fold is an ordinary training, in a run directory of its own under ``folds/``, whose test part is the fold. So everything is fitted anew
for each (encoder, recipe, network, threshold), nothing that it learns has seen a row that it is tested on, and a killed cross-validation
goes on with the fold that was under way.
"""

from __future__ import annotations

import dataclasses
import html
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from danlu.artifact import RunDirectory
from danlu.errors import TrainingError
from danlu.evaluate import MEASURES
from danlu.evaluate.compare import counted
from danlu.evaluate.folds import fold_interval
from danlu.evaluate.intervals import Interval, figure
from danlu.evaluate.judgement import Judgement, Simple, fold_lines
from danlu.evaluate.usual import usual
from danlu.files import write_atomic
from danlu.launch.workers import Workers
from danlu.pipeline.config import TrainConfig, saved_config
from danlu.pipeline.domain import Domain
from danlu.pipeline.domains import load_model
from danlu.pipeline.effort import Effort
from danlu.pipeline.fingerprint import data_of, digests_of, located
from danlu.pipeline.mlflow import tracked
from danlu.pipeline.once import baseline_seconds, judged, prepare, train_once
from danlu.pipeline.record import write_crossed
from danlu.pipeline.sensitive import by_columns_of, remembered
from danlu.pipeline.tested import keep_test
from danlu.prose import wrapped
from danlu.stages import stage
from danlu.trained import Say, Trained
from danlu.trained.answers import as_csv
from danlu.trained.card import facts_of
from danlu.trained.together import together

__all__ = ["FOLDS", "CrossValidation", "FoldResult", "cross_train", "crosses", "first_fold", "is_crossed"]

FOLDS = "folds"
"""The folder of a run that holds the runs of its folds."""

_RARE = 5  # rows of a class in a fold, in the mean


@dataclasses.dataclass(frozen=True, eq=False)
class FoldResult:
    """One training of a cross-validation.

    Attributes:
        number: which, from 1.
        run: its own run directory.
        model: trained without the fold.
        judgement: its test on the fold.
        places: the numbers of the rows of the fold, ``(rows,)``, where they are known.
        rows: the number of rows of each part.
    """

    number: int
    run: RunDirectory
    model: Trained
    judgement: Judgement
    places: np.ndarray | None
    rows: dict[str, int]

    @property
    def scores(self) -> dict[str, float]:
        """The test scores."""
        return {name: interval.value for name, interval in self.judgement.scores.items()}


@dataclasses.dataclass(frozen=True, eq=False)
class CrossValidation:
    """The result of a cross-validation.

    Attributes:
        run: where it is; the runs of the folds are in its folder ``folds``.
        model: the models of the folds as one, whose answer is the mean of theirs; of folds by time the last one's model, which has learnt
            from the most rows.
        folds: the single trainings.
        judgement: of all tested rows together, each predicted by a model that did not see it, with intervals and baselines.
        predictions: these predictions, in the order of the source, with the number of the row (from 1; forecasts have none) and of the
            fold.
        rows: how many rows were tested.
        seconds: from the start to the saved model.
        unit: what ``rows`` counts.
        source: the file or folder that it learnt from.
    """

    run: RunDirectory
    model: Trained
    folds: tuple[FoldResult, ...]
    judgement: Judgement
    predictions: pl.DataFrame
    rows: dict[str, int]
    seconds: float
    unit: str = "rows"
    source: str = ""

    @property
    def scores(self) -> dict[str, float]:
        """The scores of all tested rows together."""
        return {name: interval.value for name, interval in self.judgement.scores.items()}

    @property
    def fold_scores(self) -> dict[str, np.ndarray]:
        """Each measure in each fold, ``(folds,)``; NaN where a fold's rows leave it undefined."""
        names = dict.fromkeys(name for fold in self.folds for name in fold.scores)
        return {name: np.array([fold.scores.get(name, np.nan) for fold in self.folds]) for name in names}

    @property
    def fold_intervals(self) -> dict[str, Interval]:
        """The mean of each measure over the folds with its interval, which allows for other training rows as well as for other test rows.

        See :func:`~danlu.evaluate.fold_interval`; folds for which a measure is not defined are left out.
        """
        sizes = np.array([sum(fold.rows[part] for part in ("train", "validation")) for fold in self.folds])
        tested = np.array([fold.rows["test"] for fold in self.folds])
        found = {}
        for name, each in self.fold_scores.items():
            known = np.isfinite(each)
            if known.any():
                family = MEASURES[name].family
                found[name] = fold_interval(each[known], tested[known], sizes[known], family=family)
        return found

    @property
    def fold_notes(self) -> tuple[str, ...]:
        """Where the mean over folds says less than all rows together: folds without a measure, and classes of few rows in a fold."""
        notes = []
        lacking: dict[tuple[int, ...], list[str]] = {}
        for name, each in self.fold_scores.items():
            gone = tuple(int(place) + 1 for place in np.flatnonzero(~np.isfinite(each)))
            if 0 < len(gone) < len(self.folds):
                lacking.setdefault(gone, []).append(MEASURES[name].label)
        for gone, names in lacking.items():
            which = f"fold{'s' * (len(gone) > 1)} {', '.join(map(str, gone))}"
            notes.append(
                f"the means of {', '.join(names[:4])}{', …' if len(names) > 4 else ''} leave out {which}, whose rows do not tell "
                "(a class is missing)"
            )
        target: Any = getattr(self.model.head, "target", None)
        truth = getattr(self.judgement.evidence, "truth", None)
        if truth is not None and getattr(target, "classes", None) and np.ndim(truth) == 1:
            counts = np.bincount(np.asarray(truth, int), minlength=len(target.classes)) / len(self.folds)
            rare = [f"{name} ({counts[code]:.1f})" for code, name in enumerate(target.classes) if counts[code] < _RARE]
            if rare:
                notes.append(
                    f"classes with fewer than {_RARE} rows in a fold in the mean: {', '.join(rare[:4])}{', …' if len(rare) > 4 else ''}; "
                    "the mean over folds of what is counted by class (F1, recall, …) then depends on how they were dealt: go by all rows "
                    "together, above"
                )
        return tuple(notes)

    def _means(self, scores: Mapping[str, Interval]) -> list[str]:
        notes = (wrapped(f"note: {note}", indent="  ") for note in self.fold_notes)
        return ["", *fold_lines(scores, len(self.folds), self.judgement.counted), *notes]

    @property
    def stopped_by(self) -> int | None:
        """None: a cross-validation that is stopped has no result."""
        return None

    def said(self) -> list[str]:
        """What the tests say, line by line."""
        rest = shlex.join(("danlu", "show", str(self.run.path)))
        names = usual(self.judgement.primary, self.fold_intervals)
        means = {name: self.fold_intervals[name] for name in names}
        return ["", self.judgement.told(rest), *self._means(means)]

    def __str__(self) -> str:
        return "\n".join([str(self.judgement), *self._means(self.fold_intervals)])

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={figure(value)}" for name, value in self.scores.items())
        return f"CrossValidation({str(self.run.path)!r}, {len(self.folds)} folds, {shown})"

    def _repr_html_(self) -> str:
        place = html.escape(str(self.run.path))
        return f"<p><b>{place}</b>: {len(self.folds)} folds, {self.seconds:.0f} s</p>{self.judgement._repr_html_()}"


def first_fold(config: TrainConfig) -> TrainConfig:
    """The config of the first training of a cross-validation; another config as it is."""
    return config.with_setting("evaluate.fold", 1) if crosses(config) else config


def crosses(config: TrainConfig) -> bool:
    """Whether a config is of a whole cross-validation, not of one training."""
    return config.evaluate.folds is not None and config.evaluate.fold is None


def is_crossed(run: str | Path) -> bool:
    """Whether a run is a whole cross-validation.

    Raises:
        ArtifactError: there is no such run.
    """
    return crosses(saved_config(RunDirectory.open(run).read_json("config.json"))[0])


def of_fold(config: TrainConfig, number: int) -> TrainConfig:
    """The config of one training of a cross-validation; what is for reading alone is left to the whole."""
    return config.replace(evaluate=config.evaluate.replace(fold=number, importance=False, report=False))


def cross_train(
    run: RunDirectory,
    config: TrainConfig,
    source: Any,
    domain: Domain,
    first: tuple[Any, Any],
    *,
    display: str,
    say: Say,
    begun: Effort,
    workers: Workers | None = None,
) -> CrossValidation:
    """Train and test all folds that are not finished yet, and put them together.

    Args:
        first: what was prepared and planned for the first fold.
        begun: the clock that started with it.
        workers: who trains the folds, instead of this process one after the other.

    Raises:
        TrainingError: a fold was stopped by a signal.
    """
    said: set[str] = set()

    def new(line: str) -> None:
        if line not in said:
            said.add(line)
            say(line)

    with stage("hashing the data"):
        data = data_of(config, source, domain)
    prepared, unit, split = first[0], first[0].unit, first[0].split
    said.update(f"note: {notice}" for notice in prepared.notices)
    done: list[FoldResult] = []
    for result, notices in _trained(run, config, source, domain, first, data, display=display, workers=workers):
        for notice in notices:
            new(f"note: {notice}")
        done.append(result)
        primary = result.judgement.evidence.primary if result.judgement.evidence is not None else ""
        score = f": {MEASURES[primary].label} {figure(result.scores[primary])}" if primary in result.scores else ""
        say(f"fold {result.number} of {config.evaluate.trainings}{score}")
    done.sort(key=lambda each: each.number)
    seen = _seen(prepared, done[0].model)
    judgement, predictions = pooled(done, seed=config.trainer.seed)
    judgement = by_columns_of([each.judgement for each in done], judgement, seed=config.trainer.seed)
    last = config.split.method == "time" or domain.by_time
    model = done[-1].model if last else together([each.model for each in done], seen=seen, held=_held(done, config))
    judgement = dataclasses.replace(judgement, notes=(*model.head.notes(judgement.evidence), *judgement.notes))
    metrics = {name: interval.value for name, interval in judgement.scores.items()}
    numbered = "row" in predictions.columns
    rows = {"tested": predictions["row"].n_unique() if numbered else sum(each.rows["test"] for each in done)}
    provenance = {
        "rows": rows,
        "source": Path(config.data.source).name,
        "split": split,
        "folds": len(done),
        "seed": config.trainer.seed,
        "data": digests_of(run),
        "tested": facts_of(judgement),
        **remembered(first[0]),
    }
    if not last:
        provenance["ensemble"] = len(done)
    elif config.model.ensemble is not None:
        provenance["ensemble"] = config.model.ensemble
    model = dataclasses.replace(model, metrics=metrics, provenance=provenance)
    model.save(run.artifact_path)
    write_atomic(run.predictions_path, as_csv(predictions))
    keep_test(run.path, judgement.evidence, _numbers(done))
    seconds = begun.seconds
    found = CrossValidation(run, model, tuple(done), judgement, predictions, rows, seconds, unit, config.data.source)
    with stage("writing the report"):
        write_crossed(run, config, domain, first[0], found, begun)
    return found


def _trained(
    run: RunDirectory,
    config: TrainConfig,
    source: Any,
    domain: Domain,
    first: tuple[Any, Any],
    data: dict[str, Any],
    *,
    display: str,
    workers: Workers | None,
) -> Iterator[tuple[FoldResult, Sequence[str]]]:
    """The folds as they end, each with what was noticed in its data."""
    numbers = range(1, config.evaluate.trainings + 1)
    if workers is None:
        for number in numbers:
            own = of_fold(config, number)
            prepared, plan = first if number == 1 else prepare(own, source, say=_quiet, begun=True)[1:]
            yield _fold(run, own, domain, prepared, plan, data, display=display, number=number), prepared.notices
        return
    given = str(Path(source).resolve()) if isinstance(source, str | Path) and Path(source).exists() else source
    jobs = [(str(run.path.resolve()), config, given, data, number) for number in numbers]
    try:
        with stage("folds", total=len(jobs), unit="folds") as step:
            for number, (result, notices) in workers.each(_fold_of, jobs):
                step.advance()
                yield dataclasses.replace(result, run=RunDirectory(run.path / FOLDS / str(number + 1))), notices
    except TrainingError as error:
        if error.stopped_by is not None:
            error.hint = f"go on: danlu train --resume {run.path}"
        raise


def _fold_of(job: tuple[str, TrainConfig, Any, dict[str, Any], int]) -> tuple[FoldResult, Sequence[str]]:
    """A fold, trained by a worker."""
    folder, config, source, data, number = job
    own = of_fold(config, number)
    domain, prepared, plan = prepare(own, source, say=_quiet, begun=True)
    result = _fold(RunDirectory(folder), own, domain, prepared, plan, data, display="none", number=number)
    return result, prepared.notices


def _quiet(line: str) -> None:
    """What is prepared for each fold is said once for all."""


def _fold(
    run: RunDirectory,
    config: TrainConfig,
    domain: Domain,
    prepared: Any,
    plan: Any,
    data: dict[str, Any],
    *,
    display: str,
    number: int,
) -> FoldResult:
    """A fold that is finished, gone on with, or begun."""
    folder, begun = run.path / FOLDS / str(number), Effort()
    is_there = (folder / "config.json").is_file()
    if is_there:
        own = RunDirectory.open(folder)
    else:
        own = RunDirectory.create(
            run.path / FOLDS,
            name=str(number),
            config=located(config, domain).as_dict(),
            files={"source.json": data},
        )
    if own.results_path.is_file():
        model, trained_for = load_model(folder), own.read_json("results.json").get("seconds") or 0.0
        limit = config.evaluate.replace(baseline_seconds=baseline_seconds(config, trained_for))
        judgement = judged(config.replace(evaluate=limit), domain, prepared, model)
    else:
        try:
            with tracked(own, config.track, _quiet, within=run) as callbacks:
                result = train_once(
                    own,
                    config,
                    domain,
                    prepared,
                    plan,
                    display=display,
                    say=_quiet,
                    resume=is_there,
                    begun=begun,
                    whole=True,
                    callbacks=callbacks,
                )
        except TrainingError as error:
            if error.stopped_by is None:
                raise
            error.message = f"fold {number} of {config.evaluate.trainings} was {error.message}"
            error.hint = f"go on: danlu train --resume {run.path}"
            raise
        model, judgement = result.model, result.judgement
    if judgement is None:
        raise TrainingError(f"fold {number} has no test rows", hint="use fewer folds")
    return FoldResult(number, own, model, judgement, getattr(prepared, "places", None), prepared.rows)


def _seen(prepared: Any, model: Trained) -> np.ndarray | None:
    """The hashes of all rows in the first fold's encoding: each was learnt from by most of the models."""
    if model.seen is None:
        return None
    parts = [part for part in (prepared.sample(), prepared.validation, prepared.test) if part is not None]
    return model.remembering(*(part[:2] for part in parts)).seen


def pooled(folds: Sequence[FoldResult], *, seed: int) -> tuple[Judgement, pl.DataFrame]:
    """The test of all rows together, and their predictions in the order of the source.

    A row that was tested by several models, in repeated folds, counts once for each, and these are not taken as independent.
    """
    rows = _numbers(folds)
    known = rows is not None
    own = [each.judgement for each in folds]
    evidence: Any = _joined([each.evidence for each in own], rows)
    labels = [label for label in own[0].others if all(label in each.others for each in own)]
    simple = []
    for label in labels:
        of = [next(each for each in judgement.simple if each.label == label) for judgement in own]
        constant = all(each.evidence.constant if each.constant is None else each.constant for each in of)
        simple.append(Simple(label, _joined([each.evidence for each in of], rows), constant=constant))
    tested = len(evidence) if rows is None else len(np.unique(rows))
    noun = "rows" if known else evidence.noun
    what = counted(tested, noun) + f", in {len(folds)} folds"
    said = [set(each.model.head.notes(each.judgement.evidence)) for each in folds]  # of the fold alone
    notes = dict.fromkeys(note for each, of in zip(own, said, strict=True) for note in each.notes if note not in of)
    whole = Judgement(
        evidence.scores(seed=seed),
        evidence=evidence,
        tested=what,
        counted=own[0].counted,
        name=own[0].name,
        rows_are=f"{noun}, each predicted by a model that did not see it,",
        notes=tuple(notes),
    ).compared(simple, seed=seed)
    frames = []
    for each in folds:
        frame: Any = each.judgement.predictions
        numbers = {"fold": pl.lit(each.number, pl.Int64)}
        if known:
            numbers = {"row": pl.Series(each.places, dtype=pl.Int64) + 1, **numbers}  # type: ignore[dict-item]
        frames.append(frame.with_columns(**numbers).select(*numbers, *frame.columns))
    return whole, pl.concat(frames).sort("row" if known else "fold", "fold", maintain_order=True)


def _numbers(folds: Sequence[FoldResult]) -> np.ndarray | None:
    """The numbers of the rows of all folds, in the order of the folds; None where they are not known."""
    known = all(each.places is not None for each in folds)
    return np.concatenate([np.asarray(each.places) for each in folds]) if known else None


def _held(folds: Sequence[FoldResult], config: TrainConfig) -> tuple[Any, Any] | None:
    """The answers for every row by the model that did not see it, of the first division into folds, and the truth."""
    evidence: Any = _joined([each.judgement.evidence for each in folds[: config.evaluate.folds]], None)
    known = hasattr(evidence, "prediction") and hasattr(evidence, "truth")
    return (evidence.prediction, evidence.truth) if known else None


def _joined(evidence: Sequence[Any], rows: np.ndarray | None) -> Any:
    first, *others = evidence
    return first.joined(others, rows)
