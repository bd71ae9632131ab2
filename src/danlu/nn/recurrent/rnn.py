"""A cell run over time: the base of the recurrent layers.

The inputs of all steps are projected in one matrix product, ``Z = X·W + b``; the loop over time only adds ``h·U`` and
applies the cell. A cell brings its own backward pass (backpropagation through time), because the automatic one is two to
three times slower on a CPU:

- the gates of a step are separate arrays (an activation of a *slice* of one wide array compiles to scalar code), and the
  forward loop writes each gate over the projection that it came from, so that the backward loop finds it there;
- the backward loop gives only the errors ``δ_t = ∂L/∂z_t`` of all gates side by side, and the weights' gradient is one
  product of the whole sequence after it: ``∂L/∂U = Σ_t h_{t−1}ᵀ·δ_t``.

It is the chain rule, written in each cell's file, and the tests compare it with the derivative of the plain loop.

Reference: Werbos (1990), "Backpropagation through time: what it does and how to do it".
"""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.errors import DataError
from danlu.nn._precision import repeated
from danlu.nn._shapes import on_last_axis
from danlu.nn.attention.sequence import padding_mask, replaced, sequence_shape, tokens
from danlu.nn.initializers import INITIALIZERS
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = [
    "Cell",
    "Recurrent",
    "gates_of",
    "keep",
    "previous",
    "project",
    "read",
    "run_cell",
    "side_by_side",
    "steps_mask",
    "write",
]

Carry = tuple[jax.Array, ...]


class Cell(NamedTuple):
    """A cell's two passes over a whole sequence; module-level functions, so that equal layers share a program.

    With ``time`` first, ``z`` the projected inputs ``(time, batch, gates·units)``, ``weights`` the layer's params that the
    loop uses, ``mask`` ``(time, batch, 1)`` or None, and ``reverse`` for a loop from the last step to the first:

    Attributes:
        gates: how many gates a unit has.
        carries: how many vectors a unit carries from step to step; the first is its output ``h``.
        forward: ``(z, weights, carry, mask, reverse) -> (hs, carry, kept)``, ``hs`` being ``h`` after each step.
        backward: ``(kept, weights, d_hs, d_carry, mask, reverse) -> (d_z, d_weights, d_carry)``, the gradients.
    """

    gates: int
    carries: int
    forward: Callable[..., tuple[jax.Array, Carry, Any]]
    backward: Callable[..., tuple[jax.Array, Params, Carry]]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def run_cell(
    cell: Cell, reverse: bool, z: jax.Array, weights: Params, carry: Carry, mask: jax.Array | None
) -> tuple[jax.Array, Carry]:
    """The output ``h`` after every step, ``(time, batch, units)``, and the final carry."""
    hs, carry, _ = cell.forward(z, weights, carry, mask, reverse)
    return hs, carry


def _forward(cell: Cell, reverse: bool, z: Any, weights: Any, carry: Any, mask: Any) -> tuple[Any, Any]:
    hs, carry, kept = cell.forward(z, weights, carry, mask, reverse)
    return (hs, carry), (kept, weights, mask)


def _backward(cell: Cell, reverse: bool, residuals: Any, errors: Any) -> tuple[Any, Any, Any, None]:
    kept, weights, mask = residuals
    d_z, d_weights, d_carry = cell.backward(kept, weights, *errors, mask, reverse)
    return d_z, jax.tree.map(lambda gradient, weight: gradient.astype(weight.dtype), d_weights, weights), d_carry, None


run_cell.defvjp(_forward, _backward)


def gates_of(wide: jax.Array, gates: int) -> list[jax.Array]:
    """``(..., gates·units)`` as one array a gate."""
    return jnp.split(wide, gates, axis=-1)


def side_by_side(parts: tuple[jax.Array, ...]) -> jax.Array:
    """The inverse of :func:`gates_of`."""
    return jnp.concatenate(parts, axis=-1)


def read(sequence: jax.Array, t: Any) -> jax.Array:
    """Step ``t`` of a sequence ``(time, batch, …)``: ``(batch, …)``."""
    step: jax.Array = jax.lax.dynamic_index_in_dim(sequence, t, 0, keepdims=False)
    return step


def write(sequence: jax.Array, step: jax.Array, t: Any) -> jax.Array:
    """The sequence with ``step`` at ``t``; in a loop, XLA writes it in place."""
    written: jax.Array = jax.lax.dynamic_update_index_in_dim(sequence, step, t, 0)
    return written


def keep(mask: jax.Array | None, new: jax.Array, old: jax.Array) -> jax.Array:
    """``new (batch, …)`` where the mask ``(batch, 1)`` is True (a real step), ``old`` at padding."""
    return new if mask is None else jnp.where(mask, new, old)


def previous(hs: jax.Array, first: jax.Array, reverse: bool) -> jax.Array:
    """The input state of each step: ``hs`` shifted by one step, with ``first`` at the loop's start."""
    return jnp.concatenate([hs[1:], first[None]] if reverse else [first[None], hs[:-1]])


