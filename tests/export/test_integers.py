"""Quantised networks in onnxruntime: the same answers, by its integer operators, in fewer bytes."""

from __future__ import annotations

import collections
import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import danlu
from danlu.compression import Quantize
from danlu.errors import ConfigError
from danlu.nn import MLP, Activation, BatchNorm, Conv, Dense, Ensemble, Flatten, MaxPool, Quantized, Sequential
from danlu.nn.folded import folded

GOLDEN = Path(__file__).parents[1] / "trained" / "golden" / "version-3"
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from danlu.export.forest import walked  # noqa: E402
from danlu.export.graph import Graph  # noqa: E402
from danlu.export.kinds import kind_of  # noqa: E402
from danlu.export.primitives import Input, written  # noqa: E402
from danlu.export.runtime import finished, session_of  # noqa: E402
from danlu.export.written import checked, onnx_of  # noqa: E402


class _Shelf:
    """A workshop that has rows and no training."""

    def __init__(self, x: Any) -> None:
        self.x = x

    def inputs(self, rows: int) -> Any:
        return jax.tree.map(lambda leaf: leaf[:rows], self.x)


def _file(network: Any, params: Any, state: Any, x: Any) -> tuple[bytes, np.ndarray]:
    """A network as a file, and what onnxruntime answers with it."""
    graph = Graph()
    given = Input(graph.input("x", np.float32, ("rows", *x.shape[1:])), np.float32, x.shape[1:])
    params, state = jax.tree.map(jnp.asarray, (params, state))
    found = written(graph, lambda x: walked(network).apply(params, state, x)[0], given)
    shape = network.out_shape(x.shape[1:])
    graph.output("y", found.name, np.float32, ("rows", *shape))
    data = finished(graph, {})
    return data, session_of(data).run(None, {"x": np.asarray(x)})[0]


def _kinds(data: bytes) -> collections.Counter[str]:
    return collections.Counter(node.op_type for node in onnx.load_from_string(data).graph.node)


@pytest.fixture(scope="module")
def dense() -> Any:
    net, x = MLP((64,), 5), jax.random.normal(jax.random.key(0), (40, 48))
    return net, *net.init(jax.random.key(1), (48,))[:2], x


@pytest.mark.parametrize(
    ("technique", "kinds", "most"),
    [
        (Quantize(), {"Cast": 2}, 0.3),
        (Quantize(4), {"BitShift": 2}, 0.3),
        (Quantize(activations="dynamic"), {"MatMulInteger": 2}, 0.3),
        (Quantize(activations="static"), {"MatMulInteger": 2, "QuantizeLinear": 2}, 0.3),
    ],
    ids=str,
)
def test_a_file_answers_as_danlu_does_in_fewer_bytes(
    dense: Any, technique: Quantize, kinds: dict[str, int], most: float
) -> None:
    *made, x = dense
    plain, _ = _file(*made, x)
    network, params, state = technique(*made, _Shelf(x))  # type: ignore[arg-type]
    data, found = _file(network, params, state, x)
    own = jax.jit(network.apply)(params, state, x)[0]
    np.testing.assert_allclose(found, own, atol=2e-6 * float(np.abs(own).max()))
    assert {name: count for name, count in _kinds(data).items() if name in kinds} == kinds
    assert len(data) < most * len(plain) + 1500  # the graph itself takes some bytes


def test_each_copy_of_an_ensemble_has_integer_operators_of_its_own(dense: Any) -> None:
    net, params, state, x = dense
    several = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), (params, state))
    made = Quantize(activations="static")(Ensemble(net, 2), *several, _Shelf(x))  # type: ignore[arg-type]
    assert isinstance(made[0], Ensemble)
    assert isinstance(made[0].network, Quantized)
    data, found = _file(*made, x)
    np.testing.assert_allclose(found, made[0].apply(*made[1:], x)[0], rtol=1e-5, atol=1e-5)
    assert _kinds(data)["MatMulInteger"] == 4


@pytest.fixture(scope="module")
def pictures() -> Any:
    net = Sequential(
        (
            Conv(8, 3, use_bias=False), BatchNorm(), Activation("relu"), MaxPool(2), Conv(8, 3, stride=2), Activation("relu"),
            Flatten(), Dense(3),
        )
    )  # fmt: skip
    params, state, _ = net.init(jax.random.key(0), (8, 8, 1))
    rng = np.random.default_rng(0)
    state = jax.tree.map(lambda leaf: leaf + rng.uniform(0.1, 1, leaf.shape).astype(np.float32), state)
    return net, params, state, jax.random.normal(jax.random.key(2), (6, 8, 8, 1))


def test_normalisation_is_folded_without_a_change(pictures: Any) -> None:
    net, params, state, x = pictures
    made = folded(net, params, state)
    assert [type(layer).__name__ for layer in made[0].layers] == ["Conv", "MaxPool", "Conv", "Flatten", "Dense"]
    np.testing.assert_allclose(made[0].apply(*made[1:], x)[0], net.apply(params, state, x)[0], rtol=1e-4, atol=1e-5)
    again = folded(*made)
    assert again[0] == made[0]


def test_convolutions_are_merged_into_integer_ones(pictures: Any, tmp_path: Any) -> None:
    import onnxruntime

    *made, x = pictures
    network, params, state = Quantize(activations="static")(*made, _Shelf(x))  # type: ignore[arg-type]
    data, found = _file(network, params, state, x)
    own = jax.jit(network.apply)(params, state, x)[0]
    np.testing.assert_allclose(found, own, atol=1e-5 * float(np.abs(own).max()))
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "merged.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(data, options)
    merged = _kinds((tmp_path / "merged.onnx").read_bytes())
    assert merged["QLinearConv"] == 2
    assert not merged["Conv"]


def test_a_saved_table_model_answers_alike(tmp_path: Any) -> None:
    model = danlu.load(GOLDEN / "table" / "model")
    rows = kind_of(model.encoder).made(model.encoder, np.random.default_rng(0))
    shelf: Any = _Shelf(model.encoder.transform(rows))
    made = Quantize(activations="static")(model.network, model.params, model.state, shelf)
    smaller = dataclasses.replace(model, network=made[0], params=made[1], state=made[2])
    data, answer = onnx_of(smaller)
    assert checked(data, smaller, answer, [(rows, rows)]).difference < 1e-5
    smaller.save(tmp_path / "model")
    assert np.array_equal(danlu.load(tmp_path / "model").answer_rows(rows), smaller.answer_rows(rows))


@pytest.mark.parametrize(
    ("technique", "said"),
    [
        (lambda: Quantize(5), "expected 8 or 4"),
        (lambda: Quantize(4, activations="static"), "without groups"),
        (lambda: Quantize(ranges="error"), "are of static activations"),
    ],
)
def test_a_technique_that_makes_no_sense_is_refused(technique: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        technique()


def test_weights_are_quantised_once_and_some_at_least(dense: Any) -> None:
    *made, x = dense
    shelf: Any = _Shelf(x)
    once = Quantize()(*made, shelf)
    with pytest.raises(ConfigError, match="quantised already"):
        Quantize()(*once, shelf)
    with pytest.raises(ConfigError, match="but those that are kept"):
        Quantize(keep=("*/kernel",))(*made, shelf)
    with pytest.raises(ConfigError, match="names no array"):
        Quantize(keep=("9/kernel",))(*made, shelf)
    assert [path for path, _ in Quantize(keep=("0",))(*made, shelf)[0].weights] == ["1/kernel"]  # type: ignore[attr-defined]
