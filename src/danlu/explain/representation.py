"""What a network makes of its inputs before its last layer, and the rows that are most alike there."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.errors import ConfigError, DataError
from danlu.nn.combine import Sequential
from danlu.nn.dense import Dense
from danlu.nn.ensemble import Ensemble
from danlu.nn.layer import Layer, Params, State
from danlu.nn.quantized.plain import unquantized
from danlu.nn.tabular import TabularNet

__all__ = ["body_of", "nearest_rows", "representation"]


def representation(network: Layer, params: Params, state: State, inputs: Any) -> np.ndarray:
    """What the last layer receives, ``(batch, features)``: rows that are alike there are alike to the network.

    Args:
        network: one that ends in a dense layer, or in the heads of a :class:`~danlu.nn.TabularNet` (of all its members, side by side); of
            several networks side by side, all of them.
        params, state: its variables.
        inputs: as the network takes them.

    Raises:
        ConfigError: a network that ends otherwise.

    Example:
        >>> from danlu.nn import MLP
        >>> net = MLP((5,), 2)
        >>> params, state, _ = net.init(jax.random.key(0), (3,))
        >>> representation(net, params, state, jnp.ones((4, 3))).shape
        (4, 5)
    """
    body, params, state = body_of(network, params, state)
    found = np.asarray(_applied(body, params, state, inputs))
    return found.reshape(len(found), -1)


@functools.partial(jax.jit, static_argnums=0)
def _applied(body: Layer, params: Params, state: State, inputs: Any) -> jax.Array:
    found: jax.Array = body.apply(params, state, inputs)[0]
    return found


def body_of(network: Layer, params: Any, state: Any) -> tuple[Layer, Any, Any]:
    """A network without its last layer, with its variables: what it computes is what that layer receives.

    Raises:
        ConfigError: a network that ends otherwise than in a dense layer or the heads of a :class:`~danlu.nn.TabularNet`.
    """
    network, params, state = unquantized(network, params, state)
    if isinstance(network, Ensemble):
        body, params, state = body_of(network.network, params, state)
        return Ensemble(body, network.count), params, state
    if isinstance(network, TabularNet):  # the same network with heads that hand on what they receive
        head, width = params["head"], network.width
        lead = head.shape[:-2]  # (members,), or (networks, members)
        eye = jnp.broadcast_to(jnp.eye(width, dtype=head.dtype), (*lead, width, width))
        own = {**params, "head": eye, "head_bias": jnp.zeros((*lead, width), head.dtype)}
        if "shortcut" in params:
            slope = params["shortcut"]
            own["shortcut"] = jnp.zeros((*slope.shape[:-1], width), slope.dtype)
        return network.replace(units=width), own, state
    whole = network.expanded
    if isinstance(whole, Sequential) and len(whole.layers) > 1 and isinstance(whole.layers[-1].expanded, Dense):
        return Sequential(whole.layers[:-1]), params[:-1], state[:-1]
    raise ConfigError(
        f"{type(network).__name__} does not end in a dense layer; expected a network that does, whose inputs are then compared"
    )


def nearest_rows(asked: np.ndarray, known: np.ndarray, count: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """The rows of ``known`` that are nearest to each row of ``asked``, by the cosine of the angle between them.

    ``similarity = a·b / (|a|·|b|)``, after the mean of the known rows is taken off, so that what all have in common does not count.

    Args:
        asked: ``(rows, features)``.
        known: ``(others, features)``.
        count: how many, >= 1; fewer where there are fewer.

    Returns:
        Their places and their similarities, ``(rows, count)``, the most similar first.

    Raises:
        DataError: arrays of other shapes, or no known rows.

    Example:
        >>> nearest_rows(np.array([[2.0, 0.1]]), np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]), 2)[0].tolist()
        [[0, 1]]
    """
    if asked.ndim != 2 or known.ndim != 2 or asked.shape[1] != known.shape[1] or not len(known) or count < 1:
        raise DataError(
            f"nearest_rows received arrays of the shapes {asked.shape} and {known.shape}; expected (rows, features) with the same features"
        )
    middle = known.mean(axis=0, dtype=np.float64)
    one, many = (np.asarray(each, np.float64) - middle for each in (asked, known))
    one, many = (each / np.maximum(np.linalg.norm(each, axis=1, keepdims=True), 1e-12) for each in (one, many))
    alike = one @ many.T
    order = np.argsort(-alike, axis=1, kind="stable")[:, :count]
    return order, np.take_along_axis(alike, order, axis=1)
