"""Long short-term memory."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.nn.recurrent.rnn import Carry, Cell, Recurrent, gates_of, keep, previous, read, side_by_side, write

__all__ = ["LSTM"]


def _sigmoid(x: jax.Array) -> jax.Array:
    """``σ(x) = (1 + tanh(x/2))/2``: half the time of the exponential form."""
    return 0.5 * jnp.tanh(0.5 * x) + 0.5


def _forward(z: jax.Array, weights: Any, carry: Carry, mask: Any, reverse: bool) -> tuple[jax.Array, Carry, Any]:
    kernels, time = gates_of(weights["recurrent_kernel"], 4), z.shape[0]

    def step(index: Any, loop: Any) -> Any:
        h, c, hs, c_before, gates = loop
        t = time - 1 - index if reverse else index
        z_i, z_f, z_g, z_o = (read(part, t) + h @ kernel for part, kernel in zip(gates, kernels, strict=True))
        i, f, g, o = _sigmoid(z_i), _sigmoid(z_f), jnp.tanh(z_g), _sigmoid(z_o)
        new_c = f * c + i * g
        real = None if mask is None else read(mask, t)
        new_h = keep(real, o * jnp.tanh(new_c), h)
        # Each gate is written over the z that it came from.
        gates = [write(part, gate, t) for part, gate in zip(gates, (i, f, g, o), strict=True)]
        return new_h, keep(real, new_c, c), write(hs, new_h, t), write(c_before, c, t), gates

    empty = jnp.zeros((*z.shape[:2], carry[0].shape[1]), z.dtype)
    h, c, hs, c_before, gates = jax.lax.fori_loop(0, time, step, (*carry, empty, empty, gates_of(z, 4)))
    return hs, (h, c), (hs, carry[0], c_before, gates)


def _backward(
    kept: Any, weights: Any, d_hs: jax.Array, d_carry: Carry, mask: Any, reverse: bool
) -> tuple[jax.Array, Any, Carry]:
    """The chain rule from the last step to the first, with ``dh`` and ``dc`` the errors of ``h_t`` and ``c_t``.

    ``dh`` gains ``∂L/∂h_t``. Then ``dc += dh·o·(1 − tanh²(c_t))``, and with σ′ = σ(1 − σ) and tanh′ = 1 − tanh²::

        δ_i = dc·g·i(1 − i)    δ_f = dc·c_{t−1}·f(1 − f)    δ_g = dc·i·(1 − g²)    δ_o = dh·tanh(c_t)·o(1 − o)

    To the step before: ``dh = δ·Uᵀ`` and ``dc = dc·f``. At padding, δ = 0 and both pass as they are.
    """
    hs, start, c_before, gates = kept
    kernel = weights["recurrent_kernel"]
    transposed = kernel.T

    def step(loop: Any, at: Any) -> tuple[Any, jax.Array]:
        dh, dc = loop
        d_h, c, (i, f, g, o), real = at
        tanh_c = jnp.tanh(f * c + i * g)
        dh = dh + d_h
        dc_in = dc + dh * o * (1 - tanh_c * tanh_c)
        delta = side_by_side(
            (
                dc_in * g * i * (1 - i),
                dc_in * c * f * (1 - f),
                dc_in * i * (1 - g * g),
                dh * tanh_c * o * (1 - o),
            )
        )
        if real is None:
            return (delta @ transposed, dc_in * f), delta
        delta = jnp.where(real, delta, 0)
        return (delta @ transposed + jnp.where(real, 0, dh), jnp.where(real, dc_in * f, dc)), delta

    carry, deltas = jax.lax.scan(step, d_carry, (d_hs, c_before, gates, mask), reverse=not reverse)
    h_before = previous(hs, start, reverse).reshape(-1, kernel.shape[0])  # (time·batch, units)
    return deltas, {"recurrent_kernel": h_before.T @ deltas.reshape(-1, kernel.shape[1])}, carry  # (units, 4·units)


_CELL = Cell(4, 2, _forward, _backward)


class LSTM(Recurrent):
    """Long short-term memory: a cell ``c`` that gates let in, forget and let out.

    ::

        i = σ(x_t·W_i + h_{t−1}·U_i + b_i)      f = σ(x_t·W_f + h_{t−1}·U_f + b_f)
        g = tanh(x_t·W_g + h_{t−1}·U_g + b_g)   o = σ(x_t·W_o + h_{t−1}·U_o + b_o)
        c_t = f ⊙ c_{t−1} + i ⊙ g               h_t = o ⊙ tanh(c_t)

    Inputs, masks, ``return_sequences`` and ``reverse``: see :class:`Recurrent`.

    Args:
        units: size of ``h`` and of ``c``.
        return_sequences: every step's ``h``, or the last.
        reverse: from the last step to the first.
        forget_bias: initial ``b_f``; the other biases start at 0.

    Params: ``{"kernel": (features, 4·units), "recurrent_kernel": (units, 4·units), "bias": (4·units,)}``, gates in the sequence
    i, f, g, o. State: ``{}``. In ``torch.nn.LSTM``: ``weight_ih_l0ᵀ``, ``weight_hh_l0ᵀ``, the sum of its two biases.

    Carry: ``(h, c)``.

    Reference: Hochreiter & Schmidhuber (1997); the forget gate is Gers, Schmidhuber & Cummins (2000), without peepholes. A
    forget bias of 1: Jozefowicz, Zaremba & Sutskever (2015), section 2.1.

    Example:
        >>> layer = LSTM(4, return_sequences=False)
        >>> params, state, out_shape = layer.init(jax.random.key(0), (10, 3))
        >>> out_shape, layer.apply(params, state, jnp.ones((2, 10, 3)))[0].shape
        ((4,), (2, 4))
    """

    forget_bias: float = setting(default=1.0)

    @property
    def cell(self) -> Cell:
        """The cell's two passes."""
        return _CELL

    def biases(self) -> dict[str, jax.Array]:
        """Zeros, but for the forget gate's."""
        zeros = jnp.zeros((self.units,))
        return {"bias": jnp.concatenate([zeros, zeros + self.forget_bias, zeros, zeros])}
