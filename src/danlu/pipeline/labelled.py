"""What kinds of data have in common whose rows each have one label: a class or a quantity."""

from __future__ import annotations

import abc
import dataclasses
import html
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import jax
import numpy as np
import polars as pl

from danlu.artifact import Artifact, save_artifact
from danlu.data import EncodedStream, InferredTask, Schema, TargetEncoder, drop_missing_target, read_table
from danlu.data.images import PixelStream
from danlu.data.seen import known_rows, row_hashes, seen_bytes, seen_from
from danlu.data.twins import equal_rows, keep_together
from danlu.errors import ConfigError, SchemaError, unknown_name
from danlu.evaluate import BASELINES, Importance, Rows, baselines, compare, intervals
from danlu.evaluate.compare import counted
from danlu.evaluate.kept import Kept, kept_bytes, kept_from
from danlu.pipeline.answers import IDENTIFIERS, beside, kept_columns, rounded
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Domain, Prepared
from danlu.pipeline.judge import Judgement
from danlu.pipeline.model import Model, Say, no_simple_model, warn
from danlu.tasks import Learned, Predictor, Recipe, learn

__all__ = ["Encoded", "Labelled", "LabelledModel", "PreparedRows", "Read", "chosen_settings", "together_of"]

Encoded = tuple[Any, np.ndarray]  # a dict of arrays or an array; codes or standardised values

_SEEN, _KEPT = "seen.safetensors", "baselines.safetensors"  # files of the artifact

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


@dataclasses.dataclass(frozen=True)
class Read:
    """New data as the encoder takes it.

    Attributes:
        rows: a frame, images, ….
        truth: their labels, where the source has them.
        names: of the rows, where they have any, such as file names.
        given: all columns of a table, as they were read, a row a row of ``rows``.
    """

    rows: Any
    truth: pl.Series | None = None
    names: pl.Series | None = None
    given: pl.DataFrame | None = None


