"""Object detection: the recipe, the training, and a trained model that finds objects in images."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from danlu.blueprint import Blueprint, setting
from danlu.data.images import ImageEncoder
from danlu.engine import Fitted, enable_compilation_cache
from danlu.engine.sources import ArraySource
from danlu.errors import ConfigError
from danlu.evaluate.detection import DetectionCounts, Found
from danlu.nn import Detector, Layer, MoveBoxes, RandomColor, RandomErase, Rescale, Sequential
from danlu.nn.cells import Detections, find_objects
from danlu.nn.losses import DetectionLoss
from danlu.nn.losses.detection import NO_OBJECT
from danlu.tasks.image import Augment
from danlu.tasks.recipe import Recipe

__all__ = [
    "Detection",
    "DetectionLearned",
    "ObjectDetector",
    "detection_recipe",
    "detector_of",
    "learn_detection",
    "padded_boxes",
]

_BUDGET = 2.8e13  # floating-point operations of a training, backward passes included: about five minutes of a core
_EPOCHS = (8, 60)
_STEPS = 1500  # updates that a small set of images gets at least
_MOST_EPOCHS = 200
_SMALL = 16.0  # pixels: where a tenth of the objects are smaller, cells are smaller
_BATCH = 64  # images that are looked at together
_LOWEST = 0.01  # the score below which a detection is not measured either


class Detection(Blueprint):
    """How objects are found.

    Args:
        threshold: the score from which an object is shown; None takes the one of the highest F1 on the validation images.
        overlap: the largest IoU of two objects that are both shown.
        most: the most objects of an image.
        stride: the side of a cell in pixels, 4 or 8; None goes by the size of the objects.
        box_weight: of the boxes in the loss, beside the classes'; see :class:`~danlu.nn.losses.DetectionLoss`.
    """

    threshold: float | None = setting(default=None, above=0, below=1, optional=True)
    overlap: float = setting(default=0.6, above=0, maximum=1)
    most: int = setting(default=64, minimum=1, maximum=1000, integer=True)
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
    """The default recipe for images with boxes: a small :class:`~danlu.nn.Detector`, trained within a budget of arithmetic.

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
    unknown = sorted(set(changes) - set(Recipe.__dataclass_fields__))
    if unknown:
        raise ConfigError(f"detection_recipe() received the settings {unknown}; expected fields of a Recipe")
    if not len(sides):
        raise ConfigError("detection_recipe() received no boxes; expected the sides of one or more")
    augment = augment or Augment()
    asked = [name for name in ("random", "mixup", "cutmix") if getattr(augment, name)]
    if asked:
        raise ConfigError(
            f"augment.{asked[0]} is set, and boxes cannot follow it",
            hint="for boxes there are flip, scale, translate, color and erase",
        )
    cell = stride or (4 if float(np.quantile(sides, 0.1)) < _SMALL else 8)
    size = round(float(np.exp(np.mean(np.log(np.maximum(sides, 1))))), 2)
    painted: list[Layer] = [RandomColor(2 * augment.color, augment.color, augment.color)] if augment.color else []
    painted += [RandomErase(augment.erase)] if augment.erase else []
    model = Sequential((Rescale(), *painted, Detector(classes, stride=cell, width=width, size=size)))
    moved = augment.flip or augment.scale or augment.translate
    batch_size = changes.get("batch_size", min(32, max(8, images // 20)))
    affordable = int(_BUDGET / (3 * (model.flops(in_shape) or 1) * images))
    enough = min(-(-_STEPS * batch_size // images), _MOST_EPOCHS)
    fields: dict[str, Any] = {
        "model": model,
        "loss": "detection",
        "batch_size": batch_size,
        "epochs": max(min(affordable, max(_EPOCHS[1], enough)), _EPOCHS[0]),
        "learning_rate": 2e-2,
        "weight_decay": 0.02,
        "warm_up": 0.1,
        "augment": MoveBoxes(augment.flip, augment.scale, augment.translate, fill) if moved else None,
    }
    return Recipe(**{**fields, **changes})


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


@dataclasses.dataclass(frozen=True, eq=False)
class ObjectDetector:
    """A trained detector with what stands between it and images.

    Attributes:
        network: the blueprint, which ends with a :class:`~danlu.nn.Detector`.
        params, state: its variables.
        encoder: what images are brought to.
        classes: the names of the classes.
        threshold: the score from which an object is shown.
        overlap, most: see :class:`Detection`.
    """

    network: Layer
    params: Any
    state: Any
    encoder: ImageEncoder
    classes: tuple[str, ...]
    threshold: float = 0.5
    overlap: float = 0.6
    most: int = 64

    @property
    def in_shape(self) -> tuple[int, int, int]:
        """The shape of one encoded image."""
        return self.encoder.in_shape

    def find_inputs(self, inputs: np.ndarray, *, threshold: float | None = None) -> list[Found]:
        """The objects in encoded images, in the pixels of these; see :meth:`find`."""
        least = self.threshold if threshold is None else threshold
        found: list[Found] = []
        for low in range(0, len(inputs), _BATCH):
            some = inputs[low : low + _BATCH]
            whole = np.concatenate([some, np.zeros((_BATCH - len(some), *some.shape[1:]), some.dtype)])
            seen = jax.tree.map(
                np.asarray, _look(self.network, self.params, self.state, whole, self.overlap, self.most)
            )
            for row in range(len(some)):
                kept = seen.scores[row] >= max(least, 1e-6)
                found.append(Found(seen.boxes[row][kept], seen.classes[row][kept], seen.scores[row][kept]))
        return found

    def find(self, images: Sequence[np.ndarray] | np.ndarray, *, threshold: float | None = None) -> list[Found]:
        """The objects in images of any size, in their own pixels, the surest first.

        Args:
            images: uint8, see :meth:`~danlu.data.images.ImageEncoder.transform`.
            threshold: the least score; None takes the model's.
        """
        found = self.find_inputs(self.encoder.transform(images), threshold=threshold)
        return [
            dataclasses.replace(each, boxes=each.boxes / self.scale(image)[None])
            for image, each in zip(images, found, strict=True)
        ]

    def scale(self, image: np.ndarray) -> np.ndarray:
        """What an image's x and y are multiplied by when it is encoded: float32 ``(4,)``, for a box."""
        return box_scale(self.encoder, image)

    def measured(self, inputs: np.ndarray, true: Sequence[Found]) -> DetectionCounts:
        """Which detections of encoded images are right, down to the least score."""
        found = self.find_inputs(inputs, threshold=_LOWEST)
        return DetectionCounts.of(found, true, classes=len(self.classes), threshold=self.threshold)


def box_scale(encoder: ImageEncoder, image: np.ndarray) -> np.ndarray:
    """See :meth:`ObjectDetector.scale`."""
    return np.array([encoder.width / image.shape[1], encoder.height / image.shape[0]] * 2, np.float32)


@functools.partial(jax.jit, static_argnames=("network", "overlap", "most"))
def _look(network: Layer, params: Any, state: Any, images: Any, overlap: float, most: int) -> Detections:
    detector = detector_of(network)
    outputs, _ = network.apply(params, state, images)
    candidates = max(128, 2 * most)
    return find_objects(
        outputs, stride=detector.stride, size=detector.size, most=most, overlap=overlap, candidates=candidates
    )


@dataclasses.dataclass(frozen=True)
class DetectionLearned:
    """What training gave: the model, and the record of the training."""

    model: ObjectDetector
    fitted: Fitted


def learn_detection(
    train: tuple[np.ndarray, dict[str, np.ndarray]],
    *,
    encoder: ImageEncoder,
    classes: Sequence[str],
    plan: Recipe,
    validation: tuple[np.ndarray, dict[str, np.ndarray]],
    settings: Detection | None = None,
    seed: int = 0,
    **how: Any,
) -> DetectionLearned:
    """Train the recipe's network on encoded images and their boxes.

    Args:
        train, validation: images ``uint8 (images, height, width, channels)`` and what :func:`padded_boxes` makes of their boxes.
            The validation images choose the best epoch, and the score from which objects are shown.
        encoder, classes: kept with the model.
        plan: its ``model`` ends with a :class:`~danlu.nn.Detector` of these classes.
        settings: the weight of the boxes, and what is shown.
        seed: decides the initial weights and every random draw.
        **how: ``callbacks``, ``checkpoint``, ``resume`` and ``display``, for :func:`danlu.fit`.
    """
    enable_compilation_cache()
    settings = settings or Detection()
    detector = detector_of(plan.model)
    loss = DetectionLoss(stride=detector.stride, size=detector.size, box_weight=settings.box_weight)
    fitted = plan.fit(
        train,
        rows=len(train[0]),
        loss=loss,
        validation=ArraySource(validation, batch_size=_BATCH),
        initial=plan.initial(jax.random.key(seed), train[0]),
        seed=seed,
        **how,
    )
    model = ObjectDetector(
        plan.model, fitted.params, fitted.state, encoder, tuple(classes), 0.5, settings.overlap, settings.most
    )
    threshold = settings.threshold or model.measured(validation[0], true_objects(validation[1])).best_threshold()
    return DetectionLearned(dataclasses.replace(model, threshold=threshold), fitted)


def true_objects(targets: dict[str, np.ndarray]) -> list[Found]:
    """What :func:`padded_boxes` padded."""
    rows = zip(targets["boxes"], targets["labels"], strict=True)
    return [Found(boxes[labels != NO_OBJECT], labels[labels != NO_OBJECT]) for boxes, labels in rows]
