"""The forecaster and the quantile losses: formulas in float64, scikit-learn, finite differences, the layer contract."""

from __future__ import annotations

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import danlu
from danlu.blueprint import from_json, to_json
from danlu.errors import ConfigError, DataError
from danlu.nn import Forecaster, Layer, summary
from danlu.nn.backprop import gradient_check, trace
from danlu.nn.backprop.loss_rules import loss_backward
from danlu.nn.forecast import moving_average, moving_average_backward
from danlu.nn.losses import MAE, ForecastLoss, Pinball, centre_error, reduce

pytestmark = pytest.mark.usefixtures("no_silent_broadcasting")
RNG = np.random.default_rng(4)
KEY = jax.random.key(3)
ROWS, CONTEXT, HORIZON, CHANNELS = 5, 9, 4, 2
Q = (0.1, 0.5, 0.8)

NETS: dict[str, tuple[Layer, Any]] = {
    "linear": (Forecaster(HORIZON, CHANNELS), (CONTEXT, CHANNELS)),
    "everything": (
        Forecaster(HORIZON, CHANNELS, observed=1, known=3, quantiles=Q, smoothing=3, hidden=5, dropout=0.2),
        {"past": (CONTEXT, CHANNELS + 1), "known": (CONTEXT + HORIZON, 3)},
    ),
}
nets = pytest.mark.parametrize("name", NETS)


def _drawn(name: str, dtype: Any = jnp.float32) -> tuple[Layer, Any, Any, Any]:
    """A net with random weights everywhere (its own start at 0), its state, and inputs."""
    layer, shape = NETS[name]
    params, state, _ = layer.init(KEY, shape)
    params = jax.tree.map(lambda a: jnp.asarray(RNG.normal(0, 0.4, a.shape), dtype), params)
    is_shape = lambda s: isinstance(s, tuple)  # noqa: E731
    x = jax.tree.map(lambda s: jnp.asarray(RNG.normal(2, 3, (ROWS, *s)), dtype), shape, is_leaf=is_shape)
    return layer, params, state, x


@nets
def test_contract(name: str) -> None:
    layer, params, state, x = _drawn(name)
    shape = NETS[name][1]
    compiled = jax.jit(layer.apply, static_argnames="train")
    y, after = compiled(params, state, x)
    assert y.shape == (ROWS, *layer.out_shape(shape))
    assert y.dtype == jnp.float32
    assert jax.tree.structure(after) == jax.tree.structure(state)
    alone = compiled(params, state, jax.tree.map(lambda a: a[2:4], x))[0]
    np.testing.assert_allclose(alone, y[2:4], rtol=1e-4, atol=1e-5)
    members = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), params)
    together = jax.jit(jax.vmap(lambda p: layer.apply(p, state, x)[0]))(members)
    np.testing.assert_allclose(together[0], y, rtol=1e-4, atol=1e-5)
    half = jax.tree.map(lambda a: a.astype(jnp.bfloat16), (params, state, x))
    assert jax.eval_shape(lambda p, s, x: layer.apply(p, s, x, train=True, key=KEY)[0], *half).dtype == jnp.bfloat16
    assert from_json(json.loads(json.dumps(to_json(layer)))) == layer
    assert hash(layer) == hash(layer.replace())
    fresh = layer.init(KEY, shape)[0]
    for index, ((_, child), in_shape) in enumerate(zip(layer.children(), layer.child_shapes(shape), strict=True)):
        own = child.init(jax.random.fold_in(KEY, index), in_shape)[0]
        jax.tree.map(np.testing.assert_array_equal, fresh[index], own)
    assert "Forecaster" in str(summary(layer, shape))
    assert summary(layer, shape).flops > 0


