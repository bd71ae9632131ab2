"""Activation checkpointing: the same numbers, less memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from danlu.blueprint import from_json, to_json
from danlu.errors import ConfigError
from danlu.nn import (
    BatchNorm,
    Dense,
    Dropout,
    LayerNorm,
    Remat,
    Residual,
    Sequential,
    TransformerBlock,
    backprop,
    get_loss,
    summary,
)

BLOCK = Residual(Sequential((Dense(6, "tanh"), BatchNorm(), Dropout(0.3), Dense(4, "tanh"))))
X = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4)), jnp.float32)
KEY = jax.random.key(1)


def gradients(layer, params, state, x):
    def loss(params, x):
        y, after = layer.apply(params, state, x, train=True, key=KEY)
        return jnp.sum(y**3), after

    return jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(params, x)


@pytest.mark.parametrize(
    "policy", ["nothing", *(pytest.param(name, marks=pytest.mark.slow) for name in ("products", "weight_products"))]
)
def test_gradients_and_state_are_the_layers_own(policy):
    layer = Remat(BLOCK, policy)
    params, state, out_shape = layer.init(jax.random.key(0), (4,))
    jax.tree.map(assert_array_equal, (params, state), BLOCK.init(jax.random.key(0), (4,))[:2])
    assert out_shape == (4,)
    got, expected = (gradients(each, params, state, X) for each in (layer, BLOCK))
    jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=1e-6, atol=1e-7), got, expected)
    y = layer.apply(params, state, X)[0]
    assert_array_equal(y, BLOCK.apply(params, state, X)[0])


@pytest.mark.parametrize("looped", [False, True], ids=["in a row", "in a loop"])
def test_less_memory(looped):
    """Eight blocks whose inner results are eight times as large as what goes from block to block."""
    block, number = Residual(Sequential((Dense(128, "tanh"), Dense(16, "tanh")))), 8
    params, state, _ = block.init(jax.random.key(0), (16,))
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf] * number), params)
    options = Remat.CPU_OPTIONS if jax.default_backend() == "cpu" else None

    def temporary(layer):
        def loss(stacked, x):
            if looped:
                x, _ = jax.lax.scan(lambda x, p: (layer.apply(p, state, x, train=True)[0], None), x, stacked)
            else:
                for index in range(number):
                    x, _ = layer.apply(jax.tree.map(lambda leaf, i=index: leaf[i], stacked), state, x, train=True)
            return jnp.sum(x**2)

        lowered = jax.jit(jax.grad(loss), compiler_options=options).lower(stacked, jnp.zeros((1024, 16)))
        return lowered.compile().memory_analysis().temp_size_in_bytes

    plain = temporary(block)
    assert temporary(Remat(block)) < 0.6 * plain


def test_it_goes_through_everything_that_walks_a_network():
    net = Sequential((Remat(Residual(Dense(4, "tanh"))), LayerNorm(), Remat(Dense(2))))
    plain = Sequential((Residual(Dense(4, "tanh")), LayerNorm(), Dense(2)))
    params, state, _ = net.init(jax.random.key(0), (4,))
    assert summary(net, (4,)).parameters == summary(plain, (4,)).parameters
    assert net.flops((4,)) == plain.flops((4,))
    assert from_json(to_json(net)) == net
    y = jnp.array([0, 1, 1, 0, 1])
    traced, expected = (
        backprop.trace(each, params, state, X, y, get_loss("categorical_cross_entropy")) for each in (net, plain)
    )
    jax.tree.map(assert_array_equal, traced.gradients, expected.gradients)
    loss = get_loss("categorical_cross_entropy")
    assert backprop.gradient_check(net, params, state=state, x=X, y=y, loss=loss).ok
    many = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), params)
    both = jax.vmap(jax.grad(lambda p: jnp.sum(net.apply(p, state, X, train=True)[0] ** 2)))(many)
    one = jax.grad(lambda p: jnp.sum(plain.apply(p, state, X, train=True)[0] ** 2))(params)
    jax.tree.map(lambda a, b: assert_allclose(a[0], b, rtol=1e-5, atol=1e-6), both, one)


@pytest.mark.slow
def test_a_dict_goes_through_a_transformers_block():
    block = TransformerBlock(2, 8, causal=True)
    x = {"x": jnp.ones((2, 3, 4)), "mask": jnp.array([[True, True, False], [True, True, True]])}
    params, state, _ = Remat(block).init(jax.random.key(0), {"x": (3, 4), "mask": (3,)})
    got, expected = (
        jax.grad(lambda p, layer=layer: jnp.sum(layer.apply(p, state, x)[0]["x"] ** 2))(params)
        for layer in (Remat(block, "products"), block)
    )
    jax.tree.map(lambda a, b: assert_allclose(a, b, rtol=1e-5, atol=1e-6), got, expected)


def test_bad_settings():
    with pytest.raises(ConfigError, match="expected a Layer"):
        Remat(Dense)
    with pytest.raises(ConfigError, match="policy"):
        Remat(Dense(2), "dots")
