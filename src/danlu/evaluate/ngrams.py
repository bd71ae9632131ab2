"""Counting: n-gram models with Kneser–Ney smoothing, what a language model must beat."""

from __future__ import annotations

import dataclasses

import numpy as np

from danlu.errors import ConfigError, DataError

__all__ = ["NGrams"]


@dataclasses.dataclass(frozen=True, eq=False)
class _Order:
    """What is counted of n-grams ``(h, w)`` of one length, ``h`` being the context."""

    keys: np.ndarray  # sorted: number of the context · vocabulary + w
    counts: np.ndarray  # of each key
    totals: np.ndarray  # Σ_w counts, by the context's number
    kinds: np.ndarray  # how many different w follow, by the context's number
    discount: float


class NGrams:
    """The probability of a token after the ``order − 1`` before it, from counts, with interpolated Kneser–Ney smoothing.

    ``p_n(w | h) = max(c(h, w) − D_n, 0)/c(h) + D_n·N(h)/c(h) · p_{n−1}(w | h')``, where ``h'`` is ``h`` without its first
    token, ``c(h) = Σ_w c(h, w)``, ``N(h)`` is how many different tokens follow ``h``, and ``p_0 = 1/vocabulary``. The counts
    of the longest n-grams are those of the text; those of shorter ones count the different tokens before them. A context
    that was never seen leaves ``p_{n−1}``. ``D_n = n₁/(n₁ + 2n₂)`` from how many n-grams have the counts 1 and 2.

    Args:
        tokens, bounds: sequences one after the other: sequence ``i`` is ``tokens[bounds[i]:bounds[i + 1]]``, and its first
            token is given, not predicted.
        vocabulary: how many tokens there are.
        order: n ≥ 1; 1 is the frequency of each token, 2 and 3 are bigrams and trigrams.

    Raises:
        ConfigError: an order below 1.
        DataError: a token outside the vocabulary, or no text.

    Reference: Ney, Essen & Kneser (1994), "On structuring probabilistic dependences in stochastic language modelling"; the
    interpolated form of Chen & Goodman (1999), "An empirical study of smoothing techniques", section 2.7, one discount an
    order.

    Example:
        >>> text = np.array([0, 1, 0, 1, 0, 2])
        >>> model = NGrams(text, np.array([0, 6]), vocabulary=3, order=2)
        >>> model.losses(np.array([0, 1]), np.array([0, 2])).shape
        (1,)
    """

    def __init__(self, tokens: np.ndarray, bounds: np.ndarray, *, vocabulary: int, order: int) -> None:
        if order < 1:
            raise ConfigError(f"order is {order}; expected 1 or more")
        if not len(tokens) or tokens.min() < 0 or tokens.max() >= vocabulary:
            raise DataError(f"n-grams need tokens from 0 to {vocabulary - 1}; expected at least one")
        self.vocabulary, self.order = vocabulary, order
        padded, scored = self._padded(tokens, bounds)
        if not scored.any():
            raise DataError("no text has two tokens, so there is none to count")
        known, numbered = [], []
        numbers, contexts = np.zeros(len(padded), np.int64), 1
        for n in range(order):
            unique, inverse = np.unique(self._keys(numbers, padded, n), return_inverse=True)
            numbers = inverse.astype(np.int64)
            known.append((unique, contexts))
            numbered.append(numbers)
            contexts = len(unique)
        self._orders = []
        for n, (unique, contexts) in enumerate(known):
            if n == order - 1:
                seen = numbered[n][scored]
            else:  # how many different longer n-grams end with it: one place for each of those
                _, first = np.unique(numbered[n + 1][scored], return_index=True)
                seen = numbered[n][np.flatnonzero(scored)[first]]
            counts = np.bincount(seen, minlength=len(unique)).astype(np.float64)
            totals = np.bincount(unique // vocabulary, counts, minlength=contexts)
            kinds = np.bincount(unique // vocabulary, counts > 0, minlength=contexts)
            once, twice = np.count_nonzero(counts == 1), np.count_nonzero(counts == 2)
            discount = once / (once + 2 * twice) if once else 0.5
            self._orders.append(_Order(unique, counts, totals, kinds, discount))

    def losses(self, tokens: np.ndarray, bounds: np.ndarray) -> np.ndarray:
        """``−log p`` of each predicted token, in nats, float64; sequences as in the constructor."""
        padded, scored = self._padded(tokens, bounds)
        p = np.full(np.count_nonzero(scored), 1 / self.vocabulary)
        numbers = np.zeros(len(padded), np.int64)
        for n, order in enumerate(self._orders):
            keys = self._keys(numbers, padded, n)
            place = np.minimum(np.searchsorted(order.keys, keys), len(order.keys) - 1)
            numbers = np.where(order.keys[place] == keys, place, -1)
            context, found = keys[scored] // self.vocabulary, numbers[scored]
            total = np.where(context >= 0, order.totals[context], 0)
            count = np.where(found >= 0, order.counts[found], 0)
            share = np.maximum(count - order.discount, 0) + order.discount * order.kinds[context] * p
            p = np.where(total > 0, share / np.maximum(total, 1), p)
        return -np.log(p)

    def _padded(self, tokens: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The sequences, each with its first token repeated in front of it, and which places are predicted."""
        extra, lengths = max(self.order - 2, 0), np.diff(bounds)
        starts, lengths = bounds[:-1][lengths > 0], lengths[lengths > 0] + extra
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return tokens[np.repeat(starts, lengths) + np.maximum(within - extra, 0)].astype(np.int64), within > extra

    def _keys(self, numbers: np.ndarray, padded: np.ndarray, n: int) -> np.ndarray:
        """What tells n-grams apart: the context's number (of the shorter n-gram one place before) and the token.

        A context that reaches into the sequence before belongs to no predicted place. −1 is a context never seen.
        """
        before = np.concatenate([numbers[:1], numbers[:-1]]) if n else numbers
        return np.where(before < 0, -1, before * self.vocabulary + padded)
