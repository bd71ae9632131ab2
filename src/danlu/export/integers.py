"""Weights of a few bits, and products of whole numbers, as the runtime's own operators.

- Codes stay codes in the file. Where they are only weights (``danlu_values`` of ``danlu.nn.quantized.affine``) a runtime makes real
  numbers of them once, when it loads the file.
- A matrix product is ``QuantizeLinear`` and ``MatMulInteger``: uint8 (the code plus 128) times int8, for which processors have
  instructions; int8 times int8 is tens of times slower in onnxruntime on x86.
- A convolution stands between ``DequantizeLinear`` and ``QuantizeLinear``, which runtimes merge with it into ``QLinearConv``.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.export.primitives import Writer, fragment
from danlu.nn.ensemble import Ensemble
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["OneByOne"]

_MIDDLE = 128  # what a code of int8 is more as uint8


class OneByOne(Layer):
    """An ensemble whose networks are written one after the other, each with its own whole numbers."""

    ensemble: Ensemble

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        return self.ensemble.init(key, in_shape)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        network: Any = self.ensemble.network
        found = []
        for place in range(self.ensemble.count):
            own = jax.tree.map(lambda leaf, place=place: leaf[place], (params, state))
            found.append(network.apply(*own, x)[0])
        y = jnp.stack(found, axis=1)  # (batch, count, …)
        return (y if y.ndim < 4 else jax.lax.collapse(y, 1, 3)), state


@fragment("danlu_values")
def _values(writer: Writer, equation: Any, codes: str, scale: str) -> str:
    graph = writer.graph
    if codes in graph.known and graph.known[codes].dtype.name == "int4":
        whole = _unpacked(writer, graph.known[codes])
    else:
        (whole,) = graph.ops("Cast", codes, outputs=1, to=1)
    shape, steps = (each.aval.shape for each in equation.invars)
    for axis, (size, own) in enumerate(zip(shape, steps, strict=True)):
        if own not in (1, size):  # one for each group
            group = _inner(equation, "broadcast_in_dim").outvars[0].aval.shape[axis + 1]  # (…, groups, group, …)
            places = graph.ints(*(np.arange(size) // group).tolist())
            (scale,) = graph.ops("Gather", scale, places, outputs=1, axis=axis)
    return graph.ops("Mul", whole, scale, outputs=1)[0]  # not computed here: the file would hold real numbers


def _unpacked(writer: Writer, codes: np.ndarray) -> str:
    """Codes of 4 bits as real numbers, out of bytes that hold two each."""
    graph = writer.graph
    flat = codes.ravel().astype(np.int8) + 8
    # (bytes, two codes)
    halves = np.append(flat, np.zeros(flat.size % 2, np.int8)).astype(np.uint8).reshape(-1, 2)
    pairs = graph.constant(halves[:, :1] | halves[:, 1:] << 4)
    (low,) = graph.ops("BitwiseAnd", pairs, graph.constant(np.uint8(15)), outputs=1)
    (high,) = graph.ops("BitShift", pairs, graph.constant(np.uint8(4)), outputs=1, direction="RIGHT")
    (both,) = graph.ops("Concat", low, high, outputs=1, axis=1)
    (whole,) = graph.ops("Cast", both, outputs=1, to=1)
    (moved,) = graph.ops("Sub", whole, graph.constant(np.float32(8)), outputs=1)
    (line,) = graph.ops("Reshape", moved, graph.ints(-1), outputs=1)
    (cut,) = graph.ops("Slice", line, graph.ints(0), graph.ints(codes.size), outputs=1)
    return graph.ops("Reshape", cut, graph.ints(*codes.shape), outputs=1)[0]


@fragment("danlu_integer_dot")
def _integer_dot(writer: Writer, equation: Any, x: str, scale: str, zero: str, weight: str, weight_scale: str) -> str:
    """``(batch, rows, k)`` times ``(batch, k, columns)``, in whatever order the axes stand."""
    graph = writer.graph
    dot = _inner(equation, "dot_general")
    given, left = [each.aval for each in equation.invars], dot.invars[1].aval.shape != equation.invars[3].aval.shape
    own, other = (1, 0) if left else (0, 1)
    summed, batch = dot.params["dimension_numbers"]
    x_order, x_free = _order(given[0].shape, summed[own], batch[own], rows_first=True)
    w_order, w_free = _order(given[3].shape, summed[other], batch[other], rows_first=False)
    around = [given[0].shape[axis] for axis in batch[own]]
    length = math.prod(given[0].shape[axis] for axis in summed[own])
    rows, columns = [given[0].shape[axis] for axis in x_free], [given[3].shape[axis] for axis in w_free]
    wide = math.prod(columns)
    flat = writer.reshape(_ordered(graph, x, x_order), [*around, _product(rows), length])
    codes = graph.constant(graph.known[weight].transpose(w_order).reshape(*around, length, wide))
    steps = graph.known[weight_scale].transpose(w_order)
    steps = steps.reshape(*steps.shape[: len(batch[other])], 1, -1)
    if zero in graph.known and scale in graph.known and graph.known[scale].ndim == 0:
        middle = graph.constant(np.uint8(int(graph.known[zero]) + _MIDDLE))
        rounded = graph.op("QuantizeLinear", flat, scale, middle)
        total = graph.cast(graph.op("MatMulInteger", rounded, codes, middle), np.float32)
        y = graph.op("Mul", total, graph.constant((steps * graph.known[scale]).astype(np.float32)))
    else:
        middle = graph.constant(np.uint8(_MIDDLE))
        one = writer.reshape(_ordered(graph, scale, x_order), [*around, _product(rows), 1])
        whole = graph.op("Round", graph.op("Div", flat, one))
        rounded = graph.cast(graph.op("Add", whole, graph.constant(np.float32(_MIDDLE))), np.uint8)
        total = graph.cast(graph.op("MatMulInteger", rounded, codes, middle), np.float32)
        y = graph.op("Mul", graph.op("Mul", total, graph.constant(steps.astype(np.float32))), one)
    if not left:
        return writer.reshape(y, equation.outvars[0].aval.shape)
    turned = graph.op("Transpose", y, perm=[*range(len(around)), len(around) + 1, len(around)])
    return writer.reshape(turned, equation.outvars[0].aval.shape)


def _inner(equation: Any, name: str) -> Any:
    return next(each for each in equation.params["jaxpr"].jaxpr.eqns if each.primitive.name == name)


def _order(shape: Any, summed: Any, batch: Any, *, rows_first: bool) -> tuple[list[int], list[int]]:
    """The axes of one side: those of the batch, then the free ones and those that are summed over, or the other way round."""
    free = [axis for axis in range(len(shape)) if axis not in (*summed, *batch)]
    return [*batch, *free, *summed] if rows_first else [*batch, *summed, *free], free


def _ordered(graph: Any, value: str, order: list[int]) -> str:
    return value if order == sorted(order) else graph.op("Transpose", value, perm=order)


def _product(sizes: list[Any]) -> Any:
    """A product of sizes, of which some may be unknown."""
    found: Any = 1
    for size in sizes:
        found = size * found
    return found


@fragment("danlu_integer_conv")
def _integer_conv(writer: Writer, equation: Any, x: str, scale: str, zero: str, weight: str, weight_scale: str) -> str:
    graph, conv = writer.graph, _inner(equation, "conv_general_dilated")
    params, pad = conv.params, _inner(equation, "pad").params["padding_config"]
    numbers = params["dimension_numbers"]
    middle = graph.constant(np.uint8(int(graph.known[zero]) + _MIDDLE))
    moved = graph.op("Transpose", x, perm=list(numbers.lhs_spec))
    real = graph.op("DequantizeLinear", graph.op("QuantizeLinear", moved, scale, middle), scale, middle)
    codes = graph.constant(graph.known[weight].transpose(numbers.rhs_spec))
    steps = graph.constant(graph.known[weight_scale].ravel())
    kernel = graph.op("DequantizeLinear", codes, steps, axis=0)
    around = [pad[axis] for axis in numbers.lhs_spec[2:]]
    found = graph.op(
        "Conv", real, kernel, strides=list(params["window_strides"]),
        pads=[low for low, _, _ in around] + [high for _, high, _ in around],
        dilations=list(params["rhs_dilation"]), group=params["feature_group_count"],
    )  # fmt: skip
    order = [numbers.out_spec.index(axis) for axis in range(len(numbers.out_spec))]
    return graph.op("Transpose", found, perm=order)
