"""Two kinds of things in one space: a tower each, and vectors whose products are scaled cosines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.errors import ConfigError
from danlu.nn.combine import child_key
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["TwoTowers"]

_FIRST = math.log(1 / 0.07)
_MOST = math.log(100.0)
_LEAST = 1e-6  # of a length


class TwoTowers(Layer):
    """``u = √s · f(x_1)/‖f(x_1)‖`` and ``v = √s · g(x_2)/‖g(x_2)‖``: ``u·v`` is the cosine of the two times the learnt scale ``s = e^σ``.

    ``1/s`` is the temperature of the contrast; ``s`` is 100 at most.

    Args:
        names: of the two inputs.
        towers: ``f`` and ``g``, each to ``(features,)``.
        features: how many.

    Input: ``{"parts": {name: …}}`` (other entries are not looked at). Output: ``{"first": (features,), "second": (features,)}``.

    Params: ``(f's, g's, {"scale": σ ()})``. State: ``(f's, g's)``.

    Reference: Radford et al., "Learning transferable visual models from natural language supervision" (2021), section 2.3 and figure 3.

    Example:
        >>> from danlu.nn.dense import Dense
        >>> TwoTowers(("a", "b"), (Dense(4), Dense(4)), 4).out_shape({"parts": {"a": (3,), "b": (5,)}})
        {'first': (4,), 'second': (4,)}
    """

    names: tuple[str, str]
    towers: tuple[Layer, Layer]
    features: int = setting(minimum=1, integer=True)

    def children(self) -> tuple[tuple[str, Layer], ...]:
        return tuple(zip(self.names, self.towers, strict=True))

    def child_shapes(self, in_shape: Shape) -> tuple[Shape, ...]:
        parts = in_shape.get("parts") if isinstance(in_shape, Mapping) else None
        if not isinstance(parts, Mapping) or any(name not in parts for name in self.names):
            raise ConfigError(f"TwoTowers received {in_shape!r}; expected a dict with parts of the names {self.names}")
        return tuple(parts[name] for name in self.names)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        shapes = self.child_shapes(in_shape)
        drawn = [
            tower.init(jax.random.fold_in(key, i), shape)
            for i, (tower, shape) in enumerate(zip(self.towers, shapes, strict=True))
        ]
        for name, (_, _, shape) in zip(self.names, drawn, strict=True):
            if shape != (self.features,):
                raise ConfigError(
                    f"the tower of {name!r} gives the shape {shape}; expected ({self.features},), as all do"
                )
        scale = {"scale": jnp.asarray(_FIRST, float)}
        out = {"first": (self.features,), "second": (self.features,)}
        return (*(d[0] for d in drawn), scale), tuple(d[1] for d in drawn), out

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[dict[str, jax.Array], State]:
        root = jnp.exp(0.5 * jnp.minimum(params[2]["scale"], _MOST))
        found, states = {}, []
        for index, (side, name, tower) in enumerate(zip(("first", "second"), self.names, self.towers, strict=True)):
            out, after = tower.apply(
                params[index], state[index], x["parts"][name], train=train, key=child_key(key, index)
            )
            wide = out.astype(jnp.float32)
            length = jnp.sqrt(jnp.maximum(jnp.sum(jnp.square(wide), axis=1, keepdims=True), _LEAST**2))
            found[side] = root.astype(jnp.float32) * wide / length
            states.append(after)
        return found, tuple(states)

    def decays(self, params: Params) -> Params:
        """True for the parameters that weight decay is meant for: those of two axes or more."""
        return jax.tree.map(lambda leaf: leaf.ndim > 1, params)

    def flops(self, in_shape: Shape) -> int | None:
        shapes = self.child_shapes(in_shape)
        return sum(tower.flops(shape) or 0 for tower, shape in zip(self.towers, shapes, strict=True))
