"""What is seen of the driving world: the camera's picture by array operations, boxes of what is in it, and the film's frames."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.rl.environments.drawing import BLUE, GREEN, INK, RED, Canvas
from danlu.rl.environments.road import LIMITS, SIGN_EVERY, SPACING, turned

__all__ = ["boxes", "camera", "drawn", "things"]

HEIGHT, WIDTH = 48, 64
VIEW = 44  # rows of the view; below it are the instruments
HORIZON = 12.0
EYE = 1.4  # m, how high the camera is
FOCUS = 40.0  # pixels
FAR = 45.0  # m, beyond which people and signs are not drawn
FASTEST = 20.0  # m/s, a full bar

SKY, ASPHALT, LINE, GRAVEL = (150, 190, 225), (92, 94, 100), (240, 240, 240), (168, 152, 124)
GRASS = ((88, 140, 74), (98, 152, 82))
PERSON, POLE = (205, 60, 130), (70, 70, 70)
COLOURS = ((214, 48, 40), (240, 190, 40), (50, 100, 210))  # of the signs: the lowest limit is red
SLICE = 28  # points of the road before the car


def things(state: Any, lane_width: float) -> dict[str, jax.Array]:
    """People and the next two signs as the camera sees them, ``(things, …)``.

    Returns:
        ``"box"`` ``(things, 4)``: left, top, right and bottom in pixels; ``"ahead"``: metres; ``"shown"``: whether it is in sight;
        ``"label"``: 0 a person, 1 + k a sign of the k-th limit.
    """
    road = state.road
    first = road.sign_at(state.along) + 1
    signs = jnp.clip(first + jnp.arange(2), 0, road.limits.shape[0] - 1)
    along = jnp.concatenate([state.walker_along, signs * SIGN_EVERY])
    beside = jnp.full(2, -(lane_width / 2 + 1.2))
    offset = jnp.concatenate([state.walker_offset, beside])
    place = jnp.clip(along / SPACING, 0, road.x.shape[0] - 1.001)
    low = place.astype(jnp.int32)
    share = place - low

    def at(values: jax.Array) -> jax.Array:
        return values[low] * (1 - share) + values[low + 1] * share

    heading = at(road.heading)
    forward, left = turned(state, at(road.x) - offset * jnp.sin(heading), at(road.y) + offset * jnp.cos(heading))
    people = state.walker_along.shape[0]
    is_sign = jnp.arange(people + 2) >= people
    high, base = jnp.where(is_sign, 2.6, 1.75), jnp.where(is_sign, 1.8, 0.0)  # the disc of a sign alone
    wide = jnp.where(is_sign, 0.8, 0.6)
    scale = FOCUS / jnp.maximum(forward, 1.0)
    column = WIDTH / 2 - left * scale
    half = jnp.maximum(wide * scale / 2, 0.5)
    box = jnp.stack(
        [column - half, HORIZON - (high - EYE) * scale, column + half, HORIZON + (EYE - base) * scale], axis=1
    )
    inside = (box[:, 2] > 0) & (box[:, 0] < WIDTH)
    label = jnp.where(is_sign, 1 + jnp.concatenate([jnp.zeros(people, jnp.int32), road.limits[signs]]), 0)
    return {"box": box, "ahead": forward, "shown": (forward > 1.5) & (forward < FAR) & inside, "label": label}


def boxes(state: Any, lane_width: float) -> dict[str, jax.Array]:
    """What is in the picture, as a detector is to find it: ``"boxes"`` ``(things, 4)`` within the view and ``"labels"`` ``(things,)`` of
    :func:`things`, −1 for what is out of sight or has less than a pixel in it."""
    seen = things(state, lane_width)
    ends = jnp.array([WIDTH, VIEW, WIDTH, VIEW], jnp.float32)
    box = jnp.clip(seen["box"], 0, ends[None])
    area = (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
    return {"boxes": box, "labels": jnp.where(seen["shown"] & (area >= 1), seen["label"], -1)}


def camera(state: Any, lane_width: float) -> jax.Array:
    """The picture, ``(48, 64, 3)`` uint8.

    A pixel below the horizon shows the ground: row r is ``EYE·FOCUS / (r + ½ − HORIZON)`` metres ahead, column c that times
    ``(32 − c − ½) / FOCUS`` to the left. People and signs stand in front of it, the nearer before the farther.
    """
    rows, columns = (jnp.arange(VIEW) + 0.5)[:, None], (jnp.arange(WIDTH) + 0.5)[None]
    forward = EYE * FOCUS / jnp.maximum(rows - HORIZON, 0.5)  # (rows, 1)
    left = forward * (WIDTH / 2 - columns) / FOCUS  # (rows, columns)
    road = state.road
    start = jnp.clip((state.along / SPACING).astype(jnp.int32) - 1, 0, road.x.shape[0] - SLICE)
    xs, ys, headings = (jax.lax.dynamic_slice(values, (start,), (SLICE,)) for values in (road.x, road.y, road.heading))
    far, side = turned(state, xs, ys)
    middle = jnp.interp(forward, far, side)
    slant = jnp.cos(jnp.interp(forward, far, headings - state.heading))
    away = jnp.abs(left - middle) * slant  # metres from the middle of the lane

    def over(mask: jax.Array, colour: Any, picture: jax.Array) -> jax.Array:
        return jnp.where(mask[..., None], _paint(colour), picture)

    stripe = jnp.broadcast_to(jnp.floor((state.along + forward) / 6) % 2 > 0, (VIEW, WIDTH))
    picture = over(stripe, GRASS[1], jnp.broadcast_to(_paint(GRASS[0]), (VIEW, WIDTH, 3)))
    half = lane_width / 2
    for width, colour in ((half + 1.0, GRAVEL), (half + 0.2, LINE), (half - 0.05, ASPHALT)):
        picture = over(away < width, colour, picture)
    picture = over(rows < HORIZON, SKY, picture)

    seen = things(state, lane_width)
    left, top, right, bottom = (seen["box"][None, None, :, side] for side in range(4))  # (1, 1, things)
    rows, columns = rows[..., None], columns[..., None]
    body = (columns > left) & (columns < right) & (rows > top) & (rows < bottom)
    scale = (FOCUS / jnp.maximum(seen["ahead"], 1.0))[None, None]
    thin = jnp.abs(columns - (left + right) / 2) < jnp.maximum(0.06 * scale, 0.35)
    pole = (seen["label"] > 0)[None, None] & thin & (rows >= bottom) & (rows < HORIZON + EYE * scale)
    near = jnp.where(seen["shown"], seen["ahead"], jnp.inf)[None, None]
    depth = jnp.where(body | pole, near, jnp.inf)  # (rows, columns, things)
    front = jnp.argmin(depth, axis=-1)
    is_pole = jnp.take_along_axis(pole, front[..., None], axis=-1)
    painted = jnp.array((PERSON, *COLOURS), jnp.float32)[seen["label"]]  # (things, 3)
    shade = jnp.where(is_pole, _paint(POLE), painted[front])
    picture = jnp.where(jnp.isfinite(depth.min(axis=-1))[..., None], shade, picture)

    limit = road.limits[road.sign_at(state.along)]
    lengths = jnp.stack([state.speed, jnp.array(LIMITS)[limit]]) / FASTEST * WIDTH
    shades = jnp.stack([jnp.array(LINE, jnp.float32), jnp.array(COLOURS, jnp.float32)[limit]])
    bars = jnp.where(columns < lengths[:, None, None], shades[:, None], _paint(INK))  # (2, columns, 3)
    return jnp.concatenate([picture, jnp.repeat(bars, 2, axis=0)]).astype(jnp.uint8)


def _paint(colour: Any) -> jax.Array:
    return jnp.array(colour, jnp.float32)[None, None]


_camera = jax.jit(camera, static_argnums=1)


def drawn(state: Any, lane_width: float) -> np.ndarray:
    """A frame of the film, ``(160, 280, 3)``: from above, the car's way upwards; beside it what its camera sees, its speed and the
    limit."""

    from PIL import Image

    canvas = Canvas(280, 160, left=-12.0, bottom=-8.0, scale=4.6)
    road, here = state.road, float(state.along)
    cos, sin = float(np.cos(state.heading)), float(np.sin(state.heading))

    def seen(x: Any, y: Any) -> np.ndarray:
        east, north = np.asarray(x) - float(state.x), np.asarray(y) - float(state.y)
        return np.stack([east * sin - north * cos, east * cos + north * sin], axis=-1)  # right, ahead

    def beside(along: Any, offset: Any) -> np.ndarray:
        place = np.asarray(along) / SPACING
        grid = np.arange(len(road.x))
        x, y, heading = (np.interp(place, grid, np.asarray(values)) for values in (road.x, road.y, road.heading))
        return seen(x - offset * np.sin(heading), y + offset * np.cos(heading))

    canvas.box((-12, -8), (49, 27), GRASS[0])
    course = np.arange(max(here - 16, 0), here + 44, 1.5)
    for wide, colour in ((lane_width + 2.0, GRAVEL), (lane_width + 0.5, LINE), (lane_width, ASPHALT)):
        edges = [*beside(course, wide / 2), *beside(course, -wide / 2)[::-1]]
        canvas.draw.polygon([canvas.at(each) for each in edges], fill=colour)
    signs = np.arange(len(road.limits)) * SIGN_EVERY
    for spot, which in zip(beside(signs, -(lane_width / 2 + 1.4)), np.asarray(road.limits), strict=True):
        canvas.circle(spot, 1.3, LINE)
        canvas.circle(spot, 1.05, COLOURS[int(which)])
    for spot in beside(state.walker_along, np.asarray(state.walker_offset)):
        canvas.circle(spot, 0.75, LINE)
        canvas.circle(spot, 0.6, PERSON)
    canvas.box((-0.95, -0.9), (0.95, 3.5), BLUE)
    canvas.box((-0.7, 1.4), (0.7, 2.3), SKY)
    canvas.box((13, -8), (49, 27), (250, 250, 247))
    limit = LIMITS[int(road.limits[int(road.sign_at(state.along))])]
    speed = float(state.speed)
    fast = speed > limit * 1.05
    canvas.text((15, 1.6), f"{3.6 * speed:.0f} km/h", RED if fast else INK, size=20)
    canvas.circle((42, -1.2), 3.6, RED)
    canvas.circle((42, -1.2), 2.8, LINE)
    canvas.text((42, -1.2), f"{3.6 * limit:.0f}", INK, size=14, anchor="mm")
    beyond = abs(float(state.offset)) > lane_width / 2
    canvas.text((15, -4.2), "out of its lane" if beyond else "in its lane", RED if beyond else GREEN, size=11)
    picture = canvas.pixels().copy()
    small = np.asarray(_camera(jax.tree.map(jnp.asarray, state), lane_width))[:36]
    picture[8:98, 122:274] = np.asarray(Image.fromarray(small).resize((152, 90), Image.Resampling.NEAREST))
    return picture
