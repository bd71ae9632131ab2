"""Windows as nodes of ONNX: convolutions in both directions, pooling, and padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from danlu.errors import ConfigError
from danlu.export.graph import Graph
from danlu.export.primitives import Writer, fragment

__all__: list[str] = []


@fragment("pad")
def _pad(writer: Writer, equation: Any, x: str, value: str) -> str:
    edges, (x_shape, _) = equation.params["padding_config"], (each.aval.shape for each in equation.invars)
    inner = [(axis, between) for axis, (_, _, between) in enumerate(edges) if between]
    if inner:
        x = _spread(writer, x, x_shape, inner, value)
    pads = [low for low, _, _ in edges] + [high for _, high, _ in edges]
    return writer.graph.op("Pad", x, writer.graph.ints(*pads), value) if any(pads) else x


def _spread(writer: Writer, x: str, shape: Sequence[Any], inner: Sequence[tuple[int, int]], value: str) -> str:
    """The array with ``between`` values put between neighbours along each ``axis``."""
    graph, sizes = writer.graph, list(shape)
    for axis, between in inner:
        apart = graph.op("Unsqueeze", x, graph.ints(axis + 1))  # (…, n, 1, …)
        ends = [0] * (len(sizes) + 1)
        wide = graph.op("Pad", apart, graph.ints(*ends, *ends[: axis + 1], between, *ends[axis + 2 :]), value)
        full = sizes[axis] * (1 + between)
        flat = writer.reshape(wide, [*sizes[:axis], full, *sizes[axis + 1 :]])
        sizes[axis] = full - between
        x = graph.op("Slice", flat, graph.ints(0), writer.size(sizes[axis]), graph.ints(axis))
    return x


@fragment("add")
def _add(writer: Writer, equation: Any, x: str, y: str) -> str:
    """A sum; what is added to each channel of a convolution is its bias."""
    graph = writer.graph
    for value, other in ((x, y), (y, x)):
        turn: Any = graph.makers.get(value)
        conv: Any = graph.makers.get(turn.input[0]) if turn is not None and turn.op_type == "Transpose" else None
        bias = graph.known.get(other)
        if conv is None or bias is None or conv.op_type != "Conv" or len(conv.input) != 2:
            continue
        channel = list(turn.attribute[0].ints).index(1)
        if bias.ndim == len(turn.attribute[0].ints) and bias.shape[channel] == bias.size:
            return graph.again(turn, [graph.again(conv, [*conv.input, _bias(graph, conv, bias.ravel())])])
    return graph.op("Add", x, y)


def _bias(graph: Graph, conv: Any, bias: np.ndarray) -> str:
    """The bias of a convolution: of one of whole numbers, in steps of both its scales."""
    makers: list[Any] = [graph.makers.get(name) for name in conv.input]
    if any(node is None or node.op_type != "DequantizeLinear" for node in makers):
        return graph.constant(bias)
    steps = graph.known[makers[0].input[1]] * graph.known[makers[1].input[1]]
    if (np.abs(bias) > steps * 2.0**30).any():
        return graph.constant(bias)
    whole = graph.constant(np.round(bias / steps).astype(np.int32))
    return graph.op("DequantizeLinear", whole, graph.constant(steps.astype(np.float32)), axis=0)


@fragment("conv_general_dilated")
def _conv(writer: Writer, equation: Any, x: str, kernel: str) -> str:
    """``Conv`` for channels first; one that spreads its inputs apart is the transpose of a convolution."""
    params, graph = equation.params, writer.graph
    numbers, apart = params["dimension_numbers"], params["lhs_dilation"]
    if params["batch_group_count"] != 1:
        raise ConfigError("the network has a convolution over parts of a batch, which cannot be written as ONNX yet")
    shape = [equation.invars[0].aval.shape[axis] for axis in numbers.lhs_spec]
    x = graph.op("Transpose", x, perm=list(numbers.lhs_spec))
    kernel = graph.op("Transpose", kernel, perm=list(numbers.rhs_spec))  # (outputs, inputs of a group, *window)
    around, groups = params["padding"], params["feature_group_count"]
    window = [equation.invars[1].aval.shape[axis] for axis in numbers.rhs_spec[2:]]
    reach = [step * (size - 1) for step, size in zip(params["rhs_dilation"], window, strict=True)]
    cut = [(far - low, far - high) for far, (low, high) in zip(reach, around, strict=True)]
    whole = all(each == 1 for each in params["window_strides"]) and all(min(each) >= 0 for each in cut)
    if any(each > 1 for each in apart) and whole and groups == 1:
        axes = list(range(2, 2 + len(window)))
        back = graph.op(
            "Slice", kernel, graph.ints(*[-1] * len(axes)), graph.ints(*[np.iinfo(np.int64).min] * len(axes)),
            graph.ints(*axes), graph.ints(*[-1] * len(axes)),
        )  # fmt: skip
        turned = graph.op("Transpose", back, perm=[1, 0, *axes])
        found = graph.op(
            "ConvTranspose", x, turned, strides=list(apart), pads=_ends(cut), dilations=list(params["rhs_dilation"])
        )
    else:
        inner = [(axis, step - 1) for axis, step in enumerate(apart, 2) if step > 1]
        x = _spread(writer, x, shape, inner, graph.constant(0, equation.invars[0].aval.dtype))
        found = graph.op(
            "Conv", x, kernel, strides=list(params["window_strides"]), pads=_ends(around),
            dilations=list(params["rhs_dilation"]), group=groups,
        )  # fmt: skip
    return graph.op("Transpose", found, perm=[numbers.out_spec.index(axis) for axis in range(len(numbers.out_spec))])


def _ends(pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Low and high ends of each axis as ONNX has them: all the low ones first."""
    return [low for low, _ in pairs] + [high for _, high in pairs]


@fragment("reduce_window_max", "reduce_window_sum")
def _pool(writer: Writer, equation: Any, x: str) -> str:
    graph, params = writer.graph, equation.params
    windows, strides, padding = params["window_dimensions"], params["window_strides"], params["padding"]
    inside = [axis for axis, size in enumerate(windows) if size > 1 or strides[axis] > 1 or any(padding[axis])]
    outside = [axis for axis in range(len(windows)) if axis not in inside]
    dilated = any(each != 1 for name in ("base_dilation", "window_dilation") for each in params[name])
    if not inside:
        return x
    if dilated:
        raise ConfigError("the network takes sums or maxima of unusual windows, which cannot be written as ONNX yet")
    order = [*outside, *inside]
    moved = graph.op("Transpose", x, perm=order)
    shape, out = (each.aval.shape for each in (equation.invars[0], equation.outvars[0]))
    flat = len(outside) != 2  # ONNX has two axes beside the windows', and copies of a network bring one more
    if flat:
        moved = graph.op("Reshape", moved, graph.ints(-1, 1, *(shape[axis] for axis in inside)))
    how: dict[str, Any] = {
        "kernel_shape": [windows[axis] for axis in inside],
        "strides": [strides[axis] for axis in inside],
        "pads": [padding[axis][side] for side in (0, 1) for axis in inside],
    }
    if equation.primitive.name == "reduce_window_max":
        found = graph.op("MaxPool", moved, **how)
    else:
        mean = graph.op("AveragePool", moved, count_include_pad=1, **how)
        found = graph.op("Mul", mean, graph.constant(np.prod(how["kernel_shape"]), equation.outvars[0].aval.dtype))
    if flat:
        found = writer.reshape(found, [out[axis] for axis in order])
    return graph.op("Transpose", found, perm=[order.index(axis) for axis in range(len(order))])
