"""Pairs of sentences as batches that waste little padding: sentences of about the same length go together."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from danlu.data.share import Chunked, Portion
from danlu.data.text.tokenizer import BEGIN, END, PAD
from danlu.errors import DataError

__all__ = ["Buckets", "PairTokens", "bucket_widths"]

IGNORED = -1  # the target of padding: what TokenCrossEntropy does not count
_BLOCK = 8  # batches of a chunk


@dataclasses.dataclass(frozen=True, eq=False)
class PairTokens:
    """Pairs in tokens, without begin, end and padding.

    Attributes:
        sources, targets: int32 vectors, one a sentence; pair ``i`` is ``sources[i]`` and ``targets[i]``.
    """

    sources: tuple[np.ndarray, ...]
    targets: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        return len(self.sources)

    @property
    def lengths(self) -> np.ndarray:
        """The number of tokens of each pair's longer side, end token included, int64."""
        return np.array([max(len(s), len(t)) + 1 for s, t in zip(self.sources, self.targets, strict=True)], np.int64)

    @property
    def predicted(self) -> int:
        """How many tokens are predicted, end tokens included."""
        return sum(len(target) + 1 for target in self.targets)

    def rows(self, numbers: np.ndarray) -> PairTokens:
        """Some of the pairs."""
        return PairTokens(tuple(self.sources[i] for i in numbers), tuple(self.targets[i] for i in numbers))


def bucket_widths(lengths: np.ndarray, most: int = 4) -> tuple[int, ...]:
    """The widths, at most ``most``, that pad sentences of these lengths with the fewest tokens in all.

    The last width is the longest length. It is exact: the best ``k`` widths that end at ``n`` are the best ``k − 1`` that end
    at some ``m < n``, and one more.

    Args:
        lengths: tokens of each sentence, ≥ 1.
        most: how many widths; each is a compiled program.

    Example:
        >>> bucket_widths(np.array([3, 3, 4, 9, 10, 10]), most=2)
        (4, 10)
    """
    sizes, counts = np.unique(lengths, return_counts=True)
    below = np.concatenate([[0], np.cumsum(counts)])
    # cost[j]: tokens of the cheapest cover of the first j sizes; began[k][j]: where its last width's sizes begin.
    cost = np.where(np.arange(len(sizes) + 1) == 0, 0, np.inf)
    began: list[np.ndarray] = []
    for _ in range(min(most, len(sizes))):
        tried = cost[:, None] + (below[None, 1:] - below[:, None]) * sizes[None, :]
        tried = np.where(np.arange(len(sizes) + 1)[:, None] < np.arange(1, len(sizes) + 1)[None, :], tried, np.inf)
        began.append(np.argmin(tried, axis=0))
        cost = np.concatenate([[np.inf], tried.min(axis=0)])
    widths, end = [], len(sizes)
    for start in reversed(began):
        widths.append(int(sizes[end - 1]))
        end = int(start[end - 1])
    return tuple(reversed(widths))


class Buckets(Chunked):
    """Batches of pairs for the trainer: a stream of chunks, each of pairs padded to one of a few widths.

    Every width is a program that is compiled once. An epoch visits every pair once; the pairs of a bucket are shuffled, cut
    into chunks of a few batches, and the chunks of all buckets shuffled.

    Args:
        tokens: the pairs.
        widths: see :func:`bucket_widths`; a pair goes into the first that holds it.
        batch_size: pairs of a batch.
        seed: decides the sequence; None leaves it as it is (for evaluation).

    A chunk has ``x = {"source", "source_mask", "target"}``, ``y`` and ``weight``. The source ends with the end token; the target
    that is read begins with the begin token, the one that is wanted ends with the end token and is −1 at padding. A pair weighs
    as many tokens as it predicts, so that the loss is the mean over tokens. Padding of the target needs no mask: it comes
    after the real tokens, which do not look ahead.

    Raises:
        DataError: no pairs, or one longer than the last width.

    Example:
        >>> pair = PairTokens((np.array([7, 8]),), (np.array([9]),))
        >>> chunk = next(Buckets(pair, (3,), batch_size=1, seed=None).chunks(0, 0))
        >>> chunk["x"]["source"].tolist(), chunk["x"]["target"].tolist(), chunk["y"].tolist()
        ([[7, 8, 3]], [[2, 9, 0]], [[9, 3, -1]])
    """

    def __init__(self, tokens: PairTokens, widths: Sequence[int], *, batch_size: int, seed: int | None = 0) -> None:
        lengths = tokens.lengths
        if not len(tokens) or lengths.max() > widths[-1]:
            raise DataError(
                f"{len(tokens)} pairs of up to {max(lengths, default=0)} tokens; expected up to {widths[-1]}"
            )
        self.tokens, self.batch_size, self.seed = tokens, batch_size, seed
        place = np.searchsorted(np.array(widths), lengths)
        found = [(width, np.flatnonzero(place == i)) for i, width in enumerate(widths)]
        self._buckets = [(width, rows) for width, rows in found if len(rows)]

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return sum(-(-len(rows) // self.batch_size) for _, rows in self._buckets)

    @property
    def width(self) -> float:
        """The tokens of a side, padding included, on average."""
        return sum(width * len(rows) for width, rows in self._buckets) / len(self.tokens)

    @property
    def filled(self) -> float:
        """The share of tokens that are not padding, of both sides."""
        real = sum(len(s) + len(t) + 2 for s, t in zip(self.tokens.sources, self.tokens.targets, strict=True))
        return real / sum(2 * width * len(rows) for width, rows in self._buckets)

    def _blocks(self, epoch: int) -> list[tuple[int, np.ndarray]]:
        rng = None if self.seed is None else np.random.default_rng([self.seed, epoch])
        size, blocks = _BLOCK * self.batch_size, []
        for width, rows in self._buckets:
            order = rows if rng is None else rng.permutation(rows)
            blocks += [(width, order[low : low + size]) for low in range(0, len(order), size)]
        if rng is not None:
            blocks = [blocks[i] for i in rng.permutation(len(blocks))]
        # The first chunk of all is what the trainer takes the room for the others from.
        largest = max(range(len(blocks)), key=lambda i: len(blocks[i][1]))
        return [blocks[largest], *blocks[:largest], *blocks[largest + 1 :]]

    def portions(self, epoch: int, start: int, portion: Portion) -> Iterator[tuple[int, dict[str, Any]]]:
        """The pairs of each chunk that ``portion`` names; see :class:`~danlu.data.share.Chunked`."""
        for width, rows in self._blocks(epoch)[start:]:
            yield len(rows), self._gather(width, rows[portion(len(rows))])

    def _gather(self, width: int, rows: np.ndarray) -> dict[str, Any]:
        source, target = (np.full((len(rows), width), PAD, np.int32) for _ in range(2))
        wanted = np.full((len(rows), width), IGNORED, np.int32)
        for place, row in enumerate(rows):
            read, write = self.tokens.sources[row], self.tokens.targets[row]
            source[place, : len(read)], source[place, len(read)] = read, END
            target[place, 0], target[place, 1 : len(write) + 1] = BEGIN, write[: width - 1]
            wanted[place, : len(write)], wanted[place, len(write)] = write, END
        lengths = np.array([len(self.tokens.sources[row]) + 1 for row in rows])
        mask = np.arange(width) < lengths[:, None]
        weight = np.array([len(self.tokens.targets[row]) + 1 for row in rows], np.float32)
        return {"x": {"source": source, "source_mask": mask, "target": target}, "y": wanted, "weight": weight}
