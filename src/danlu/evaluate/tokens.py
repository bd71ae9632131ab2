"""Measuring a language model: the mean loss of tokens, what follows from it, and comparisons of two models."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import numpy as np

from danlu.errors import DataError
from danlu.evaluate.evidence import Evidence
from danlu.evaluate.families import LOSS
from danlu.evaluate.intervals import Interval, intervals
from danlu.evaluate.measures import Measure, register

__all__ = ["TokenLosses"]

register(
    Measure("token_loss", "loss (nats a token)", False, LOSS),
    Measure("perplexity", "perplexity", False, LOSS),
    Measure("bits_per_character", "bits a character", False, LOSS),
)

_BLOCKS = 100  # of a stream, at least, where each has a hundred tokens
_SHORTEST, _LONGEST = 100, 1024


@dataclasses.dataclass(frozen=True, eq=False)
class TokenLosses(Evidence):
    """The losses of predicted tokens, in blocks: lines, or pieces of a stream long enough to be taken as independent.

    Attributes:
        sums: float64 ``(blocks,)``, the summed loss of each block's tokens, in nats.
        counts: ``(blocks,)``, their number.
        characters: how many characters all of them stand for. Of blocks that were taken from others it is a share of the characters of
            those, as large as the blocks' share of the tokens.

    The measures are the mean loss ``L = Σ sums / Σ counts`` (``token_loss``), ``exp L`` (``perplexity``: among how many equally
    likely tokens the model hesitates), and ``L · tokens / (characters · ln 2)`` (``bits_per_character``, which can be
    compared between models that cut the text into other tokens).

    Reference: leaving out blocks: Künsch (1989), "The jackknife and the bootstrap for general stationary observations"; blocks
    here do not overlap.

    Example:
        >>> found = TokenLosses.of(np.full(300, np.log(2)), np.array([0, 301]), 300)
        >>> {name: round(interval.value, 3) for name, interval in found.scores().items()}
        {'token_loss': 0.693, 'perplexity': 2.0, 'bits_per_character': 1.0}
    """

    sums: np.ndarray
    counts: np.ndarray
    characters: float

    primary: ClassVar[str] = "token_loss"
    noun: ClassVar[str] = "blocks of text"
    unlike: ClassVar[str] = "the two models' losses are of different tokens; expected the same blocks"

    @classmethod
    def of(cls, losses: np.ndarray, bounds: np.ndarray, characters: int) -> TokenLosses:
        """The evidence from one loss per predicted token.

        Args:
            losses: ``(predicted tokens,)``, the sequences one after the other.
            bounds: of the sequences; the first token of each is not predicted. Of one sequence the blocks are pieces
                of 100 to 1,024 tokens; of several, each is a block.
            characters: what the predicted tokens stand for.

        Raises:
            DataError: losses of another number of tokens.
        """
        counts = np.maximum(np.diff(bounds) - 1, 0)
        if int(counts.sum()) != len(losses) or not len(losses):
            raise DataError(f"{len(losses)} losses for {int(counts.sum())} predicted tokens; expected one for each")
        if len(counts) == 1:
            size = min(max(len(losses) // _BLOCKS, _SHORTEST), _LONGEST)
            counts = np.diff([*range(0, len(losses), size), len(losses)])
        counts = counts[counts > 0]
        sums = np.add.reduceat(losses.astype(np.float64), np.cumsum(counts) - counts)
        return cls(sums, counts, characters)

    @property
    def mean(self) -> float:
        """The mean loss, in nats a token."""
        return float(self.sums.sum() / self.counts.sum())

    def __len__(self) -> int:
        return len(self.sums)

    def measures(self, weights: np.ndarray | None = None, names: Sequence[str] | None = None) -> Mapping[str, float]:
        """The mean loss; ``weights (blocks,)`` says how often each block counts."""
        by = np.ones(len(self)) if weights is None else weights
        return {"token_loss": float(by @ self.sums / (by @ self.counts))}

    def scores(self, *, seed: int = 0) -> dict[str, Interval]:
        """Each measure with its 95 % interval, by leaving out blocks in turn."""
        loss = intervals(self, seed=seed)["token_loss"]
        bits = float(self.counts.sum() / max(self.characters, 1) / math.log(2))
        return {
            "token_loss": loss,
            "perplexity": Interval(*map(_exp, (loss.value, loss.low, loss.high))),
            "bits_per_character": Interval(loss.value * bits, loss.low * bits, loss.high * bits),
        }

    def _take(self, rows: np.ndarray) -> Self:
        share = float(self.counts[rows].sum() / self.counts.sum())
        return dataclasses.replace(
            self, sums=self.sums[rows], counts=self.counts[rows], characters=self.characters * share
        )

    def _same(self, other: Self) -> bool:
        return np.array_equal(self.counts, other.counts)


def _exp(value: float) -> float:
    return math.exp(min(value, 700.0)) if math.isfinite(value) else value
