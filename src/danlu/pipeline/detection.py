"""Object detection: images with boxes around their objects."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from danlu.artifact import Artifact
from danlu.blueprint import Blueprint
from danlu.data.images import BoxSet, ImageEncoder, is_box_source, read_boxes
from danlu.data.images.boxes import boxed_files, classes_of
from danlu.data.images.files import shapes_of
from danlu.errors import ArtifactError, ConfigError, DataError, SchemaError
from danlu.evaluate import DetectionCounts
from danlu.evaluate.components import CommonestBox, Components
from danlu.evaluate.judgement import Judgement
from danlu.nn.losses import DetectionLoss
from danlu.nn.vision.detector import COARSEST
from danlu.pipeline.config import TrainConfig
from danlu.pipeline.domain import Simple
from danlu.pipeline.pictures import Pictures, PreparedPictures, divided, encoded_parts
from danlu.pipeline.pixels import border
from danlu.pipeline.used import COMMON, PICTURES, RECIPE
from danlu.tasks import Boxes, Detection, Recipe, detection_recipe
from danlu.tasks.detection import detector_of, padded_boxes, scaled, true_objects
from danlu.trained import Learned, Read, Say, Trained

__all__ = ["Detections", "PreparedBoxes"]

_LARGEST = 128  # the longest side that images keep by themselves
_FOR_BASELINES = 2000  # training images that the baselines learn from


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class PreparedBoxes(PreparedPictures):
    """Encoded images with their boxes."""

    def lines(self) -> Iterable[str]:
        parts, classes = [part for part in (self.train, self.validation, self.test) if part], self.head.classes
        objects = sum(int((targets["labels"] >= 0).sum()) for _, targets in parts)
        some = ", ".join(classes[:10]) + (", …" if len(classes) > 10 else "")
        yield f"{self.told()} with {objects:,} boxes of {len(classes)} classes: {some}"


class Detections(Pictures):
    """Images with boxes, to learn to detect objects of several classes."""

    kind = "detection"
    noun = "images with boxes"
    sections: ClassVar[Mapping[str, type[Blueprint]]] = {"detection": Detection}
    head = Boxes
    uses = (*COMMON, RECIPE, *PICTURES, "augment.color|erase|flip|scale|translate", "detection.*")
    searched_by = ("map",)
    instead: ClassVar[Mapping[str, str]] = {"data.target": "the boxes are what is predicted; leave --target out"}

    def claims(self, config: TrainConfig, source: Any) -> bool:
        if config.data.image_column is not None or not is_box_source(source):
            return False
        return not config.data.target or Path(source).suffix not in (".csv", ".tsv")  # a table with a target is a table

    def files(self, config: TrainConfig, source: str | Path) -> list[Path]:
        return boxed_files(Path(source))

    def prepare(self, config: TrainConfig, source: Any) -> PreparedBoxes:
        parts = divided(config, source, lambda source, before=None: read_boxes(source), noun="images with boxes")
        labels = {name: [parts.found.labels[row] for row in rows] for name, rows in parts.places.items()}
        labels["test"] = list(parts.tested.labels)
        known = {name for row in labels["train"] for name in row}
        for part, rows in labels.items():
            strange = [name for name in classes_of(rows) if name not in known]
            if strange:
                parts.notices.append(f"no training image has {', '.join(strange[:5])}, which the {part} part has")
            if rows and not any(rows):
                raise DataError(f"no {part} image of {source} has a box; expected some in every part")
        head = Boxes(classes_of(row for rows in labels.values() for row in rows))
        room = max((len(row) for rows in labels.values() for row in rows), default=0)
        encoded = encoded_parts(
            config,
            parts,
            lambda part, encoder: _targets(part, encoder, head, room),
            largest=_LARGEST,
            multiple=lambda height, width: COARSEST,
            least=2,
        )
        return PreparedBoxes(**self.fields(parts, head, **encoded), shown=parts.tested.images)

    def truth(self, found: BoxSet, encoder: ImageEncoder, head: Boxes) -> dict[str, np.ndarray]:
        return _targets(found, encoder, head, 0)

    def plan(self, config: TrainConfig, prepared: PreparedBoxes) -> Recipe:
        images, targets = prepared.train
        boxes = np.concatenate([each.boxes for each in true_objects(targets)])
        return detection_recipe(
            prepared.rows["train"],
            prepared.encoder.in_shape,
            classes=len(prepared.head.classes),
            sides=np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])),
            augment=config.augment,
            fill=border(images),
            stride=config.detection.stride,
            **config.decided("width"),
        )

    def measures(self, config: TrainConfig, plan: Recipe) -> dict[str, Any]:
        settings, detector = config.detection, detector_of(plan.model)
        return {"loss": DetectionLoss(stride=detector.stride, size=detector.size, box_weight=settings.box_weight)}

    def learn(self, config: TrainConfig, prepared: PreparedBoxes, plan: Recipe, **how: Any) -> Learned:
        settings, detector = config.detection, detector_of(plan.model)
        shown = {
            "iou_threshold": settings.iou_threshold,
            "max_detections": settings.max_detections,
            "sides": prepared.encoder.in_shape[:2],
        }
        if settings.threshold is not None:
            shown["threshold"], how["held"] = settings.threshold, None
        head = dataclasses.replace(prepared.head, stride=detector.stride, size=detector.size, **shown)
        return super().learn(config, dataclasses.replace(prepared, head=head), plan, **how)

    def simple(self, config: TrainConfig, prepared: PreparedBoxes, trained: Trained, ours: Any) -> Iterable[Simple]:
        count = len(prepared.head.classes)
        (images, targets), (held, known) = prepared.sample(_FOR_BASELINES), prepared.validation
        inputs, true = prepared.test or prepared.validation
        for label, simple in (
            ("the most common box", CommonestBox(true_objects(targets))),
            ("connected patches, nearest mean", Components(images, true_objects(targets), count)),
        ):
            tried = DetectionCounts.of(simple.find(held), true_objects(known), classes=count)
            theirs = DetectionCounts.of(
                simple.find(inputs), true_objects(true), classes=count, threshold=tried.best_threshold()
            )
            yield Simple(label, theirs, constant=isinstance(simple, CommonestBox))

    def old_head(self, artifact: Artifact) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        told: Any = artifact.task if isinstance(artifact.task, Mapping) else {}
        seen: Any = artifact.encoder if isinstance(artifact.encoder, Mapping) else {}
        try:
            detector = detector_of(artifact.model)
        except ConfigError as error:
            raise ArtifactError(f"the saved detector is damaged: {error.message}") from error
        cells = {"stride": detector.stride, "size": detector.size, "sides": (seen.get("height"), seen.get("width"))}
        shown = {
            "threshold": artifact.threshold,
            "iou_threshold": told.get("overlap"),
            "max_detections": told.get("most"),
        }
        return {"classes": artifact.classes, **shown, **cells}, {}

    def read(self, trained: Trained, source: Any, *, lenient: bool, say: Say, truth: bool = False) -> Read:

        def read() -> BoxSet:
            found = read_boxes(source)
            strange = [label for label in found.classes if label not in trained.head.classes]
            if truth and strange and not lenient:
                raise SchemaError(
                    f"{source} has boxes of {', '.join(strange[:5])}; the model knows {', '.join(trained.head.classes[:20])}",
                    hint="--lenient leaves them out",
                )
            if truth and strange:
                say(f"boxes of {', '.join(strange[:5])} are left out: the model does not know these classes")
            return found

        boxed = truth or is_box_source(source)
        found = self.taken(trained, source, read if boxed else None, say, truth=truth, numbered=True)
        if found.truth is not None and not (found.truth["labels"] >= 0).any():
            raise SchemaError(f"{source} has no box of a class that the model knows")
        return found

    def purpose(self, trained: Trained) -> str:
        return f"detecting objects of {len(trained.head.classes)} classes"

    def report(self, prepared: PreparedBoxes, trained: Trained, judgement: Judgement | None) -> dict[str, Any]:
        from danlu.report.detections import detection_sections

        head = trained.head
        facts = {
            "boxes shown": f"with a score of {head.threshold:.2f} or more, no two with an IoU above {head.iou_threshold:g}",
            "cells": f"of {head.stride} pixels, with a base size of {head.size:g}",
        }
        sections: list[tuple[str, str]] = []
        counts = None if judgement is None else judgement.evidence
        if prepared.test is not None and isinstance(counts, DetectionCounts):
            inputs, targets = prepared.test
            shown = head.shown(trained.answer(inputs))
            sections = detection_sections(
                inputs, true_objects(targets), shown, prepared.short_names(), counts, head.classes
            )
        return {"target": "objects and their boxes", "task": self.kind, "facts": facts, "sections": sections}


def _targets(part: BoxSet, encoder: ImageEncoder, head: Boxes, room: int) -> dict[str, np.ndarray]:
    """The padded boxes of encoded images; those of other classes are left out."""
    numbers = {name: number for number, name in enumerate(head.classes)}
    boxes, labels = [], []
    for shape, own, names in zip(shapes_of(part.images), part.boxes, part.labels, strict=True):
        known = [row for row, name in enumerate(names) if name in numbers]
        boxes.append(own[known] * scaled(encoder.in_shape[:2], shape)[None])
        labels.append(np.array([numbers[names[row]] for row in known], np.int32))
    return padded_boxes(boxes, labels, room=room)
