"""The gated recurrent unit."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.nn._shapes import on_last_axis
from danlu.nn.recurrent.lstm import _sigmoid
from danlu.nn.recurrent.rnn import Carry, Cell, Recurrent, gates_of, keep, previous, read, side_by_side, write

__all__ = ["GRU"]


def _forward(z: jax.Array, weights: Any, carry: Carry, mask: Any, reverse: bool) -> tuple[jax.Array, Carry, Any]:
    kernels, time = gates_of(weights["recurrent_kernel"], 3), z.shape[0]
    bias = on_last_axis(weights["recurrent_bias"], 2)

    def step(index: Any, loop: Any) -> Any:
        h, hs, qs, gates = loop
        t = time - 1 - index if reverse else index
        x_r, x_u, x_n = (read(part, t) for part in gates)
        r, u = _sigmoid(x_r + h @ kernels[0]), _sigmoid(x_u + h @ kernels[1])
        q = h @ kernels[2] + bias
        n = jnp.tanh(x_n + r * q)
        h = keep(None if mask is None else read(mask, t), (1 - u) * n + u * h, h)
        # Each gate is written over the projection that it came from.
        gates = [write(part, gate, t) for part, gate in zip(gates, (r, u, n), strict=True)]
        return h, write(hs, h, t), write(qs, q, t), gates

    empty = jnp.zeros((*z.shape[:2], carry[0].shape[1]), z.dtype)
    h, hs, qs, gates = jax.lax.fori_loop(0, time, step, (carry[0], empty, empty, gates_of(z, 3)))
    return hs, (h,), (hs, carry[0], qs, gates)


def _backward(
    kept: Any, weights: Any, d_hs: jax.Array, d_carry: Carry, mask: Any, reverse: bool
) -> tuple[jax.Array, Any, Carry]:
    """The chain rule from the last step to the first, with ``dh`` the error of ``h_t``, which gains ``∂L/∂h_t``::

        δ_n = dh·(1 − u)·(1 − n²)    δ_u = dh·(h_{t−1} − n)·u(1 − u)    δ_r = δ_n·q·r(1 − r)    δ_q = δ_n·r

    To the step before: ``dh = dh·u + [δ_r δ_u δ_q]·Uᵀ``. At padding, δ = 0 and ``dh`` passes as it is.
    """
    hs, start, qs, gates = kept
    kernel = weights["recurrent_kernel"]
    transposed, h_before = kernel.T, previous(hs, start, reverse)

    def step(dh: jax.Array, at: Any) -> tuple[jax.Array, Any]:
        d_h, h, q, (r, u, n), real = at
        dh = dh + d_h
        error = keep(real, dh, jnp.zeros_like(dh))
        delta_n = error * (1 - u) * (1 - n * n)
        delta_r, delta_u = delta_n * q * r * (1 - r), error * (h - n) * u * (1 - u)
        delta = side_by_side((delta_r, delta_u, delta_n * r))
        return delta @ transposed + keep(real, dh * u, dh), (delta, delta_n)

    dh, (deltas, delta_n) = jax.lax.scan(step, d_carry[0], (d_hs, h_before, qs, gates, mask), reverse=not reverse)
    units = kernel.shape[0]
    gradients = {
        # (units, time·batch)·(time·batch, 3·units)
        "recurrent_kernel": h_before.reshape(-1, units).T @ deltas.reshape(-1, 3 * units),
        "recurrent_bias": jnp.sum(deltas[..., 2 * units :], axis=(0, 1)),
    }
    return side_by_side((deltas[..., : 2 * units], delta_n)), gradients, (dh,)


_CELL = Cell(3, 1, _forward, _backward)


class GRU(Recurrent):
    """The gated recurrent unit, with the reset gate *after* the recurrent product, as in cuDNN, PyTorch and Keras.

    ::

        r = σ(x_t·W_r + h_{t−1}·U_r + b_r)      u = σ(x_t·W_u + h_{t−1}·U_u + b_u)
        n = tanh(x_t·W_n + b_n + r ⊙ (h_{t−1}·U_n + b_q))
        h_t = (1 − u) ⊙ n + u ⊙ h_{t−1}

    The other variant has it before, ``(r ⊙ h_{t−1})·U_n``, which takes two products one after the other a step; weights of
    one do not fit the other.

    Inputs, masks, ``return_sequences`` and ``reverse``: see :class:`Recurrent`.

    Args:
        units: size of ``h``.
        return_sequences: every step's ``h``, or the last.
        reverse: from the last step to the first.

    Params: ``{"kernel": (features, 3·units), "recurrent_kernel": (units, 3·units), "bias": (3·units,), "recurrent_bias": b_q
    (units,)}``, gates in the sequence r, u, n. State: ``{}``. In ``torch.nn.GRU`` (which calls the update gate z):
    ``weight_ih_l0ᵀ``, ``weight_hh_l0ᵀ``, the sum of its two biases for r and z, ``bias_ih_l0`` for n, and ``bias_hh_l0`` for
    ``b_q``.

    Carry: ``(h,)``.

    Reference: Cho et al. (2014), arXiv:1406.1078v1; the last version of that paper (v3, section 2.3) has the reset before.

    Example:
        >>> layer = GRU(4)
        >>> params, state, _ = layer.init(jax.random.key(0), (10, 3))
        >>> y, carry = layer.run(params, jnp.ones((2, 10, 3)))
        >>> y.shape, carry[0].shape
        ((2, 10, 4), (2, 4))
    """

    @property
    def cell(self) -> Cell:
        """The cell's two passes."""
        return _CELL

    def biases(self) -> dict[str, jax.Array]:
        """Zeros."""
        return {"bias": jnp.zeros((3 * self.units,)), "recurrent_bias": jnp.zeros((self.units,))}
