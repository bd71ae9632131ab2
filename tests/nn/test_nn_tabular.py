"""The table network and its embeddings against NumPy, against separate networks, and against the layer contract."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from danlu.blueprint import from_json, to_json
from danlu.errors import ConfigError, DataError
from danlu.nn.table_embeddings import CategoricalEmbedding, NumericEmbedding, bin_edges
from danlu.nn.tabular import TabularNet

NET = TabularNet(
    2, vocabularies=(3, 40), members=3, width=8, numeric=NumericEmbedding(4, bins=5, frequencies=2), category_dim=2
)
SHAPES = {"numeric": (2,), "categorical": (2,), "text": (3,)}


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    x = {
        "numeric": rng.normal(size=(7, 2)).astype(np.float32),
        "categorical": rng.integers(0, 3, (7, 2)).astype(np.int32),
        "text": rng.normal(size=(7, 3)).astype(np.float32),
    }
    params, state, out_shape = NET.init(jax.random.key(1), SHAPES)
    params["numeric"]["bend"] = jax.random.normal(jax.random.key(2), params["numeric"]["bend"].shape)
    params["shortcut"] = jax.random.normal(jax.random.key(4), params["shortcut"].shape)
    return params, NET.with_bins(state, x["numeric"]), x, out_shape


def ple(x, edges):
    """Equation 1 of Gorishniy et al. (2022), one value at a time; the last bin runs on to 4 widths."""
    out = []
    for t in range(len(edges) - 1):
        share = (x - edges[t]) / (edges[t + 1] - edges[t])
        out.append(min(max(share, 0.0), 4.0 if t == len(edges) - 2 else 1.0))
    return np.array(out)


def test_numeric_embedding_equals_numpy(fitted):
    params, state, x, _ = fitted
    p = {k: np.asarray(v, np.float64) for k, v in params["numeric"].items()}
    got, _ = NET.numeric.apply(params["numeric"], state["numeric"], x["numeric"])
    for i, row in enumerate(x["numeric"].astype(np.float64)):
        for j, value in enumerate(row):
            code = ple(value, bin_edges(x["numeric"][:, j], 5).astype(np.float64))
            angle = 2 * np.pi * 5.0 * value * p["frequency"][j]
            wave = np.concatenate([np.cos(angle), np.sin(angle)]) @ p["wave"][j]
            expected = 5.0 * (value * p["slope"][j] + p["offset"][j] + code @ p["bend"][j][: len(code)] + wave)
            assert_allclose(got[i, 4 * j : 4 * j + 4], expected, rtol=2e-4, atol=2e-4)


def test_members_are_separate_networks(fitted):
    params, state, x, _ = fitted
    got, _ = NET.apply(params, state, x)
    for member in range(NET.members):
        hidden = NET.embed(params, state, x) * params["scale"][member][None]
        for layer in range(NET.depth):
            hidden = jax.nn.relu(hidden @ params[f"kernel_{layer}"] + params[f"bias_{layer}"][member][None])
        alone = hidden @ params["head"][member] + params["head_bias"][member][None] + x["numeric"] @ params["shortcut"]
        assert_allclose(got[:, member], alone, rtol=1e-4, atol=1e-5)
    assert np.ptp(np.asarray(got), axis=1).max() > 1e-3


def test_contract(fitted):
    params, state, x, out_shape = fitted
    key = jax.random.key(3)
    plain, after = NET.apply(params, state, x, train=True, key=key)
    jitted = jax.jit(lambda p, s, x, k: NET.apply(p, s, x, train=True, key=k)[0])
    assert plain.shape == (7, *out_shape) == (7, 3, 2)
    assert plain.dtype == jnp.float32
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert_allclose(plain, jitted(params, state, x, key), rtol=1e-4, atol=1e-5)
    both = jax.vmap(lambda k: NET.apply(params, state, x, train=True, key=k)[0])(jax.random.split(key))
    assert_allclose(both[1], jitted(params, state, x, jax.random.split(key)[1]), rtol=1e-4, atol=1e-5)
    assert not np.allclose(both[0], both[1])
    assert from_json(to_json(NET)) == NET
    assert hash(from_json(to_json(NET))) == hash(NET)


def test_dropout_keeps_its_share_and_its_mean():
    net = TabularNet(1, members=2, width=64, depth=1, dropout=0.3, numeric=NumericEmbedding(1, bins=0, frequencies=0))
    params, state, _ = net.init(jax.random.key(0), {"numeric": (1,)})
    params |= {"kernel_0": jnp.zeros((1, 64)), "bias_0": jnp.ones((2, 64)), "head": jnp.full((2, 64, 1), 1 / 64)}
    params["head_bias"] = jnp.zeros((2, 1))
    x = {"numeric": jnp.zeros((500, 1))}
    means = np.asarray(net.apply(params, state, x, train=True, key=jax.random.key(1))[0])
    # A row's output is kept/64/0.7 for a binomial count of kept units.
    assert abs(means.mean() - 1) < 5 * np.sqrt(0.3 / 0.7 / means.size / 64)
    assert abs(means.std() / np.sqrt(0.3 / 0.7 / 64) - 1) < 0.15
    none = net.apply(params, {**state, "rate": jnp.float32(0)}, x, train=True, key=jax.random.key(1))[0]
    assert_allclose(none, 1.0, rtol=1e-5)


def test_categories_by_product_equal_lookup():
    layer = CategoricalEmbedding((3, 40), dim=2)
    params, state, _ = layer.init(jax.random.key(0), (2,))
    codes = np.array([[0, 39], [2, 7], [9, -1]], np.int32)
    got, _ = layer.apply(params, state, codes)
    assert_array_equal(got[:, :3], np.eye(3)[[0, 2, 0]])
    assert_allclose(got[:, 3:], layer.gain * params["table_1"][np.array([39, 7, 0])], rtol=1e-6)


@pytest.mark.parametrize("values", [np.zeros(5), np.array([1.0, 1 + 1e-9]), np.arange(1000.0), np.array([3.0])])
def test_bin_edges_increase(values):
    edges = bin_edges(values, 8)
    assert 2 <= len(edges) <= 9
    assert (np.diff(edges) > 0).all()


def test_decay_leaves_biases_and_scales_alone(fitted):
    decayed = NET.decays(fitted[0])
    kept = ("scale", "bias_0", "bias_1", "head_bias")
    assert not any(decayed[name] for name in kept)
    assert decayed["kernel_0"]
    assert decayed["numeric"]["bend"]


def test_refusals(fitted):
    params, state, x, _ = fitted
    with pytest.raises(ConfigError, match="no key"):
        NET.apply(params, state, x, train=True)
    with pytest.raises(ConfigError, match="dict"):
        NET.init(jax.random.key(0), (3,))
    with pytest.raises(DataError, match="not finite"):
        bin_edges(np.array([1.0, np.nan]), 4)
    with pytest.raises(DataError, match="expected"):
        NET.with_bins(state, x["numeric"][:, :1])
    with pytest.raises(ConfigError, match="vocabularies"):
        CategoricalEmbedding((0,))
