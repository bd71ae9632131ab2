"""Schedules: values against NumPy by hand and optax, the pytree contract, reactions to validation values."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu import optim
from danlu.errors import ConfigError
from danlu.optim import Constant, Cosine, Exponential, OneCycle, ReduceOnPlateau, Restarts, Schedule, Step, WarmUp

COUNTS = np.array([0, 1, 2, 3, 5, 8, 9, 10, 11, 19, 20, 21, 29, 30, 31, 50])


def cosine(start: float, end: float, done: Any) -> Any:
    return end + (start - end) * (1 + np.cos(np.pi * np.clip(done, 0, 1))) / 2


# Each schedule, another of the same kind, and its formula in float64.
ROWS: dict[str, tuple[Schedule, Schedule, Any]] = {
    "constant": (Constant(0.3), Constant(0.1), lambda c: np.full(len(c), 0.3)),
    "step": (Step(0.3, 10, 0.5), Step(0.2, 7, 0.1), lambda c: 0.3 * 0.5 ** (c // 10)),
    "exponential": (Exponential(0.3, 10, 0.5), Exponential(0.2, 7, 0.1), lambda c: 0.3 * 0.5 ** (c / 10)),
    "cosine": (Cosine(0.3, 20, 0.01), Cosine(0.2, 30), lambda c: cosine(0.3, 0.01, c / 20)),
    "warm_up": (
        WarmUp(Cosine(0.3, 20), 10, 0.05),
        WarmUp(Cosine(0.2, 30), 5, 0.0),
        lambda c: np.where(c < 10, 0.05 + 0.25 * c / 10, cosine(0.3, 0, (c - 10) / 20)),
    ),
    "one_cycle": (
        OneCycle(0.3, 30),
        OneCycle(0.2, 20, 0.5),
        lambda c: np.where(c < 9, cosine(0.012, 0.3, c / 9), cosine(0.3, 1.2e-6, (c - 9) / 21)),
    ),
    "restarts": (
        Restarts(WarmUp(Cosine(0.3, 8), 2), 10),
        Restarts(WarmUp(Cosine(0.2, 4), 3), 7),
        lambda c: np.where(c % 10 < 2, 0.3 * (c % 10) / 2, cosine(0.3, 0, (c % 10 - 2) / 8)),
    ),
    "reduce_on_plateau": (ReduceOnPlateau(0.3), ReduceOnPlateau(0.1), lambda c: np.full(len(c), 0.3)),
}
every_row = pytest.mark.parametrize(("schedule", "other", "formula"), ROWS.values(), ids=ROWS.keys())


@every_row
def test_values_equal_the_formula(schedule: Schedule, other: Schedule, formula: Any) -> None:
    values = [schedule(jnp.int32(count)) for count in COUNTS]
    assert {(value.dtype, value.shape) for value in values} == {(jnp.dtype(jnp.float32), ())}
    np.testing.assert_allclose(np.array(values), formula(COUNTS), rtol=1e-5, atol=1e-7)


@every_row
def test_is_a_pytree_of_arrays_in_the_state(schedule: Schedule, other: Schedule, formula: Any) -> None:
    optimizers = [optim.sgd(each) for each in (schedule, other)]
    states = [each.init(jnp.zeros(2)) for each in optimizers]
    traced = []
    compiled = jax.jit(lambda *args: traced.append(1) or optimizers[0].update(*args))  # a cache of its own
    for state, each in zip(states, (schedule, other), strict=True):
        for count in range(3):
            updates, state = compiled(jnp.ones(2), state)
            np.testing.assert_allclose(updates, -each(count) * np.ones(2), rtol=1e-6)
    assert len(traced) == 1

    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    updates, _ = jax.vmap(optimizers[0].update, in_axes=(None, 0))(jnp.ones(2), stacked)
    np.testing.assert_allclose(updates[:, 0], [-schedule(0), -other(0)], rtol=1e-6)
    np.testing.assert_allclose(optim.hyperparameter(stacked), [schedule(0), other(0)], rtol=1e-6)

    leaves, structure = jax.tree.flatten(states[0])
    restored = jax.tree.unflatten(structure, [np.asarray(leaf) for leaf in leaves])
    assert float(optim.hyperparameter(restored)) == pytest.approx(float(schedule(0)))
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(states[0])]
    assert any(path.startswith(".learning_rate.") for path in paths)


def test_equal_optax() -> None:
    optax = pytest.importorskip("optax")
    pairs = [
        (Step(0.3, 10, 0.5), optax.exponential_decay(0.3, 10, 0.5, staircase=True)),
        (Exponential(0.3, 10, 0.5), optax.exponential_decay(0.3, 10, 0.5)),
        (Cosine(0.3, 20, 0.03), optax.cosine_decay_schedule(0.3, 20, alpha=0.1)),
        (WarmUp(Cosine(0.3, 20), 10), optax.warmup_cosine_decay_schedule(0.0, 0.3, 10, 30)),
        (OneCycle(0.3, 30), optax.cosine_onecycle_schedule(30, 0.3)),
        (
            Restarts(WarmUp(Cosine(0.3, 15), 5), 20),
            optax.sgdr_schedule([{"init_value": 0.0, "peak_value": 0.3, "warmup_steps": 5, "decay_steps": 20}] * 3),
        ),
    ]
    for ours, theirs in pairs:
        for count in COUNTS:
            np.testing.assert_allclose(ours(count), theirs(count), rtol=1e-5, atol=1e-7, err_msg=repr(ours))


@pytest.mark.parametrize("mode", ["min", "max"])
def test_reduce_on_plateau_equals_pytorch(mode: Any, golden: Any) -> None:
    values = np.random.default_rng(0).normal(size=60).cumsum() * (1 if mode == "max" else -1)

    def theirs(torch: Any) -> dict[str, Any]:
        weight, found = torch.zeros(1, requires_grad=True), []
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
            torch.optim.SGD([weight], 0.5), mode=mode, factor=0.5, patience=1, threshold=0.1, threshold_mode="abs",
            min_lr=0.01, eps=0.0,
        )  # fmt: skip
        for value in values:
            schedule.step(value)
            found.append(schedule.optimizer.param_groups[0]["lr"])
        return {"rates": np.array(found)}

    ours = ReduceOnPlateau(0.5, factor=0.5, patience=2, threshold=0.1, minimum=0.01, mode=mode)
    rates = []
    for value in values:
        ours = ours.observe(value)
        rates.append(float(ours(0)))
    assert rates == pytest.approx(golden("torch", theirs)["rates"].tolist())
    assert len(set(rates)) > 2


def test_observe_reaches_every_schedule_and_vmaps() -> None:
    plateau = ReduceOnPlateau(0.5, factor=0.5, patience=1)
    optimizer = optim.chain(optim.clip_by_norm(1.0), optim.sgd(WarmUp(plateau, 1)))
    state = optimizer.init(jnp.zeros(2))
    for value in (1.0, float("nan")):
        observed = optim.observe(state, value)
        assert jax.tree.structure(observed) == jax.tree.structure(state)
        for new, old in zip(jax.tree.leaves(observed), jax.tree.leaves(state), strict=True):
            assert (new.shape, new.dtype, new.weak_type) == (old.shape, old.dtype, old.weak_type)
        state = observed
    assert float(state[1].learning_rate.schedule.value) == 0.25

    members = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), optimizer.init(jnp.zeros(2)))
    for values in ([1.0, 1.0], [0.5, 2.0]):
        members = jax.vmap(optim.observe)(members, jnp.array(values))
    np.testing.assert_allclose(members[1].learning_rate.schedule.value, [0.5, 0.25])


def test_plateau_never_goes_below_its_minimum_nor_up_to_it() -> None:
    low = ReduceOnPlateau(0.5, factor=0.1, patience=1, minimum=0.2).observe(1.0).observe(1.0)
    assert float(low(0)) == pytest.approx(0.2)
    high = ReduceOnPlateau(0.1, factor=0.1, patience=1, minimum=0.2).observe(1.0).observe(1.0)
    assert float(high(0)) == pytest.approx(0.1)


def test_as_schedule() -> None:
    assert float(optim.as_schedule(0.5)(3)) == 0.5
    assert optim.as_schedule(ROWS["step"][0]) is ROWS["step"][0]
    assert float(optim.as_schedule(lambda count: count * 0.5)(3)) == 1.5
    for bad in ("fast", True, None):
        with pytest.raises(ConfigError, match="expected a number, a schedule or a function"):
            optim.as_schedule(bad)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Cosine(0.1, 0), "Cosine.steps is 0; expected a whole number >= 1"),
        (lambda: Cosine(-0.1, 5), "Cosine.peak is -0.1; expected a number >= 0"),
        (lambda: Step(0.1, 2.5), "Step.every is 2.5"),
        (lambda: Exponential(0.1, 5, 0.0), "Exponential.factor is 0.0"),
        (lambda: OneCycle(0.1, 5, 1.0), "OneCycle.warmup is 1.0"),
        (lambda: WarmUp("x", 5), "the schedule is 'x'"),
        (lambda: ReduceOnPlateau(0.1, mode="least"), "unknown ReduceOnPlateau.mode 'least'"),
        (lambda: Constant(float("nan")), "Constant.value is nan"),
        (lambda: optim.get_schedule("cosin", peak=1.0), "did you mean 'cosine'"),
        (lambda: optim.get_schedule("cosine", peek=1.0), "did you mean 'peak'"),
        (lambda: optim.get_schedule("cosine", peak=1.0), "lacks steps"),
    ],
)
def test_bad_settings_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert message in str(caught.value)


def test_exponential_and_step_may_grow() -> None:
    """A search for the largest rate that still learns: from 1e-7 to 10 in 100 updates."""
    schedule = Exponential(1e-7, 100, 1e8)
    np.testing.assert_allclose([schedule(count) for count in (0, 50, 100)], [1e-7, 1e-3, 10.0], rtol=1e-4)
    assert float(Step(1.0, 10, 2.0)(25)) == 4.0


LONG = 10**10
LONG_ROWS = {
    "step": (Step(1.0, LONG, 0.5), lambda c: 0.5 ** (c // LONG)),
    "exponential": (Exponential(1.0, LONG, 0.5), lambda c: 0.5 ** (c / LONG)),
    "cosine": (Cosine(1.0, LONG), lambda c: cosine(1.0, 0.0, c / LONG)),
    "warm_up": (WarmUp(1.0, LONG), lambda c: min(c / LONG, 1.0)),
    "warm_up of a long one": (WarmUp(Cosine(1.0, LONG), 4), lambda c: cosine(1.0, 0.0, (c - 4) / LONG) if c >= 4 else c / 4),
    "restarts": (Restarts(Cosine(1.0, LONG), LONG), lambda c: cosine(1.0, 0.0, (c % LONG) / LONG)),
    "one_cycle": (
        OneCycle(1.0, LONG, 0.5),
        lambda c: cosine(0.04, 1.0, 2 * c / LONG) if c < LONG / 2 else cosine(1.0, 4e-6, 2 * c / LONG - 1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LONG_ROWS)
def test_ten_thousand_million_steps(name: str) -> None:
    """More than 32 bits count: in the state, and asked for by a Python number."""
    schedule, formula = LONG_ROWS[name]
    state = optim.sgd(schedule).init(jnp.zeros(1))
    for count in (0, 10**6, 2**31 - 1):
        here = state._replace(step=jnp.int32(count))
        assert float(optim.hyperparameter(here)) == pytest.approx(float(formula(count)), rel=1e-5, abs=1e-9)
    for count in (10**6, LONG, 2 * LONG):
        assert float(schedule(count)) == pytest.approx(float(formula(count)), rel=1e-5, abs=1e-6)


@every_row
def test_hyper_parameters_are_float64_under_x64(schedule: Schedule, other: Schedule, formula: Any) -> None:
    with jax.enable_x64(True):
        optimizer = optim.chain(optim.clip_by_global_norm(0.1), optim.adamw(schedule, beta2=0.9999))
        params = {"w": jnp.ones(2, jnp.float64)}
        state = optimizer.init(params)
        updates, after = optimizer.update(params, state, params)
        same = jax.tree.map(lambda a, b: a.dtype == b.dtype, state, after)
        floats = [a for a in jax.tree.leaves((state, updates)) if jnp.issubdtype(a.dtype, jnp.floating)]
        assert {a.dtype.name for a in floats} == {"float64"}
        assert all(jax.tree.leaves(same))
        assert float(state[1].adam.beta2) == 0.9999  # 0.99990003 in float32
        np.testing.assert_allclose([schedule(jnp.int32(c)) for c in COUNTS], formula(COUNTS), rtol=1e-12, atol=1e-15)