class Recurrent(Layer, abc.ABC):
    """The base of :class:`SimpleRNN`, :class:`LSTM` and :class:`GRU`: ``(batch, time, features)`` to ``(batch, time, units)``.

    The kernels of all gates are drawn as one matrix, as in Keras: Glorot uniform for the inputs', orthogonal for the
    recurrent one. The carry starts at 0 and stays as it is at padding (see :mod:`danlu.nn.attention.sequence`), where the output is 0.

    Args:
        units: size of the output, and of each vector of the carry.
        return_sequences: whether to give the output of every step; otherwise that of the last real one, ``(batch, units)``.
        reverse: whether to go from the last step to the first; each output still stands at its own step.
    """

    units: int = setting(minimum=1, integer=True)
    return_sequences: bool = True
    reverse: bool = False

    @property
    @abc.abstractmethod
    def cell(self) -> Cell:
        """The cell's two passes."""

    @abc.abstractmethod
    def biases(self) -> dict[str, jax.Array]:
        """The initial biases: ``bias`` ``(gates·units,)`` in the projection, and any that the loop uses."""

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        time, features = sequence_shape(type(self).__name__, in_shape)
        input_key, recurrent_key = jax.random.split(key)
        gates = self.cell.gates * self.units
        params = {
            "kernel": INITIALIZERS["glorot_uniform"](input_key, (features, gates)),
            "recurrent_kernel": INITIALIZERS["orthogonal"](recurrent_key, (self.units, gates)),
            **self.biases(),
        }
        out_shape = replaced(in_shape, (time, self.units)) if self.return_sequences else (self.units,)
        return params, {}, out_shape

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        return self.run(params, x)[0], state

    def run(self, params: Params, x: Any, carry: Carry | None = None) -> tuple[Any, Carry]:
        """The output for ``x``, and the carry after its last step: what the next piece of a stream starts from.

        Args:
            params: as ``init`` returned them.
            x: ``(batch, time, features)``, or such a dict with a mask.
            carry: the vectors ``(batch, units)`` to start from; None is 0.

        Returns:
            ``(y, carry)``; ``y`` as ``apply`` gives it.
        """
        z, mask = project(type(self).__name__, params, tokens(x)), steps_mask(x)
        carry = self.zeros(z) if carry is None else self._given(carry, z)
        weights = {name: params[name] for name in params if name.startswith("recurrent")}
        hs, carry = run_cell(self.cell, self.reverse, z, weights, carry, mask)
        if not self.return_sequences:
            return hs[0 if self.reverse else -1], carry
        return replaced(x, keep(mask, hs, jnp.zeros_like(hs)).swapaxes(0, 1)), carry

    def zeros(self, z: jax.Array) -> Carry:
        """The carry before the first step of projected inputs ``z``."""
        return (jnp.zeros((z.shape[1], self.units), z.dtype),) * self.cell.carries

    def _given(self, carry: Carry, z: jax.Array) -> Carry:
        shape = (z.shape[1], self.units)
        received = [tuple(jnp.shape(part)) for part in carry]
        if received != [shape] * self.cell.carries:
            raise DataError(
                f"{type(self).__name__} received a carry of shapes {received}; expected {[shape] * self.cell.carries}",
                hint="give the carry that the piece before returned, or None at the start",
            )
        return tuple(part.astype(z.dtype) for part in carry)

    def flops(self, in_shape: Shape) -> int:
        time, features = sequence_shape(type(self).__name__, in_shape)
        # Two products, a bias and an activation a gate; about three operations and an activation a carried vector.
        gates = self.cell.gates * self.units * (2 * features + 2 * self.units + 3)
        return time * (gates + (4 * self.units * self.cell.carries if self.cell.gates > 1 else 0))


def steps_mask(x: Any) -> jax.Array | None:
    """The mask of a sequence input as the cells take it, ``(time, batch, 1)``; None without one."""
    mask = padding_mask(x)
    return None if mask is None else mask.T[:, :, None]


def project(owner: str, params: Params, x: jax.Array) -> jax.Array:
    """``Z = X·W + b`` for all steps at once, time first: ``(time, batch, gates·units)``; DataError for a bad input."""
    features = params["kernel"].shape[0]
    if x.ndim != 3 or x.shape[2] != features or not x.shape[1]:
        raise DataError(
            f"{owner} received an array of shape {tuple(x.shape)}; expected (batch, time, {features}) with time >= 1",
            hint="the layer was initialised for other inputs" if x.ndim == 3 else "one step is (batch, 1, features)",
        )
    flat = x.swapaxes(0, 1).reshape(-1, features)
    z: jax.Array = flat @ params["kernel"]
    z = z + repeated(on_last_axis(params["bias"], 2), z.shape)
    return z.reshape(x.shape[1], x.shape[0], z.shape[-1])
