"""GANs: what is in their losses against hand-worked and finite differences, the spectral norm, the doctor, and a ring of Gaussians."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu import nn
from danlu.errors import ConfigError
from danlu.generative import GAN, GameRecipe, GanGame
from danlu.generative.gan import findings, variety


def test_the_spectral_norm_is_the_largest_singular_value() -> None:
    for inner, shape in ((nn.Dense(3), (4,)), (nn.Conv(5, 3), (6, 6, 2))):
        layer = nn.SpectralNorm(inner, steps=60)
        params, state, _ = layer.init(jax.random.key(1), shape)
        x = jax.random.normal(jax.random.key(2), (3, *shape))
        y, state = layer.apply(params, state, x, train=True)
        kernel = np.asarray(params[0]["kernel"])
        largest = np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]), compute_uv=False)[0]
        assert float(layer.sigma(params, state)) == pytest.approx(largest, rel=1e-4)
        plain, _ = inner.apply({**params[0], "kernel": kernel / largest}, state[0], x)
        np.testing.assert_allclose(y, plain, rtol=1e-3, atol=1e-5)
        again, kept = layer.apply(params, state, x)
        np.testing.assert_array_equal(kept[1]["u"], state[1]["u"])
        np.testing.assert_allclose(again, y, rtol=1e-4, atol=1e-6)


def test_a_layer_without_a_kernel_has_no_spectral_norm() -> None:
    with pytest.raises(ConfigError, match="Flatten, which has no kernel"):
        nn.SpectralNorm(nn.Flatten()).init(jax.random.key(0), (3,))


@pytest.fixture(scope="module")
def small() -> Any:
    network = GAN(nn.MLP((6,), 2), nn.MLP((6,), 1, activation="tanh"), 2)
    (generator, critic), state, _ = network.init(jax.random.key(0), (2,))
    batch = {"x": jnp.array([[0.2, 0.9], [0.7, 0.1], [0.5, 0.4]]), "y": jnp.zeros(3), "weight": jnp.ones(3)}
    return network, {"generator": generator, "critic": critic}, state, batch


def test_r1_is_the_square_of_the_slope_by_finite_differences(small: Any) -> None:
    network, params, state, batch = small
    found = GanGame(network, "critic")(params, state, batch, jax.random.key(0), train=True)[0]["slope"]
    real, none = np.asarray(2 * batch["x"] - 1), jnp.zeros(3, jnp.int32)

    def opinion(x: Any) -> np.ndarray:
        return np.asarray(network.opinion(params["critic"], state[1], jnp.asarray(x), none)[0], np.float64)

    steps = 1e-2 * np.eye(2, dtype=np.float32)
    slope = np.stack([(opinion(real + step) - opinion(real - step)) / 2e-2 for step in steps], axis=1)
    np.testing.assert_allclose(found, np.square(slope).sum(axis=1), rtol=2e-2)


def test_the_gradient_of_the_penalty_is_right(small: Any) -> None:
    """A derivative of a derivative: along one direction of the critic's weights, by finite differences."""
    network, params, state, batch = small
    game = GanGame(network, "critic", "wasserstein", "wgan-gp")

    @jax.jit
    def loss(critic: Any) -> jax.Array:
        own = {**params, "critic": critic}
        return jnp.sum(game(own, state, batch, jax.random.key(3), train=True)[0]["slope"])

    along = jax.tree.map(lambda leaf: jax.random.normal(jax.random.key(leaf.size), leaf.shape), params["critic"])
    slope = jax.grad(loss)(params["critic"])
    said = sum(float(jnp.vdot(a, b)) for a, b in zip(jax.tree.leaves(slope), jax.tree.leaves(along), strict=True))
    ends = [loss(jax.tree.map(lambda a, b, by=by: a + by * b, params["critic"], along)) for by in (1e-2, -1e-2)]
    assert said == pytest.approx(float(ends[0] - ends[1]) / 2e-2, rel=3e-2)


