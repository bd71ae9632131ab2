"""Images with boxes around their objects, from which finding objects is learnt."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl

from danlu.artifact import Artifact, save_artifact
from danlu.data.images import BoxSet, ImageEncoder, is_box_source, read_boxes, read_images
from danlu.data.images.boxes import boxed_files
from danlu.data.images.encode import check_pixels
from danlu.errors import ArtifactError, ConfigError, DataError, SchemaError
from danlu.evaluate import DetectionCounts, Found, Interval, compare
from danlu.evaluate.compare import counted
from danlu.evaluate.components import CommonestBox, Components
from danlu.nn.vision.detector import COARSEST
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Domain, Prepared
from danlu.pipeline.judge import Judgement
from danlu.pipeline.labelled import chosen_settings
from danlu.pipeline.model import Model, Say, warn
from danlu.pipeline.pictures import border, check_random, divided
from danlu.pipeline.used import COMMON, RECIPE
from danlu.tasks import ObjectDetector, Recipe, detection_recipe, learn_detection
from danlu.tasks.detection import box_scale, detector_of, padded_boxes, true_objects

__all__ = ["Detections", "Finder", "PreparedBoxes"]

_LARGEST = 128  # the longest side that images keep by themselves
_FOR_BASELINES = 2000  # training images that the baselines learn from

Part = tuple[np.ndarray, dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PreparedBoxes(Prepared):
    """Encoded images with their boxes.

    Attributes:
        encoder: what images are brought to, fitted on the training images.
        classes: their names, of all parts.
        parts: images and padded boxes of each part.
        test: the test images as they were read, or None.
        fill: the commonest brightness of the training images' borders, 0 … 255.
    """

    encoder: ImageEncoder
    classes: tuple[str, ...]
    parts: Mapping[str, Part]
    test: BoxSet | None
    fill: float

    def lines(self) -> Iterable[str]:
        objects = sum(int((targets["labels"] >= 0).sum()) for _, targets in self.parts.values())
        height, width, channels = self.encoder.in_shape
        kind = "colour" if channels == 3 else "grey"
        some = ", ".join(self.classes[:10]) + (", …" if len(self.classes) > 10 else "")
        yield (
            f"{sum(self.rows.values()):,} images of {height}×{width} ({kind}) with {objects:,} boxes of {len(self.classes)} "
            f"classes: {some}"
        )


class Detections(Domain):
    """Images in which objects of several classes are to be found."""

    kind = "detection"
    noun = "images with boxes"
    uses = (
        *COMMON,
        *RECIPE,
        "augment.color",
        "augment.erase",
        "augment.flip",
        "augment.scale",
        "augment.translate",
        "data.image_size",
        "detection.*",
        "model.width",
        "split.equal_rows",
        "split.method",
    )
    instead: ClassVar[Mapping[str, str]] = {"data.target": "the boxes say what is to be found; leave --target out"}

    def claims(self, config: TrainConfig, source: Any) -> bool:
        if config.data.image_column is not None or not is_box_source(source):
            return False
        return not config.data.target or Path(source).suffix not in (".csv", ".tsv")  # a table with a target is a table

    def files(self, config: TrainConfig, source: str | Path) -> list[Path]:
        return boxed_files(Path(source))

    def prepare(self, config: TrainConfig, source: Any) -> PreparedBoxes:
        data = config.data
        check_random(config, "images")
        found = read_boxes(source)
        places, said, twins = divided(config, found.images, found.parts, noun="images with boxes")
        parts = {name: found.rows(rows) for name, rows in places.items()}
        notices = [*found.notices, *twins]
        if data.test is not None:
            parts["test"] = read_boxes(data.test)
            notices += [f"test: {notice}" for notice in parts["test"].notices]
        classes = BoxSet((), (), tuple(row for part in parts.values() for row in part.labels), ()).classes
        known = set(parts["train"].classes)
        for name in ("validation", "test"):
            strange = [label for label in parts[name].classes if label not in known]
            if strange:
                notices.append(f"no training image has {', '.join(strange[:5])}, which the {name} part has")
        bare = [name for name, part in parts.items() if len(part) and not part.classes]
        if bare:
            raise DataError(f"no {bare[0]} image of {source} has a box; expected some in every part")
        encoder, resized = _encoder_for(parts["train"].images, data.image_size)
        if resized:
            notices.append(resized)
        room = max((len(row) for part in parts.values() for row in part.boxes), default=0)
        encoded = {name: _encoded(part, encoder, classes, room) for name, part in parts.items()}
        counts = {name: len(part) for name, part in parts.items()}
        return PreparedBoxes(
            encoder=encoder, classes=classes, parts=encoded, test=parts["test"] if len(parts["test"]) else None,
            fill=border(encoded["train"][0]), rows=counts, split=said, notices=tuple(notices),
        )  # fmt: skip

    def plan(self, config: TrainConfig, prepared: PreparedBoxes) -> Recipe:
        boxes = np.concatenate([each.boxes for each in true_objects(prepared.parts["train"][1])])
        return detection_recipe(
            prepared.rows["train"],
            prepared.encoder.in_shape,
            classes=len(prepared.classes),
            sides=np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])),
            augment=config.augment,
            fill=prepared.fill,
            stride=config.detection.stride,
            **config.trainer.chosen(),
            **chosen_settings(config.model, ("width",)),
        )

    def learn(self, config: TrainConfig, prepared: PreparedBoxes, plan: Recipe, **how: Any) -> Any:
        return learn_detection(
            prepared.parts["train"],
            encoder=prepared.encoder,
            classes=prepared.classes,
            plan=plan,
            validation=prepared.parts["validation"],
            settings=config.detection,
            seed=config.trainer.seed,
            **how,
        )

    def judge(self, config: TrainConfig, prepared: PreparedBoxes, trained: ObjectDetector) -> Judgement | None:
        if prepared.test is None:
            return None
        inputs, targets = prepared.parts["test"]
        true = true_objects(targets)
        options: dict[str, Any] = {"seed": config.trainer.seed}
        ours = trained.measured(inputs, true)
        judgement = _judgement(trained, ours, inputs, prepared.test, **options)
        if not config.evaluate.baselines:
            return judgement
        images, targets = prepared.parts["train"]
        images, boxes = images[:_FOR_BASELINES], true_objects(targets)[:_FOR_BASELINES]
        held_images, held = prepared.parts["validation"][0], true_objects(prepared.parts["validation"][1])
        count = len(prepared.classes)
        others: dict[str, Mapping[str, Interval]] = {}
        comparisons = []
        for label, simple in (
            ("the commonest box", CommonestBox(boxes)),
            ("connected patches, nearest mean", Components(images, boxes, count)),
        ):
            least = DetectionCounts.of(simple.find(held_images), held, classes=count).best_threshold()
            theirs = DetectionCounts.of(simple.find(inputs), true, classes=count, threshold=least)
            others[label] = theirs.scores(**options)
            compared = compare(ours, theirs, label, **options)
            comparisons.append(dataclasses.replace(compared, constant=isinstance(simple, CommonestBox)))
        return dataclasses.replace(judgement, others=others, comparisons=tuple(comparisons))

    def save(
        self, folder: str | Path, trained: ObjectDetector, *, metrics: Mapping[str, Any], provenance: Mapping[str, Any]
    ) -> None:
        save_artifact(
            folder,
            model=trained.network,
            variables=(trained.params, trained.state),
            task={"task": self.kind, "overlap": trained.overlap, "most": trained.most},
            encoder={**trained.encoder.to_json(), "kind": self.kind},
            classes=trained.classes,
            threshold=trained.threshold,
            metrics=metrics,
            provenance=provenance,
        )

    def load(self, artifact: Artifact) -> Finder:
        task = artifact.task
        told: Any = task if isinstance(task, Mapping) else {}
        overlap, most = told.get("overlap"), told.get("most")
        sound = isinstance(overlap, int | float) and 0 < overlap <= 1 and type(most) is int and 1 <= most <= 1000
        if not sound or artifact.threshold is None:
            raise ArtifactError(f"the saved detector is damaged: its task is {str(task)[:80]!r}")
        encoder = ImageEncoder.from_json(artifact.encoder)
        names = artifact.classes
        try:
            detector = detector_of(artifact.model)
        except ConfigError as error:
            raise ArtifactError(f"the saved detector is damaged: {error.message}") from error
        if detector.classes != len(names) or not all(isinstance(name, str) for name in names):
            raise ArtifactError(f"the saved network tells {detector.classes} classes; expected the names of as many")
        trained = ObjectDetector(
            artifact.model, artifact.params, artifact.state, encoder, tuple(names), float(artifact.threshold),
            float(overlap), most,
        )  # fmt: skip
        return self.model(trained, artifact.metrics, artifact.provenance)

    def model(self, trained: ObjectDetector, metrics: Mapping[str, Any], provenance: Mapping[str, Any]) -> Finder:
        return Finder(trained, metrics, provenance)

    def report(self, prepared: PreparedBoxes, trained: ObjectDetector, judgement: Judgement | None) -> dict[str, Any]:
        from danlu.report.detections import detection_sections

        detector = detector_of(trained.network)
        facts = {
            "boxes shown": f"of a score of {trained.threshold:.2f} or more, no two with an IoU above {trained.overlap:g}",
            "cells": f"of {detector.stride} pixels, boxes start from {detector.size:g}",
        }
        sections: list[tuple[str, str]] = []
        if judgement is not None and prepared.test is not None:
            inputs, targets = prepared.parts["test"]
            true = true_objects(targets)
            names = [Path(path).name for path in prepared.test.paths]
            counts = trained.measured(inputs, true)
            sections = detection_sections(inputs, true, trained.find_inputs(inputs), names, counts, prepared.classes)
        return {"target": "objects and their boxes", "task": self.kind, "facts": facts, "sections": sections}


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Finder(Model):
    """A detector as the user meets it."""

    @property
    def purpose(self) -> str:
        return f"finding objects of {len(self.predictor.classes)} classes"

    def predict(self, source: Any, *, lenient: bool = False, say: Say = warn) -> pl.DataFrame:
        """Find the objects in images: a folder, an image, images with boxes (which are not looked at), or an array.

        Returns:
            A row an object: ``file``, ``label``, ``score`` and ``x0, y0, x1, y1`` in the image's pixels; a row with the file alone
            for an image in which nothing was found.
        """
        images, paths = self._images(source, say)
        return _frame(paths, self.predictor.find(images), self.predictor.classes)

    def evaluate(self, source: Any, *, lenient: bool = False, say: Say = warn) -> Judgement:
        trained = self.predictor
        try:
            found = _test_part(read_boxes(source), say)
        except DataError as error:
            raise SchemaError(error.message, hint=error.hint) from error
        for notice in found.notices:
            say(notice)
        strange = [label for label in found.classes if label not in trained.classes]
        if strange and not lenient:
            raise SchemaError(
                f"{source} has boxes of {', '.join(strange[:5])}; the model knows {', '.join(trained.classes[:20])}",
                hint="--lenient leaves them out",
            )
        if strange:
            say(f"boxes of {', '.join(strange[:5])} are left out: the model does not know such")
        inputs, targets = _encoded(found, trained.encoder, trained.classes, 0)
        if not (targets["labels"] >= 0).any():
            raise SchemaError(f"{source} has no box of a class that the model knows")
        counts = trained.measured(inputs, true_objects(targets))
        return _judgement(trained, counts, inputs, found)

    def _images(self, source: Any, say: Say) -> tuple[Any, Sequence[str]]:
        if isinstance(source, np.ndarray):
            pixels = check_pixels(source, "the array", alone=True)
            return pixels, [f"image {row}" for row in range(len(pixels))]
        try:
            if is_box_source(source):
                boxed = _test_part(read_boxes(source), say)
                return boxed.images, boxed.paths
            found = read_images(source, whole=True)
        except DataError as error:
            raise SchemaError(error.message, hint=error.hint) from error
        for notice in found.notices:
            say(notice)
        return found.images, found.paths or [f"image {row}" for row in range(len(found))]


def _test_part(found: BoxSet, say: Say) -> BoxSet:
    if found.parts is None or "test" not in found.parts:
        return found
    rows = np.flatnonzero(found.parts == "test")
    say(f"the source has parts; its {len(rows)} test images are taken")
    return found.rows(rows)


def _encoder_for(images: Any, size: int | None) -> tuple[ImageEncoder, str]:
    """The shape for a detector, whose sides are multiples of 16, and a word where that changes the images."""
    encoder = ImageEncoder.fit(images, size=size)
    shrink = 1.0 if size else min(1.0, _LARGEST / max(encoder.height, encoder.width))
    height, width = (max(round(side * shrink / COARSEST), 2) * COARSEST for side in (encoder.height, encoder.width))
    if (height, width) == (encoder.height, encoder.width):
        return encoder, ""
    said = f"images of {encoder.height}×{encoder.width} are brought to {height}×{width}; data.image_size sets it"
    return dataclasses.replace(encoder, height=height, width=width), said


def _encoded(part: BoxSet, encoder: ImageEncoder, classes: Sequence[str], room: int) -> Part:
    """Images and padded boxes; boxes of other classes are left out."""
    numbers = {name: number for number, name in enumerate(classes)}
    boxes, labels = [], []
    for image, own, names in zip(part.images, part.boxes, part.labels, strict=True):
        known = [row for row, name in enumerate(names) if name in numbers]
        boxes.append(own[known] * box_scale(encoder, image)[None])
        labels.append(np.array([numbers[names[row]] for row in known], np.int32))
    images = encoder.transform(part.images) if len(part) else np.zeros((0, *encoder.in_shape), np.uint8)
    return images, padded_boxes(boxes, labels, room=room)


def _judgement(
    trained: ObjectDetector, counts: DetectionCounts, inputs: np.ndarray, test: BoxSet, **options: Any
) -> Judgement:
    shown = [
        dataclasses.replace(each, boxes=each.boxes / trained.scale(image)[None])
        for image, each in zip(test.images, trained.find_inputs(inputs), strict=True)
    ]
    predictions = _frame(test.paths, shown, trained.classes)
    return Judgement(counts.scores(**options), tested=counted(len(test), "test images"), predictions=predictions)


def _frame(paths: Sequence[str], found: Sequence[Found], classes: Sequence[str]) -> pl.DataFrame:
    rows: list[tuple[Any, ...]] = []
    for path, each in zip(paths, found, strict=True):
        scores = each.scores if each.scores is not None else np.ones(len(each))
        if not len(each):
            rows.append((path, None, None, None, None, None, None))
        for box, number, score in zip(each.boxes, each.classes, scores, strict=True):
            rows.append((path, classes[int(number)], round(float(score), 4), *(round(float(v), 2) for v in box)))
    numbers = dict.fromkeys(("score", "x0", "y0", "x1", "y1"), pl.Float64)
    return pl.DataFrame(rows, schema={"file": pl.String, "label": pl.String, **numbers}, orient="row")
