"""Each fragment against JAX: a function of any number of rows gives the same as nodes, for several numbers of rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from danlu import nn
from danlu.errors import ConfigError
from danlu.export.graph import Graph
from danlu.export.primitives import Input, written
from danlu.export.runtime import finished, session_of

ort = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")

NUMBERS = np.asarray([-2.5, -1.0, -0.5, -1e-6, 0.0, 1e-7, 0.3, 0.5, 1.5, 2.5, 7.0, 3.25], np.float32)
ROWS = np.stack([NUMBERS.reshape(3, 4), 1 + NUMBERS.reshape(3, 4), -NUMBERS.reshape(3, 4)])


def compare(function: Callable[[Any], Any], shape: tuple[int, ...], rows: np.ndarray, within: float = 1e-6) -> None:
    """The results of a graph beside those of JAX, for all rows and for the first alone."""
    graph = Graph()
    given = Input(graph.input("x", rows.dtype, ("rows", *shape)), rows.dtype, shape)
    found = jax.tree.leaves(written(graph, function, given))
    expected = jax.eval_shape(function, rows)
    for place, (each, known) in enumerate(zip(found, jax.tree.leaves(expected), strict=True)):
        graph.output(f"y{place}", each.name, known.dtype, None)
    session = ort.InferenceSession(graph.model("test", {}, "0").SerializeToString(), providers=["CPUExecutionProvider"])
    for some in (rows, rows[:1]):
        for own, right in zip(
            session.run(None, {"x": some}), jax.tree.leaves(function(jnp.asarray(some))), strict=True
        ):
            assert own.dtype == right.dtype
            assert own.shape == right.shape
            np.testing.assert_allclose(own, right, rtol=within, atol=within)


TABLE = jnp.arange(20.0).reshape(5, 4)
FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "waves": lambda x: jnp.sin(x) + jnp.cos(x) * jnp.tanh(x) - jnp.arctan(x),
    "powers": lambda x: jnp.exp(-(x**2)) + x**3 + jnp.sqrt(jnp.abs(x)) + lax.rsqrt(1 + x * x) + jnp.abs(x) ** 0.3,
    "small": lambda x: (jnp.log1p(jnp.abs(x)), jnp.expm1(x), jax.nn.sigmoid(x), lax.erf(x), lax.erfc(x)),
    "rounded": lambda x: (jnp.round(x), jnp.floor(x), jnp.ceil(x), jnp.sign(x), lax.round(x), lax.rem(x, jnp.float32(2))),
    "compared": lambda x: (x > 0, x <= 0.5, x != 0, (x > 0) & ~(x < 1) | (x == 0), jnp.isfinite(x), x >= 1),
    "chosen": lambda x: jnp.where(x > 0, x, -2 * x) + jnp.clip(x, -1, 1) + jnp.maximum(x, 0.1) + jnp.minimum(x, 3),
    "types": lambda x: (x.astype(jnp.int32) % 3 + 1, (x > 0).astype(jnp.float32), x.astype(jnp.int32) // 2),
    "reduced": lambda x: (x.sum(1), x.max((1, 2)), x.min(2), x.prod(2), (x > 0).any(2), (x > -1).all(1), x.mean(0)),
    "places": lambda x: (x.argmax(2), (x > 0).argmax(2), x.argmin(1), lax.top_k(x, 2), jnp.cumsum(x, 2), lax.cumsum(x, 1, reverse=True)),
    "shapes": lambda x: (x.reshape(-1, 4).T, x[:, None], x.transpose(2, 0, 1), jnp.concatenate([x, x], 0), jnp.stack([x, x], 1)),
    "tiled": lambda x: jnp.tile(x, (x.shape[0], 1, 2)),
    "turned and shaped": lambda x: lax.reshape(x, (4, x.shape[0], 3), (2, 0, 1)),
    "parts": lambda x: (x[:, 1:], x[:, :, ::2], x[:, 2], x[:, ::-1], jnp.split(x, [1, 3], 2)),
    "padded": lambda x: (jnp.pad(x, ((0, 0), (1, 2), (0, 1)), constant_values=7.0)),
    "counted": lambda x: x + jnp.arange(x.shape[0])[:, None, None] / x.shape[0] + lax.broadcasted_iota(jnp.float32, (1, 3, 4), 1),
    "products": lambda x: (x @ jnp.ones((4, 2)), jnp.einsum("rab,rcb->rac", x, x), jnp.einsum("rab,ab->r", x, jnp.ones((3, 4)))),
    "looked up": lambda x: TABLE[jnp.abs(x).astype(jnp.int32) % 5],
    "looked up beyond": lambda x: jnp.take(TABLE, x.astype(jnp.int32), axis=0, mode="fill", fill_value=-1.0),
    "along": lambda x: jnp.take_along_axis(x, jnp.asarray([3, 0, 1, 1])[None, None] * jnp.ones(x.shape, int), axis=2),
    "a column": lambda x: x[:, jnp.asarray([2, 0])],
    "a slice at": lambda x: lax.dynamic_slice_in_dim(x, x.shape[0] + 5, 2, axis=2),
    "replaced": lambda x: (lax.dynamic_update_slice_in_dim(x, x[:, :, :1], 9, 2), lax.dynamic_update_slice_in_dim(TABLE, TABLE[:1], 2, 0)),
    "scanned": lambda x: lax.scan(lambda c, a: (c + a, c * a), x[:, 0], jnp.moveaxis(x, 1, 0), reverse=True),
    "repeated": lambda x: lax.fori_loop(0, 3, lambda i, c: c * 0.5 + i, x),
    "until": lambda x: lax.while_loop(lambda c: c[0] < x.shape[0] + 2, lambda c: (c[0] + 1, c[1] + c[0]), (0, x))[1],
    "either": lambda x: lax.cond(x.sum() > 100, lambda a: a + 1, lambda a: a - 1, x),
    "of a kind": lambda x: lax.platform_dependent(x, cpu=lambda a: a + 0, default=lambda a: a),
    "sorted": lambda x: (jnp.sort(x, 1), jnp.argsort(-x, axis=2, stable=True), lax.sort((x.round(), x, -x), dimension=2, num_keys=2)),
    "written at": lambda x: (x.at[:, 1].set(7.0), x.at[:, :, jnp.asarray([3, 0])].add(1.0), jnp.zeros(5).at[x.astype(int)[0, 0]].add(2)),
    "written in each row": lambda x: jax.vmap(lambda a: jnp.zeros((4, 3)).at[jnp.argsort(a[0])].set(a.T))(x),
    "written beyond": lambda x: (jnp.zeros((5, 4)).at[x.astype(int)[:, 0, 0] + 3].set(x[:, 0], mode="drop"), x.at[:, 9].set(1)),
    "of fewer rows": lambda x: (x.sum(0)[None] + x[:, :1], jnp.zeros((x.shape[0], 1)) + jnp.ones((1, 4)), jnp.where(x[0, 0, 0] > 9, x, 1)),
    "spread apart": lambda x: lax.pad(x, jnp.float32(3), ((0, 0, 0), (1, 0, 2), (0, 1, 1))),
    "softmax": lambda x: (jax.nn.softmax(x, 2), jax.nn.logsumexp(x, 1), jax.nn.log_softmax(x)),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_fragments_compute_what_jax_does(name: str) -> None:
    compare(FUNCTIONS[name], (3, 4), ROWS)


LAYERS: dict[str, tuple[nn.Layer, tuple[int, ...]]] = {
    "conv": (nn.Conv(3, 3, stride=2), (8, 7, 2)),
    "norms": (nn.Sequential((nn.BatchNorm(), nn.LayerNorm(), nn.GroupNorm(2))), (6, 6, 4)),
    "pools": (nn.Sequential((nn.MaxPool(3, stride=2), nn.AveragePool(2), nn.GlobalAveragePool())), (9, 9, 2)),
    "recurrent": (nn.Sequential((nn.LSTM(4), nn.GRU(3, reverse=True), nn.SimpleRNN(2))), (5, 3)),
    "attention": (nn.Sequential((nn.TransformerBlock(2, 16), nn.Dense(3))), (5, 8)),
    "upwards": (
        nn.Sequential(
            (nn.ConvTranspose(3, 3, stride=2), nn.ConvTranspose(2, 3, 1, "valid"), nn.ConvTranspose(2, 2, 3, 1))
        ),
        (5, 4, 2),
    ),
    "groups": (nn.ConvNeXt(3, (1, 1), (4, 6), 2), (8, 8, 3)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_layers_compute_what_jax_does(name: str) -> None:
    layer, shape = LAYERS[name]
    params, state, _ = layer.init(jax.random.key(0), shape)
    rows = np.random.default_rng(0).normal(size=(4, *shape)).astype(np.float32)
    compare(lambda x: layer.apply(params, state, x)[0], shape, rows, within=2e-5)


def test_several_sizes_are_free() -> None:
    """Rows, steps that fit into a room, and a place that is one for all rows."""

    def put(x: Any) -> Any:
        room = lax.dynamic_update_slice_in_dim(jnp.zeros((x["steps"].shape[0], 6)), x["steps"], x["at"], axis=1)
        return room, x["steps"].sum(1) / x["steps"].shape[1], x["at"] + x["steps"].shape[1]

    graph = Graph()
    given = {"at": Input("at", np.int32, (), rows=False), "steps": Input("steps", np.float32, ("time",))}
    for each in given.values():
        graph.input(each.name, each.dtype, each.whole)
    found = written(graph, put, given, ["time <= 6"])
    for place, each in enumerate(found):
        graph.output(f"y{place}", each.name, np.int32 if place == 2 else np.float32, None)
    session = ort.InferenceSession(graph.model("test", {}, "0").SerializeToString(), providers=["CPUExecutionProvider"])
    for rows, time, at in ((1, 1, 0), (3, 2, 4), (2, 6, 5)):
        x = {"at": np.asarray(at, np.int32), "steps": np.arange(rows * time, dtype=np.float32).reshape(rows, time)}
        for own, right in zip(session.run(None, x), put(jax.tree.map(jnp.asarray, x)), strict=True):
            np.testing.assert_allclose(own, right)


def test_a_normalised_convolution_is_one_node_and_a_maximum() -> None:
    """Factors and sums of a normalisation are within the weights; what is repeated for a sum alone is not repeated."""
    layer = nn.Sequential(
        (
            nn.Conv(3, 3),
            nn.BatchNorm(),
            nn.Activation("relu"),
            nn.Flatten(),
            nn.Dense(4, use_bias=False),
            nn.BatchNorm(),
        )
    )
    params, state, _ = layer.init(jax.random.key(0), (5, 5, 2))
    params, state = jax.tree.map(
        lambda leaf: leaf + 0.1 * np.random.default_rng(0).random(leaf.shape, np.float32), (params, state)
    )
    graph = Graph()
    given = Input(graph.input("x", np.float32, ("rows", 5, 5, 2)), np.float32, (5, 5, 2))
    found = written(graph, lambda x: layer.apply(params, state, x)[0], given)
    graph.output("y", found.name, np.float32, ("rows", 4))
    data = finished(graph, {})
    session, nodes = session_of(data), onnx.load_from_string(data).graph.node
    kinds = [node.op_type for node in nodes if node.op_type not in ("Transpose", "Reshape", "Identity")]
    assert kinds == ["Conv", "Relu", "MatMul", "Add"]
    rows = np.random.default_rng(1).normal(size=(3, 5, 5, 2)).astype(np.float32)
    np.testing.assert_allclose(
        session.run(None, {"x": rows})[0], layer.apply(params, state, rows)[0], rtol=1e-5, atol=1e-5
    )


def test_only_what_is_above_nothing_else_becomes_a_maximum() -> None:
    for function in (
        lambda x: jnp.where(x <= 0, 0, 2 * x),
        lambda x: jnp.where(x <= 0, x, 0),
        lambda x: jnp.maximum(x, 1),
        jax.nn.relu,
    ):
        graph = Graph()
        given = Input(graph.input("x", np.float32, ("rows", 3, 4)), np.float32, (3, 4))
        graph.output("y", written(graph, function, given).name, np.float32, ("rows", 3, 4))
        (found,) = session_of(finished(graph, {})).run(None, {"x": ROWS})
        np.testing.assert_array_equal(found, function(ROWS))
        assert ("Relu" in {node.op_type for node in graph.nodes}) == (function is jax.nn.relu)


def test_what_has_no_fragment_is_named() -> None:
    with pytest.raises(ConfigError, match="'igamma'"):
        compare(lambda x: lax.igamma(x, x), (3, 4), ROWS)
