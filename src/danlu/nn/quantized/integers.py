"""Products of whole numbers: int8 times int8, added up in int32.

``Σ_k s_x·(x_k − z)·s_w·w_k = s_x·s_w·(Σ_k x_k·w_k − z·Σ_k w_k)``: both sums are exact, so that their order does not matter, and machines
have instructions for four or more such products at once. Each function here is compiled under its name, by which an export knows it
and writes the runtime's own operator.

Reference: Jacob et al. (2018), arXiv:1712.05877, sections 2.2 and 2.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from danlu.nn.quantized.affine import codes, fake, limits, values
from danlu.nn.quantized.products import Product

__all__ = ["as_integers", "danlu_integer_conv", "danlu_integer_dot", "integer_product", "row_scale"]


def danlu_integer_dot(numbers: Any, left: bool) -> Any:
    """A matrix product, a function ``(x, scale, zero, weight, weight_scale) -> float32`` that rounds ``x`` first."""
    own, other = (1, 0) if left else (0, 1)
    sides = numbers[0], numbers[1]

    def danlu_integer_dot(
        x: jax.Array, scale: jax.Array, zero: jax.Array, weight: jax.Array, weight_scale: jax.Array
    ) -> jax.Array:
        coded = codes(x, _ranked(scale, x.ndim), _ranked(zero, x.ndim))
        pair = (weight, coded) if left else (coded, weight)
        total = lax.dot_general(*pair, numbers, preferred_element_type=jnp.int32)

        def placed(array: jax.Array, side: int) -> jax.Array:
            return _placed(array, sides[0][side], sides[1][side], (weight if side == own else x).ndim, first=side == 0)

        of_zero = jnp.sum(weight.astype(jnp.int32), sides[0][other], keepdims=True)
        total = total - placed(of_zero, other) * placed(_ranked(zero, x.ndim).astype(jnp.int32), own)
        return total.astype(jnp.float32) * (placed(_ranked(scale, x.ndim), own) * placed(weight_scale, other))

    return jax.jit(danlu_integer_dot)


def danlu_integer_conv(params: Any) -> Any:
    """A convolution, a function as :func:`danlu_integer_dot` gives, whose scale is ``()``; padding holds the code of 0."""
    numbers = params["dimension_numbers"]

    def danlu_integer_conv(
        x: jax.Array, scale: jax.Array, zero: jax.Array, weight: jax.Array, weight_scale: jax.Array
    ) -> jax.Array:
        around = [(0, 0, 0)] * x.ndim
        for axis, (low, high) in zip(numbers.lhs_spec[2:], params["padding"], strict=True):
            around[axis] = (low, high, 0)
        total = lax.conv_general_dilated(
            lax.pad(codes(x, scale, zero), zero, around),
            weight,
            params["window_strides"],
            [(0, 0)] * len(params["padding"]),
            rhs_dilation=params["rhs_dilation"],
            dimension_numbers=numbers,
            feature_group_count=params["feature_group_count"],
            preferred_element_type=jnp.int32,
        )
        shape = [1] * x.ndim
        shape[numbers.out_spec[1]] = -1
        of_zero = jnp.sum(weight.astype(jnp.int32), numbers.rhs_spec[1:])
        total = total - of_zero.reshape(shape) * zero.astype(jnp.int32)
        return total.astype(jnp.float32) * (scale * weight_scale.reshape(shape))  # one scale for each output channel

    return jax.jit(danlu_integer_conv)


def _ranked(array: jax.Array, rank: int) -> jax.Array:
    """A scalar as an array of this rank."""
    return array if array.ndim else array.reshape((1,) * rank)  # (1, …, 1)


def _placed(array: jax.Array, summed: Sequence[int], batch: Sequence[int], rank: int, *, first: bool) -> jax.Array:
    """What belongs to one side of a matrix product, size 1 along what is summed over, in the axes of the result.

    The result has the axes of the batch, then those of the first side, then those of the second.
    """
    free = [axis for axis in range(array.ndim) if axis not in (*summed, *batch)]
    moved = jnp.transpose(array, [*batch, *free, *summed])
    ones = (1,) * (rank - len(batch) - len(summed))
    own = moved.shape[len(batch) : len(batch) + len(free)]
    # (batch axes, own and the other side's axes in their order)
    return moved.reshape(*moved.shape[: len(batch)], *((*own, *ones) if first else (*ones, *own)))


def row_scale(x: jax.Array, summed: Sequence[int]) -> jax.Array:
    """The symmetric scale of each row's own numbers, ``max |x|/127`` along the axes that are summed over; 1 for a row of zeros."""
    largest = jnp.max(jnp.abs(x), axis=tuple(summed), keepdims=True)
    scale = largest / limits(8)[1]
    return jnp.where(scale > 0, scale, jnp.ones_like(scale))


def as_integers(product: Product) -> bool:
    """Whether a product can be one of whole numbers: a lookup multiplies nothing, and a transposed convolution is another operation."""
    if product.kind == "dot_general":
        return True
    params = product.params
    plain = product.kind != "gather" and params["batch_group_count"] == 1
    return plain and all(each == 1 for each in params["lhs_dilation"])


def integer_product(product: Product, scale: jax.Array, zero: jax.Array) -> jax.Array:
    """The product with whole numbers, with the gradient of the real one.

    Args:
        product: its weight has a scale.
        scale: of the activation: ``()``, or its rank with size 1 along what is summed over.
        zero: ``()`` int8.
    """
    weight = product.weight
    if product.kind == "dot_general":
        run = danlu_integer_dot(product.params["dimension_numbers"], product.left)
    else:
        run = danlu_integer_conv(product.params)

    @jax.custom_vjp
    def whole(x: jax.Array, weight_scale: jax.Array, scale: jax.Array, zero: jax.Array, coded: jax.Array) -> jax.Array:
        found: jax.Array = run(x, scale, zero, coded, weight_scale)
        return found

    def forward(*given: jax.Array) -> tuple[jax.Array, Any]:
        return whole(*given), given

    def backward(given: Any, dy: jax.Array) -> Any:
        x, weight_scale, scale, zero, coded = given
        _, back = jax.vjp(lambda x, own: product.plain(fake(x, scale, zero), values(coded, own)), x, weight_scale)
        return *back(dy), None, None, None

    whole.defvjp(forward, backward)
    found: jax.Array = whole(*map(jnp.asarray, (product.x, weight.scale, scale, zero, weight.array)))
    return found
