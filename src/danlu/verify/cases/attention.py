"""Attention and Transformers: against NumPy in float64 by hand, its finite differences, and PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.nn import (
    BERT,
    GPT,
    FeedForward,
    LearnedPositions,
    MultiHeadAttention,
    RMSNorm,
    SinusoidalPositions,
    SwiGLU,
    Transformer,
    ViT,
    cached_step,
    init_cache,
)
from danlu.nn.transformer.generate import sample, top_k_logits, top_p_logits
from danlu.verify.case import Check, case
from danlu.verify.cases.composites import output, started
from danlu.verify.cases.layers import compare, single
from danlu.verify.oracles import draw

__all__: list[str] = []

X = draw(2, 4, 6)


def softmax(z: Any) -> Any:
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def layer_norm(p: Any, x: Any, epsilon: float = 1e-5) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon) * p["scale"] + p["bias"]


def rms_norm(p: Any, x: Any) -> Any:
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * p["scale"]


def gelu(x: Any, tanh: bool) -> Any:
    if tanh:
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / np.sqrt(2)))


def turned(x: Any, base: float) -> Any:
    """Rotary positions as complex numbers: ``(batch, time, d)``."""
    half = x.shape[-1] // 2
    angle = np.arange(x.shape[1])[:, None] * base ** (-np.arange(half) / half)
    z = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * angle)
    return np.concatenate([z.real, z.imag], -1)


def attention(
    p: Any, x: Any, *, heads: int, groups: int = 1, causal: bool = False, context: Any = None, base: float | None = None
) -> Any:
    """Head by head, query by query, as the formula reads."""
    source = x if context is None else context

    def product(name: str, a: Any) -> Any:
        return a @ p[name] + p.get(f"{name}_bias", 0)

    query, key, value = product("query", x), product("key", source), product("value", source)
    d, parts = query.shape[-1] // heads, []
    for head in range(heads):
        q = query[..., head * d : (head + 1) * d]
        k, v = (a[..., head // groups * d : (head // groups + 1) * d] for a in (key, value))
        if base is not None:
            q, k = turned(q, base), turned(k, base)
        out = np.zeros(q.shape)
        for t in range(x.shape[1]):
            seen = t + 1 if causal else source.shape[1]
            weights = softmax(np.einsum("bd,bsd->bs", q[:, t], k[:, :seen]) / np.sqrt(d))
            out[:, t] = np.einsum("bs,bsd->bd", weights, v[:, :seen])
        parts.append(out)
    return product("output", np.concatenate(parts, -1))


def random_params(layer: Any, in_shape: Any) -> Any:
    """Float64 values for a layer's parameters."""
    return started(layer, in_shape)[2]


@case("layer.MultiHeadAttention")
def multi_head_attention(check: Check) -> None:
    plain = MultiHeadAttention(2, causal=True)

    def in_torch(torch: Any, p: Any, x: Any) -> Any:
        def heads(name: str) -> Any:
            return (x @ p[name] + p[f"{name}_bias"]).view(2, 4, 2, 3).transpose(1, 2)

        attend = torch.nn.functional.scaled_dot_product_attention
        y = attend(heads("query"), heads("key"), heads("value"), is_causal=True)
        return y.transpose(1, 2).reshape(2, 4, 6) @ p["output"] + p["output_bias"]

    formula = partial(attention, heads=2, causal=True)
    compare(check, plain, random_params(plain, (4, 6)), formula, x=X, torch=in_torch)
    turning = MultiHeadAttention(3, num_kv_heads=1, rotary_base=50.0, bias="none")
    formula = partial(attention, heads=3, groups=3, base=50.0)
    compare(check, turning, random_params(turning, (4, 6)), formula, x=X)


@case("layer.RMSNorm")
def root_mean_square_norm(check: Check) -> None:
    def in_torch(torch: Any, p: Any, x: Any) -> Any:
        return torch.nn.functional.rms_norm(x, (6,), p["scale"], 1e-5)

    compare(check, RMSNorm(), {"scale": draw(6, seed=1)}, rms_norm, x=X, torch=in_torch)


def swiglu(p: Any, x: Any) -> Any:
    gate = x @ p["gate"]
    return (gate / (1 + np.exp(-gate)) * (x @ p["up"])) @ p["down"]


