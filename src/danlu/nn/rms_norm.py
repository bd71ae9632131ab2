"""Root mean square normalisation: layer norm without the mean."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.nn._precision import widened
from danlu.nn._shapes import check_last_axis, features, on_last_axis, size
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["RMSNorm"]


class RMSNorm(Layer):
    """Each example's last axis with mean square 1: ``γ·x/√(mean(x²) + ε)``, the same in training and use.

    Args:
        epsilon: added to the mean square.

    Params: ``{"scale": γ (features,)}``. State: ``{}``.

    Reference: Zhang & Sennrich (2019), arXiv:1910.07467, eq. 4; ε as in Llama.

    Example:
        >>> layer = RMSNorm()
        >>> params, state, _ = layer.init(jax.random.key(0), (2,))
        >>> layer.apply(params, state, jnp.array([[3.0, 4.0]]))[0].round(4).tolist()
        [[0.848..., 1.131...]]
    """

    epsilon: float = setting(default=1e-5, above=0)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        return {"scale": jnp.ones((features("RMSNorm", in_shape),))}, {}, in_shape

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        check_last_axis("RMSNorm", x, params["scale"].shape[0])
        wide = widened(x)
        normal = wide * jax.lax.rsqrt(jnp.mean(jnp.square(wide), axis=-1, keepdims=True) + self.epsilon)
        return (normal * on_last_axis(params["scale"], x.ndim)).astype(jnp.result_type(x, params["scale"])), state

    def flops(self, in_shape: Shape) -> int:
        return 4 * size(in_shape)
