"""The input of a backward rule: one layer's forward pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

__all__ = ["LayerRule", "Visit"]


@dataclasses.dataclass(frozen=True)
class Visit:
    """One layer's forward pass, as its backward rule needs it.

    Attributes:
        layer: the blueprint.
        params, state: the layer's own, as they were before the pass.
        x, y: its input and output.
        train: whether it was a training pass.
        key: the layer's own PRNG key, or None.
    """

    layer: Any
    params: Any
    state: Any
    x: Any
    y: Any
    train: bool
    key: jax.Array | None


LayerRule = Callable[[Visit, Any], tuple[Any, Any]]
"""``(∂L/∂x, ∂L/∂params)`` from ``(visit, dy)``."""
