"""A network of arrays as a file: what ``danlu.fit`` trained, from the arrays that it learnt from to its outputs."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import danlu
from danlu.engine import Fitted, predict_outputs
from danlu.errors import ConfigError, DataError
from danlu.export.forest import walked
from danlu.export.graph import Graph
from danlu.export.primitives import BATCH, Input, written
from danlu.export.runtime import TOLERANCE, finished, session_of
from danlu.nn import Layer
from danlu.paths import leaf_paths

__all__ = ["network_onnx"]

_ROWS = 32
_TYPES: tuple[Any, ...] = (np.float32, np.int32, np.bool_)


def network_onnx(fitted: Fitted, license: str = "") -> tuple[bytes, tuple[str, ...], tuple[str, ...], float]:
    """The file's bytes, the names of what it takes and of what it answers, and the greatest difference, over the greater of 1 and the size.

    An input is named by its place in the arrays, ``x`` where it is one; so is an output, ``y`` where it is one.

    Raises:
        ConfigError: what is no network of layers, or cannot be written; outputs that differ.
    """
    network = fitted.model
    if not isinstance(network, Layer) or fitted.in_shape is None:
        raise ConfigError(
            f"what was trained is a {type(network).__name__}; expected one network of layers",
            hint="danlu.export takes what danlu.fit gives",
        )
    shapes, tree = jax.tree.flatten(fitted.in_shape, is_leaf=_is_shape)
    rows = _rows(fitted, shapes)
    names = _names(jax.tree.unflatten(tree, shapes), "x")
    graph = Graph()
    given = [
        Input(graph.input(name, each.dtype, (BATCH, *each.shape[1:])), each.dtype, each.shape[1:])
        for name, each in zip(names, rows, strict=True)
    ]
    params, state = jax.tree.map(jnp.asarray, (fitted.params, fitted.state))
    inner = walked(network)
    found = written(graph, lambda x: inner.apply(params, state, x, train=False)[0], jax.tree.unflatten(tree, given))
    outputs = _names(found, "y")
    for name, each in zip(outputs, jax.tree.leaves(found), strict=True):
        graph.output(name, each.name, each.dtype, [BATCH, *each.shape[1:]])
    about = [
        {"name": name, "kind": "array", "type": each.dtype.name, "shape": list(each.shape[1:])}
        for name, each in zip(names, rows, strict=True)
    ]
    told = {
        "danlu_version": danlu.__version__,
        "license": license,
        "task": "network",
        "inputs": about,
        "outputs": list(outputs),
    }
    data = finished(graph, told)
    theirs = session_of(data).run(list(outputs), dict(zip(names, rows, strict=True)))
    own = jax.tree.leaves(predict_outputs(network, fitted.params, fitted.state, jax.tree.unflatten(tree, rows)))
    worst = max(
        float((np.abs(a - b) / np.maximum(np.abs(b), 1)).max(initial=0)) for a, b in zip(theirs, own, strict=True)
    )
    if not worst <= TOLERANCE:
        raise ConfigError(
            f"the file's outputs differ from danlu's by up to {worst:.2g} of their size; nothing was written",
            hint="this is a fault of danlu; please report it with the network",
        )
    return data, names, outputs, worst


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(each, int) for each in value)


def _names(tree: Any, one: str) -> tuple[str, ...]:
    return tuple(path or one for path in leaf_paths(jax.tree.map(lambda _: 0, tree, is_leaf=_is_shape)))


def _rows(fitted: Fitted, shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    """Rows to try the file with: some that it learnt from where they are at hand, else noise of the types that the network takes."""
    if fitted.clues is not None and "x" in fitted.clues.batch:
        some = [np.asarray(each)[:_ROWS] for each in jax.tree.leaves(fitted.clues.batch["x"])]
        return [each.astype(np.float32) if each.dtype == np.float64 else each for each in some]
    _, tree = jax.tree.flatten(fitted.in_shape, is_leaf=_is_shape)
    for types in itertools.product(_TYPES, repeat=len(shapes)):
        rows = [jax.ShapeDtypeStruct((_ROWS, *shape), dtype) for shape, dtype in zip(shapes, types, strict=True)]
        try:
            jax.eval_shape(lambda x: fitted.model.apply(fitted.params, fitted.state, x), jax.tree.unflatten(tree, rows))
        except (DataError, TypeError):
            continue
        random = np.random.default_rng(0)
        return [
            random.normal(size=each.shape).astype(np.float32)
            if each.dtype == np.float32
            else (random.random(each.shape) < 0.5).astype(each.dtype)
            for each in rows
        ]
    raise ConfigError("no types of inputs were found that the network takes")
