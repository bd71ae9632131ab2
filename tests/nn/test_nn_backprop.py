"""Backpropagation by hand equals jax.grad and PyTorch; the gradient check passes right gradients and fails wrong ones."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu.errors import ConfigError, DataError
from danlu.nn import (
    GRU,
    LSTM,
    MLP,
    Activation,
    AdaptiveAveragePool,
    AveragePool,
    BatchNorm,
    Bidirectional,
    Conv,
    ConvTranspose,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GlobalAveragePool,
    GlobalMaxPool,
    GroupNorm,
    LayerNorm,
    LayerScale,
    MaxPool,
    NumericEmbedding,
    Parallel,
    Residual,
    Sequential,
    SimpleRNN,
    SqueezeExcite,
    TabularNet,
    TextCNN,
    lift,
)
from danlu.nn.attention.sequence import PerToken
from danlu.nn.backprop import LAYER_RULES, gradient_check, trace
from danlu.nn.losses import (
    MSE,
    BinaryCrossEntropy,
    BinaryFocal,
    CategoricalCrossEntropy,
    CategoricalFocal,
    HalfMSE,
    Huber,
    reduce,
)

pytestmark = pytest.mark.usefixtures("no_silent_broadcasting")
ROWS = 5
KEY = jax.random.key(2)
RNG = np.random.default_rng(2)


def _init(key: jax.Array, shape: Any) -> Any:
    return jax.random.normal(key, (shape[0], 2))


def _apply(params: Any, x: Any) -> Any:
    return jnp.sin(x @ params)


SHARED = Parallel(
    (
        Sequential((Embedding(9, 3), Flatten())),
        Sequential((Dense(4, "softmax"), BatchNorm())),
        MLP((4,), 3, norm="layer", dropout=0.3, activation="silu"),
    ),
    inputs=("categorical", "numeric", "numeric"),
)
IMAGE = Sequential(
    (
        Conv(4, 3, padding="valid", activation="tanh"),
        GroupNorm(2),
        LayerScale(0.7),
        SqueezeExcite(2),
        ConvTranspose(4, 2, activation="silu"),
        AveragePool(3, stride=2, padding="same"),
        BatchNorm(),
        MaxPool(2),
        Parallel((GlobalAveragePool(), GlobalMaxPool(), Sequential((AdaptiveAveragePool(1), Flatten())))),
        Dense(3),
    )
)
# name -> (network, loss, kind of input)
NETS: dict[str, tuple[Any, Any, str]] = {
    "mlp": (MLP((6, 5), 3, activation="gelu", dropout=0.3, norm="batch"), CategoricalCrossEntropy(0.1), "numeric"),
    "table": (Sequential((SHARED, Dense(3))), CategoricalFocal(1.5), "dict"),
    "residual": (
        Sequential((Residual(Dense(6, "elu"), Dense(6)), Residual(Dense(6, "tanh")), LayerNorm(), Dense(1))),
        Huber(0.5), "numeric",
    ),
    "members": (
        Parallel((Dense(1), Sequential((Dense(3, "leaky_relu"), Dense(1)))), "stack"), BinaryFocal(2, 0.25), "numeric",
    ),
    "added": (Parallel((Dense(1, "softplus"), Dense(1, "gelu_tanh")), "add"), BinaryCrossEntropy(0.1), "numeric"),
    "axes": (Sequential((Embedding(9, 4), LayerNorm(), Dense(3, "log_softmax"), BatchNorm(), Flatten(), Dense(1))),
             MSE(), "categorical"),
    "recurrent": (
        Sequential((PerToken(Embedding(9, 3)), SimpleRNN(4), Bidirectional(GRU(3)), LSTM(3, return_sequences=False), Dense(1))),
        MSE(), "masked",
    ),
    "image": (IMAGE, CategoricalCrossEntropy(), "image"),
    "text cnn": (TextCNN(9, 1, dim=3, filters=4, widths=(1, 2), dropout=0.3), MSE(), "masked"),
    "borrowed": (Sequential((lift(_init, _apply), Activation("sigmoid"), Dense(1))), HalfMSE(), "numeric"),
    "foreign loss": (Dense(1), lambda o, y: jnp.cosh(o[:, 0] - y), "numeric"),
}  # fmt: skip


def _data(kind: str, loss: Any) -> tuple[Any, Any, Any]:
    shapes = {"numeric": (6,), "image": (6, 6, 2), "categorical": (2,), "masked": {"x": (2,), "mask": (2,)}}
    x = {
        "numeric": jnp.asarray(RNG.normal(size=(ROWS, 6)), jnp.float32),
        "categorical": jnp.asarray([[0, 1], [8, 9], [1, 1], [-3, 4], [2, 5]]),
    }
    x["image"] = jnp.asarray(np.random.default_rng(3).normal(size=(ROWS, 6, 6, 2)), jnp.float32)
    x["masked"] = {"x": x["categorical"], "mask": jnp.asarray([[True, True], [True, False]] * 2 + [[False, True]])}
    classes = 3 if "Categorical" in type(loss).__name__ else 2
    y = jnp.asarray([0, 1, 0, 1, 2])[:ROWS] % classes
    if kind != "dict":
        return shapes[kind], x[kind], y
    return shapes, x, y


def _same(left: Any, right: Any) -> None:
    assert jax.tree.structure(left) == jax.tree.structure(right)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6), left, right)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("name", sorted(NETS))
def test_trace_is_the_training_gradient(name: str, train: bool) -> None:
    net, loss, kind = NETS[name]
    in_shape, x, y = _data(kind, loss)
    params, state, _ = net.init(KEY, in_shape)
    weights = jnp.asarray([1.0, 0.5, 0.0, 2.0, 1.0])
    # A trained state, so that evaluation's running statistics are not 0 and 1.
    state = jax.tree.map(lambda a: a * 0.8 + 0.05, state)

    def objective(params: Any, x: Any) -> Any:
        outputs, after = net.apply(params, state, x, train=train, key=KEY)
        return reduce(loss(outputs, y), weights), after

    @jax.jit
    def expected(params: Any, x: Any) -> Any:
        argnums = (0,) if kind != "numeric" else (0, 1)
        return jax.value_and_grad(objective, argnums, has_aux=True)(params, x)

    @jax.jit
    def by_hand(params: Any, x: Any) -> Any:
        seen = trace(net, params, state, x, y, loss, weights=weights, train=train, key=KEY)
        rules = {(type(r.layer).__name__, r.rule) for r in seen.records}
        assert {layer for layer, rule in rules if rule == "vjp"} <= {"Lifted"}
        assert seen.loss_rule == ("vjp" if name == "foreign loss" else "formula")
        return (seen.loss, seen.state), (seen.gradients, seen.input_error)

    (value, after), gradients = expected(params, x)
    found, (found_gradients, input_error) = by_hand(params, x)
    _same(found, (value, after))
    _same(found_gradients, gradients[0])
    if kind == "numeric":
        _same(input_error, gradients[1])
    if kind == "categorical":
        assert input_error is None


def test_every_layer_has_a_rule_that_the_nets_above_use() -> None:
    used: set[type] = set()

    def walk(layer: Any) -> None:
        used.add(type(layer))
        for _, child in layer.children():
            walk(child)

    for net, _, _ in NETS.values():
        walk(net)
    elsewhere = (
        "danlu.nn.attention",
        "danlu.nn.transformer",
        "danlu.nn.swiglu",
        "danlu.nn.rms_norm",  # test_nn_transformer
        "danlu.nn.backprop.tabular_walk",  # tests/film
    )
    assert {rule for rule in LAYER_RULES if not rule.__module__.startswith(elsewhere)} <= used
    assert {Sequential, Residual, Parallel, MLP} <= used


def test_trace_by_hand() -> None:
    """The textbook's two-layer case, worked on paper: x=2, w=3, v=0.5, tanh between, half squared error against 1."""
    net = Sequential((Dense(1, "tanh", use_bias=False), Dense(1, use_bias=False)))
    params = ({"kernel": jnp.asarray([[0.3]])}, {"kernel": jnp.asarray([[0.5]])})
    seen = trace(net, params, ({}, {}), jnp.asarray([[2.0]]), jnp.asarray([1.0]), HalfMSE())
    h = np.tanh(0.6)
    error = 0.5 * h - 1
    first, second = seen.records
    assert float(seen.loss) == pytest.approx(error**2 / 2)
    assert float(seen.error[0, 0]) == float(second.error[0, 0]) == pytest.approx(error)
    assert float(second.gradients["kernel"][0, 0]) == pytest.approx(error * h)
    assert float(first.error[0, 0]) == float(second.input_error[0, 0]) == pytest.approx(error * 0.5)
    assert float(first.gradients["kernel"][0, 0]) == pytest.approx(error * 0.5 * (1 - h**2) * 2)
    assert float(seen.input_error[0, 0]) == pytest.approx(error * 0.5 * (1 - h**2) * 0.3)
    assert (first.path, second.path) == ("0", "1")
    assert float(second.input[0, 0]) == float(first.output[0, 0]) == pytest.approx(h)


