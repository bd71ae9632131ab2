"""What the kinds of data have in common that are made of pictures: how they are divided, sized, and read when they do not fit in memory."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from danlu.data import split_rows
from danlu.data.images import ImageEncoder, ImageFiles, PixelStream
from danlu.data.images.files import digests, some_of
from danlu.data.images.stream import chunk_rows_for
from danlu.errors import ConfigError, DataError
from danlu.pipeline.config import DataConfig, TrainConfig
from danlu.pipeline.labelled import together_of

__all__ = ["border", "cells", "check_random", "divided", "encoder_for", "memory_of", "streamed"]

_PARTS = ("train", "validation", "test")


def memory_of(data: DataConfig) -> int | None:
    """The bytes that pixels may take before they stay in their files; None for no limit, 0 for always."""
    return {True: 0, False: None, None: data.memory * 2**20}[data.stream]


def streamed(
    config: TrainConfig,
    images: Any,
    rows: np.ndarray,
    row_bytes: int,
    load: Callable[[int], tuple[np.ndarray, Any]],
) -> tuple[PixelStream | None, str]:
    """A stream of the training rows where these do not fit in the memory that is allowed, and a word about it; else None.

    Args:
        images: of all parts; files that were left on disk can be streamed.
        rows: of the training part.
        row_bytes: of one encoded row.
        load: see :class:`~danlu.data.images.PixelStream`.

    Raises:
        ConfigError: ``data.stream=true`` for images that are in memory already.
    """
    data = config.data
    if not isinstance(images, ImageFiles):
        if data.stream:
            raise ConfigError("data.stream=true is for image files; these images come from one file and are in memory")
        return None, ""
    needed, limit = len(rows) * row_bytes, data.memory * 2**20
    if not data.stream and needed <= limit:
        return None, ""
    stream = PixelStream(load, rows, chunk_rows_for(row_bytes, limit), config.trainer.seed)
    why = "data.stream=true" if data.stream else f"more than data.memory={data.memory}"
    return stream, f"the training images ({needed / 2**20:,.0f} MiB; {why}) are decoded while training goes on"


def check_random(config: TrainConfig, noun: str) -> None:
    """Refuse ways of dividing that are for tables."""
    if config.split.method not in ("stratified", "random"):
        raise ConfigError(f"split.method={config.split.method} is for tables; {noun} are divided at random")


def divided(
    config: TrainConfig, images: Any, parts: np.ndarray | None, *, noun: str = "images"
) -> tuple[dict[str, np.ndarray], str, tuple[str, ...]]:
    """The image numbers of each part: the source's own, or drawn; what the source lacks is drawn from its training part.

    Args:
        images: all of them; equal ones are kept in one part.
        parts: the name of each one's part, where the source says so.
        noun: what they are called.

    Returns:
        The numbers, how they were divided, and notices.

    Raises:
        DataError: too few to divide.
    """
    own = {name: np.flatnonzero(parts == name) if parts is not None else np.zeros(0, int) for name in _PARTS}
    known = np.setdiff1d(np.arange(len(images)), np.concatenate([own["validation"], own["test"]]))
    apart = config.data.test is not None
    held = 0.0 if len(own["validation"]) else config.split.validation
    tested = 0.0 if apart or len(own["test"]) else config.split.test
    found = {**own, "train": known}
    if apart:
        found["test"] = np.zeros(0, int)
    given = [name for name in _PARTS if len(own[name])]
    told: tuple[str, ...] = ()
    said = f"the source's own {', '.join(given)}" if given else ""
    if held or tested:
        if len(known) < 10:
            raise DataError(f"{len(known)} {noun} are too few to divide; expected 10 or more")
        together, told = together_of(config, digests(some_of(images, known)), held, tested, noun=noun)
        shares: Any = {"validation": held, "test": tested, "seed": config.trainer.seed}
        split = split_rows(len(known), method="random", together=together, **shares)
        found["train"] = known[split.train]
        for name, drawn in (("validation", split.validation), ("test", split.test)):
            if len(drawn):
                found[name] = known[drawn]
        said = "; ".join(each for each in (said, split.description) if each)
    if not len(found["train"]) or not len(found["validation"]):
        raise DataError("the source has no training or no validation images left; expected some of each")
    return found, said, told


def encoder_for(
    images: Any, size: int | None, *, largest: int, multiple: Callable[[int, int], int] | None = None
) -> tuple[ImageEncoder, str]:
    """The shape for images, and a word where it is not theirs.

    Args:
        images: of the training part.
        size: both sides, where the user sets them.
        largest: the longest side that images keep by themselves.
        multiple: ``(height, width) ->`` what both sides must be multiples of.
    """
    encoder = ImageEncoder.fit(images, size=size)
    shrink = 1.0 if size else min(1.0, largest / max(encoder.height, encoder.width))
    height, width = round(encoder.height * shrink), round(encoder.width * shrink)
    if multiple is not None:
        grain = multiple(height, width)
        height, width = (max(round(side / grain), 1) * grain for side in (height, width))
    if (height, width) == (encoder.height, encoder.width):
        return encoder, ""
    said = f"images of {encoder.height}×{encoder.width} are brought to {height}×{width}; data.image_size sets it"
    return dataclasses.replace(encoder, height=height, width=width), said


def border(inputs: np.ndarray) -> float:
    """The commonest brightness of the images' borders, 0 … 255: what belongs outside an image that is moved."""
    some = inputs[:1000]
    edges = np.concatenate([some[:, 0].ravel(), some[:, -1].ravel(), some[:, :, 0].ravel(), some[:, :, -1].ravel()])
    return float(np.median(edges))


def cells(inputs: np.ndarray, most: int) -> np.ndarray:
    """Means over square cells, ``most`` a side at most, in 0 … 1: float32 ``(rows, cells)``, for a linear model.

    >>> cells(np.full((1, 4, 6, 1), 255, np.uint8), 3).shape
    (1, 6)
    """
    rows, height, width, channels = inputs.shape
    down, across = -(-height // most), -(-width // most)
    kept = inputs[:, : height // down * down, : width // across * across].astype(np.float32)
    means = kept.reshape(rows, height // down, down, width // across, across, channels).mean(axis=(2, 4))
    return means.reshape(rows, math.prod(means.shape[1:])) / 255
