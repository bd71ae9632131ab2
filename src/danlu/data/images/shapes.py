"""Made-up scenes to learn segmentation from: shapes, or given pictures such as digits, on a noisy background, with their masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from danlu.data.images.masks import MaskSet
from danlu.data.images.scenes import SHAPES, _shape, _sprite
from danlu.errors import ConfigError, DataError

__all__ = ["make_masks", "write_masks"]


def make_masks(
    count: int,
    *,
    size: tuple[int, int] = (64, 64),
    sprites: tuple[np.ndarray, Sequence[object] | np.ndarray] | None = None,
    objects: tuple[int, int] = (1, 4),
    sides: tuple[int, int] = (14, 30),
    noise: float = 20.0,
    seed: int = 0,
) -> MaskSet:
    """Scenes with the class of every pixel.

    Args:
        count: how many.
        size: height and width in pixels.
        sprites: pictures and their labels, as of :func:`~danlu.data.images.make_scenes`; None draws :data:`SHAPES` in random colours.
        objects: the least and the most objects of a scene; later ones may hide earlier ones.
        sides: the least and the largest of an object's longer side, in pixels.
        noise: the standard deviation of all pixels, of 0 … 255.
        seed: the same seed makes the same scenes.

    Returns:
        Grey scenes with sprites, coloured ones with shapes. Class 0 is the ground; the others are the sorted labels.

    Raises:
        ConfigError: sizes that do not fit.

    Example:
        >>> scenes = make_masks(3, seed=1)
        >>> scenes.images.shape, scenes.masks.shape, scenes.names
        ((3, 64, 64, 3), (3, 64, 64), ('ground', 'cross', 'disc', 'ring', 'square', 'triangle'))
    """
    if count < 1 or not 0 <= objects[0] <= objects[1] or not 3 <= sides[0] <= sides[1] <= min(size):
        raise ConfigError(
            f"make_masks() received count={count}, objects={objects}, sides={sides} for size={size}; expected a scene or more, "
            "least ≤ most, and sides from 3 pixels to the scene's"
        )
    if sprites is not None and (sprites[0].ndim != 3 or len(sprites[0]) != len(sprites[1]) or not len(sprites[0])):
        raise DataError(
            f"the sprites have the shape {sprites[0].shape} and {len(sprites[1])} labels; expected (pictures, height, width)"
        )
    labels = sorted(SHAPES if sprites is None else {str(label) for label in sprites[1]})
    numbers = {label: number for number, label in enumerate(labels, 1)}
    rng = np.random.default_rng(seed)
    channels = 3 if sprites is None else 1
    images = np.empty((count, *size, channels), np.uint8)
    masks = np.zeros((count, *size), np.uint8)
    for row in range(count):
        level = rng.uniform(20, 90, channels)
        scene = np.broadcast_to(level, (*size, channels)).copy()
        for _ in range(int(rng.integers(objects[0], objects[1] + 1))):
            side = int(rng.integers(sides[0], sides[1] + 1))
            ink, color, label = _shape(rng, side, level) if sprites is None else _sprite(rng, side, sprites)
            top, left = (int(rng.integers(n - k + 1)) for n, k in zip(size, ink.shape, strict=True))
            window = (slice(top, top + ink.shape[0]), slice(left, left + ink.shape[1]))
            scene[window] += ink[..., None] * (color - scene[window])
            masks[row][window][ink >= 0.5] = numbers[label]
        images[row] = np.clip(scene + rng.normal(0, noise, scene.shape), 0, 255).round()
    paths = tuple(f"scene {row}" for row in range(count))
    return MaskSet(images, masks, tuple(range(len(labels) + 1)), ("ground", *labels), paths)


def write_masks(folder: str | Path, scenes: MaskSet) -> Path:
    """Write images with masks as PNG files in ``folder/images`` and ``folder/masks``, and ``folder/classes.txt``; the folder.

    Raises:
        DataError: the folder cannot be written.
    """
    from PIL import Image

    folder = Path(folder)
    try:
        for name in ("images", "masks"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for row, (pixels, mask) in enumerate(zip(scenes.images, scenes.masks, strict=True)):
            Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(
                folder / "images" / f"{row:05}.png"
            )
            Image.fromarray(mask).save(folder / "masks" / f"{row:05}.png")
        (folder / "classes.txt").write_text("\n".join(scenes.names) + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"the scenes cannot be written to {folder}: {error.strerror or error}") from error
    return folder
