"""A layer whose kernel is divided by its largest singular value."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.errors import ConfigError
from danlu.nn.combine import child_key
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["SpectralNorm"]


class SpectralNorm(Layer):
    """A layer with ``W/σ(W)`` in place of its kernel W, so that it stretches no input by more than 1.

    W is taken as a matrix, from all that goes in to the features that come out, and σ is its largest singular value. Each step of training
    improves the vector u of ``σ = |W·u|`` by a step of the power method: ``u ← Wᵀ·(W·u)``, made of length 1.

    Args:
        layer: one with a ``"kernel"``, such as ``Dense`` or ``Conv``.
        steps: of the power method in each step of training.

    Params: ``(the layer's,)``. State: ``(the layer's, {"u": (features,)})``.

    Raises:
        ConfigError: at ``init``, a layer without a kernel.

    Reference: Miyato, Kataoka, Koyama & Yoshida, "Spectral normalization for generative adversarial networks" (2018), algorithm 1.

    Example:
        >>> from danlu.nn.dense import Dense
        >>> layer = SpectralNorm(Dense(3), steps=50)
        >>> params, state, _ = layer.init(jax.random.key(0), (4,))
        >>> _, state = layer.apply(params, state, jnp.zeros((1, 4)), train=True)
        >>> round(float(jnp.linalg.svd(params[0]["kernel"] / layer.sigma(params, state), compute_uv=False)[0]), 4)
        1.0
    """

    layer: Layer
    steps: int = setting(default=1, minimum=1, integer=True)

    def children(self) -> tuple[tuple[str, Layer], ...]:
        return (("layer", self.layer),)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        params, state, out = self.layer.init(jax.random.fold_in(key, 0), in_shape)
        if not isinstance(params, dict) or "kernel" not in params:
            raise ConfigError(
                f"SpectralNorm was given a {type(self.layer).__name__}, which has no kernel; expected a Dense or a Conv"
            )
        u = jax.random.normal(jax.random.fold_in(key, 1), params["kernel"].shape[-1:])
        return (params,), (state, {"u": u / jnp.linalg.norm(u)}), out

    def sigma(self, params: Params, state: State) -> jax.Array:
        """The largest singular value, as far as u is known; its gradient is that of ``vᵀ·W·u`` with v and u fixed."""
        kernel, u = _matrix(params), state[1]["u"]
        v = jax.lax.stop_gradient(_unit(kernel @ u))
        found: jax.Array = v @ kernel @ u
        return found

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        u = state[1]["u"]
        if train:
            kernel = jax.lax.stop_gradient(_matrix(params))
            for _ in range(self.steps):
                u = _unit((kernel @ u) @ kernel)
        after = (state[0], {"u": u})
        own = {**params[0], "kernel": params[0]["kernel"] / self.sigma(params, after)}
        y, inner = self.layer.apply(own, state[0], x, train=train, key=child_key(key, 0))
        return y, (inner, {"u": u})

    def flops(self, in_shape: Shape) -> int | None:
        return self.layer.flops(in_shape)


def _matrix(params: Params) -> jax.Array:
    """The kernel as a matrix ``(everything that goes in, features)``."""
    kernel: jax.Array = params[0]["kernel"]
    return kernel.reshape(-1, kernel.shape[-1])  # (inputs, features)


def _unit(vector: jax.Array) -> jax.Array:
    return vector / jnp.maximum(jnp.linalg.norm(vector), 1e-12)
