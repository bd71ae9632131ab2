"""Images that do not fit in memory: chunks decoded from their files by threads, ahead of the device."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from danlu.data.share import Chunked, Portion
from danlu.data.threads import ordered

__all__ = ["PixelStream", "chunk_rows_for"]

_CHUNK_BYTES = 64 * 2**20
_PARTS = 8  # chunks that fit in the memory: being made, waiting, copied and in use, with room left


def chunk_rows_for(row_bytes: int, memory: int) -> int:
    """The rows of a chunk, a multiple of 64: an eighth of ``memory`` bytes, at most 64 MiB, so that all chunks at work fit.

    >>> chunk_rows_for(64 * 64 * 3, 2**30)
    5440
    """
    return max(int(min(memory / _PARTS, _CHUNK_BYTES) / max(row_bytes, 1)) // 64, 1) * 64


@dataclasses.dataclass(frozen=True, eq=False)
class PixelStream(Chunked):
    """Training rows that are read while training goes on: what :class:`danlu.engine.ChunkSource` takes.

    Each epoch visits the rows in an order drawn from ``(seed, epoch)``, cut into chunks; so the batches do not depend on the
    number of threads, and a run that was stopped goes on from any chunk. A chunk is made while the one before it is trained on.

    Attributes:
        load: ``row -> (x, y)``, one encoded row; called in threads.
        places: the rows of this part, by the numbers that ``load`` takes.
        chunk_rows: rows of a chunk; the last of an epoch may be smaller.
        seed: with the epoch, decides the order.
        workers: threads; see :func:`~danlu.data.threads.ordered`.

    Example:
        >>> stream = PixelStream(lambda row: (np.full(2, row), np.int32(row)), np.arange(5), chunk_rows=2, seed=0)
        >>> [chunk["y"].shape for chunk in stream.chunks(0, 0)], [chunk["x"].shape for chunk in stream.chunks(0, 2)]
        ([(2,), (2,), (1,)], [(1, 2)])
    """

    load: Callable[[int], tuple[np.ndarray, Any]]
    places: np.ndarray
    chunk_rows: int
    seed: int
    workers: int | None = None

    @property
    def rows(self) -> int:
        """How many rows an epoch has."""
        return len(self.places)

    @property
    def num_chunks(self) -> int:
        """How many chunks an epoch has."""
        return -(-self.rows // self.chunk_rows)

    def portions(self, epoch: int, start: int, portion: Portion) -> Iterator[tuple[int, dict[str, Any]]]:
        """The rows of each chunk that ``portion`` names, of which alone the files are opened; see :class:`~danlu.data.share.Chunked`."""
        words = np.random.SeedSequence([self.seed & 0xFFFFFFFF, epoch & 0xFFFFFFFF])
        order = np.random.Generator(np.random.Philox(words)).permutation(self.places)
        chunks = [
            order[low : low + self.chunk_rows] for low in range(start * self.chunk_rows, len(order), self.chunk_rows)
        ]
        wanted = [chunk[portion(len(chunk))] for chunk in chunks]
        loaded = ordered(self.load, (row for rows in wanted for row in rows.tolist()), workers=self.workers)
        for chunk, rows in zip(chunks, wanted, strict=True):
            x, y = _filled(loaded, len(rows))
            yield len(chunk), {"x": x, "y": y, "weight": np.ones(len(x), np.float32)}

    def arrays(self, *, limit: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """``(x, y)`` of rows drawn at random, in memory: ``limit``, at most two chunks."""
        x, y = self._some
        return x[:limit], y[:limit]

    @functools.cached_property
    def _some(self) -> tuple[np.ndarray, np.ndarray]:
        drawn = np.random.default_rng(self.seed).permutation(self.places)[: 2 * self.chunk_rows]
        return _filled(ordered(self.load, drawn.tolist(), workers=self.workers), len(drawn))


def _filled(loaded: Iterator[tuple[np.ndarray, Any]], rows: int) -> tuple[np.ndarray, np.ndarray]:
    """The next rows in one array, into which each is written as it comes."""
    x, y = next(loaded)
    y = np.asarray(y)
    pixels, targets = np.empty((rows, *x.shape), x.dtype), np.empty((rows, *y.shape), y.dtype)
    pixels[0], targets[0] = x, y
    for row in range(1, rows):
        pixels[row], targets[row] = next(loaded)
    return pixels, targets
