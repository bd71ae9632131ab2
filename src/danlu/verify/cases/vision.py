"""Ready networks for images, layer after layer in NumPy by the papers' figures, and the tail of those for sequences."""

from __future__ import annotations

import itertools
from typing import Any

import jax.numpy as jnp
import numpy as np

from danlu.nn import ConvNeXt, LeNet, MaxOverTime, UNet, ZeroPadding
from danlu.verify.case import Check, case
from danlu.verify.cases.attention import gelu
from danlu.verify.cases.composites import affine, output, started
from danlu.verify.cases.convolution import windows
from danlu.verify.oracles import draw

__all__: list[str] = []


def convolved(p: Any, x: Any, stride: int = 1, pad: int = 0) -> Any:
    seen = windows(x, p["kernel"].shape[0], stride, pad)
    return np.einsum("nijklc,klco->nijo", seen, p["kernel"]) + p["bias"]


def pooled(x: Any) -> Any:
    return windows(x, 2, 2).max((3, 4))


def normed(p: Any, x: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * p["scale"] + p["bias"]


@case("model.LeNet")
def lenet(check: Check) -> None:
    net, x = LeNet(3, "tanh"), draw(2, 12, 12, 1)
    params, state, p = started(net, (12, 12, 1))
    h = pooled(np.tanh(convolved(p[0], x, pad=2)))
    h = pooled(np.tanh(convolved(p[2], h))).reshape(2, -1)
    expected = affine(p[7], np.tanh(affine(p[6], np.tanh(affine(p[5], h)))))
    check(output(net, params, state, jnp.asarray(x, jnp.float32)), expected, floor=1.0)


@case("model.ConvNeXt")
def convnext(check: Check) -> None:
    net, x = ConvNeXt(3, (1, 1), (4, 8), patch=2, scale=0.5), draw(2, 8, 8, 1)
    params, state, p = started(net, (8, 8, 1))

    def block(p: Any, h: Any) -> Any:
        wide = np.einsum("nijklc,klc->nijc", windows(h, 7, 1, 3), p[0]["kernel"][:, :, 0]) + p[0]["bias"]
        return h + affine(p[3], gelu(affine(p[2], normed(p[1], wide)), tanh=False)) * p[4]["scale"]

    h = block(p[1][0][0], normed(p[0][1], convolved(p[0][0], x, 2)))
    h = block(p[3][0][0], convolved(p[2][1], normed(p[2][0], h), 2))
    expected = affine(p[6], normed(p[5], h.mean((1, 2))))
    check(output(net, params, state, jnp.asarray(x, jnp.float32)), expected, floor=0.1)


@case("model.UNet")
def unet(check: Check) -> None:
    net, x = UNet(3, (4, 8), "none"), draw(2, 4, 4, 1)
    params, state, p = started(net, (4, 4, 1))

    def pair(first: Any, second: Any, h: Any) -> Any:
        return np.maximum(convolved(second, np.maximum(convolved(first, h, pad=1), 0), pad=1), 0)

    level, last = p
    high = pair(level[0], level[1], x)
    _, inner, up = level[2][1]
    low = pair(inner[0], inner[1], pooled(high))
    risen = np.zeros((2, 4, 4, 4)) + up["bias"]
    for i, j, k, m in itertools.product(range(2), repeat=4):
        risen[:, 2 * i + k, 2 * j + m] += low[:, i, j] @ up["kernel"][k, m]
    h = pair(level[3], level[4], np.concatenate([high, risen], axis=-1))
    expected = convolved(last, h)
    # Sums of large terms of both signs: an output near 0 has the rounding of the largest.
    check(output(net, params, state, jnp.asarray(x, jnp.float32)), expected, floor=float(np.abs(expected).max()))


@case("layer.MaxOverTime")
def max_over_time(check: Check) -> None:
    x, real = draw(3, 5, 2), np.arange(5) < np.array([[5], [2], [0]])
    given = {"x": jnp.asarray(x, jnp.float32), "mask": jnp.asarray(real)}
    largest = np.stack([x[0].max(0), x[1, :2].max(0), np.zeros(2)])
    check(output(MaxOverTime(), {}, {}, given), largest)
    check(output(ZeroPadding(), {}, {}, given)["x"], np.where(real[:, :, None], x, 0))
