"""Returns, advantages and targets of reinforcement learning, against their linear systems, their sums and their definitions in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.evaluate.reliability import interquartile_mean, probability_of_improvement
from danlu.rl import corrections, returns, targets
from danlu.rl.prioritised import Prioritised
from danlu.verify.case import Check, case
from danlu.verify.oracles import draw, finite_difference

__all__: list[str] = []

TIME, ENVIRONMENTS, GAMMA, LAMBDA = 16, 3, 0.9, 0.7
FIELDS = ("reward", "value", "next_value", "terminated", "truncated", "ratio")
FLOOR = 0.1  # sums of numbers of size 1, some of which nearly cancel


def rollout() -> dict[str, np.ndarray]:
    """A rollout in which episodes end in both ways; the value of a next state is that of the next row within an episode."""
    kind = np.random.default_rng(0).choice(3, size=(TIME, ENVIRONMENTS), p=[0.6, 0.2, 0.2])
    value, next_value = draw(TIME, ENVIRONMENTS, seed=1), draw(TIME, ENVIRONMENTS, seed=2)
    next_value[:-1] = np.where(kind[:-1] == 0, value[1:], next_value[:-1])
    ratio = np.exp(draw(TIME, ENVIRONMENTS, seed=4)).astype(np.float32).astype(np.float64)
    return dict(
        zip(FIELDS, (draw(TIME, ENVIRONMENTS, seed=3), value, next_value, kind == 1, kind == 2, ratio), strict=True)
    )


def received(function: Callable[..., Any], data: dict[str, np.ndarray], *without: str, **settings: float) -> Any:
    """danlu's, in float32."""
    arrays = [jnp.asarray(x, bool if x.dtype == bool else jnp.float32) for n, x in data.items() if n not in without]
    return jax.jit(lambda *arrays: function(*arrays, **settings))(*arrays)


