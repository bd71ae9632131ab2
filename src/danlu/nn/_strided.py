"""How a window moves over spatial axes; and a convolution with a stride as one without, on blocks of its size."""

from __future__ import annotations

import dataclasses
import itertools

import jax
import jax.numpy as jnp
from jax import lax

__all__ = ["Pads", "Window", "by_blocks", "in_blocks", "kernel_in_blocks", "shifted"]

Pads = tuple[tuple[int, int], ...]


@dataclasses.dataclass(frozen=True)
class Window:
    """How a window moves over the spatial axes: one entry an axis, ``pads`` as (before, after)."""

    stride: tuple[int, ...]
    pads: Pads
    dilation: tuple[int, ...]
    groups: int = 1

    @classmethod
    def dense(cls, rank: int) -> Window:
        """Every place, without padding."""
        return cls((1,) * rank, ((0, 0),) * rank, (1,) * rank)

    def out(self, spatial: tuple[int, ...], window: tuple[int, ...]) -> tuple[int, ...]:
        """The sizes of the output: ``⌊(n + before + after − dilation·(k − 1) − 1)/stride⌋ + 1``."""
        axes = zip(spatial, window, self.stride, self.pads, self.dilation, strict=True)
        return tuple((n + sum(pad) - d * (k - 1) - 1) // s + 1 for n, k, s, pad, d in axes)


def shifted(x: jax.Array, window: tuple[int, ...], how: Window) -> list[jax.Array]:
    """What each position of the window sees, in order: strided slices of the padded ``x``, ``(batch, *out, channels)``."""
    out = how.out(x.shape[1:-1], tuple(window))
    padded = jnp.pad(x, ((0, 0), *how.pads, (0, 0))) if any(map(any, how.pads)) else x
    return [_slice(padded, place, out, how) for place in itertools.product(*map(range, window))]


def _slice(padded: jax.Array, place: tuple[int, ...], out: tuple[int, ...], how: Window) -> jax.Array:
    start = [p * d for p, d in zip(place, how.dilation, strict=True)]
    stop = [a + (n - 1) * s + 1 for a, n, s in zip(start, out, how.stride, strict=True)]
    ends = (padded.shape[0], *stop, padded.shape[-1])
    return lax.slice(padded, (0, *start, 0), ends, (1, *how.stride, 1))


def by_blocks(shape: tuple[int, ...], how: Window) -> bool:
    """Whether a convolution has a stride, and each of its windows is made of whole blocks of the stride's size."""
    strided = any(step > 1 for step in how.stride) and how.groups == 1 and all(d == 1 for d in how.dilation)
    return strided and all(k % s == 0 for k, s in zip(shape[:-2], how.stride, strict=True))


def in_blocks(x: jax.Array, window: tuple[int, ...], how: Window) -> jax.Array:
    """What the windows see of ``x``, padded, with the places of a block as channels: ``(batch, *blocks, block·channels)``.

    With the kernel of :func:`kernel_in_blocks`, a convolution with step 1 and without padding is that of ``x``.

    Example:
        >>> how = Window((2,), ((1, 1),), (1,))
        >>> in_blocks(jnp.array([[[1.0], [2.0], [3.0], [4.0]]]), (2,), how).tolist()
        [[[0.0, 1.0], [2.0, 3.0], [4.0, 0.0]]]
    """
    around = [(0, 0, 0)]
    for n, k, s, (before, _), out in zip(
        x.shape[1:-1], window, how.stride, how.pads, how.out(x.shape[1:-1], window), strict=True
    ):
        around.append((before, (out - 1) * s + k - n - before, 0))  # to the end of the last window
    padded = lax.pad(x, jnp.zeros((), x.dtype), [*around, (0, 0, 0)])
    return _blocks(padded, 1, how.stride)


def kernel_in_blocks(kernel: jax.Array, how: Window) -> jax.Array:
    """A kernel for blocks: ``(*window, channels, features)`` to ``(*window // stride, block·channels, features)``."""
    return _blocks(kernel, 0, how.stride)


def _blocks(x: jax.Array, first: int, stride: tuple[int, ...]) -> jax.Array:
    """Each axis from ``first`` on divided by its stride, what is within a block moved to the channels after them."""
    rank, shape = len(stride), list(x.shape[:first])
    for n, s in zip(x.shape[first : first + rank], stride, strict=True):
        shape += [n // s, s]
    rest = x.shape[first + rank :]
    blocks = [first + 2 * axis for axis in range(rank)]
    order = [
        *range(first),
        *blocks,
        *(axis + 1 for axis in blocks),
        *range(first + 2 * rank, first + 2 * rank + len(rest)),
    ]
    apart = x.reshape(*shape, *rest).transpose(order)  # (…, *blocks, *block, channels, …)
    return lax.collapse(apart, first + rank, first + 2 * rank + 1)
