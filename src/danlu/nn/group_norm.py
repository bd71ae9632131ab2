"""Group normalisation, and with it instance normalisation."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.errors import ConfigError
from danlu.nn._precision import widened
from danlu.nn._shapes import check_last_axis, features, on_last_axis, size
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["GroupNorm"]


class GroupNorm(Layer):
    """Each example's channels, a group at a time, with mean 0 and variance 1: ``γ·(x − μ)/√(σ² + ε) + β``.

    ``μ`` and ``σ²`` (biased) are over a group's channels and all positions. No batch statistics: the same in training
    and use, and at any batch size. ``groups`` equal to the channels is instance normalisation; 1 is layer normalisation
    over the whole example.

    Args:
        groups: how many; a divisor of the channels, >= 1. None: one for each channel (instance normalisation).
        epsilon: added to the variance.

    Params: ``{"scale": γ (channels,), "bias": β (channels,)}``. State: ``{}``.

    Raises:
        ConfigError: at ``init``, channels that the groups do not divide.

    Reference: Wu & He (2018), arXiv:1803.08494, eqs. 1-7; Ulyanov et al. (2016), arXiv:1607.08022 (instance).

    Example:
        >>> layer = GroupNorm(2)
        >>> params, state, out_shape = layer.init(jax.random.key(0), (8, 8, 6))
        >>> y, _ = layer.apply(params, state, jax.random.normal(jax.random.key(1), (1, 8, 8, 6)))
        >>> abs(float(y[..., :3].mean())) < 1e-6
        True
    """

    groups: int | None = setting(default=32, minimum=1, integer=True, optional=True)
    epsilon: float = setting(default=1e-5, above=0)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        n = features("GroupNorm", in_shape)
        if self.groups is not None and n % self.groups:
            raise ConfigError(
                f"GroupNorm has {self.groups} groups for {n} channels; expected a divisor of the channels",
                hint="groups=None normalises each channel by itself",
            )
        return {"scale": jnp.ones((n,)), "bias": jnp.zeros((n,))}, {}, in_shape

    def normal(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """``x̂ = (x − μ)/√(σ² + ε)`` in the shape of ``x``, and ``1/√(σ² + ε)``, ``(batch, 1, groups, 1)``."""
        groups = x.shape[-1] if self.groups is None else self.groups
        positions = math.prod(x.shape[1:-1])
        grouped = widened(x).reshape(x.shape[0], positions, groups, x.shape[-1] // groups)
        centred = grouped - jnp.mean(grouped, axis=(1, 3), keepdims=True)
        inverse = jax.lax.rsqrt(jnp.mean(jnp.square(centred), axis=(1, 3), keepdims=True) + self.epsilon)
        return (centred * inverse).reshape(x.shape), inverse

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        check_last_axis("GroupNorm", x, params["scale"].shape[0])
        normal, _ = self.normal(x)
        y = normal * on_last_axis(params["scale"], x.ndim) + on_last_axis(params["bias"], x.ndim)
        return y.astype(jnp.result_type(x, params["scale"])), state

    def flops(self, in_shape: Shape) -> int:
        return 8 * size(in_shape)
