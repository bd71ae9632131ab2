"""Layers that are short forms of others."""

from __future__ import annotations

import abc
import functools
from typing import Any

import jax

from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["Shorthand"]


class Shorthand(Layer, abc.ABC):
    """A layer defined by its :attr:`expanded` form: the same params, state, children and results."""

    @abc.abstractmethod
    def build(self) -> Layer:
        """Build the layer from simpler ones; called once for equal blueprints."""

    @property
    def expanded(self) -> Layer:
        """The same network out of simpler layers."""
        return _built(self)

    def children(self) -> tuple[tuple[str, Layer], ...]:
        return self.expanded.children()

    def child_shapes(self, in_shape: Shape) -> tuple[Shape, ...]:
        return self.expanded.child_shapes(in_shape)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        return self.expanded.init(key, in_shape)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        return self.expanded.apply(params, state, x, train=train, key=key)

    def flops(self, in_shape: Shape) -> int | None:
        return self.expanded.flops(in_shape)


@functools.lru_cache(maxsize=1024)
def _built(layer: Shorthand) -> Layer:
    return layer.build()
