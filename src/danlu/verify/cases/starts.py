"""What parameters are before the first step: scales by fan, zeros and ones, gates that begin open; against their closed forms."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from danlu.nn import (
    BERT,
    GPT,
    GRU,
    LSTM,
    BatchNorm,
    CategoricalEmbedding,
    Conv,
    ConvNeXt,
    ConvTranspose,
    Dense,
    Dropout,
    Embedding,
    FeedForward,
    Forecaster,
    GroupNorm,
    LayerNorm,
    LearnedPositions,
    LoRA,
    MultiHeadAttention,
    NumericEmbedding,
    ResNet,
    RMSNorm,
    Sequential,
    SimpleRNN,
    SwiGLU,
    Transformer,
    ViT,
)
from danlu.nn.activations import ACTIVATIONS
from danlu.nn.layer import Layer
from danlu.nn.vision.convnext import LayerScale
from danlu.rl.networks import LogStd, Standardise, mlp
from danlu.verify.case import Check, case
from danlu.verify.oracles import draw

__all__: list[str] = []

CHANCE: Any = {"tolerance": 5e-2, "reason": "from 8,000 draws: the error of a mean is 0.011 by chance"}
# The largest of many draws in standard deviations: of a uniform distribution √3, of a normal one cut at ±2 its end.
ENDS = {"uniform": np.sqrt(3), "truncated": 2 / 0.87962566103423978}


def begun(layer: Layer, in_shape: Any) -> tuple[Any, Any]:
    """The parameters and the state that a layer starts with, as float64 NumPy arrays."""
    params, state, _ = layer.init(jax.random.key(0), in_shape)
    return jax.tree.map(lambda a: np.asarray(a, np.float64), (params, state))


def spread(check: Check, values: Any, deviation: float, form: str = "normal") -> None:
    """That ``values`` are draws of mean 0 and this standard deviation, and of this form of distribution."""
    units = np.ravel(values) / deviation
    check([units.mean()], [0.0], oracle="closed form", floor=1.0)
    check([units.std()], [1.0], oracle="closed form")
    largest = np.abs(units).max()
    if form == "normal":
        check([min(largest, 3.0)], [3.0], oracle="closed form")  # beyond what the two others can reach
    else:
        check([largest], [ENDS[form]], oracle="closed form")


def exactly(check: Check, values: Any, expected: float) -> None:
    check(values, np.full(np.shape(values), expected), oracle="closed form")


HE, GLOROT = ("elu", "gelu", "gelu_tanh", "leaky_relu", "relu", "silu", "softplus"), ("sigmoid", "softmax", "tanh")


@case("start.Dense", **CHANCE)
def dense(check: Check) -> None:
    """He's scale before rectifiers, Glorot's before saturating functions, LeCun's before a linear output; biases of 0."""
    for name in ACTIVATIONS:
        params, _ = begun(Dense(200, name), (100,))
        if name in HE:
            spread(check, params["kernel"], np.sqrt(2 / 100), "truncated")
        elif name in GLOROT or name == "log_softmax":
            spread(check, params["kernel"], np.sqrt(2 / 300), "uniform")
        else:
            spread(check, params["kernel"], np.sqrt(1 / 100), "truncated")
        exactly(check, params["bias"], 0.0)


@case("start.Conv", **CHANCE)
def conv(check: Check) -> None:
    """The fan counts the window, and of grouped channels those of one group."""
    for groups in (1, 4):
        params, _ = begun(Conv(128, 3, groups=groups, activation="relu"), (8, 8, 32))
        spread(check, params["kernel"], np.sqrt(2 / (9 * 32 / groups)), "truncated")
        exactly(check, params["bias"], 0.0)
    params, _ = begun(Conv(64, 5, activation="tanh"), (9, 32))
    spread(check, params["kernel"], np.sqrt(2 / (5 * (32 + 64))), "uniform")
    params, _ = begun(ConvTranspose(64, 2), (4, 4, 32))
    spread(check, params["kernel"], np.sqrt(1 / (4 * 32)), "truncated")
    exactly(check, params["bias"], 0.0)


