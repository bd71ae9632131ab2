"""Layers made of layers, and the table network's: outputs against NumPy in float64 by hand."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.nn import (
    MLP,
    CategoricalEmbedding,
    Dense,
    Ensemble,
    NumericEmbedding,
    Parallel,
    Residual,
    Sequential,
    TabularNet,
)
from danlu.nn.layer import Layer
from danlu.verify.case import Check, case
from danlu.verify.oracles import draw

__all__: list[str] = []

X = draw(6, 5)


def started(layer: Layer, in_shape: Any) -> tuple[Any, Any, Any]:
    """Random parameters for a layer (biases too), its state (which holds no numbers), the parameters in float64."""
    shapes, state = jax.eval_shape(lambda key: layer.init(key, in_shape)[:2], jax.random.key(0))
    params, p = drawn(shapes)
    return params, state, p


def drawn(templates: Any) -> tuple[Any, Any]:
    """A tree of random arrays in these shapes: in float32 for danlu, and the same numbers in float64."""
    leaves, structure = jax.tree.flatten(templates)
    arrays = [0.5 * draw(*leaf.shape, seed=index) for index, leaf in enumerate(leaves)]
    single = [jnp.asarray(array, jnp.float32) for array in arrays]
    return jax.tree.unflatten(structure, single), jax.tree.unflatten(structure, arrays)


def output(layer: Layer, params: Any, state: Any, x: Any) -> Any:
    return jax.jit(lambda params, state, x: layer.apply(params, state, x)[0])(params, state, x)


def affine(p: Any, x: Any) -> Any:
    return x @ p["kernel"] + p["bias"]


@case("layer.Sequential")
def sequential(check: Check) -> None:
    net = Sequential((Dense(4, "tanh"), Dense(3, "relu"), Dense(2, "identity")))
    params, state, p = started(net, (5,))
    expected = affine(p[2], np.maximum(affine(p[1], np.tanh(affine(p[0], X))), 0))
    check(output(net, params, state, jnp.asarray(X, jnp.float32)), expected, floor=0.1)


@case("layer.Residual")
def residual(check: Check) -> None:
    for net, shortcut in (
        (Residual(Dense(5, "tanh")), lambda p, x: x),
        (Residual(Dense(3, "tanh"), Dense(3, "identity")), lambda p, x: affine(p[1], x)),
    ):
        params, state, p = started(net, (5,))
        expected = np.tanh(affine(p[0], X)) + shortcut(p, X)
        check(output(net, params, state, jnp.asarray(X, jnp.float32)), expected, floor=0.1)


@case("layer.Parallel")
def parallel(check: Check) -> None:
    merges = {
        "concatenate": lambda parts: np.concatenate(parts, axis=1),
        "add": lambda parts: parts[0] + parts[1],
        "stack": lambda parts: np.stack(parts, axis=1),
    }
    for merge, merged in merges.items():
        net = Parallel((Dense(3, "tanh"), Dense(3, "identity")), merge=merge)
        params, state, p = started(net, (5,))
        expected = merged([np.tanh(affine(p[0], X)), affine(p[1], X)])
        check(output(net, params, state, jnp.asarray(X, jnp.float32)), expected, floor=0.1)


@case("layer.MLP")
def mlp(check: Check) -> None:
    net = MLP((8, 6), 3, activation="tanh", dropout=0.0, norm="none")
    params, state, p = started(net, (5,))
    hidden = X
    for layer in p[:-1]:
        hidden = np.tanh(affine(layer, hidden))
    check(output(net, params, state, jnp.asarray(X, jnp.float32)), affine(p[-1], hidden), floor=0.1)


def numeric_by_hand(layer: NumericEmbedding, p: Any, state: Any, x: Any) -> Any:
    """Column by column and bin by bin, as the formula reads."""
    rows, columns = x.shape
    out = np.zeros((rows, columns, layer.dim))
    left, inverse, upper = (np.asarray(state[k], np.float64) for k in ("left", "inverse_width", "upper"))
    for j in range(columns):
        total = x[:, j, None] * p["slope"][j] + p["offset"][j]
        for t in range(left.shape[1]):
            place = np.clip((x[:, j] - left[j, t]) * inverse[j, t], 0, upper[j, t])
            total = total + place[:, None] * p["bend"][j, t]
        for f in range(p["frequency"].shape[1]):
            angle = 2 * np.pi * layer.gain * p["frequency"][j, f] * x[:, j]
            total = total + np.cos(angle)[:, None] * p["wave"][j, f]
            total = total + np.sin(angle)[:, None] * p["wave"][j, p["frequency"].shape[1] + f]
        out[:, j] = layer.gain * total
    return out.reshape(rows, -1)


NUMERIC = NumericEmbedding(dim=3, bins=4, frequencies=2, scale=1.0, gain=2.0)
NUMERIC_PARAMS = {
    "slope": np.empty((5, 3)),
    "offset": np.empty((5, 3)),
    "bend": np.empty((5, 4, 3)),
    "frequency": np.empty((5, 2)),
    "wave": np.empty((5, 4, 3)),
}


@case(
    "layer.NumericEmbedding",
    tolerance=1e-4,
    reason="float32: an angle of several turns loses digits before its cosine is taken",
)
def numeric_embedding(check: Check) -> None:
    params, p = drawn(NUMERIC_PARAMS)
    edges = np.quantile(X, [0, 0.25, 0.5, 0.75, 1], axis=0).T
    state = NUMERIC.with_bins({"left": np.zeros((5, 4))}, X)
    check(state["left"], edges[:, :-1], floor=0.1)
    check(state["inverse_width"], 1 / np.diff(edges, axis=1))
    received = output(NUMERIC, params, state, jnp.asarray(X, jnp.float32))
    check(received, numeric_by_hand(NUMERIC, p, state, X), floor=0.1)


def categorical_by_hand(p: Any, codes: Any, vocabularies: tuple[int, ...], gain: float) -> Any:
    parts = []
    for j, size in enumerate(vocabularies):
        column = np.where((codes[:, j] < 0) | (codes[:, j] >= size), 0, codes[:, j])
        table = f"table_{j}"
        parts.append(gain * p[table][column] if table in p else np.eye(size)[column])
    return np.concatenate(parts, axis=1)


CODES = np.array([[0, 3], [2, 19], [1, 0], [9, 25], [-1, 7], [2, 11]])


@case("layer.CategoricalEmbedding")
def categorical_embedding(check: Check) -> None:
    layer = CategoricalEmbedding((3, 20), dim=4, one_hot_limit=16, gain=2.0)
    params, state, p = started(layer, (2,))
    received = output(layer, params, state, jnp.asarray(CODES, jnp.int32))
    check(received, categorical_by_hand(p, CODES, (3, 20), 2.0))


@case("layer.Ensemble")
def ensemble(check: Check) -> None:
    layer = Ensemble(Dense(2, "tanh"), 3)
    params, state, p = started(layer, (5,))
    copies = [np.tanh(X @ p["kernel"][k] + p["bias"][k]) for k in range(3)]
    check(output(layer, params, state, jnp.asarray(X, jnp.float32)), np.stack(copies, axis=1))


@case("layer.TabularNet")
def tabular_net(check: Check) -> None:
    net = TabularNet(
        2, (3, 20), members=3, width=7, depth=2, dropout=0.0, numeric=NUMERIC, category_dim=4, one_hot_limit=16
    )
    inputs = 5 * 3 + 3 + 4  # numeric columns · dim, a one-hot column, an embedded one
    params, p = drawn(
        {
            "numeric": NUMERIC_PARAMS,
            "categorical": {"table_1": np.empty((20, 4))},
            "scale": np.empty((3, inputs)),
            "kernel_0": np.empty((inputs, 7)),
            "bias_0": np.empty((3, 7)),
            "kernel_1": np.empty((7, 7)),
            "bias_1": np.empty((3, 7)),
            "head": np.empty((3, 7, 2)),
            "head_bias": np.empty((3, 2)),
            "shortcut": np.empty((5, 2)),
        }
    )
    state = {"rate": jnp.zeros(()), "numeric": NUMERIC.with_bins({"left": np.zeros((5, 4))}, X)}
    x = {"numeric": jnp.asarray(X, jnp.float32), "categorical": jnp.asarray(CODES, jnp.int32)}
    embedded = np.concatenate(
        [
            numeric_by_hand(NUMERIC, p["numeric"], state["numeric"], X),
            categorical_by_hand(p["categorical"], CODES, (3, 20), NUMERIC.gain),
        ],
        axis=1,
    )
    members = []
    for m in range(3):
        hidden = embedded * p["scale"][m]
        for layer in range(2):
            hidden = np.maximum(hidden @ p[f"kernel_{layer}"] + p[f"bias_{layer}"][m], 0)
        members.append(hidden @ p["head"][m] + p["head_bias"][m] + X @ p["shortcut"])
    check(output(net, params, state, x), np.stack(members, axis=1), floor=1.0)
