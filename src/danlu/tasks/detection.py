"""Object detection: the recipe, and the head that turns a network's outputs into objects."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from danlu.blueprint import Blueprint, setting
from danlu.data.images.files import shapes_of
from danlu.errors import ArtifactError, ConfigError
from danlu.evaluate.detection import DetectionCounts, Found
from danlu.nn import Detector, Layer, MoveBoxes, Sequential
from danlu.nn.cells import Detections, find_objects
from danlu.nn.losses.detection import NO_OBJECT
from danlu.tasks.image import Augment, picture_recipe
from danlu.tasks.recipe import Recipe
from danlu.trained import Head
from danlu.trained.head import pieces

if TYPE_CHECKING:
    from danlu.trained import HeldOut, Trained

__all__ = ["Boxes", "Detection", "detection_recipe", "detector_of", "padded_boxes", "scaled"]

_BUDGET = 2.8e13  # floating-point operations of a training, backward passes included: about five minutes of a core
_STEPS = 1500  # updates that a small set of images gets at least
_MOST_EPOCHS = 200
_SMALL = 16.0  # pixels: where a tenth of the objects are smaller, cells are smaller
_LOWEST = 0.01  # the score below which a detection is not measured either
_NONE = 1e-6  # the score below which there is no object


class Detection(Blueprint):
    """How objects are detected.

    Args:
        threshold: the score from which an object is shown; None takes the one of the highest F1 on the validation images.
        iou_threshold: the largest IoU of two objects that are both shown.
        max_detections: the most objects of an image.
        stride: the side of a cell in pixels, 4 or 8; None goes by the size of the objects.
        box_weight: of the boxes in the loss, beside the classes'; see :class:`~danlu.nn.losses.DetectionLoss`.
    """

    _renamed: ClassVar[Mapping[str, str]] = {"overlap": "iou_threshold", "most": "max_detections"}

    threshold: float | None = setting(default=None, above=0, below=1, optional=True)
    iou_threshold: float = setting(default=0.6, above=0, maximum=1)
    max_detections: int = setting(default=64, minimum=1, maximum=1000, integer=True)
    stride: int | None = setting(default=None, minimum=4, maximum=8, integer=True, optional=True)
    box_weight: float = setting(default=2.0, above=0)


def detection_recipe(
    images: int,
    in_shape: tuple[int, int, int],
    *,
    classes: int,
    sides: np.ndarray,
    augment: Augment | None = None,
    fill: float = 0.0,
    stride: int | None = None,
    width: int = 16,
    **changes: Any,
) -> Recipe:
    """The default recipe for images with boxes: a small :class:`~danlu.nn.Detector`, trained within a compute budget.

    Args:
        images: how many are learnt from.
        in_shape: ``(height, width, channels)``, of pixels 0 … 255; sides that are multiples of 16.
        classes: how many.
        sides: the square roots of the boxes' areas, in pixels, from which the usual size of an object is taken.
        augment: random changes in training; of those that move pixels, ``flip``, ``scale`` and ``translate`` move boxes too.
        fill: the pixel value outside a moved image.
        stride: see :class:`Detection`.
        width: see :class:`~danlu.nn.Detector`.
        **changes: fields of the :class:`Recipe` to set instead of the defaults.

    Raises:
        ConfigError: no boxes, changes that boxes cannot follow, or an unknown field.

    Example:
        >>> plan = detection_recipe(3000, (64, 64, 1), classes=10, sides=np.full(9, 18.0))
        >>> plan.batch_size, plan.model.layers[-1].stride, round(plan.model.layers[-1].size)
        (32, 8, 18)
    """
    augment = augment or Augment()
    if not len(sides):
        raise ConfigError("detection_recipe() received no boxes; expected the sides of one or more")
    cell = stride or (4 if float(np.quantile(sides, 0.1)) < _SMALL else 8)
    size = round(float(np.exp(np.mean(np.log(np.maximum(sides, 1))))), 2)
    moved = augment.flip or augment.scale or augment.translate
    return picture_recipe(
        images,
        in_shape,
        Detector(classes, stride=cell, width=width, size=size),
        loss="detection",
        truth="boxes",
        augment=augment,
        follow="flip, scale, translate, color and erase",
        moved=MoveBoxes(augment.flip, augment.scale, augment.translate, fill) if moved else None,
        budget=_BUDGET,
        steps=_STEPS,
        most_epochs=_MOST_EPOCHS,
        most_batch=32,
        learning_rate=2e-2,
        changes=changes,
    )


def detector_of(network: Layer) -> Detector:
    """The :class:`~danlu.nn.Detector` that a recipe's network ends with.

    Raises:
        ConfigError: it ends with something else.
    """
    last = network.layers[-1] if isinstance(network, Sequential) and network.layers else network
    if not isinstance(last, Detector):
        raise ConfigError(f"the network ends with a {type(last).__name__}; expected a Detector")
    return last


def padded_boxes(boxes: Sequence[np.ndarray], classes: Sequence[np.ndarray], *, room: int = 0) -> dict[str, np.ndarray]:
    """Boxes and class numbers of each image as arrays of one shape: the targets of :class:`~danlu.nn.losses.DetectionLoss`.

    Args:
        boxes: ``(objects, 4)`` of each image.
        classes: ``(objects,)`` of each image.
        room: the least number of rows of an image; it is rounded up to a multiple of 8, so that similar data shares a program.

    Example:
        >>> padded_boxes([np.ones((1, 4)), np.zeros((0, 4))], [np.array([3]), np.zeros(0, int)])["labels"][:, :2].tolist()
        [[3, -1], [-1, -1]]
    """
    most = -(-max(room, 1, *(len(row) for row in boxes)) // 8) * 8
    found = {
        "boxes": np.zeros((len(boxes), most, 4), np.float32),
        "labels": np.full((len(boxes), most), NO_OBJECT, np.int32),
    }
    for row, (own, numbers) in enumerate(zip(boxes, classes, strict=True)):
        found["boxes"][row, : len(own)], found["labels"][row, : len(own)] = own, numbers
    return found


def true_objects(targets: Mapping[str, np.ndarray]) -> list[Found]:
    """The inverse of :func:`padded_boxes`."""
    rows = zip(targets["boxes"], targets["labels"], strict=True)
    return [Found(boxes[labels != NO_OBJECT], labels[labels != NO_OBJECT]) for boxes, labels in rows]


class Boxes(Head, fitted=("threshold",)):
    """Objects with their boxes. The answers are a :class:`~danlu.evaluate.Found` for each image, with uncertain ones that are not shown.

    Attributes:
        classes: their names.
        threshold: the score from which an object is shown.
        iou_threshold, max_detections: see :class:`Detection`.
        stride, size: the network's; see :class:`~danlu.nn.Detector`.
        sides: the height and width of the images that it sees.
    """

    kind, task = "boxes", "detection"
    batch = 64

    classes: tuple[str, ...]
    threshold: float = setting(default=0.5, minimum=0, maximum=1)
    iou_threshold: float = setting(default=0.6, above=0, maximum=1)
    max_detections: int = setting(default=64, minimum=1, maximum=1000, integer=True)
    stride: int = 8
    size: float = 1.0
    sides: tuple[int, int] = (32, 32)

    def __call__(self, outputs: Any) -> Detections:
        cells: dict[str, Any] = {"stride": self.stride, "size": self.size}
        shown: dict[str, Any] = {"max_detections": self.max_detections, "iou_threshold": self.iou_threshold}
        return find_objects(jnp.asarray(outputs), candidates=max(128, 2 * self.max_detections), **cells, **shown)

    def answer(self, trained: Trained, inputs: np.ndarray) -> list[Found]:
        """The objects in the pixels of the images as the network sees them; it and the head are one compiled program."""
        found: list[Found] = []
        for some in pieces(inputs, self.batch):
            whole = np.concatenate([some, np.zeros((self.batch - len(some), *some.shape[1:]), some.dtype)])
            seen = jax.tree.map(np.asarray, _found(self, trained.network, trained.params, trained.state, whole))
            for row in range(len(some)):
                found.append(Found(seen.boxes[row], seen.classes[row], seen.scores[row]).surer(_NONE))
        return found

    def answer_rows(self, trained: Trained, rows: Any) -> list[Found]:
        """The objects in the images' own pixels."""
        return self._in_own_pixels(super().answer_rows(trained, rows), rows)

    def _in_own_pixels(self, answers: Sequence[Found], images: Any) -> list[Found]:
        pairs = zip(answers, shapes_of(images), strict=True)
        return [dataclasses.replace(each, boxes=each.boxes / scaled(self.sides, shape)[None]) for each, shape in pairs]

    def shown(self, answers: Sequence[Found]) -> list[Found]:
        """The objects whose score is high enough to be shown."""
        return [each.surer(max(self.threshold, _NONE)) for each in answers]

    def frame(self, answers: Sequence[Found], rows: Any = None) -> pl.DataFrame:
        """One row per object: ``label``, ``score`` and ``x0, y0, x1, y1``; an empty row for an image without objects."""
        lines: list[tuple[Any, ...]] = []
        for each in self.shown(answers):
            scores = np.ones(len(each)) if each.scores is None else each.scores
            for box, number, score in zip(each.boxes, each.classes, scores, strict=True):
                lines.append((self.classes[int(number)], round(float(score), 4), *(round(float(v), 2) for v in box)))
            lines += [] if len(each) else [(None,) * 6]
        numbers = dict.fromkeys(("score", "x0", "y0", "x1", "y1"), pl.Float64)
        return pl.DataFrame(lines, schema={"label": pl.String, **numbers}, orient="row")

    def lines(self, answers: Sequence[Found]) -> np.ndarray:
        return np.array([max(len(each), 1) for each in self.shown(answers)], int)

    def replies(self, answers: Sequence[Found], rows: Any = None) -> list[dict[str, Any]]:
        """The list of the objects of each image."""
        return [{"objects": self.frame([each]).drop_nulls().to_dicts()} for each in answers]

    def evidence(self, answers: Sequence[Found], truth: dict[str, np.ndarray]) -> DetectionCounts:
        found = [each.surer(_LOWEST) for each in answers]
        return DetectionCounts.of(found, true_objects(truth), classes=len(self.classes), threshold=self.threshold)

    def fitted(self, held: HeldOut) -> Self:
        """The head with the threshold of the highest F1."""
        found = self.evidence(held.answers, held.truth)
        return dataclasses.replace(self, threshold=found.best_threshold())

    def beside(self, answers: Sequence[Found], truth: Any, rows: Any = None) -> pl.DataFrame:
        return self.frame(answers if rows is None else self._in_own_pixels(answers, rows))

    def check(self, network: Any, encoder: Any) -> None:
        try:
            detector = detector_of(network)
        except ConfigError as error:
            raise ArtifactError(f"the saved detector is damaged: {error.message}") from error
        if detector.classes != len(self.classes):
            raise ArtifactError(
                f"the saved network has {detector.classes} classes; expected as many names, not {len(self.classes)}"
            )
        if (detector.stride, detector.size, encoder.in_shape[:2]) != (self.stride, self.size, self.sides):
            raise ArtifactError("the saved detector is damaged: its cells are not those of its network")


@functools.partial(jax.jit, static_argnames="network")
def _found(head: Boxes, network: Layer, params: Any, state: Any, images: Any) -> Detections:
    return head(network.apply(params, state, images)[0])


def scaled(sides: tuple[int, int], shape: Sequence[int]) -> np.ndarray:
    """The factors for x and y when an image of a shape is resized: float32 ``(4,)``, for a box."""
    return np.array([sides[1] / shape[1], sides[0] / shape[0]] * 2, np.float32)
