"""Convolution and max-pooling with the backward pass written out, quick where XLA's CPU code is slow.

A convolution is linear in the input and in the kernel, so its chain rule is two more convolutions (:func:`convolve`).
How these are computed depends on the platform:

- GPU and TPU: XLA's own convolution, forward and backward.
- CPU: the same numbers to rounding, by whichever of these is quicker than XLA's convolution for the shape at hand
  (measured on one core of an AVX-512 machine, float32, JAX 0.10):

  =======================  ==========================================  ========================================
  case                     instead                                     gain
  =======================  ==========================================  ========================================
  no padding, 2-D          one row of padding, cropped off afterwards  3 times (XLA has a slow path there)
  2-D, several cores       rows of padding until the output is taller  1.5 times on two cores (else XLA uses one
                           than the input, cropped off afterwards      core; on one core this way is slower)
  depthwise                a sum of shifted products                   3×3: 35 times forward, 4 times the weight
                                                                       gradient; 7×7: 4 times
  weight gradient          patches of a few images at a time, in       3 times (32 channels, 26×26), none at 256;
                           cache, and one matrix product each          in a loop over steps 5 times and more
  input gradient           the kernel turned round and spelled out     none alone; in a loop over steps 4 times
  under ``vmap``           one member after another: a batched kernel  2.5 times
                           would become a grouped convolution
  max-pooling              a maximum of strided slices                 2×2: 1.5 times; backward 50 times
  =======================  ==========================================  ========================================

All are ``jax.custom_vjp``: reverse mode to any order and ``vmap`` work, forward mode (``jax.jvp``) does not.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from danlu.nn._precision import wide_type, widened

__all__ = ["Pads", "Window", "convolve", "input_gradient", "kernel_gradient", "max_pool", "to_first_winner"]

Pads = tuple[tuple[int, int], ...]
Forward = Callable[[jax.Array, jax.Array, "Window"], jax.Array]

# The cores that XLA's CPU code may use.
_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
# Patches of a few images that together stay in the caches (measured: 2 MiB does best on one core, 4 to 0.5 within a sixth;
# on two cores 8 MiB takes a tenth less than 2).
_PATCH_BYTES = 1 << (21 if _CORES == 1 else 23)
# Fewer channels are computed as quickly by one core.
_FEW_CHANNELS = 8
# Windows of up to so many elements are spelled out as slices.
_UNROLLED = 9


@dataclasses.dataclass(frozen=True)
class Window:
    """How a window moves over the spatial axes: one entry an axis, ``pads`` as (before, after)."""

    stride: tuple[int, ...]
    pads: Pads
    dilation: tuple[int, ...]
    groups: int = 1

    def out(self, spatial: tuple[int, ...], window: tuple[int, ...]) -> tuple[int, ...]:
        """The sizes of the output: ``⌊(n + before + after − dilation·(k − 1) − 1)/stride⌋ + 1``."""
        axes = zip(spatial, window, self.stride, self.pads, self.dilation, strict=True)
        return tuple((n + sum(pad) - d * (k - 1) - 1) // s + 1 for n, k, s, pad, d in axes)


def dimension_numbers(rank: int) -> tuple[str, str, str]:
    """Channels last: ``N…C`` for arrays, ``…IO`` for kernels."""
    axes = "DHW"[3 - rank :]
    return f"N{axes}C", f"{axes}IO", f"N{axes}C"


def _shifted(x: jax.Array, window: tuple[int, ...], how: Window) -> list[jax.Array]:
    """What each position of the window sees, in order: strided slices of the padded ``x``, ``(batch, *out, channels)``."""
    out = how.out(x.shape[1:-1], tuple(window))
    padded = jnp.pad(x, ((0, 0), *how.pads, (0, 0))) if any(map(any, how.pads)) else x
    return [_slice(padded, place, out, how) for place in itertools.product(*map(range, window))]


def _slice(padded: jax.Array, place: tuple[int, ...], out: tuple[int, ...], how: Window) -> jax.Array:
    start = [p * d for p, d in zip(place, how.dilation, strict=True)]
    stop = [a + (n - 1) * s + 1 for a, n, s in zip(start, out, how.stride, strict=True)]
    ends = (padded.shape[0], *stop, padded.shape[-1])
    return lax.slice(padded, (0, *start, 0), ends, (1, *how.stride, 1))


def _plain(x: jax.Array, kernel: jax.Array, how: Window) -> jax.Array:
    """XLA's convolution."""
    return lax.conv_general_dilated(
        x,
        kernel,
        how.stride,
        how.pads,
        rhs_dilation=how.dilation,
        dimension_numbers=dimension_numbers(x.ndim - 2),
        feature_group_count=how.groups,
    )


