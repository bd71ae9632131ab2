"""Returns, advantages and targets: by hand, against slow loops over random episodes, and by what must hold."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu.errors import ConfigError, DataError
from danlu.rl import corrections, returns, targets

GAMMA, LAMBDA = 0.9, 0.7


def rollout(seed: int, *, time: int = 24, environments: int = 6) -> dict[str, Any]:
    """A rollout in float64 whose ends are frequent, of both kinds, and sometimes in consecutive rows."""
    rng = np.random.default_rng(seed)
    shape = (time, environments)
    kind = rng.choice(3, size=shape, p=[0.7, 0.15, 0.15])
    value, next_value = rng.normal(size=shape), rng.normal(size=shape)
    going = kind[:-1] == 0
    next_value[:-1][going] = value[1:][going]
    return {
        "reward": rng.normal(size=shape),
        "value": value,
        "next_value": next_value,
        "terminated": kind == 1,
        "truncated": kind == 2,
        "ratio": np.exp(rng.normal(size=shape)),
    }


def call(function: Any, data: dict[str, Any], *names: str, **settings: Any) -> Any:
    """The function on the arrays of those names, in float32."""
    names = (*names, "terminated", "truncated")
    order = [name for name in ("reward", "value", "next_value", "terminated", "truncated", "ratio") if name in names]
    arrays = [jnp.asarray(data[name], bool if name in ("terminated", "truncated") else jnp.float32) for name in order]
    return jax.jit(lambda *arrays: function(*arrays, **settings))(*arrays)


def slow_lambda(data: dict[str, Any], decay: float) -> np.ndarray:
    """TD(λ)'s target as the weighted mean of every n-step return, summed forward from each step: no recursion."""
    reward, next_value = data["reward"], data["next_value"]
    time, environments = reward.shape
    result = np.zeros((time, environments))
    for env in range(environments):
        for start in range(time):
            stops = [
                t
                for t in range(start, time)
                if data["terminated"][t, env] or data["truncated"][t, env] or t == time - 1
            ]
            total, weight = 0.0, 1.0
            for t in range(start, stops[0] + 1):
                rewards = sum(GAMMA ** (k - start) * reward[k, env] for k in range(start, t + 1))
                rest = 0.0 if data["terminated"][t, env] else GAMMA ** (t - start + 1) * next_value[t, env]
                share = weight if t == stops[0] else (1 - decay) * weight
                total += share * (rewards + rest)
                weight *= decay
            result[start, env] = total
    return result


def slow_vtrace(data: dict[str, Any], decay: float, rho: float, c: float) -> tuple[np.ndarray, np.ndarray]:
    """V-trace as the paper's sum (its eq. 1) from each step, and the advantages from the targets it gives."""
    time, environments = data["reward"].shape
    targets, advantages = np.zeros((time, environments)), np.zeros((time, environments))
    for env in range(environments):
        r, v, after, over, cut, ratio = (data[name][:, env] for name in data)
        for s in range(time):
            total, trace = v[s], 1.0
            for t in range(s, time):
                rest = 0.0 if over[t] else after[t]
                total += trace * min(rho, ratio[t]) * (r[t] + GAMMA * rest - v[t])
                trace *= GAMMA * decay * min(c, ratio[t])
                if over[t] or cut[t]:
                    break
            targets[s, env] = total
        for s in range(time):
            ended = over[s] or cut[s] or s == time - 1
            rest = 0.0 if over[s] else after[s] if ended else targets[s + 1, env]
            advantages[s, env] = min(rho, ratio[s]) * (r[s] + GAMMA * rest - v[s])
    return targets, advantages


