"""Finite differences of the loss: what every gradient and error signal of an X-ray is checked against.

Where the loss has a kink (the input of a ReLU at exactly 0, equal values under a max-pool) it has a slope on either side and no
derivative. What backpropagation gives there is each layer's choice, and cannot be compared.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from danlu.nn.backprop import Trace, trace
from danlu.nn.layer import Layer

__all__ = ["Slopes"]

_STEP = 1e-5
_AT_ONCE = 32


def _double(tree: Any) -> Any:
    def convert(a: Any) -> Any:
        a = np.asarray(a)
        return a.astype(np.float64) if np.issubdtype(a.dtype, np.floating) or a.dtype.name == "bfloat16" else a

    return jax.tree.map(convert, tree)


class Slopes:
    """The slopes ``(L(v) − L(v − h)) / h`` and ``(L(v + h) − L(v)) / h`` of the mean loss of some rows, in float64.

    Their mean is the central difference. Results have the shape ``(2, places)``: from below and from above.

    Args:
        network: the blueprint.
        loss: a loss of its outputs.
        x, y: the rows.
    """

    def __init__(self, network: Layer, loss: Callable[..., Any], x: Any, y: Any) -> None:
        self._network, self._loss, self._rows = network, loss, _double((x, y))
        self._compiled: dict[str, Callable[..., Any]] = {}

    @functools.cached_property
    def aside(self) -> Slopes:
        """The same at inputs that are moved by a thousandth, where what was equal by chance is not."""
        rng = np.random.default_rng(0)
        moved = lambda a: a * (1 + 1e-3 * rng.normal(size=a.shape)) + 1e-3 * rng.normal(size=a.shape)  # noqa: E731
        x, y = self._rows
        return Slopes(
            self._network,
            self._loss,
            jax.tree.map(lambda a: moved(a) if np.issubdtype(a.dtype, np.floating) else a, x),
            y,
        )

    def of_params(self, params: Any, state: Any, places: np.ndarray) -> np.ndarray:
        """The slopes along single parameters, by their places in all of them, one after the other."""
        return self._slopes("params", params, (state,), places)

    def of_outputs(self, params: Any, state: Any, outputs: Mapping[str, Any], places: np.ndarray) -> np.ndarray:
        """The slopes along single outputs of layers.

        Args:
            outputs: by path, arrays that have the outputs' shapes; places count through all of them.
        """
        still = {path: np.zeros(np.shape(value)) for path, value in outputs.items()}
        return self._slopes("outputs", still, (params, state), places)

    def trace(self, params: Any, state: Any) -> Trace:
        """Backpropagation by the same rules in double precision."""
        with jax.enable_x64(True):
            params, state, (x, y) = jax.tree.map(jnp.asarray, _double((params, state, self._rows)))
            return trace(self._network, params, state, x, y, self._loss)

    def _slopes(self, kind: str, moved: Any, rest: Any, places: np.ndarray) -> np.ndarray:
        if not places.size:
            return np.zeros((2, 0))
        with jax.enable_x64(True):
            flat, form = ravel_pytree(_double(moved))
            if kind not in self._compiled:
                x, y = jax.tree.map(jnp.asarray, self._rows)

                def loss(flat: jax.Array, rest: Any) -> jax.Array:
                    if kind == "outputs":
                        params, state = rest
                        return trace(self._network, params, state, x, y, self._loss, nudge=form(flat)).loss
                    [state] = rest
                    return jnp.mean(self._loss(self._network.apply(form(flat), state, x, train=False)[0], y))

                def slope(flat: jax.Array, rest: Any, place: jax.Array) -> jax.Array:
                    steps = jnp.array([-_STEP, 0.0, _STEP])
                    # (steps,): one program for the three
                    below, here, above = jax.lax.map(lambda each: loss(flat.at[place].add(each), rest), steps)
                    return jnp.stack([here - below, above - here]) / _STEP

                self._compiled[kind] = jax.jit(jax.vmap(slope, in_axes=(None, None, 0)))
            found = []
            rest = _double(rest)
            for low in range(0, len(places), _AT_ONCE):
                part = places[low : low + _AT_ONCE]
                full = np.resize(part, _AT_ONCE)  # one shape, one program
                found.append(np.asarray(self._compiled[kind](flat, rest, full))[: len(part)])
        return np.concatenate(found).T
