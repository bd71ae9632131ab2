"""Decision trees as one node: the forest of a blend, in the form in which runtimes walk trees."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive

from danlu.export.integers import OneByOne
from danlu.export.primitives import Writer, fragment
from danlu.nn.ensemble import Ensemble
from danlu.nn.forest import CODES, Forest
from danlu.nn.layer import Layer, Params, Shape, State
from danlu.nn.quantized import Quantized
from danlu.nn.table_linear import matrix

__all__ = ["walked"]

_ALL = 0xFFFFFFFF
_PARTS = ("column", "threshold", "mask", "value", "set", "set_column")

_trees = Primitive("danlu_trees")


@_trees.def_abstract_eval
def _shape(columns: Any, *parts: Any, forest: Forest) -> Any:
    return jax.core.ShapedArray((columns.shape[0], forest.members, forest.units), jnp.float32)


class _Walked(Layer):
    """A forest whose answers are one operation in a trace."""

    forest: Forest

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        return self.forest.init(key, in_shape)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        parts = (jnp.asarray(state[name]) for name in _PARTS)
        return _trees.bind(matrix(x), *parts, forest=self.forest) + jnp.asarray(state["start"])[None], state


def walked(network: Any) -> Any:
    """The blueprint with each :class:`~danlu.nn.Forest` as one operation (those within an ensemble stay as they are), and an ensemble of
    quantised networks one after the other."""
    if isinstance(network, Forest):
        return _Walked(network)
    if isinstance(network, Ensemble) and isinstance(network.network, Quantized):
        return OneByOne(network)
    if isinstance(network, tuple):
        return tuple(map(walked, network))
    if not isinstance(network, Layer) or isinstance(network, Ensemble):
        return network
    given = {field.name: getattr(network, field.name) for field in dataclasses.fields(network)}
    changed = {name: walked(value) for name, value in given.items() if isinstance(value, tuple | Layer)}
    changed = {name: value for name, value in changed.items() if value != given[name]}
    return dataclasses.replace(network, **changed) if changed else network


@fragment("danlu_trees")
def _written(writer: Writer, equation: Any, columns: str, *parts: str) -> str:
    graph, forest = writer.graph, equation.params["forest"]
    state = {name: graph.known[part] for name, part in zip(_PARTS, parts, strict=True)}
    if forest.sets:
        columns = graph.op("Concat", columns, _outside(writer, forest, state, columns), axis=1)
    found = graph.op("TreeEnsembleRegressor", columns, domain="ai.onnx.ml", **_attributes(forest, state))
    return writer.reshape(found, _out_shape(equation))


def _out_shape(equation: Any) -> Any:
    return equation.outvars[0].aval.shape


def _outside(writer: Writer, forest: Forest, state: dict[str, np.ndarray], columns: str) -> str:
    """For each question about categories, 0 for a code in its set and 1 for one outside: ``(rows, rounds · sets)``."""
    graph = writer.graph
    words = state["set"].reshape(-1, CODES // 32)  # (rounds · sets, words)
    inside = (words[:, :, None] >> np.arange(32, dtype=np.uint32)) & 1
    table = (1 - inside.astype(np.float32)).reshape(len(words), CODES)
    codes = graph.op("Clip", columns, graph.constant(np.float32(0)), graph.constant(np.float32(CODES - 1)))
    asked = graph.op("Gather", graph.cast(codes, np.int64), graph.ints(*state["set_column"].ravel().tolist()), axis=1)
    places = graph.op("Add", asked, graph.ints(*(CODES * np.arange(len(words))).tolist()))
    return graph.op("Gather", graph.constant(table.ravel()), places)


def _attributes(forest: Forest, state: dict[str, np.ndarray]) -> dict[str, Any]:
    """The trees as lists of nodes: each question with where its two answers lead, and each leaf with its value."""
    nodes: dict[str, list[Any]] = {
        name: [] for name in ("treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids")
    }
    target: dict[str, list[Any]] = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}
    rounds, trees, _ = state["column"].shape
    number = 0
    for turn in range(rounds):
        for tree in range(trees):
            member, unit = divmod(tree, len(forest.grown))
            value = state["value"][turn, tree]
            root = _tree(
                state["mask"][turn, tree],
                _places(forest, turn, state["column"][turn, tree]),
                state["threshold"][turn, tree],
            )
            for place, (kind, column, limit, yes, no) in enumerate(root):
                leaf = kind == "LEAF"
                row = (number, place, column, kind, float(limit), yes, no)
                for name, each in zip(nodes, row, strict=True):
                    nodes[name].append(each)
                if leaf:
                    own = (number, place, member * forest.units + forest.grown[unit], float(value[limit]))
                    for name, each in zip(target, own, strict=True):
                        target[name].append(each)
            number += 1
    found = {f"nodes_{name}": each for name, each in nodes.items()} | {
        f"target_{name}": each for name, each in target.items()
    }
    return {**found, "n_targets": forest.members * forest.units, "aggregate_function": "SUM"}


def _places(forest: Forest, turn: int, column: np.ndarray) -> np.ndarray:
    """The columns that are asked about, the sets of all rounds side by side after the table's own."""
    return np.where(column < forest.columns, column, column + turn * forest.sets)


def _tree(mask: np.ndarray, column: np.ndarray, threshold: np.ndarray) -> list[tuple[str, int, Any, int, int]]:
    """The nodes of one tree, ``(kind, column, threshold or leaf, place for yes, place for no)``, the root first.

    A question's mask says which leaves are on its yes side, ``[low, middle)``. Of the questions whose side begins at ``low``, the one
    that reaches farthest is above all others.
    """
    spans: dict[int, list[tuple[int, int]]] = {}
    last = 0
    for place, word in enumerate(mask):
        if int(word) == _ALL:
            continue
        leaves = [bit for bit in range(32) if not int(word) >> bit & 1]
        spans.setdefault(leaves[0], []).append((leaves[-1] + 1, place))
        last = max(last, leaves[-1] + 1)
    for each in spans.values():
        each.sort()
    nodes: list[Any] = []

    def grow(low: int) -> int:
        """The subtree whose leaves begin here; each question is used up on the way."""
        at = len(nodes)
        nodes.append(None)
        if not spans.get(low):
            nodes[at] = ("LEAF", 0, low, 0, 0)
            return at
        middle, question = spans[low].pop()
        yes = grow(low)
        no = grow(middle)
        nodes[at] = ("BRANCH_LEQ", int(column[question]), threshold[question], yes, no)
        return at

    grow(0)
    return nodes
