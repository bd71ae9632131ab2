"""The default recipe for pictures: a small convolutional network with augmentation, trained within a budget."""

from __future__ import annotations

import math
from typing import Any

from danlu.blueprint import Blueprint, setting
from danlu.errors import ConfigError
from danlu.nn import (
    Activation,
    BatchNorm,
    Conv,
    CutMix,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool,
    Layer,
    MaxPool,
    MixUp,
    OneOf,
    RandomAffine,
    RandomColor,
    RandomErase,
    RandomFlip,
    Rescale,
    Sequential,
    rand_augment,
)
from danlu.nn.augment import Mix
from danlu.tasks.recipe import Recipe, affordable

__all__ = ["Augment", "image_network", "image_recipe", "image_tower", "picture_recipe", "private_image_recipe"]

_BUDGET = 2.0e13  # floating-point operations of a training, backward passes included: minutes on two cores
_EPOCHS = (6, 60)


class Augment(Blueprint):
    """Random changes to the training images; 0 or false leaves one out.

    Args:
        flip: whether images are mirrored left to right (not for digits, text or X-rays).
        rotation: largest angle, degrees.
        scale: largest change of size, a share.
        shear: largest angle, degrees.
        translate: largest move, a share of the side.
        erase: side of a square that is blanked out, a share of the side.
        color: largest change of brightness, contrast and saturation, a share.
        random: magnitude of RandAugment's two random changes, in place of choosing each (see
            :func:`~danlu.nn.rand_augment`); it comes after those above.
        mixup: α of MixUp, which mixes two images and their labels; 0.2 is usual.
        cutmix: α of CutMix, which pastes a part of one image into another; 1 is usual. With both, each batch has one.
    """

    flip: bool = False
    rotation: float = setting(default=10.0, minimum=0, maximum=180)
    scale: float = setting(default=0.1, minimum=0, maximum=1)
    shear: float = setting(default=5.0, minimum=0, maximum=60)
    translate: float = setting(default=0.08, minimum=0, maximum=1)
    erase: float = setting(default=0.0, minimum=0, maximum=1)
    color: float = setting(default=0.0, minimum=0, maximum=1)
    random: float = setting(default=0.0, minimum=0, maximum=1)
    mixup: float = setting(default=0.0, minimum=0)
    cutmix: float = setting(default=0.0, minimum=0)

    def layers(self, fill: float) -> tuple[Layer, ...]:
        """The layers that make the changes, for inputs in −1 … 1; ``fill`` is the value outside an image."""
        found: list[Layer] = []
        if self.flip:
            found.append(RandomFlip())
        if self.rotation or self.scale or self.shear or self.translate:
            moved = {"rotation": self.rotation, "scale": self.scale, "shear": self.shear, "translate": self.translate}
            found.append(RandomAffine(**moved, fill=fill))
        if self.color:
            found.append(RandomColor(2 * self.color, self.color, self.color))
        if self.erase:
            found.append(RandomErase(self.erase))
        if self.random:
            found.append(rand_augment(2, self.random, fill=fill))
        return tuple(found)

    def mixing(self, classes: int | None) -> Mix | OneOf | None:
        """The change of whole batches, for class numbers of so many classes (None: targets that are 0 and 1); None without one."""
        found: list[Mix] = [MixUp(self.mixup, classes)] if self.mixup else []
        found += [CutMix(self.cutmix, classes)] if self.cutmix else []
        return OneOf(tuple(found)) if len(found) > 1 else found[0] if found else None


def image_tower(
    in_shape: tuple[int, int, int], *, width: int = 16, augment: Augment | None = None, fill: float = -1.0
) -> tuple[Layer, ...]:
    """The layers from pixels to features: stages of two 3×3 convolutions, each half the size and twice as wide, then the mean.

    Args:
        in_shape, width, augment, fill: see :func:`image_network`.
    """
    stages = max(1, min(4, round(math.log2(max(min(in_shape[:2]), 8) / 4))))
    layers: list[Layer] = [Rescale(), *(augment.layers(fill) if augment else ())]
    for stage in range(stages):
        layers += [MaxPool(2)] if stage else []
        channels = width * 2**stage
        for _ in range(1 if stage == 0 else 2):
            layers += [Conv(channels, 3, use_bias=False, initializer="he_normal"), BatchNorm(), Activation("relu")]
    return (*layers, GlobalAveragePool())


def image_network(
    in_shape: tuple[int, int, int], units: int, *, width: int = 16, augment: Augment | None = None, fill: float = -1.0
) -> Sequential:
    """A convolutional network: :func:`image_tower`, dropout and a linear output.

    Args:
        in_shape: ``(height, width, channels)`` of pixels 0 … 255.
        units: outputs, one a class.
        width: channels of the first stage.
        augment: random changes in training.
        fill: see :meth:`Augment.layers`.

    Example:
        >>> image_network((28, 28, 1), 10).out_shape((28, 28, 1))
        (10,)
    """
    tower = image_tower(in_shape, width=width, augment=augment, fill=fill)
    return Sequential((*tower, Dropout(0.2), Dense(units)))


