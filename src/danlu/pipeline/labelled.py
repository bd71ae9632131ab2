"""What kinds of data have in common whose rows each have one label: a class or a quantity."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Hashable, Iterable
from typing import Any, ClassVar

import jax
import numpy as np
import polars as pl

from danlu.artifact import Artifact
from danlu.data import EncodedStream, InferredTask, Schema, TargetEncoder, drop_missing_target, split_rows
from danlu.data.images import PixelStream
from danlu.data.seen import known_rows, row_hashes
from danlu.data.twins import equal_rows, keep_together
from danlu.errors import ConfigError, DataError, SchemaError
from danlu.evaluate import BASELINES, Importance, Rows, baselines
from danlu.evaluate.judgement import Judgement
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Domain, Prepared, Simple
from danlu.tasks import Recipe, learn
from danlu.trained import Labels, Learned, Read, Say, Trained

__all__ = [
    "Encoded",
    "Labelled",
    "PreparedRows",
    "chosen_settings",
    "drawn_parts",
    "newly_read",
    "parts_of",
    "together_of",
]

Encoded = tuple[Any, np.ndarray]  # a dict of arrays or an array; codes or standardised values

_FEWEST = 10  # rows without labels that are divided
HELD = 200_000  # the most rows of a stream that are held in memory at once, for validation, test and baselines


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PreparedRows(Prepared):
    """Encoded rows of the three parts, and what was learnt about them.

    Attributes:
        inferred: the task, and why.
        target: encodes the target, fitted on the training rows (the names of the classes on all rows).
        encoder: encodes the rows, fitted on the training rows.
        train: the training rows, or a stream of them.
        validation: the rows that choose the best epoch; None with folds.
        folds: the fold of each training row, where networks are judged on the rows that they did not learn from; or None.
        test: the rows that the result is measured on, or None.
        schema: the columns of a table.
        shown: the test rows as they were read, where they are in memory and can be shown.
    """

    inferred: InferredTask
    target: TargetEncoder
    encoder: Any
    train: Encoded | EncodedStream | PixelStream
    validation: Encoded | None = None
    folds: np.ndarray | None = None
    test: Encoded | None = None
    schema: Schema | None = None
    shown: Any = None

    def lines(self) -> Iterable[str]:
        return [str(each) for each in (self.schema, self.inferred) if each is not None]

    def sample(self) -> Encoded:
        """The training rows, or as many of a stream's as fit in memory."""
        return self.train if isinstance(self.train, tuple) else self.train.arrays(limit=HELD)

    def known(self) -> Encoded:
        """All rows that the network sees, validation rows included: what a baseline may learn from."""
        if self.validation is None:
            return self.sample()
        (x, y), (more, also) = self.sample(), self.validation
        return jax.tree.map(lambda *parts: np.concatenate(parts), x, more), np.concatenate([y, also])


