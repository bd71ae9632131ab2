"""A graph with fewer nodes that computes the same: what a layer does in steps that a runtime has in one.

- What is not above 0 is 0: ``Relu``, which runtimes merge with the product before it.
- ``((x·W + b) − m)·s + t`` of constants, as a normalisation leaves it: the factor goes into ``W``, and one sum is left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from danlu.export.graph import Graph, needed

__all__ = ["simplified"]


def simplified(graph: Graph) -> None:
    """Change the nodes of a graph, but those within its loops and branches."""
    graph.nodes[:], _ = needed(graph.nodes, {each.name for each in graph.outputs})
    _relu(graph)
    _affine(graph)


def _used(nodes: Sequence[Any]) -> Counter[str]:
    """How often each value is taken, by the bodies of loops too."""
    found: Counter[str] = Counter()
    for node in nodes:
        found.update(node.input)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found.update(_used(attribute.g.node))
                found.update(each.name for each in attribute.g.output)
    return found


def _relu(graph: Graph) -> None:
    from onnx import helper

    made = {name: node for node in graph.nodes for name in node.output}

    def zero(name: str) -> bool:
        value = graph.known.get(name)
        return value is not None and value.dtype.kind == "f" and not value.any()

    def of(node: Any) -> str:
        """What a node is the positive part of; empty where it is of nothing."""
        if node.op_type == "Max" and len(node.input) == 2:
            return next(
                (a for a, b in (tuple(node.input), tuple(node.input)[::-1]) if zero(b) and graph.known[b].size == 1), ""
            )
        test = made.get(node.input[0]) if node.op_type == "Where" else None
        if test is None or len(test.input) != 2 or not zero(test.input[1]):
            return ""
        low = test.op_type in ("Less", "LessOrEqual")
        own, other = node.input[2 if low else 1], node.input[1 if low else 2]
        fits = low or test.op_type in ("Greater", "GreaterOrEqual")
        return own if fits and own == test.input[0] and zero(other) else ""

    graph.nodes[:] = [
        helper.make_node("Relu", [own], list(node.output)) if (own := of(node)) else node for node in graph.nodes
    ]


def _affine(graph: Graph) -> None:
    """Factors and sums of constants after a product of weights."""
    used = _used(graph.nodes)
    used.update(each.name for each in graph.outputs)
    taken = {name: node for node in graph.nodes for name in node.input}
    gone: set[int] = set()
    for node in list(graph.nodes):
        weight = graph.known.get(node.input[1]) if node.op_type in ("Conv", "MatMul") else None
        if weight is None or weight.dtype != np.float32 or (node.op_type == "MatMul" and weight.ndim != 2):
            continue
        conv = node.op_type == "Conv"
        channels = len(weight) if conv else weight.shape[1]
        last, rank = node, weight.ndim
        chain: list[Any] = []
        after = _only(last, taken, used)
        if conv and after is not None and after.op_type == "Transpose" and list(after.attribute[0].ints)[-1] == 1:
            last = after
        elif conv:
            continue
        scale, shift = np.ones(channels), np.zeros(channels)
        while (after := _only(last if not chain else chain[-1], taken, used)) is not None:
            number = _constant(graph, after, (chain[-1] if chain else last).output[0], channels, rank if conv else None)
            if number is None:
                break
            if after.op_type == "Mul":
                scale, shift = scale * number, shift * number
            else:
                shift = shift + (number if after.op_type == "Add" else -number)
            chain.append(after)
        if not chain or (not conv and [each.op_type for each in chain] == ["Add"]):  # one sum stays one
            continue
        _put(graph, node, last, chain, weight, scale, shift)
        gone.update(map(id, chain))
    graph.nodes[:] = [node for node in graph.nodes if id(node) not in gone]


def _only(node: Any, taken: dict[str, Any], used: Counter[str]) -> Any:
    """The one node that takes what this one gives; None where there are others, or none."""
    (name,) = node.output
    return taken.get(name) if used[name] == 1 else None


def _constant(graph: Graph, node: Any, own: str, channels: int, rank: int | None) -> np.ndarray | None:
    """The constant that a sum, a difference or a product has for each channel, the last axis; None of other nodes."""
    if node.op_type not in ("Add", "Sub", "Mul") or len(node.input) != 2 or tuple(node.input) == (own, own):
        return None
    if node.op_type == "Sub" and node.input[0] != own:
        return None
    value = graph.known.get(node.input[1] if node.input[0] == own else node.input[0])
    if value is None or value.dtype != np.float32 or value.size not in (1, channels):
        return None
    if (value.size > 1 and value.shape[-1] != channels) or (rank is not None and value.ndim > rank):
        return None
    return value.reshape(-1).astype(np.float64)


def _put(graph: Graph, node: Any, last: Any, chain: list[Any], weight: np.ndarray, scale: Any, shift: Any) -> None:
    """The constants of a chain within the weights, and the chain's name for what stays."""
    from onnx import helper

    end = chain[-1].output[0]
    if node.op_type == "Conv":
        if len(node.input) > 2:
            shift = shift + scale * graph.known[node.input[2]]
        scaled = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
        names = [graph.constant(each.astype(np.float32)) for each in (scaled, shift)]
        node.input[1:] = names
        last.output[0] = end
        return
    node.input[1] = graph.constant((weight * scale).astype(np.float32))
    total = helper.make_node("Add", [node.output[0], graph.constant(shift.astype(np.float32))], [end])
    place = next(place for place, each in enumerate(graph.nodes) if each is node)
    graph.nodes.insert(place + 1, total)
