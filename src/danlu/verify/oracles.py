"""Tools for oracles: float64 NumPy, finite differences, conversions. Nothing here uses danlu or JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["draw", "finite_difference", "to_torch"]

Array = np.ndarray[Any, np.dtype[Any]]


def draw(*shape: int, seed: int = 0) -> Array:
    """Standard normal numbers in float64 that float32 holds exactly, so that both sides start from the same values."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32).astype(np.float64)


def finite_difference(function: Callable[[Array], Any], x: Array, *, step: float = 1e-6) -> Array:
    """The gradient of a float64 scalar function by central differences, coordinate by coordinate.

    Args:
        function: from an array to a number.
        x: where; any shape.
        step: h in ``(f(x + h) - f(x - h)) / 2h``; the error is about ``h² + 1e-16/h``.

    Example:
        >>> finite_difference(lambda x: float((x**2).sum()), np.array([1.0, 3.0])).round(6).tolist()
        [2.0, 6.0]
    """
    x = np.asarray(x, np.float64)
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        ahead, behind = x.copy(), x.copy()
        ahead[index] += step
        behind[index] -= step
        gradient[index] = (float(function(ahead)) - float(function(behind))) / (2 * step)
    return gradient


def to_torch(torch: Any, array: Any, *, grad: bool = False) -> Any:
    """A float64 PyTorch tensor."""
    return torch.tensor(np.asarray(array, np.float64), requires_grad=grad)