def together_of(
    config: TrainConfig, rows: pl.DataFrame | Iterable[Hashable], *shares: float, noun: str = "rows", besides: str = ""
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """The groups of equal rows to keep in one part, and what to tell of them; see :func:`~danlu.data.twins.keep_together`."""
    if config.split.equal_rows == "anywhere" or config.split.method not in ("stratified", "random"):
        return None, ()
    return keep_together(equal_rows(rows), *shares, noun=noun, besides=besides)


def drawn_parts(
    config: TrainConfig,
    labels: pl.Series | int,
    task: str,
    keys: Callable[[np.ndarray], Iterable[Hashable]],
    *,
    noun: str,
    own: np.ndarray | None = None,
) -> tuple[dict[str, np.ndarray], str, tuple[str, ...]]:
    """The row numbers of each part: the source's own, or drawn; what the source lacks is drawn from its training part.

    Args:
        labels: of all rows; or how many rows there are, where they have none.
        keys: what rows of these numbers are known again by: equal ones stay in one part.
        noun: what the rows are called.
        own: the name of each row's part, where the source says so.

    Returns:
        The numbers, how they were divided, and notices.

    Raises:
        ConfigError: a way of dividing that is for tables.
        DataError: too few rows.
    """
    if config.split.method not in ("stratified", "random"):
        raise ConfigError(f"split.method={config.split.method} is for tables; {noun} are divided at random")
    names, count = ("train", "validation", "test"), labels if isinstance(labels, int) else len(labels)
    of_rows = np.full(count, "train") if own is None else own
    parts = {name: np.flatnonzero(of_rows == name) for name in names}
    given = [name for name in names if own is not None and len(parts[name])]
    known, draws_test = parts["train"], not len(parts["test"]) and config.data.test is None
    shares = 0.0 if len(parts["validation"]) else config.split.validation, config.split.test if draws_test else 0.0
    told: tuple[str, ...] = ()
    said = [f"the source's own {', '.join(given)}"] if given else []
    if any(shares):
        if isinstance(labels, int) and len(known) < _FEWEST:
            raise DataError(f"{len(known)} {noun} are too few to divide; expected {_FEWEST} or more")
        together, told = together_of(config, keys(known), *shares, noun=noun)
        plain = isinstance(labels, int) or task == "regression"
        split = split_rows(
            len(known) if isinstance(labels, int) else pl.DataFrame({"label": labels.gather(known)}),
            method="random" if plain else config.split.method,
            target="label",
            task=task,
            validation=shares[0],
            test=shares[1],
            seed=config.trainer.seed,
            together=together,
        )
        parts["train"] = known[split.train]
        if shares[0]:
            parts["validation"] = known[split.validation]
        if draws_test:
            parts["test"] = known[split.test]
        said.append(split.description)
    if not len(parts["validation"]) or not len(parts["train"]):
        raise DataError(f"{count} {noun} are too few to divide; expected some for each part")
    return parts, "; ".join(said), told


def newly_read(read: Callable[[], Any], say: Say, *, noun: str) -> Any:
    """What ``read`` gives, whose notices are said; where it has parts, its test part.

    Raises:
        SchemaError: it cannot be read.
    """
    try:
        found = read()
    except DataError as error:
        raise SchemaError(error.message, hint=error.hint) from error
    for notice in found.notices:
        say(notice)
    if found.parts is None or "test" not in found.parts:
        return found
    rows = np.flatnonzero(found.parts == "test")
    say(f"the source has parts; its {len(rows)} test {noun} are taken")
    return found.rows(rows)


def chosen_settings(section: Any, names: Iterable[str]) -> dict[str, Any]:
    """The settings of a config's ``section`` that are not left to the recipe."""
    found = {name: getattr(section, name) for name in names}
    return {name: value for name, value in found.items() if value is not None}


class Labelled(Domain):
    """A kind of data whose rows each have one label.

    Attributes:
        summarised: what is said after the name of a baseline that learns from something else than the rows themselves.
    """

    head = Labels
    summarised: ClassVar[str] = ""

    @abc.abstractmethod
    def recipe(self, config: TrainConfig, prepared: PreparedRows) -> Recipe:
        """The recipe for prepared rows, with the config's settings."""

    @abc.abstractmethod
    def rows(self, trained: Trained, source: Any, *, lenient: bool, say: Say) -> Read:
        """New data, checked against what the model was trained on; the truth as it was read.

        Raises:
            SchemaError: it does not fit.
        """

    def mistakes(self, prepared: PreparedRows, trained: Trained, rows: Rows) -> dict[str, Any]:
        """Fields of the report that show the test rows predicted worst."""
        return {}

    def importance(
        self, config: TrainConfig, prepared: PreparedRows, trained: Trained, rows: Rows
    ) -> tuple[Importance, ...]:
        """How much the model relies on each column of the test rows, where these have columns."""
        return ()

    simple_names: ClassVar[tuple[str, ...]] = tuple(BASELINES)
    """The baselines that learn from such rows."""

    def plan(self, config: TrainConfig, prepared: PreparedRows) -> Recipe:
        config.imbalance.check(prepared.target.task)
        return self.recipe(config, prepared)

    def learn(self, config: TrainConfig, prepared: PreparedRows, plan: Recipe, **how: Any) -> Learned:
        sample = prepared.sample()
        learned = learn(
            prepared.train,
            encoder=prepared.encoder,
            target=prepared.target,
            plan=plan,
            validation=prepared.validation,
            folds=prepared.folds,
            rows=prepared.rows["train"],
            sample=None if isinstance(prepared.train, tuple) else sample[0],
            imbalance=config.imbalance,
            seed=config.trainer.seed,
            **how,
        )
        held = [part for part in (sample, prepared.validation) if part is not None]
        seen = known_rows(np.concatenate([row_hashes(*part) for part in held]))
        return dataclasses.replace(learned, model=dataclasses.replace(learned.model, seen=seen))

    def test(self, config: TrainConfig, prepared: PreparedRows, trained: Trained) -> Judgement | None:
        if prepared.test is None:
            return None
        own = trained.judge(*prepared.test, groups=_groups(config, prepared), seed=config.trainer.seed)
        if not config.evaluate.importance:
            return own
        rows: Any = own.evidence
        return dataclasses.replace(own, importance=self.importance(config, prepared, trained, rows))

    def simple(self, config: TrainConfig, prepared: PreparedRows, trained: Trained, ours: Any) -> Iterable[Simple]:
        head: Any = trained.head
        target, (inputs, labels) = head.target, prepared.known()
        found = baselines(
            target.task,
            (self.for_simple(inputs), labels),
            self.for_simple(prepared.test[0] if prepared.test is not None else inputs),
            classes=target.units,
            seed=config.trainer.seed,
            names=self.simple_names,
            seconds=config.evaluate.baseline_seconds,
        )
        even = dataclasses.replace(head, threshold=0.5)
        for each in found.values():
            answers = target.inverse(each.prediction) if target.task == "regression" else each.prediction
            label = each.label if each.name == "commonest" else each.label + self.summarised
            yield Simple(
                label, ours.with_prediction(answers), kept=each.kept, answers=even.frame(answers), notes=each.notes
            )

    def old_head(self, artifact: Artifact) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {"target": artifact.task, "threshold": artifact.threshold}, {}

    def purpose(self, trained: Trained) -> str:
        return f"{trained.task} of {parts_of(trained)[1].name!r}"

    def read(self, trained: Trained, source: Any, *, lenient: bool, say: Say, truth: bool = False) -> Read:
        found = self.rows(trained, source, lenient=lenient, say=say)
        return _with_codes(found, parts_of(trained)[1], say) if truth else found

    def report(self, prepared: PreparedRows, trained: Trained, judgement: Judgement | None) -> dict[str, Any]:
        target, rows = prepared.target, None if judgement is None else judgement.evidence
        head: Any = trained.head
        facts = {"threshold": f"{head.threshold:.3g}"} if target.task == "binary" and head.threshold != 0.5 else {}
        fields: dict[str, Any] = {
            "target": target.name,
            "task": target.task,
            "classes": target.classes,
            "rows": rows,
            "facts": facts,
        }
        if prepared.schema is not None:
            from danlu.report import describe_columns

            fields["columns"] = describe_columns(prepared.schema, prepared.shown)
        if judgement is not None and judgement.importance:
            from danlu.report.importance import importance_section

            fields["sections"] = [importance_section(judgement.importance)]
        return fields | self.mistakes(prepared, trained, rows) if isinstance(rows, Rows) else fields


def parts_of(trained: Trained) -> tuple[Any, TargetEncoder]:
    """The encoder of a model of labels, and its target."""
    head: Any = trained.head
    return trained.encoder, head.target


def _with_codes(found: Read, target: TargetEncoder, say: Say) -> Read:
    """The rows that have a label, with the labels' codes."""
    rows, labels = found.rows, found.truth
    if labels is None:
        raise SchemaError(f"the data lacks the target {target.name!r}, which evaluation needs")
    if isinstance(rows, pl.DataFrame):
        rows, dropped = drop_missing_target(rows.with_columns(labels.alias(target.name)), target.name)
        labels, respelt = target.normalise(rows[target.name])
        for notice in (*dropped, *respelt):
            say(notice)
        if not rows.height:
            raise SchemaError(f"no row has a value for the target {target.name!r}")
    return dataclasses.replace(found, rows=rows, truth=target.transform(labels))


def _groups(config: TrainConfig, prepared: PreparedRows) -> np.ndarray | None:
    """The group of each test row, where the rows were divided by groups: those of one are not independent of each other."""
    column, shown = config.split.column, prepared.shown
    if config.split.method != "group" or not isinstance(shown, pl.DataFrame) or column not in shown.columns:
        return None
    return shown[column].cast(pl.String).rank("dense").fill_null(0).to_numpy().astype(np.int64)