@case("start.embeddings", **CHANCE)
def embeddings(check: Check) -> None:
    """Rows of length 1 on the mean; small lines, waves and bends for numbers, in units of the gain."""
    params, _ = begun(Embedding(500, 25), (3,))
    spread(check, params["table"], 1 / 5)
    params, _ = begun(LearnedPositions(400), (4, 25))
    spread(check, params["table"], 0.02)
    params, _ = begun(CategoricalEmbedding((900, 4), dim=16, gain=5.0), (2,))
    spread(check, params["table_0"], 1 / (5 * 4))
    params, state = begun(NumericEmbedding(100, bins=8, frequencies=100, scale=0.5, gain=4.0), (90,))
    for name, divisor in (("slope", 1.0), ("offset", 1.0), ("wave", np.sqrt(200))):
        spread(check, params[name], 1 / np.sqrt(3) / 4 / divisor, "uniform")
    spread(check, params["frequency"], 0.5 / 4)
    exactly(check, params["bend"], 0.0)
    exactly(check, state["upper"][:, :-1], 1.0)
    exactly(check, state["upper"][:, -1], 4.0)


@case("start.norms")
def norms(check: Check) -> None:
    """Scales of 1, shifts of 0, statistics of a standard normal; dropout's rate; a residual path that is almost closed."""
    for layer in (BatchNorm(), LayerNorm(), GroupNorm(2), RMSNorm()):
        params, state = begun(layer, (6,) if not isinstance(layer, GroupNorm) else (3, 3, 6))
        exactly(check, params["scale"], 1.0)
        exactly(check, params.get("bias", np.zeros(6)), 0.0)
        exactly(check, state.get("mean", np.zeros(6)), 0.0)
        exactly(check, state.get("variance", np.ones(6)), 1.0)
    exactly(check, 1e6 * begun(LayerScale(), (5,))[0]["scale"], 1.0)
    exactly(check, begun(Dropout(0.3), (5,))[1]["rate"], 0.3)
    _, state = begun(Standardise(), (4,))
    for name, value in (("mean", 0.0), ("variance", 1.0), ("count", 0.0)):
        exactly(check, state[name], value)


