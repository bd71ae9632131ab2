"""Penalties on the size of the weights, added to the loss."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.errors import unknown_name
from danlu.nn._precision import widened

__all__ = ["l1", "l2"]

_OVER = ("all", "weights")


def _leaves(params: Any, over: str) -> list[jax.Array]:
    if over not in _OVER:
        raise unknown_name("choice of parameters", over, _OVER)
    leaves = [a for a in jax.tree.leaves(params) if jnp.issubdtype(jnp.result_type(a), jnp.floating)]
    return [a for a in leaves if over == "all" or jnp.ndim(a) >= 2]


def l1(params: Any, *, over: str = "weights") -> jax.Array:
    """``Σ |w|``; derivative ``sign(w)``, 0 at 0. It drives weights to exactly 0 only in the limit of small steps.

    Args:
        params: a tree of arrays.
        over: ``"weights"`` counts arrays of two axes or more (kernels, tables) and leaves out biases and scales;
            ``"all"`` counts every array.

    Returns:
        A scalar.

    >>> float(l1({"kernel": jnp.array([[1.0, -2.0]]), "bias": jnp.array([9.0])}))
    3.0
    """
    return sum((jnp.sum(widened(a * jnp.sign(a))) for a in _leaves(params, over)), start=jnp.zeros(()))


def l2(params: Any, *, over: str = "weights") -> jax.Array:
    """``Σ w²``, *without* the factor ½; derivative ``2·w``.

    A coefficient λ here therefore equals a weight decay of 2λ under plain gradient descent.

    Args and Returns: as :func:`l1`.

    >>> float(l2({"kernel": jnp.array([[1.0, -2.0]]), "bias": jnp.array([9.0])}))
    5.0
    """
    return sum((jnp.sum(jnp.square(widened(a))) for a in _leaves(params, over)), start=jnp.zeros(()))
