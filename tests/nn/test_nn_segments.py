"""BERT's segments and the bias of its words: the formulas, and the error signal through them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu.errors import ConfigError, DataError
from danlu.nn import BERT, Embedding, Segments, Sequential, Tied
from danlu.nn.backprop import trace
from danlu.nn.losses import TokenCrossEntropy

pytestmark = pytest.mark.usefixtures("no_silent_broadcasting")
SEGMENTS = jnp.asarray([[0, 1, 1], [1, 0, 7]])


def test_each_token_gets_its_segments_row() -> None:
    rng = np.random.default_rng(0)
    x, table = (jnp.asarray(rng.normal(size=s), jnp.float32) for s in ((2, 3, 4), (2, 4)))
    layer, params = Segments(2), {"table": table}
    y, _ = layer.apply(params, {}, {"x": x, "segments": SEGMENTS})
    np.testing.assert_allclose(y["x"], np.asarray(x) + np.asarray(table)[[[0, 1, 1], [1, 0, 0]]], rtol=1e-6)
    np.testing.assert_allclose(layer.apply(params, {}, x)[0], np.asarray(x) + np.asarray(table)[0], rtol=1e-6)


def test_the_error_signal_through_segments_and_the_words_bias() -> None:
    body = Sequential((Segments(2),))
    net, rng = Tied(Embedding(5, 4), body, use_bias=True), np.random.default_rng(0)
    shapes = ({"table": (5, 4)}, ({"table": (2, 4)},), {"bias": (5,)})
    params = jax.tree.map(
        lambda s: jnp.asarray(rng.normal(size=s), jnp.float32),
        shapes,
        is_leaf=lambda s: isinstance(s, tuple) and type(s[0]) is int,
    )
    state = net.init(jax.random.key(0), (3,))[1]
    x = {"x": jnp.asarray([[1, 4, 0], [2, 2, 3]]), "segments": SEGMENTS}
    y = jnp.asarray([[0, 1, 2], [3, 4, 0]])

    def loss(params: Any) -> jax.Array:
        return jnp.mean(TokenCrossEntropy()(net.apply(params, state, x)[0], y))

    seen = trace(net, params, state, x, y, TokenCrossEntropy())
    assert {record.rule for record in seen.records} == {"formula"}
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        seen.gradients,
        jax.jit(jax.grad(loss))(params),
    )


def test_errors() -> None:
    with pytest.raises(DataError, match="'segments' is float32"):
        Segments().apply({"table": jnp.ones((2, 4))}, {}, {"x": jnp.ones((2, 3, 4)), "segments": jnp.ones((2, 3))})
    with pytest.raises(ConfigError, match="expected head='tokens'"):
        BERT(tokens_bias=True)
