"""Max-pooling with the backward pass written out: on a CPU a maximum of strided slices, where XLA's own code is slow.

2×2: 1.5 times as fast, backward 50 times (one core of an AVX-512 machine, float32, JAX 0.10).
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from danlu.nn._strided import Window, shifted

__all__ = ["max_pool", "to_first_winner"]


def _lowest(x: jax.Array) -> Any:
    return jnp.asarray(-jnp.inf, x.dtype)


def _plain_max(x: jax.Array, window: tuple[int, ...], how: Window) -> jax.Array:
    padding = ((0, 0), *how.pads, (0, 0))
    y: jax.Array = lax.reduce_window(x, -jnp.inf, lax.max, (1, *window, 1), (1, *how.stride, 1), padding)
    return y


def _views(x: jax.Array, window: tuple[int, ...], how: Window) -> list[jax.Array]:
    """As :func:`shifted`, with padding that never wins."""
    if any(map(any, how.pads)):
        x = lax.pad(x, _lowest(x), [(0, 0, 0), *((*pad, 0) for pad in how.pads), (0, 0, 0)])
    return shifted(x, window, dataclasses.replace(how, pads=((0, 0),) * len(window)))


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
    back = jax.linear_transpose(lambda x: shifted(x, window, dataclasses.replace(how, dilation=(1,) * len(window))), x)
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
