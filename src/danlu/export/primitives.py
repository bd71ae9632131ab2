"""JAX's operations as nodes of ONNX: one fragment for each, whatever layer it comes from.

A function is traced with a symbolic number of rows, and each operation of the trace is written by the fragment that is registered
for it here. A layer needs no fragment of its own, and users' layers need none either.
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

__all__ = ["BATCH", "Input", "Value", "Writer", "fragment", "named", "shaped", "written"]

BATCH = "rows"

_Fragment = Callable[..., Any]
_FRAGMENTS: dict[str, _Fragment] = {}


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


def _aval(equation: Any, place: int = 0) -> Any:
    return equation.invars[place].aval


def _out(equation: Any) -> Any:
    return equation.outvars[0].aval


def _is_float(aval: Any) -> bool:
    return bool(np.issubdtype(aval.dtype, np.floating))


# One node each.

_SAME = {
    "exp": "Exp", "log": "Log", "tanh": "Tanh", "logistic": "Sigmoid", "sin": "Sin", "cos": "Cos", "tan": "Tan", "asin": "Asin",
    "acos": "Acos", "atan": "Atan", "sinh": "Sinh", "cosh": "Cosh", "sqrt": "Sqrt", "neg": "Neg", "abs": "Abs", "sign": "Sign",
    "floor": "Floor", "ceil": "Ceil", "erf": "Erf", "stop_gradient": "Identity", "copy": "Identity", "copy_p": "Identity",
    "optimization_barrier": "Identity",
    "reduce_precision": "Identity", "add_any": "Add", "mul": "Mul", "sub": "Sub", "div": "Div",
    "pow": "Pow", "eq": "Equal", "lt": "Less",
    "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual",
}  # fmt: skip
_ALIGNED = {
    "add",
    "add_any",
    "mul",
    "sub",
    "div",
    "pow",
    "rem",
    "max",
    "min",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "and",
    "or",
    "xor",
}
_ALIGNED |= {"clamp", "select_n"}  # whose operands have one shape
for _name, _kind in _SAME.items():

    @fragment(_name)
    def _same(writer: Writer, equation: Any, *inputs: str, kind: str = _kind) -> list[str] | str:
        if kind == "Identity":
            return list(inputs)
        return writer.graph.op(kind, *inputs)


@fragment("rem")
def _rem(writer: Writer, equation: Any, x: str, y: str) -> str:
    return writer.graph.op("Mod", x, y, fmod=1)


@fragment("max", "min")
def _extreme(writer: Writer, equation: Any, x: str, y: str) -> str:
    if _out(equation).dtype == bool:
        return writer.graph.op("Or" if equation.primitive.name == "max" else "And", x, y)
    return writer.graph.op(equation.primitive.name.title(), x, y)


@fragment("ne")
def _ne(writer: Writer, equation: Any, x: str, y: str) -> str:
    return writer.graph.op("Not", writer.graph.op("Equal", x, y))


@fragment("and", "or", "xor")
def _bits(writer: Writer, equation: Any, x: str, y: str) -> str:
    name = equation.primitive.name.title()
    return writer.graph.op(name if _out(equation).dtype == bool else f"Bitwise{name}", x, y)


@fragment("not")
def _not(writer: Writer, equation: Any, x: str) -> str:
    return writer.graph.op("Not" if _out(equation).dtype == bool else "BitwiseNot", x)


@fragment("rsqrt")
def _rsqrt(writer: Writer, equation: Any, x: str) -> str:
    return writer.graph.op("Reciprocal", writer.graph.op("Sqrt", x))


@fragment("square")
def _square(writer: Writer, equation: Any, x: str) -> str:
    return writer.graph.op("Mul", x, x)


@fragment("integer_pow")
def _integer_pow(writer: Writer, equation: Any, x: str) -> str:
    power, dtype = equation.params["y"], _out(equation).dtype
    if power == 2:
        return writer.graph.op("Mul", x, x)
    return writer.graph.op("Pow", x, writer.graph.constant(power, dtype))


@fragment("log1p")
def _log1p(writer: Writer, equation: Any, x: str) -> str:
    """``ln(1 + x) = ln(u) · x/(u − 1)`` with ``u = 1 + x``, and ``x`` where ``u = 1``: exact for small ``x`` too (Kahan)."""
    graph, one = writer.graph, writer.graph.constant(1, _out(equation).dtype)
    u = graph.op("Add", x, one)
    less = graph.op("Sub", u, one)
    tiny = graph.op("Equal", u, one)
    infinite = graph.op("IsInf", u)
    ratio = graph.op("Div", x, graph.op("Where", tiny, one, less))
    full = graph.op("Mul", graph.op("Log", u), graph.op("Where", infinite, one, ratio))
    return graph.op("Where", tiny, x, full)


@fragment("expm1")
def _expm1(writer: Writer, equation: Any, x: str) -> str:
    """``e^x − 1 = 2·tanh(x/2)/(1 − tanh(x/2))`` near 0, where the difference would lose digits."""
    graph, dtype = writer.graph, _out(equation).dtype
    one, two, half = (graph.constant(value, dtype) for value in (1, 2, 0.5))
    wave = graph.op("Tanh", graph.op("Mul", x, half))
    near = graph.op("Less", graph.op("Abs", x), one)
    safe = graph.op("Where", near, wave, graph.constant(0, dtype))
    small = graph.op("Div", graph.op("Mul", two, safe), graph.op("Sub", one, safe))
    return graph.op("Where", near, small, graph.op("Sub", graph.op("Exp", x), one))


@fragment("erfc")
def _erfc(writer: Writer, equation: Any, x: str) -> str:
    return writer.graph.op("Sub", writer.graph.constant(1, _out(equation).dtype), writer.graph.op("Erf", x))


@fragment("round")
def _round(writer: Writer, equation: Any, x: str) -> str:
    if equation.params["rounding_method"] == jax.lax.RoundingMethod.TO_NEAREST_EVEN:
        return writer.graph.op("Round", x)
    half = writer.graph.op("Mul", writer.graph.op("Sign", x), writer.graph.constant(0.5, _out(equation).dtype))
    away = writer.graph.op("Add", x, half)
    return writer.graph.op("Mul", writer.graph.op("Sign", away), writer.graph.op("Floor", writer.graph.op("Abs", away)))


@fragment("is_finite")
def _is_finite(writer: Writer, equation: Any, x: str) -> str:
    graph = writer.graph
    return graph.op("Not", graph.op("Or", graph.op("IsInf", x), graph.op("IsNaN", x)))


@fragment("clamp")
def _clamp(writer: Writer, equation: Any, low: str, x: str, high: str) -> str:
    return writer.graph.op("Min", writer.graph.op("Max", x, low), high)


@fragment("select_n")
def _select(writer: Writer, equation: Any, which: str, *cases: str) -> str:
    graph = writer.graph
    if _aval(equation).dtype != bool:
        found = cases[-1]
        for place in reversed(range(len(cases) - 1)):
            chosen = graph.op("Equal", which, graph.constant(place, _aval(equation).dtype))
            found = graph.op("Where", chosen, cases[place], found)
        return found
    if _out(equation).dtype == bool:
        yes = graph.op("And", which, cases[1])
        return graph.op("Or", yes, graph.op("And", graph.op("Not", which), cases[0]))
    return graph.op("Where", which, cases[1], cases[0])


@fragment("convert_element_type")
def _convert(writer: Writer, equation: Any, x: str) -> str:
    return x if _aval(equation).dtype == _out(equation).dtype else writer.graph.cast(x, _out(equation).dtype)


# Shapes.


@fragment("reshape", "squeeze", "expand_dims")
def _reshape(writer: Writer, equation: Any, x: str, *_: str) -> str:
    order = equation.params.get("dimensions") if equation.primitive.name == "reshape" else None
    if order is not None:  # the axes change their places before
        x = writer.graph.op("Transpose", x, perm=list(order))
    return writer.reshape(x, _out(equation).shape)


@fragment("transpose")
def _transpose(writer: Writer, equation: Any, x: str) -> str:
    return writer.graph.op("Transpose", x, perm=list(equation.params["permutation"]))


@fragment("broadcast_in_dim")
def _broadcast(writer: Writer, equation: Any, x: str, *_: str) -> str:
    shape, own = _out(equation).shape, _aval(equation).shape
    placed: list[Any] = [1] * len(shape)
    for axis, size in zip(equation.params["broadcast_dimensions"], own, strict=True):
        placed[axis] = size
    found = x if tuple(placed) == tuple(own) else writer.reshape(x, placed)
    same = all(str(a) == str(b) for a, b in zip(placed, shape, strict=True))
    return found if same else writer.expand(found, placed, shape)


@fragment("tile")
def _tile(writer: Writer, equation: Any, x: str, *_: str) -> str:
    return writer.graph.op("Tile", x, writer.sizes(equation.params["reps"]))


@fragment("concatenate")
def _concatenate(writer: Writer, equation: Any, *parts: str) -> str:
    return writer.graph.op("Concat", *parts, axis=equation.params["dimension"])


@fragment("stack")
def _stack(writer: Writer, equation: Any, *parts: str) -> str:
    axis = equation.params.get("axis", equation.params.get("dimension", 0))
    one = writer.graph.ints(axis)
    return writer.graph.op("Concat", *(writer.graph.op("Unsqueeze", each, one) for each in parts), axis=axis)


@fragment("split")
def _split(writer: Writer, equation: Any, x: str) -> list[str]:
    sizes = equation.params["sizes"]
    return writer.graph.ops("Split", x, writer.sizes(sizes), outputs=len(sizes), axis=equation.params["axis"])


@fragment("slice")
def _slice(writer: Writer, equation: Any, x: str) -> str:
    params = equation.params
    strides = params["strides"] or (1,) * len(params["start_indices"])
    starts, ends = writer.sizes(params["start_indices"]), writer.sizes(params["limit_indices"])
    return writer.graph.op("Slice", x, starts, ends, writer.graph.ints(*range(len(strides))), writer.sizes(strides))


@fragment("dynamic_slice")
def _dynamic_slice(writer: Writer, equation: Any, x: str, *starts: str) -> str:
    graph, sizes, shape = writer.graph, equation.params["slice_sizes"], _aval(equation).shape
    zero = graph.ints(0)
    begun, ended = [], []
    for start, size, whole in zip(starts, sizes, shape, strict=True):
        most = graph.op("Sub", writer.size(whole), writer.size(size))
        first = graph.op("Reshape", graph.cast(start, np.int64), graph.ints(1))
        begun.append(graph.op("Min", graph.op("Max", first, zero), most))
        ended.append(graph.op("Add", begun[-1], writer.size(size)))
    return graph.op("Slice", x, graph.op("Concat", *begun, axis=0), graph.op("Concat", *ended, axis=0))


@fragment("dynamic_update_slice")
def _dynamic_update_slice(writer: Writer, equation: Any, x: str, new: str, *starts: str) -> str:
    """Steps of the one axis along which only some are replaced."""
    graph, whole, part = writer.graph, _aval(equation).shape, _aval(equation, 1).shape
    axes = [axis for axis, (a, b) in enumerate(zip(whole, part, strict=True)) if str(a) != str(b)]
    if not axes:
        return new
    if len(axes) > 1:
        raise ConfigError("the network replaces a block within an array, which cannot be written as ONNX yet")
    (axis,) = axes
    size, most = writer.size(part[axis]), writer.size(whole[axis])
    start = graph.op("Reshape", graph.cast(starts[axis], np.int64), graph.ints(1))
    start = graph.op("Min", graph.op("Max", start, graph.ints(0)), graph.op("Sub", most, size))
    end = graph.op("Add", start, size)
    if axis == 0 and part[0] == 1:
        return graph.op("ScatterND", x, graph.op("Unsqueeze", start, graph.ints(1)), new)
    before = graph.op("Slice", x, graph.ints(0), start, graph.ints(axis))
    after = graph.op("Slice", x, end, most, graph.ints(axis))
    return graph.op("Concat", before, new, after, axis=axis)


@fragment("rev")
def _rev(writer: Writer, equation: Any, x: str) -> str:
    axes, graph = equation.params["dimensions"], writer.graph
    back, least = graph.ints(*[-1] * len(axes)), graph.ints(*[np.iinfo(np.int64).min] * len(axes))
    return graph.op("Slice", x, back, least, graph.ints(*axes), back)


@fragment("iota")
def _iota(writer: Writer, equation: Any) -> str:
    graph, params = writer.graph, equation.params
    shape, axis = params["shape"], params["dimension"]
    scalar = graph.op("Reshape", writer.size(shape[axis]), graph.constant(np.zeros(0, np.int64)))
    count = graph.op("Range", graph.constant(np.int64(0)), scalar, graph.constant(np.int64(1)))
    placed: list[Any] = [1] * len(shape)
    placed[axis] = shape[axis]
    return writer.expand(writer.reshape(graph.cast(count, params["dtype"]), placed), placed, shape)


@fragment("dim_as_value")
def _dim_as_value(writer: Writer, equation: Any) -> str:
    found = writer.graph.op(
        "Reshape", writer.size(equation.params["dim"]), writer.graph.constant(np.zeros(0, np.int64))
    )
    return writer.graph.cast(found, _out(equation).dtype)


# Sums, products and what is gathered.


@fragment("reduce_sum", "reduce_max", "reduce_min", "reduce_prod")
def _reduce(writer: Writer, equation: Any, x: str) -> str:
    kind = "Reduce" + equation.primitive.name.removeprefix("reduce_").title()
    return writer.graph.op(kind, x, writer.graph.ints(*equation.params["axes"]), keepdims=0)


@fragment("reduce_or", "reduce_and")
def _reduce_truth(writer: Writer, equation: Any, x: str) -> str:
    graph, kind = writer.graph, "ReduceMax" if equation.primitive.name == "reduce_or" else "ReduceMin"
    found = graph.op(kind, graph.cast(x, np.int32), graph.ints(*equation.params["axes"]), keepdims=0)
    return graph.cast(found, bool)


@fragment("argmax", "argmin")
def _arg(writer: Writer, equation: Any, x: str) -> str:
    kind = "ArgMax" if equation.primitive.name == "argmax" else "ArgMin"
    x = writer.graph.cast(x, np.int32) if _aval(equation).dtype == bool else x
    found = writer.graph.op(kind, x, axis=equation.params["axes"][0], keepdims=0)
    return writer.graph.cast(found, _out(equation).dtype)


@fragment("cumsum")
def _cumsum(writer: Writer, equation: Any, x: str) -> str:
    axis = writer.graph.constant(np.int64(equation.params["axis"]))
    return writer.graph.op("CumSum", x, axis, reverse=int(equation.params["reverse"]))


@fragment("top_k")
def _top_k(writer: Writer, equation: Any, x: str) -> list[str]:
    values, places = writer.graph.ops("TopK", x, writer.graph.ints(equation.params["k"]), outputs=2, axis=-1)
    return [values, writer.graph.cast(places, equation.outvars[1].aval.dtype)]


@fragment("dot_general")
def _dot(writer: Writer, equation: Any, x: str, y: str) -> str:
    """A matrix product where it is one, an Einstein sum otherwise."""
    ((own, other), (own_batch, other_batch)) = equation.params["dimension_numbers"]
    left, right = _aval(equation), _aval(equation, 1)
    dtype = _out(equation).dtype
    x, y = (each if a.dtype == dtype else writer.graph.cast(each, dtype) for each, a in ((x, left), (y, right)))
    if not own_batch and len(right.shape) == 2 and tuple(other) == (0,) and tuple(own) == (len(left.shape) - 1,):
        return writer.graph.op("MatMul", x, y)
    letters = iter("abcdefghijklmnopqrstuvwxyz")
    first = [next(letters) for _ in left.shape]
    second: list[str] = [""] * len(right.shape)
    for a, b in (*zip(own_batch, other_batch, strict=True), *zip(own, other, strict=True)):
        second[b] = first[a]
    second = [each or next(letters) for each in second]
    kept = [first[axis] for axis in own_batch]
    kept += [each for axis, each in enumerate(first) if axis not in (*own_batch, *own)]
    kept += [each for axis, each in enumerate(second) if axis not in (*other_batch, *other)]
    return writer.graph.op("Einsum", x, y, equation=f"{''.join(first)},{''.join(second)}->{''.join(kept)}")


@fragment("gather")
def _gather(writer: Writer, equation: Any, x: str, places: str) -> str:
    """``GatherND``: the axes that are gathered over first, those taken whole after them."""
    graph, params = writer.graph, equation.params
    numbers, sizes = params["dimension_numbers"], params["slice_sizes"]
    operand, indices, out = _aval(equation), _aval(equation, 1), _out(equation)
    batching = tuple(numbers.operand_batching_dims)
    indexed = tuple(numbers.start_index_map)
    if len(indices.shape) == 1:
        return writer.reshape(_window(writer, x, places, operand.shape, indexed, sizes), out.shape)
    if any(sizes[axis] != 1 for axis in indexed) or any(
        str(sizes[axis]) != str(size)
        for axis, size in enumerate(operand.shape)
        if axis not in indexed and axis not in batching
    ):
        raise ConfigError("the network takes windows at computed places, which cannot be written as ONNX yet")
    rest = [axis for axis in range(len(operand.shape)) if axis not in (*batching, *indexed)]
    moved = graph.op("Transpose", x, perm=[*batching, *indexed, *rest])
    # Indices: their batching axes first, the others in order, the vector of places last.
    others = [a for a in range(len(indices.shape) - 1) if a not in numbers.start_indices_batching_dims]
    order = [*numbers.start_indices_batching_dims, *others, len(indices.shape) - 1]
    where = graph.op("Transpose", graph.cast(places, np.int64), perm=order)
    whole = graph.op("Concat", *(writer.size(operand.shape[axis]) for axis in indexed), axis=0)
    last = graph.op("Sub", whole, graph.ints(1))
    within = graph.op("Min", graph.op("Max", where, graph.ints(0)), last)
    found = graph.op("GatherND", moved, within, batch_dims=len(batching))
    if "FILL" in str(params["mode"]):
        outside = graph.op("Not", graph.op("Equal", where, within))
        any_outside = graph.cast(graph.op("ReduceMax", graph.cast(outside, np.int32), graph.ints(-1), keepdims=0), bool)
        shaped = (
            graph.op("Unsqueeze", any_outside, graph.ints(*range(len(order) - 1, len(order) - 1 + len(rest))))
            if rest
            else any_outside
        )
        fill = params["fill_value"]
        fill = (np.nan if _is_float(out) else 0) if fill is None else fill
        if out.dtype == bool:  # onnxruntime chooses between no truths
            found = graph.op("And", found, graph.op("Not", shaped))
        else:
            found = graph.op("Where", shaped, graph.constant(fill, out.dtype), found)
    # The result so far has the axes of the indices, as ordered, and then those taken whole.
    inserted = [axis for axis in range(len(operand.shape)) if axis not in (*numbers.collapsed_slice_dims, *batching)]
    offsets = dict(zip(inserted, numbers.offset_dims, strict=True))
    own_axes = [axis for axis in range(len(out.shape)) if axis not in numbers.offset_dims]
    unordered = list(range(len(indices.shape) - 1))
    place_of = {axis: own_axes[unordered.index(axis)] for axis in unordered}
    after = [place_of[axis] for axis in order[:-1]] + [offsets[axis] for axis in rest]
    kept = sorted(after)
    found = graph.op("Transpose", found, perm=[after.index(axis) for axis in kept])
    return found if len(kept) == len(out.shape) else writer.reshape(found, out.shape)


def _window(writer: Writer, x: str, places: str, shape: Any, indexed: Sequence[int], sizes: Any) -> str:
    """One window of an array, which begins at the vector of places; it is moved to lie inside."""
    graph = writer.graph
    most = [graph.op("Sub", writer.size(shape[axis]), writer.size(sizes[axis])) for axis in indexed]
    where = graph.op("Max", graph.cast(places, np.int64), graph.ints(0))
    begun = graph.op("Min", where, graph.op("Concat", *most, axis=0))
    ended = graph.op("Add", begun, writer.sizes([sizes[axis] for axis in indexed]))
    rest = [axis for axis in range(len(shape)) if axis not in indexed and str(sizes[axis]) != str(shape[axis])]
    found = graph.op("Slice", x, begun, ended, graph.ints(*indexed))
    return (
        graph.op(
            "Slice",
            found,
            graph.ints(*[0] * len(rest)),
            writer.sizes([sizes[axis] for axis in rest]),
            graph.ints(*rest),
        )
        if rest
        else found
    )


# Functions within functions, loops and branches.


_CALLS = (
    "pjit",
    "jit",
    "closed_call",
    "core_call",
    "custom_jvp_call",
    "custom_vjp_call",
    "remat",
    "remat2",
    "checkpoint",
)


@fragment(*_CALLS)
def _call(writer: Writer, equation: Any, *inputs: str) -> list[str]:
    inner = next(equation.params[name] for name in ("jaxpr", "call_jaxpr", "fun_jaxpr") if name in equation.params)
    return writer.closed(inner, inputs) if hasattr(inner, "consts") else writer.jaxpr(inner, inputs)


@fragment("scan")
def _scan(writer: Writer, equation: Any, *inputs: str) -> list[str]:
    params = equation.params
    consts, carries = params["num_consts"], params["num_carry"]
    inner, graph = params["jaxpr"], writer.graph
    fixed, begun, along = inputs[:consts], inputs[consts : consts + carries], inputs[consts + carries :]
    body = Graph(graph)
    if not along:  # a loop of a known length
        body.input(body.fresh(), np.int64, ())
        again = body.input(body.fresh(), bool, ())
    own = [body.input(body.fresh(), v.aval.dtype, named(v.aval.shape)) for v in inner.jaxpr.invars[consts:]]
    found = Writer(body, writer.counts).closed(inner, [*fixed, *own])
    if not along:
        body.output(body.fresh(), again, bool, ())
    for name, variable in zip(found, inner.jaxpr.outvars, strict=True):
        body.output(body.fresh(), name, variable.aval.dtype, None)
    back, results = int(params["reverse"]), len(found) - carries
    if not along:
        if back and results:
            raise ConfigError("the network repeats a step from the end, which cannot be written as ONNX yet")
        count = graph.constant(np.int64(params["length"]))
        return graph.ops("Loop", count, "", *begun, outputs=len(found), body=body.body("step"))
    return graph.ops(
        "Scan", *begun, *along, outputs=len(found), body=body.body("step"), num_scan_inputs=len(along),
        scan_input_directions=[back] * len(along), scan_output_directions=[back] * results,
    )  # fmt: skip


@fragment("while")
def _while(writer: Writer, equation: Any, *inputs: str) -> list[str]:
    params, graph = equation.params, writer.graph
    asked, done = params["cond_nconsts"], params["body_nconsts"]
    of_condition, of_body, begun = inputs[:asked], inputs[asked : asked + done], inputs[asked + done :]
    (first,) = writer.closed(params["cond_jaxpr"], [*of_condition, *begun])
    body = Graph(graph)
    body.input(body.fresh(), np.int64, ())
    body.input(body.fresh(), bool, ())
    variables = params["body_jaxpr"].jaxpr.outvars
    own = [body.input(body.fresh(), v.aval.dtype, named(v.aval.shape)) for v in variables]
    inside = Writer(body, writer.counts)
    found = inside.closed(params["body_jaxpr"], [*of_body, *own])
    (again,) = inside.closed(params["cond_jaxpr"], [*of_condition, *found])
    body.output(body.fresh(), again, bool, ())
    for name, variable in zip(found, variables, strict=True):
        body.output(body.fresh(), name, variable.aval.dtype, None)
    return graph.ops("Loop", "", first, *begun, outputs=len(found), body=body.body("step"))


@fragment("platform_index")
def _platform(writer: Writer, equation: Any) -> str:
    """Of what is written for some machines in another way, that for all others: one convolution, no sums of shifted products."""
    return writer.graph.constant(np.int32(equation.params["platforms"].index(None)))


@fragment("cond")
def _cond(writer: Writer, equation: Any, which: str, *inputs: str) -> list[str]:
    branches, graph = equation.params["branches"], writer.graph
    if which in graph.known:
        return writer.closed(branches[int(graph.known[which])], inputs)
    if len(branches) != 2:
        raise ConfigError("the network chooses between more than two functions, which cannot be written as ONNX yet")
    bodies = []
    for branch in branches:
        body = Graph(graph)
        found = Writer(body, writer.counts).closed(branch, inputs)
        for name, variable in zip(found, branch.jaxpr.outvars, strict=True):
            body.output(body.fresh(), name, variable.aval.dtype, None)
        bodies.append(body.body("branch"))
    chosen = graph.cast(which, bool)
    return graph.ops("If", chosen, outputs=len(equation.outvars), then_branch=bodies[1], else_branch=bodies[0])


def named(shape: Sequence[Any]) -> list[Any]:
    """A shape for a graph's inputs and outputs: free sizes by their names."""
    return [int(each) if isinstance(each, int | np.integer) else str(each) for each in shape]
