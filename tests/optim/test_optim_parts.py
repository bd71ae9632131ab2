"""Multipliers for each part: frozen, slower, thawed, and never another program."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import danlu
from danlu import nn, optim
from danlu.engine.loop import run_steps
from danlu.errors import ConfigError
from danlu.optim import apply_updates, by_part, multipliers, set_parts
from danlu.paths import leaf_paths, matches

PARTS = {"embed": 0.0, "body/*": 0.1, "head": 1.0}
STEPS = 4


def tree(seed: int, scale: float = 1.0) -> Any:
    draw = np.random.default_rng(seed)
    shapes = {"embed": (4, 3), "body": ({"w": (3, 3), "b": (3,)}, {"w": (3, 2)}), "head": (2,)}
    return jax.tree.map(
        lambda s: jnp.asarray(scale * draw.normal(size=s), jnp.float32),
        shapes,
        is_leaf=lambda s: isinstance(s, tuple) and isinstance(s[0], int),
    )


def run(optimizer: Any, state: Any = None, params: Any = None, steps: int = STEPS, scale: float = 1.0) -> Any:
    params = tree(0) if params is None else params
    state = optimizer.init(params) if state is None else state
    for seed in range(1, steps + 1):
        updates, state = optimizer.update(tree(seed, scale), state, params)
        params = apply_updates(params, updates)
    return params, state


def close(one: Any, other: Any, rtol: float = 2e-5) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-6), one, other)


def test_patterns_name_arrays_parts_and_wildcards() -> None:
    assert leaf_paths(tree(0)) == ["body/0/b", "body/0/w", "body/1/w", "embed", "head"]
    assert [p for p in leaf_paths(tree(0)) if matches(p, "body/0")] == ["body/0/b", "body/0/w"]
    assert [p for p in leaf_paths(tree(0)) if matches(p, "*/w")] == ["body/0/w", "body/1/w"]
    assert not matches("body/10/w", "body/1")


def test_the_first_pattern_that_matches_counts_and_the_rest_has_1() -> None:
    for parts in ({"body/0": 0.5, "body": 0.25}, lambda path: {"body/0": 0.5, "body/1": 0.25}.get(path[:6], 1)):
        found = {path: float(m) for path, m in multipliers(by_part(optim.sgd(), parts).init(tree(0))).items()}
        assert found == {"body/0/b": 0.5, "body/0/w": 0.5, "body/1/w": 0.25, "embed": 1.0, "head": 1.0}


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_parts_agree_with_pytorchs_parameter_groups(decay: float, golden: Any) -> None:
    """Gradients clipped by their global norm, a part without gradients, and another rate for each of the others."""
    clip = 0.5
    ours, _ = run(by_part(optim.chain(optim.clip_by_global_norm(clip), optim.adamw(0.1, weight_decay=decay)), PARTS))

    def theirs(torch: Any) -> dict[str, Any]:
        leaves = [torch.nn.Parameter(torch.tensor(np.asarray(leaf))) for leaf in jax.tree.leaves(tree(0))]
        rates = [0.01, 0.01, 0.01, 0.0, 0.1]  # body, body, body, embed, head
        groups = [{"params": [p], "lr": rate} for p, rate in zip(leaves, rates, strict=True) if rate]
        stepper = torch.optim.AdamW(groups, weight_decay=decay, eps=1e-8)
        for seed in range(1, STEPS + 1):
            for parameter, gradient, rate in zip(leaves, jax.tree.leaves(tree(seed)), rates, strict=True):
                parameter.grad = torch.tensor(np.asarray(gradient)) if rate else None
            torch.nn.utils.clip_grad_norm_(leaves, clip)
            stepper.step()
        return {str(number): leaf for number, leaf in enumerate(leaves)}

    expected = golden("torch", theirs)
    for number, mine in enumerate(jax.tree.leaves(ours)):
        np.testing.assert_allclose(mine, expected[str(number)], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "inner",
    [optim.adamw(0.1, weight_decay=0.5), optim.chain(optim.weight_decay(0.5), optim.momentum(0.1)), optim.rmsprop(0.1)],
)
def test_a_frozen_part_stays_to_the_last_bit(inner: Any) -> None:
    params = tree(0)
    grads = {**tree(1), "embed": jnp.full((4, 3), jnp.nan)}
    optimizer = by_part(inner, {"embed": 0.0})
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    assert jnp.all(updates["embed"] == 0)
    assert all(jnp.all(leaf != 0) for leaf in jax.tree.leaves((updates["body"], updates["head"])))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda clip: optim.chain(clip, optim.sgd(1.0)),
        lambda clip: optim.chain(optim.weight_decay(0.25), clip, optim.sgd(1.0)),
        lambda clip: optim.chain(optim.chain(optim.weight_decay(0.25), clip), optim.sgd(1.0)),
        lambda clip: clip,
    ],
)
def test_a_frozen_part_does_not_count_in_the_norm(wrap: Any) -> None:
    params = tree(0)
    small = optim.clip_by_global_norm(1.0)
    grads = {**tree(1), "embed": jnp.full((4, 3), 1e6)}
    part, alone = by_part(wrap(small), {"embed": 0.0}), wrap(small)
    updates, _ = part.update(grads, part.init(params), params)
    rest = {name: value for name, value in params.items() if name != "embed"}
    expected, _ = alone.update({name: grads[name] for name in rest}, alone.init(rest), rest)
    close({name: updates[name] for name in rest}, expected)


def test_thawing_starts_with_steps_of_the_right_size() -> None:
    inner = optim.chain(optim.clip_by_global_norm(100.0), optim.adam(0.1))
    optimizer = by_part(inner, {"embed": 0.0})
    params, state = run(optimizer, steps=30)
    np.testing.assert_array_equal(params["embed"], tree(0)["embed"])
    before = set_parts(state, {"embed": 1.0})
    after, _ = optimizer.update(tree(99), before, params)
    free, state = run(by_part(inner, {}), steps=30)
    expected, _ = inner.update(tree(99), state.inner, free)
    close(after, expected)
    assert float(jnp.max(jnp.abs(after["embed"]))) < 0.15


def test_one_program_serves_all_parts_and_thawing() -> None:
    params = tree(0)
    one, other = (by_part(optim.adam(rate), parts) for rate, parts in ((0.1, PARTS), (0.01, {"*": 0.5})))
    assert one.update == other.update
    assert hash(one.update) == hash(other.update)
    assert one.update != by_part(optim.sgd(), PARTS).update
    traced = []
    compiled = jax.jit(lambda *args: traced.append(1) or one.update(*args))
    for optimizer in (one, other):
        state = optimizer.init(params)
        close(compiled(tree(1), state, params), optimizer.update(tree(1), state, params))
        compiled(tree(1), set_parts(state, {"body": 0.3}), params)
    assert len(traced) == 1


def test_the_members_of_a_population_have_their_own_multipliers() -> None:
    def init(rate: jax.Array) -> Any:
        return by_part(optim.adam(0.1), {"body": rate}).init(tree(0))

    update = by_part(optim.adam(0.1), {}).update
    rates = jnp.asarray([0.0, 0.5])
    states = jax.vmap(init)(rates)
    together, states = jax.vmap(update, in_axes=(None, 0, None))(tree(1), states, tree(0))
    for member, rate in enumerate(rates):
        alone, _ = update(tree(1), init(rate), tree(0))
        close(jax.tree.map(lambda a, i=member: a[i], together), alone)
    thawed = multipliers(set_parts(states, {"body/0": 0.25}))
    assert thawed["body/0/w"].tolist() == [0.25, 0.25]
    assert thawed["body/1/w"].tolist() == [0.0, 0.5]


def test_it_works_inside_a_chain_and_the_rate_can_be_found() -> None:
    optimizer = optim.chain(optim.clip_by_value(1.0), by_part(optim.sgd(0.5), {"embed": 0.0}))
    state = set_parts(optimizer.init(tree(0)), {"embed": 0.5})
    updates, _ = optimizer.update(jax.tree.map(jnp.ones_like, tree(0)), state, tree(0))
    assert set(np.unique(updates["embed"])) == {-0.25}
    assert float(optim.hyperparameter(state, "learning_rate")) == 0.5
    assert float(optim.hyperparameter(optim.set_hyperparameter(state, "learning_rate", 2.0))) == 2.0


def test_an_optax_optimizer_goes_in_and_ours_goes_into_optax() -> None:
    optax = pytest.importorskip("optax")
    close(run(by_part(optax.adam(0.1), PARTS))[0], run(by_part(optim.adam(0.1), PARTS))[0], rtol=1e-4)
    chained = optax.chain(optax.identity(), by_part(optim.adam(0.1), PARTS))
    close(run(chained)[0], run(by_part(optim.adam(0.1), PARTS))[0])


def test_gradual_unfreezing_thaws_at_its_epoch_and_does_not_recompile() -> None:
    net = nn.Sequential((nn.Dense(3, "tanh"), nn.Dense(1)))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(32, 2)).astype(np.float32)
    seen: list[Any] = []

    def note(epoch: int, logs: Any) -> None:
        seen.append(jax.tree.map(np.asarray, callback.training.params))
        programs.append(run_steps._cache_size())

    programs: list[int] = []
    callback = danlu.LambdaCallback(on_epoch_end=note)
    danlu.fit(
        net,
        (x, x.sum(1)),
        loss="mse",
        optimizer=by_part(optim.adam(0.01), {"0": 0.0}),
        callbacks=[callback, danlu.GradualUnfreezing({2: {"0/kernel": 0.1}, 3: {"0": 1.0}})],
        epochs=4,
        display="none",
    )
    kernels, biases = ([params[0][name] for params in seen] for name in ("kernel", "bias"))
    assert [bool(np.array_equal(a, b)) for a, b in itertools.pairwise(kernels)] == [True, False, False]
    assert [bool(np.array_equal(a, b)) for a, b in itertools.pairwise(biases)] == [True, True, False]
    assert len(set(programs)) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: by_part(optim.sgd, {}), "call the factory"),
        (lambda: by_part(optim.sgd(), [("head", 1)]), "expected a dict"),
        (lambda: by_part(optim.sgd(), {"head": -1}), "expected a number >= 0"),
        (lambda: by_part(optim.sgd(), {"head": optim.Cosine(1.0, 9)}), "expected a number >= 0"),
        (lambda: by_part(optim.sgd(), {"haed": 1.0}).init(tree(0)), "did you mean 'head'"),
        (lambda: by_part(optim.sgd(), lambda path: "x").init(tree(0)), "expected a number >= 0"),
        (lambda: set_parts(optim.sgd().init(tree(0)), {"head": 1.0}), "has 0 by_part"),
        (lambda: set_parts(by_part(optim.sgd(), {}).init(tree(0)), {"tail": 1.0}), "names no array"),
        (lambda: danlu.GradualUnfreezing({-1: {}}), "whole number >= 0"),
    ],
)
def test_errors(make: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()
