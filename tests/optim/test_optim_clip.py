"""Clipping and decay: bounds that hold for any gradient, and hand-worked cases."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from danlu import optim
from danlu.errors import ConfigError

finite = st.floats(-1e6, 1e6, width=32)
gradients = st.tuples(arrays.arrays(np.float32, 5, elements=finite), arrays.arrays(np.float32, (2, 2), elements=finite))
limits = st.floats(2**-10, 1024, width=32)
few = settings(deadline=None, max_examples=40)

UPDATES = {name: jax.jit(getattr(optim, name)().update) for name in ("clip_by_norm", "clip_by_global_norm")}


def norm(*grads: Any) -> float:
    return float(np.sqrt(sum(np.square(np.asarray(g, np.float64)).sum() for g in grads)))


def clipped(name: str, grads: Any, limit: float) -> Any:
    return UPDATES[name](grads, getattr(optim, name)(limit).init(grads))[0]


@few
@given(gradients, limits)
def test_no_array_exceeds_its_norm_and_directions_are_kept(grads: Any, limit: float) -> None:
    for before, after in zip(grads, clipped("clip_by_norm", grads, limit), strict=True):
        assert norm(after) <= limit * (1 + 1e-5)
        scale = min(1.0, limit / norm(before)) if norm(before) else 1.0
        np.testing.assert_allclose(after, before * scale, rtol=1e-5, atol=1e-30)


@few
@given(gradients, limits)
def test_the_global_norm_is_never_exceeded_and_the_direction_is_kept(grads: Any, limit: float) -> None:
    after = clipped("clip_by_global_norm", grads, limit)
    assert norm(*after) <= limit * (1 + 1e-5)
    scale = min(1.0, limit / norm(*grads)) if norm(*grads) else 1.0
    for one, other in zip(grads, after, strict=True):
        np.testing.assert_allclose(other, one * scale, rtol=1e-5, atol=1e-30)


@pytest.mark.parametrize("name", UPDATES)
def test_below_the_limit_nothing_changes_by_a_bit(name: str) -> None:
    grads = (np.float32([0.1, -0.7, 1e-20]), np.float32([[0.3]]))
    for before, after in zip(grads, clipped(name, grads, 1.0), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("name", UPDATES)
def test_derivative_through_clipping_is_finite_at_zero(name: str) -> None:
    optimizer = getattr(optim, name)(1.0)

    def total(grads: Any) -> Any:
        return sum(jnp.sum(g) for g in optimizer.update(grads, optimizer.init(grads))[0])

    derivative = jax.grad(total)((jnp.zeros(2), jnp.zeros(1)))
    assert jax.tree.map(lambda d: d.tolist(), derivative) == ([1.0, 1.0], [1.0])


def test_weight_decay_by_hand() -> None:
    params = {"w": jnp.full((1, 2), 4.0), "b": jnp.full(2, 4.0)}
    grads = jax.tree.map(jnp.ones_like, params)

    def decayed(mask: Any) -> Any:
        decay = optim.weight_decay(0.5, mask=mask)
        return jax.tree.map(lambda g: float(g.ravel()[0]), decay.update(grads, decay.init(params), params)[0])

    assert decayed("all") == {"w": 3.0, "b": 3.0}
    assert decayed("weights") == {"w": 3.0, "b": 1.0}
    assert decayed({"w": False, "b": True}) == {"w": 1.0, "b": 3.0}
    assert decayed(lambda tree: jax.tree.map(lambda p: p.ndim == 1, tree)) == {"w": 1.0, "b": 3.0}


def test_masked_adamw_leaves_biases_to_adam() -> None:
    params = {"w": jnp.full((1, 2), 4.0), "b": jnp.full(2, 4.0)}
    grads = jax.tree.map(jnp.ones_like, params)
    updates = {}
    for name, optimizer in (("adam", optim.adam(0.1)), ("adamw", optim.adamw(0.1, weight_decay=0.5, mask="weights"))):
        updates[name] = optimizer.update(grads, optimizer.init(params), params)[0]
    np.testing.assert_array_equal(updates["adam"]["b"], updates["adamw"]["b"])
    np.testing.assert_allclose(updates["adamw"]["w"], updates["adam"]["w"] - 0.1 * 0.5 * 4.0, rtol=1e-6)


def test_a_mask_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="the mask's tree is"):
        optim.adamw(mask={"w": True}).init({"b": jnp.zeros(2)})
    with pytest.raises(ConfigError, match="did you mean 'weights'"):
        optim.adamw(mask="weight")