def test_trace_agrees_with_pytorch(golden: Any) -> None:
    net = MLP((6,), 3, activation="relu", norm="layer")
    in_shape, x, y = _data("numeric", CategoricalCrossEntropy())
    params, state, _ = net.init(KEY, in_shape)
    seen = trace(net, params, state, x, y, CategoricalCrossEntropy())

    def theirs(torch: Any) -> dict[str, Any]:
        net = torch.nn.Sequential(
            torch.nn.Linear(6, 6, bias=False), torch.nn.LayerNorm(6), torch.nn.ReLU(), torch.nn.Linear(6, 3)
        )
        with torch.no_grad():
            net[0].weight.copy_(torch.tensor(np.asarray(params[0]["kernel"]).T.copy()))
            net[3].weight.copy_(torch.tensor(np.asarray(params[3]["kernel"]).T.copy()))
            net[3].bias.zero_()
        given, labels = torch.tensor(np.asarray(x)), torch.tensor(np.asarray(y)).long()
        loss = torch.nn.functional.cross_entropy(net(given), labels)
        loss.backward()
        return {
            "loss": loss,
            "0/kernel": net[0].weight.grad.T,
            "1/scale": net[1].weight.grad,
            "1/bias": net[1].bias.grad,
            "3/kernel": net[3].weight.grad.T,
            "3/bias": net[3].bias.grad,
        }

    expected = golden("torch", theirs)
    assert float(seen.loss) == pytest.approx(float(expected.pop("loss")), rel=1e-5)
    for name, other in expected.items():
        place, array = name.split("/")
        np.testing.assert_allclose(seen.gradients[int(place)][array], other, rtol=1e-4, atol=1e-6)


