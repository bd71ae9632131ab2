"""One suite for every optimizer and every gradient transformation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu import optim
from danlu.optim import Optimizer, WarmUp, apply_updates, hyperparameter


@dataclasses.dataclass(frozen=True)
class Row:
    """A factory whose first argument is the hyper-parameter ``name``, and two values of it."""

    make: Callable[..., Optimizer]
    name: str = "learning_rate"
    values: tuple[float, float] = (0.1, 0.01)


ROWS = {
    "sgd": Row(optim.sgd),
    "momentum": Row(optim.momentum),
    "nesterov": Row(optim.nesterov),
    "adagrad": Row(optim.adagrad),
    "rmsprop": Row(optim.rmsprop),
    "adam": Row(optim.adam),
    "adamw": Row(optim.adamw),
    "yogi": Row(optim.yogi),
    "adamw_weights": Row(lambda rate: optim.adamw(rate, mask="weights")),
    "weight_decay": Row(optim.weight_decay, "weight_decay"),
    "clip_by_value": Row(optim.clip_by_value, "limit"),
    "clip_by_norm": Row(optim.clip_by_norm, "max_norm"),
    "clip_by_global_norm": Row(optim.clip_by_global_norm, "max_norm"),
    "chain": Row(lambda rate: optim.chain(optim.clip_by_global_norm(1.0), optim.adam(rate))),
    "flatten": Row(lambda rate: optim.flatten(optim.chain(optim.clip_by_global_norm(1.0), optim.adamw(rate)))),
    "by_part": Row(lambda rate: optim.by_part(optim.adam(rate), {"b": 0.5})),
    "scheduled": Row(lambda rate: optim.sgd(WarmUp(rate, 2))),
}
every_row = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())


def tree(seed: int, dtype: Any = jnp.float32) -> Any:
    draw = np.random.default_rng(seed)
    return {
        "layer": ({"w": jnp.asarray(draw.normal(size=(3, 2)), dtype)},),
        "b": jnp.asarray(draw.normal(size=2), dtype),
    }


def run(update: Any, state: Any, params: Any, steps: int = 3) -> tuple[Any, Any]:
    for seed in range(1, steps + 1):
        updates, state = update(tree(seed), state, params)
        params = apply_updates(params, updates)
    return params, state


def assert_close(one: Any, other: Any) -> None:
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-7)


def differ(one: Any, other: Any) -> bool:
    return any(jax.tree.leaves(jax.tree.map(lambda a, b: bool(jnp.any(a != b)), one, other)))


def signature(state: Any) -> Any:
    """Tree, shapes, dtypes and weak types: whatever would cause a second compile when it changed."""
    leaves, structure = jax.tree.flatten(state)
    return structure, [(leaf.shape, leaf.dtype, leaf.weak_type) for leaf in leaves]


@every_row
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_dtypes_and_state_tree_are_kept(row: Row, dtype: Any) -> None:
    optimizer = row.make(row.values[0])
    params = tree(0, dtype)
    state = optimizer.init(params)
    updates, after = optimizer.update(tree(1, dtype), state, params)
    assert signature(after) == signature(state)
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(state))
    assert signature(updates) == signature(params)
    assert differ(updates, tree(1, dtype))


@every_row
def test_jit_vmap_and_flattening_change_nothing_and_one_program_serves_all_values(row: Row) -> None:
    params = tree(0)
    first, second = (row.make(value) for value in row.values)
    assert first.update == second.update
    assert hash(first.update) == hash(second.update)
    eager = [run(each.update, each.init(params), params) for each in (first, second)]
    assert differ(eager[0][0], eager[1][0])

    traced = []
    compiled = jax.jit(lambda *args: traced.append(1) or first.update(*args))  # a cache of its own
    assert_close(run(compiled, first.init(params), params), eager[0])
    assert_close(run(compiled, second.init(params), params), eager[1])
    assert len(traced) == 1

    leaves, structure = jax.tree.flatten(eager[0][1])
    restored = jax.tree.unflatten(structure, [np.asarray(leaf) for leaf in leaves])
    assert_close(compiled(tree(9), jax.tree.map(jnp.asarray, restored), params), compiled(tree(9), eager[0][1], params))

    members = jax.vmap(lambda value: row.make(value).init(params))(jnp.asarray(row.values))
    population = jax.vmap(first.update, in_axes=(None, 0, 0))
    stacked = jax.tree.map(lambda p: jnp.stack([p, p]), params)
    assert_close(run(population, members, stacked), jax.tree.map(lambda *xs: jnp.stack(xs), *eager))


@every_row
def test_setting_the_hyper_parameter_equals_making_another(row: Row) -> None:
    params = tree(0)
    first, second = (row.make(value) for value in row.values)
    state = optim.set_hyperparameter(first.init(params), row.name, row.values[1])
    assert float(hyperparameter(state, row.name)) == pytest.approx(row.values[1])
    if signature(state) == signature(second.init(params)):
        assert_close(run(first.update, state, params), run(second.update, second.init(params), params))


@every_row
def test_a_state_can_be_donated(row: Row) -> None:
    optimizer = row.make(jnp.float32(row.values[0]))
    params = tree(0)
    donating = jax.jit(optimizer.update, donate_argnums=1)
    state = optimizer.init(params)
    for seed in (1, 2):
        _, state = donating(tree(seed), state, params)
    _, state = optimizer.update(tree(3), state, params)
    donating(tree(4), state, params)
    optimizer.init(params)  # the caller's own array of the hyper-parameter is still there


@every_row
def test_zero_gradients_give_finite_updates(row: Row) -> None:
    optimizer = row.make(row.values[0])
    zeros = jax.tree.map(jnp.zeros_like, tree(0))
    updates, _ = optimizer.update(zeros, optimizer.init(zeros), zeros)
    assert all(np.all(np.asarray(leaf) == 0) for leaf in jax.tree.leaves(updates))
