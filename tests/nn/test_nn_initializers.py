"""Initializers: moments and ranges against the papers' formulas, orthogonality, choice by activation."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu.blueprint import from_json, to_json
from danlu.errors import ConfigError
from danlu.nn.initializers import INITIALIZERS, Orthogonal, VarianceScaling, fans, get_initializer, initializer_for

pytestmark = pytest.mark.usefixtures("no_silent_broadcasting")

SHAPE = (160, 240)
STDDEV = {
    "glorot_normal": math.sqrt(2 / 400),
    "glorot_uniform": math.sqrt(2 / 400),
    "he_normal": math.sqrt(2 / 160),
    "he_uniform": math.sqrt(2 / 160),
    "lecun_normal": math.sqrt(1 / 160),
    "lecun_uniform": math.sqrt(1 / 160),
    "normal": 0.02,
    "ones": 0.0,
    "truncated_normal": 0.02,
    "zeros": 0.0,
}


@pytest.mark.parametrize("name", sorted(STDDEV))
def test_mean_and_spread(name: str) -> None:
    drawn = np.asarray(INITIALIZERS[name](jax.random.key(0), SHAPE))
    stddev = STDDEV[name]
    assert drawn.shape == SHAPE
    assert drawn.mean() == pytest.approx(1.0 if name == "ones" else 0.0, abs=5 * stddev / math.sqrt(drawn.size) + 1e-9)
    assert drawn.std() == pytest.approx(stddev, rel=0.015)
    if name.endswith("uniform"):
        assert np.abs(drawn).max() <= math.sqrt(3) * stddev
        assert np.abs(drawn).max() > 0.99 * math.sqrt(3) * stddev
    if name in ("truncated_normal", "he_normal"):
        assert np.abs(drawn).max() < 2.3 * stddev


@pytest.mark.parametrize("name", sorted(INITIALIZERS))
def test_contract(name: str) -> None:
    init = get_initializer(name)
    first = init(jax.random.key(1), (4, 3))
    assert first.dtype == jnp.float32
    assert init(jax.random.key(1), (4, 3), jnp.float16 if name != "orthogonal" else jnp.float32).shape == (4, 3)
    assert jnp.array_equal(first, init(jax.random.key(1), (4, 3)))
    assert name in ("zeros", "ones") or not jnp.array_equal(first, init(jax.random.key(2), (4, 3)))
    assert from_json(to_json(init)) == init
    assert get_initializer(init) is init


@pytest.mark.parametrize("shape", [(5, 5), (3, 8), (8, 3), (2, 2, 3, 5)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    matrix = np.asarray(Orthogonal(2.0)(jax.random.key(0), shape)).reshape(-1, shape[-1])
    small = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-5)


def test_orthogonal_is_uniform() -> None:
    # A QR without the sign correction never has a positive first diagonal element for LAPACK's Householder form.
    keys = jax.random.split(jax.random.key(0), 200)
    corners = jax.vmap(lambda key: Orthogonal()(key, (2, 2))[0, 0])(keys)
    assert 70 < int((corners > 0).sum()) < 130


def test_convolution_shapes_count_the_window() -> None:
    assert fans(()) == (1, 1)
    assert fans((7,)) == (7, 7)
    assert fans((3, 3, 16, 32)) == (144, 288)
    drawn = VarianceScaling(2.0, "fan_out", "uniform")(jax.random.key(0), (3, 3, 16, 32))
    assert float(drawn.std()) == pytest.approx(math.sqrt(2 / 288), rel=0.03)


def test_the_activation_chooses() -> None:
    assert initializer_for("relu") == initializer_for("gelu") == INITIALIZERS["he_normal"]
    assert initializer_for("tanh") == initializer_for("softmax") == INITIALIZERS["glorot_uniform"]
    assert initializer_for("identity") == INITIALIZERS["lecun_normal"]


def test_errors() -> None:
    with pytest.raises(ConfigError, match="did you mean 'he_normal'"):
        get_initializer("he_norml")
    with pytest.raises(ConfigError, match="unknown activation"):
        initializer_for("relo")
    with pytest.raises(ConfigError, match="at least two axes"):
        Orthogonal()(jax.random.key(0), (3,))
    with pytest.raises(ConfigError, match=r"VarianceScaling.scale is 0; expected a number > 0"):
        VarianceScaling(0)
