"""Recurrent layers, and networks for texts: against the formulas step by step in NumPy, finite differences, and PyTorch."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.nn import GRU, LSTM, Bidirectional, BiLSTMClassifier, CharRNN, SimpleRNN, TextCNN
from danlu.nn.recurrent import Recurrent
from danlu.verify.case import Check, case
from danlu.verify.cases.composites import affine, output, started
from danlu.verify.cases.layers import compare, single
from danlu.verify.oracles import draw

__all__: list[str] = []

X = draw(3, 4, 2)
UNITS = 3
MASK = np.array([[True, True, True, True], [True, True, False, False], [False, True, False, True]])


def sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def step(layer: Recurrent, p: dict[str, Any], x: Any, carry: tuple[Any, ...]) -> tuple[Any, ...]:
    """The carry after one step, as the formulas read."""
    z, r = x @ p["kernel"] + p["bias"], carry[0] @ p["recurrent_kernel"]
    if isinstance(layer, SimpleRNN):
        return (np.tanh(z + r) if layer.activation == "tanh" else np.maximum(z + r, 0),)
    if isinstance(layer, LSTM):
        i, f, g, o = np.split(z + r, 4, axis=1)
        c = sigmoid(f) * carry[1] + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c
    (z_r, z_u, z_n), (r_r, r_u, r_n) = np.split(z, 3, axis=1), np.split(r, 3, axis=1)
    u = sigmoid(z_u + r_u)
    n = np.tanh(z_n + sigmoid(z_r + r_r) * (r_n + p["recurrent_bias"]))
    return ((1 - u) * n + u * carry[0],)


def by_hand(layer: Recurrent, p: dict[str, Any], x: Any, mask: Any = None) -> Any:
    """One step after another; a padded row keeps its carry and puts out 0."""
    mask = np.ones(x.shape[:2], bool) if mask is None else mask
    carry: tuple[Any, ...] = (np.zeros((len(x), layer.units)),) * layer.cell.carries
    outputs = np.zeros((*x.shape[:2], layer.units))
    for t in range(x.shape[1])[:: -1 if layer.reverse else 1]:
        real = mask[:, t, None]
        carry = tuple(np.where(real, new, old) for new, old in zip(step(layer, p, x[:, t], carry), carry, strict=True))
        outputs[:, t] = np.where(real, carry[0], 0)
    return outputs if layer.return_sequences else carry[0]


def params_of(layer: Recurrent) -> dict[str, Any]:
    shapes = jax.eval_shape(lambda key: layer.init(key, X.shape[1:])[0], jax.random.key(0))
    return {name: 0.7 * draw(*shapes[name].shape, seed=seed) for seed, name in enumerate(sorted(shapes))}


def by_torch(kind: str) -> Any:
    """The layer as a call of PyTorch's ``lstm``, ``gru`` or ``rnn_tanh``, which take (weights, h₀) by position."""

    def run(torch: Any, p: dict[str, Any], x: Any) -> Any:
        zeros = torch.zeros_like(p["bias"])
        second = (
            zeros if "recurrent_bias" not in p else torch.cat([zeros[: -len(p["recurrent_bias"])], p["recurrent_bias"]])
        )
        weights = [p["kernel"].T, p["recurrent_kernel"].T, p["bias"], second]
        h = torch.zeros(1, len(x), UNITS, dtype=x.dtype)
        start = (h, h) if kind == "lstm" else h
        return getattr(torch, kind)(x, start, weights, True, 1, 0.0, False, False, True)[0]

    return run


def compare_cell(check: Check, layer: Recurrent, kind: str) -> None:
    """The whole sequence with its gradients; then the last output, backwards, of padded rows."""
    params = params_of(layer)
    compare(check, layer, params, lambda p, x: by_hand(layer, p, x), x=X, torch=by_torch(kind))
    last = layer.replace(reverse=True, return_sequences=False)
    padded = {"x": single(X), "mask": jnp.asarray(MASK)}
    received = output(last, single(params), {}, padded)
    check(received, by_hand(last, params, X, MASK), floor=0.1)


@case("layer.SimpleRNN")
def simple_rnn(check: Check) -> None:
    compare_cell(check, SimpleRNN(UNITS), "rnn_tanh")


@case("layer.LSTM")
def lstm(check: Check) -> None:
    compare_cell(check, LSTM(UNITS), "lstm")


@case("layer.GRU")
def gru(check: Check) -> None:
    compare_cell(check, GRU(UNITS), "gru")


def both(p: Any, x: Any, mask: Any, *, return_sequences: bool) -> Any:
    layer = LSTM(UNITS, return_sequences=return_sequences)
    return np.concatenate(
        [by_hand(each, q, x, mask) for each, q in zip((layer, layer.replace(reverse=True)), p, strict=True)], -1
    )


@case("layer.Bidirectional")
def bidirectional(check: Check) -> None:
    net = Bidirectional(LSTM(UNITS))
    params, state, p = started(net, X.shape[1:])
    received = output(net, params, state, {"x": single(X), "mask": jnp.asarray(MASK)})
    check(received["x"], both(p, X, MASK, return_sequences=True), floor=0.1)


TOKENS = np.array([[0, 3, 4, 1], [2, 2, 0, 0], [0, 1, 0, 4]])


@case("layer.CharRNN")
def char_rnn(check: Check) -> None:
    net = CharRNN(5, dim=2, units=UNITS, num_layers=2, cell="gru")
    params, state, p = started(net, (4,))
    hidden = p[0][0]["table"][TOKENS]
    for layer in p[1:3]:
        hidden = by_hand(GRU(UNITS), layer, hidden)
    check(output(net, params, state, jnp.asarray(TOKENS, jnp.int32)), affine(p[3][0], hidden), floor=0.1)


@case("layer.BiLSTMClassifier")
def bilstm_classifier(check: Check) -> None:
    net = BiLSTMClassifier(5, 2, dim=2, units=UNITS)
    params, state, p = started(net, (4,))
    hidden = both(p[1], p[0][0]["table"][TOKENS], MASK, return_sequences=False)
    padded = {"x": jnp.asarray(TOKENS, jnp.int32), "mask": jnp.asarray(MASK)}
    check(output(net, params, state, padded), affine(p[2], hidden), floor=0.1)


@case("layer.TextCNN")
def text_cnn(check: Check) -> None:
    net = TextCNN(5, 2, dim=2, filters=3, widths=(2, 3), dropout=0.0)
    params, state, p = started(net, (4,))
    x = np.where(MASK[:, :, None], p[0][0]["table"][TOKENS], 0)
    found = []
    for width, branch in zip((2, 3), p[2], strict=True):
        kernel, before = branch[0][0], (width - 1) // 2
        around = np.pad(x, ((0, 0), (before, width - 1 - before), (0, 0)))
        windows = np.stack([around[:, t : t + width] for t in range(4)], axis=1)
        values = np.maximum(np.einsum("btkc,kco->bto", windows, kernel["kernel"]) + kernel["bias"], 0)
        found.append(np.where(MASK[:, :, None], values, -np.inf).max(axis=1))
    padded = {"x": jnp.asarray(TOKENS, jnp.int32), "mask": jnp.asarray(MASK)}
    check(output(net, params, state, padded), affine(p[3], np.concatenate(found, axis=1)), floor=0.1)
