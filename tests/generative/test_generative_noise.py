"""Diffusion and flows against closed forms: marginals, the posterior, DDPM as a case of DDIM, and mixtures whose score is known."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu.errors import ConfigError
from danlu.generative import Diffusion, RectifiedFlow, TimedUNet
from danlu.generative.flow import carried
from danlu.generative.noise import kept, noised, posterior, taken_out, times_of

SHARES, MEANS, SPREAD = np.array([0.7, 0.3]), np.array([-1.0, 1.5]), 0.2


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_noise_is_put_in_as_the_product_of_steps_says(schedule: str) -> None:
    """``x_t = √α_t·x_{t−1} + √β_t·ε`` step by step has the mean and the variance of one step from x_0."""
    alphas = kept(50, schedule)
    assert alphas[0] == 1
    assert alphas[-1] < 0.01
    mean, variance = 1.7, 0.0
    for now, before in zip(alphas[1:], alphas[:-1], strict=True):
        step = now / before
        mean, variance = np.sqrt(step) * mean, step * variance + 1 - step
        assert mean == pytest.approx(np.sqrt(now) * 1.7, rel=1e-9)
        assert variance == pytest.approx(1 - now, rel=1e-9)
    noise = jax.random.normal(jax.random.key(0), (4000, 1))
    found = noised(jnp.full((4000, 1), 1.7), noise, jnp.full(4000, alphas[20]))
    assert float(found.mean()) == pytest.approx(np.sqrt(alphas[20]) * 1.7, abs=0.05)
    assert float(found.std()) == pytest.approx(np.sqrt(1 - alphas[20]), abs=0.05)


def test_the_posterior_is_that_of_two_gaussians() -> None:
    """By Bayes' rule with precisions: of x_{t−1} given x_0, and of x_t given x_{t−1}."""
    alphas = kept(30)
    for t in (1, 2, 17, 30):
        now, before = alphas[t], alphas[t - 1]
        step = now / before
        x, noisy = 0.8, -0.3
        if before == 1:
            mean, variance = x, 0.0
        else:
            precision = 1 / (1 - before) + step / (1 - step)
            mean = (np.sqrt(before) * x / (1 - before) + np.sqrt(step) * noisy / (1 - step)) / precision
            variance = 1 / precision
        np.testing.assert_allclose(posterior(x, noisy, now, before), (mean, variance), rtol=1e-9, atol=1e-12)


def test_ddim_with_the_spread_of_ddpm_is_ddpm() -> None:
    alphas, x = kept(20), jnp.array([[0.4], [-1.2]])
    keys = jax.random.split(jax.random.key(3), 2)
    predict = lambda x, time: 0.6 * x + 0.1  # noqa: E731
    found = taken_out(predict, x, keys, alphas, np.array([9, 8]), eta=1.0)
    noise = predict(x, None)
    clean = (x - np.sqrt(1 - alphas[9]) * noise) / np.sqrt(alphas[9])
    mean, variance = posterior(clean, x, alphas[9], alphas[8])
    z = np.stack([jax.random.normal(jax.random.fold_in(key, 9), (1,)) for key in keys])
    np.testing.assert_allclose(found, mean + np.sqrt(variance) * z, rtol=1e-5, atol=1e-6)


def known_noise(x: jax.Array, alpha: Any) -> jax.Array:
    """``E[ε | x_t]`` of the mixture: −√(1 − ᾱ) times the score of its marginal."""
    wide = alpha * SPREAD**2 + 1 - alpha
    off = x[:, None] - jnp.sqrt(alpha) * MEANS[None]
    by = jax.nn.softmax(jnp.log(SHARES)[None] - off**2 / (2 * wide), axis=1)
    return jnp.sqrt(1 - alpha) * jnp.sum(by * off, axis=1) / wide


def assert_mixture(drawn: Any) -> None:
    drawn = np.asarray(drawn)
    right = drawn > 0.25
    assert right.mean() == pytest.approx(0.3, abs=0.035)
    for place, one in enumerate((drawn[~right], drawn[right])):
        assert one.mean() == pytest.approx(MEANS[place], abs=0.04)
        assert one.std() == pytest.approx(SPREAD, abs=0.04)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_the_exact_score_of_a_mixture_gives_the_mixture(eta: float) -> None:
    alphas, keys = kept(200), jax.random.split(jax.random.key(1), 3000)
    level = jnp.asarray(alphas, jnp.float32)
    start = jax.random.normal(jax.random.key(0), (3000,))
    predict = lambda x, time: known_noise(x, level[time[0]])  # noqa: E731
    assert_mixture(taken_out(predict, start, keys, alphas, times_of(200, 200), eta=eta))


def test_the_exact_velocity_of_a_mixture_carries_noise_to_the_mixture() -> None:
    def velocity(x: jax.Array, time: jax.Array) -> jax.Array:
        """``E[x − ε | x_t]``: of each part of the mixture they are linear in x_t."""
        wide = time**2 * SPREAD**2 + (1 - time) ** 2
        off = x[:, None] - time * MEANS[None]
        by = jax.nn.softmax(jnp.log(SHARES)[None] - off**2 / (2 * wide), axis=1)
        slope = (time * SPREAD**2 - (1 - time)) / wide
        return jnp.sum(by * (MEANS[None] + slope * off), axis=1)

    assert_mixture(carried(velocity, jax.random.normal(jax.random.key(0), (3000,)), 60))


def test_times_fall_from_the_last_to_the_first() -> None:
    assert times_of(1000, 1).tolist() == [1000, 0]
    assert times_of(10, 10).tolist() == list(range(10, -1, -1))
    assert times_of(10, 99).tolist() == list(range(10, -1, -1))


@pytest.fixture(scope="module")
def network() -> Any:
    network = Diffusion(TimedUNet((4,), classes=3), steps=20, classes=3)
    params, state, _ = network.init(jax.random.key(0), (4, 4, 1))
    leaves, form = jax.tree.flatten(params)  # some layers begin at 0
    own = [leaf + 0.2 * jax.random.normal(jax.random.key(n), leaf.shape) for n, leaf in enumerate(leaves)]
    return network, jax.tree.unflatten(form, own), state


def test_guidance_goes_from_no_label_through_the_label(network: Any) -> None:
    net, params, state = network
    x, time, labels = jax.random.normal(jax.random.key(5), (3, 4, 4, 1)), jnp.full(3, 0.5), jnp.array([0, 1, 2])
    said = [np.asarray(net.said_at(params, state, x, time, labels, by)) for by in (0.0, 1.0, 3.0)]
    none = np.asarray(net.said_at(params, state, x, time, jnp.full(3, 3)))
    assert np.abs(said[1] - none).max() > 1e-3
    np.testing.assert_allclose(said[0], none, atol=1e-5)
    np.testing.assert_allclose(said[2], none + 3 * (said[1] - none), atol=1e-4)


def test_a_net_begins_with_no_noise_at_all() -> None:
    """Its last layer starts at 0, so that the loss of a fresh one is the square of the noise, 1."""
    flow = RectifiedFlow(TimedUNet((4,)))
    params, state, _ = flow.init(jax.random.key(0), (4, 4, 1))
    found = flow.said(params, state, jnp.full((2, 4, 4, 1), 128, jnp.uint8))["velocity_loss"]
    np.testing.assert_allclose(found, 1, atol=0.25)
    np.testing.assert_array_equal(found[0], found[1])


def test_a_picture_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected multiples of 4"):
        TimedUNet((4, 8), patch=2).init(jax.random.key(0), {"x": (6, 8, 1), "time": (), "label": ()})
