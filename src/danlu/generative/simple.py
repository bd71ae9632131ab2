"""Simple models of pictures, in closed form, beside which those that are learnt are measured."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar, Self

import numpy as np

__all__ = ["PlainGaussian", "PlainPixels"]

_PARTS = 64  # principal components


def _values(pixels: np.ndarray) -> np.ndarray:
    """Pixels uint8 ``(rows, …)`` as float64 ``(rows, numbers)`` in 0 … 1."""
    return pixels.reshape(len(pixels), -1).astype(np.float64) / 255  # (rows, numbers)


@dataclasses.dataclass(frozen=True, eq=False)
class PlainPixels:
    """Each pixel is on or off by itself, as often as in training.

    Attributes:
        chance: that a pixel is on, ``(numbers,)``.
        shape: of a picture.

    Example:
        >>> half = PlainPixels.fit(np.array([[0, 255], [255, 0]], np.uint8)[..., None, None])
        >>> half.nats(np.zeros((1, 2, 1, 1), np.uint8)).round(4).tolist()
        [1.3863]
    """

    chance: np.ndarray
    shape: tuple[int, ...]
    label: ClassVar[str] = "each pixel by itself"

    @classmethod
    def fit(cls, pixels: np.ndarray) -> Self:
        """The model of pictures ``uint8 (rows, height, width, channels)``, as if one of each colour were there besides."""
        values = _values(pixels)
        return cls((values.sum(axis=0) + 0.5) / (len(values) + 1), pixels.shape[1:])

    def nats(self, pixels: np.ndarray) -> np.ndarray:
        """``−log p`` of each picture ``(rows,)``."""
        values = _values(pixels)
        return -(values @ np.log(self.chance) + (1 - values) @ np.log1p(-self.chance))

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Pictures ``uint8 (count, height, width, channels)``."""
        drawn = rng.random((count, self.chance.size)) < self.chance
        return 255 * drawn.astype(np.uint8).reshape(count, *self.shape)  # (count, height, width, channels)


@dataclasses.dataclass(frozen=True, eq=False)
class PlainGaussian:
    """A Gaussian with free variances along the first principal components and one for all other directions: probabilistic PCA.

    With the eigenvalues λ of the covariance, ``σ²`` is the mean of those that are left out, and ``C = W·Wᵀ + σ²·I`` with
    ``W = U·(Λ − σ²·I)^½``.

    Attributes:
        mean: ``(numbers,)``.
        axes: U ``(numbers, parts)``.
        variances: λ of the parts ``(parts,)``.
        rest: σ².
        shape: of a picture.

    Reference: Tipping & Bishop, "Probabilistic principal component analysis" (1999), JRSS B 61, eqs. 7 and 8.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> known = PlainGaussian.of(rng.normal(size=(500, 3)) @ np.diag([3.0, 1, 1]), 1)
        >>> bool(abs(known.rest - 1) < 0.15), known.nats_of(np.zeros((2, 3))).shape
        (True, (2,))
    """

    mean: np.ndarray
    axes: np.ndarray
    variances: np.ndarray
    rest: float
    shape: tuple[int, ...] = ()
    label: ClassVar[str] = "a Gaussian"

    @classmethod
    def of(cls, values: np.ndarray, parts: int, shape: tuple[int, ...] = ()) -> Self:
        """The likeliest such model of ``values (rows, numbers)``."""
        mean = values.mean(axis=0)
        found, axes = np.linalg.eigh((values - mean).T @ (values - mean) / len(values))
        parts = min(parts, len(found) - 1)
        rest = max(float(found[: len(found) - parts].mean()), 1e-6)
        return cls(mean, axes[:, ::-1][:, :parts], np.maximum(found[::-1][:parts], rest), rest, shape)

    @classmethod
    def fit(cls, pixels: np.ndarray) -> Self:
        """That of pictures ``uint8 (rows, height, width, channels)``, with 64 components at most."""
        return cls.of(_values(pixels), _PARTS, pixels.shape[1:])

    def nats_of(self, values: np.ndarray) -> np.ndarray:
        """``−log p`` of each row ``(rows,)``."""
        off = values - self.mean
        along = off @ self.axes
        rest = np.sum(off**2, axis=1) - np.sum(along**2, axis=1)
        count, parts = len(self.mean), len(self.variances)
        logs = np.log(self.variances).sum() + (count - parts) * math.log(self.rest) + count * math.log(2 * math.pi)
        return 0.5 * (np.sum(along**2 / self.variances, axis=1) + rest / self.rest + logs)

    def nats(self, pixels: np.ndarray) -> np.ndarray:
        """The same of pictures."""
        return self.nats_of(_values(pixels))

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Pictures ``uint8 (count, height, width, channels)``."""
        wide = np.sqrt(self.variances - self.rest)
        drawn = self.mean + (rng.normal(size=(count, len(wide))) * wide) @ self.axes.T
        drawn += math.sqrt(self.rest) * rng.normal(size=drawn.shape)
        return np.rint(255 * np.clip(drawn, 0, 1)).astype(np.uint8).reshape(count, *self.shape)  # (count, height, …)