def image_recipe(
    task: str,
    rows: int,
    in_shape: tuple[int, int, int],
    *,
    classes: int,
    augment: Augment | None = None,
    fill: float = -1.0,
    width: int = 16,
    **changes: Any,
) -> Recipe:
    """The default recipe for ``rows`` training images of one shape.

    Args:
        task: ``"binary"``, ``"multiclass"`` or ``"multilabel"`` (each class is there or not).
        classes: how many.
        augment, fill, width: see :func:`image_network`.
        **changes: fields of the :class:`Recipe` to set instead of the defaults.

    Raises:
        ConfigError: another task, images too small to be pooled, or an unknown field.

    Example:
        >>> plan = image_recipe("multiclass", 60_000, (28, 28, 1), classes=10)
        >>> plan.batch_size, plan.loss
        (128, 'categorical_cross_entropy')
    """
    if task not in ("binary", "multiclass", "multilabel"):
        raise ConfigError(f"images are classified, and the task is {task!r}; expected binary, multiclass or multilabel")
    if min(in_shape[:2]) < 4:
        raise ConfigError(f"the images have {in_shape[0]}×{in_shape[1]} pixels; expected at least 4 a side")
    model = image_network(in_shape, classes, width=width, augment=augment, fill=fill)
    batch_size = min(128, max(16, rows // 20))
    fields: dict[str, Any] = {
        "model": model,
        "loss": "binary_cross_entropy" if task == "multilabel" else "categorical_cross_entropy",
        "batch_size": batch_size,
        "epochs": max(_EPOCHS[0], min(affordable(_BUDGET, model, in_shape, rows), _EPOCHS[1])),
        "learning_rate": 5e-3,
        "weight_decay": 0.02,
        "warm_up": 0.2,
        "augment": augment.mixing(None if task == "multilabel" else classes) if augment else None,
    }
    return Recipe.changed("image_recipe", fields, changes)


def private_image_network(
    in_shape: tuple[int, int, int], units: int, *, width: int = 16, augment: Augment | None = None
) -> Sequential:
    """A small convolutional network without batch norm, for training with noise: two convolutions with strides, then two dense layers.

    Activations that are bounded (tanh) bound the gradients too, so that less of them is clipped.

    Args:
        in_shape, units, augment: see :func:`image_network`.
        width: features of the first convolution.

    Reference: Papernot et al., "Tempered sigmoid activations for deep learning with differential privacy" (2021), table 2.
    """
    small = min(in_shape[:2]) < 12
    changes = augment.layers(-1.0) if augment else ()
    first = Conv(width, 3 if small else 8, stride=1 if small else 2, activation="tanh")
    second = Conv(2 * width, 3 if small else 4, stride=1 if small else 2, activation="tanh")
    dense = (Flatten(), Dense(2 * width, "tanh"), Dense(units))
    return Sequential((Rescale(), *changes, first, MaxPool(2), second, *([] if small else [MaxPool(2)]), *dense))


def private_image_recipe(
    task: str,
    rows: int,
    in_shape: tuple[int, int, int],
    *,
    classes: int,
    augment: Augment | None = None,
    width: int = 16,
    **changes: Any,
) -> Recipe:
    """The recipe of a network of images that learns with noise; arguments as of :func:`image_recipe`."""
    model = private_image_network(in_shape, classes, width=width, augment=augment)
    return image_recipe(task, rows, in_shape, classes=classes, **{"model": model, **changes})


def picture_recipe(
    images: int,
    in_shape: tuple[int, int, int],
    last: Layer,
    *,
    loss: str,
    truth: str,
    augment: Augment,
    moved: Blueprint | None,
    follow: str,
    budget: float,
    steps: int,
    most_epochs: int,
    most_batch: int,
    learning_rate: float,
    changes: dict[str, Any],
) -> Recipe:
    """The recipe of a network that ends with ``last``, trained within a compute budget.

    Args:
        images: how many are learnt from.
        in_shape: ``(height, width, channels)``, of pixels 0 … 255.
        loss: its name, which is the recipe's as well.
        truth: what is to be found, in the plural.
        augment: random changes in training; those of colours become layers.
        moved: those that move pixels, and the truth with them.
        follow: the changes that the truth can follow.
        budget: floating-point operations of a training, backward passes included.
        steps: updates that a small set of images gets at least, in ``most_epochs`` at most.
        most_batch: the largest batch.
        learning_rate: of the recipe.
        changes: fields of the recipe to set instead of the defaults.

    Raises:
        ConfigError: a change of the images that their truth cannot be given as well, or an unknown field.
    """
    asked = [name for name in ("random", "mixup", "cutmix") if getattr(augment, name)]
    if asked:
        raise ConfigError(
            f"augment.{asked[0]} changes the image, and cannot change its {truth} with it",
            hint=f"for {truth} there are {follow}",
        )
    painted: list[Layer] = [RandomColor(2 * augment.color, augment.color, augment.color)] if augment.color else []
    painted += [RandomErase(augment.erase)] if augment.erase else []
    model = Sequential((Rescale(), *painted, last))
    batch_size = changes.get("batch_size", min(most_batch, max(8, images // 20)))
    enough = min(-(-steps * batch_size // images), most_epochs)
    fields: dict[str, Any] = {
        "model": model,
        "loss": loss,
        "batch_size": batch_size,
        "epochs": max(min(affordable(budget, model, in_shape, images), max(60, enough)), 8),
        "learning_rate": learning_rate,
        "weight_decay": 0.02,
        "warm_up": 0.1,
        "augment": moved,
    }
    return Recipe.changed(f"{loss}_recipe", fields, changes)
