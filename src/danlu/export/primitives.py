"""JAX's operations as nodes of ONNX: one fragment for each, whatever layer it comes from, and the writer that calls them.

A function is traced with a symbolic number of rows, and each operation of the trace is written by the fragment that is registered
for it (:func:`fragment`). A layer needs no fragment of its own, and users' layers need none either.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.export
import numpy as np
from jax.extend import core

from danlu.errors import ConfigError, first_line
from danlu.export.graph import Graph

__all__ = ["BATCH", "Input", "Value", "Writer", "aval_of", "fragment", "named", "out_of", "shaped", "written"]

BATCH = "rows"

_Fragment = Callable[..., Any]
_FRAGMENTS: dict[str, _Fragment] = {}
_ALIGNED = {
    "add", "add_any", "mul", "sub", "div", "pow", "rem", "max", "min", "eq", "ne", "lt", "le", "gt", "ge", "and", "or", "xor", "clamp",
    "select_n",
}  # whose operands have one shape  # fmt: skip


def fragment(*names: str) -> Callable[[_Fragment], _Fragment]:
    """Register how operations of these names are written: ``f(writer, equation, *inputs) -> name or names``."""

    def registered(function: _Fragment) -> _Fragment:
        for name in names:
            _FRAGMENTS[name] = function
        return function

    return registered


@dataclasses.dataclass(frozen=True)
class Input:
    """What a traced function takes: the value's name in the graph, its type, and the shape of one row.

    Attributes:
        shape: a name, such as ``"time"``, stands for any size ≥ 1.
        rows: whether the axis of rows stands before this shape.
    """

    name: str
    dtype: Any
    shape: tuple[int | str, ...]
    rows: bool = True

    @property
    def whole(self) -> tuple[int | str, ...]:
        """The shape with the axis of rows."""
        return (BATCH, *self.shape) if self.rows else self.shape


def shaped(inputs: Any, constraints: Sequence[str] = ()) -> Any:
    """A tree of :class:`Input` as the types and shapes that JAX traces with, a symbol for each named size.

    Args:
        constraints: what is known of the named sizes, such as ``"time <= 16"``.
    """
    leaves = jax.tree.leaves(inputs)
    names = dict.fromkeys(size for each in leaves for size in each.whole if isinstance(size, str))
    found = jax.export.symbolic_shape(", ".join(names), constraints=constraints) if names else ()
    symbols: dict[Any, Any] = dict(zip(names, found, strict=True))

    def one(each: Input) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(tuple(symbols.get(size, size) for size in each.whole), each.dtype)

    return jax.tree.map(one, inputs)


def written(graph: Graph, function: Callable[[Any], Any], inputs: Any, constraints: Sequence[str] = ()) -> Any:
    """The nodes of ``function(inputs)``, and its results, each a :class:`Value`, in a tree as it returns.

    Args:
        inputs: a tree of :class:`Input`.
        constraints: see :func:`shaped`.

    Raises:
        ConfigError: an operation that has no fragment, by name; a network that must know its number of rows.
    """
    leaves, given = jax.tree.leaves(inputs), shaped(inputs, constraints)
    try:
        closed, shapes = jax.make_jaxpr(function, return_shape=True)(given)
    except (jax.errors.JAXTypeError, ValueError, TypeError, NotImplementedError) as error:
        raise ConfigError(
            f"the network cannot be traced with any number of rows: {first_line(error, 120)}",
            hint="danlu export RUN --format safetensors writes its weights",
        ) from error
    sizes: dict[str, str] = {}
    for each in leaves:
        for axis, size in enumerate(each.whole):
            if isinstance(size, str) and size not in sizes:
                sizes[size] = graph.op("Shape", each.name, start=axis, end=axis + 1)
    results = Writer(graph, sizes).closed(closed, [each.name for each in leaves])
    found = [Value(name, each.dtype, each.shape) for name, each in zip(results, jax.tree.leaves(shapes), strict=True)]
    return jax.tree.unflatten(jax.tree.structure(shapes), found)


@dataclasses.dataclass(frozen=True)
class Value:
    """A result of a trace: its name in the graph, its type and its shape, whose free sizes are expressions."""

    name: str
    dtype: Any
    shape: tuple[Any, ...]

    @property
    def rank(self) -> int:
        """How many axes it has."""
        return len(self.shape)


class Writer:
    """Writes the operations of a trace into a graph.

    Args:
        graph: what is written to.
        counts: the values of the free sizes, ``(1,)`` int64, by their names: ``"rows"`` and others.
    """

    def __init__(self, graph: Graph, counts: Mapping[str, str]) -> None:
        self.graph = graph
        self.counts = counts
        self._wide: dict[
            str, tuple[str, Sequence[Any]]
        ] = {}  # what was repeated, and its shape, by the name of the result

    def closed(self, closed: Any, names: Sequence[str]) -> list[str]:
        """The results of a trace whose inputs are these values."""
        consts = [self.graph.constant(_plain(each)) for each in closed.consts]
        return self.jaxpr(closed.jaxpr, [*consts, *names])

    def jaxpr(self, jaxpr: Any, names: Sequence[str]) -> list[str]:
        """The results of a trace whose constants and inputs are these values."""
        known = dict(zip([*jaxpr.constvars, *jaxpr.invars], names, strict=True))

        def value(atom: Any) -> str:
            if isinstance(atom, core.Literal):
                aval: Any = atom.aval
                return self.graph.constant(_plain(atom.val).astype(aval.dtype))
            return known[atom]

        for equation in jaxpr.eqns:
            name = equation.primitive.name
            if name in ("jit", "pjit") and equation.params["name"].startswith(
                "danlu_"
            ):  # one with a fragment of its own
                name = equation.params["name"]
            if name not in _FRAGMENTS:
                raise ConfigError(
                    f"the network computes {name!r}, which cannot be written as ONNX yet",
                    hint="danlu export RUN --format stablehlo writes any network, for use with JAX; --format safetensors its weights",
                )
            inputs = list(map(value, equation.invars))
            inputs = self._narrow(equation, inputs) if name in _ALIGNED else inputs
            found = _FRAGMENTS[name](self, equation, *inputs)
            found = [found] if isinstance(found, str) else found
            known.update(zip(equation.outvars, found, strict=True))
        return [value(atom) for atom in jaxpr.outvars]

    def _narrow(self, equation: Any, inputs: list[str]) -> list[str]:
        """Operands of one shape, without their repetition along axes that another has: ONNX repeats by itself."""
        shape = [str(size) for size in equation.outvars[0].aval.shape]
        narrow = [
            self._wide.get(each, (each, atom.aval.shape)) for each, atom in zip(inputs, equation.invars, strict=True)
        ]
        own = [[str(size) for size in sizes] for _, sizes in narrow if len(sizes) == len(shape)]
        whole = all(any(sizes[axis] == shape[axis] for sizes in own) for axis in range(len(shape)))
        return [each for each, _ in narrow] if whole else inputs

    def size(self, dimension: Any) -> str:
        """A dimension as a value ``(1,)`` int64: a number, or an expression of the free sizes."""
        if isinstance(dimension, int | np.integer):
            return self.graph.ints(int(dimension))
        return self._expression(ast.parse(str(dimension), mode="eval").body)

    def _expression(self, tree: ast.AST) -> str:
        kinds = {ast.Add: "Add", ast.Sub: "Sub", ast.Mult: "Mul"}
        if isinstance(tree, ast.Name):
            return self.counts[tree.id]
        if isinstance(tree, ast.Constant):
            return self.graph.ints(tree.value)  # type: ignore[arg-type]
        if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
            return self.graph.op("Neg", self._expression(tree.operand))
        if isinstance(tree, ast.BinOp) and type(tree.op) in kinds:
            return self.graph.op(kinds[type(tree.op)], self._expression(tree.left), self._expression(tree.right))
        raise ConfigError(f"the network has a dimension of {ast.unparse(tree)}, which cannot be written as ONNX")

    def sizes(self, shape: Sequence[Any]) -> str:
        """A shape as a value ``(n,)`` int64."""
        if all(isinstance(each, int | np.integer) for each in shape):
            return self.graph.ints(*map(int, shape))
        return self.graph.op("Concat", *map(self.size, shape), axis=0)

    def reshape(self, value: str, shape: Sequence[Any]) -> str:
        """The value in another shape; one unknown dimension needs no computation."""
        unknown = [not isinstance(each, int | np.integer) for each in shape]
        if sum(unknown) == 1 and 0 not in shape:
            known = self.graph.ints(*(-1 if hidden else int(each) for each, hidden in zip(shape, unknown, strict=True)))
            return self.graph.op("Reshape", value, known)
        return self.graph.op("Reshape", value, self.sizes(shape), allowzero=int(0 in shape))

    def expand(self, value: str, own: Sequence[Any], shape: Sequence[Any]) -> str:
        """The value repeated along the axes where its ``own`` shape has size 1."""
        found = self.graph.op("Expand", value, self.sizes(shape))
        self._wide[found] = value, tuple(own)
        return found


def _plain(array: Any) -> np.ndarray:
    return np.asarray(array)


def aval_of(equation: Any, place: int = 0) -> Any:
    """The type and shape of an operation's input."""
    return equation.invars[place].aval


def out_of(equation: Any) -> Any:
    """The type and shape of an operation's first result."""
    return equation.outvars[0].aval


def named(shape: Sequence[Any]) -> list[Any]:
    """A shape for a graph's inputs and outputs: free sizes by their names."""
    return [int(each) if isinstance(each, int | np.integer) else str(each) for each in shape]
