"""Sums, products and gathers as nodes of ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from danlu.errors import ConfigError
from danlu.export.primitives import Writer, aval_of, fragment, out_of


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
    x = writer.graph.cast(x, np.int32) if aval_of(equation).dtype == bool else x
    found = writer.graph.op(kind, x, axis=equation.params["axes"][0], keepdims=0)
    return writer.graph.cast(found, out_of(equation).dtype)


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
    left, right = aval_of(equation), aval_of(equation, 1)
    dtype = out_of(equation).dtype
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
    operand, indices, out = aval_of(equation), aval_of(equation, 1), out_of(equation)
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
        fill = (np.nan if np.issubdtype(out.dtype, np.floating) else 0) if fill is None else fill
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
