"""Kernels of low rank: at full rank nothing changes, below it the error is what the theorem says; LoRA merges away."""

import types

import jax
import numpy as np
import pytest
from made_networks import answers, numbers

from danlu import nn
from danlu.compression.techniques import LowRank, Merge
from danlu.compression.techniques.low_rank import factored
from danlu.errors import ConfigError

IDLE = types.SimpleNamespace(
    tune=lambda network, params, state, epochs: (params, state), plan=types.SimpleNamespace(epochs=3)
)


@pytest.mark.parametrize(
    ("net", "shape", "rank"),
    [
        (nn.Dense(6, "tanh"), (8,), 6),
        (nn.Conv(6, 3, stride=2, activation="relu"), (7, 7, 2), 6),
        (nn.Conv(6, 3, padding="valid", use_bias=False), (9, 2), 6),
    ],
)
def test_at_full_rank_nothing_changes(net, shape, rank):
    params, state = numbers(net, shape)
    x = np.random.default_rng(0).normal(size=(3, *shape)).astype(np.float32)
    two, factors, kept = factored(net, params, state, {"": rank})
    assert len(two.layers) == 2
    np.testing.assert_allclose(answers(two, factors, kept, x), answers(net, params, state, x), rtol=1e-5, atol=1e-5)
    want = jax.eval_shape(lambda: two.init(jax.random.key(0), shape)[:2])
    assert jax.tree.map(np.shape, (factors, kept)) == jax.tree.map(np.shape, want)


def test_the_error_is_the_singular_values_that_were_left_out():
    kernel = np.random.default_rng(0).normal(size=(9, 7))
    _, (first, second), _ = factored(nn.Dense(7, use_bias=False), {"kernel": kernel}, {}, {"": 3})
    values = np.linalg.svd(kernel, compute_uv=False)
    error = np.linalg.norm(kernel - first["kernel"] @ second["kernel"])
    np.testing.assert_allclose(error, np.sqrt(np.sum(values[3:] ** 2)), rtol=1e-6)  # Eckart & Young


def test_the_rank_holds_the_energy_and_no_more():
    u, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(12, 12)))
    kernel = (u * np.array([4, 2, 1, *[0.1] * 9])) @ u.T  # σ²: 16, 4, 1, …
    net = nn.Sequential((nn.Dense(12, use_bias=False),))
    for energy, rank in ((0.7, 1), (0.9, 2), (0.98, 3)):
        small, *_ = LowRank(energy)(net, ({"kernel": kernel},), ({},), IDLE)
        assert small.layers[0].layers[0].units == rank


def test_a_feed_forward_layer_is_two_dense_ones():
    net = nn.FeedForward(16, "gelu")
    params, state = numbers(net, (5, 8))
    thin = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32)
    params["up"], params["down"] = thin @ thin.T @ params["up"], params["down"] @ thin @ thin.T  # of rank 2
    x = np.random.default_rng(0).normal(size=(2, 5, 8)).astype(np.float32) / 8
    small, after, kept = LowRank(rank=2, epochs=0)(net, params, state, IDLE)
    assert [len(two.layers) for two in small.layer.layers] == [2, 2]
    exact = answers(net, params, state, x)
    np.testing.assert_allclose(answers(small, after, kept, x), exact, atol=1e-4 * np.abs(exact).max())


def test_where_it_does_not_pay_it_is_refused():
    net = nn.MLP((2,), 2)
    params, state = numbers(net, (2,))
    with pytest.raises(ConfigError, match="no dense layer and no convolution of this network becomes smaller"):
        LowRank(0.99)(net, params, state, IDLE)
    with pytest.raises(ConfigError, match="expected one of them"):
        LowRank(0.9, rank=3)


def test_lora_is_merged_into_the_kernels():
    net = nn.LoRA(nn.Dense(4), rank=2, alpha=4.0, targets=("kernel",))
    params, state = numbers(net, (3,))
    x = np.ones((2, 3), np.float32)
    plain, after, kept = Merge()(net, params, state, IDLE)
    assert plain == nn.Dense(4)
    np.testing.assert_allclose(answers(plain, after, kept, x), answers(net, params, state, x), rtol=1e-5, atol=1e-5)
    with pytest.raises(ConfigError, match="no LoRA"):
        Merge()(plain, after, kept, IDLE)
