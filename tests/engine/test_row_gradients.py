"""The gradients of single rows as factors: norms and weighted sums as of the gradients themselves, which are never made."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu import nn
from danlu.engine.ghost import LookedUp, Product, added, row_gradients, squares

ROWS = 4
NETWORKS: dict[str, tuple[Any, Any, Any]] = {
    "pictures": (
        nn.Sequential((nn.Conv(3, 3, activation="tanh"), nn.Flatten(), nn.Dense(5, "tanh"), nn.Dense(2))),
        np.random.default_rng(0).normal(size=(ROWS, 4, 4, 1)).astype(np.float32),
        {Product: 2},
    ),
    "words": (
        nn.Sequential((nn.Embedding(40, 3), nn.Dense(6, "tanh"), nn.Flatten(), nn.Dense(2))),
        np.random.default_rng(0).integers(0, 40, (ROWS, 3)),
        {Product: 2, LookedUp: 1},
    ),
}


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_factors_are_the_gradients(name: str) -> None:
    model, x, kinds = NETWORKS[name]
    params, state, _ = model.init(jax.random.key(0), x.shape[1:])
    params = jax.tree.map(lambda a: a + 0.1, params)

    def value(params: Any, row: Any, number: Any) -> tuple[Any, dict[str, Any]]:
        y, _ = model.apply(params, state, row[None])
        return jnp.sum(jnp.sin(y) * (1 + number)), {"loss": jnp.sum(y)}

    @jax.jit
    def ours(params: Any) -> Any:
        grads, sums = row_gradients(value, params, jnp.asarray(x), jnp.arange(ROWS))
        found = [type(leaf) for leaf in jax.tree.leaves(grads, is_leaf=lambda a: isinstance(a, Product | LookedUp))]
        assert {kind: found.count(kind) for kind in kinds} == kinds
        scales = jax.tree.map(lambda a: jnp.array([1.0, 0.0, 0.5, 2.0]), params)
        return squares(grads), added(grads, scales), sums

    plain, sums = jax.vmap(jax.grad(value, has_aux=True), (None, 0, 0))(params, jnp.asarray(x), jnp.arange(ROWS))
    found, total, told = ours(params)
    expected = (
        jax.tree.map(lambda a: jnp.sum(a**2, tuple(range(1, a.ndim))), plain),
        jax.tree.map(lambda a: jnp.tensordot(jnp.array([1.0, 0.0, 0.5, 2.0]), a, 1), plain),
    )
    for a, b in zip(jax.tree.leaves((found, total, told)), jax.tree.leaves((*expected, sums)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_row_of_scale_0_counts_for_nothing_whatever_it_is() -> None:
    broken = jnp.array([[[1.0]], [[jnp.nan]]])
    scale = jnp.array([2.0, 0.0])
    for grads in (Product(broken, broken), LookedUp(jnp.array([[0], [0]]), broken, 1), broken):
        np.testing.assert_allclose(jax.tree.leaves(added([grads], [scale]))[0].ravel(), [2.0])
