"""MixUp and CutMix: each row of a batch mixed with another, inputs, targets and weights alike.

They change inputs and targets together, so they are not layers but a step of training's own, before the loss:
``danlu.fit(..., augment=MixUp(0.2, classes=10))`` calls ``augment(key, batch) -> batch`` on every training batch, compiled
with the step, and on nothing else. Any hashable function of that form will do in their place.
"""

from __future__ import annotations

import abc
from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import Blueprint, setting
from danlu.errors import ConfigError, DataError

__all__ = ["CutMix", "Mix", "MixUp", "OneOf"]

Batch = dict[str, Any]


class Mix(Blueprint, abc.ABC):
    """Each row ``i`` mixed with another row ``j`` at a share ``λ ~ Beta(α, α)``, drawn apart for each row.

    Targets become ``λ·yᵢ + (1 − λ)·yⱼ``, class numbers first one-hot; weights ``λ·wᵢ + (1 − λ)·wⱼ``. The rows ``j`` are a
    permutation of the batch. A row of weight 0 fills a batch up: it neither gives nor takes.

    Args:
        alpha: α > 0; towards 0 rows stay nearly as they are, 1 draws every share as often.
        classes: how many classes, for targets that are class numbers; None for targets that can be mixed as they are
            (quantities, probabilities, 0 and 1).

    Raises:
        DataError: inputs or targets that cannot be mixed.
    """

    alpha: float = setting(default=1.0, above=0)
    classes: int | None = setting(default=None, minimum=2, integer=True, optional=True)

    @abc.abstractmethod
    def mixed(self, key: jax.Array, x: Any, other: Any, share: jax.Array) -> tuple[Any, jax.Array]:
        """Rows ``(batch, …)`` that are ``x`` by a share ``(batch,)`` and ``other`` by the rest, and the shares that came out."""

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        order_key, share_key, place_key = jax.random.split(key, 3)
        weight, y = batch["weight"], self._soft(batch["y"])
        partner = jax.random.permutation(order_key, weight.shape[0])
        share = jax.random.beta(share_key, self.alpha, self.alpha, weight.shape)
        share = jnp.where((weight > 0) & (weight[partner] > 0), share, 1.0)
        other = jax.tree.map(lambda leaf: leaf[partner], batch["x"])
        x, share = self.mixed(place_key, batch["x"], other, share)
        return {
            **batch,
            "x": x,
            "y": blend(y, y[partner], share),
            "weight": blend(weight, weight[partner], share),
        }

    def _soft(self, y: jax.Array) -> jax.Array:
        if self.classes is None:
            return jnp.asarray(y, jnp.result_type(y, jnp.float32))
        if not jnp.issubdtype(y.dtype, jnp.integer):
            raise DataError(
                f"{type(self).__name__} has classes={self.classes} and targets of type {y.dtype}; expected class numbers",
                hint="leave classes out where targets are probabilities or quantities",
            )
        return jax.nn.one_hot(y, self.classes)


def blend(a: jax.Array, b: jax.Array, share: jax.Array) -> jax.Array:
    """``share·a + (1 − share)·b``, a share for each row: exactly ``a`` where the share is 1 or both are equal."""
    share = share.reshape(-1, *(1,) * (a.ndim - 1))  # (batch, 1, …), as many axes as the rows have
    a, b = (each.astype(jnp.result_type(each, share)) for each in (a, b))
    return a + (1 - share) * (b - a)


