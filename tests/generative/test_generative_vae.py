"""The variational autoencoder against probabilistic PCA, whose likelihood is known, and its bounds against each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu import fit, nn
from danlu.errors import ConfigError
from danlu.generative import VAE, Generating, RectifiedFlow
from danlu.generative.diffusion import check_sampler
from danlu.generative.simple import PlainGaussian, PlainPixels

CODES = 2


@pytest.fixture(scope="module")
def linear() -> Any:
    """A linear VAE with the weights of the closed form, the rows, and their exact ``−log p``."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4)) @ rng.normal(size=(4, 5)) + rng.normal(size=5)
    known = PlainGaussian.of(x, CODES)
    loads = known.axes * np.sqrt(known.variances - known.rest)  # W
    spread = known.rest / known.variances  # of the codes given a row: σ²·(WᵀW + σ²I)⁻¹
    back = loads / known.variances  # W·(WᵀW + σ²I)⁻¹
    params = (
        {"kernel": np.hstack([back, np.zeros_like(back)]),
         "bias": np.concatenate([-known.mean @ back, 0.5 * np.log(spread)])},
        {"kernel": loads.T, "bias": known.mean},
        {"log_spread": np.asarray(0.5 * np.log(known.rest))},
    )  # fmt: skip
    network = VAE(nn.Dense(2 * CODES), nn.Dense(5), CODES, "gaussian")
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)
    return network, params, ({}, {}), jnp.asarray(x, jnp.float32), known.nats_of(x)


def test_a_linear_vae_is_probabilistic_pca(linear: Any) -> None:
    """With the exact posterior both bounds are the likelihood itself, whatever codes are drawn."""
    network, params, state, x, exact = linear
    found = network.said(params, state, x)
    np.testing.assert_allclose(found["importance_weighted"], exact, rtol=1e-4)
    assert float(jnp.mean(found["elbo"])) == pytest.approx(exact.mean(), rel=0.02)


def test_probabilistic_pca_is_where_its_loss_is_flat(linear: Any) -> None:
    network, params, state, x, _ = linear

    @jax.jit
    def slope(params: Any) -> Any:
        def loss(params: Any) -> jax.Array:
            labels = jnp.zeros(len(x), jnp.int32)
            each = [network.terms(params, state, x, labels, jax.random.key(n), train=True)[0] for n in range(8)]
            return jnp.mean(jnp.stack([jnp.mean(one["redrawn"] + one["kl"]) for one in each]))

        return jax.grad(loss)(params)

    worse = jax.tree.map(lambda leaf: 1.5 * leaf, params)
    there, elsewhere = (np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(slope(p))]) for p in (params, worse))
    assert np.abs(there).max() < 0.1 * np.abs(elsewhere).max()


def test_more_codes_bound_no_worse() -> None:
    network = VAE(nn.MLP((8,), 4), nn.MLP((8,), 6), 2)
    params, state, _ = network.init(jax.random.key(0), (6,))
    x = jnp.asarray(np.random.default_rng(0).integers(0, 256, (40, 6)), jnp.uint8)
    said = jax.jit(network.said)
    found = said(params, state, x)
    assert float(jnp.mean(found["importance_weighted"])) <= float(jnp.mean(found["elbo"])) + 1e-3
    alone = said(params, state, x.at[1:].set(0))  # the other rows are other ones
    np.testing.assert_allclose(alone["elbo"][0], found["elbo"][0], rtol=1e-5)


def test_labels_reach_the_decoder() -> None:
    encoder = nn.Sequential((nn.Parallel((nn.Dense(8), nn.Sequential()), inputs=("x", "label")), nn.Dense(4)))
    network = VAE(encoder, nn.MLP((8,), 6), 2, classes=3)
    params, state, _ = network.init(jax.random.key(0), (6,))
    keys = jax.random.split(jax.random.key(1), 1)
    one, other = (network.draw(params, state, keys, jnp.array([label]), (6,)) for label in (0, 2))
    assert np.abs(np.asarray(one - other)).max() > 1e-3
    cold = network.draw(params, state, keys, jnp.array([3]), (6,), temperature=0.0)
    middle = network.expected(params, state, jnp.zeros((1, 2)), jnp.array([3]), (6,))
    np.testing.assert_allclose(cold, middle, rtol=1e-5)


def test_codes_need_not_tell_what_the_label_tells() -> None:
    """Rows that are one of three, with labels: what is drawn shows the label that it was told."""
    rows = np.kron(np.eye(3), np.ones((1, 4))).astype(np.float32)
    labels = np.arange(300) % 3
    encoder = nn.Sequential((nn.Parallel((nn.Dense(16, "relu"), nn.Sequential()), inputs=("x", "label")), nn.Dense(4)))
    network = VAE(encoder, nn.MLP((16,), 12), 2, classes=3)
    fitted = fit(
        network, (rows[labels], labels), loss=Generating(network, 0.1), epochs=30, learning_rate=0.01, display="none"
    )
    keys, told = jax.random.split(jax.random.key(1), 60), np.arange(60) % 3
    drawn = np.asarray(network.draw(fitted.params, fitted.state, keys, told, (12,)))
    assert (drawn.reshape(60, 3, 4).mean(axis=2).argmax(axis=1) == told).mean() > 0.9  # (rows, labels, numbers)