@case("start.recurrent", **CHANCE)
def recurrent(check: Check) -> None:
    """Glorot's scale over all gates, orthogonal rows from step to step; the forget gate begins open, all else at 0."""
    for layer, gates in ((SimpleRNN(60), 1), (LSTM(15), 4), (GRU(20), 3)):
        params, _ = begun(layer, (7, 150))
        spread(check, params["kernel"], np.sqrt(2 / (150 + 60)), "uniform")
        gram = params["recurrent_kernel"] @ params["recurrent_kernel"].T
        check(gram, np.eye(60 // gates), oracle="closed form", floor=1.0)
        forget = np.repeat([0.0, 1.0, 0.0, 0.0] if gates == 4 else np.zeros(gates), 60 // gates)
        check(params["bias"], forget, oracle="closed form")
        exactly(check, params.get("recurrent_bias", np.zeros(60)), 0.0)
    check(begun(LSTM(2, forget_bias=-0.5), (3, 2))[0]["bias"][2:4], [-0.5, -0.5], oracle="closed form")


@case("start.attention", **CHANCE)
def attention(check: Check) -> None:
    """Glorot's scale of each product, biases of 0; the layers between the attentions; low-rank pairs that begin at nothing."""
    params, state = begun(MultiHeadAttention(4, num_kv_heads=2, dropout=0.1), (5, 128))
    for name, out in (("query", 128), ("key", 64), ("value", 64), ("output", 128)):
        spread(check, params[name], np.sqrt(2 / (128 + out)), "uniform")
        exactly(check, params[f"{name}_bias"], 0.0)
    exactly(check, state["rate"], 0.1)
    params, _ = begun(FeedForward(200, "gelu"), (5, 100))
    spread(check, params["up"], np.sqrt(2 / 100), "truncated")
    spread(check, params["down"], np.sqrt(1 / 200), "truncated")
    exactly(check, params["up_bias"], 0.0)
    exactly(check, params["down_bias"], 0.0)
    params, _ = begun(SwiGLU(200), (5, 100))
    for name, inputs in (("gate", 100), ("up", 100), ("down", 200)):
        spread(check, params[name], np.sqrt(1 / inputs), "truncated")
    params, _ = begun(LoRA(Dense(8), rank=64, targets=("kernel",)), (256,))
    spread(check, params["low_rank"]["kernel"]["a"], 1 / np.sqrt(256))
    exactly(check, params["low_rank"]["kernel"]["b"], 0.0)


@case("start.transformers", **CHANCE)
def transformers(check: Check) -> None:
    """The papers' numbers: GPT-2's shortcuts shrink with its depth, BERT's and ViT's draws are cut, ViT's head begins at 0."""
    size: Any = {"dim": 96, "num_heads": 2, "hidden": 96}  # few shapes: each is a program to compile
    (table, body), _ = begun(GPT(100, 100, num_layers=2, **size), (8,))
    for kernel in (table["table"], body[0]["table"]):
        spread(check, kernel, 0.02)
    for (_, own), (_, between) in body[1:-1]:
        for kernel in (own["query"], own["key"], own["value"], between["up"]):
            spread(check, kernel, 0.02)
        for kernel in (own["output"], between["down"]):
            spread(check, kernel, 0.02 / np.sqrt(2 * 2))
    params, _ = begun(BERT(100, 100, num_layers=1, head="class", outputs=96, **size), (8,))
    (_, own), (_, between) = params[3]
    of_bert = (params[0][0]["table"], params[1]["table"], own["output"], between["down"], params[6]["kernel"])
    for kernel in of_bert:
        spread(check, kernel, 0.02, "truncated")
    both, _ = begun(Transformer(100, num_layers=1, **size), {"source": (3,), "target": (4,)})
    for table in (both[0][0][0]["table"], both[1][0]["table"]):
        spread(check, table, 1 / np.sqrt(96))
    params, _ = begun(ViT(3, patch=2, dim=96, num_layers=1, num_heads=2, hidden=96, max_patches=99), (4, 4, 3))
    spread(check, params[3]["table"], 0.02, "truncated")
    exactly(check, params[7]["kernel"], 0.0)


@case("start.vision", **CHANCE)
def vision(check: Check) -> None:
    """A ResNet keeps the size of the errors that come back (fan out); ConvNeXt's draws are cut at twice 0.02."""
    stem_and_stage = Sequential(ResNet(3, depth=18, stem="cifar", width=32).build().layers[:2])
    params, _ = begun(stem_and_stage, (8, 8, 3))
    for kernel in (a for a in jax.tree.leaves(params) if a.ndim == 4 and a.size >= 8000):
        spread(check, kernel, np.sqrt(2 / (9 * 32)))
    params, _ = begun(ConvNeXt(3, depths=(1,), dims=(64,), patch=2), (4, 4, 3))
    for kernel in (a for a in jax.tree.leaves(params) if a.ndim >= 2 and a.size >= 8000):
        spread(check, kernel, 0.02, "truncated")


@case("start.Forecaster")
def forecaster(check: Check) -> None:
    """The first forecast, and each of its quantiles, is the window's mean."""
    net, x = Forecaster(3, 2, known=1, smoothing=3, hidden=4), draw(5, 8, 2)
    inputs = {"past": x.astype(np.float32), "known": draw(5, 11, 1, seed=1).astype(np.float32)}
    params, state, _ = net.init(jax.random.key(0), {"past": (8, 2), "known": (11, 1)})
    received = net.apply(params, state, inputs)[0]
    expected = np.broadcast_to(x.mean(1)[:, None, :, None], received.shape)
    check(received, expected, floor=0.1)


@case("start.agents")
def agents(check: Check) -> None:
    """Orthogonal layers: √2 inside, the policy's last one near indifference; log σ as it was asked for."""
    params, _ = begun(mlp((12,), 5, gain=0.01), (7,))
    check(params[0]["kernel"] @ params[0]["kernel"].T, 2 * np.eye(7), oracle="closed form", floor=1.0)
    check(1e4 * params[1]["kernel"].T @ params[1]["kernel"], np.eye(5), oracle="closed form", floor=1.0)
    (_, spread_of), _ = begun(LogStd(Dense(3), -0.5), (4,))
    exactly(check, spread_of["log_std"], -0.5)
