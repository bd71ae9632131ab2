"""The compiled environments: against their mechanics and rules written another way in float64 NumPy, and against Gymnasium."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.rl import environments as worlds
from danlu.rl.environment import Environment
from danlu.verify.case import Check, case

__all__ = ["BreakoutByRule"]

MANY = 64
FLOOR = 0.1  # angles, speeds and positions are of the size of 1


def drawn(low: tuple[float, ...], high: tuple[float, ...]) -> Any:
    """States that float32 holds exactly, ``(many, size)`` float64."""
    rng = np.random.default_rng(0)
    return rng.uniform(low, high, (MANY, len(low))).astype(np.float32).astype(np.float64)


def actions_for(env: Environment) -> Any:
    space: Any = env.action_space
    rng = np.random.default_rng(1)
    if space.shape == ():
        return rng.integers(space.n, size=MANY)
    # Half as far again beyond the bounds, where what an action does and what it costs may part.
    return rng.uniform(1.5 * space.low_array, 1.5 * space.high_array, (MANY, *space.shape)).astype(np.float32)


def compare(
    check: Check, env: Environment, state: Callable[..., Any], states: Any, formula: Callable[..., Any]
) -> None:
    """One step from each state: what is seen, the reward, whether it ends, by the formula and by Gymnasium."""
    actions = actions_for(env)
    step = jax.jit(jax.vmap(env.step, in_axes=(0, 0, None)))
    _, outcome = step(state(*jnp.asarray(states.T, jnp.float32)), jnp.asarray(actions), jax.random.key(0))
    ours = (outcome.observation, outcome.reward, outcome.terminated)
    expected = [formula(s, float(np.ravel(a)[0])) for s, a in zip(states, actions, strict=True)]
    for got, want in zip(ours, zip(*expected, strict=True), strict=True):
        check(got, np.array(want), floor=FLOOR)
    if gymnasium := check.module("gymnasium"):
        other = gymnasium.make(env.id, disable_env_checker=True).unwrapped
        other.reset(seed=0)
        theirs = []
        for begun, action in zip(states, actions, strict=True):
            other.state = begun.copy()
            other.steps_beyond_terminated = None
            theirs.append(other.step(int(action) if np.ndim(action) == 0 else action)[:3])
        for got, want in zip(ours, zip(*theirs, strict=True), strict=True):
            check(got, np.array(want), oracle="gymnasium", floor=FLOOR)


@case("environment.CartPole")
def cart_pole(check: Check) -> None:
    def formula(state: Any, action: float) -> Any:
        """The accelerations solve Lagrange's two equations; the pole is a rod of length 2l."""
        x, v, angle, spin = state
        mass, pole, half = 1.0, 0.1, 0.5
        lever = pole * half * np.cos(angle)
        inertia = np.array([[mass + pole, lever], [lever, 4 / 3 * pole * half**2]])
        force = np.array([20 * action - 10 + pole * half * spin**2 * np.sin(angle), pole * 9.8 * half * np.sin(angle)])
        along, about = np.linalg.solve(inertia, force)
        seen = np.array([x + 0.02 * v, v + 0.02 * along, angle + 0.02 * spin, spin + 0.02 * about])
        return seen, 1.0, abs(seen[0]) > 2.4 or abs(np.degrees(seen[2])) > 12

    compare(check, worlds.CartPole(), worlds.CartPoleState, drawn((-2.4, -2, -0.21, -2), (2.4, 2, 0.21, 2)), formula)


def rolled(state: Any, push: float) -> Any:
    """The car after a push, ``(position, speed)``."""
    x, v = state
    v = np.sort([-0.07, v + push - 0.0025 * np.cos(3 * x), 0.07])[1]
    x = np.sort([-1.2, x + v, 0.6])[1]
    return np.array([x, max(v, 0.0) if x == -1.2 else v])


@case("environment.MountainCar")
def mountain_car(check: Check) -> None:
    def formula(state: Any, action: float) -> Any:
        seen = rolled(state, (action - 1) * 0.001)
        return seen, -1.0, seen[0] >= 0.5 and seen[1] >= 0

    compare(check, worlds.MountainCar(), worlds.MountainCarState, drawn((-1.2, -0.07), (0.55, 0.07)), formula)