def test_a_layer_without_a_rule_goes_by_vjp() -> None:
    net = TabularNet(
        1, vocabularies=(9, 9), members=2, width=4, depth=1, numeric=NumericEmbedding(bins=0, frequencies=0)
    )
    x = {"numeric": jnp.asarray(RNG.normal(size=(4, 3)), jnp.float32), "categorical": jnp.asarray([[0, 1]] * 4)}
    y = jnp.arange(4.0)
    with jax.numpy_rank_promotion("allow"):
        params, state, _ = net.init(KEY, {"numeric": (3,), "categorical": (2,)})

        @jax.jit
        def both(params: Any) -> Any:
            seen = trace(net, params, state, x, y, MSE())
            assert [r.rule for r in seen.records if r.layer in (net.numeric, net.categorical)] == ["vjp", "vjp"]
            assert seen.input_error["categorical"] is None
            return seen.gradients, jax.grad(lambda p: jnp.mean(MSE()(net.apply(p, state, x)[0], y)))(params)

        _same(*both(params))


def test_trace_shows_itself() -> None:
    net = Sequential((Dense(4, "relu"), Dropout(0.1), Residual(Dense(4))))
    params, state, _ = net.init(KEY, (3,))
    seen = trace(net, params, state, jnp.ones((2, 3)), jnp.ones((2, 4)), MSE())
    text = str(seen)
    assert "Dense(4, relu)" in text
    assert "2/layer" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "<table>" in seen._repr_html_()
    with pytest.raises(DataError, match=r"weights of shape \(3,\); expected \(2,\)"):
        trace(net, params, state, jnp.ones((2, 3)), jnp.ones((2, 4)), MSE(), weights=jnp.ones(3))