@pytest.mark.parametrize("loss", ["non-saturating", "hinge", "wasserstein"])
def test_losses_by_hand(small: Any, loss: str) -> None:
    network, params, state, batch = small
    key = jax.random.key(5)
    noise = jax.random.normal(jax.random.split(key, 3)[0], (3, 2))
    drawn, _ = network.generated(params["generator"], state[0], noise, jnp.zeros(3, jnp.int32))
    real, fake = (
        np.asarray(network.opinion(params["critic"], state[1], x, jnp.zeros(3, jnp.int32))[0])
        for x in (2 * batch["x"] - 1, drawn)
    )
    expected = {
        "non-saturating": (np.log1p(np.exp(-real)) + np.log1p(np.exp(fake)), np.log1p(np.exp(-fake))),
        "hinge": (np.maximum(0, 1 - real) + np.maximum(0, 1 + fake), -fake),
        "wasserstein": (fake - real, -fake),
    }[loss]
    critic, _, said = GanGame(network, "critic", loss, "none")(params, state, batch, key, train=False)
    generator, _, of = GanGame(network, "generator", loss, "none")(params, state, batch, key, train=False)
    np.testing.assert_allclose(critic["told"], expected[0], rtol=1e-5)
    np.testing.assert_allclose(generator, expected[1], rtol=1e-5)
    np.testing.assert_allclose(said["right"], 0.5 * ((real > 0).astype(float) + (fake < 0)))
    np.testing.assert_allclose(of["variety"], variety(2 * batch["x"] - 1, drawn), rtol=1e-5)


def test_drawn_rows_that_are_all_alike_have_no_variety() -> None:
    real = jax.random.normal(jax.random.key(0), (50, 4))
    assert float(variety(real, real).mean()) == pytest.approx(1, abs=1e-5)
    assert float(variety(real, jnp.ones((50, 4))).mean()) == pytest.approx(0, abs=1e-9)


def test_the_doctor_tells_a_won_game_and_a_collapse_from_a_healthy_game() -> None:
    good = {"critic_right": 0.7, "critic_told": 1.1, "generator_variety": 0.9}
    assert findings([good] * 20) == ()
    won = {"critic_right": 1.0, "critic_told": 1e-3, "generator_variety": 0.9}
    assert [each.kind for each in findings([good] * 10 + [won] * 10)] == ["won_game"]
    assert [each.kind for each in findings([good] * 10 + [{**good, "generator_variety": 0.02}] * 10)] == [
        "mode_collapse"
    ]
    assert findings([{**won, "generator_variety": 0.01}] + [good] * 19) == ()


def ring(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Points of eight Gaussians on a ring, in 0 … 1, and their middles."""
    turn = np.arange(8) * np.pi / 4
    middles = 0.5 + 0.4 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    return (middles[rng.integers(0, 8, count)] + 0.02 * rng.normal(size=(count, 2))).astype(np.float32), middles


def test_the_doctor_is_told_of_a_game_that_was_trained() -> None:
    x = ring(32, np.random.default_rng(0))[0]
    network = GAN(nn.Dense(2), nn.Dense(1), 2)
    plan = GameRecipe(network, batch_size=16, epochs=1, penalty="none")
    initial = network.init(jax.random.key(0), (2,))[:2]
    fitted = plan.fit((x, np.zeros(len(x), np.int32)), rows=len(x), initial=initial, display="none")
    won = {"critic_right": 1.0, "critic_told": 0.01, "generator_variety": 0.1}
    assert dataclasses.replace(fitted, history=[won] * 4).health.kinds == ("won_game", "mode_collapse")


@pytest.mark.slow
def test_a_ring_of_eight_gaussians_is_drawn_whole() -> None:
    """All modes, and at least 95 % of the points within three deviations of one; of a perfect ring it is 98.9 %."""
    x, middles = ring(5120, np.random.default_rng(0))
    network = GAN(nn.MLP((128, 128), 2), nn.MLP((128, 128), 1), 4)
    plan = GameRecipe(
        network, batch_size=256, epochs=600, learning_rate=1e-3, beta1=0.0, beta2=0.9, weight=0.01, average="ema"
    )
    initial = network.init(jax.random.key(0), (2,))[:2]
    fitted = plan.fit((x, np.zeros(len(x), np.int32)), rows=len(x), initial=initial, display="none")
    assert not fitted.health.findings
    keys = jax.random.split(jax.random.key(9), 4000)
    points = np.asarray(network.draw(fitted.params, fitted.state, keys, jnp.zeros(4000), (2,)))
    distance = np.linalg.norm(points[:, None] - middles, axis=-1)
    near = distance.min(axis=1) < 0.06
    assert near.mean() >= 0.95
    assert (np.bincount(distance.argmin(axis=1)[near], minlength=8) > 100).all()
