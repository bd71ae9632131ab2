"""SmoothGrad: the gradient of a score, averaged over small changes of the input."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.errors import ConfigError

__all__ = ["smooth_gradients"]


def smooth_gradients(
    score: Callable[..., jax.Array],
    x: Any,
    *,
    noise: Any = 0.1,
    samples: int = 64,
    seed: int = 0,
    given: Any = None,
) -> Any:
    """``1/(2n) · Σ_k [∇f(x + ε_k) + ∇f(x − ε_k)]`` with ``ε_k ~ N(0, noise²)``.

    A network of many small pieces has a gradient that jumps from one input to the next; its mean nearby is what a small change does on
    average. It says what would change the score, not what made it: nothing adds up, unlike with :func:`integrated_gradients`.

    Args:
        score: inputs to one number each, ``(batch,)``.
        x: floating-point inputs with the batch axis first, one array or a tree of them.
        noise: the standard deviation of the changes, >= 0: a number, or a tree of numbers, one for each array.
        samples: ``n``, pairs of changes, >= 1. Each is made in both directions, so that of a quadratic score the mean is exact.
        seed: decides the changes.
        given: a tree that the score takes beside the inputs, ``score(x, given)``.

    Returns:
        The mean gradients, of the shape of ``x``.

    Raises:
        ConfigError: no samples, or noise below 0.

    Reference:
        Smilkov et al., "SmoothGrad: removing noise by adding noise" (2017), arXiv:1706.03825; they draw in one direction.

    Example:
        >>> smooth_gradients(lambda x: x[:, 0] ** 2, jnp.array([[3.0]]), samples=4).round(4).tolist()
        [[6.0]]
    """
    sizes = jax.tree.leaves(noise)
    if samples < 1 or any(size < 0 for size in sizes):
        raise ConfigError(f"smooth_gradients received samples={samples} and noise={noise}; expected at least 1 and 0")
    x = jax.tree.map(jnp.asarray, x)
    sized = jax.tree.map(lambda _: noise, x) if isinstance(noise, int | float) else noise
    spread = jax.tree.map(lambda leaf, size: jnp.asarray(size, leaf.dtype), x, sized)
    return jax.tree.map(np.asarray, _mean(score, x, spread, given, jnp.asarray(samples), jax.random.key(seed)))


@functools.partial(jax.jit, static_argnums=0)
def _mean(score: Callable[..., jax.Array], x: Any, spread: Any, given: Any, samples: jax.Array, key: jax.Array) -> Any:
    slope = jax.grad(lambda at: jnp.sum(score(at) if given is None else score(at, given)))
    leaves, tree = jax.tree.flatten(x)

    def add(number: jax.Array, total: Any) -> Any:
        keys = jax.random.split(jax.random.fold_in(key, number), len(leaves))
        drawn = [jax.random.normal(own, leaf.shape, leaf.dtype) for own, leaf in zip(keys, leaves, strict=True)]
        change = jax.tree.map(jnp.multiply, jax.tree.unflatten(tree, drawn), spread)
        both = (slope(jax.tree.map(way, x, change)) for way in (jnp.add, jnp.subtract))
        return jax.tree.map(lambda t, one, other: t + (one + other) / 2, total, *both)

    total = jax.lax.fori_loop(0, samples, add, jax.tree.map(jnp.zeros_like, x))
    return jax.tree.map(lambda t: t / samples, total)