def test_codes_of_a_label_lie_where_its_rows_have_theirs() -> None:
    """By the divergence from N(m_y, s_y²): it is 0 where the posterior is the label's own, and drawn codes are spread by it."""
    encoder = nn.Sequential((nn.Parallel((nn.Dense(3), nn.Sequential()), inputs=("x", "label")), nn.Dense(4)))
    network = VAE(encoder, nn.Dense(3, use_bias=False), 2, "gaussian", classes=2)
    params, state, _ = network.init(jax.random.key(0), (3,))
    middles, spreads = jnp.array([[3.0, -1.0], [0.5, 2.0]]), jnp.array([[0.2, -0.7], [0.1, 0.4]])
    known = params[2] | {"middles": middles / 2**0.5, "log_spreads": spreads / 2**0.5}  # a label stands as √2
    told = jnp.concatenate([middles, spreads], axis=1)
    body, last = params[0]
    last = {"kernel": jnp.concatenate([jnp.zeros((3, 4)), told / 2**0.5]), "bias": jnp.zeros(4)}
    own, labels = ((body, last), params[1], known), jnp.array([0, 1, 0])

    @jax.jit
    def both(x: jax.Array, keys: jax.Array) -> Any:
        noise = jax.vmap(lambda key: jax.random.normal(key, (2,)))(keys)
        wanted = network.expected(own, state, middles[labels] + jnp.exp(spreads[labels]) * noise, labels, (3,))
        kl = network.terms(own, state, x, labels, keys[0], train=False)[0]["kl"]
        return kl, network.draw(own, state, keys, labels, (3,)), wanted

    kl, drawn, wanted = both(jnp.ones((3, 3)), jax.random.split(jax.random.key(3), 3))
    np.testing.assert_allclose(kl, 0, atol=1e-5)
    np.testing.assert_allclose(drawn, wanted, rtol=1e-4, atol=1e-5)


def test_parts_of_other_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"the encoder of the VAE gives rows of shape \(3,\); expected 4 numbers"):
        VAE(nn.Dense(3), nn.Dense(6), 2).init(jax.random.key(0), (6,))


def test_settings_of_draw_are_looked_at() -> None:
    network = VAE(nn.Dense(4), nn.Dense(6), 2)
    assert network.checked_how({"temperature": 2}) == {"temperature": 2.0}
    for wrong, said in (
        ({"steps": 3}, "unknown setting of sample 'steps'"),
        ({"temperature": "hot"}, "expected a number"),
        ({"temperature": -1}, "expected a number of 0 or more"),
        ({"temperature": float("nan")}, "expected a number of 0 or more"),
    ):
        with pytest.raises(ConfigError, match=said):
            network.checked_how(wrong)
    with pytest.raises(ConfigError, match="trained on pictures without labels"):
        RectifiedFlow(nn.Dense(2)).checked_how({"guidance": 2.0})
    assert RectifiedFlow(nn.Dense(2), classes=3).checked_how({"guidance": 2.0}) == {"guidance": 2.0}
    for steps in (0, 11):
        with pytest.raises(ConfigError, match="expected 1 to 10"):
            check_sampler(steps, 10, "ddim", ("ddim",))


def test_plain_pixels_are_products_of_their_shares() -> None:
    pixels = np.array([[0, 255], [255, 255], [0, 255]], np.uint8).reshape(3, 2, 1, 1)
    plain = PlainPixels.fit(pixels)
    np.testing.assert_allclose(plain.chance, [1.5 / 4, 3.5 / 4])
    np.testing.assert_allclose(plain.nats(pixels[:1]), -np.log((1 - 1.5 / 4) * 3.5 / 4))
    assert plain.draw(4, np.random.default_rng(0)).shape == (4, 2, 1, 1)


def test_a_label_is_no_way_out_of_the_folder_and_a_place_that_is_none_is_one_message(tmp_path: Path) -> None:
    from danlu.generative import write_samples

    pictures = np.zeros((2, 2, 2, 1), np.uint8)
    write_samples(pictures, tmp_path / "made", ["..", "."])
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == ["_", "__"]
    with pytest.raises(ConfigError, match="made is not empty"):  # what is there may be what the model learnt from
        write_samples(pictures, tmp_path / "made", ["..", "."])
    (tmp_path / "file").write_text("kept")
    for place in ("file/a.png", "file/a.npz", "file/folder", "file"):
        with pytest.raises(ConfigError, match="cannot be written"):
            write_samples(pictures, tmp_path / place)


def test_settings_that_no_model_that_draws_has_are_refused() -> None:
    from danlu.generative import Painting
    from danlu.generative.rows.head import RowDraws

    Painting().check_settings({"anything": 1})  # the network knows its own
    RowDraws().check_settings({"where": "a=1"})
    with pytest.raises(ConfigError, match="seed is no setting of the drawing"):
        Painting().check_settings({"seed": 3})
    with pytest.raises(ConfigError, match="unknown setting of sample 'temperature'; expected one of: where"):
        RowDraws().check_settings({"temperature": 0.5})