def _is_depthwise(shape: tuple[int, ...], how: Window) -> bool:
    return how.groups > 1 and shape[-2] == 1 and shape[-1] == how.groups


def _by_rows(how: Window, rows: int, x: jax.Array) -> Callable[[jax.Array], jax.Array]:
    """From a row of the window (its place along the first spatial axis) to the padded input's part that it slides over.

    A large window is walked row by row in a loop: 49 slices in one program take a minute to compile.
    """
    padded = jnp.pad(x, ((0, 0), *how.pads, (0, 0))) if any(map(any, how.pads)) else x
    span = padded.shape[1] - how.dilation[0] * (rows - 1)
    return lambda row: lax.dynamic_slice_in_dim(padded, row * how.dilation[0], span, axis=1)


def _unpadded(how: Window) -> Window:
    return dataclasses.replace(how, pads=((0, 0),) * len(how.pads))


def _taken_at_once(window: tuple[int, ...]) -> bool:
    """Whether each tap is an operation of its own; else a loop goes over the rows, down to windows of one."""
    return math.prod(window) <= _UNROLLED or window[0] == 1 or len(window) == 1


def _depthwise(x: jax.Array, kernel: jax.Array, how: Window) -> jax.Array:
    window = kernel.shape[:-2]
    if _taken_at_once(window):
        taps = kernel.reshape(-1, *(1,) * (x.ndim - 1), kernel.shape[-1])  # (taps, 1, …, channels)
        seen = _shifted(x, window, how)
        total = functools.reduce(jnp.add, (widened(part * taps[k]) for k, part in enumerate(seen)))
        return total.astype(x.dtype)
    part = _by_rows(how, window[0], x)

    def add(total: jax.Array, row: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
        return total + widened(_depthwise(part(row[0]), row[1][None], _unpadded(how))), None

    out = (x.shape[0], *how.out(x.shape[1:-1], window), x.shape[-1])
    start = jnp.zeros(out, wide_type(x.dtype))
    return lax.scan(add, start, (jnp.arange(window[0]), kernel))[0].astype(x.dtype)


def _depthwise_kernel_gradient(x: jax.Array, dy: jax.Array, window: tuple[int, ...], how: Window) -> jax.Array:
    """``Σ_{n, q} x[n, stride·q + k, c]·dy[n, q, c]``, ``(*window, 1, channels)``."""
    if _taken_at_once(window):
        axes = tuple(range(x.ndim - 1))
        return jnp.stack([jnp.sum(part * dy, axes) for part in _shifted(x, window, how)]).reshape(
            *window, 1, x.shape[-1]
        )
    part = _by_rows(how, window[0], x)

    def one(row: jax.Array) -> jax.Array:
        return _depthwise_kernel_gradient(part(row), dy, (1, *window[1:]), _unpadded(how))[0]

    kernel: jax.Array = lax.map(one, jnp.arange(window[0]))
    return kernel


def _forward_on_cpu(x: jax.Array, kernel: jax.Array, how: Window) -> jax.Array:
    if _is_depthwise(kernel.shape, how):
        return _depthwise(x, kernel, how)
    if x.ndim != 4 or how.groups > 1 or math.prod(kernel.shape[:-2]) == 1:
        return _plain(x, kernel, how)
    # Which of XLA's codes computes a convolution goes by its padding: ask for a few rows too many and leave them out.
    rows, (first, last) = how.out(x.shape[1:-1], kernel.shape[:-2])[0], how.pads[0]
    taller = x.shape[1] + 1 - rows
    single = how.stride != (1, 1) or how.dilation != (1, 1) or kernel.shape[-2] < _FEW_CHANNELS
    if _CORES > 1 and not single and 0 < taller <= rows // 4:
        more = taller
    else:
        more = 0 if any(map(any, how.pads)) else 1
    if not more:
        return _plain(x, kernel, how)
    return _plain(x, kernel, dataclasses.replace(how, pads=((first, last + more), how.pads[1])))[:, :rows]


def _input_gradient(
    forward: Forward, dy: jax.Array, kernel: jax.Array, shape: tuple[int, ...], how: Window
) -> jax.Array:
    x = jax.ShapeDtypeStruct(shape, dy.dtype)
    dx: jax.Array = jax.linear_transpose(lambda x: forward(x, kernel, how), x)(dy)[0]
    return dx


def _input_gradient_on_cpu(dy: jax.Array, kernel: jax.Array, shape: tuple[int, ...], how: Window) -> jax.Array:
    """The convolution of ``dy``, zeros between its elements for a stride, with the kernel turned round."""
    if _is_depthwise(kernel.shape, how):
        return _input_gradient(_depthwise, dy, kernel, shape, how)
    if how.groups > 1:
        return _input_gradient(_plain, dy, kernel, shape, how)
    around = []
    axes = zip(shape[1:-1], dy.shape[1:-1], kernel.shape[:-2], how.stride, how.pads, how.dilation, strict=True)
    for n, m, k, s, (before, _), d in axes:
        low = d * (k - 1) - before
        around.append((low, n + before - (m - 1) * s - 1))
    if any(s > 1 for s in how.stride) or any(min(pad) < 0 for pad in around):
        inner = [(*pad, s - 1) for pad, s in zip(around, how.stride, strict=True)]
        dy = lax.pad(dy, jnp.zeros((), dy.dtype), [(0, 0, 0), *inner, (0, 0, 0)])
        around = [(0, 0)] * len(around)
    turned = jnp.swapaxes(jnp.flip(kernel, tuple(range(kernel.ndim - 2))), -1, -2)
    # The barrier keeps XLA from folding this into a transposed convolution, for which its CPU code in a loop is slow.
    turned = lax.optimization_barrier(turned)
    return _forward_on_cpu(dy, turned, Window((1,) * len(around), tuple(around), how.dilation))


def _kernel_gradient(x: jax.Array, dy: jax.Array, shape: tuple[int, ...], how: Window) -> jax.Array:
    kernel = jax.ShapeDtypeStruct(shape, x.dtype)
    dk: jax.Array = jax.linear_transpose(lambda kernel: _plain(x, kernel, how), kernel)(dy)[0]
    return dk


def _kernel_gradient_on_cpu(x: jax.Array, dy: jax.Array, shape: tuple[int, ...], how: Window) -> jax.Array:
    """The weight gradient as matrix products, ``dyᵀ · patches(x)``, a few images at a time."""
    window, channels, taps = shape[:-2], shape[-2], math.prod(shape[:-2])
    if _is_depthwise(shape, how):
        return _depthwise_kernel_gradient(x, dy, window, how)
    if how.groups > 1 or x.shape[0] == 0:
        return _kernel_gradient(x, dy, shape, how)
    size = taps * channels * math.prod(dy.shape[1:-1]) * x.dtype.itemsize
    most = max(1, _PATCH_BYTES // size)
    images = max(n for n in range(1, min(most, x.shape[0]) + 1) if x.shape[0] % n == 0)

    def add(total: jax.Array, part: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
        # (positions, taps·channels)
        seen = jnp.concatenate(_shifted(part[0], window, how), axis=-1).reshape(-1, taps * channels)
        of_outputs = part[1].reshape(-1, dy.shape[-1]).T  # (outputs, positions)
        product = jnp.matmul(of_outputs, seen, preferred_element_type=total.dtype)
        return total + product, None

    parts = tuple(a.reshape(-1, images, *a.shape[1:]) for a in (x, dy))  # (parts, images, *spatial, channels)
    total, _ = lax.scan(add, jnp.zeros((dy.shape[-1], taps * channels), wide_type(dy.dtype)), parts)
    return total.astype(dy.dtype).T.reshape(shape)


def _on_platform(cpu: Callable[..., jax.Array], other: Callable[..., jax.Array], *arrays: Any) -> jax.Array:
    """``cpu`` there (members of a ``vmap`` one after another), ``other`` elsewhere."""
    y: jax.Array = lax.platform_dependent(*arrays, cpu=jax.custom_batching.sequential_vmap(cpu), default=other)
    return y


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve(x: jax.Array, kernel: jax.Array, how: Window) -> jax.Array:
    """``y[n, q, o] = Σ_{k, c} x[n, stride·q + dilation·k − before, c]·W[k, c, o]``, outside ``x`` taken as 0.

    Args:
        x: ``(batch, *spatial, channels)``, one to three spatial axes.
        kernel: ``W``, ``(*window, channels // groups, features)``.
        how: stride, padding, dilation, groups.

    Returns:
        ``(batch, *out, features)``.

    Reference: Dumoulin & Visin (2016), arXiv:1603.07285; "convolution" is cross-correlation, as everywhere in the field.
    """
    return _on_platform(
        lambda x, kernel: _forward_on_cpu(x, kernel, how), lambda x, kernel: _plain(x, kernel, how), x, kernel
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def input_gradient(dy: jax.Array, kernel: jax.Array, shape: tuple[int, ...], how: Window) -> jax.Array:
    """``∂L/∂x[n, p, c] = Σ dy[n, q, o]·W[k, c, o]`` over all ``stride·q + dilation·k − before = p``.

    It is the transposed convolution, too.

    Args:
        dy: ``(batch, *out, features)``.
        kernel: as in :func:`convolve`.
        shape: of ``x``.
        how: as in :func:`convolve`.
    """
    return _on_platform(
        lambda dy, kernel: _input_gradient_on_cpu(dy, kernel, shape, how),
        lambda dy, kernel: _input_gradient(_plain, dy, kernel, shape, how),
        dy,
        kernel,
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def kernel_gradient(x: jax.Array, dy: jax.Array, shape: tuple[int, ...], how: Window) -> jax.Array:
    """``∂L/∂W[k, c, o] = Σ_{n, q} x[n, stride·q + dilation·k − before, c]·dy[n, q, o]``; ``shape`` is the kernel's."""
    return _on_platform(
        lambda x, dy: _kernel_gradient_on_cpu(x, dy, shape, how),
        lambda x, dy: _kernel_gradient(x, dy, shape, how),
        x,
        dy,
    )


# Each of the three is linear in both arrays, and the gradients of each are the other two: the chain rule closes.


def _convolve_backward(how: Window, kept: Any, dy: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = kept
    return input_gradient(dy, kernel, x.shape, how), kernel_gradient(x, dy, kernel.shape, how)


def _input_gradient_backward(shape: Any, how: Window, kept: Any, dx: jax.Array) -> tuple[jax.Array, jax.Array]:
    dy, kernel = kept
    return convolve(dx, kernel, how), kernel_gradient(dx, dy, kernel.shape, how)


def _kernel_gradient_backward(shape: Any, how: Window, kept: Any, dw: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, dy = kept
    return input_gradient(dy, dw, x.shape, how), convolve(x, dw, how)


convolve.defvjp(lambda x, kernel, how: (convolve(x, kernel, how), (x, kernel)), _convolve_backward)
input_gradient.defvjp(lambda dy, w, shape, how: (input_gradient(dy, w, shape, how), (dy, w)), _input_gradient_backward)
kernel_gradient.defvjp(
    lambda x, dy, shape, how: (kernel_gradient(x, dy, shape, how), (x, dy)), _kernel_gradient_backward
)


def _lowest(x: jax.Array) -> Any:
    return jnp.asarray(-jnp.inf, x.dtype)


def _plain_max(x: jax.Array, window: tuple[int, ...], how: Window) -> jax.Array:
    padding = ((0, 0), *how.pads, (0, 0))
    y: jax.Array = lax.reduce_window(x, -jnp.inf, lax.max, (1, *window, 1), (1, *how.stride, 1), padding)
    return y


def _views(x: jax.Array, window: tuple[int, ...], how: Window) -> list[jax.Array]:
    """As :func:`_shifted`, with padding that never wins."""
    if any(map(any, how.pads)):
        x = lax.pad(x, _lowest(x), [(0, 0, 0), *((*pad, 0) for pad in how.pads), (0, 0, 0)])
    return _shifted(x, window, dataclasses.replace(how, pads=((0, 0),) * len(window)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def max_pool(x: jax.Array, window: tuple[int, ...], how: Window) -> jax.Array:
    """``y[n, q, c] = max_k x[n, stride·q + k − before, c]``; padding never wins.

    The error goes to the first position of the window, in row order, that holds the maximum (as in PyTorch and XLA).
    On a CPU both directions are elementwise code over strided slices instead of ``reduce_window`` and
    ``select_and_scatter``.

    Args:
        x: ``(batch, *spatial, channels)``.
        window: its size along each spatial axis.
        how: stride and padding.
    """
    y: jax.Array = lax.platform_dependent(
        x,
        cpu=lambda x: functools.reduce(jnp.maximum, _views(x, window, how)),
        default=lambda x: _plain_max(x, window, how),
    )
    return y


def _max_pool_forward(x: jax.Array, window: tuple[int, ...], how: Window) -> tuple[jax.Array, Any]:
    # The winner is found again by its value: without the barrier XLA may compute ``x`` twice, rounded otherwise, and find none.
    x = lax.optimization_barrier(x)
    y = max_pool(x, window, how)
    return y, (x, y)


def _max_pool_backward(window: tuple[int, ...], how: Window, kept: Any, dy: jax.Array) -> tuple[jax.Array]:
    return (
        lax.platform_dependent(
            *kept,
            dy,
            cpu=lambda x, y, dy: to_first_winner(x, y, dy, window, how),
            default=lambda x, y, dy: jax.vjp(lambda x: _plain_max(x, window, how), x)[1](dy)[0],
        ),
    )


def to_first_winner(x: jax.Array, y: jax.Array, dy: jax.Array, window: tuple[int, ...], how: Window) -> jax.Array:
    """The gradient of :func:`max_pool`: all of ``dy`` to the first position of each window, in row order, that holds ``y``."""
    open_ = jnp.ones(y.shape, bool)  # where no earlier position of the window has won
    shares = []
    for seen in _views(x, window, how):
        wins = open_ & (seen == y)
        shares.append(jnp.where(wins, dy, jnp.zeros_like(dy)))
        open_ = open_ & ~wins
    if window == how.stride and not any(map(any, how.pads)):
        return _tiles(shares, x.shape, window)
    # Windows overlap: transposing the slices adds their shares up.
    back = jax.linear_transpose(lambda x: _shifted(x, window, dataclasses.replace(how, dilation=(1,) * len(window))), x)
    dx: jax.Array = back(shares)[0]
    return dx


def _tiles(shares: list[jax.Array], shape: tuple[int, ...], window: tuple[int, ...]) -> jax.Array:
    """The shares laid side by side, as windows that do not overlap tile the input."""
    rank, one = len(window), shares[0].shape
    stacked = jnp.stack(shares).reshape(*window, *one)
    # (window axes, batch, out axes, channels) to (batch, out, window, out, window, ..., channels)
    order = [rank, *itertools.chain.from_iterable((rank + 1 + i, i) for i in range(rank)), 2 * rank + 1]
    tiled = [n * k for n, k in zip(one[1:-1], window, strict=True)]
    whole = stacked.transpose(order).reshape(one[0], *tiled, one[-1])  # (batch, *(out · window), channels)
    rest = [(0, n - t) for n, t in zip(shape[1:-1], tiled, strict=True)]
    return jnp.pad(whole, ((0, 0), *rest, (0, 0)))


max_pool.defvjp(_max_pool_forward, _max_pool_backward)
