"""Images that may each have several labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl

from danlu.artifact import Artifact, save_artifact
from danlu.data.images import (
    ImageEncoder,
    LabelSets,
    PixelStream,
    is_image_source,
    is_label_source,
    read_images,
    read_labels,
)
from danlu.data.images.encode import check_pixels
from danlu.data.images.read import listed_files
from danlu.errors import ArtifactError, ConfigError, DataError, SchemaError
from danlu.evaluate import Interval, LabelRows, compare
from danlu.evaluate.compare import counted
from danlu.evaluate.labels import best_threshold
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Domain, Prepared
from danlu.pipeline.judge import Judgement
from danlu.pipeline.labelled import chosen_settings
from danlu.pipeline.model import Model, Say, warn
from danlu.pipeline.pictures import border, cells, check_random, divided, encoder_for, memory_of, streamed
from danlu.pipeline.used import COMMON, RECIPE
from danlu.tasks import Recipe, Tagger, image_recipe, learn_labels

__all__ = ["LabelledImages", "PreparedLabels", "TaggingModel"]

_LARGEST = 64  # the longest side that images keep by themselves
_BASELINE = 14  # the side to which images are averaged for the baseline
_FOR_BASELINES = 5000  # training images that it learns from
_PICTURES = 12
_HELD = 2**31  # bytes of images that predicting holds at once

Part = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PreparedLabels(Prepared):
    """Encoded images and which labels they have.

    Attributes:
        encoder: what images are brought to, fitted on the training images.
        labels: their names, of all parts.
        name, separator: see :class:`~danlu.tasks.Tagger`.
        shares: the share of the training images that have each label.
        train: the training part, or a stream of it.
        validation, test: the other parts; None without test images.
        paths: of the test images, or None.
    """

    encoder: ImageEncoder
    labels: tuple[str, ...]
    name: str
    separator: str
    shares: np.ndarray
    train: Part | PixelStream
    validation: Part
    test: Part | None
    paths: tuple[str, ...] | None

    def lines(self) -> Iterable[str]:
        height, width, channels = self.encoder.in_shape
        kind = "colour" if channels == 3 else "grey"
        order = np.argsort(-self.shares, kind="stable")[:8]
        some = ", ".join(f"{self.labels[place]} {self.shares[place]:.0%}" for place in order)
        more = ", …" if len(self.labels) > len(order) else ""
        yield (
            f"{sum(self.rows.values()):,} images of {height}×{width} ({kind}), {len(self.labels)} labels, "
            f"{self.shares.sum():.1f} an image: {some}{more}"
        )

    def sample(self, rows: int) -> Part:
        """So many training rows, in memory."""
        if isinstance(self.train, PixelStream):
            return self.train.arrays(limit=rows)
        return self.train[0][:rows], self.train[1][:rows]


class LabelledImages(Domain):
    """Images, each with any number of labels."""

    kind = "multilabel"
    noun = "images with several labels each"
    uses = (
        *COMMON,
        *RECIPE,
        "augment.*",
        "data.image_column",
        "data.image_size",
        "data.label_separator",
        "data.memory",
        "data.stream",
        "data.target",
        "data.task",
        "model.width",
        "split.equal_rows",
        "split.method",
    )
    instead: ClassVar[Mapping[str, str]] = {
        "imbalance.threshold": "the threshold of several labels is chosen by itself"
    }

    def claims(self, config: TrainConfig, source: Any) -> bool:
        data = config.data
        return data.task in ("auto", "multilabel") and is_label_source(
            source,
            target=data.target,
            path_column=data.image_column,
            separator=data.label_separator,
            asked=data.task == "multilabel",
        )

    def files(self, config: TrainConfig, source: str | Path) -> list[Path]:
        return listed_files(Path(source), config.data.image_column)

    def prepare(self, config: TrainConfig, source: Any) -> PreparedLabels:
        data = config.data
        check_random(config, "images with several labels")
        options: dict[str, Any] = {
            "target": data.target, "path_column": data.image_column, "memory": memory_of(data),
        }  # fmt: skip
        found = read_labels(source, separator=data.label_separator, **options)
        sign = found.separator or data.label_separator
        places, said, twins = divided(config, found.images, found.parts)
        notices = [*found.notices, *twins]
        apart: LabelSets | None = None
        if data.test is not None:
            apart = read_labels(data.test, separator=sign, known=found.names, **options)
            notices += [f"test: {notice}" for notice in apart.notices]
        encoder, resized = encoder_for(found.rows(places["train"]).images, data.image_size, largest=_LARGEST)
        notices += [resized] if resized else []
        images, marks = found.images, found.marks

        def load(row: int) -> tuple[np.ndarray, np.ndarray]:
            return encoder.one(images[row]), marks[row]

        size = encoder.height * encoder.width * encoder.channels
        stream, told = streamed(config, images, places["train"], size, load)
        notices += [told] if told else []
        tested = apart if apart is not None else found.rows(places["test"])
        shares = marks[places["train"]].mean(axis=0)
        lacking = [name for name, share in zip(found.names, shares, strict=True) if not share]
        if lacking:
            notices.append(f"no training image has the labels {', '.join(lacking[:5])}")
        return PreparedLabels(
            encoder=encoder,
            labels=found.names,
            name=data.target or "labels",
            separator=sign or "|",
            shares=shares,
            train=stream or _encoded(found.rows(places["train"]), encoder),
            validation=_encoded(found.rows(places["validation"]), encoder),
            test=_encoded(tested, encoder) if len(tested) else None,
            paths=tested.paths,
            rows={**{name: len(rows) for name, rows in places.items()}, "test": len(tested)},
            split=said,
            notices=tuple(notices),
        )

    def plan(self, config: TrainConfig, prepared: PreparedLabels) -> Recipe:
        return image_recipe(
            "multilabel",
            prepared.rows["train"],
            prepared.encoder.in_shape,
            classes=len(prepared.labels),
            augment=config.augment,
            fill=border(prepared.sample(1000)[0]) / 127.5 - 1,
            **config.trainer.chosen(),
            **chosen_settings(config.model, ("width",)),
        )

    def learn(self, config: TrainConfig, prepared: PreparedLabels, plan: Recipe, **how: Any) -> Any:
        return learn_labels(
            prepared.train,
            encoder=prepared.encoder,
            labels=prepared.labels,
            plan=plan,
            rows=prepared.rows["train"],
            validation=prepared.validation,
            name=prepared.name,
            separator=prepared.separator,
            seed=config.trainer.seed,
            **how,
        )

    def judge(self, config: TrainConfig, prepared: PreparedLabels, trained: Tagger) -> Judgement | None:
        if prepared.test is None:
            return None
        options: dict[str, Any] = {"seed": config.trainer.seed}
        inputs, marks = prepared.test
        ours = trained.measured(inputs, marks)
        judgement = _judgement(trained, ours, prepared.paths, **options)
        if not config.evaluate.baselines:
            return judgement
        others: dict[str, Mapping[str, Interval]] = {}
        comparisons = []
        held = prepared.validation
        for label, (for_held, for_test) in {
            "the commonest labels": [np.tile(prepared.shares, (len(each), 1)) for each in (held[1], marks)],
            "logistic regression": _regression(prepared.sample(_FOR_BASELINES), held[0], inputs),
        }.items():
            theirs = LabelRows(marks, for_test, best_threshold(held[1], for_held))
            others[label] = theirs.scores(**options)
            comparisons.append(compare(ours, theirs, label, **options))
        return dataclasses.replace(judgement, others=others, comparisons=tuple(comparisons))

    def save(
        self, folder: str | Path, trained: Tagger, *, metrics: Mapping[str, Any], provenance: Mapping[str, Any]
    ) -> None:
        save_artifact(
            folder,
            model=trained.network,
            variables=(trained.params, trained.state),
            task={"task": self.kind, "name": trained.name, "separator": trained.separator},
            encoder={**trained.encoder.to_json(), "kind": self.kind},
            classes=trained.labels,
            threshold=trained.threshold,
            metrics=metrics,
            provenance=provenance,
        )

    def load(self, artifact: Artifact) -> TaggingModel:
        told: Any = artifact.task if isinstance(artifact.task, Mapping) else {}
        name, sign, labels = told.get("name"), told.get("separator"), artifact.classes
        sound = isinstance(name, str) and isinstance(sign, str) and sign and artifact.threshold is not None
        if not sound or len(labels) < 2 or not all(isinstance(label, str) for label in labels):
            raise ArtifactError(f"the saved labels are damaged: {str(artifact.task)[:80]!r}, {str(labels)[:80]}")
        encoder = ImageEncoder.from_json(artifact.encoder)
        try:
            shape = artifact.model.out_shape(encoder.in_shape)
        except ConfigError as error:
            raise ArtifactError(f"the saved network is damaged: {error.message}") from error
        if shape != (len(labels),):
            raise ArtifactError(
                f"the saved network's output has the shape {shape}; expected one for each of {len(labels)} labels"
            )
        trained = Tagger(
            artifact.model, artifact.params, artifact.state, encoder, tuple(labels), float(artifact.threshold or 0.0), name, sign
        )  # fmt: skip
        return self.model(trained, artifact.metrics, artifact.provenance)

    def model(self, trained: Tagger, metrics: Mapping[str, Any], provenance: Mapping[str, Any]) -> TaggingModel:
        return TaggingModel(trained, metrics, provenance)

    def report(self, prepared: PreparedLabels, trained: Tagger, judgement: Judgement | None) -> dict[str, Any]:
        from danlu.report.labels import label_sections, mistake_sections

        fields: dict[str, Any] = {"target": prepared.name, "task": self.kind}
        fields["facts"] = {"threshold": f"{trained.threshold:.2f}"}
        if judgement is None or prepared.test is None:
            return fields
        rows = trained.measured(*prepared.test)
        sections = label_sections(rows, prepared.labels, prepared.shares)
        pictures = _pictures(trained, prepared.test[0], rows)
        return {**fields, "sections": [*sections, *mistake_sections(pictures)]}


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class TaggingModel(Model):
    """A model of several labels as the user meets it."""

    @property
    def purpose(self) -> str:
        return f"which of {len(self.predictor.labels)} labels an image has"

    def predict_values(self, source: Any, *, say: Say = warn) -> np.ndarray:
        """The probability of each label, ``(images, labels)``; arguments and errors as of :meth:`predict`."""
        return self.predictor.predict_inputs(self.predictor.encoder.transform(_images(source, say)[0]))

    def predict(self, source: Any, *, lenient: bool = False, say: Say = warn) -> pl.DataFrame:
        """The labels of images, and the probability of each: a folder, an image, a table of paths, an npz file or an array."""
        images, paths = _images(source, say)
        frame = self.predictor.frame(self.predictor.predict_inputs(self.predictor.encoder.transform(images)))
        return frame if paths is None else frame.insert_column(0, pl.Series("file", paths))

    def evaluate(self, source: Any, *, lenient: bool = False, say: Say = warn) -> Judgement:
        trained = self.predictor
        try:
            found = read_labels(
                source, target=trained.name, separator=trained.separator, known=trained.labels, lenient=lenient, memory=_HELD
            )  # fmt: skip
        except SchemaError:
            raise
        except DataError as error:
            raise SchemaError(error.message, hint=error.hint) from error
        for notice in found.notices:
            say(notice)
        if found.parts is not None and "test" in found.parts:
            found = found.rows(np.flatnonzero(found.parts == "test"))
            say(f"the source has parts; its {len(found)} test images are taken")
        rows = trained.measured(*_encoded(found, trained.encoder))
        return _judgement(trained, rows, found.paths)


def _encoded(part: LabelSets, encoder: ImageEncoder) -> Part:
    return encoder.transform(part.images), part.marks


def _judgement(trained: Tagger, rows: LabelRows, paths: tuple[str, ...] | None, **options: Any) -> Judgement:
    predictions = trained.frame(rows.prediction)
    predictions = predictions.insert_column(0, pl.Series(f"true {trained.name}", trained.written(rows.truth)))
    if paths is not None:
        predictions = predictions.insert_column(0, pl.Series("file", paths))
    return Judgement(rows.scores(**options), tested=counted(len(rows), "test images"), predictions=predictions)


def _regression(train: Part, *asked: np.ndarray) -> list[np.ndarray]:
    """The probability of each label by a logistic regression of its own on averaged pixels."""
    import warnings

    from sklearn.linear_model import LogisticRegression

    x, wanted = cells(train[0], _BASELINE), [cells(each, _BASELINE) for each in asked]
    found = [np.zeros((len(each), train[1].shape[1])) for each in wanted]
    for place, own in enumerate(train[1].T):
        for out in found:
            out[:, place] = own.mean()
        if own.any() and not own.all():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # one that has not quite converged is a baseline as well
                model = LogisticRegression(max_iter=200).fit(x, own)
            for out, each in zip(found, wanted, strict=True):
                out[:, place] = model.predict_proba(each)[:, 1]
    return found


def _images(source: Any, say: Say) -> tuple[Any, tuple[str, ...] | None]:
    if isinstance(source, np.ndarray):
        return check_pixels(source, "the array", alone=True), None
    try:
        if is_image_source(source) and Path(source).suffix == ".npz":
            labelled = read_labels(source)
            return labelled.images, None
        found = read_images(source, memory=_HELD)
    except DataError as error:
        raise SchemaError(error.message, hint=error.hint) from error
    for notice in found.notices:
        say(notice)
    return found.images, found.paths


def _pictures(trained: Tagger, inputs: np.ndarray, rows: LabelRows) -> list[tuple[np.ndarray, np.ndarray, str]]:
    """The images with the labels that were most wrong, where the network looked for these, and a word about each."""
    from danlu.explain import grad_cam

    gap = np.abs(rows.truth - rows.prediction) * (rows.truth != rows.chosen)
    label = gap.argmax(axis=1)
    worst = np.argsort(-gap.max(axis=1), kind="stable")[:_PICTURES]
    worst = worst[gap.max(axis=1)[worst] > 0]
    if not len(worst):
        return []
    filled = np.resize(worst, _PICTURES)  # of one size: one compilation
    seen = grad_cam(trained.network, trained.params, trained.state, inputs[filled], label[filled])
    found = []
    for row, heat in zip(worst, seen, strict=False):
        place = label[row]
        way = "missed" if rows.truth[row, place] else "not there"
        said = f"{trained.labels[place]} {way} ({rows.prediction[row, place]:.0%})"
        found.append((np.asarray(inputs[row]), np.asarray(heat), said))
    return found
