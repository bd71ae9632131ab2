"""Segmentation: the recipe, and the head that turns a network's outputs into a class for every pixel."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from danlu.blueprint import Blueprint, setting
from danlu.data.images.files import shapes_of
from danlu.errors import ArtifactError, ConfigError
from danlu.evaluate import MaskCounts
from danlu.nn import MoveMasks, RandomAffine, RandomFlip
from danlu.nn.augment import RandomMove
from danlu.nn.vision import UNet
from danlu.tasks.image import Augment, picture_recipe
from danlu.tasks.recipe import Recipe
from danlu.trained import Head, Say, warn
from danlu.trained.head import namespace, out_shape_of, pieces

if TYPE_CHECKING:
    from danlu.trained import Trained

__all__ = ["Masks", "Segmentation", "segmentation_recipe", "unet_levels"]

_BUDGET = 2.5e13  # floating-point operations of a training, backward passes included: about ten minutes of a core
_STEPS = 1000  # updates that a small set of images gets at least
_MOST_EPOCHS = 150
_COARSEST = 8  # pixels a side of the coarsest level, or more
_LEVELS = (2, 4)


class Segmentation(Blueprint):
    """The settings of segmentation.

    Args:
        ignore: the value of mask pixels that are not counted, in learning or in measuring; None takes 255 where masks have two other
            values or more (the edges of objects in many collections), −1 counts all.
        dice: the weight of the Dice loss beside the cross-entropy; see :class:`~danlu.nn.losses.SegmentationLoss`.
    """

    ignore: int | None = setting(default=None, minimum=-1, maximum=255, integer=True, optional=True)
    dice: float = setting(default=1.0, minimum=0)


def unet_levels(height: int, width: int) -> int:
    """The levels of a U-Net for images of this size: the coarsest one is about 8 pixels wide, of 2 to 4 levels.

    >>> unet_levels(64, 96), unet_levels(28, 28), unet_levels(256, 256)
    (4, 2, 4)
    """
    return int(min(max(math.log2(max(min(height, width), 1) / _COARSEST) // 1 + 1, _LEVELS[0]), _LEVELS[1]))


def segmentation_recipe(
    images: int,
    in_shape: tuple[int, int, int],
    *,
    classes: int,
    augment: Augment | None = None,
    fill: float = 0.0,
    width: int = 16,
    depth: int | None = None,
    **changes: Any,
) -> Recipe:
    """The default recipe for images with masks: a small :class:`~danlu.nn.UNet`, trained within a compute budget.

    Args:
        images: how many are learnt from.
        in_shape: ``(height, width, channels)``, of pixels 0 … 255; sides that ``2^(depth − 1)`` divides.
        classes: how many.
        augment: random changes in training; those that move pixels move masks too.
        fill: the pixel value outside a moved image.
        width: channels of the finest level; each coarser one has twice as many.
        depth: levels; None goes by the size, see :func:`unet_levels`.
        **changes: fields of the :class:`Recipe` to set instead of the defaults.

    Raises:
        ConfigError: changes that masks cannot follow, sizes that do not fit, or an unknown field.

    Example:
        >>> plan = segmentation_recipe(1000, (64, 64, 3), classes=6)
        >>> plan.batch_size, plan.model.layers[-1].widths
        (16, (16, 32, 64, 128))
    """
    augment = augment or Augment()
    levels = depth or unet_levels(*in_shape[:2])
    factor = 2 ** (levels - 1)
    if any(side % factor for side in in_shape[:2]):
        raise ConfigError(
            f"images of {in_shape[0]}×{in_shape[1]} cannot be halved {levels - 1} times; expected multiples of {factor}",
            hint="set data.image_size or model.depth",
        )
    return picture_recipe(
        images,
        in_shape,
        UNet(classes, widths=tuple(width * 2**level for level in range(levels))),
        loss="segmentation",
        truth="masks",
        augment=augment,
        follow="flip, rotation, scale, shear, translate, color and erase",
        moved=_moved(augment, fill),
        budget=_BUDGET,
        steps=_STEPS,
        most_epochs=_MOST_EPOCHS,
        most_batch=16,
        learning_rate=5e-3,
        changes=changes,
    )


def _moved(augment: Augment, fill: float) -> MoveMasks | None:
    moves: list[RandomMove] = [RandomFlip()] if augment.flip else []
    if augment.rotation or augment.scale or augment.shear or augment.translate:
        moves.append(RandomAffine(augment.rotation, augment.scale, augment.shear, augment.translate))
    return MoveMasks(tuple(moves), fill) if moves else None


class Masks(Head):
    """The class of every pixel. The answers are class numbers, uint8 ``(height, width)`` of each image; the outputs are logits.

    Attributes:
        classes: their names.
        values: the value of each class in masks.
        ignore: the value of pixels that are not counted, or None.
    """

    kind, task = "masks", "segmentation"
    batch = 32
    piece = 32
    verbs = ("masks",)

    classes: tuple[str, ...]
    values: tuple[int, ...]
    ignore: int | None = None

    def __call__(self, outputs: Any) -> Any:
        return outputs.argmax(axis=-1).astype(namespace(outputs).uint8)

    def answer(self, trained: Trained, inputs: np.ndarray) -> np.ndarray:
        """Uint8 ``(images, height, width)`` as the network sees the images, a few at a time, since their logits take much memory."""
        found = [self(trained.outputs(some)) for some in pieces(inputs, self.batch)]
        return np.concatenate(found)

    def answer_rows(self, trained: Trained, rows: Any) -> list[np.ndarray]:
        """The masks of images of any size, in their own size.

        Where an image is of another size than what the network sees, the probabilities are brought to its own (bilinearly), and the
        likeliest class of each pixel is taken then.
        """
        return list(self._in_own_size(trained, rows))

    def _in_own_size(self, trained: Trained, images: Any) -> Iterator[np.ndarray]:
        for some in pieces(images, self.batch):
            outputs = trained.outputs(trained.encoder.transform(some))
            for shape, logits in zip(shapes_of(some), outputs, strict=True):
                yield self(logits) if logits.shape[:2] == shape[:2] else _enlarged(logits, shape[0], shape[1])

    def masks(self, trained: Trained, source: Any, *, say: Say = warn) -> Iterator[tuple[str, np.ndarray]]:
        """The file and the mask of each image, uint8 ``(height, width)`` in its own size, with the values of the training masks."""
        found = trained.read(source, say=say)
        values, names = np.asarray(self.values, np.uint8), found.names if found.names is not None else ()
        for name, codes in zip(names, self._in_own_size(trained, found.rows), strict=True):
            yield name, values[codes]

    def frame(self, answers: Sequence[np.ndarray] | np.ndarray, rows: Any = None) -> pl.DataFrame:
        """The share of each class in each image."""
        shares = [np.bincount(codes.ravel(), minlength=len(self.classes)) / codes.size for codes in answers]
        table = np.array(shares).reshape(-1, len(self.classes)).round(4)
        return pl.DataFrame({f"share {name}": table[:, code] for code, name in enumerate(self.classes)})

    def replies(self, answers: Sequence[np.ndarray], rows: Any = None) -> list[dict[str, Any]]:
        """The shares, and the mask as a PNG file in base64."""
        from PIL import Image

        found = []
        for shares, codes in zip(self.frame(answers).to_dicts(), answers, strict=True):
            file = io.BytesIO()
            Image.fromarray(np.asarray(self.values, np.uint8)[codes]).save(file, "PNG")
            found.append({**shares, "mask": base64.b64encode(file.getvalue()).decode()})
        return found

    def evidence(self, answers: np.ndarray, truth: np.ndarray) -> MaskCounts:
        return MaskCounts.of(answers, truth, classes=len(self.classes))

    def beside(self, answers: np.ndarray, truth: np.ndarray, rows: Any = None) -> pl.DataFrame:
        """The measures of each image, and the shares that were found."""
        counts = self.evidence(answers, truth)
        right = counts.hits.sum(axis=1) / np.maximum(counts.true.sum(axis=1), 1)
        measures = {"mean IoU": counts.of_images().round(4), "pixel accuracy": right.round(4)}
        return pl.concat([pl.DataFrame(measures), self.frame(answers)], how="horizontal")

    def check(self, network: Any, encoder: Any) -> None:
        different = {value for value in self.values if 0 <= value <= 255}
        if not len(different) == len(self.values) == len(self.classes) >= 2:
            said = f"{len(self.classes)} classes of {len(self.values)} values"
            raise ArtifactError(f"the saved segmentation is damaged: {said}, {len(different)} different ones")
        shape = out_shape_of(network, encoder)
        if shape != (*encoder.in_shape[:2], len(self.classes)):
            raise ArtifactError(f"the saved network's output has the shape {shape}; expected a class of each pixel")


def _enlarged(logits: np.ndarray, height: int, width: int) -> np.ndarray:
    """The likeliest class of each pixel after the probabilities ``(h, w, classes)`` are brought to another size."""
    from PIL import Image

    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    chance = (shifted / shifted.sum(axis=-1, keepdims=True)).astype(np.float32)
    best, found = np.full((height, width), -np.inf, np.float32), np.zeros((height, width), np.uint8)
    for number in range(chance.shape[2]):
        plane = Image.fromarray(np.ascontiguousarray(chance[..., number]))
        sized = np.asarray(plane.resize((width, height), Image.Resampling.BILINEAR))
        found[sized > best] = number
        best = np.maximum(best, sized)
    return found
