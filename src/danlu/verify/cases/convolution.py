"""Layers over spatial axes: output and gradients against NumPy in float64, its finite differences, and PyTorch."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.nn.backprop.rules import LAYER_RULES
from danlu.nn.backprop.visit import Visit
from danlu.nn.conv import Conv, ConvTranspose
from danlu.nn.embedding import Embedding
from danlu.nn.group_norm import GroupNorm
from danlu.nn.layer import Layer
from danlu.nn.pool import AdaptiveAveragePool, AveragePool, GlobalAveragePool, GlobalMaxPool, MaxPool
from danlu.nn.squeeze_excite import SqueezeExcite
from danlu.nn.vision.convnext import LayerScale
from danlu.verify.case import Check, case
from danlu.verify.cases.layers import compare, single
from danlu.verify.oracles import draw, finite_difference

__all__: list[str] = []

X = draw(2, 5, 4, 2)


def windows(x: Any, size: int, stride: int, pad: int = 0, dilation: int = 1, *, fill: float = 0.0) -> Any:
    """What the windows of an image see, ``(batch, out, out, size, size, channels)``, one by one."""
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)), constant_values=fill)
    span = dilation * (size - 1) + 1
    rows, columns = ((n - span) // stride + 1 for n in padded.shape[1:3])
    out = np.zeros((x.shape[0], rows, columns, size, size, x.shape[-1]))
    for i, j in itertools.product(range(rows), range(columns)):
        top, left = i * stride, j * stride
        out[:, i, j] = padded[:, top : top + span : dilation, left : left + span : dilation]
    return out


def first(torch: Any, x: Any) -> Any:
    """Channels first."""
    return torch.movedim(x, -1, 1)


def last(torch: Any, x: Any) -> Any:
    """Channels last."""
    return torch.movedim(x, 1, -1)


@case("layer.Conv")
def conv(check: Check) -> None:
    params = {"kernel": 0.25 * draw(3, 3, 2, 3, seed=1), "bias": draw(3, seed=2)}
    for stride, padding, dilation in ((1, 0, 1), (2, 1, 1), (1, 2, 2)):

        def formula(p: Any, x: Any, how: Any = (stride, padding, dilation)) -> Any:
            return np.tanh(np.einsum("nijklc,klco->nijo", windows(x, 3, *how), p["kernel"]) + p["bias"])

        def theirs(torch: Any, p: Any, x: Any, how: Any = (stride, padding, dilation)) -> Any:
            kernel = p["kernel"].permute(3, 2, 0, 1)
            return torch.tanh(last(torch, torch.nn.functional.conv2d(first(torch, x), kernel, p["bias"], *how)))

        layer = Conv(3, 3, stride, padding, dilation, activation="tanh")
        compare(check, layer, params, formula, x=X, torch=theirs)


def depthwise_formula(how: tuple[int, ...], p: Any, x: Any) -> Any:
    return np.einsum("nijklc,klc->nijc", windows(x, *how), p["kernel"][:, :, 0])


def depthwise_torch(how: tuple[int, ...], torch: Any, p: Any, x: Any) -> Any:
    kernel, (_, stride, pad) = p["kernel"].permute(3, 2, 0, 1), how
    return last(torch, torch.nn.functional.conv2d(first(torch, x), kernel, None, stride, pad, groups=2))


@case("layer.DepthwiseConv")
def depthwise(check: Check) -> None:
    for how in ((3, 2, 1), (5, 1, 2)):
        layer = Conv(2, *how, groups=2, use_bias=False)
        params = {"kernel": draw(how[0], how[0], 1, 2, seed=1)}
        torch = partial(depthwise_torch, how)
        compare(check, layer, params, partial(depthwise_formula, how), x=X, torch=torch)


@case("layer.ConvTranspose")
def conv_transpose(check: Check) -> None:
    def formula(p: Any, x: Any) -> Any:
        y = np.zeros((x.shape[0], 2 * x.shape[1] + 1, 2 * x.shape[2] + 1, 3)) + p["bias"]
        for i, j, k, m in itertools.product(*map(range, (*x.shape[1:3], 3, 3))):
            y[:, 2 * i + k, 2 * j + m] += x[:, i, j] @ p["kernel"][k, m]
        return y

    compare(
        check,
        ConvTranspose(3, 3, 2, "valid"),
        {"kernel": draw(3, 3, 2, 3, seed=1), "bias": draw(3, seed=2)},
        formula,
        x=draw(2, 3, 2, 2),
        torch=lambda torch, p, x: last(
            torch,
            torch.nn.functional.conv_transpose2d(first(torch, x), p["kernel"].permute(2, 3, 0, 1), p["bias"], 2),
        ),
    )


def maxima(how: tuple[int, int, int], p: Any, x: Any) -> Any:
    return windows(x, *how, fill=-np.inf).max((3, 4))


def maxima_torch(how: tuple[int, int, int], torch: Any, p: Any, x: Any) -> Any:
    return last(torch, torch.nn.functional.max_pool2d(first(torch, x), *how))


@case("layer.MaxPool")
def max_pool(check: Check) -> None:
    for how in ((2, 2, 0), (3, 2, 1)):
        compare(check, MaxPool(*how), {}, partial(maxima, how), x=X, torch=partial(maxima_torch, how))


def means(how: tuple[int, int, int], p: Any, x: Any) -> Any:
    return windows(x, *how).sum((3, 4)) / windows(np.ones_like(x), *how).sum((3, 4))


def means_torch(how: tuple[int, int, int], torch: Any, p: Any, x: Any) -> Any:
    return last(torch, torch.nn.functional.avg_pool2d(first(torch, x), *how, count_include_pad=False))


@case("layer.AveragePool")
def average_pool(check: Check) -> None:
    for how in ((2, 2, 0), (3, 2, 1)):
        compare(check, AveragePool(*how), {}, partial(means, how), x=X, torch=partial(means_torch, how))


@case("layer.sums_in_bfloat16", tolerance=2**-8, reason="the last digit of a number with 8 bits")
def sums_in_bfloat16(check: Check) -> None:
    """Means of thousands of equal values, and the gradients of a bias, a gate and a table row that thousands of places share."""
    x = jnp.full((1, 90, 90, 1), 3.0, jnp.bfloat16)
    for pool in (AveragePool(80, stride=1), AveragePool(90), GlobalAveragePool(), AdaptiveAveragePool(1)):
        y, _ = pool.apply({}, {}, x)
        check(y, np.full(y.shape, 3.0))

    def total(params: Any, layer: Layer, x: Any) -> Any:
        return jnp.sum(layer.apply(params, {}, x)[0].astype(jnp.float32))

    kernel = {"kernel": jnp.ones((1, 1, 1, 1), jnp.bfloat16), "bias": jnp.zeros(1, jnp.bfloat16)}
    slope = jax.jit(jax.grad(total), static_argnums=1)(kernel, Conv(1, 1), x)
    check(slope["bias"], np.array([8100.0]))
    check(slope["kernel"], np.full((1, 1, 1, 1), 3 * 8100.0))
    table = {"table": jnp.zeros((2, 1), jnp.bfloat16)}
    slope = jax.jit(jax.grad(total), static_argnums=1)(table, Embedding(2, 1), jnp.zeros((90, 90), jnp.int32))
    check(slope["table"], np.array([[8100.0], [0.0]]))


@case("layer.AdaptiveAveragePool")
def adaptive_average_pool(check: Check) -> None:
    def formula(p: Any, x: Any) -> Any:
        edges = [[(i * n // 3, -(-(i + 1) * n // 3)) for i in range(3)] for n in x.shape[1:3]]
        rows = [[x[:, a:b, c:d].mean((1, 2)) for c, d in edges[1]] for a, b in edges[0]]
        return np.stack([np.stack(row, 1) for row in rows], 1)

    def theirs(torch: Any, p: Any, x: Any) -> Any:
        return last(torch, torch.nn.functional.adaptive_avg_pool2d(first(torch, x), 3))

    compare(check, AdaptiveAveragePool(3), {}, formula, x=X, torch=theirs)


@case("layer.GlobalAveragePool")
def global_average_pool(check: Check) -> None:
    compare(check, GlobalAveragePool(), {}, lambda p, x: x.mean((1, 2)), x=X, torch=lambda torch, p, x: x.mean((1, 2)))


@case("layer.GlobalMaxPool")
def global_max_pool(check: Check) -> None:
    compare(check, GlobalMaxPool(), {}, lambda p, x: x.max((1, 2)), x=X, torch=lambda torch, p, x: x.amax((1, 2)))


@case("layer.GroupNorm")
def group_norm(check: Check) -> None:
    x = draw(2, 3, 2, 6)
    params = {"scale": draw(6, seed=1), "bias": draw(6, seed=2)}
    for groups in (2, None):

        def formula(p: Any, x: Any, groups: int = groups or 6) -> Any:
            parts = x.reshape(2, 6, groups, -1)
            centred = parts - parts.mean((1, 3), keepdims=True)
            normal = centred / np.sqrt((centred**2).mean((1, 3), keepdims=True) + 1e-5)
            return normal.reshape(x.shape) * p["scale"] + p["bias"]

        def theirs(torch: Any, p: Any, x: Any, groups: int = groups or 6) -> Any:
            return last(torch, torch.nn.functional.group_norm(first(torch, x), groups, p["scale"], p["bias"]))

        compare(check, GroupNorm(groups), params, formula, x=x, torch=theirs)


@case("layer.SqueezeExcite")
def squeeze_excite(check: Check) -> None:
    """Its params are a tuple, so the comparison names each array."""
    weights = {"w1": draw(4, 2, seed=1), "b1": draw(2, seed=2), "w2": draw(2, 4, seed=3), "b2": draw(4, seed=4)}
    x, layer = draw(2, 3, 2, 4), SqueezeExcite(2, "tanh")

    def formula(p: Any, x: Any) -> Any:
        hidden = np.tanh(x.mean((1, 2)) @ p["w1"] + p["b1"])
        return x / (1 + np.exp(-(hidden @ p["w2"] + p["b2"])))[:, None, None]

    _compare_tuple(check, layer, weights, formula, x)


def _compare_tuple(check: Check, layer: Layer, weights: dict[str, Any], formula: Any, x: Any) -> None:
    def tree(p: dict[str, Any]) -> Any:
        return {}, {"kernel": p["w1"], "bias": p["b1"]}, {"kernel": p["w2"], "bias": p["b2"]}

    _, state, _ = layer.init(jax.random.key(0), x.shape[1:])
    dy = draw(*x.shape, seed=9)

    @jax.jit
    def run(params: Any, x: Any, dy: Any) -> Any:
        y, back = jax.vjp(lambda params, x: layer.apply(params, state, x)[0], params, x)
        return y, back(dy), LAYER_RULES[type(layer)](Visit(layer, params, state, x, y, True, None), dy)

    y, (by_params, by_x), (rule_by_x, rule_by_params) = run(single(tree(weights)), single(x), single(dy))
    check(y, formula(weights, x), floor=0.1)

    def weighted(name: str, value: Any) -> float:
        return float((formula({**weights, name: value}, x) * dy).sum())

    numeric = {name: finite_difference(partial(weighted, name), value) for name, value in weights.items()}
    for found in (by_params, rule_by_params):
        for got, want in zip(jax.tree.leaves(found), jax.tree.leaves(tree(numeric)), strict=True):
            check(got, want, oracle="finite differences", floor=0.1)
    numeric_x = finite_difference(lambda x: float((formula(weights, x) * dy).sum()), x)
    for got in (by_x, rule_by_x):
        check(got, numeric_x, oracle="finite differences", floor=0.1)


@case("layer.LayerScale")
def layer_scale(check: Check) -> None:
    params = {"scale": draw(2, seed=1)}
    compare(check, LayerScale(), params, lambda p, x: x * p["scale"], x=X, torch=lambda torch, p, x: x * p["scale"])
