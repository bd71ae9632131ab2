"""Combinations of options: grouped, dilated and strided windows, masks, dropout inside attention, caches; against NumPy in float64."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.nn import (
    GPT,
    LSTM,
    Bidirectional,
    Conv,
    ConvTranspose,
    Dense,
    Dropout,
    LayerNorm,
    MaxPool,
    MultiHeadAttention,
    Parallel,
    Residual,
    Sequential,
    SimpleRNN,
    cached_step,
    init_cache,
)
from danlu.nn.attention.dot_product import attend
from danlu.nn.losses import TokenCrossEntropy, class_weights, example_weights
from danlu.nn.transformer.block import Sublayer
from danlu.verify.case import Check, case
from danlu.verify.cases.attention import attention, layer_norm, random_params, softmax
from danlu.verify.cases.composites import affine, output, started
from danlu.verify.cases.layers import compare, single
from danlu.verify.cases.losses import compare as compare_loss
from danlu.verify.cases.recurrence import MASK, by_hand, compare_cell
from danlu.verify.oracles import draw, finite_difference

__all__: list[str] = []

Sizes = tuple[int, ...]


def convolved(p: Any, x: Any, *, stride: Sizes, pads: Any, dilation: Sizes, groups: int) -> Any:
    """A convolution over any number of axes, position by position, as its formula reads."""
    kernel = p["kernel"]
    rank, window = kernel.ndim - 2, kernel.shape[:-2]
    padded = np.pad(x, ((0, 0), *pads, (0, 0)))
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, window, strict=True)]
    out = [(padded.shape[i + 1] - spans[i]) // stride[i] + 1 for i in range(rank)]
    y = np.zeros((len(x), *out, kernel.shape[-1]))
    inputs, outputs = x.shape[-1] // groups, kernel.shape[-1] // groups
    place: Any
    for place in itertools.product(*map(range, out)):
        cut: Any = tuple(slice(q * s, q * s + n, d) for q, s, n, d in zip(place, stride, spans, dilation, strict=True))
        seen = padded[(slice(None), *cut)].reshape(len(x), -1, x.shape[-1])
        for g in range(groups):
            ours = slice(g * outputs, (g + 1) * outputs)
            taps = kernel[..., ours].reshape(-1, inputs, outputs)
            y[(slice(None), *place, ours)] = np.einsum("nkc,kco->no", seen[..., g * inputs : (g + 1) * inputs], taps)
    return y + p["bias"]


CONVOLUTIONS = (
    # groups, stride, padding as the layer takes it and as pairs, dilation, the input
    (2, (2, 1), ((1, 0), (0, 2)), (1, 2), draw(2, 5, 4, 4)),
    (2, (1, 1), ((1, 1), (1, 1)), (1, 1), draw(3, 3, 4, 4)),
    (1, (2,), ((2, 0),), (2,), draw(2, 7, 3)),
    (3, (1, 2, 1), ((1, 0), (0, 0), (0, 1)), (1, 1, 1), draw(1, 2, 3, 2, 3)),
)


@case("option.convolutions")
def convolutions(check: Check) -> None:
    """Groups, strides, dilation and uneven padding together, over one to three axes, with every gradient."""
    for groups, stride, pads, dilation, x in CONVOLUTIONS:
        window = (2,) * len(stride)
        features = 2 * groups
        kernel = draw(*window, x.shape[-1] // groups, features, seed=1)
        layer = Conv(features, window, stride, pads, dilation, groups)
        formula = partial(convolved, stride=stride, pads=pads, dilation=dilation, groups=groups)
        compare(check, layer, {"kernel": kernel, "bias": draw(features, seed=2)}, formula, x=x)


@case("option.same_padding")
def same_padding(check: Check) -> None:
    """``⌈n/stride⌉`` positions, the odd zero after; transposed: ``n·stride``, the same cut off."""
    x, kernel = draw(2, 5, 4, 2), draw(3, 2, 2, 3, seed=1)
    params = {"kernel": kernel, "bias": draw(3, seed=2)}
    # Of 5 rows by 2 with windows of 3: 3 positions need 7 rows, one zero before and one after; 4 columns need no more.
    formula = partial(convolved, stride=(2, 2), pads=((1, 1), (0, 0)), dilation=(1, 1), groups=1)
    compare(check, Conv(3, (3, 2), 2), params, formula, x=x)
    uneven = {"kernel": draw(2, 2, 2, 3, seed=1), "bias": params["bias"]}
    formula = partial(convolved, stride=(1, 1), pads=((0, 1), (0, 1)), dilation=(1, 1), groups=1)
    compare(check, Conv(3, 2), uneven, formula, x=x)

    def spread(p: Any, x: Any) -> Any:
        y = np.zeros((len(x), 3 * 2 + 1, 2 * 2 + 1, 3))
        for i, j, k, m in itertools.product(range(2), range(2), range(4), range(3)):
            y[:, 3 * i + k, 2 * j + m] += x[:, i, j] @ p["kernel"][k, m]
        return y[:, :6, :4] + p["bias"]  # a window one longer than the stride: its last place is cut off

    layer = ConvTranspose(3, (4, 3), (3, 2))
    compare(check, layer, {"kernel": draw(4, 3, 2, 3, seed=1), "bias": params["bias"]}, spread, x=draw(2, 2, 2, 2))


@case("option.attention_dropout")
def attention_dropout(check: Check) -> None:
    """What is dropped weighs 0, the rest 1/(1 − rate) as much, forward and in the three gradients."""
    q, k, v = draw(2, 1, 2, 3, 4), draw(2, 1, 5, 4, seed=1), draw(2, 1, 5, 4, seed=2)
    drop = np.where(np.random.default_rng(3).random((2, 1, 2, 3, 5)) < 0.25, 0.0, 1 / 0.75)
    drop = drop.astype(np.float32).astype(np.float64)
    mask = np.random.default_rng(4).random((2, 1, 1, 3, 5)) < 0.8
    mask[..., 0] = True
    error = draw(2, 1, 2, 3, 4, seed=5)

    def formula(q: Any, k: Any, v: Any) -> Any:
        scores = np.where(mask, np.einsum("bkgtd,bksd->bkgts", q, k) / 2, -1e30)
        return np.einsum("bkgts,bksd->bkgtd", softmax(scores) * drop, v)

    def weighted(q: Any, k: Any, v: Any) -> Any:
        y = attend(q, k, v, jnp.asarray(mask), single(drop))
        return jnp.sum(y * single(error)), y

    gradients, y = jax.jit(jax.grad(weighted, (0, 1, 2), has_aux=True))(single(q), single(k), single(v))
    check(y, formula(q, k, v), floor=0.1)
    given = [q, k, v]
    for place in range(3):

        def loss(x: Any, place: int = place) -> float:
            return float((formula(*(x if i == place else a for i, a in enumerate(given))) * error).sum())

        numeric = finite_difference(loss, given[place])
        check(gradients[place], numeric, oracle="finite differences", floor=0.1)
    layer = MultiHeadAttention(2, dropout=0.25)
    params, state, _ = layer.init(jax.random.key(0), (40, 4))
    x = single(draw(8, 40, 4))
    scale = layer.prepared(params, state, x, train=True, key=jax.random.key(1)).drop
    kept = np.asarray(scale, np.float64)
    check(np.unique(kept), [0.0, 1 / 0.75], oracle="closed form")
    check(abs((kept > 0).mean() - 0.75) < 0.01, True, oracle="closed form")  # of 25,600 draws
    check(layer.prepared(params, state, x, train=False, key=None).drop is None, True, oracle="closed form")


@case("option.attention")
def attention_options(check: Check) -> None:
    """Biases of some products, heads of another width, and across: keys and values of a context whose padding is not seen."""
    x = draw(2, 4, 6)
    layer = MultiHeadAttention(2, head_dim=4, bias="qkv")
    compare(check, layer, random_params(layer, (4, 6)), partial(attention, heads=2), x=x)
    across = MultiHeadAttention(2, cross=True)
    shapes: Any = {"x": (4, 6), "context": (5, 3), "context_mask": (5,)}
    params, state, p = started(across, shapes)
    context, seen = draw(2, 5, 3, seed=1), (3, 5)
    mask = np.arange(5) < np.array(seen)[:, None]
    given = {"x": single(x), "context": single(context), "context_mask": jnp.asarray(mask)}
    rows = [attention(p, x[i : i + 1], heads=2, context=context[i : i + 1, : seen[i]]) for i in range(2)]
    check(output(across, params, state, given)["x"], np.concatenate(rows), floor=0.1)
    causal = MultiHeadAttention(2, causal=True, rotary_base=50.0, head_dim=4)
    params, state, p = started(causal, {"x": (4, 6), "mask": (4,)})
    received = output(causal, params, state, {"x": single(x), "mask": jnp.asarray(mask[:, :4])})["x"]
    for i in range(2):
        real = min(seen[i], 4)
        expected = attention(p, x[i : i + 1, :real], heads=2, causal=True, base=50.0)
        check(received[i : i + 1, :real], expected, floor=0.1)


@case("option.cache")
def caches(check: Check) -> None:
    """Token by token with rotary positions, shared key heads and padding in front: as the whole sequences alone."""
    codes, real = np.array([[3, 1, 4, 1, 5], [0, 0, 9, 2, 6]]), np.array([[1] * 5, [0, 0, 1, 1, 1]]).astype(bool)
    for positions in ("rotary", "learned"):
        net = GPT(10, 8, dim=8, num_layers=1, num_heads=4, num_kv_heads=2, positions=positions, norm="rms")
        params, state, _ = started(net, (5,))
        cache, step = init_cache(net, params, batch=2, length=5), jax.jit(partial(cached_step, net))
        found = []
        for part in (slice(0, 4), slice(4, 5)):
            new = jnp.asarray(codes[:, part], jnp.int32)
            logits, cache = step(params, state, new, cache, mask=jnp.asarray(real[:, part]))
            found.append(np.asarray(logits))
        received = np.concatenate(found, axis=1)
        whole = {"x": jnp.asarray(codes, jnp.int32), "mask": jnp.asarray(real)}
        at_once = output(net, params, state, whole)
        for row in range(2):
            alone = output(net, params, state, jnp.asarray(codes[row : row + 1, real[row]], jnp.int32))
            check(received[row : row + 1, real[row]], alone, oracle="without padding", floor=1.0)
            check(at_once[row : row + 1, real[row]], alone, oracle="without padding", floor=1.0)


@case("option.hidden_keys")
def hidden_keys(check: Check) -> None:
    """A query that sees nothing gives 0 and moves nothing."""
    q, k, v = draw(1, 1, 1, 2, 4), draw(1, 1, 3, 4, seed=1), draw(1, 1, 3, 4, seed=2)
    mask = np.array([[True, True, False], [False, False, False]])[None, None, None]

    def total(q: Any, k: Any, v: Any) -> Any:
        y = attend(q, k, v, jnp.asarray(mask), None)
        return jnp.sum(y), y

    gradients, y = jax.jit(jax.grad(total, (0, 1, 2), has_aux=True))(single(q), single(k), single(v))
    weights = softmax(q[0, 0, 0, :1] @ k[0, 0, :2].T / 2)
    check(y[0, 0, 0], np.concatenate([weights @ v[0, 0, :2], np.zeros((1, 4))]), floor=0.1)
    check(gradients[0][0, 0, 0, 1], np.zeros(4), oracle="closed form")
    check(gradients[2][0, 0], np.repeat([*weights[0], 0.0], 4).reshape(3, 4), oracle="closed form")


@case("option.ties")
def ties(check: Check) -> None:
    """Of several largest values in a window the first has the whole error; windows that overlap add theirs up."""
    x = np.random.default_rng(0).integers(0, 3, (2, 5, 4, 2)).astype(np.float64)
    for size, stride, pad in ((2, 2, 0), (3, 2, 1)):
        layer = MaxPool(size, stride, pad)
        padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)), constant_values=-9)
        expected, count = np.zeros(padded.shape), (np.array(padded.shape[1:3]) - size) // stride + 1
        for n, i, j, c in np.ndindex(2, *count, 2):
            window = padded[n, i * stride : i * stride + size, j * stride : j * stride + size, c]
            row, column = np.unravel_index(window.argmax(), window.shape)
            expected[n, i * stride + row, j * stride + column, c] += 1.0 + i
        expected = expected[:, pad : 5 + pad, pad : 4 + pad]
        rows = 1.0 + np.arange(count[0])[None, :, None, None]
        found = jax.grad(lambda x, layer=layer, rows=rows: jnp.sum(layer.apply({}, {}, x)[0] * single(rows)))(single(x))
        check(found, expected, oracle="closed form")


@case("option.token_smoothing")
def token_smoothing(check: Check) -> None:
    """Smoothed targets of tokens beside padding; the mean is over what counts."""
    z, y = draw(3, 4, 5), np.array([[1, 4, -1, -1], [0, 0, 2, 3], [-1, -1, -1, -1]])
    counted = y >= 0
    wanted = 0.8 * np.eye(5)[np.maximum(y, 0)] + 0.2 / 5

    def formula(z: Any) -> Any:
        each = -(wanted * (z - np.log(np.exp(z).sum(-1, keepdims=True)))).sum(-1)
        return (each * counted).sum(1) / np.maximum(counted.sum(1), 1)

    compare_loss(check, TokenCrossEntropy(label_smoothing=0.2), z, y, formula)


@case("option.class_weights")
def class_weights_options(check: Check) -> None:
    """A class without rows weighs nothing and changes nothing for the others; weights by hand; all that multiplies a row."""
    labels = np.array([0, 0, 0, 2, 2, 0])
    check(class_weights(labels, 4), [6 / (2 * 4), 0, 6 / (2 * 2), 0])
    check(class_weights(labels, 3, mode={2: 5.0}), [1, 1, 5])
    found = example_weights(labels, np.array([1, 2, 3.0]), sample_weight=np.arange(6.0), mask=np.arange(6) != 4)
    check(found, [0, 1, 2, 9, 0, 5], oracle="closed form")


@case("option.norm_last")
def norm_last(check: Check) -> None:
    """``norm(x + f(x))`` beside ``x + f(norm(x))``."""
    x = draw(2, 4, 6)
    for first in (True, False):
        net = Sublayer(Dense(6, "tanh"), LayerNorm(), first)
        params, state, (norm, own) = started(net, (4, 6))
        inside = np.tanh(affine(own, layer_norm(norm, x) if first else x))
        expected = x + inside if first else layer_norm(norm, x + inside)
        check(output(net, params, state, single(x)), expected, floor=0.1)


@case("option.recurrent")
def recurrent_options(check: Check) -> None:
    """A rectified cell; a stream in two pieces; both directions' last outputs of padded rows."""
    compare_cell(check, SimpleRNN(3, activation="relu"), "rnn_relu")
    layer, x = LSTM(3), draw(2, 6, 2)
    params, _, p = started(layer, (6, 2))
    first, carry = layer.run(params, single(x[:, :2]))
    rest, _ = layer.run(params, single(x[:, 2:]), carry)
    check(jnp.concatenate([first, rest], axis=1), by_hand(layer, p, x), floor=0.1)
    net = Bidirectional(LSTM(3, return_sequences=False))
    params, state, p = started(net, (4, 2))
    padded = {"x": single(draw(3, 4, 2)), "mask": jnp.asarray(MASK)}
    last = LSTM(3, return_sequences=False)
    ways = [
        by_hand(each, q, draw(3, 4, 2), MASK) for each, q in zip((last, last.replace(reverse=True)), p, strict=True)
    ]
    check(output(net, params, state, padded), np.concatenate(ways, axis=1), floor=0.1)


@case("option.dropout", tolerance=2e-2, reason="90,000 draws: the error of a share is 0.0016 by chance")
def dropouts(check: Check) -> None:
    """Layers of one kind in a network draw apart, whatever holds them; without training nothing is dropped."""
    drop, x = Dropout(0.4), jnp.ones((300, 300))
    both = Sequential((drop, drop))
    for net, scale, shortcut in ((both, 1, 0), (Residual(both), 1, 1), (Parallel((drop, drop), merge="add"), 2, 0)):
        params, state, _ = net.init(jax.random.key(0), (300,))
        y, _ = net.apply(params, state, x, train=True, key=jax.random.key(1))
        found = np.asarray(y, np.float64) - shortcut
        shares = [0.4**2, 2 * 0.4 * 0.6, 0.6**2] if scale == 2 else [1 - 0.6**2, 0, 0.6**2]
        values = [0, 1 / 0.6, 2 / 0.6] if scale == 2 else [0, -1, 1 / 0.36]
        check([np.isclose(found, v, atol=1e-3).mean() for v in values], shares, oracle="closed form", floor=0.1)
        check(net.apply(params, state, x)[0], np.full((300, 300), float(scale + shortcut)), oracle="closed form")
