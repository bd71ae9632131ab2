"""A road of random curves, as points every two metres, with the signs beside it."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["DRAWN", "LIMITS", "SIGNS", "SIGN_EVERY", "SPACING", "Road", "ahead", "local", "nearest", "random_road"]

SPACING = 2.0
POINTS = 400
SIGN_EVERY = 60.0
SIGNS = int(POINTS * SPACING // SIGN_EVERY) + 1
LIMITS = (8.0, 11.0, 14.0)  # m/s
DRAWN = 9 + SIGNS
_WINDOW = 8  # points about the last place among which the nearest is looked for


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Road:
    """The middle of the lane.

    Attributes:
        x, y, heading: of its points, ``(points,)``, :data:`SPACING` metres apart.
        curve: the inverse of the radius there, positive to the left.
        limits: which of :data:`LIMITS` each sign shows, int32; sign i stands at ``i·SIGN_EVERY``.
    """

    x: jax.Array
    y: jax.Array
    heading: jax.Array
    curve: jax.Array
    limits: jax.Array

    def sign_at(self, along: Any) -> jax.Array:
        """The number of the last sign that was passed."""
        return jnp.clip(jnp.floor(along / SIGN_EVERY).astype(jnp.int32), 0, SIGNS - 1)

    def limit_at(self, along: Any) -> jax.Array:
        """The limit in force, m/s."""
        return jnp.array(LIMITS)[self.limits[self.sign_at(along)]]

    def next_sign(self, along: Any) -> jax.Array:
        """How far away the next sign is."""
        return (self.sign_at(along) + 1) * SIGN_EVERY - along


def random_road(drawn: jax.Array, curves: float) -> Road:
    """A road whose curve is a sum of three waves of random lengths, phases and shares, straight in its first metres.

    The heading is the integral of the curve, and the points the integral of the heading, each by the trapezoidal rule.

    Args:
        drawn: :data:`DRAWN` numbers, uniform in [0, 1): one draw for all compiles several times faster than a draw for each.
        curves: the sharpest that it can be.
    """
    lengths, phases, shares = drawn[:9].reshape(3, 3, 1)  # three numbers, of each wave
    along = SPACING * jnp.arange(POINTS)
    waves, phases = 60.0 + 160.0 * lengths, 2 * jnp.pi * phases
    shares = -jnp.log1p(-shares)  # exponential: divided by their sum they are uniform among all shares
    shares = shares / shares.sum()
    curve = curves * (shares * jnp.sin(2 * jnp.pi * along[None] / waves + phases)).sum(axis=0)
    curve = curve * jnp.clip((along - 10) / 30, 0, 1)

    def integral(values: jax.Array) -> jax.Array:
        return jnp.concatenate([jnp.zeros(1), jnp.cumsum((values[1:] + values[:-1]) * (SPACING / 2))])

    heading = integral(curve)
    limits = (len(LIMITS) * drawn[9:]).astype(jnp.int32)
    return Road(integral(jnp.cos(heading)), integral(jnp.sin(heading)), heading, curve, limits)


def ahead(values: jax.Array, along: Any) -> jax.Array:
    """A quantity of the road's points at a place between them."""
    place = jnp.clip(along / SPACING, 0, POINTS - 1.001)
    low = jnp.floor(place).astype(jnp.int32)
    share = place - low
    return values[low] * (1 - share) + values[low + 1] * share


def local(state: Any, road: Road, along: Any) -> tuple[jax.Array, jax.Array]:
    """A place of the road as the car sees it: metres ahead of it, and to its left."""
    return turned(state, ahead(road.x, along), ahead(road.y, along))


def turned(state: Any, x: Any, y: Any) -> tuple[jax.Array, jax.Array]:
    """A point of the world as the car sees it: metres ahead of it, and to its left."""
    east, north = x - state.x, y - state.y
    cos, sin = jnp.cos(state.heading), jnp.sin(state.heading)
    return east * cos + north * sin, north * cos - east * sin


def nearest(road: Road, x: Any, y: Any, along: Any) -> tuple[jax.Array, jax.Array]:
    """How far along the road a point is, and how far to the left of its middle, near a place where it was before.

    The point of the road that is nearest, and from there along its direction.
    """
    start = jnp.clip((along / SPACING).astype(jnp.int32) - _WINDOW // 2, 0, POINTS - _WINDOW)
    xs, ys, headings = (
        jax.lax.dynamic_slice(values, (start,), (_WINDOW,)) for values in (road.x, road.y, road.heading)
    )
    best = jnp.argmin(jnp.square(xs - x) + jnp.square(ys - y))
    east, north, heading = x - xs[best], y - ys[best], headings[best]
    further = east * jnp.cos(heading) + north * jnp.sin(heading)
    left = north * jnp.cos(heading) - east * jnp.sin(heading)
    return SPACING * (start + best) + further, left
