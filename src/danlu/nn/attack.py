"""The worst small change of an input: the fast gradient sign method, and its repetition, projected gradient descent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["worst_change"]


def worst_change(
    loss: Callable[[Any], jax.Array],
    x: Any,
    radius: Any,
    *,
    steps: int = 1,
    low: float | None = None,
    high: float | None = None,
) -> Any:
    """Inputs within ``radius`` of ``x``, each number by itself, of which the loss is large.

    ``x ← clip(x + a·sign(∂loss/∂x))``, back into the range of ``radius`` around the first ``x`` after each step. One step of ``a = radius``
    is FGSM; several steps of ``a = 2.5·radius/steps`` are PGD.

    Args:
        loss: of a batch, a scalar that is the sum over its rows.
        x: floating-point inputs, an array or a tree; leaves of other types stay.
        radius: the largest change of a number, in the unit of ``x``; may be an array of no axes.
        steps: >= 1.
        low, high: what inputs may be at least and at most; None is any number.

    Returns:
        A tree like ``x``.

    Reference:
        Goodfellow, Shlens & Szegedy, "Explaining and harnessing adversarial examples" (ICLR 2015), section 4; Madry et al., "Towards
        deep learning models resistant to adversarial attacks" (ICLR 2018), eq. 2, without a random start.

    Example:
        >>> worst_change(lambda x: (x * jnp.array([2.0, -1.0])).sum(), jnp.array([0.5, 0.5]), 0.25).tolist()
        [0.75, 0.25]
        >>> worst_change(lambda x: x.sum(), jnp.array([0.9]), 0.5, steps=5, high=1.0).tolist()
        [1.0]
    """
    leaves, shape = jax.tree.flatten(x)
    moved = [place for place, leaf in enumerate(leaves) if jnp.issubdtype(jnp.asarray(leaf).dtype, jnp.floating)]
    first = tuple(jnp.asarray(leaves[place]) for place in moved)

    def whole(changed: tuple[jax.Array, ...]) -> Any:
        own = dict(zip(moved, changed, strict=True))
        return jax.tree.unflatten(shape, [own.get(place, leaf) for place, leaf in enumerate(leaves)])

    slope = jax.grad(lambda changed: loss(whole(changed)))
    size = radius if steps == 1 else 2.5 * radius / steps

    def step(_: int, now: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        found = []
        for start, value, gradient in zip(first, now, slope(now), strict=True):
            value = jnp.clip(value + size * jnp.sign(gradient), start - radius, start + radius)
            found.append(jnp.clip(value, low, high).astype(start.dtype))
        return tuple(found)

    changed: tuple[jax.Array, ...] = jax.lax.fori_loop(0, steps, step, first)
    return whole(changed)
