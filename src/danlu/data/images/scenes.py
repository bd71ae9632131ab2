"""Made-up scenes to learn detection from: shapes, or given pictures such as digits, at random on a noisy background, with their boxes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from danlu.data.images.boxes import BoxSet
from danlu.errors import ConfigError, DataError

__all__ = ["SHAPES", "make_scenes", "write_boxes"]

Grid = np.ndarray
_TRIES = 50  # places that are tried for an object, before it is left out
_INK = 40  # a sprite's pixels that are darker belong to its ground


def _disc(y: Grid, x: Grid) -> Grid:
    return x**2 + y**2 <= 1


def _square(y: Grid, x: Grid) -> Grid:
    return np.maximum(np.abs(x), np.abs(y)) <= 1


def _triangle(y: Grid, x: Grid) -> Grid:
    return (np.abs(x) <= (y + 1) / 2) & (y <= 1)


def _ring(y: Grid, x: Grid) -> Grid:
    distance = x**2 + y**2
    return (distance <= 1) & (distance >= 0.3)


def _cross(y: Grid, x: Grid) -> Grid:
    return (np.minimum(np.abs(x), np.abs(y)) <= 0.3) & (np.maximum(np.abs(x), np.abs(y)) <= 1)


SHAPES: Mapping[str, Callable[[Grid, Grid], Grid]] = MappingProxyType(
    {"cross": _cross, "disc": _disc, "ring": _ring, "square": _square, "triangle": _triangle}
)
"""What is inside each shape, as a function of y and x from −1 to 1."""


def make_scenes(
    count: int,
    *,
    size: tuple[int, int] = (64, 64),
    sprites: tuple[np.ndarray, Sequence[object] | np.ndarray] | None = None,
    objects: tuple[int, int] = (1, 5),
    sides: tuple[int, int] = (12, 26),
    noise: float = 12.0,
    overlap: float = 0.1,
    seed: int = 0,
) -> BoxSet:
    """Scenes with known boxes.

    Args:
        count: how many.
        size: height and width in pixels.
        sprites: pictures and their labels, ``uint8 (pictures, h, w)``, bright on black, such as MNIST's; each is scaled, and its
            box is tight around its bright pixels. None draws :data:`SHAPES` in random colours.
        objects: the least and the most objects of a scene. One that finds no place is left out.
        sides: the least and the largest of an object's longer side, in pixels.
        noise: the ground's standard deviation, of 0 … 255.
        overlap: the largest share of an object's box that the box of another may cover.
        seed: the same seed makes the same scenes.

    Returns:
        Grey scenes with sprites, coloured ones with shapes.

    Raises:
        ConfigError: sizes that do not fit.

    Example:
        >>> scenes = make_scenes(3, objects=(2, 2), seed=1)
        >>> scenes.images.shape, [len(boxes) for boxes in scenes.boxes]
        ((3, 64, 64, 3), [2, 2, 2])
    """
    if count < 1 or not 0 <= objects[0] <= objects[1] or not 3 <= sides[0] <= sides[1] <= min(size):
        raise ConfigError(
            f"make_scenes() received count={count}, objects={objects}, sides={sides} for size={size}; expected a scene or more, "
            "least ≤ most, and sides from 3 pixels to the scene's"
        )
    if sprites is not None and (sprites[0].ndim != 3 or len(sprites[0]) != len(sprites[1]) or not len(sprites[0])):
        raise DataError(
            f"the sprites have the shape {sprites[0].shape} and {len(sprites[1])} labels; expected (pictures, height, width)"
        )
    rng = np.random.default_rng(seed)
    channels = 3 if sprites is None else 1
    images = np.empty((count, *size, channels), np.uint8)
    boxes, labels = [], []
    for row in range(count):
        level = rng.uniform(20, 90, channels)
        scene = level + rng.normal(0, noise, (*size, channels))
        placed: list[np.ndarray] = []
        names: list[str] = []
        for _ in range(int(rng.integers(objects[0], objects[1] + 1))):
            side = int(rng.integers(sides[0], sides[1] + 1))
            ink, color, name = _shape(rng, side, level) if sprites is None else _sprite(rng, side, sprites)
            place = _place(rng, size, ink.shape, placed, overlap)
            if place is None:
                continue
            y, x = place
            window = scene[y : y + ink.shape[0], x : x + ink.shape[1]]
            window[:] = window + ink[..., None] * (color - window)
            placed.append(np.array([x, y, x + ink.shape[1], y + ink.shape[0]], np.float32))
            names.append(name)
        images[row] = np.clip(scene, 0, 255).round()
        boxes.append(np.array(placed, np.float32).reshape(-1, 4))
        labels.append(tuple(names))
    paths = tuple(f"scene {row}" for row in range(count))
    return BoxSet(images, tuple(boxes), tuple(labels), paths)


def write_boxes(folder: str | Path, scenes: BoxSet) -> Path:
    """Write images with boxes as PNG files in ``folder/images`` and ``folder/annotations.json``, as COCO's; the folder.

    Raises:
        DataError: the folder cannot be written.
    """
    from PIL import Image

    folder = Path(folder)
    numbers = {name: number for number, name in enumerate(scenes.classes, 1)}
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    try:
        (folder / "images").mkdir(parents=True, exist_ok=True)
        for row, pixels in enumerate(scenes.images):
            name = f"images/{row:05}.png"
            Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(folder / name)
            images.append({"id": row, "file_name": name, "width": pixels.shape[1], "height": pixels.shape[0]})
            for box, label in zip(scenes.boxes[row].tolist(), scenes.labels[row], strict=True):
                x0, y0, x1, y1 = box
                about = {"id": len(annotations), "image_id": row, "category_id": numbers[label], "iscrowd": 0}
                annotations.append({**about, "bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)})
        categories = [{"id": number, "name": name} for name, number in numbers.items()]
        text = json.dumps({"images": images, "annotations": annotations, "categories": categories})
        (folder / "annotations.json").write_text(text, encoding="utf-8")
    except OSError as error:
        raise DataError(f"the scenes cannot be written to {folder}: {error.strerror or error}") from error
    return folder


def _shape(rng: np.random.Generator, side: int, level: np.ndarray) -> tuple[np.ndarray, np.ndarray, str]:
    """Its opacity, its colour (not the ground's) and its name."""
    name = list(SHAPES)[int(rng.integers(len(SHAPES)))]
    fine = (np.arange(4 * side) + 0.5) / (2 * side) - 1
    inside = SHAPES[name](fine[:, None], fine[None]).reshape(side, 4, side, 4).mean(axis=(1, 3))
    color = rng.uniform(0, 255, 3)
    while np.abs(color - level).max() < 70:
        color = rng.uniform(0, 255, 3)
    return inside, color, name


def _sprite(
    rng: np.random.Generator, side: int, sprites: tuple[np.ndarray, Sequence[object] | np.ndarray]
) -> tuple[np.ndarray, np.ndarray, str]:
    """A picture cut to its bright pixels, its longer side brought to ``side``; white."""
    from PIL import Image

    which = int(rng.integers(len(sprites[0])))
    picture = np.asarray(sprites[0][which], np.uint8)
    bright = picture > _INK
    if not bright.any():
        raise DataError(f"sprite {which} has no pixel above {_INK}; expected bright pictures on black")
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    cut = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = side / max(cut.shape)
    height, width = (max(round(n * scale), 2) for n in cut.shape)
    resized = Image.fromarray(cut).resize((width, height), Image.Resampling.BILINEAR)
    brightness = rng.uniform(170, 255, 1)
    return np.asarray(resized, np.float64) / 255, brightness, str(sprites[1][which])


def _place(
    rng: np.random.Generator, size: tuple[int, int], shape: tuple[int, ...], placed: list[np.ndarray], overlap: float
) -> tuple[int, int] | None:
    height, width = shape
    for _ in range(_TRIES):
        y, x = int(rng.integers(size[0] - height + 1)), int(rng.integers(size[1] - width + 1))
        if all(_covered((x, y, x + width, y + height), other) <= overlap for other in placed):
            return y, x
    return None


def _covered(box: tuple[int, int, int, int], other: np.ndarray) -> float:
    """The larger share of the two boxes that lies in both."""
    across = min(box[2], other[2]) - max(box[0], other[0])
    down = min(box[3], other[3]) - max(box[1], other[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]), (other[2] - other[0]) * (other[3] - other[1]))
    return float(max(across, 0) * max(down, 0) / smaller)
