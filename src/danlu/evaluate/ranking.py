"""Measures of two classes from the order of a score alone: ROC and precision-recall."""

from __future__ import annotations

import numpy as np

__all__ = ["Ranking"]

_EMPTY = float("nan")


def dot(one: np.ndarray, other: np.ndarray) -> float:
    """``Σ one · other`` in this thread: BLAS wakes its threads for 16,000 numbers, and waits for them on a busy machine."""
    return float(np.einsum("i,i->", one, other))


class Ranking:
    """Rows in the order of a score; made once, then measured for many weights of the rows.

    Args:
        positive: whether each row is of the class in question, ``(rows,)`` bool.
        score: higher for rows more likely of the class, ``(rows,)``; rows of equal score are tied.

    Example:
        >>> ranking = Ranking(np.array([False, True, False, True]), np.array([0.1, 0.4, 0.6, 0.8]))
        >>> ranking.roc_auc(np.ones(4)), round(ranking.average_precision(np.ones(4)), 4)
        (0.75, 0.8333)
    """

    def __init__(self, positive: np.ndarray, score: np.ndarray) -> None:
        order = np.argsort(-score, kind="stable")
        ranked = score[order]
        self.order, self.positive = order, positive[order]
        self.last = np.flatnonzero(np.concatenate([ranked[1:] != ranked[:-1], [True]]))
        """The last place of each group of tied rows, in the order of falling scores."""
        self.score = ranked[self.last]
        group_of = np.searchsorted(self.last, np.flatnonzero(self.positive))
        misses = np.concatenate([[0], np.cumsum(~self.positive)])
        first = np.concatenate([[0], self.last[:-1] + 1])
        self._positives, self._negatives = order[self.positive], order[~self.positive]
        self._end = self.last[group_of]
        self._above, self._reached = misses[first][group_of], misses[self.last + 1][group_of]
        self._tied = bool((self._above != self._reached).any())

    def roc_auc(self, weights: np.ndarray) -> float:
        """The chance that a positive row scores above a negative one, ties counting half; NaN without both.

        Reference:
            Hanley & McNeil, "The meaning and use of the area under a ROC curve" (Radiology 1982).
        """
        ours, theirs = weights[self._positives], weights[self._negatives]
        passed = np.concatenate([[0.0], np.cumsum(theirs)])
        pairs = ours.sum() * passed[-1]
        if not pairs > 0:
            return _EMPTY
        before = passed[self._above]
        if self._tied:
            before = (before + passed[self._reached]) / 2
        return float(1 - dot(ours, before) / pairs)

    def average_precision(self, weights: np.ndarray) -> float:
        """``Σ (recallᵢ − recallᵢ₋₁) · precisionᵢ`` over the distinct thresholds; NaN without rows of both sorts.

        Where all rows are positive, any order has the precision 1: that is no score.
        """
        ordered = weights[self.order]
        hits, calls = np.cumsum(ordered * self.positive)[self._end], np.cumsum(ordered)[self._end]
        ours = weights[self._positives]
        total = ours.sum()
        if not total > 0 or not (weights[self._negatives] > 0).any():
            return _EMPTY
        return float(dot(ours, np.divide(hits, calls, out=np.zeros_like(hits), where=calls > 0)) / total)

    def kolmogorov_smirnov(self, weights: np.ndarray) -> float:
        """The largest distance between the distributions of the score in the two sorts of rows; NaN without both.

        It is ``max(recall − false positive rate)`` over the thresholds.
        """
        ordered = weights[self.order]
        hits, calls = np.cumsum(ordered * self.positive)[self.last], np.cumsum(ordered)[self.last]
        positives, negatives = hits[-1], calls[-1] - hits[-1]
        if not (positives > 0 and negatives > 0):
            return _EMPTY
        return float(np.abs(hits / positives - (calls - hits) / negatives).max())

    def recall_at(self, share: float, weights: np.ndarray) -> float:
        """The share of the positive rows among this share of all rows, those that score highest; NaN without positive rows.

        Of tied rows of which not all fit, as many count as fit, drawn at random: its mean.
        """
        ordered = weights[self.order]
        hits, calls = np.cumsum(ordered * self.positive)[self.last], np.cumsum(ordered)[self.last]
        if not hits[-1] > 0:
            return _EMPTY
        return float(np.interp(share * calls[-1], np.append(0, calls), np.append(0, hits)) / hits[-1])

    def curves(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """False positive rate, recall and precision at each distinct score, falling: three arrays ``(thresholds,)``."""
        hits = np.cumsum(self.positive)[self.last]
        calls = self.last + 1
        negatives = max(len(self._negatives), 1)
        return (calls - hits) / negatives, hits / max(len(self._positives), 1), hits / calls
