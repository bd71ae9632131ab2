"""The layer contract.

A layer is a *blueprint* (see :mod:`danlu.blueprint`): frozen, hashable, JSON-able, holding no arrays. Its arrays live
outside, in two trees with the layer's own structure:

- ``params``: what the optimizer changes (a dict of arrays; a tuple of the children's for a composite layer);
- ``state``: everything else that the layer carries between calls (running statistics, a dropout rate).

Shapes never include the batch axis: a layer that maps ``(batch, 8)`` to ``(batch, 3)`` has ``in_shape == (8,)`` and
``out_shape == (3,)``. A layer with several inputs takes a dict of arrays and a dict of shapes.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, Union

import jax

from danlu.blueprint import Blueprint

__all__ = ["Layer", "Params", "Shape", "State"]

Shape = Union[tuple[int, ...], Mapping[str, "Shape"]]
Params = Any
State = Any


class Layer(Blueprint, abc.ABC):
    """One piece of a network: a blueprint with ``init`` and ``apply``.

    Subclasses are final: compose layers (``Sequential``, ``Residual``, ``Parallel``) instead of inheriting from one.
    """

    @abc.abstractmethod
    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        """Draw the layer's arrays for inputs of shape ``in_shape`` (no batch axis).

        Args:
            key: a PRNG key.
            in_shape: the shape of one example.

        Returns:
            ``(params, state, out_shape)``.
        """

    @abc.abstractmethod
    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        """The layer's output for a batch ``x`` (leading batch axis), and the layer's new state.

        Args:
            params, state: as ``init`` returned them (or as training left them).
            x: inputs, ``(batch, *in_shape)``.
            train: whether this is a training pass (dropout drops, batch norm uses the batch's statistics).
            key: a PRNG key for layers that draw random numbers in training; None otherwise.

        Returns:
            ``(y, new_state)``; ``new_state`` has the same tree, shapes and dtypes as ``state``.
        """

    def out_shape(self, in_shape: Shape) -> Shape:
        """The shape of one example's output, without computing or allocating anything."""
        found: list[Shape] = []

        def draw() -> tuple[Params, State]:
            params, state, out_shape = self.init(jax.random.key(0), in_shape)
            found.append(out_shape)
            return params, state

        jax.eval_shape(draw)  # the key is drawn within it, so that nothing is compiled
        return found[0]

    @property
    def expanded(self) -> Layer:
        """The same layer written with simpler ones, sharing its params and state; most layers are their own."""
        return self

    def children(self) -> tuple[tuple[str, Layer], ...]:
        """The parts of a composite layer, named; ``params[i]`` and ``state[i]`` belong to ``children()[i]``."""
        return ()

    def child_shapes(self, in_shape: Shape) -> tuple[Shape, ...]:
        """The input shape of each child; as the layer's own unless a composite says otherwise."""
        return (in_shape,) * len(self.children())

    def flops(self, in_shape: Shape) -> int | None:
        """Floating-point operations of one example's forward pass, children included; None when not known.

        A multiply-add counts 2, an elementwise function 1 an element.
        """
        return 0