def test_output_is_the_formula() -> None:
    """Row by row and channel by channel in NumPy, as the docstring reads."""
    layer, params, state, x = _drawn("everything")
    got = np.asarray(jax.jit(layer.apply)(params, state, x)[0])
    p = dict(zip([name for name, _ in layer.children()], jax.tree.map(np.asarray, params), strict=True))
    past, known = np.asarray(x["past"], np.float64), np.asarray(x["known"], np.float64)
    outputs = 1 + len(Q)

    def scaled(series: np.ndarray) -> tuple[np.ndarray, float, float]:
        spread = np.sqrt(series.var() + layer.epsilon)
        return (series - series.mean()) / spread, series.mean(), spread

    for row in range(ROWS):
        z, _, _ = scaled(past[row, :, CHANNELS])
        seen = z @ p["observed"]["kernel"] + p["observed"]["bias"]
        effect = np.outer(seen, p["observed_effect"]["kernel"][0]).reshape(HORIZON, CHANNELS, outputs)
        future = known[row, CONTEXT:] - known[row, :CONTEXT].mean(axis=0)
        effect += (future @ p["known_effect"]["kernel"]).reshape(HORIZON, CHANNELS, outputs)
        for channel in range(CHANNELS):
            z, mean, spread = scaled(past[row, :, channel])
            ends = np.concatenate([z[:1], z, z[-1:]])
            trend = (ends[:-2] + ends[1:-1] + ends[2:]) / 3
            first, _, last = p["hidden"]
            hidden = np.maximum(z @ first["kernel"] + first["bias"], 0) @ last["kernel"]
            shape = (z - trend) @ p["linear"]["kernel"] + p["linear"]["bias"] + trend @ p["trend"]["kernel"] + hidden
            expected = mean + spread * shape.reshape(HORIZON, outputs) + effect[:, channel]
            np.testing.assert_allclose(got[row, :, channel], expected, rtol=1e-3, atol=1e-3)


def test_forecast_follows_level_and_scale() -> None:
    layer, params, state, x = _drawn("linear")
    run = jax.jit(lambda x: layer.apply(params, state, x)[0])
    y, moved = run(x), run(10 * x + 300)
    np.testing.assert_allclose(moved, 10 * y + 300, rtol=1e-4, atol=1e-2)
    flat, slope = jax.jit(jax.value_and_grad(lambda x: run(x).sum()))(jnp.full_like(x, 7.0))
    assert jnp.isfinite(flat)
    assert jnp.isfinite(slope).all()


def test_moving_average_is_a_convolution_and_its_transpose() -> None:
    z, dy = RNG.normal(size=(2, 3, 8))
    padded = np.pad(z, ((0, 0), (2, 2)), mode="edge")
    expected = np.stack([np.convolve(row, np.full(5, 0.2), "valid") for row in padded])
    np.testing.assert_allclose(moving_average(jnp.asarray(z, jnp.float32), 5), expected, rtol=1e-5, atol=1e-6)
    _, back = jax.vjp(lambda z: moving_average(z, 5), jnp.asarray(z, jnp.float32))
    by_rule = moving_average_backward(jnp.asarray(dy, jnp.float32), 5)
    np.testing.assert_allclose(by_rule, back(jnp.asarray(dy, jnp.float32))[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "train"), [("linear", False), ("everything", True)])
def test_backpropagation_by_hand_is_autodiff(name: str, train: bool) -> None:
    with jax.enable_x64(True):
        layer, params, state, x = _drawn(name, jnp.float64)
        y = jnp.asarray(RNG.normal(size=(ROWS, HORIZON, CHANNELS)))
        loss = ForecastLoss(layer.quantiles)
        weights = jnp.asarray(RNG.uniform(size=ROWS))

        def total(params: Any, x: Any) -> jax.Array:
            outputs = layer.apply(params, state, x, train=train, key=KEY)[0]
            return reduce(loss(outputs, y), weights)

        rules = set()

        @jax.jit
        def by_hand(params: Any, x: Any) -> Any:
            seen = trace(layer, params, state, x, y, loss, weights=weights, train=train, key=KEY)
            rules.update({seen.loss_rule, *(record.rule for record in seen.records)})
            return seen.gradients, seen.input_error

        expected = jax.jit(jax.grad(total, argnums=(0, 1)))(params, x)
        for got, want in zip(by_hand(params, x), expected, strict=True):
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9), got, want)
        assert rules == {"formula"}


def test_gradient_check_passes() -> None:
    layer, params, state, x = _drawn("linear")
    y = jnp.asarray(RNG.normal(size=(ROWS, HORIZON, CHANNELS)), jnp.float32)
    loss = ForecastLoss(layer.quantiles)
    assert gradient_check(layer, params, state=state, x=x, y=y, loss=loss, directions=1, coordinates=1).ok