@case("environment.MountainCarContinuous")
def mountain_car_continuous(check: Check) -> None:
    def formula(state: Any, action: float) -> Any:
        seen = rolled(state, 0.0015 * min(max(action, -1.0), 1.0))
        arrived = seen[0] >= 0.45 and seen[1] >= 0
        return seen, 100 * arrived - 0.1 * action**2, arrived

    states = drawn((-1.2, -0.07), (0.5, 0.07))
    compare(check, worlds.MountainCarContinuous(), worlds.MountainCarState, states, formula)


@case("environment.Acrobot")
def acrobot(check: Check) -> None:
    def slope(at: Any, torque: float) -> Any:
        """The manipulator's equations, ``inertia · accelerations = torques``, all lengths and masses 1."""
        a, b, da, db = at
        inner = 1.25 + 0.5 * np.cos(b)
        inertia = np.array([[3.5 + np.cos(b), inner], [inner, 1.25]])
        weight = 4.9 * np.sin(a + b)
        gyro = 0.5 * np.sin(b)
        torques = np.array([gyro * db * (db + 2 * da) - 14.7 * np.sin(a) - weight, torque - gyro * da**2 - weight])
        return np.array([da, db, *np.linalg.solve(inertia, torques)])

    def formula(state: Any, action: float) -> Any:
        total, at, torque = np.zeros(4), state, action - 1
        for weight, reach in ((1, 0.5), (2, 0.5), (2, 1.0), (1, 0.0)):
            change = slope(at, torque)
            total, at = total + weight * change, state + 0.2 * reach * change
        a, b, da, db = state + 0.2 * total / 6
        da, db = np.clip(da, -4 * np.pi, 4 * np.pi), np.clip(db, -9 * np.pi, 9 * np.pi)
        up = -np.cos(a) - np.cos(a + b) > 1
        return np.array([np.cos(a), np.sin(a), np.cos(b), np.sin(b), da, db]), float(up) - 1, up

    compare(check, worlds.Acrobot(), worlds.AcrobotState, drawn((-3, -3, -4, -6), (3, 3, 4, 6)), formula)


@case("environment.Pendulum")
def pendulum(check: Check) -> None:
    def formula(state: Any, action: float) -> Any:
        angle, spin = state
        action = min(max(action, -2.0), 2.0)
        away = np.angle(np.exp(1j * angle))
        faster = np.clip(spin + 0.05 * (15 * np.sin(angle) + 3 * action), -8, 8)
        now = np.exp(1j * (angle + 0.05 * faster))
        return np.array([now.real, now.imag, faster]), -(away**2 + 0.1 * spin**2 + 0.001 * action**2), False

    compare(check, worlds.Pendulum(), worlds.PendulumState, drawn((-6, -8), (6, 8)), formula)


@case("environment.GridWorld", tolerance=0.02, reason="a probability of 1/10 counted in 40,000 draws")
def grid_world(check: Check) -> None:
    """How often each cell of the 4 × 3 world is reached from each, as the book says; and what that brings."""
    world = worlds.GridWorld()
    place = {(x, y): 4 * y + x for x in range(4) for y in range(3)}
    for (x, y), action in (((0, 2), 0), ((2, 1), 1), ((1, 0), 2)):
        state = worlds.GridWorldState(jnp.int32(place[x, y]))
        step = jax.jit(jax.vmap(world.step, (None, None, 0)))
        after, outcome = step(state, jnp.int32(action), jax.random.split(jax.random.key(0), 40_000))
        share = np.zeros(12)
        for turn, probability in ((0, 0.8), (1, 0.1), (3, 0.1)):
            right, down = ((0, -1), (1, 0), (0, 1), (-1, 0))[(action + turn) % 4]
            target = (x + right, y + down)
            share[place[target if target in place and target != (1, 1) else (x, y)]] += probability
        check(np.bincount(np.asarray(after.cell), minlength=12) / 40_000, share, oracle="closed form", floor=1)
        bonus = {3: 1.0, 7: -1.0}
        expected = [-0.04 + bonus.get(int(cell), 0.0) for cell in after.cell[:50]]
        check(outcome.reward[:50], np.array(expected), oracle="closed form")
        check(outcome.terminated[:50], np.array([int(cell) in bonus for cell in after.cell[:50]]), oracle="closed form")


