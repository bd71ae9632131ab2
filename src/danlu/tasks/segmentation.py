"""Segmentation: the recipe, the training, and a trained network that tells the class of every pixel."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import Blueprint, setting
from danlu.data.images import ImageEncoder
from danlu.engine import Fitted, enable_compilation_cache
from danlu.engine.sources import ArraySource
from danlu.errors import ConfigError
from danlu.nn import Layer, MoveMasks, RandomAffine, RandomColor, RandomErase, RandomFlip, Rescale, Sequential
from danlu.nn.augment import RandomMove
from danlu.nn.losses import SegmentationLoss, pixel_accuracy
from danlu.nn.vision import UNet
from danlu.tasks.image import Augment
from danlu.tasks.recipe import Recipe

__all__ = [
    "Segmentation",
    "SegmentationLearned",
    "Segmenter",
    "learn_segmentation",
    "segmentation_recipe",
    "unet_levels",
]

_BUDGET = 2.5e13  # floating-point operations of a training, backward passes included: about ten minutes of a core
_EPOCHS = (8, 60)
_STEPS = 1000  # updates that a small set of images gets at least
_MOST_EPOCHS = 150
_COARSEST = 8  # pixels a side of the coarsest level, or more
_LEVELS = (2, 4)
_BATCH = 32  # images that are looked at together


class Segmentation(Blueprint):
    """How every pixel is told its class.

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
    """The default recipe for images with masks: a small :class:`~danlu.nn.UNet`, trained within a budget of arithmetic.

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
    unknown = sorted(set(changes) - set(Recipe.__dataclass_fields__))
    if unknown:
        raise ConfigError(f"segmentation_recipe() received the settings {unknown}; expected fields of a Recipe")
    augment = augment or Augment()
    asked = [name for name in ("random", "mixup", "cutmix") if getattr(augment, name)]
    if asked:
        raise ConfigError(
            f"augment.{asked[0]} is set, and masks cannot follow it",
            hint="for masks there are flip, rotation, scale, shear, translate, color and erase",
        )
    levels = depth or unet_levels(*in_shape[:2])
    factor = 2 ** (levels - 1)
    if any(side % factor for side in in_shape[:2]):
        raise ConfigError(
            f"images of {in_shape[0]}×{in_shape[1]} cannot be halved {levels - 1} times; expected multiples of {factor}",
            hint="set data.image_size or model.depth",
        )
    painted: list[Layer] = [RandomColor(2 * augment.color, augment.color, augment.color)] if augment.color else []
    painted += [RandomErase(augment.erase)] if augment.erase else []
    model = Sequential((Rescale(), *painted, UNet(classes, widths=tuple(width * 2**level for level in range(levels)))))
    batch_size = changes.get("batch_size", min(16, max(8, images // 20)))
    affordable = int(_BUDGET / (3 * (model.flops(in_shape) or 1) * images))
    enough = min(-(-_STEPS * batch_size // images), _MOST_EPOCHS)
    fields: dict[str, Any] = {
        "model": model,
        "loss": "segmentation",
        "batch_size": batch_size,
        "epochs": max(min(affordable, max(_EPOCHS[1], enough)), _EPOCHS[0]),
        "learning_rate": 5e-3,
        "weight_decay": 0.02,
        "warm_up": 0.1,
        "augment": _moved(augment, fill),
    }
    return Recipe(**{**fields, **changes})


def _moved(augment: Augment, fill: float) -> MoveMasks | None:
    moves: list[RandomMove] = [RandomFlip()] if augment.flip else []
    if augment.rotation or augment.scale or augment.shear or augment.translate:
        moves.append(RandomAffine(augment.rotation, augment.scale, augment.shear, augment.translate))
    return MoveMasks(tuple(moves), fill) if moves else None


@dataclasses.dataclass(frozen=True, eq=False)
class Segmenter:
    """A trained network with what stands between it and images.

    Attributes:
        network: the blueprint; its outputs are logits ``(batch, height, width, classes)``.
        params, state: its variables.
        encoder: what images are brought to.
        classes: the names of the classes.
        values: the value of each class in masks.
        ignore: the value of pixels that are not counted, or None.
    """

    network: Layer
    params: Any
    state: Any
    encoder: ImageEncoder
    classes: tuple[str, ...]
    values: tuple[int, ...]
    ignore: int | None = None

    @property
    def in_shape(self) -> tuple[int, int, int]:
        """The shape of one encoded image."""
        return self.encoder.in_shape

    def segment_inputs(self, inputs: np.ndarray) -> np.ndarray:
        """The class numbers of encoded images, uint8 ``(images, height, width)``."""
        found = [_classes(self.network, self.params, self.state, some)[:count] for some, count in _batches(inputs)]
        return np.concatenate([np.asarray(each) for each in found])

    def segment(self, images: Sequence[np.ndarray] | np.ndarray) -> Iterator[np.ndarray]:
        """The class numbers of images of any size, uint8 ``(height, width)`` of each, a few images at a time.

        Where an image is larger than what the network sees, the probabilities are enlarged (bilinearly), and the likeliest class
        of each pixel is taken then.

        Args:
            images: uint8, see :meth:`~danlu.data.images.ImageEncoder.transform`.
        """
        for low in range(0, len(images), _BATCH):
            some = images[low : low + _BATCH]
            if not isinstance(some, np.ndarray):
                some = list(some)
            (whole, count), *_ = _batches(self.encoder.transform(some))
            chances = np.asarray(_chances(self.network, self.params, self.state, whole))[:count]
            for image, chance in zip(some, chances, strict=True):
                yield _enlarged(chance, image.shape[0], image.shape[1])


def _batches(inputs: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
    """Batches of one size, and how many rows of each are real."""
    for low in range(0, len(inputs), _BATCH):
        some = inputs[low : low + _BATCH]
        filler = np.zeros((_BATCH - len(some), *some.shape[1:]), some.dtype)
        yield np.concatenate([some, filler]), len(some)


@functools.partial(jax.jit, static_argnames="network")
def _classes(network: Layer, params: Any, state: Any, images: Any) -> jax.Array:
    return jnp.argmax(network.apply(params, state, images)[0], axis=-1).astype(jnp.uint8)


@functools.partial(jax.jit, static_argnames="network")
def _chances(network: Layer, params: Any, state: Any, images: Any) -> jax.Array:
    return jax.nn.softmax(network.apply(params, state, images)[0])


def _enlarged(chance: np.ndarray, height: int, width: int) -> np.ndarray:
    """The likeliest class of each pixel after ``(h, w, classes)`` is brought to another size."""
    if chance.shape[:2] == (height, width):
        return chance.argmax(axis=-1).astype(np.uint8)
    from PIL import Image

    best, found = np.full((height, width), -np.inf, np.float32), np.zeros((height, width), np.uint8)
    for number in range(chance.shape[2]):
        plane = Image.fromarray(np.ascontiguousarray(chance[..., number], np.float32))
        sized = np.asarray(plane.resize((width, height), Image.Resampling.BILINEAR))
        found[sized > best] = number
        best = np.maximum(best, sized)
    return found


@dataclasses.dataclass(frozen=True)
class SegmentationLearned:
    """What training gave: the model, and the record of the training."""

    model: Segmenter
    fitted: Fitted


def learn_segmentation(
    train: Any,
    *,
    encoder: ImageEncoder,
    classes: Sequence[str],
    values: Sequence[int],
    plan: Recipe,
    rows: int,
    validation: tuple[np.ndarray, np.ndarray],
    settings: Segmentation | None = None,
    ignore: int | None = None,
    seed: int = 0,
    **how: Any,
) -> SegmentationLearned:
    """Train the recipe's network on encoded images and the class numbers of their pixels.

    Args:
        train: images ``uint8 (images, height, width, channels)`` and class numbers ``(images, height, width)``, or a stream of both.
        validation: both in memory; it chooses the best epoch.
        rows: how many images an epoch has.
        encoder, classes, values, ignore: kept with the model.
        plan: see :func:`segmentation_recipe`.
        settings: the weight of the Dice loss.
        seed: decides the initial weights and every random draw.
        **how: ``callbacks``, ``checkpoint``, ``resume`` and ``display``, for :func:`danlu.fit`.
    """
    enable_compilation_cache()
    fitted = plan.fit(
        train,
        rows=rows,
        loss=SegmentationLoss(dice=(settings or Segmentation()).dice),
        validation=ArraySource(validation, batch_size=_BATCH),
        metrics=[pixel_accuracy],
        initial=plan.initial(jax.random.key(seed), np.zeros((1, *encoder.in_shape), np.uint8)),
        seed=seed,
        **how,
    )
    model = Segmenter(plan.model, fitted.params, fitted.state, encoder, tuple(classes), tuple(values), ignore)
    return SegmentationLearned(model, fitted)