def test_gradient_check_passes_a_right_gradient() -> None:
    net = Sequential((Dense(4, "tanh"), BatchNorm(), Dropout(0.3), Dense(3)))
    _, x, y = _data("numeric", CategoricalCrossEntropy())
    params, state, _ = net.init(KEY, (6,))
    found = gradient_check(
        net, params, state=state, x=x, y=y, loss=CategoricalCrossEntropy(), train=True, key=KEY, coordinates=2
    )
    assert found.ok, str(found)
    # Dense's bias before a batch norm has no effect: a gradient that is 0 but for rounding must pass.
    assert [row.path for row in found.rows] == [
        f"[{i}]['{name}']" for i, names in ((0, "bias kernel"), (1, "bias scale"), (3, "bias kernel")) for name in names.split()
    ]  # fmt: skip
    assert found.error < 1e-6
    assert "every gradient is right" in str(found)
    assert "<table>" in found._repr_html_()


@jax.custom_vjp
def _buggy_square(x: jax.Array) -> jax.Array:
    return x * x


_buggy_square.defvjp(lambda x: (x * x, x), lambda x, dy: (1.999 * x * dy,))


def test_gradient_check_fails_a_wrong_custom_rule() -> None:
    def function(params: Any) -> jax.Array:
        return jnp.sum(_buggy_square(params["bad"])) + jnp.sum(params["good"] ** 2)

    params = {"bad": jnp.arange(1.0, 4.0), "good": jnp.arange(1.0, 4.0)}
    found = gradient_check(function, params)
    assert not found.ok
    assert {row.path: row.ok for row in found.rows} == {"['bad']": False, "['good']": True}
    assert found.rows[0].error == pytest.approx(0.0005, rel=0.01)
    assert "1 of 2 gradients are WRONG" in str(found)


def test_gradient_check_fails_a_wrong_element_a_missing_factor_and_nan() -> None:
    params = {"w": jnp.arange(1.0, 5.0)}

    def function(params: Any) -> jax.Array:
        return jnp.sum(params["w"] ** 3)

    assert gradient_check(function, params, gradient=lambda p: {"w": 3 * p["w"] ** 2}).ok
    for wrong in (
        lambda p: {"w": (3 * p["w"] ** 2).at[2].multiply(1.01)},
        lambda p: {"w": p["w"] ** 2},
        lambda p: {"w": p["w"] * jnp.nan},
    ):
        assert not gradient_check(function, params, gradient=wrong).ok


def test_gradient_check_checks_the_trace() -> None:
    net = Sequential((Dense(3, "gelu"), LayerNorm(), Dense(1)))
    params, state, _ = net.init(KEY, (6,))
    with jax.enable_x64(True):
        x, y = jnp.asarray(RNG.normal(size=(4, 6))), jnp.asarray(RNG.normal(size=4))

        def by_hand(params: Any) -> Any:
            return trace(net, params, state, x, y, Huber()).gradients

        found = gradient_check(net, params, state=state, x=x, y=y, loss=Huber(), gradient=jax.jit(by_hand))
    assert found.ok, str(found)


def test_gradient_check_refuses_what_it_cannot_judge() -> None:
    with pytest.raises(DataError, match=r"float32.*\n.*without casts"):
        gradient_check(lambda p: jnp.sum(p.astype(jnp.float32)), jnp.ones(2))
    with pytest.raises(DataError, match=r"shape \(2,\); expected one float64"):
        gradient_check(lambda p: p, jnp.ones(2))
    with pytest.raises(DataError, match="structure"):
        gradient_check(lambda p: jnp.sum(p["w"]), {"w": jnp.ones(2)}, gradient=lambda p: p["w"])
    with pytest.raises(ConfigError, match="needs x"):
        gradient_check(Dense(1), {})
