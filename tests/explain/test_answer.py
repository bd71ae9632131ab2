"""What single answers are explained by: paths that add up, smoothed gradients, changes, alike rows, faithfulness."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu import nn
from danlu.errors import ConfigError, DataError
from danlu.explain import (
    coalition_values,
    counterfactuals,
    faithfulness,
    integrated_gradients,
    nearest_rows,
    representation,
    smooth_gradients,
)
from danlu.explain.path import TOLERANCE

RNG = np.random.default_rng(0)


def weights() -> list[np.ndarray]:
    return [RNG.normal(size=shape).astype(np.float32) for shape in ((5, 8), (8,), (8, 3))]


def test_integrated_gradients_are_those_of_captum(golden: Any) -> None:
    first, bias, last = weights()
    x, b = (RNG.normal(size=(4, 5)).astype(np.float32) for _ in range(2))

    def captum(attr: Any) -> dict[str, Any]:
        import torch

        net = torch.nn.Sequential(
            torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3, bias=False), torch.nn.Softmax(1)
        )
        with torch.no_grad():
            for parameter, value in zip(net.parameters(), (first.T, bias, last.T), strict=True):
                parameter.copy_(torch.tensor(value))
        found = attr.IntegratedGradients(net).attribute(
            torch.tensor(x), torch.tensor(b), target=1, n_steps=256, method="riemann_middle"
        )
        return {"values": found}

    score = lambda z: jax.nn.softmax(jnp.tanh(z @ first + bias[None]) @ last)[:, 1]  # noqa: E731
    found = integrated_gradients(score, x, b, steps=256)
    np.testing.assert_allclose(found.values, golden("captum.attr", captum)["values"], atol=1e-6)


def test_more_points_are_taken_until_the_values_add_up() -> None:
    score = lambda z, sharp: jax.nn.sigmoid(sharp * (z[:, 0] - 0.5)) + z[:, 1]  # noqa: E731  a cliff half-way
    x = np.array([[1.0, 2.0], [1.0, 0.0]], np.float32)
    few = integrated_gradients(score, x, steps=8, given=jnp.float32(200))
    found = integrated_gradients(score, x, steps=8, given=jnp.float32(200), most=4096)
    assert few.missed > TOLERANCE >= found.missed
    assert 8 < found.steps <= 4096
    still = integrated_gradients(score, x, steps=8, given=jnp.float32(200), most=16)
    assert still.steps == 16
    assert still.missed > TOLERANCE  # which is said, not hidden
    mean = integrated_gradients(score, x, steps=8, given=jnp.float32(200), most=4096, mean=True)
    np.testing.assert_allclose(mean.values, np.mean(found.values, axis=0, keepdims=True), atol=2e-4)


def test_smoothed_gradients_of_a_quadratic_are_exact_and_of_a_cubic_feel_the_noise() -> None:
    x = RNG.normal(size=(3, 2)).astype(np.float32)
    found = smooth_gradients(lambda z: (z**2).sum(axis=1), x, noise=0.5, samples=3)
    np.testing.assert_allclose(found, 2 * x, rtol=1e-5)
    cubic = smooth_gradients(lambda z: (z["a"] ** 3).sum(axis=1), {"a": x}, noise={"a": 0.5}, samples=4000)
    np.testing.assert_allclose(cubic["a"], 3 * (x**2 + 0.25), atol=0.1)  # E (x + ε)² = x² + σ²
    none = smooth_gradients(lambda z: (z["a"] ** 3).sum(axis=1), {"a": x}, noise={"a": 0.0}, samples=2)
    np.testing.assert_allclose(none["a"], 3 * x**2, rtol=1e-5)
    with pytest.raises(ConfigError, match="samples=0"):
        smooth_gradients(lambda z: z[:, 0], x, samples=0)


def sums(changes: Any) -> np.ndarray:
    """At least 3 of x + y + z is wanted."""
    return np.array([sum(each.get(name, 0.0) for name in "xyz") - 3.0 for each in changes])


OPTIONS = {"x": [(1.0, 1.0), (4.0, 4.0)], "y": [(2.0, 2.0)], "z": [(1.0, 0.1), (2.5, 0.2)]}


def test_the_fewest_changes_come_first_then_the_smallest() -> None:
    assert [(dict(each.values), each.cost) for each in counterfactuals(sums, OPTIONS)] == [({"x": 4.0}, 4.0)]
    without = {name: values for name, values in OPTIONS.items() if name != "x"} | {"x": [(1.0, 1.0)]}
    found = counterfactuals(sums, without)
    assert [dict(each.values) for each in found] == [{"z": 2.5, "x": 1.0}, {"y": 2.0, "z": 1.0}, {"y": 2.0, "x": 1.0}]
    assert all(sums([each.values])[0] >= 0 for each in found)


def test_changes_stay_within_their_limits_or_there_are_none() -> None:
    rare = lambda changes: np.array([each.get("x") != 4.0 for each in changes])  # noqa: E731
    found = counterfactuals(sums, OPTIONS, plausible=rare)
    assert found
    assert all(each.values.get("x") != 4.0 and len(each.values) == 2 for each in found)
    assert counterfactuals(sums, OPTIONS, plausible=rare, most=1) == []
    assert counterfactuals(sums, {"y": [(2.0, 2.0)]}) == []
    finer = lambda name, near, far: [(each, each) for each in np.arange((near or 0) + 0.5, far + 0.1, 0.5)]  # noqa: E731
    [smaller, *_] = counterfactuals(sums, {"x": [(4.0, 4.0)]}, finer=finer)
    assert (dict(smaller.values), smaller.cost) == ({"x": 3.0}, 3.0)
    with pytest.raises(ConfigError, match="most=0"):
        counterfactuals(sums, OPTIONS, most=0)


def test_what_the_last_layer_receives() -> None:
    net = nn.MLP((6,), 2, activation="tanh")
    params, state, _ = net.init(jax.random.key(0), (3,))
    x = RNG.normal(size=(4, 3)).astype(np.float32)
    hidden = np.tanh(x @ np.asarray(params[0]["kernel"]) + np.asarray(params[0]["bias"]))
    np.testing.assert_allclose(representation(net, params, state, x), hidden, atol=1e-5)
    table = nn.TabularNet(2, members=3, width=4, depth=1, dropout=0.0)
    params, state, _ = table.init(jax.random.key(1), {"numeric": (3,)})
    inside = representation(table, params, state, {"numeric": x}).reshape(4, 3, 4)
    outputs = np.einsum("rmw,mwu->rmu", inside, params["head"]) + np.asarray(params["head_bias"])
    np.testing.assert_allclose(
        outputs, jax.jit(table.apply)(params, state, {"numeric": x})[0], atol=1e-5
    )  # a shortcut starts at 0
    with pytest.raises(ConfigError, match="dense layer"):
        representation(nn.GlobalAveragePool(), (), (), x)
    places, alike = nearest_rows(hidden[:1], hidden)
    assert places[0, 0] == 0
    assert alike[0, 0] == pytest.approx(1)
    with pytest.raises(DataError, match="same features"):
        nearest_rows(hidden, hidden[:, :2])


def test_a_right_explanation_is_more_faithful_than_chance_and_a_wrong_one_less() -> None:
    slope, row, background = RNG.normal(size=8), np.ones((1, 8)), RNG.normal(size=(5, 8)) / 10
    value = coalition_values(lambda x: x @ slope, row, background)
    right, wrong = (faithfulness(value, sign * slope).areas for sign in (1, -1))
    assert right["deletion"] < right["random deletion"] < wrong["deletion"]
    assert right["insertion"] > right["random insertion"] > wrong["insertion"]
    assert "lower is better" in str(faithfulness(value, slope))
    np.testing.assert_allclose(value(np.ones((1, 8), bool)), row @ slope)
    with pytest.raises(DataError, match="parts"):
        faithfulness(value, np.zeros(0))
