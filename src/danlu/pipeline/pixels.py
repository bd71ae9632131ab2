"""Pixels: the size that images are resized to, files that do not fit in memory, and what simple models see of images."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from danlu.data.images import ImageEncoder, ImageFiles, PixelStream
from danlu.data.images.stream import chunk_rows_for
from danlu.errors import ConfigError
from danlu.pipeline.config import DataConfig, TrainConfig

__all__ = ["border", "cells", "encoder_for", "memory_of", "streamed"]


def memory_of(data: DataConfig) -> int | None:
    """The bytes that pixels may take before they are left in their files; None for no limit, 0 for always."""
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
    return stream, f"the training images ({needed / 2**20:,.0f} MiB; {why}) are decoded during training"


def encoder_for(
    images: Any,
    size: int | None,
    *,
    largest: int,
    multiple: Callable[[int, int], int] | None = None,
    least: int = 1,
) -> tuple[ImageEncoder, str]:
    """The shape for images, and a note if it is not their own.

    Args:
        images: of the training part.
        size: both sides, where the user sets them.
        largest: the longest side that images keep by themselves.
        multiple: ``(height, width) ->`` what both sides must be multiples of.
        least: how many times it is in a side at least.
    """
    encoder = ImageEncoder.fit(images, size=size)
    shrink = 1.0 if size else min(1.0, largest / max(encoder.height, encoder.width))
    height, width = round(encoder.height * shrink), round(encoder.width * shrink)
    if multiple is not None:
        grain = multiple(height, width)
        height, width = (max(round(side * shrink / grain), least) * grain for side in (encoder.height, encoder.width))
    if (height, width) == (encoder.height, encoder.width):
        return encoder, ""
    said = f"images of {encoder.height}×{encoder.width} are resized to {height}×{width}; data.image_size sets it"
    return dataclasses.replace(encoder, height=height, width=width), said


def border(inputs: np.ndarray) -> float:
    """The most common brightness of the images' borders, 0 … 255: what belongs outside an image that is moved."""
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