def solved(increment: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """``x = increment + factor · x shifted``, each environment's as one system of equations."""
    columns = [
        np.linalg.solve(np.eye(TIME) - np.diag(f[:-1], 1), i) for i, f in zip(increment.T, factor.T, strict=True)
    ]
    return np.stack(columns, axis=1)


def ends(data: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """1 where the episode goes on in the next row, and the value behind each step."""
    going = ~(data["terminated"] | data["truncated"])
    going[-1] = False
    return going.astype(np.float64), np.where(data["terminated"], 0.0, data["next_value"])


@case("rl.lambda_returns")
def verify_lambda_returns(check: Check) -> None:
    data = rollout()
    going, after = ends(data)
    for lambda_ in (0.0, LAMBDA, 1.0):
        expected = solved(data["reward"] + GAMMA * (1 - lambda_ * going) * after, GAMMA * lambda_ * going)
        check(
            received(returns.lambda_returns, data, "value", "ratio", discount=GAMMA, lambda_=lambda_),
            expected,
            oracle="linear system",
            floor=FLOOR,
        )
    check(
        received(returns.discounted_returns, data, "value", "ratio", discount=GAMMA),
        expected,
        oracle="linear system",
        floor=FLOOR,
    )


@case("rl.generalized_advantages")
def verify_generalized_advantages(check: Check) -> None:
    data = rollout()
    going, after = ends(data)
    expected = solved(data["reward"] + GAMMA * after - data["value"], GAMMA * LAMBDA * going)
    ours = received(returns.generalized_advantages, data, "ratio", discount=GAMMA, lambda_=LAMBDA)
    check(ours, expected, oracle="linear system", floor=FLOOR)


@case("rl.n_step_returns")
def verify_n_step_returns(check: Check) -> None:
    data = rollout()
    reward, terminated, truncated = (data[name].T for name in ("reward", "terminated", "truncated"))
    expected = []
    for env in range(ENVIRONMENTS):
        total, step = 0.0, 0
        for step in range(TIME):
            total += GAMMA**step * reward[env, step]
            if terminated[env, step] or truncated[env, step]:
                break
        expected.append((total, step, 0.0 if terminated[env, step] else GAMMA ** (step + 1)))
    ours = returns.n_step_returns(
        jnp.asarray(reward, jnp.float32), jnp.asarray(terminated), jnp.asarray(truncated), discount=GAMMA
    )
    check(np.stack(ours, axis=1), expected)


@case("rl.vtrace")
def verify_vtrace(check: Check) -> None:
    data = rollout()
    going, after = ends(data)
    for lambda_, rho_clip, c_clip in ((1.0, 1.0, 1.0), (LAMBDA, 2.0, 0.5)):
        rho, c = np.minimum(rho_clip, data["ratio"]), lambda_ * np.minimum(c_clip, data["ratio"])
        correction = solved(rho * (data["reward"] + GAMMA * after - data["value"]), GAMMA * c * going)
        target = after + going * np.concatenate([correction[1:], np.zeros((1, ENVIRONMENTS))])
        settings = {"discount": GAMMA, "lambda_": lambda_, "rho_clip": rho_clip, "c_clip": c_clip}
        values, advantages = received(corrections.vtrace, data, **settings)
        check(values, data["value"] + correction, oracle="linear system", floor=FLOOR)
        check(advantages, rho * (data["reward"] + GAMMA * target - data["value"]), oracle="linear system", floor=FLOOR)


@case("rl.retrace")
def verify_retrace(check: Check) -> None:
    data = rollout()
    going, after = ends(data)
    trace = np.concatenate([LAMBDA * np.minimum(1, data["ratio"])[1:], np.zeros((1, ENVIRONMENTS))])
    correction = solved(data["reward"] + GAMMA * after - data["value"], GAMMA * trace * going)
    ours = received(corrections.retrace, data, discount=GAMMA, lambda_=LAMBDA)
    check(ours, data["value"] + correction, oracle="linear system", floor=FLOOR)


@case("rl.project_categorical")
def verify_project_categorical(check: Check) -> None:
    """The paper's algorithm 1, atom by atom."""
    support, probabilities = np.linspace(-2, 2, 9), np.random.default_rng(0).dirichlet(np.ones(9), size=8)
    reward, discount = draw(8), np.where(np.arange(8) % 3 == 0, 0.0, 0.5)
    expected = np.zeros((8, 9))
    for row in range(8):
        for atom in range(9):
            place = (np.clip(reward[row] + discount[row] * support[atom], -2, 2) + 2) / 0.5
            low, high = int(np.floor(place)), int(np.ceil(place))
            expected[row, low] += probabilities[row, atom] * (high - place if low < high else 1)
            expected[row, high] += probabilities[row, atom] * (place - low)
    arrays = [jnp.asarray(x, jnp.float32) for x in (support, probabilities, reward, discount)]
    check(targets.project_categorical(*arrays), expected, floor=0.05)


@case("rl.quantile_huber")
def verify_quantile_huber(check: Check) -> None:
    predicted, target = draw(4, 5), draw(4, 6, seed=1)
    taus = (np.arange(5) + 0.5) / 5

    def formula(predicted: np.ndarray, kappa: float) -> np.ndarray:
        total = np.zeros(4)
        for row, i, j in np.ndindex(4, 5, 6):
            u = target[row, j] - predicted[row, i]
            huber = u * u / 2 if abs(u) <= kappa else kappa * (abs(u) - kappa / 2)
            total[row] += abs(taus[i] - (u < 0)) * huber / kappa / 6
        return total

    for kappa in (1.0, 0.25):

        def ours(z: jax.Array, kappa: float = kappa) -> jax.Array:
            return targets.quantile_huber(
                z, jnp.asarray(target, jnp.float32), targets.quantile_midpoints(5), kappa=kappa
            )

        z = jnp.asarray(predicted, jnp.float32)
        check(ours(z), formula(predicted, kappa))
        numeric = finite_difference(lambda x, kappa=kappa: formula(x, kappa).sum(), predicted)  # type: ignore[misc]
        check(jax.grad(lambda z: ours(z).sum())(z), numeric, oracle="finite differences", floor=0.01)


@case("rl.td_target")
def verify_td_target(check: Check) -> None:
    reward, value, over = draw(8), draw(8, seed=1), np.arange(8) % 2 == 0
    ours = targets.td_target(
        jnp.asarray(reward, jnp.float32), jnp.asarray(over), jnp.asarray(value, jnp.float32), GAMMA
    )
    check(ours, reward + GAMMA * value * (1 - over))


@case("rl.polyak")
def verify_polyak(check: Check) -> None:
    """After k updates towards one network, ``(1 − τ)^k`` of the old target is left."""
    target, online, rate, count = draw(8), draw(8, seed=1), 0.05, 30
    tree = jnp.asarray(target, jnp.float32)
    for _ in range(count):
        tree = targets.polyak(tree, jnp.asarray(online, jnp.float32), rate)
    left = (1 - rate) ** count
    check(tree, left * target + (1 - left) * online, oracle="closed form", floor=0.1)


@case("rl.prioritised_replay")
def verify_prioritised_replay(check: Check) -> None:
    """Which entry each height of the running sum belongs to, and the weights, from their definitions."""
    errors, alpha, epsilon, beta = draw(100), 0.6, 0.01, 0.5
    replay = Prioritised.of({"number": jnp.zeros(4)}, capacity=100, alpha=alpha, epsilon=epsilon)
    add = jax.jit(Prioritised.add)
    for row in range(25):
        replay = add(replay, {"number": 4.0 * row + jnp.arange(4.0)})
    replay = replay.update(jnp.arange(100), jnp.asarray(errors, jnp.float32))
    priority = (np.abs(errors) + epsilon) ** alpha
    check(replay.tree.total, priority.sum())
    middles = np.cumsum(priority) - priority / 2
    check(replay.tree.find(jnp.asarray(middles, jnp.float32)), np.arange(100))
    drawn = replay.sample(jax.random.key(0), 32, beta=beta)
    check(drawn.rows["number"], drawn.indices)
    weights = (100 * priority[np.asarray(drawn.indices)] / priority.sum()) ** -beta
    check(drawn.weights, weights / weights.max())


@case("rl.run_statistics")
def verify_run_statistics(check: Check) -> None:
    ours, theirs = draw(10, 3).round(1), draw(7, 3, seed=1).round(1)
    middle = np.sort(ours.ravel())[7:23]
    check(interquartile_mean(ours), middle.mean())
    if stats := check.module("scipy.stats"):
        check(interquartile_mean(ours), stats.trim_mean(ours, 0.25, axis=None), oracle="scipy")
    wins = [np.mean([[float(x > y) + (x == y) / 2 for x in ours[:, k]] for y in theirs[:, k]]) for k in range(3)]
    check(probability_of_improvement(ours, theirs, resamples=10).value, np.mean(wins))
