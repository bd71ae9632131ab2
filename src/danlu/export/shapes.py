"""Changes of shape as nodes of ONNX, and what is cut out of an array or put together."""

from __future__ import annotations

from typing import Any

import numpy as np

from danlu.errors import ConfigError
from danlu.export.primitives import Writer, aval_of, fragment, out_of


@fragment("reshape", "squeeze", "expand_dims")
def _reshape(writer: Writer, equation: Any, x: str, *_: str) -> str:
    order = equation.params.get("dimensions") if equation.primitive.name == "reshape" else None
    if order is not None:  # the axes change their places before
        x = writer.graph.op("Transpose", x, perm=list(order))
    return writer.reshape(x, out_of(equation).shape)


@fragment("transpose")
def _transpose(writer: Writer, equation: Any, x: str) -> str:
    return writer.graph.op("Transpose", x, perm=list(equation.params["permutation"]))


@fragment("broadcast_in_dim")
def _broadcast(writer: Writer, equation: Any, x: str, *_: str) -> str:
    shape, own = out_of(equation).shape, aval_of(equation).shape
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
    graph, sizes, shape = writer.graph, equation.params["slice_sizes"], aval_of(equation).shape
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
    graph, whole, part = writer.graph, aval_of(equation).shape, aval_of(equation, 1).shape
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
    return writer.graph.cast(found, out_of(equation).dtype)
