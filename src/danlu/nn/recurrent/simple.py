"""The simple recurrent network, and backpropagation through time in its smallest form."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.nn.recurrent.rnn import Carry, Cell, Recurrent, keep, previous, read, write

__all__ = ["SimpleRNN"]


def _forward(
    activation: Any, z: jax.Array, weights: Any, carry: Carry, mask: Any, reverse: bool
) -> tuple[jax.Array, Carry, Any]:
    kernel, time = weights["recurrent_kernel"], z.shape[0]

    def step(index: Any, loop: Any) -> Any:
        h, hs = loop
        t = time - 1 - index if reverse else index
        new = activation(read(hs, t) + h @ kernel)
        h = keep(None if mask is None else read(mask, t), new, h)
        return h, write(hs, h, t)  # over the z that it came from

    h, hs = jax.lax.fori_loop(0, time, step, (carry[0], z))
    return hs, (h,), (hs, carry[0])


def _backward(
    slope: Any, kept: Any, weights: Any, d_hs: jax.Array, d_carry: Carry, mask: Any, reverse: bool
) -> tuple[jax.Array, Any, Carry]:
    """``δ_t = dh_t ⊙ f′(z_t)`` and ``dh_{t−1} = ∂L/∂h_{t−1} + δ_t·Uᵀ``; at padding the error passes as it is."""
    hs, start = kept
    kernel = weights["recurrent_kernel"]

    def step(dh: jax.Array, at: Any) -> tuple[jax.Array, jax.Array]:
        h, d_h, real = at
        dh = dh + d_h
        delta = keep(real, dh * slope(h), jnp.zeros_like(dh))
        passed = jnp.zeros_like(dh) if real is None else keep(real, jnp.zeros_like(dh), dh)
        return delta @ kernel.T + passed, delta

    dh, deltas = jax.lax.scan(step, d_carry[0], (hs, d_hs, mask), reverse=not reverse)
    h_before = previous(hs, start, reverse).reshape(-1, kernel.shape[0])  # (time·batch, units)
    return deltas, {"recurrent_kernel": h_before.T @ deltas.reshape(-1, kernel.shape[1])}, (dh,)  # (units, units)


# f and f′, the latter from the output: at padding it is not used.
def _tanh_forward(*args: Any) -> Any:
    return _forward(jnp.tanh, *args)


def _tanh_backward(*args: Any) -> Any:
    return _backward(lambda h: 1 - h * h, *args)


def _relu_forward(*args: Any) -> Any:
    return _forward(lambda z: jnp.maximum(z, 0), *args)


def _relu_backward(*args: Any) -> Any:
    return _backward(lambda h: (h > 0).astype(h.dtype), *args)


_CELLS = {"tanh": Cell(1, 1, _tanh_forward, _tanh_backward), "relu": Cell(1, 1, _relu_forward, _relu_backward)}


class SimpleRNN(Recurrent):
    """``h_t = f(x_t·W + h_{t−1}·U + b)``: Elman's network.

    Inputs, masks, ``return_sequences`` and ``reverse``: see :class:`Recurrent`.

    Args:
        units: size of ``h``.
        return_sequences: every step's ``h``, or the last.
        reverse: from the last step to the first.
        activation: ``f``, ``"tanh"`` or ``"relu"``.

    Params: ``{"kernel": W (features, units), "recurrent_kernel": U (units, units), "bias": b (units,)}``. State: ``{}``. In
    ``torch.nn.RNN``: ``weight_ih_l0ᵀ``, ``weight_hh_l0ᵀ``, and the sum of its two biases.

    Carry: ``(h,)``.

    Reference: Elman (1990), "Finding structure in time".

    Example:
        >>> layer = SimpleRNN(4)
        >>> params, state, out_shape = layer.init(jax.random.key(0), (10, 3))
        >>> out_shape, layer.apply(params, state, jnp.ones((2, 10, 3)))[0].shape
        ((10, 4), (2, 10, 4))
    """

    activation: str = setting(default="tanh", choices=("tanh", "relu"))

    @property
    def cell(self) -> Cell:
        """The cell's two passes."""
        return _CELLS[self.activation]

    def biases(self) -> dict[str, jax.Array]:
        """Zeros."""
        return {"bias": jnp.zeros((self.units,))}
