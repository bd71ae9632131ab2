"""Convolution with the backward pass written out, quick where XLA's CPU code is slow.

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
  a stride that divides    blocks of the stride's size as channels     4 times, the input gradient more than 10
  the window               (a step of 1, no zeros between elements)
  under ``vmap``           a kernel for all: one larger batch; else    2.5 times
                           one member after another (a batched kernel
                           would become a grouped convolution)
  gradients of single      patches of all, one product an image        2.5 times
  images by ``vmap``
  =======================  ==========================================  ========================================

All are ``jax.custom_vjp``: reverse mode to any order and ``vmap`` work, forward mode (``jax.jvp``) does not.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from danlu.nn._precision import wide_type, widened
from danlu.nn._strided import Pads, Window, by_blocks, in_blocks, kernel_in_blocks, shifted

__all__ = ["Pads", "Window", "convolve", "input_gradient", "kernel_gradient"]

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


def dimension_numbers(rank: int) -> tuple[str, str, str]:
    """Channels last: ``N…C`` for arrays, ``…IO`` for kernels."""
    axes = "DHW"[3 - rank :]
    return f"N{axes}C", f"{axes}IO", f"N{axes}C"


def _patches(x: jax.Array, window: tuple[int, ...], how: Window) -> jax.Array:
    """All that the window sees at each of its places, ``(batch, *out, taps·channels)``: an axis at a time, for long copies."""
    seen = jnp.pad(x, ((0, 0), *how.pads, (0, 0))) if any(map(any, how.pads)) else x
    out = how.out(x.shape[1:-1], window)
    for axis in reversed(range(len(window))):
        n, k, s, d = out[axis], window[axis], how.stride[axis], how.dilation[axis]
        starts = [place * d for place in range(k)]
        parts = [lax.slice_in_dim(seen, at, at + (n - 1) * s + 1, s, axis=axis + 1) for at in starts]
        seen = jnp.concatenate(parts, axis=-1)
    return seen


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
        seen = shifted(x, window, how)
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
        return jnp.stack([jnp.sum(part * dy, axes) for part in shifted(x, window, how)]).reshape(
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
    if by_blocks(kernel.shape, how):
        blocks = in_blocks(x, kernel.shape[:-2], how)
        return _forward_on_cpu(blocks, kernel_in_blocks(kernel, how), Window.dense(x.ndim - 2))
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
    shape = (dy.shape[0], *shape[1:])  # members of a vmap are rows of one batch
    if _is_depthwise(kernel.shape, how):
        return _input_gradient(_depthwise, dy, kernel, shape, how)
    if how.groups > 1:
        return _input_gradient(_plain, dy, kernel, shape, how)
    if by_blocks(kernel.shape, how):
        x = jax.ShapeDtypeStruct(shape, dy.dtype)
        blocks = jax.eval_shape(lambda x: in_blocks(x, kernel.shape[:-2], how), x).shape
        of_blocks = _input_gradient_on_cpu(dy, kernel_in_blocks(kernel, how), blocks, Window.dense(dy.ndim - 2))
        return jnp.asarray(jax.linear_transpose(lambda x: in_blocks(x, kernel.shape[:-2], how), x)(of_blocks)[0])
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
    if by_blocks(shape, how):
        blocks, back = _to_and_from_blocks(shape, how, x.dtype)
        return back(_kernel_gradient_on_cpu(in_blocks(x, window, how), dy, blocks, Window.dense(x.ndim - 2)))
    if how.groups > 1 or x.shape[0] == 0:
        return _kernel_gradient(x, dy, shape, how)
    parts = _a_few(x, dy, taps * channels)

    def add(total: jax.Array, part: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
        # (positions, taps·channels)
        seen = _patches(part[0], window, how).reshape(-1, taps * channels)
        of_outputs = part[1].reshape(-1, dy.shape[-1]).T  # (outputs, positions)
        product = jnp.matmul(of_outputs, seen, preferred_element_type=total.dtype)
        return total + product, None

    total, _ = lax.scan(add, jnp.zeros((dy.shape[-1], taps * channels), wide_type(dy.dtype)), parts)
    return total.astype(dy.dtype).T.reshape(shape)


def _a_few(x: jax.Array, dy: jax.Array, seen: int) -> tuple[jax.Array, ...]:
    """Both in parts of a few images, whose patches of ``seen`` numbers a place stay in the caches: ``(parts, images, …)``."""
    most = max(1, _PATCH_BYTES // (seen * math.prod(dy.shape[1:-1]) * x.dtype.itemsize))
    images = max(n for n in range(1, min(most, x.shape[0]) + 1) if x.shape[0] % n == 0)
    return tuple(a.reshape(-1, images, *a.shape[1:]) for a in (x, dy))  # (parts, images, *spatial, channels)


def _to_and_from_blocks(
    shape: tuple[int, ...], how: Window, dtype: Any
) -> tuple[Any, Callable[[jax.Array], jax.Array]]:
    """The shape of a kernel in blocks, and the way back of what has it."""
    kernel = jax.ShapeDtypeStruct(shape, dtype)
    back = jax.linear_transpose(lambda kernel: kernel_in_blocks(kernel, how), kernel)
    return jax.eval_shape(lambda kernel: kernel_in_blocks(kernel, how), kernel).shape, lambda blocks: back(blocks)[0]


def _kernel_gradient_of_each(x: jax.Array, dy: jax.Array, shape: tuple[int, ...], how: Window) -> jax.Array:
    """The weight gradient of each image alone, ``(images, *shape)``: a matrix product an image."""
    if by_blocks(shape, how):
        blocks, back = _to_and_from_blocks(shape, how, x.dtype)
        of_blocks = _kernel_gradient_of_each(in_blocks(x, shape[:-2], how), dy, blocks, Window.dense(x.ndim - 2))
        return jnp.asarray(jax.vmap(back)(of_blocks))
    taps = math.prod(shape[:-1])

    def some(part: tuple[jax.Array, ...]) -> jax.Array:
        seen = _patches(part[0], shape[:-2], how).reshape(
            part[0].shape[0], -1, taps
        )  # (images, positions, taps·channels)
        of_outputs = part[1].reshape(part[1].shape[0], -1, shape[-1])  # (images, positions, outputs)
        return jnp.einsum("npk,npo->nko", seen, of_outputs)

    own: jax.Array = lax.map(some, _a_few(x, dy, taps))  # (parts, images, taps·channels, outputs)
    return own.reshape(-1, *shape)


def _on_platform(cpu: Callable[..., jax.Array], other: Callable[..., jax.Array], *arrays: Any) -> jax.Array:
    """``cpu`` there, ``other`` elsewhere."""
    y: jax.Array = lax.platform_dependent(*arrays, cpu=cpu, default=other)
    return y


def _members(
    cpu: Callable[..., jax.Array], quick: Callable[[Sequence[bool], jax.Array, jax.Array], jax.Array | None]
) -> Callable[..., jax.Array]:
    """``cpu`` of two arrays, whose members under ``vmap`` go by ``quick`` where that gives something, else one after another."""
    one = jax.custom_batching.custom_vmap(cpu)

    @one.def_vmap
    def _(count: int, batched: Sequence[bool], *arrays: jax.Array) -> tuple[jax.Array, bool]:
        found = quick(batched, *arrays)
        return (_one_by_one(one, count, batched, arrays) if found is None else found), True

    return one


def _one_by_one(
    one: Callable[..., jax.Array], count: int, batched: Sequence[bool], arrays: Sequence[jax.Array]
) -> jax.Array:
    def member(number: jax.Array) -> jax.Array:
        return one(*(a[number] if own else a for a, own in zip(arrays, batched, strict=True)))

    y: jax.Array = lax.map(member, jnp.arange(count))
    return y


def _as_one_batch(cpu: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """``cpu`` of a batch and a kernel; members that share the kernel are one larger batch."""

    def quick(batched: Sequence[bool], x: jax.Array, kernel: jax.Array) -> jax.Array | None:
        if batched[1]:
            return None
        y = one(x.reshape(-1, *x.shape[2:]), kernel)  # (members·batch, …)
        return y.reshape(*x.shape[:2], *y.shape[1:])  # (members, batch, …)

    one = _members(cpu, quick)
    return one


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
    cpu = _as_one_batch(lambda x, kernel: _forward_on_cpu(x, kernel, how))
    return _on_platform(cpu, lambda x, kernel: _plain(x, kernel, how), x, kernel)


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
    cpu = _as_one_batch(lambda dy, kernel: _input_gradient_on_cpu(dy, kernel, shape, how))
    return _on_platform(cpu, lambda dy, kernel: _input_gradient(_plain, dy, kernel, shape, how), dy, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def kernel_gradient(x: jax.Array, dy: jax.Array, shape: tuple[int, ...], how: Window) -> jax.Array:
    """``∂L/∂W[k, c, o] = Σ_{n, q} x[n, stride·q + dilation·k − before, c]·dy[n, q, o]``; ``shape`` is the kernel's."""

    def quick(batched: Sequence[bool], x: jax.Array, dy: jax.Array) -> jax.Array | None:
        single = all(batched) and x.shape[1] == 1 and how.groups == 1
        return _kernel_gradient_of_each(x[:, 0], dy[:, 0], shape, how) if single else None

    cpu = _members(lambda x, dy: _kernel_gradient_on_cpu(x, dy, shape, how), quick)
    return _on_platform(cpu, lambda x, dy: _kernel_gradient(x, dy, shape, how), x, dy)


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
