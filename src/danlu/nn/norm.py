"""Normalisation layers: over the batch, and over each example's features."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.nn._precision import widened
from danlu.nn._shapes import check_last_axis, features, on_last_axis, size
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["BatchNorm", "LayerNorm"]


class BatchNorm(Layer):
    """Each feature (last axis) with mean 0 and variance 1 over all other axes: ``γ·(x − μ)/√(σ² + ε) + β``.

    In training ``μ`` and ``σ²`` (the biased variance) are the batch's, and the running statistics move:
    ``running ← momentum·running + (1 − momentum)·batch``, the variance with Bessel's correction ``m/(m − 1)`` as in the
    paper and PyTorch (Keras stores the biased one). Otherwise the running statistics are used.

    Every row of the batch counts, rows of weight 0 included: padded batches shift the statistics. LayerNorm does not
    have this problem.

    Args:
        momentum: share of the old running statistics that is kept at each step (Keras's convention; PyTorch's is
            ``1 − momentum``).
        epsilon: added to the variance.

    Params: ``{"scale": γ (features,), "bias": β (features,)}``.
    State: ``{"mean": (features,), "variance": (features,)}``.

    Reference: Ioffe & Szegedy (2015), arXiv:1502.03167, algorithms 1 and 2.
    """

    momentum: float = setting(default=0.9, minimum=0, maximum=1)
    epsilon: float = setting(default=1e-5, above=0)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        n = features("BatchNorm", in_shape)
        params = {"scale": jnp.ones((n,)), "bias": jnp.zeros((n,))}
        return params, {"mean": jnp.zeros((n,)), "variance": jnp.ones((n,))}, in_shape

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        check_last_axis("BatchNorm", x, params["scale"].shape[0])
        mean, variance, wide = state["mean"], state["variance"], widened(x)
        if train and x.size:  # a batch of no rows has no statistics to move to
            axes = tuple(range(x.ndim - 1))
            mean = jnp.mean(wide, axis=axes)
            variance = jnp.mean(jnp.square(wide - on_last_axis(mean, x.ndim)), axis=axes)
            state = self._moved(state, mean, variance, rows=x.size // x.shape[-1])
        # Two vectors first, so that each element of x costs one multiply-add.
        scale = params["scale"] * jax.lax.rsqrt(variance + self.epsilon)
        y = (wide - on_last_axis(mean, x.ndim)) * on_last_axis(scale, x.ndim) + on_last_axis(params["bias"], x.ndim)
        return y.astype(jnp.result_type(x, params["scale"])), state

    def _moved(self, state: State, mean: jax.Array, variance: jax.Array, *, rows: int) -> State:
        unbiased = variance * (rows / max(rows - 1, 1))

        def move(old: jax.Array, new: jax.Array) -> jax.Array:
            return (self.momentum * old + (1 - self.momentum) * jax.lax.stop_gradient(new)).astype(old.dtype)

        return {"mean": move(state["mean"], mean), "variance": move(state["variance"], unbiased)}

    def flops(self, in_shape: Shape) -> int:
        return 3 * size(in_shape)


class LayerNorm(Layer):
    """Each example's last axis with mean 0 and variance 1: ``γ·(x − μ)/√(σ² + ε) + β``, the same in training and use.

    Args:
        epsilon: added to the (biased) variance.

    Params: ``{"scale": γ (features,), "bias": β (features,)}``. State: ``{}``.

    Reference: Ba, Kiros & Hinton (2016), arXiv:1607.06450, eq. 3.
    """

    epsilon: float = setting(default=1e-5, above=0)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        n = features("LayerNorm", in_shape)
        return {"scale": jnp.ones((n,)), "bias": jnp.zeros((n,))}, {}, in_shape

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        check_last_axis("LayerNorm", x, params["scale"].shape[0])
        wide = widened(x)
        centred = wide - jnp.mean(wide, axis=-1, keepdims=True)
        normal = centred * jax.lax.rsqrt(jnp.mean(jnp.square(centred), axis=-1, keepdims=True) + self.epsilon)
        y = normal * on_last_axis(params["scale"], x.ndim) + on_last_axis(params["bias"], x.ndim)
        return y.astype(jnp.result_type(x, params["scale"])), state

    def flops(self, in_shape: Shape) -> int:
        return 8 * size(in_shape)
