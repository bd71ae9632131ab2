"""The driving world against its mechanics in float64 NumPy, and multipliers on costs against a problem that is solved on paper."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.rl.constraint import Constraint
from danlu.rl.environments.driving import Driving, DrivingState, bicycle
from danlu.rl.environments.road import DRAWN, Road, random_road
from danlu.verify.case import Check, case
from danlu.verify.oracles import draw

__all__: list[str] = []

MANY = 32


def driven(x: float, y: float, heading: float, speed: float, steering: float) -> tuple[float, float, float]:
    """The car a tenth of a second later, as a walk on the circle about which it turns, in the complex plane."""
    here, way = complex(x, y), np.exp(1j * heading)
    radius = 2.6 / np.tan(steering)
    turned = speed * 0.1 / radius
    centre = here + 1j * way * radius
    there = centre + (here - centre) * np.exp(1j * turned)
    return there.real, there.imag, heading + turned


@case("environment.Driving")
def driving(check: Check) -> None:
    """One step from many places: the arc about the circle's centre; the nearest place of the road by projection on its
    tangent; the costs."""
    rng = np.random.default_rng(0)
    world = Driving()
    road: Road = jax.jit(random_road, static_argnums=1)(jax.random.uniform(jax.random.key(0), (DRAWN,)), 0.03)
    points = np.stack([np.asarray(road.x), np.asarray(road.y)], axis=1).astype(np.float64)
    which = rng.integers(20, 380, MANY)
    offset, bend, speed = rng.uniform(-4, 4, MANY), rng.uniform(-0.2, 0.2, MANY), rng.uniform(1, 18, MANY)
    heading = np.asarray(road.heading, np.float64)[which]
    place = points[which] + offset[:, None] * np.stack([-np.sin(heading), np.cos(heading)], axis=1)
    action = rng.uniform(-1, 1, (MANY, 2))
    walkers = np.full((MANY, 8), 1e3)
    walkers[:, 0] = 2 * which + rng.uniform(-4, 8, MANY)
    aside = rng.uniform(-4, 4, (MANY, 8))

    def once(*given: jax.Array) -> Any:
        x, y, heading, speed, along, offset, walkers, aside, action = given
        state = DrivingState(
            x, y, heading, speed, along, offset, road, walkers, aside, jnp.zeros(8), jnp.zeros(8), jnp.zeros(8, bool)
        )
        after, outcome = world.step(state, action, jax.random.key(0))
        return after.x, after.y, after.heading, after.speed, after.along, after.offset, outcome.cost, outcome.terminated

    given = (*place.T, heading + bend, speed, 2.0 * which, offset, walkers, aside, action)
    single = [np.asarray(each, np.float32) for each in given]
    found = [np.asarray(each) for each in jax.jit(jax.vmap(once))(*single)]
    for row, numbers in enumerate(zip(*(each.astype(np.float64) for each in single), strict=True)):
        x, y, way, fast, along, _, walker, beside, (steering, pedal) = numbers
        x, y, way = driven(x, y, way, fast, 0.5 * steering)
        fast = min(max(fast + 0.1 * pedal * (3 if pedal > 0 else 6), 0), 20)
        nearest = int(np.argmin(np.hypot(*(points - (x, y)).T)))
        tangent = np.exp(1j * float(road.heading[nearest]))
        apart = (complex(x, y) - complex(*points[nearest])) / tangent
        along, left = 2 * nearest + apart.real, apart.imag
        limit = (8, 11, 14)[int(road.limits[int(along // 60)])]
        hit = bool(((abs(walker - along) < 2.5) & (abs(beside - left) < 1.2)).any())
        cost = np.array([hit, abs(left) > 2, fast > 1.05 * limit], np.float64)
        expected = (x, y, way, fast, along, left, cost, hit or abs(left) > 5)
        for got, want in zip(found, expected, strict=True):
            check(got[row], np.asarray(want, np.float64), oracle="closed form", floor=100)


@case("rl.bicycle")
def circle(check: Check) -> None:
    """Constant steering drives a circle of radius L / tan δ: after a time t the angle is v·t·tan δ / L, whatever the step."""
    for steering in (0.4, -0.15):
        radius = 2.6 / np.tan(steering)
        x: Any = 0.0
        y: Any = 0.0
        heading: Any = 0.0
        for step in range(1, 13):
            x, y, heading = bicycle(x, y, heading, 9.0, steering, wheelbase=2.6, dt=0.25)
            angle = 9.0 * 0.25 * step / radius
            exact = (radius * np.sin(angle), radius * (1 - np.cos(angle)), angle)
            check(jnp.stack([x, y, heading]), np.array(exact), oracle="closed form", floor=1)


@case("rl.constraint")
def constraint(check: Check) -> None:
    """Prices and steps of multipliers by their sums; and a coin whose best probability and multiplier are known."""
    limited = Constraint((("b", 0.5), ("total", 2.0)), rate=0.1)
    reward, cost, prices = draw(6), np.abs(draw(6, 3, seed=1)), np.array([0.75, 2.0])
    kinds = ("a", "b", "c")
    single = [jnp.asarray(each, jnp.float32) for each in (prices, reward, cost)]
    check(
        limited.priced(single[0], single[1], single[2], kinds),
        (reward - 0.75 * cost[:, 1] - 2.0 * cost.sum(axis=1)) / 3.75,
        floor=0.1,
    )
    sums = {"episodes": 4.0, "cost_a": 1.0, "cost_b": 0.4, "cost_c": 9.0}
    check(limited.ascended(single[0], sums, kinds), [0.75 + 0.1 * (0.1 - 0.5) / 0.5, 2.0 + 0.1 * (2.6 - 2.0) / 2.0])
    check(Constraint((("b", 0.0),), rate=0.1).ascended(jnp.zeros(1), sums, kinds), [1.0])
    check(limited.ascended(jnp.array([0.01, 2.0]), sums, kinds)[0], 0.0, floor=1)
    check(limited.ascended(single[0], {**sums, "episodes": 0.0}, kinds), prices)
    # A coin pays 1 and costs 1 with probability p, at most 0.3, and a tenth of its entropy counts: the slope is 0 at the limit where
    # (1 − λ)/(1 + λ) = −u with u = log(0.7/0.3)/10, that is λ = (1 + u)/(1 − u).
    coin, paid = Constraint((("a", 0.3),), rate=0.05), jnp.array([1.0, 0.0])

    def turn(_: Any, carry: Any) -> Any:
        lean, multipliers = carry
        p = jax.nn.sigmoid(lean)
        worth = coin.priced(multipliers, paid, paid[:, None], ("a",))
        lean = lean + p * (1 - p) * (worth[0] - worth[1] - 0.1 * lean)
        return lean, coin.ascended(multipliers, {"episodes": jnp.float32(1.0), "cost_a": p}, ("a",))

    lean, multipliers = jax.jit(lambda: jax.lax.fori_loop(0, 6000, turn, (jnp.float32(1.0), coin.begin())))()
    slope = np.log(0.7 / 0.3) / 10
    check(jax.nn.sigmoid(lean), 0.3, oracle="closed form", floor=1)
    check(multipliers[0], (1 + slope) / (1 - slope), oracle="closed form", floor=1)