@case("layer.SwiGLU")
def gated(check: Check) -> None:
    layer = SwiGLU(5)
    compare(check, layer, random_params(layer, (4, 6)), swiglu, x=X)


def feed_forward(p: Any, x: Any, activation: Callable[[Any], Any]) -> Any:
    return activation(x @ p["up"] + p["up_bias"]) @ p["down"] + p["down_bias"]


@case("layer.FeedForward")
def between(check: Check) -> None:
    layer = FeedForward(5, "gelu_tanh")
    formula = partial(feed_forward, activation=partial(gelu, tanh=True))
    compare(check, layer, random_params(layer, (4, 6)), formula, x=X)


@case("layer.LearnedPositions")
def learned(check: Check) -> None:
    compare(check, LearnedPositions(5), {"table": draw(5, 6, seed=1)}, lambda p, x: x + p["table"][:4], x=X)


def waves(time: int, features: int) -> Any:
    angle = np.arange(time)[:, None] / 10000 ** (2 * (np.arange(features) // 2) / features)
    return np.where(np.arange(features) % 2 == 0, np.sin(angle), np.cos(angle))


@case("layer.SinusoidalPositions")
def sinusoidal(check: Check) -> None:
    compare(check, SinusoidalPositions(3.0), {}, lambda p, x: 3 * x + waves(4, 6), x=X)


CODES = np.array([[3, 1, 4, 1], [5, 9, 2, 6]])


def gpt2(p: Any, codes: Any, heads: int) -> Any:
    """GPT-2, line by line: ``p`` is danlu's tree for ``GPT(positions="learned")``."""
    table, body = p[0]["table"], p[1]
    x = table[codes] + body[0]["table"][: codes.shape[1]]
    for (norm1, own), (norm2, between) in body[1:-1]:
        x = x + attention(own, layer_norm(norm1, x), heads=heads, causal=True)
        x = x + feed_forward(between, layer_norm(norm2, x), partial(gelu, tanh=True))
    return layer_norm(body[-1][0], x) @ table.T


@case("model.GPT")
def gpt(check: Check) -> None:
    net = GPT(10, 8, dim=6, num_layers=2, num_heads=2)
    params, state, p = started(net, (4,))
    codes = jnp.asarray(CODES, jnp.int32)
    expected = gpt2(p, CODES, heads=2)
    check(output(net, params, state, codes), expected, floor=1.0)
    cache = init_cache(net, params, batch=2, length=4)
    step = jax.jit(partial(cached_step, net))
    first, cache = step(params, state, codes[:, :3], cache)
    last, _ = step(params, state, codes[:, 3:], cache)
    check(jnp.concatenate([first, last], axis=1), expected, floor=1.0)

    llama = GPT(
        10, 8, dim=6, num_layers=1, num_heads=3, num_kv_heads=1, hidden=5, positions="rotary", norm="rms",
        feed_forward="swiglu", bias="none", tied=False,
    )  # fmt: skip
    params, state, p = started(llama, (4,))
    x, ((norm1, own), (norm2, between)) = p[0][0]["table"][CODES], p[1]
    x = x + attention(own, rms_norm(norm1, x), heads=3, groups=3, causal=True, base=10000.0)
    x = x + swiglu(between, rms_norm(norm2, x))
    check(output(llama, params, state, codes), rms_norm(p[2][0], x) @ p[3][0]["kernel"], floor=1.0)


@case("model.BERT")
def bert(check: Check) -> None:
    net = BERT(10, 8, dim=6, num_layers=1, num_heads=2, head="class", outputs=3)
    params, state, p = started(net, {"x": (4,), "mask": (4,)})
    mask = np.array([[True] * 4, [True, True, False, False]])
    x = {"x": jnp.asarray(CODES, jnp.int32), "mask": jnp.asarray(mask)}
    rows = []
    for row in range(2):  # each alone, without its padding
        codes = CODES[row : row + 1, mask[row]]
        h = layer_norm(p[2][0], p[0][0]["table"][codes] + p[1]["table"][: codes.shape[1]], 1e-12)
        (norm1, own), (norm2, between) = p[3]
        h = layer_norm(norm1, h + attention(own, h, heads=2), 1e-12)
        h = layer_norm(norm2, h + feed_forward(between, h, partial(gelu, tanh=False)), 1e-12)
        h = np.tanh(h[:, 0] @ p[5]["kernel"] + p[5]["bias"])
        rows.append(h @ p[6]["kernel"] + p[6]["bias"])
    check(output(net, params, state, x), np.concatenate(rows), floor=1.0)


@case("model.Transformer")
def transformer(check: Check) -> None:
    net = Transformer(10, dim=6, num_layers=1, num_heads=2, hidden=5)
    source = np.array([[7, 0, 8], [2, 2, 5]])
    params, state, (encoder, decoder) = started(net, {"source": (3,), "target": (4,)})

    def relu(z: Any) -> Any:
        return np.maximum(z, 0)

    h = np.sqrt(6) * encoder[0][0]["table"][source] + waves(3, 6)
    (norm1, own), (norm2, between) = encoder[2]
    h = h + attention(own, layer_norm(norm1, h), heads=2)
    h = layer_norm(encoder[3][0], h + feed_forward(between, layer_norm(norm2, h), relu))
    table, body = decoder[0]["table"], decoder[1]
    y = np.sqrt(6) * table[CODES] + waves(4, 6)
    (norm1, own), (norm2, other), (norm3, between) = body[1]
    y = y + attention(own, layer_norm(norm1, y), heads=2, causal=True)
    y = y + attention(other, layer_norm(norm2, y), heads=2, context=h)
    y = layer_norm(body[2][0], y + feed_forward(between, layer_norm(norm3, y), relu))
    x = {"source": jnp.asarray(source, jnp.int32), "target": jnp.asarray(CODES, jnp.int32)}
    check(output(net, params, state, x), y @ table.T, floor=1.0)


@case("model.ViT")
def vit(check: Check) -> None:
    net = ViT(3, patch=2, dim=6, num_layers=1, num_heads=2, max_patches=7)
    images = draw(2, 4, 6, 2, seed=4)
    params, state, p = started(net, (4, 6, 2))
    patches = [images[:, i : i + 2, j : j + 2].reshape(2, -1) for i in (0, 2) for j in (0, 2, 4)]
    h = np.stack(patches, axis=1) @ p[1]["kernel"] + p[1]["bias"]
    h = np.concatenate([np.broadcast_to(p[2]["token"], (2, 1, 6)), h], axis=1) + p[3]["table"]
    (norm1, own), (norm2, between) = p[4]
    h = h + attention(own, layer_norm(norm1, h, 1e-6), heads=2)
    h = h + feed_forward(between, layer_norm(norm2, h, 1e-6), partial(gelu, tanh=False))
    expected = layer_norm(p[5], h, 1e-6)[:, 0] @ p[7]["kernel"] + p[7]["bias"]
    check(output(net, params, state, single(images)), expected, floor=1.0)


@case("sampling.top_k_and_top_p")
def cut(check: Check) -> None:
    logits = draw(5, 9, seed=2)
    for k, p in ((1, 0.3), (4, 0.7), (9, 1.0)):
        by_k, by_p = logits.copy(), logits.copy()
        for row in range(5):
            order = np.argsort(-logits[row])
            by_k[row, order[k:]] = -np.inf
            total = np.cumsum(softmax(logits[row])[order])
            reached = int(np.argmax(total >= p)) if p < 1 else 8
            by_p[row, order[reached + 1 :]] = -np.inf
        check(top_k_logits(single(logits), k), by_k)
        check(top_p_logits(single(logits), p), by_p)


@case("sampling.temperature", tolerance=5e-2, reason="from 40,000 draws: the error of a share is 0.0025 by chance")
def temperature(check: Check) -> None:
    """Tokens come as often as the softmax of the logits over the temperature says; at 0 it is the likeliest one."""
    logits = np.array([0.0, 1.0, 2.5, -1.0])
    many = jnp.broadcast_to(single(logits), (40_000, 4))
    for heat in (0.5, 2.0):
        drawn = np.asarray(sample(many, jax.random.key(0), temperature=heat))
        check(np.bincount(drawn, minlength=4) / len(drawn), softmax(logits / heat), floor=0.2)
    check(sample(many[:9], jax.random.key(0), temperature=0.0), np.full(9, 2))