def slow_retrace(data: dict[str, Any], decay: float) -> np.ndarray:
    """Retrace as the paper's sum from each step."""
    time, environments = data["reward"].shape
    result = np.zeros((time, environments))
    for env in range(environments):
        r, q, after, over, cut, ratio = (data[name][:, env] for name in data)
        for s in range(time):
            total, trace = q[s], 1.0
            for t in range(s, time):
                if t > s:
                    trace *= GAMMA * decay * min(1.0, ratio[t])
                total += trace * (r[t] + GAMMA * (0.0 if over[t] else after[t]) - q[t])
                if over[t] or cut[t]:
                    break
            result[s, env] = total
    return result


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_loops_over_random_episodes(seed: int) -> None:
    data = rollout(seed)
    mixed, sums = slow_lambda(data, LAMBDA), slow_lambda(data, 1.0)
    received = call(returns.lambda_returns, data, "reward", "next_value", discount=GAMMA, lambda_=LAMBDA)
    np.testing.assert_allclose(received, mixed, rtol=1e-5, atol=1e-5)
    received = call(returns.discounted_returns, data, "reward", "next_value", discount=GAMMA)
    np.testing.assert_allclose(received, sums, rtol=1e-5, atol=1e-5)
    received = call(
        returns.generalized_advantages, data, "reward", "value", "next_value", discount=GAMMA, lambda_=LAMBDA
    )
    np.testing.assert_allclose(received, mixed - data["value"], rtol=1e-5, atol=1e-5)
    names = ("reward", "value", "next_value", "ratio")
    received = call(corrections.vtrace, data, *names, discount=GAMMA, lambda_=LAMBDA, rho_clip=1.5, c_clip=0.8)
    for ours, theirs in zip(received, slow_vtrace(data, LAMBDA, 1.5, 0.8), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    received = call(corrections.retrace, data, *names, discount=GAMMA, lambda_=LAMBDA)
    np.testing.assert_allclose(received, slow_retrace(data, LAMBDA), rtol=1e-5, atol=1e-5)


def test_by_hand() -> None:
    """γ = ½, λ = ½, one environment: a step that goes on, one that terminates, one that is truncated, and the last."""
    data = {
        "reward": np.array([[1.0], [2.0], [3.0], [4.0]]),
        "value": np.array([[1.0], [2.0], [5.0], [7.0]]),
        "next_value": np.array([[2.0], [99.0], [6.0], [8.0]]),  # 99: what is behind a termination is never seen
        "terminated": np.array([[False], [True], [False], [False]]),
        "truncated": np.array([[False], [False], [True], [False]]),
    }
    pair = {"discount": 0.5, "lambda_": 0.5}
    # G_3 = 4 + ½·8, G_2 = 3 + ½·6 (row 3 is another episode), G_1 = 2, G_0 = 1 + ½·(½·2 + ½·2)
    received = call(returns.lambda_returns, data, "reward", "next_value", **pair)
    assert received[:, 0].tolist() == [2.0, 2.0, 6.0, 8.0]
    # δ = (1 + 1 − 1, 2 − 2, 3 + 3 − 5, 4 + 4 − 7) = (1, 0, 1, 1); A_0 = 1 + ¼·0
    received = call(returns.generalized_advantages, data, "reward", "value", "next_value", **pair)
    assert received[:, 0].tolist() == [1.0, 0.0, 1.0, 1.0]
    # ratios ½, 3, 2, 1 clipped at 1: v_0 = 1 + ½·1 + ½·½·0; advantages ρ·(r + γ·v' − V) = ½·(1 + ½·2 − 1), …
    data["ratio"] = np.array([[0.5], [3.0], [2.0], [1.0]])
    names = ("reward", "value", "next_value", "ratio")
    targets_, advantages = call(corrections.vtrace, data, *names, discount=0.5)
    assert targets_[:, 0].tolist() == [1.5, 2.0, 6.0, 8.0]
    assert advantages[:, 0].tolist() == [0.5, 0.0, 1.0, 1.0]


def test_what_is_behind_a_termination_is_never_read() -> None:
    data = rollout(3)
    clean = call(returns.generalized_advantages, data, "reward", "value", "next_value", discount=GAMMA, lambda_=LAMBDA)
    data["next_value"] = np.where(data["terminated"], np.nan, data["next_value"])
    dirty = call(returns.generalized_advantages, data, "reward", "value", "next_value", discount=GAMMA, lambda_=LAMBDA)
    np.testing.assert_array_equal(clean, dirty)


def test_limits_of_lambda_and_on_policy_corrections() -> None:
    data = rollout(4)
    step = data["reward"] + GAMMA * np.where(data["terminated"], 0, data["next_value"])
    received = call(returns.lambda_returns, data, "reward", "next_value", discount=GAMMA, lambda_=0.0)
    np.testing.assert_allclose(received, step, rtol=1e-5, atol=1e-6)
    data["ratio"] = np.ones_like(data["reward"])
    names = ("reward", "value", "next_value", "ratio")
    on_policy, advantages = call(corrections.vtrace, data, *names, discount=GAMMA)
    sums = call(returns.discounted_returns, data, "reward", "next_value", discount=GAMMA)
    np.testing.assert_allclose(on_policy, sums, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(advantages, sums - data["value"], rtol=1e-5, atol=1e-5)
    # With E_π Q(s', ·) = Q(s', a') and no correction lost, Retrace is the same sum.
    received = call(corrections.retrace, data, *names, discount=GAMMA)
    np.testing.assert_allclose(received, sums, rtol=1e-5, atol=1e-5)


def test_windows_of_n_steps() -> None:
    data = rollout(5, time=40, environments=3)
    n = 4
    starts = [(t, env) for t in range(40 - n + 1) for env in range(3)]
    windows = {name: np.stack([array[t : t + n, env] for t, env in starts]) for name, array in data.items()}
    total, last, bootstrap = call(returns.n_step_returns, windows, "reward", discount=GAMMA)
    for i in range(len(starts)):
        expected, k = 0.0, 0
        while True:
            expected += GAMMA**k * windows["reward"][i, k]
            if windows["terminated"][i, k] or windows["truncated"][i, k] or k == n - 1:
                break
            k += 1
        assert int(last[i]) == k
        assert float(total[i]) == pytest.approx(expected, abs=1e-5)
        assert float(bootstrap[i]) == pytest.approx(0 if windows["terminated"][i, k] else GAMMA ** (k + 1), abs=1e-6)


def test_the_projection_keeps_mass_and_inside_the_support_the_mean() -> None:
    rng = np.random.default_rng(0)
    support = np.linspace(-2, 3, 11)
    probabilities = rng.dirichlet(np.ones(11), size=32)
    reward, discount = rng.normal(size=32) * 2, np.where(rng.random(32) < 0.3, 0.0, 0.9)
    received = jax.jit(targets.project_categorical)(
        *(jnp.asarray(x, jnp.float32) for x in (support, probabilities, reward, discount))
    )
    expected = np.zeros((32, 11))
    for row in range(32):  # algorithm 1 of the paper
        for j in range(11):
            place = (np.clip(reward[row] + discount[row] * support[j], -2, 3) + 2) / 0.5
            low, high = int(np.floor(place)), int(np.ceil(place))
            if low == high:
                expected[row, low] += probabilities[row, j]
            else:
                expected[row, low] += probabilities[row, j] * (high - place)
                expected[row, high] += probabilities[row, j] * (place - low)
    np.testing.assert_allclose(received, expected, atol=2e-6)
    np.testing.assert_allclose(received.sum(-1), 1, atol=1e-6)
    inside = (np.abs(reward) < 1) & (discount == 0)
    assert inside.any()
    np.testing.assert_allclose((received @ support)[inside], reward[inside], atol=1e-5)


def test_quantile_huber_by_hand_and_where_it_is_least() -> None:
    predicted, target = np.array([0.0, 2.0]), np.array([0.5, 3.0, -1.0])
    # u = ½, 3, −1 for τ = ¼: ¼·⅛, ¼·2½, ¾·½; u = −1½, 1, −3 for τ = ¾: ¼·1, ¾·½, ¼·2½
    expected = (0.25 * 0.125 + 0.25 * 2.5 + 0.75 * 0.5) / 3 + (0.25 * 1.0 + 0.75 * 0.5 + 0.25 * 2.5) / 3
    taus = targets.quantile_midpoints(2)
    f32 = jnp.float32
    received = jax.jit(targets.quantile_huber)(jnp.asarray(predicted, f32), jnp.asarray(target, f32), taus)
    assert float(received) == pytest.approx(expected, abs=1e-6)
    # With a small κ the minimum is at the quantiles of the target: of 0 … 99 those at ¼ and ¾.
    sample = jnp.arange(100.0)
    slope = jax.jit(jax.grad(lambda z: targets.quantile_huber(z, sample, taus, kappa=1e-3)))
    np.testing.assert_allclose(slope(jnp.array([24.5, 74.5])), 0, atol=1e-6)
    assert (np.abs(slope(jnp.array([20.5, 79.5]))) > 0.03).all()


def test_polyak_and_the_td_target() -> None:
    target = {"w": jnp.array([1.0, 2.0], jnp.bfloat16), "count": jnp.array(3)}
    online = {"w": jnp.array([0.3, 1e8], jnp.bfloat16), "count": jnp.array(7)}
    polyak = jax.jit(targets.polyak)
    copied = polyak(target, online, jnp.float32(1.0))
    assert copied["w"].dtype == jnp.bfloat16
    assert (copied["w"] == online["w"]).all()
    assert int(copied["count"]) == 7
    kept = polyak(target, online, jnp.float32(0.0))
    assert (kept["w"] == target["w"]).all()
    received = targets.td_target(jnp.ones(2), jnp.array([True, False]), jnp.array([jnp.nan, 3.0]), 0.5)
    assert received.tolist() == [1.0, 2.5]


def test_shapes_that_would_broadcast_to_a_wrong_answer_are_refused() -> None:
    row, column = np.zeros((8, 4), np.float32), np.zeros((8, 4, 1), np.float32)
    with pytest.raises(DataError, match=r"value \(8, 4, 1\).*expected one shape"):
        returns.generalized_advantages(row, column, row, row > 0, row > 0, discount=0.9, lambda_=0.9)
    with pytest.raises(DataError, match="expected one shape"):
        targets.td_target(row, row > 0, column, 0.9)
    with pytest.raises(DataError, match="at least 2 atoms"):
        targets.project_categorical(jnp.zeros(3), jnp.zeros((8, 4)), jnp.zeros(8), jnp.zeros(8))
    with pytest.raises(DataError, match="taus"):
        targets.quantile_huber(jnp.zeros((8, 3)), jnp.zeros((8, 3)), jnp.zeros(4))
    with pytest.raises(ConfigError, match="kappa"):
        targets.quantile_huber(jnp.zeros(3), jnp.zeros(3), jnp.zeros(3), kappa=0.0)