class MixUp(Mix):
    """Mix pixel by pixel: ``x = λ·xᵢ + (1 − λ)·xⱼ``. For any input of quantities, images among them.

    Reference: Zhang, Cissé, Dauphin & Lopez-Paz (2018), arXiv:1710.09412, eq. 1; there one λ serves a whole batch.

    Example:
        >>> batch = {"x": jnp.array([[0.0], [1.0]]), "y": jnp.array([0, 1]), "weight": jnp.ones(2)}
        >>> mixed = MixUp(0.4, classes=2)(jax.random.key(3), batch)
        >>> bool(jnp.allclose(mixed["y"][:, 1], mixed["x"][:, 0])), mixed["y"].sum(1).tolist()
        (True, [1.0, 1.0])
    """

    def mixed(self, key: jax.Array, x: Any, other: Any, share: jax.Array) -> tuple[Any, jax.Array]:
        def each(path: Any, a: jax.Array, b: jax.Array) -> jax.Array:
            if not (jnp.issubdtype(a.dtype, jnp.floating) or a.dtype == jnp.uint8):
                where = "x" + jax.tree_util.keystr(path)
                raise DataError(
                    f"MixUp received {where} of type {a.dtype}; expected quantities", hint="codes cannot be mixed"
                )
            return blend(a, b, share)

        return jax.tree_util.tree_map_with_path(each, x, other), share


class CutMix(Mix):
    """Mix by place: a rectangle of image ``j`` pasted into image ``i``, at the same place; ``λ`` is the area that is left.

    The rectangle has ``1 − λ`` of the area and the image's proportions, its middle anywhere; what falls outside the image is
    cut off, and the targets are mixed by the area that *was* pasted.

    Reference: Yun et al. (2019), arXiv:1905.04899, section 3.1 and algorithm A1; there one rectangle serves a whole batch.

    Example:
        >>> batch = {"x": jnp.zeros((2, 8, 8, 1)).at[1].set(1), "y": jnp.array([0.0, 1.0]), "weight": jnp.ones(2)}
        >>> mixed = CutMix()(jax.random.key(3), batch)
        >>> bool(jnp.allclose(mixed["y"], mixed["x"].mean((1, 2, 3))))
        True
    """

    def mixed(self, key: jax.Array, x: Any, other: Any, share: jax.Array) -> tuple[Any, jax.Array]:
        if not hasattr(x, "shape") or x.ndim != 4:
            shapes = jax.tree.map(lambda leaf: tuple(leaf.shape[1:]), x)
            raise DataError(f"CutMix received inputs of shape {shapes}; expected images (height, width, channels)")
        side = jnp.sqrt(1 - share)
        middle = jax.random.uniform(key, (2, share.shape[0]))
        row, column = (inside(m, side, n) for m, n in zip(middle, x.shape[1:3], strict=True))
        pasted = row[:, :, None] & column[:, None, :]
        return jnp.where(pasted[..., None], other, x), 1 - jnp.mean(pasted, axis=(1, 2), dtype=share.dtype)


def inside(middle: jax.Array, side: jax.Array, n: int) -> jax.Array:
    """Which of ``n`` positions lie within ``side/2`` of ``middle``, both shares of ``n``, ``(batch, n)``."""
    start, stop = jnp.round((middle - side / 2) * n), jnp.round((middle + side / 2) * n)
    position = jnp.arange(n)[None]
    return (position >= start[:, None]) & (position < stop[:, None])


class OneOf(Blueprint):
    """One of several changes of batches for each batch, with equal probability.

    Args:
        changes: functions ``(key, batch) -> batch``, such as ``(MixUp(0.2, classes=10), CutMix(classes=10))``.
    """

    changes: tuple[Any, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.changes or not all(map(callable, self.changes)):
            raise ConfigError(f"OneOf.changes is {self.changes!r}; expected a tuple of functions (key, batch) -> batch")

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        which_key, change_key = jax.random.split(key)
        made = [jax.eval_shape(change, change_key, batch) for change in self.changes]
        # Pixels that are pasted stay whole numbers, and mixed ones do not: the choice needs one type.
        types = jax.tree.map(lambda *leaves: jnp.result_type(*leaves), *made)

        def branch(change: Any) -> Any:
            return lambda k, b: jax.tree.map(lambda leaf, kind: leaf.astype(kind), change(k, b), types)

        which = jax.random.randint(which_key, (), 0, len(self.changes))
        changed: dict[str, Any] = jax.lax.switch(which, [branch(change) for change in self.changes], change_key, batch)
        return changed