@case("environment.Bandit", tolerance=0.05, reason="means and deviations of 20,000 draws")
def bandit(check: Check) -> None:
    keys = jax.random.split(jax.random.key(0), 20_000)
    for kind, means, deviations in (
        ("gaussian", (-0.5, 2.0), (1.0, 1.0)),
        ("bernoulli", (0.25, 0.8), (0.1875**0.5, 0.4)),
    ):
        world = worlds.Bandit(arms=2, kind=kind, means=means)
        start = world.reset(keys[0])[0]
        pull = jax.jit(jax.vmap(lambda arm, key, do=world.step, at=start: do(at, arm, key)[1].reward, (None, 0)))
        rewards = [np.asarray(pull(jnp.int32(arm), keys)) for arm in (0, 1)]
        check([r.mean() for r in rewards], np.array(means), oracle="closed form", floor=1)
        check([r.std() for r in rewards], np.array(deviations), oracle="closed form", floor=1)


@case("environment.Catch")
def catch(check: Check) -> None:
    world = worlds.Catch()
    moves = np.random.default_rng(0).integers(3, size=9)
    start, _ = world.reset(jax.random.key(0))

    def move(state: Any, action: Any) -> Any:
        return world.step(state, action, jax.random.key(0))

    _, outcome = jax.jit(lambda start, moves: jax.lax.scan(move, start, moves))(start, jnp.asarray(moves))
    paddle = 2
    for row, action in enumerate(moves, start=1):
        paddle = min(max(paddle + int(action) - 1, 0), 4)
        board = np.zeros((10, 5))
        board[row, int(start.column)] = board[9, paddle] = 1
        check(outcome.observation[row - 1], board)
        check(outcome.reward[row - 1], (1 if paddle == int(start.column) else -1) if row == 9 else 0)
        check(outcome.terminated[row - 1], row == 9)


class BreakoutByRule:
    """MinAtar's rules, told on a set of bricks and a complex number for the ball: real part to the right, imaginary part down."""

    FULL = frozenset(complex(x, y) for x in range(10) for y in (1, 2, 3))

    def __init__(self, from_left: bool) -> None:
        self.ball = self.trail = complex(0 if from_left else 9, 3)
        self.way = complex(1 if from_left else -1, 1)
        self.bricks, self.paddle, self.hot = set(self.FULL), 4, False

    def act(self, action: int) -> tuple[int, bool]:
        """``(reward, over)`` of staying (0), left (1) or right (2)."""
        self.paddle = min(max(self.paddle + (0, -1, 1)[action], 0), 9)
        self.trail, target = self.ball, self.ball + self.way
        if not 0 <= target.real <= 9:
            target = complex(self.ball.real, target.imag)
            self.way = -self.way.conjugate()
        reward, over, hot = 0, False, False
        if target.imag < 0:
            target, self.way = complex(target.real, 0), self.way.conjugate()
        elif target in self.bricks:
            hot = True
            if not self.hot:
                self.bricks.remove(target)
                reward, target, self.way = 1, complex(target.real, self.ball.imag), self.way.conjugate()
        elif target.imag == 9:
            self.bricks = self.bricks or set(self.FULL)
            if self.ball.real == self.paddle:
                target, self.way = complex(target.real, self.ball.imag), self.way.conjugate()
            elif target.real == self.paddle:
                target, self.way = complex(target.real, self.ball.imag), -self.way
            else:
                over = True
        self.ball, self.hot = target, hot
        return reward, over

    def seen(self) -> Any:
        """The board, ``(10, 10, 4)`` float32."""
        board = np.zeros((10, 10, 4), np.float32)
        board[9, self.paddle, 0] = 1
        for channel, points in ((1, [self.ball]), (2, [self.trail]), (3, self.bricks)):
            for point in points:
                board[int(point.imag), int(point.real), channel] = 1
        return board


@case("environment.Breakout")
def breakout(check: Check) -> None:
    """300 steps of a player who mostly follows the ball."""
    world = worlds.Breakout(sticky=0.0)
    reset, step = jax.jit(world.reset), jax.jit(world.step)
    rng = np.random.default_rng(0)
    over = True
    for move in range(300):
        if over:
            state, _ = reset(jax.random.key(move))
            game = BreakoutByRule(from_left=int(state.column) == 0)
        ahead = game.ball.real + game.way.real
        action = (
            int(rng.integers(3)) if rng.random() < 0.1 else 0 if ahead == game.paddle else 1 + (ahead > game.paddle)
        )
        state, outcome = step(state, jnp.int32(action), jax.random.key(0))
        reward, over = game.act(action)
        check(outcome.observation, game.seen())
        check([outcome.reward, outcome.terminated], [reward, over])
