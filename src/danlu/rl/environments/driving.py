"""Driving: a road of random curves, signs with speed limits, and people who may cross."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import setting
from danlu.rl.environment import Environment, Outcome
from danlu.rl.environments import driving_view as view
from danlu.rl.environments.road import DRAWN, LIMITS, SIGN_EVERY, Road, ahead, local, nearest, random_road
from danlu.rl.spaces import Box

__all__ = ["Driving", "DrivingState", "bicycle"]

TOP_SPEED = 20.0
BRAKE, PUSH = 6.0, 3.0  # m/s², at the full pedal
TURN = 0.5  # rad, the wheels at the most
WHEELBASE = 2.6
HALF_LENGTH, HALF_WIDTH, REACH = 2.2, 0.9, 0.3  # of the car; of a person
SHOULDER = 3.0  # m beside the lane in which an episode goes on
WALKERS = 8
LOOK = (4.0, 8.0, 14.0, 22.0, 32.0)  # m ahead, where the state tells of the road
TOLERATED = 1.05  # of the limit


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DrivingState:
    """The state of the world, in metres, seconds and radians.

    Attributes:
        x, y, heading: the middle of the rear axle, and which way the car points.
        speed: of the car.
        along: how far along the road the car is.
        offset: how far left of the middle of its lane.
        road: the road, with the signs beside it.
        walker_along, walker_offset: where people stand or walk, ``(walkers,)``.
        walker_speed: how fast they will cross, to the left where positive; 0 of those who stay.
        walker_trigger: how near the car is when they begin.
        walking: whether they have begun.
    """

    x: jax.Array
    y: jax.Array
    heading: jax.Array
    speed: jax.Array
    along: jax.Array
    offset: jax.Array
    road: Road
    walker_along: jax.Array
    walker_offset: jax.Array
    walker_speed: jax.Array
    walker_trigger: jax.Array
    walking: jax.Array


def bicycle(x: Any, y: Any, heading: Any, speed: Any, steering: Any, *, wheelbase: float, dt: float) -> tuple[Any, ...]:
    """The middle of the rear axle and the heading ``dt`` later: the kinematic bicycle model.

    ``ẋ = v cos ψ``, ``ẏ = v sin ψ``, ``ψ̇ = v tan δ / L``. With v and δ constant within the step the path is an arc, and its chord
    ``v·dt·sin(Δψ/2)/(Δψ/2)`` at the angle ``ψ + Δψ/2`` is exact: constant steering drives a circle of radius ``L / tan δ``.

    Reference: Rajamani, "Vehicle dynamics and control" (2nd ed., 2012), section 2.2.

    Example:
        >>> x, y, heading = bicycle(0.0, 0.0, 0.0, math.pi / 2, math.atan(1.0), wheelbase=1.0, dt=1.0)  # a quarter of a circle of radius 1
        >>> round(float(x), 4), round(float(y), 4), round(float(heading), 4)
        (1.0, 1.0, 1.5708)
    """
    turned = speed * jnp.tan(steering) / wheelbase * dt
    chord = speed * dt * jnp.sinc(turned / (2 * math.pi))  # jnp.sinc(u) is sin(πu)/(πu)
    middle = heading + turned / 2
    return x + chord * jnp.cos(middle), y + chord * jnp.sin(middle), heading + turned


class Driving(Environment):
    """Drive along a road: steer and accelerate, keep in the lane, heed the signs, and hit nobody.

    The car is a kinematic bicycle (:func:`bicycle`). Its action is ``(steering, pedal)``, each within ±1: the wheels turn to
    ``0.5·steering`` rad at once (left is positive), the pedal pushes with 3 m/s² or brakes with 6. Each episode has a road of its own,
    signs every 60 m with a limit of 8, 11 or 14 m/s (29, 40 or 50 km/h), and eight people beside the road, of whom some walk across as
    the car comes near.

    The reward of a step is the progress along the road, in tens of metres. What should not happen is no part of it, but a *cost* of one
    of three kinds:

    - ``collision``: 1 for hitting somebody, which terminates the episode;
    - ``off_lane``: 1 for each step with the middle of the car out of its lane; 3 m beyond the lane's edge the episode terminates;
    - ``speeding``: 1 for each step at more than 1.05 times the limit.

    Args:
        max_steps: the steps after which an episode is truncated.
        observation: ``"state"`` is a vector of the true state; ``"camera"`` is a picture from the car with two instruments below it: bars
            for its speed, and for the limit in force in the colour of its sign.
        lane_width: of the lane, metres.
        curves: how sharp the sharpest curves are, as the inverse of their radius.
        crossing: the share of the people who will cross.
        dt: seconds of a step.

    The observation of the state is ``(23,)`` float32 within ±1: speed, offset, heading against the road; the middle of the lane to the left
    of the car 4, 8, 14, 22 and 32 m ahead; the limit in force, the next one and how far it is; and of the three nearest people ahead (or
    beside the car) how far ahead, how far to the left of the middle of the lane, their speed across, and 1. Of the camera ``(48, 64,
    3)`` uint8.

    Example:
        >>> state, seen = jax.jit(Driving().reset)(jax.random.key(0))
        >>> after, outcome = jax.jit(Driving().step)(state, jnp.array([0.0, 1.0]), jax.random.key(1))
        >>> seen.shape, round(float(after.speed - state.speed), 2), outcome.cost.tolist()
        ((23,), 0.3, [0.0, 0.0, 0.0])
    """

    id: ClassVar[str | None] = "danlu/Driving-v0"
    costs: ClassVar[tuple[str, ...]] = ("collision", "off_lane", "speeding")
    detected: ClassVar[tuple[str, ...]] = ("person", *(f"limit {3.6 * limit:.0f}" for limit in LIMITS))
    NEAR: ClassVar[int] = 3

    max_steps: int = setting(default=300, minimum=1, integer=True)
    observation: str = setting(default="state", choices=("state", "camera"))
    lane_width: float = setting(default=4.0, minimum=2.5, maximum=8)
    curves: float = setting(default=0.025, minimum=0, maximum=0.05)
    crossing: float = setting(default=0.5, minimum=0, maximum=1)
    dt: float = setting(default=0.1, above=0, maximum=0.5)

    @property
    def observation_space(self) -> Box:
        if self.observation == "camera":
            return Box(0.0, 255.0, (view.HEIGHT, view.WIDTH, 3), "uint8")
        return Box(-1.0, 1.0, (3 + len(LOOK) + 3 + 4 * self.NEAR,))

    @property
    def action_space(self) -> Box:
        return Box(-1.0, 1.0, (2,))

    def reset(self, key: jax.Array) -> tuple[DrivingState, jax.Array]:
        drawn = jax.random.uniform(key, (DRAWN + 3 + 5 * WALKERS,))
        road = random_road(drawn[:DRAWN], self.curves)
        slip, turned, speed = 2 * drawn[DRAWN : DRAWN + 3] - 1
        sides, paces, crosses, near, places = drawn[DRAWN + 3 :].reshape(5, WALKERS)
        side = jnp.where(sides < 0.5, 1.0, -1.0)
        offset = 0.5 * slip
        start = jnp.float32(10.0)
        heading = ahead(road.heading, start)
        stretch = 55.0  # one of the eight in each
        state = DrivingState(
            x=ahead(road.x, start) - offset * jnp.sin(heading),
            y=ahead(road.y, start) + offset * jnp.cos(heading),
            heading=heading + 0.05 * turned,
            speed=6.0 + 2.0 * speed,
            along=start,
            offset=offset,
            road=road,
            walker_along=50.0 + stretch * (jnp.arange(WALKERS) + 0.8 * places),
            walker_offset=side * (self.lane_width / 2 + 1.5),
            walker_speed=jnp.where(crosses < self.crossing, -side * (1.0 + 0.8 * paces), 0.0),
            walker_trigger=16.0 + 24.0 * near,
            walking=jnp.zeros(WALKERS, bool),
        )
        return state, self.seen(state)

    def step(self, state: DrivingState, action: jax.Array, key: jax.Array) -> tuple[DrivingState, Outcome]:
        steering, pedal = jnp.clip(action[0], -1, 1), jnp.clip(action[1], -1, 1)
        x, y, heading = bicycle(
            state.x, state.y, state.heading, state.speed, TURN * steering, wheelbase=WHEELBASE, dt=self.dt
        )
        speed = jnp.clip(state.speed + self.dt * jnp.where(pedal > 0, PUSH, BRAKE) * pedal, 0, TOP_SPEED)
        along, offset = nearest(state.road, x, y, state.along)
        gap = state.walker_along - along
        across = state.walker_speed * state.walker_offset < 2.5 + self.lane_width / 2  # not yet on the other side
        walking = state.walking | ((gap < state.walker_trigger) & (gap > 0) & (state.walker_speed != 0))
        moved = jnp.where(walking & across, self.dt * state.walker_speed, 0.0)
        after = dataclasses.replace(
            state,
            x=x,
            y=y,
            heading=heading,
            speed=speed,
            along=along,
            offset=offset,
            walker_offset=state.walker_offset + moved,
            walking=walking,
        )
        hit = (jnp.abs(gap) < HALF_LENGTH + REACH) & (jnp.abs(after.walker_offset - offset) < HALF_WIDTH + REACH)
        hit = hit.any() & (speed > 0.5)
        outside = jnp.abs(offset) > self.lane_width / 2
        fast = speed > TOLERATED * after.road.limit_at(along)
        lost = jnp.abs(offset) > self.lane_width / 2 + SHOULDER
        cost = jnp.stack([hit, outside, fast]).astype(jnp.float32)
        return after, Outcome(self.seen(after), (along - state.along) / 10, hit | lost, cost)

    def seen(self, state: DrivingState) -> jax.Array:
        """The observation of a state."""
        return view.camera(state, self.lane_width) if self.observation == "camera" else self.vector(state)

    def truth(self, state: DrivingState) -> dict[str, jax.Array] | None:
        """Of the camera's picture: people and signs as boxes, and as numbers the car and the road, which are no objects: the first 8
        numbers of :meth:`vector` and the limit in force."""
        if self.observation != "camera":
            return None
        return {**view.boxes(state, self.lane_width), "numbers": self.vector(state)[: 3 + len(LOOK) + 1]}

    def vector(self, state: DrivingState) -> jax.Array:
        """The true state as numbers, whatever is observed."""
        road = state.road
        bend = state.heading - ahead(road.heading, state.along)
        aims = [local(state, road, state.along + far)[1] / far for far in LOOK]
        limit, coming, far = (
            road.limit_at(state.along),
            road.limit_at(state.along + SIGN_EVERY),
            road.next_sign(state.along),
        )
        gap = state.walker_along - state.along
        order = jnp.argsort(jnp.where(gap > -HALF_LENGTH, gap, jnp.inf))[: self.NEAR]
        near = gap[order]
        there = ((near > -HALF_LENGTH) & (near < view.FAR)).astype(jnp.float32)
        pace = jnp.where(state.walking, state.walker_speed, 0.0)[order]
        people = (
            jnp.stack([near / view.FAR, state.walker_offset[order] / 6, pace / 2, jnp.ones_like(near)], axis=1)
            * there[:, None]
        )
        car = [state.speed / TOP_SPEED, state.offset / 5, jnp.sin(bend), *aims]
        signs = [limit / TOP_SPEED, coming / TOP_SPEED, far / SIGN_EVERY]
        return jnp.clip(jnp.concatenate([jnp.stack([*car, *signs]), people.reshape(-1)]), -1, 1)  # (23,), people (3, 4)

    def expert(self, state: DrivingState) -> jax.Array:
        """A careful driver who knows the whole state.

        Steers by pure pursuit: for a point at the distance d on the road whose direction is α to the left, ``tan δ = 2 L sin α / d``.
        Goes as fast as allows: the limit, the sideways acceleration in the curve (2.5 m/s²), a lower limit ahead (braking with 3 m/s²),
        and people who are, or soon will be, in the lane, before whom it would stop 6 m away; past people who stand beside the lane it
        goes at 6 m/s, since nobody can see who will cross.

        Reference: Coulter, "Implementation of the pure pursuit path tracking algorithm" (1992), CMU-RI-TR-92-01.
        """
        road = state.road
        reach = 4.0 + 0.5 * state.speed
        forward, left = local(state, road, state.along + reach)
        distance = jnp.hypot(forward, left)
        steering = jnp.arctan(2 * WHEELBASE * left / jnp.square(distance))
        bends = jnp.stack([jnp.abs(ahead(road.curve, state.along + far)) for far in LOOK])
        curve = jnp.sqrt(2.5 / jnp.maximum(bends, 1e-3) + 2 * 2.0 * jnp.array(LOOK)).min()
        limit = road.limit_at(state.along)
        lower = jnp.sqrt(
            jnp.square(road.limit_at(state.along + SIGN_EVERY))
            + 2 * 3.0 * jnp.maximum(road.next_sign(state.along) - 2, 0)
        )
        gap = state.walker_along - state.along
        pace = jnp.where(state.walking, state.walker_speed, 0.0)
        arrives = jnp.maximum(gap, 0) / jnp.maximum(state.speed, 3.0)
        later = state.walker_offset + pace * arrives
        inside = self.lane_width / 2 + 0.6
        between = (jnp.minimum(state.walker_offset, later) < inside) & (
            jnp.maximum(state.walker_offset, later) > -inside
        )
        leaves = (jnp.abs(state.walker_offset) > 1.6) & (pace * state.walker_offset > 0)
        danger = (gap > -1) & (gap < view.FAR) & between & ~leaves & (state.walking)
        waits = (gap > 0) & (gap < 22) & ~state.walking & (jnp.abs(state.walker_offset) > 1)
        stop = jnp.sqrt(2 * 3.5 * jnp.maximum(gap - 6.0, 0.0))
        stop = jnp.where(danger, stop, jnp.inf).min()
        wary = jnp.where(waits, 6.0, jnp.inf).min()
        wanted = jnp.stack([0.97 * limit, curve, 0.97 * lower, stop, wary]).min()
        pull = (wanted - state.speed) / 0.4
        pedal = jnp.where(pull > 0, pull / PUSH, pull / BRAKE)
        return jnp.clip(jnp.stack([steering / TURN, pedal]), -1, 1)

    def frame(self, state: DrivingState) -> np.ndarray:
        return view.drawn(state, self.lane_width)
