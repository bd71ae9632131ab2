"""The chain rule through a recurrent layer (backpropagation through time, by the formulas in each cell's file) and padding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from danlu.nn._largest import to_largest
from danlu.nn.attention.sequence import padding_mask, tokens
from danlu.nn.backprop.visit import Visit
from danlu.nn.recurrent.masking import real_only
from danlu.nn.recurrent.rnn import keep, project, steps_mask

__all__ = ["max_over_time", "recurrent", "zero_padding"]


def recurrent(visit: Visit, dy: Any) -> tuple[Any, dict[str, jax.Array]]:
    """``Z = X·W + b``, then the loop: the cell gives ``δ = ∂L/∂Z``; ``∂L/∂W = Xᵀδ``, ``∂L/∂b = Σ δ``, ``∂L/∂X = δWᵀ``.

    ``dy`` reaches ``h`` at every real step, or the last output alone; no error comes back from the final carry. The mask has no
    error signal (None).
    """
    layer, params = visit.layer, visit.params
    x, mask = tokens(visit.x), steps_mask(visit.x)
    z = project(type(layer).__name__, params, x)
    weights = {name: params[name] for name in params if name.startswith("recurrent")}
    hs, carry, kept = layer.cell.forward(z, weights, layer.zeros(z), mask, layer.reverse)
    if layer.return_sequences:
        d_hs = tokens(dy).swapaxes(0, 1)
        d_hs = keep(mask, d_hs, jnp.zeros_like(d_hs))
    else:
        d_hs = jnp.zeros_like(hs).at[0 if layer.reverse else -1].set(dy)
    d_carry = tuple(jnp.zeros_like(part) for part in carry)
    deltas, gradients, _ = layer.cell.backward(kept, weights, d_hs, d_carry, mask, layer.reverse)
    flat = deltas.reshape(-1, deltas.shape[2])  # (time·batch, gates·units)
    gradients["kernel"] = x.swapaxes(0, 1).reshape(flat.shape[0], -1).T @ flat  # (features, gates·units)
    gradients["bias"] = jnp.sum(flat, axis=0)
    d_x = (flat @ params["kernel"].T).reshape(*deltas.shape[:2], -1).swapaxes(0, 1)  # (batch, time, features)
    return _alone(visit.x, d_x), gradients


def zero_padding(visit: Visit, dy: Any) -> tuple[Any, dict[str, jax.Array]]:
    """``dy`` at the real steps, 0 at padding."""
    return _alone(visit.x, real_only(visit.x, tokens(dy))), {}


def max_over_time(visit: Visit, dy: jax.Array) -> tuple[Any, dict[str, jax.Array]]:
    """``dy`` goes to the first step that was the largest."""
    given, mask = tokens(visit.x), padding_mask(visit.x)
    seen = given if mask is None else jnp.where(mask[:, :, None], given, -jnp.inf)
    return _alone(visit.x, to_largest(jnp.argmax(seen, axis=1), mask, given.shape[1], dy)), {}


def _alone(x: Any, d_x: jax.Array) -> Any:
    """``∂L/∂x`` for a sequence input; what else is in the dict has no error signal."""
    return {**dict.fromkeys(x), "x": d_x} if isinstance(x, Mapping) else d_x
