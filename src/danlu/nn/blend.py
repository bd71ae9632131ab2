"""Several models of one thing as one network: the weighted mean of what they predict."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.errors import ConfigError
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["Blend"]


class Blend(Layer):
    """``y = ln Σ_p w_p · softmax(part_p(x))`` for classes, ``y = Σ_p w_p · part_p(x)`` for quantities.

    Predictions are averaged, not logits, first over the members of each part. The softmax of ``y`` is the mean of
    the probabilities, so whatever takes a network's logits takes a blend's outputs.

    Args:
        names: what the parts are called.
        parts: the networks, which all take the same inputs and give ``(batch, units)`` or ``(batch, members, units)``.
        classes: whether the units are logits of classes.

    Output: ``(batch, units)``.

    Params: a tuple of the parts' params. State: a tuple of the parts' states and ``{"weights": (parts,)}``, which are at least
    0 and add up to 1; they are equal at the start.

    Example:
        >>> from danlu.nn.dense import Dense
        >>> net = Blend(("wide", "narrow"), (Dense(3), Dense(3, use_bias=False)))
        >>> params, state, out_shape = net.init(jax.random.key(0), (4,))
        >>> y, _ = net.apply(params, state, jnp.ones((2, 4)))
        >>> out_shape, jnp.exp(y).sum(axis=1).round(4).tolist(), net.shares(state)
        ((3,), [1.0, 1.0], {'wide': 0.5, 'narrow': 0.5})
    """

    names: tuple[str, ...]
    parts: tuple[Layer, ...]
    classes: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.parts or len(self.names) != len(self.parts) or len(set(self.names)) != len(self.names):
            raise ConfigError(
                f"Blend received {len(self.parts)} parts with the names {self.names}; expected a different name for each"
            )

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        begun = [part.init(jax.random.fold_in(key, i), in_shape) for i, part in enumerate(self.parts)]
        shapes = [shape for _, _, shape in begun]
        units = {shape[-1:] if isinstance(shape, tuple) and len(shape) in (1, 2) else () for shape in shapes}
        if len(units) != 1 or () in units:
            raise ConfigError(
                f"the parts of a Blend have outputs of the shapes {shapes}; expected (units,) or (members, units) of the same units"
            )
        weights = jnp.full((len(self.parts),), 1 / len(self.parts))
        return tuple(p for p, _, _ in begun), (*(s for _, s, _ in begun), {"weights": weights}), units.pop()

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        *before, own = state
        found, after = [], []
        for index, (part, variables, kept) in enumerate(zip(self.parts, params, before, strict=True)):
            inner = None if key is None else jax.random.fold_in(key, index)
            y, kept = part.apply(variables, kept, x, train=train, key=inner)
            found.append(self._mean(y[:, None] if y.ndim == 2 else y))
            after.append(kept)
        stacked = jnp.stack(found, axis=-1)
        weights = own["weights"].astype(stacked.dtype)
        y = jax.nn.logsumexp(stacked, axis=-1, b=weights[None, None]) if self.classes else stacked @ weights
        return y, (*after, own)

    def _mean(self, y: jax.Array) -> jax.Array:
        """The mean over the members ``(batch, members, units)``: of the logarithms of probabilities, or of values."""
        y = y.astype(jnp.promote_types(y.dtype, jnp.float32))
        if not self.classes:
            return y.mean(axis=1)
        return jax.nn.logsumexp(jax.nn.log_softmax(y), axis=1, b=1 / y.shape[1])

    def shares(self, state: State) -> dict[str, float]:
        """The weight of each part by its name."""
        return {name: float(weight) for name, weight in zip(self.names, state[-1]["weights"], strict=True)}

    def children(self) -> tuple[tuple[str, Layer], ...]:
        return tuple(zip(self.names, self.parts, strict=True))

    def flops(self, in_shape: Shape) -> int | None:
        each = [part.flops(in_shape) for part in self.parts]
        return None if None in each else sum(each)  # type: ignore[arg-type]
