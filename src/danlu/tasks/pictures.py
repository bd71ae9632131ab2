"""What the tasks have in common that learn from pictures and more than a class of each: the recipe's frame, and the training."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from danlu.blueprint import Blueprint
from danlu.data.images import ImageEncoder
from danlu.engine import enable_compilation_cache
from danlu.engine.sources import ArraySource
from danlu.errors import ConfigError
from danlu.nn import Layer, RandomColor, RandomErase, Rescale, Sequential
from danlu.tasks.image import Augment
from danlu.tasks.recipe import Recipe
from danlu.trained import Head, Learned, Trained

__all__ = ["check_changes", "learn_pictures", "picture_recipe", "with_head"]

_EPOCHS = (8, 60)


def check_changes(changes: dict[str, Any], augment: Augment, *, loss: str, what: str, follow: str) -> None:
    """Refuse fields that a recipe does not have, and random changes that the truth cannot follow.

    Args:
        changes: fields of the recipe.
        augment: random changes in training.
        loss: the recipe's loss, which is its name as well.
        what: the truth, such as ``"masks"``.
        follow: the changes that it can follow.
    """
    unknown = sorted(set(changes) - set(Recipe.__dataclass_fields__))
    if unknown:
        raise ConfigError(f"{loss}_recipe() received the settings {unknown}; expected fields of a Recipe")
    asked = [name for name in ("random", "mixup", "cutmix") if getattr(augment, name)]
    if asked:
        raise ConfigError(
            f"augment.{asked[0]} is set, and {what} cannot follow it", hint=f"for {what} there are {follow}"
        )


def picture_recipe(
    images: int,
    in_shape: tuple[int, int, int],
    last: Layer,
    *,
    augment: Augment,
    moved: Blueprint | None,
    budget: float,
    steps: int,
    most_epochs: int,
    most_batch: int,
    **fields: Any,
) -> Recipe:
    """The recipe of a network that ends with ``last``, trained within a budget of arithmetic.

    Args:
        images: how many are learnt from.
        in_shape: ``(height, width, channels)``, of pixels 0 … 255.
        augment: random changes in training; those of colours become layers.
        moved: those that move pixels, and the truth with them.
        budget: floating-point operations of a training, backward passes included.
        steps: updates that a small set of images gets at least, in ``most_epochs`` at most.
        most_batch: the largest batch.
        **fields: of the recipe.
    """
    painted: list[Layer] = [RandomColor(2 * augment.color, augment.color, augment.color)] if augment.color else []
    painted += [RandomErase(augment.erase)] if augment.erase else []
    model = Sequential((Rescale(), *painted, last))
    batch_size = fields.get("batch_size", min(most_batch, max(8, images // 20)))
    affordable = int(budget / (3 * (model.flops(in_shape) or 1) * images))
    enough = min(-(-steps * batch_size // images), most_epochs)
    epochs = max(min(affordable, max(_EPOCHS[1], enough)), _EPOCHS[0])
    usual = {"batch_size": batch_size, "epochs": epochs, "weight_decay": 0.02, "warm_up": 0.1, "augment": moved}
    return Recipe(**{"model": model, **usual, **fields})


def learn_pictures(
    train: Any,
    validation: tuple[np.ndarray, Any],
    *,
    encoder: ImageEncoder,
    head: Head,
    plan: Recipe,
    rows: int,
    seed: int = 0,
    **how: Any,
) -> Learned:
    """Train the recipe's network on encoded images and their truth.

    Args:
        train: images ``uint8 (images, height, width, channels)`` and the truth as the loss takes it, or a stream of both.
        validation: both in memory; it chooses the best epoch.
        encoder, head: of the model.
        plan: the recipe.
        rows: how many images an epoch has.
        seed: decides the initial weights and every random draw.
        **how: ``loss``, ``metrics``, ``callbacks``, ``checkpoint``, ``resume`` and ``display``, for :func:`danlu.fit`.
    """
    enable_compilation_cache()
    fitted = plan.fit(
        train,
        rows=rows,
        validation=ArraySource(validation, batch_size=head.batch),
        initial=plan.initial(jax.random.key(seed), np.zeros((1, *encoder.in_shape), np.uint8)),
        seed=seed,
        **how,
    )
    return Learned(Trained(plan.model, fitted.params, fitted.state, encoder, head), fitted)


def with_head(learned: Learned, **changes: Any) -> Learned:
    """The same with other fields of the head, such as a threshold that was chosen after the training."""
    head: Any = learned.model.head
    return dataclasses.replace(
        learned, model=dataclasses.replace(learned.model, head=dataclasses.replace(head, **changes))
    )