def together_of(
    config: TrainConfig, rows: pl.DataFrame | Iterable[Hashable], *shares: float, noun: str = "rows", besides: str = ""
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """The groups of equal rows to keep in one part, and what to tell of them; see :func:`~danlu.data.twins.keep_together`."""
    if config.split.equal_rows == "anywhere" or config.split.method not in ("stratified", "random"):
        return None, ()
    return keep_together(equal_rows(rows), *shares, noun=noun, besides=besides)


def chosen_settings(section: Any, names: Iterable[str]) -> dict[str, Any]:
    """The settings of a config's ``section`` that are not left to the recipe."""
    found = {name: getattr(section, name) for name in names}
    return {name: value for name, value in found.items() if value is not None}


class Labelled(Domain):
    """A kind of data whose rows each have one label.

    Attributes:
        summarised: what is said after the name of a baseline that learns from something else than the rows themselves.
    """

    summarised: ClassVar[str] = ""

    @abc.abstractmethod
    def recipe(self, config: TrainConfig, prepared: PreparedRows) -> Recipe:
        """The recipe for prepared rows, with the config's settings."""

    @abc.abstractmethod
    def read(self, predictor: Predictor, source: Any, *, lenient: bool, say: Say) -> Read:
        """New data, checked against what the model was trained on.

        Raises:
            SchemaError: it does not fit.
        """

    @abc.abstractmethod
    def encoder_state(self, encoder: Any) -> tuple[Any, dict[str, np.ndarray]]:
        """The encoder as plain data (with its ``"kind"``) and arrays."""

    @abc.abstractmethod
    def encoder_from(self, description: Any, arrays: Mapping[str, np.ndarray]) -> Any:
        """The encoder that :meth:`encoder_state` described."""

    def mistakes(self, prepared: PreparedRows, trained: Predictor, rows: Rows) -> dict[str, Any]:
        """Fields of the report that show the test rows predicted worst."""
        return {}

    def importance(
        self, config: TrainConfig, prepared: PreparedRows, trained: Predictor, rows: Rows
    ) -> tuple[Importance, ...]:
        """How much the model relies on each column of the test rows, where these have columns."""
        return ()

    def for_baselines(self, inputs: Any) -> tuple[Any, tuple[str, ...]]:
        """Encoded rows as the baselines take them, and which baselines learn from such rows."""
        return inputs, tuple(BASELINES)

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

    def judge(self, config: TrainConfig, prepared: PreparedRows, trained: Predictor) -> Judgement | None:
        if prepared.test is None:
            return None
        rows = dataclasses.replace(rows_of(trained, prepared.test), groups=_groups(config, prepared))
        options: Any = {"seed": config.trainer.seed}
        own = judgement_of(rows, trained, **options)
        if config.evaluate.importance:
            own = dataclasses.replace(own, importance=self.importance(config, prepared, trained, rows))
        if not config.evaluate.baselines:
            return own
        target, (inputs, labels) = trained.target, prepared.known()
        inputs, names = self.for_baselines(inputs)
        test, _ = self.for_baselines(prepared.test[0])
        found = baselines(
            target.task,
            (inputs, labels),
            test,
            classes=target.units,
            seed=options["seed"],
            names=names,
            seconds=config.evaluate.baseline_seconds,
        )
        others, comparisons = {}, []
        kept: dict[str, Kept] = {}
        columns: dict[str, pl.Series] = {}
        notes = (*own.notes, *(f"{each.label}: {note}" for each in found.values() for note in each.notes))
        for each in found.values():
            prediction = target.inverse(each.prediction) if target.task == "regression" else each.prediction
            label = each.label if each.name == "commonest" else each.label + self.summarised
            others[label] = intervals(rows.with_prediction(prediction), **options)
            compared = compare(rows, prediction, label, **options)
            if each.kept is not None:
                compared = dataclasses.replace(compared, kept=each.kept.name)
                kept[each.kept.name] = each.kept
                written = dataclasses.replace(trained, threshold=0.5).frame(prediction)
                columns |= {f"{each.kept.name}: {column.name}": column for column in written}
            comparisons.append(compared)
        return dataclasses.replace(
            own,
            others=others,
            comparisons=tuple(comparisons),
            notes=notes,
            kept=kept,
            simple_predictions=pl.DataFrame(columns),
        )

    def keep(self, trained: Predictor, judgement: Judgement) -> Predictor:
        return dataclasses.replace(trained, kept=judgement.kept)

    def save(
        self, folder: str | Path, trained: Predictor, *, metrics: Mapping[str, Any], provenance: Mapping[str, Any]
    ) -> None:
        description, arrays = self.encoder_state(trained.encoder)
        schema = getattr(trained.encoder, "schema", None)
        save_artifact(
            folder,
            model=trained.network,
            variables=(trained.params, trained.state),
            task=trained.target.to_json(),
            schema=None if schema is None else schema.to_json(),
            encoder=description,
            encoder_arrays=arrays,
            classes=trained.target.classes,
            threshold=trained.threshold if trained.target.task == "binary" else None,
            metrics=metrics,
            provenance=provenance,
            files={
                **({} if trained.seen is None else {_SEEN: seen_bytes(trained.seen)}),
                **({_KEPT: kept_bytes(trained.kept)} if trained.kept else {}),
            },
        )

    def load(self, artifact: Artifact) -> Model:
        predictor = Predictor(
            artifact.model,
            artifact.params,
            artifact.state,
            self.encoder_from(artifact.encoder, artifact.encoder_arrays),
            TargetEncoder.from_json(artifact.task),
            0.5 if artifact.threshold is None else float(artifact.threshold),
            seen_from(artifact.files[_SEEN]) if _SEEN in artifact.files else None,
            kept_from(artifact.files[_KEPT]) if _KEPT in artifact.files else {},
        )
        return self.model(predictor, artifact.metrics, artifact.provenance)

    def model(self, trained: Predictor, metrics: Mapping[str, Any], provenance: Mapping[str, Any]) -> LabelledModel:
        return LabelledModel(trained, metrics, provenance, domain=self)

    def report(self, prepared: PreparedRows, trained: Predictor, judgement: Judgement | None) -> dict[str, Any]:
        target, rows = prepared.target, None if judgement is None else judgement.rows
        facts = {}
        if target.task == "binary" and trained.threshold != 0.5:
            facts["threshold"] = f"{trained.threshold:.3g}"
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
        return fields if rows is None else fields | self.mistakes(prepared, trained, rows)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class LabelledModel(Model):
    """A model of classes or of a quantity."""

    domain: Labelled = dataclasses.field(kw_only=True)

    @property
    def purpose(self) -> str:
        return f"{self.predictor.target.task} of {self.predictor.target.name!r}"

    def predict_values(self, source: Any, *, lenient: bool = False, say: Say = warn) -> np.ndarray:
        """Probabilities ``(rows, classes)`` or values ``(rows,)``; arguments and errors as of :meth:`predict`."""
        return self.predictor.predict_values(self.domain.read(self.predictor, source, lenient=lenient, say=say).rows)

    def predict(self, source: Any, *, lenient: bool = False, say: Say = warn) -> pl.DataFrame:
        """The prediction, and each class's probability, a row a row of ``source``.

        Args:
            lenient: whether unseen categories and odd values are taken as unknown, with a note, instead of refused.
            say: called with each notice.

        Raises:
            SchemaError: columns or values that do not fit what the model was trained on.
        """
        return self._answer(self.domain.read(self.predictor, source, lenient=lenient, say=say))

    def using(self, name: str) -> LabelledModel:
        """The same model with a simple one that it was compared with in the network's place.

        Args:
            name: what it is called, such as ``"logistic"``, ``"ridge"`` or ``"boosting"``.

        Raises:
            ConfigError: there is no such model.
        """
        kept = self.predictor.kept
        if not kept:
            raise no_simple_model(name, self.purpose)
        chosen = {each.label.lower(): key for key, each in kept.items()}.get(name.lower(), name)
        if chosen not in kept:
            raise unknown_name("baseline", name, kept)

        def instead(inputs: Any) -> np.ndarray:
            return kept[chosen].predict(self.domain.for_baselines(inputs)[0])

        return dataclasses.replace(self, predictor=dataclasses.replace(self.predictor, instead=instead, threshold=0.5))

    def _answer(self, found: Read) -> pl.DataFrame:
        frame = self.predictor.frame(self.predictor.predict_values(found.rows))
        return frame if found.names is None else frame.insert_column(0, found.names)

    def answers(
        self, source: Any, *, keep: str | Sequence[str] = IDENTIFIERS, lenient: bool = False, say: Say = warn
    ) -> pl.DataFrame:
        found, target = self.domain.read(self.predictor, source, lenient=lenient, say=say), self.predictor.target
        written = rounded(self._answer(found), scale=target.std if target.task == "regression" else None)
        given = found.given
        if given is None and keep not in (IDENTIFIERS, "none"):  # texts, of whose table one column was read
            given = read_table(source, typed=False).frame
            if given.height != written.height:
                raise ConfigError(
                    f"{source} has {given.height} rows and {written.height} answers; no column can be kept"
                )
        if given is None:
            return written
        schema = getattr(self.predictor.encoder, "schema", None)
        return beside(kept_columns(given, schema, keep), written, target.name)

    def evaluate(self, source: Any, *, lenient: bool = False, say: Say = warn) -> Judgement:
        target = self.predictor.target
        found = self.domain.read(self.predictor, source, lenient=lenient, say=say)
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
        encoded = self.predictor.encoder.transform(rows), target.transform(labels)
        encoded, told, notes = _unseen(self.predictor, encoded)
        for note in notes:
            say(note)
        judgement = judgement_of(rows_of(self.predictor, encoded), self.predictor)
        return dataclasses.replace(judgement, tested=counted(len(encoded[1]), told))

    def _details_html(self) -> str:
        encoder = self.predictor.encoder
        schema = getattr(encoder, "schema", None)
        return html.escape(repr(encoder)) if schema is None else schema._repr_html_()


def _groups(config: TrainConfig, prepared: PreparedRows) -> np.ndarray | None:
    """The group of each test row, where the rows were divided by groups: those of one are not independent of each other."""
    column, shown = config.split.column, prepared.shown
    if config.split.method != "group" or not isinstance(shown, pl.DataFrame) or column not in shown.columns:
        return None
    return shown[column].cast(pl.String).rank("dense").fill_null(0).to_numpy().astype(np.int64)


def _unseen(model: Predictor, test: Encoded) -> tuple[Encoded, str, list[str]]:
    """The rows that the model has not learnt from, what they are, and a word on the others; all of them where it knows all."""
    if model.seen is None:
        return test, "test rows", []
    fresh = ~np.isin(row_hashes(*test), model.seen)
    count, known = len(fresh), int((~fresh).sum())
    if not known:
        return test, "test rows", []
    if known == count:
        note = f"all {count:,} rows were seen in training: the scores tell how well they were learnt, not how new rows are predicted"
        return test, "rows it learnt from", [note]
    rows = np.flatnonzero(fresh)
    note = f"{known:,} of {count:,} rows were seen in training; the scores are of the {len(rows):,} others"
    return jax.tree.map(lambda values: values[rows], test), "rows not seen", [note]


def rows_of(model: Predictor, test: Encoded) -> Rows:
    """Encoded test rows with the model's prediction, in the target's own unit."""
    inputs, labels = test
    prediction = model.predict_inputs(inputs)
    truth = model.target.inverse(labels) if model.target.task == "regression" else np.asarray(labels, np.int64)
    return Rows(model.target.task, truth, prediction, model.threshold)


def judgement_of(rows: Rows, model: Predictor, *, seed: int = 0) -> Judgement:
    """The scores of a prediction with their intervals."""
    measured = intervals(rows, seed=seed)
    tested = counted(len(rows.truth), "test rows")
    truth = rows.truth if model.target.task == "regression" else model.target.labels[rows.truth].tolist()
    predictions = model.frame(rows.prediction).insert_column(0, pl.Series(f"true {model.target.name}", truth))
    notes = _lacking(rows, model.target.classes)
    return Judgement(measured, tested=tested, rows=rows, predictions=predictions, notes=notes)


def _lacking(rows: Rows, classes: Sequence[Any]) -> tuple[str, ...]:
    """A word on classes that no row is of: a model that never answers anything else would score as well."""
    present = set(rows.truth.tolist()) if classes else set()
    lacking = [each for code, each in enumerate(classes) if code not in present]
    if not lacking:
        return ()
    if len(lacking) == len(classes) - 1:
        only = classes[int(rows.truth[0])]
        return (
            f"all rows are {only!r}: a model that knows no other answer would score 1; test it on rows of all classes",
        )
    named = ", ".join(repr(each) for each in lacking[:8]) + (
        f" and {len(lacking) - 8:,} more" if len(lacking) > 8 else ""
    )
    return (f"no row is {named}: the scores tell nothing of {'this class' if len(lacking) == 1 else 'these classes'}",)
