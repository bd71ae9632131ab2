"""Sorting, and writing at computed places, as nodes of ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np

from danlu.errors import ConfigError
from danlu.export.primitives import Writer, fragment

__all__: list[str] = []


@fragment("sort")
def _sort(writer: Writer, equation: Any, *operands: str) -> list[str]:
    """``TopK`` of all: of equal values the first comes first, so that a sort by several keys is one by each, the last key first."""
    graph, params = writer.graph, equation.params
    aval = equation.invars[0].aval
    axis = params["dimension"]
    length = writer.size(aval.shape[axis])
    order = ""
    for place in reversed(range(params["num_keys"])):
        key, dtype = operands[place], equation.invars[place].aval.dtype
        key = graph.op("GatherElements", key, order, axis=axis) if order else key
        if np.issubdtype(dtype, np.floating):  # JAX has NaN after all numbers
            key = graph.op("Where", graph.op("IsNaN", key), graph.constant(np.inf, dtype), key)
        elif dtype not in (np.int32, np.int64):
            key = graph.cast(key, np.int32)
        _, found = graph.ops("TopK", key, length, outputs=2, axis=axis, largest=0, sorted=1)
        order = graph.op("GatherElements", order, found, axis=axis) if order else found
    return [graph.op("GatherElements", each, order, axis=axis) for each in operands]


_SCATTERED = {"scatter": "none", "scatter-add": "add", "scatter-mul": "mul", "scatter-max": "max", "scatter-min": "min"}


@fragment(*_SCATTERED)
def _scatter(writer: Writer, equation: Any, x: str, places: str, updates: str) -> str:
    """``ScatterND``: the axes that are written at first, those written whole after them; a row is added for what lies outside."""
    graph, params = writer.graph, equation.params
    numbers = params["dimension_numbers"]
    whole, indices, new = (each.aval.shape for each in equation.invars)
    batching = tuple(numbers.operand_batching_dims)
    written_at = tuple(numbers.scatter_dims_to_operand_dims)
    rest = [axis for axis in range(len(whole)) if axis not in (*batching, *written_at)]
    windows = [axis for axis in range(len(whole)) if axis not in (*numbers.inserted_window_dims, *batching)]
    sizes = dict(zip(windows, (new[axis] for axis in numbers.update_window_dims), strict=True))
    if any(str(sizes[axis]) != str(whole[axis]) for axis in rest) or any(
        sizes.get(axis, 1) != 1 for axis in written_at
    ):
        raise ConfigError("the network writes blocks at computed places, which cannot be written as ONNX yet")
    order = [*batching, *written_at, *rest]
    moved = graph.op("Transpose", x, perm=order)
    # Indices: their batching axes first, the others in order, the vector of places last.
    others = [axis for axis in range(len(indices) - 1) if axis not in numbers.scatter_indices_batching_dims]
    loops = [*numbers.scatter_indices_batching_dims, *others]
    where = graph.op("Transpose", graph.cast(places, np.int64), perm=[*loops, len(indices) - 1])
    ends = graph.op("Concat", *(writer.size(whole[axis]) for axis in written_at), axis=0)
    outside = graph.op("Or", graph.op("Less", where, graph.ints(0)), graph.op("GreaterOrEqual", where, ends))
    lost = graph.op("ReduceMax", graph.cast(outside, np.int32), graph.ints(-1), keepdims=1)
    where = graph.op("Where", graph.cast(lost, bool), ends, where)  # one beyond the last
    room = [0] * (2 * len(whole))
    for place in range(len(batching), len(batching) + len(written_at)):
        room[len(whole) + place] = 1
    dtype = equation.invars[0].aval.dtype
    moved = graph.op("Pad", moved, graph.ints(*room), graph.constant(0, dtype))
    shape = [indices[axis] for axis in loops]
    if batching:
        at = [_counted(writer, shape, axis) for axis in range(len(batching))]
        where = graph.op("Concat", *at, where, axis=-1)
    # Updates: as the indices are, then what is written whole.
    scattered = [axis for axis in range(len(new)) if axis not in numbers.update_window_dims]
    after = [scattered[axis] for axis in loops] + [numbers.update_window_dims[windows.index(axis)] for axis in rest]
    ones = [axis for axis in range(len(new)) if axis not in after]
    updates = graph.op("Transpose", updates, perm=[*after, *ones])
    if ones:
        updates = writer.reshape(updates, [new[axis] for axis in after])
    found = graph.op("ScatterND", moved, where, updates, reduction=_SCATTERED[equation.primitive.name])
    axes = range(len(batching), len(batching) + len(written_at))
    found = graph.op("Slice", found, graph.ints(*[0] * len(axes)), ends, graph.ints(*axes))
    return graph.op("Transpose", found, perm=[order.index(axis) for axis in range(len(order))])


def _counted(writer: Writer, shape: list[Any], axis: int) -> str:
    """The number of each place along an axis, ``(*shape, 1)`` int64."""
    graph = writer.graph
    scalar = graph.op("Reshape", writer.size(shape[axis]), graph.constant(np.zeros(0, np.int64)))
    count = graph.op("Range", graph.constant(np.int64(0)), scalar, graph.constant(np.int64(1)))
    placed: list[Any] = [1] * (len(shape) + 1)
    placed[axis] = shape[axis]
    return writer.expand(writer.reshape(count, placed), placed, [*shape, 1])
