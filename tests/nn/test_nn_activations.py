"""Activations: against float64 formulas and PyTorch, at the extremes, and the hand-written derivatives."""

from __future__ import annotations

import math
from typing import Any

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu.errors import ConfigError
from danlu.nn.activations import ACTIVATIONS, elu, get_activation, leaky_relu, log_softmax, relu, softmax
from danlu.nn.backprop import ACTIVATION_RULES

pytestmark = pytest.mark.usefixtures("no_silent_broadcasting")

NAMES = sorted(ACTIVATIONS)
ALONG_AXIS = ("softmax", "log_softmax")
GRID = np.array([-30.0, -8.5, -3.0, -1.0, -0.3, 0.2, 0.9, 2.5, 6.0, 30.0])


def _erf(x: np.ndarray) -> np.ndarray:
    return np.array([math.erf(v) for v in x.ravel()]).reshape(x.shape)


def _softmax(x: np.ndarray) -> np.ndarray:
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


FORMULAS = {
    "elu": lambda x: np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1),
    "gelu": lambda x: x * (1 + _erf(x / math.sqrt(2))) / 2,
    "gelu_tanh": lambda x: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    "identity": lambda x: x,
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "log_softmax": lambda x: np.log(_softmax(x)),
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "softmax": _softmax,
    "softplus": lambda x: np.log(1 + np.exp(x)),
    "tanh": np.tanh,
}


def _vjp(name: str, x: jax.Array, dy: jax.Array) -> tuple[jax.Array, jax.Array]:
    y, back = jax.vjp(ACTIVATIONS[name], x)
    return y, back(dy)[0]


@pytest.mark.parametrize("name", NAMES)
def test_value_is_the_formula(name: str) -> None:
    with jax.enable_x64(True):
        np.testing.assert_allclose(ACTIVATIONS[name](jnp.asarray(GRID)), FORMULAS[name](GRID), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_derivative_is_that_of_finite_differences_and_of_the_rule(name: str) -> None:
    with jax.enable_x64(True):
        x, dy = jnp.asarray(GRID / 5), jnp.asarray(np.cos(GRID))
        y, dx = _vjp(name, x, dy)
        step = 1e-6 * np.eye(len(GRID))
        moved = FORMULAS[name](np.asarray(x) + step) - FORMULAS[name](np.asarray(x) - step)
        np.testing.assert_allclose(dx, moved @ np.asarray(dy) / 2e-6, atol=1e-8)
        np.testing.assert_allclose(ACTIVATION_RULES[name](x, y, dy), dx, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float16, jnp.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_extremes_are_finite_and_the_type_is_kept(name: str, dtype: jnp.dtype) -> None:
    x = jnp.asarray([-1e4, -100.0, -1.0, 0.0, 1.0, 100.0, 1e4], dtype)
    y, dx = _vjp(name, x, jnp.ones_like(x))
    assert y.dtype == dtype
    assert dx.dtype == dtype
    assert np.isfinite(np.asarray(y, np.float32)).all()
    assert np.isfinite(np.asarray(dx, np.float32)).all()
    rule = ACTIVATION_RULES[name](x, y, jnp.ones_like(x))
    assert np.isfinite(np.asarray(rule, np.float32)).all()


def test_derivatives_at_zero_are_the_conventions() -> None:
    zero = jnp.zeros(())
    found = {name: float(jax.grad(ACTIVATIONS[name])(zero)) for name in NAMES if name not in ALONG_AXIS}
    expected = dict.fromkeys(found, 0.5) | {"elu": 1, "identity": 1, "leaky_relu": 0.01, "relu": 0, "tanh": 1}
    assert found == pytest.approx(expected | {"sigmoid": 0.25})


@pytest.mark.parametrize("name", NAMES)
def test_nan_is_not_hidden(name: str) -> None:
    assert np.isnan(ACTIVATIONS[name](jnp.asarray([jnp.nan, 1.0]))[0])


def test_parameters_are_used() -> None:
    x = jnp.asarray([-2.0, 2.0])
    assert leaky_relu(x, 0.2).tolist() == pytest.approx([-0.4, 2])
    assert elu(x, 3.0).tolist() == pytest.approx([3 * math.expm1(-2), 2])
    table = jnp.asarray([[1.0, 2.0], [3.0, 5.0]])
    assert jnp.allclose(softmax(table, axis=0), softmax(table.T).T)
    assert jnp.allclose(log_softmax(table, axis=0), log_softmax(table.T).T)


@pytest.mark.parametrize("name", NAMES)
def test_agrees_with_pytorch(name: str, golden: Any) -> None:
    def theirs(torch: Any) -> dict[str, Any]:
        functions = {
            "gelu_tanh": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
            "identity": lambda x: x * 1,
            "log_softmax": lambda x: torch.log_softmax(x, -1),
            "softmax": lambda x: torch.softmax(x, -1),
            "sigmoid": torch.sigmoid,
            "tanh": torch.tanh,
        }
        x = torch.tensor(GRID, dtype=torch.float32, requires_grad=True)
        y = functions.get(name, getattr(torch.nn.functional, name, None))(x)
        y.backward(torch.cos(x.detach()))
        return {"y": y, "dx": x.grad}

    expected = golden("torch", theirs)
    ours, dx = _vjp(name, jnp.asarray(GRID, jnp.float32), jnp.cos(jnp.asarray(GRID, jnp.float32)))
    np.testing.assert_allclose(ours, expected["y"], rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose(dx, expected["dx"], rtol=2e-5, atol=2e-6)


vectors = st.lists(st.floats(-50, 50, width=32), min_size=4, max_size=4)


@hypothesis.settings(deadline=None, max_examples=30)
@hypothesis.given(vectors, st.floats(-1000, 1000, width=32), st.permutations(range(4)))
def test_softmax_ignores_shifts_and_follows_permutations(values: list[float], shift: float, order: list[int]) -> None:
    x = jnp.asarray(values, jnp.float32)
    p = softmax(x)
    # A shift of 1000 rounds the logits themselves to about 6e-5.
    np.testing.assert_allclose(softmax(x + shift), p, atol=2e-4)
    np.testing.assert_allclose(softmax(x[jnp.asarray(order)]), p[jnp.asarray(order)], rtol=1e-5, atol=1e-30)
    np.testing.assert_allclose(p.sum(), 1, rtol=1e-5)
    np.testing.assert_allclose(jnp.exp(log_softmax(x)), p, rtol=1e-4, atol=1e-30)


def test_an_unknown_name_offers_the_nearest() -> None:
    assert get_activation("relu") is relu
    with pytest.raises(ConfigError, match="did you mean 'gelu_tanh'"):
        get_activation("gelu_tan")
