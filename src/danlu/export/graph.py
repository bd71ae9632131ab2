"""A graph of ONNX that is written node by node."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["IR", "OPSETS", "Graph", "element", "needed"]

OPSETS = {"": 20, "ai.onnx.ml": 3}
"""The operator sets that a file needs; 20 is the first with regular expressions for texts."""
IR = 9

_Name = str
_FOLDED = frozenset(
    (
        "Add",
        "Cast",
        "Concat",
        "Div",
        "Expand",
        "Gather",
        "Max",
        "Min",
        "Mul",
        "Neg",
        "Reciprocal",
        "Reshape",
        "Slice",
        "Sqrt",
        "Sub",
    )
) | {"Range", "Transpose", "Unsqueeze"}
_SMALL = 4096  # values; what is computed of constants is kept where it is no larger than they are, or than this


class Graph:
    """Nodes in the order they are computed in, constants, inputs and outputs. A value is known by its name.

    Args:
        outer: the graph whose values a loop's or a branch's body may use.

    Example:
        >>> graph = Graph()
        >>> x = graph.input("x", np.float32, ("rows",))
        >>> graph.output("y", graph.op("Add", x, graph.constant(np.float32(1))), np.float32, ("rows",))
        >>> [node.op_type for node in graph.nodes]
        ['Add', 'Identity']
    """

    def __init__(self, outer: Graph | None = None) -> None:
        self.nodes: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.beside: dict[str, _Name] = {} if outer is None else outer.beside  # what a head needs of the inputs
        self.known: dict[_Name, np.ndarray] = {} if outer is None else outer.known
        self.makers: dict[_Name, Any] = {}  # the node of this graph that a value comes from
        self._constants: dict[Any, _Name] = {} if outer is None else outer._constants
        self._initializers: list[Any] = [] if outer is None else outer._initializers
        self._count: Any = itertools.count() if outer is None else outer._count

    def fresh(self) -> _Name:
        """A name that nothing has."""
        return f"_{next(self._count)}"

    def op(self, kind: str, *inputs: _Name, domain: str = "", **attributes: Any) -> _Name:
        """A node with one output, whose name is returned; an attribute of None is left out. What follows from constants is one."""
        name = self.ops(kind, *inputs, outputs=1, domain=domain, **attributes)[0]
        if kind not in _FOLDED or not all(each in self.known for each in inputs):
            return name
        found = _computed(self.nodes[-1], [self.known[each] for each in inputs])
        if found.dtype.kind == "O" or found.size > max(_SMALL, *(self.known[each].size for each in inputs)):
            return name
        self.nodes.pop()
        return self.constant(found)

    def ops(self, kind: str, *inputs: _Name, outputs: int, domain: str = "", **attributes: Any) -> list[_Name]:
        """A node with several outputs."""
        from onnx import helper

        names = [self.fresh() for _ in range(outputs)]
        given = {name: value for name, value in attributes.items() if value is not None}
        self.nodes.append(helper.make_node(kind, list(inputs), names, domain=domain, **given))
        self.makers.update(dict.fromkeys(names, self.nodes[-1]))
        return names

    def again(self, node: Any, inputs: Sequence[_Name]) -> _Name:
        """A node of one output once more, with other inputs; the first one is left out where nothing needs it any more."""
        from onnx import NodeProto

        other = NodeProto()
        other.CopyFrom(node)
        del other.input[:]
        other.input.extend(inputs)
        other.output[0] = self.fresh()
        self.nodes.append(other)
        self.makers[other.output[0]] = other
        return str(other.output[0])

    def constant(self, value: Any, dtype: Any = None) -> _Name:
        """An array, or a number, as a value; equal ones are kept once."""
        from onnx import numpy_helper

        array = np.ascontiguousarray(np.asarray(value, dtype)).reshape(np.shape(value))
        key = (array.dtype.str, array.shape, tuple(array.ravel()) if array.dtype.kind == "O" else array.tobytes())
        if key not in self._constants:
            name = self._constants[key] = self.fresh()
            self._initializers.append(numpy_helper.from_array(array, name))
            self.known[name] = array
        return self._constants[key]

    def ints(self, *values: int) -> _Name:
        """Whole numbers ``(n,)`` int64, such as axes and shapes."""
        return self.constant(np.asarray(values, np.int64))

    def texts(self, values: Sequence[str]) -> _Name:
        """Texts ``(n,)``."""
        return self.constant(np.asarray(values, object))

    def cast(self, value: _Name, dtype: Any) -> _Name:
        """The value in another type."""
        return self.op("Cast", value, to=element(dtype))

    def input(self, name: str, dtype: Any, shape: Sequence[str | int]) -> _Name:
        """An input of the graph."""
        from onnx import helper

        self.inputs.append(helper.make_tensor_value_info(name, element(dtype), list(shape)))
        return name

    def output(self, name: str, value: _Name, dtype: Any, shape: Sequence[str | int] | None) -> None:
        """An output of the graph; ``shape`` may be None in a body."""
        from onnx import helper

        self.nodes.append(helper.make_node("Identity", [value], [name]))
        self.outputs.append(helper.make_tensor_value_info(name, element(dtype), None if shape is None else list(shape)))

    def body(self, name: str) -> Any:
        """The graph as the body of a loop or a branch."""
        from onnx import helper

        nodes, _ = needed(self.nodes, {each.name for each in self.outputs})
        return helper.make_graph(nodes, name, self.inputs, self.outputs)

    def model(self, name: str, metadata: Mapping[str, str], producer: str) -> Any:
        """The whole as a model."""
        from onnx import helper

        nodes, used = needed(self.nodes, {each.name for each in self.outputs})
        kept = [each for each in self._initializers if each.name in used]
        graph = helper.make_graph(nodes, name, self.inputs, self.outputs, kept)
        opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=IR, producer_name="danlu", producer_version=producer
        )
        helper.set_model_props(model, dict(metadata))
        return model


def _computed(node: Any, values: Sequence[np.ndarray]) -> np.ndarray:
    """The one output of a node for values."""
    from onnx.reference import ReferenceEvaluator

    (found,) = ReferenceEvaluator(node).run(None, dict(zip(node.input, values, strict=False)))
    return np.asarray(found)


def needed(nodes: Sequence[Any], wanted: set[_Name]) -> tuple[list[Any], set[_Name]]:
    """The nodes that these values need, in order, and the names of all values that are used."""
    kept, used = [], set(wanted)
    for node in reversed(nodes):
        if used.intersection(node.output):
            kept.append(node)
            used.update(node.input)
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    used |= needed(attribute.g.node, {each.name for each in attribute.g.output})[1]
    return kept[::-1], used


def element(dtype: Any) -> int:
    """The number that ONNX has for a type; texts are ``object``."""
    from onnx import TensorProto, helper

    return int(TensorProto.STRING if dtype in (object, str) else helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
