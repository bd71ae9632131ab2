"""ε over time, and the moments of the noises."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu.blueprint import from_json, to_json
from danlu.errors import ConfigError
from danlu.rl.exploration import Epsilon, GaussianNoise, OrnsteinUhlenbeck


def test_epsilon_ends_exactly_and_survives_json() -> None:
    counts = jnp.array([0, 25, 50, 2_000_000_000])
    np.testing.assert_allclose(Epsilon(0.9, 0.1, 50)(counts), [0.9, 0.5, 0.1, 0.1], rtol=1e-6)
    falling = Epsilon(0.9, 0.1, 50, "exponential")
    np.testing.assert_allclose(falling(counts), [0.9, 0.3, 0.1, 0.1], rtol=1e-6)
    assert from_json(to_json(falling)) == falling
    np.testing.assert_allclose(Epsilon(0.3, 0.3)(counts), 0.3, rtol=1e-6)
    with pytest.raises(ConfigError, match="exponentially; expected both above 0"):
        Epsilon(1.0, 0.0, 10, "exponential")
    with pytest.raises(ConfigError, match=r"theta·dt = 2"):
        OrnsteinUhlenbeck(theta=2.0)


@pytest.mark.parametrize("noise", [GaussianNoise(0.5), OrnsteinUhlenbeck(0.4, 0.36, 0.5)])
def test_moments_of_the_noise(noise: GaussianNoise | OrnsteinUhlenbeck) -> None:
    def walk(state: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return noise.draw(state, key, jnp.zeros(64, bool))

    values = np.asarray(jax.lax.scan(walk, noise.init((64, 2)), jax.random.split(jax.random.key(0), 500))[1])[50:]
    keep = 0.0 if isinstance(noise, GaussianNoise) else 1 - 0.36 * 0.5
    spread = 0.5 if isinstance(noise, GaussianNoise) else 0.4 * np.sqrt(0.5 / (1 - keep**2))
    assert abs(values.mean()) < 0.02
    assert values.std() == pytest.approx(spread, rel=0.02)
    assert np.corrcoef(values[1:].ravel(), values[:-1].ravel())[0, 1] == pytest.approx(keep, abs=0.02)
