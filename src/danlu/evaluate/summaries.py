"""Summaries of sequences, for simple models."""

from __future__ import annotations

import numpy as np

__all__ = ["summaries"]


def summaries(x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """What simple models learn from: ``(sequences, 7·columns + 1)``.

    Example:
        >>> summaries(np.array([[[1.0], [3.0], [0.0]]]), np.array([[True, True, False]]))[0].tolist()
        [2.0, 1.0, 1.0, 3.0, 1.0, 3.0, 2.0, 2.0]
    """
    real = mask[:, :, None]
    count = np.maximum(real.sum(axis=1), 1)
    mean = np.where(real, x, 0).sum(axis=1) / count
    centred = np.where(real, x - mean[:, None], 0)
    spread = np.sqrt((centred**2).sum(axis=1) / count)
    lowest, highest = np.where(real, x, np.inf).min(axis=1), np.where(real, x, -np.inf).max(axis=1)
    ends = np.maximum(mask.sum(axis=1) - 1, 0)
    last = x[np.arange(len(x)), ends]
    steps = np.arange(x.shape[1])[None, :, None] - ends[:, None, None] / 2
    moved = np.where(real, steps, 0)
    slope = (moved * centred).sum(axis=1) / np.maximum((moved**2).sum(axis=1), 1e-12)
    found: np.ndarray = np.concatenate([mean, spread, lowest, highest, x[:, 0], last, slope, count[:, 0:1]], axis=1)
    return found