def test_pinball_is_the_formula_and_scikit_learn() -> None:
    z, y = RNG.normal(size=(7, 4, 3)), RNG.normal(size=(7, 4))
    expected = np.zeros(7)
    for k, q in enumerate(Q):
        error = y - z[..., k]
        expected += np.maximum(q * error, (q - 1) * error).mean(axis=1) / len(Q)
    got = Pinball(Q)(jnp.asarray(z, jnp.float32), jnp.asarray(y, jnp.float32))
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    metrics = pytest.importorskip("sklearn.metrics")
    theirs = np.mean([metrics.mean_pinball_loss(y.ravel(), z[..., k].ravel(), alpha=q) for k, q in enumerate(Q)])
    np.testing.assert_allclose(reduce(got), theirs, rtol=1e-5)
    median = Pinball((0.5,))(jnp.asarray(z[..., :1]), jnp.asarray(y))
    np.testing.assert_allclose(2 * median, MAE()(jnp.asarray(z[..., 0]), jnp.asarray(y)), rtol=1e-5)


@pytest.mark.parametrize("loss", [Pinball(Q), ForecastLoss(Q), ForecastLoss(Q, "mae"), ForecastLoss(())])
def test_loss_derivatives_by_hand_autodiff_and_differences(loss: Any) -> None:
    heads = len(loss.quantiles) + isinstance(loss, ForecastLoss)
    with jax.enable_x64(True):
        z, y = jnp.asarray(RNG.normal(size=(6, 4, heads))), jnp.asarray(RNG.normal(size=(6, 4)))
        shares = jnp.asarray(RNG.uniform(size=6))
        total = jax.jit(lambda z: jnp.sum(shares * loss(z, y)))
        automatic = jax.jit(jax.grad(total))(z)
        by_hand, kind = loss_backward(loss, z, y, shares)
        assert kind == "formula"
        np.testing.assert_allclose(by_hand, automatic, rtol=1e-9, atol=1e-14)
        direction = jnp.asarray(RNG.normal(size=z.shape))
        ends = [float(total(z + step * direction)) for step in (1e-6, -1e-6)]
        np.testing.assert_allclose(jnp.sum(automatic * direction), (ends[0] - ends[1]) / 2e-6, rtol=1e-6)


def test_forecast_loss_is_its_parts() -> None:
    z, y = jnp.asarray(RNG.normal(size=(6, 4, 4)), jnp.float32), jnp.asarray(RNG.normal(size=(6, 4)), jnp.float32)
    parts = centre_error(z, y) + Pinball(Q)(z[..., 1:], y)
    np.testing.assert_allclose(ForecastLoss(Q)(z, y), parts, rtol=1e-6)
    np.testing.assert_allclose(
        centre_error(z, y), np.mean((np.asarray(z)[..., 0] - np.asarray(y)) ** 2, axis=1), rtol=1e-5
    )


def test_pinball_learns_the_quantiles() -> None:
    y = RNG.normal(size=4000).astype(np.float32)
    x = np.zeros((4000, 1), np.float32)
    fitted = danlu.fit(
        danlu.nn.Dense(3), (x, y), loss=Pinball(Q), epochs=30, batch_size=256, learning_rate=0.05, display="none"
    )
    np.testing.assert_allclose(fitted.params["bias"], np.quantile(y, Q), atol=0.1)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Forecaster(0), ConfigError, "Forecaster.horizon is 0"),
        (lambda: Forecaster(3, smoothing=4), ConfigError, "odd"),
        (lambda: Forecaster(3, quantiles=(0.5, 0.1)), ConfigError, "growing"),
        (lambda: Pinball(()), ConfigError, "at least one"),
        (lambda: Pinball((0.0, 0.5)), ConfigError, r"in \(0, 1\)"),
        (lambda: ForecastLoss(Q, "mape"), ConfigError, "one of: mae, mse"),
        (lambda: Forecaster(3, 2).init(KEY, (9, 3)), DataError, r"expected \(context, 2\)"),
        (lambda: Forecaster(3, 2, known=1).init(KEY, (9, 2)), DataError, r"'known': \(context \+ 3, 1\)"),
        (
            lambda: Forecaster(3, known=1).init(KEY, {"past": (9, 1), "known": (9, 1)}),
            DataError,
            r"expected \{'past': \(context, 1\)",
        ),
        (lambda: Pinball(Q)(jnp.ones((2, 3, 2)), jnp.ones((2, 3))), DataError, r"shape \(2, 3, 3\), 3 for each"),
        (lambda: centre_error(jnp.ones((2, 3)), jnp.ones((2, 3))), DataError, "centre_error"),
    ],
)
def test_errors(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
