"""The shared part of kinds of data with one label per row: a class or a quantity."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import jax
import numpy as np
import polars as pl

from danlu.artifact import Artifact
from danlu.blueprint import Blueprint
from danlu.data import InferredTask, Schema, TargetEncoder, drop_missing_target, has_target
from danlu.data.task import TASK_WORDS
from danlu.errors import ConfigError, SchemaError
from danlu.evaluate import BASELINES, Importance, Rows, baselines
from danlu.evaluate.intervals import figure
from danlu.evaluate.judgement import Judgement
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.divided import PreparedParts
from danlu.pipeline.domain import Domain, Option, Simple
from danlu.pipeline.owners import ROUNDS, Federation
from danlu.pipeline.private import private_recipe
from danlu.pipeline.rounds import alone, answers_of, in_one_place, personal, rounds_of
from danlu.pipeline.sensitive import Sensitive
from danlu.pipeline.space import Choice, Place, Span
from danlu.pipeline.used import uses
from danlu.privacy import NOTHING, Ledger
from danlu.prose import percent
from danlu.stages import stage
from danlu.tasks import Recipe, learn
from danlu.tasks.answers import costs_from
from danlu.tasks.rounds import Budget
from danlu.trained import Labels, Learned, Read, Say, Trained

__all__ = [
    "DECISIONS",
    "Encoded",
    "Labelled",
    "PreparedRows",
    "caption_of",
    "row_in_words",
]

DECISIONS = (
    Option("--cost", "answers.cost", "What mistakes cost, such as fn=5,fp=1 or 'cat>dog=3'.", settings=costs_from),
    Option(
        "--alert-rate",
        "answers.alert_rate",
        "Of two classes: the share of rows that can be looked at, such as 0.01; no more are called the second class.",
        float,
    ),
)
"""What the decisions between classes go by."""

Encoded = tuple[Any, np.ndarray]  # a dict of arrays or an array; codes or standardised values


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PreparedRows(PreparedParts):
    """Encoded rows of the three parts, and what was learnt about them.

    Attributes:
        inferred: the task, and why.
        target: encodes the target, fitted on the training rows (the names of the classes on all rows).
        folds: the fold of each training row, where networks are judged on the rows that they did not learn from; or None.
        refold: divides the rows into other folds, by ``seed=``.
        schema: the columns of a table.
        parts: what is no table, as it was read.
        background: some training rows of a table, which the run keeps.
        sensitive: the groups of the rows, where a table's columns name some.
        spent: what the statistics of private rows spent.
        unlabelled: pictures without labels, from which the network learns first.
        public: encoded rows that are not private, to which the bins of a network are set; None where the training rows serve.
    """

    inferred: InferredTask
    target: TargetEncoder
    folds: np.ndarray | None = None
    refold: Callable[..., np.ndarray] | None = None
    schema: Schema | None = None
    parts: Any = None
    background: pl.DataFrame | None = None
    sensitive: Sensitive | None = None
    spent: Ledger = NOTHING
    public: Any = None
    unlabelled: Any = None

    def lines(self) -> Iterable[str]:
        return [str(each) for each in (self.schema, self.inferred) if each is not None]

    def known(self) -> Encoded:
        """All rows that the network sees, validation rows included: the training rows of a baseline."""
        if self.validation is None:
            return self.sample()
        (x, y), (more, also) = self.sample(), self.validation
        return jax.tree.map(lambda *parts: np.concatenate(parts), x, more), np.concatenate([y, also])


class Labelled(Domain):
    """A kind of data with one label per row.

    Attributes:
        summarised: what is said after the name of a baseline that learns from something else than the rows themselves.
    """

    head = Labels
    options: ClassVar[tuple[Option, ...]] = DECISIONS
    sections: ClassVar[Mapping[str, type[Blueprint]]] = {"federated": Federation}
    beside = ROUNDS
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

    def sliced(self, prepared: PreparedRows) -> pl.DataFrame | None:
        """The columns of the test rows by which slices are found; None where they have none."""
        return None

    simple_names: ClassVar[tuple[str, ...]] = tuple(BASELINES)
    """The baselines that learn from such rows."""

    def plan(self, config: TrainConfig, prepared: PreparedRows) -> Any:
        task = prepared.target.task
        config.imbalance.check(task)
        config.answers.check(task, prepared.target.classes, config.imbalance)
        plan = self.recipe(config, prepared)
        if config.model.ensemble is not None:
            plan = plan.replace(copies=config.model.ensemble)
        if config.trainer.snapshots is not None:
            plan = plan.in_cycles(config.trainer.snapshots, epochs=config.trainer.epochs)
        if plan.loss in ("mse", "mae", "huber") and task != "regression":
            raise ConfigError(f"trainer.loss={plan.loss} is for a quantity; this target is of classes")
        if config.private.on:
            plan = private_recipe(config, plan, prepared)
        return rounds_of(config, plan, prepared.owners)

    def space(self, config: TrainConfig, plan: Recipe) -> Mapping[str, Place]:
        """The rate and the decay around the recipe's, and of a network that has them dropout, width and depth.

        Reference:
            Erickson et al., "TabArena: a living benchmark for machine learning on tabular data" (2025), whose spaces for networks have
            the same five settings.
        """
        found = dict(super().space(config, plan))
        width, depth = (getattr(plan.model, name, None) for name in ("width", "depth"))
        if uses(self, "model.dropout"):
            found["model.dropout"] = Span(0.0, 0.5)
        if uses(self, "model.width") and isinstance(width, int):
            found["model.width"] = Choice(tuple(sorted({_even(width * share) for share in (0.67, 1.0, 1.5)} | {width})))
        if uses(self, "model.depth") and isinstance(depth, int):
            found["model.depth"] = Choice(tuple(range(max(1, depth - 1), depth + 2)))
        return found

    def learn(self, config: TrainConfig, prepared: PreparedRows, plan: Recipe, **how: Any) -> Learned:
        sample = prepared.sample()
        fair = {} if prepared.sensitive is None else prepared.sensitive.lesson(config.fairness, prepared)
        hidden = config.federated.noise is not None  # of clients that hide, no rows choose anything
        apart = bool(config.federated.own)  # nor where each has a network of its own
        learned = learn(
            fair.pop("data", prepared.train),
            encoder=prepared.encoder,
            target=prepared.target,
            plan=plan,
            validation=None if hidden or apart else fair.pop("validation", prepared.validation),
            folds=prepared.folds,
            rows=prepared.rows["train"],
            sample=sample[0] if prepared.public is None else prepared.public,
            imbalance=config.imbalance,
            answers=config.answers,
            kind=config.model.kind if prepared.owners is None and not config.private.on else "network",
            budget=_budget(config.trainer.minutes, config.trainer.seed, prepared, how.get("checkpoint")),
            adversarial=config.trainer.adversarial,
            seed=config.trainer.seed,
            **fair,
            **how,
        )
        if prepared.sensitive is not None:
            learned = prepared.sensitive.decided(config.fairness, learned)
        if apart:
            said = (
                f"{', '.join(config.federated.own)} of the network stays with each client; a new client has the mean of all, and "
                "the last round is kept"
            )
            learned = dataclasses.replace(learned, notes=(*learned.notes, said))
        if hidden:
            rounds: Any = plan
            said = rounds.spent(len(learned.fitted.history), ended=learned.fitted.stopped_by is None)
            return dataclasses.replace(learned, notes=(*learned.notes, said))
        if config.private.on:  # which rows there were is not kept
            return learned
        return dataclasses.replace(learned, model=learned.model.remembering(sample, prepared.validation))

    def test(self, config: TrainConfig, prepared: PreparedRows, trained: Trained) -> Judgement | None:
        if prepared.test is None:
            return None
        rows = prepared.shown if isinstance(prepared.shown, pl.DataFrame) else None
        own = trained.judge(*prepared.test, rows=rows, groups=_groups(config, prepared), seed=config.trainer.seed)
        if prepared.owners is not None:
            own = self.by_clients(config, prepared, trained, own, config.federated)
        if prepared.sensitive is not None:
            # What folds have in common is said once; of private rows it would be told without noise.
            told = config.evaluate.fold in (None, 1) and not config.private.on
            own = prepared.sensitive.judged(own, config.fairness, prepared, trained, proxies=told)
        if config.evaluate.slices and (frame := self.sliced(prepared)) is not None:
            alone = config.evaluate.fold is None  # the slices of all folds together are looked for afterwards
            own = own.sliced(frame, seed=config.trainer.seed) if alone else dataclasses.replace(own, shown=frame)
        if not config.evaluate.importance:
            return own
        evidence: Any = own.evidence
        return dataclasses.replace(own, importance=self.importance(config, prepared, trained, evidence))

    def by_clients(
        self, config: TrainConfig, prepared: PreparedRows, trained: Trained, own: Judgement, asked: Federation
    ) -> Judgement:
        """A test with what it tells of each client, and of its own version of the model where it has one."""
        owners: Any = prepared.owners
        if not asked.personal_epochs and not owners.versions:
            return own.by_clients(owners.names, owners.test, owners.sizes)
        if owners.versions:
            variables = owners.versions
            answers = answers_of(prepared, trained, variables, owners)
        else:
            with stage("training each client's own version"):
                answers, variables = personal(config, prepared, self.plan(config, prepared), trained)
        theirs = _answered(own.evidence, prepared.target, answers)
        models = dict(zip(owners.names, variables, strict=True))
        return own.by_clients(owners.names, owners.test, owners.sizes, theirs=theirs, models=models)

    def beside_clients(
        self, config: TrainConfig, prepared: PreparedRows, trained: Trained, ours: Any
    ) -> Iterable[Simple]:
        """What rounds of clients are compared with: all rows in one place, and each client alone."""
        if prepared.owners is None or not config.federated.compare:
            return
        target, plan = prepared.target, self.plan(config, prepared)
        with stage("training in one place, to compare"):
            central = in_one_place(config, prepared, plan)
        answers: Any = central.answer(prepared.test[0] if prepared.test is not None else None)
        yield Simple("the same network trained in one place", _answered(ours, target, answers))
        if len(prepared.owners.names) > 1:
            with stage("training each client alone, to compare"):
                answers = alone(config, prepared, plan, trained)
            yield Simple("a network of each client alone", _answered(ours, target, answers))

    def simple(self, config: TrainConfig, prepared: PreparedRows, trained: Trained, ours: Any) -> Iterable[Simple]:
        yield from self.beside_clients(config, prepared, trained, ours)
        if config.federated.noise is not None:  # a run keeps its simple models, which would know the rows without noise
            return
        target, (inputs, labels) = trained.head.target, prepared.known()
        found = baselines(
            target.task,
            (self.for_simple(inputs), labels),
            self.for_simple(prepared.test[0] if prepared.test is not None else inputs),
            classes=target.units,
            seed=config.trainer.seed,
            names=self.simple_names,
            seconds=config.evaluate.baseline_seconds,
        )
        even = trained.head.plain()
        for each in found.values():
            answers = target.inverse(each.prediction) if target.task == "regression" else each.prediction
            label = each.label if each.name == "commonest" else each.label + self.summarised
            yield Simple(
                label, ours.with_prediction(answers), kept=each.kept, answers=even.frame(answers), notes=each.notes
            )

    def old_head(self, artifact: Artifact) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {"target": artifact.task, "threshold": artifact.threshold}, {}

    def purpose(self, trained: Trained) -> str:
        return f"{TASK_WORDS[trained.task]} of {trained.head.target.name!r}"

    def read(self, trained: Trained, source: Any, *, lenient: bool, say: Say, truth: bool = False) -> Read:
        found = self.rows(trained, source, lenient=lenient, say=say)
        return _with_codes(found, trained.head.target, say) if truth else found

    def report(self, prepared: PreparedRows, trained: Trained, judgement: Judgement | None) -> dict[str, Any]:
        target, rows = prepared.target, None if judgement is None else judgement.evidence
        threshold = trained.head.threshold
        facts = {"threshold": f"{threshold:.3g}"} if target.task == "binary" and threshold != 0.5 else {}
        if trained.mixture:
            facts["blend"] = trained.mixture
        if prepared.owners is not None:
            facts["clients"] = str(prepared.owners)
        fields: dict[str, Any] = {
            "target": target.name,
            "task": target.task,
            "classes": target.classes,
            "rows": rows,
            "facts": facts,
            "ideals": dict.fromkeys(("set_coverage", "interval_coverage"), trained.head.level),
        }
        if target.task != "regression":
            labels = {"train": prepared.train, "validation": prepared.validation, "test": prepared.test}
            fields["class_counts"] = {
                part: np.bincount(rows_of[1], minlength=target.units).tolist()
                for part, rows_of in labels.items()
                if isinstance(rows_of, tuple)  # a stream is not counted
                and not (part == "train" and trained.provenance.get("privacy"))
            }
        if prepared.schema is not None:
            from danlu.report import describe_columns

            fields["columns"] = describe_columns(prepared.schema, prepared.shown)
        if judgement is not None and judgement.importance:
            from danlu.report.importance import importance_section

            fields["sections"] = [importance_section(judgement.importance)]
        return fields | self.mistakes(prepared, trained, rows) if isinstance(rows, Rows) else fields


def _answered(evidence: Any, target: TargetEncoder, answers: Any) -> Any:
    """The test with other answers."""
    told = target.inverse(answers) if target.task == "regression" else answers
    return evidence.with_prediction(told)


def _even(width: float) -> int:
    """A width that processors like."""
    return max(32, 32 * round(width / 32))


def row_in_words(rows: Rows, row: int, target: TargetEncoder) -> dict[str, str]:
    """The true and the predicted answer for a row, in words."""
    if rows.task == "regression":
        return {"true": figure(rows.truth[row]), "predicted": figure(rows.prediction[row])}
    return {
        f"true {target.name}": target.classes[int(rows.truth[row])],
        "predicted": target.classes[int(rows.chosen[row])],
        "probability of the truth": f"{rows.of_truth[row]:.2g}",
    }


def caption_of(rows: Rows, row: int, target: TargetEncoder) -> str:
    """The same in a line, with the probability of what was predicted."""
    true, chosen = list(row_in_words(rows, row, target).values())[:2]
    if rows.task == "regression":
        return f"{true}, predicted {chosen}"
    return f"{true}, predicted as {chosen} ({percent(rows.prediction[row, int(rows.chosen[row])])})"


def _budget(minutes: float | None, seed: int, prepared: PreparedRows, checkpoint: Any) -> Budget | None:
    refold = prepared.refold
    if minutes is None:
        return None
    rounds = None if checkpoint is None else Path(checkpoint).parent / "rounds"
    return Budget(minutes, rounds, None if refold is None else lambda number: refold(seed=seed + 1000 * number))


def _with_codes(found: Read, target: TargetEncoder, say: Say) -> Read:
    """The rows that have a label, with the labels' codes."""
    rows, labels = found.rows, found.truth
    if labels is None:
        raise SchemaError(f"the data lacks the target {target.name!r}, which evaluation needs")
    given = found.given
    if isinstance(rows, pl.DataFrame):
        rows = rows.with_columns(labels.alias(target.name))
        if given is not None:
            given = given.filter(has_target(rows[target.name]))
        rows, dropped = drop_missing_target(rows, target.name)
        labels, respelt = target.normalise(rows[target.name])
        for notice in (*dropped, *respelt):
            say(notice)
        if not rows.height:
            raise SchemaError(f"no row has a value for the target {target.name!r}")
    return dataclasses.replace(found, rows=rows, truth=target.transform(labels), given=given)


def _groups(config: TrainConfig, prepared: PreparedRows) -> np.ndarray | None:
    """The group of each test row, where the rows were divided by groups: those of one are not independent of each other."""
    column, shown = config.split.column, prepared.shown
    if config.split.method != "group" or not isinstance(shown, pl.DataFrame) or column not in shown.columns:
        return None
    return shown[column].cast(pl.String).rank("dense").fill_null(0).to_numpy().astype(np.int64)
