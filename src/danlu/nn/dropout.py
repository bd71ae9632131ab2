"""Dropout."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.nn._keys import required_key
from danlu.nn._shapes import size
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["Dropout", "dropout_scale"]


def dropout_scale(rate: jax.Array, key: jax.Array, x: jax.Array) -> jax.Array:
    """What dropout multiplies ``x`` by: 0 with probability ``rate``, else ``1 / (1 − rate)``; independent draws.

    Each draw is 16 random bits (half the cost of a 32-bit uniform number), so the rate in force is ``rate`` rounded to
    a multiple of 2⁻¹⁶; the scale uses the rounded rate and the mean stays exactly 1.
    """
    kept = jnp.round((1 - rate) * 65536)
    mask = jax.random.bits(key, x.shape, jnp.uint16).astype(jnp.int32) < kept.astype(jnp.int32)
    return jnp.where(mask, 65536 / jnp.maximum(kept, 1), 0).astype(x.dtype)


class Dropout(Layer):
    """Inverted dropout: in training an element is 0 with probability ``rate``, else scaled by ``1/(1 − rate)``.

    Outside training it is the identity. The rate in force is the array ``state["rate"]``, which starts at ``rate``: the
    members of a population can hold different rates in one compiled program.

    Args:
        rate: probability in [0, 1).

    Params: ``{}``. State: ``{"rate": ()}``.

    Raises:
        ConfigError: ``apply`` in training without a key.

    Reference: Srivastava et al. (2014), JMLR 15, section 4; the scaling is moved from test time to training time.
    """

    rate: float = setting(default=0.5, minimum=0, below=1)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        return {}, {"rate": jnp.asarray(self.rate, float)}, in_shape

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        if not train:
            return x, state
        return x * dropout_scale(state["rate"], required_key("Dropout", key), x), state

    def flops(self, in_shape: Shape) -> int:
        return size(in_shape)
