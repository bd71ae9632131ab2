"""Numbers of a few bits: the affine map from real numbers to whole ones, and back.

``q = clip(round(x/s) + z, −2^(b−1), 2^(b−1) − 1)`` and ``x̂ = s·(q − z)``, with the scale ``s`` (the size of a step, in the unit of
``x``), the zero point ``z`` (the whole number that stands for 0 exactly) and ``b`` bits. A half is rounded to the even neighbour. Inside
the range ``|x̂ − x| ≤ s/2``. A *symmetric* map has ``z = 0`` and leaves the lowest number out, so that ``−x``
has the code ``−q``.

Reference: Jacob et al. (2018), "Quantization and training of neural networks for efficient integer-arithmetic-only inference",
arXiv:1712.05877, section 2.1.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["DTYPES", "affine", "codes", "fake", "limits", "repeated_scale", "symmetric", "values", "weight_scale"]

DTYPES: dict[int, Any] = {8: jnp.int8, 4: jnp.int4}
"""The element type of the codes, by their bits."""


def limits(bits: int, *, symmetric: bool = False) -> tuple[int, int]:
    """The smallest and the largest code.

    >>> limits(8), limits(8, symmetric=True), limits(4, symmetric=True)
    ((-128, 127), (-127, 127), (-7, 7))
    """
    half = 2 ** (bits - 1)
    return -half + symmetric, half - 1


def symmetric(largest: Any, bits: int = 8) -> jax.Array:
    """The scale for numbers of at most this size: ``s = largest/(2^(b−1) − 1)``; 1 where all are 0.

    >>> float(symmetric(12.7))
    0.1...
    """
    largest = jnp.asarray(largest, jnp.float32)
    scale = largest / limits(bits)[1]
    return jnp.where(scale > 0, scale, 1.0)


def affine(low: Any, high: Any, bits: int = 8) -> tuple[jax.Array, jax.Array]:
    """Scale and zero point for numbers between ``low`` and ``high``; the range is widened until it holds 0, which is exact then.

    Returns:
        ``(s, z)``, z of the codes' own type.

    >>> scale, zero = affine(0.0, 25.5)
    >>> round(float(scale), 6), int(zero)
    (0.1, -128)
    """
    least, most = limits(bits)
    low, high = jnp.minimum(jnp.asarray(low, jnp.float32), 0), jnp.maximum(jnp.asarray(high, jnp.float32), 0)
    scale = (high - low) / (most - least)
    zero = jnp.clip(jnp.round(least - low / jnp.where(scale > 0, scale, 1.0)), least, most)
    # 0 is exact, so the ends are not where they were: a little wider, they are inside.
    scale = jnp.maximum(low / jnp.minimum(least - zero, -1), high / jnp.maximum(most - zero, 1))
    return jnp.where(scale > 0, scale, 1.0), zero.astype(DTYPES[bits])


def codes(x: Any, scale: Any, zero: Any = 0, *, bits: int = 8, symmetric: bool = False) -> jax.Array:
    """``q`` of each number, of the element type of so many bits.

    >>> codes(jnp.array([-30.0, 0.25, 0.75, 1.0]), 0.5).tolist()
    [-60, 0, 2, 2]
    """
    least, most = limits(bits, symmetric=symmetric)
    whole = jnp.round(x / scale) + jnp.asarray(zero).astype(jnp.float32)
    found: jax.Array = jnp.clip(whole, least, most).astype(DTYPES[bits])
    return found


def values(codes: Any, scale: Any, zero: Any = None, *, group: int | None = None) -> jax.Array:
    """``x̂`` of each code, float32; ``group`` as of :func:`repeated_scale`."""
    found: jax.Array
    if zero is None:
        found = danlu_values(codes, scale, group)
    else:
        found = (codes.astype(jnp.float32) - zero.astype(jnp.float32)) * scale
    return found


@functools.partial(jax.jit, static_argnums=2)
def danlu_values(codes: jax.Array, scale: jax.Array, group: int | None) -> jax.Array:
    """``s·q``, compiled under its name, by which an export knows it."""
    found: jax.Array = codes.astype(jnp.float32) * repeated_scale(scale, codes.shape, group)
    return found


def fake(x: jax.Array, scale: Any, zero: Any = 0, *, bits: int = 8, symmetric: bool = False) -> jax.Array:
    """``x̂`` of ``x``, with the *straight-through* gradient: rounding counts as the identity, so that training feels what it costs.

    ``∂x̂/∂x`` is 1 inside the range and 0 outside. ``∂x̂/∂s`` is ``round(x/s) − x/s`` inside and the code that ``x`` was cut to, less
    ``z``, outside: what a learned step size needs.

    Reference: Bengio, Léonard & Courville (2013), arXiv:1308.3432, section 4; Esser et al. (2020), "Learned step size quantization",
    arXiv:1902.08153, equation 3.

    >>> x = jnp.array([0.3, 100.0])
    >>> fake(x, 0.5).tolist(), jax.grad(lambda x: fake(x, 0.5).sum())(x).tolist()
    ([0.5, 63.5], [1.0, 0.0])
    """
    least, most = limits(bits, symmetric=symmetric)
    zero = jnp.asarray(zero).astype(jnp.float32)
    exact = x / scale
    whole = exact + jax.lax.stop_gradient(jnp.round(exact) - exact) + zero
    inside = (whole >= least) & (whole <= most)  # the ends are inside: a clip would halve their gradient
    whole = jnp.where(inside, whole, jax.lax.stop_gradient(jnp.clip(whole, least, most)))
    found: jax.Array = ((whole - zero) * scale).astype(x.dtype)
    return found


def weight_scale(weight: Any, kept: tuple[int, ...], *, bits: int = 8, group: int | None = None) -> jax.Array:
    """The symmetric scales of a weight: one for each place along the axes ``kept``, or for each ``group`` of numbers that are added up.

    Args:
        weight: any shape.
        kept: the axes along which scales differ: of a dense kernel ``(inputs, outputs)`` axis 1, "per channel"; none is "per tensor".
        group: so many neighbours along the longest other axis share a scale, where it is longer.

    Returns:
        An array of the weight's rank: an axis that is not kept has size 1, that of the groups ``⌈size/group⌉``.

    >>> weight_scale(jnp.ones((64, 10)), (1,)).shape, weight_scale(jnp.ones((64, 10)), (1,), bits=4, group=32).shape
    ((1, 10), (2, 10))
    """
    sizes = jnp.abs(jnp.asarray(weight, jnp.float32))
    summed = tuple(axis for axis in range(sizes.ndim) if axis not in kept)
    if group is None or not summed or max(sizes.shape[axis] for axis in summed) <= group:
        return symmetric(jnp.max(sizes, axis=summed, keepdims=True), bits)
    along = max(summed, key=lambda axis: sizes.shape[axis])
    count = -(-sizes.shape[along] // group)
    pads = [(0, count * group - size if axis == along else 0) for axis, size in enumerate(sizes.shape)]
    # (…, groups, group, …)
    parts = jnp.pad(sizes, pads).reshape(*sizes.shape[:along], count, group, *sizes.shape[along + 1 :])
    inner = tuple(axis + (axis > along) for axis in summed if axis != along)
    found = jnp.max(parts, axis=(along + 1, *inner), keepdims=True)
    return symmetric(jnp.squeeze(found, along + 1), bits)


def repeated_scale(scale: Any, shape: tuple[int, ...], group: int | None) -> Any:
    """The scales with those of groups repeated for each number of the group; axes of size 1 are left to broadcasting."""
    for axis, (own, size) in enumerate(zip(scale.shape, shape, strict=True)):
        if own not in (1, size):
            scale = jax.lax.slice_in_dim(jnp.repeat(scale, group or 1, axis=axis), 0, size, axis=axis)
    return scale


def smaller(shape: tuple[int, ...], scales: tuple[int, ...], bits: int) -> bool:
    """Whether codes and scales take fewer bytes than float32."""
    count = math.prod(shape)
    return count * bits / 8 + 4 * math.prod(scales) < 4 * count


def rounded_bits(array: np.ndarray) -> int:
    """How many bits the codes of an array have."""
    return next(bits for bits, dtype in DTYPES.items() if np.dtype(dtype) == array.dtype)
