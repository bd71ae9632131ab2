"""Pairs of things, each found among all others by the other one: recall at a rank, and the median rank, both ways."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Self

import numpy as np

from danlu.errors import DataError
from danlu.evaluate.evidence import Evidence
from danlu.evaluate.families import MIDDLE, SHARE
from danlu.evaluate.measures import Measure, register

__all__ = ["Retrieved", "ranks_of"]

_RANKS = (1, 5, 10)
_BLOCK = 512

register(
    Measure("pair_recall", "R@1, both ways", True, SHARE),
    *(Measure(f"forth_recall_{k}", f"R@{k} of the second by the first", True, SHARE) for k in _RANKS),
    Measure("forth_median_rank", "median rank of the second", False, MIDDLE),
    *(Measure(f"back_recall_{k}", f"R@{k} of the first by the second", True, SHARE) for k in _RANKS),
    Measure("back_median_rank", "median rank of the first", False, MIDDLE),
)


def ranks_of(asked: np.ndarray, among: np.ndarray, of: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """The rank, from 1, of the best right answer to each question among different candidates; ties count against it.

    Args:
        asked: vectors of the questions, ``(rows, d)``.
        among: vectors of the candidates, ``(rows, d)``, of which those of one code are one thing.
        of: the code of each question, ``(rows,)``: a candidate is right if some row has both codes.
        codes: of the candidates, ``(rows,)``.

    Example:
        >>> ranks_of(np.eye(3), np.eye(3)[[0, 2, 1]], np.arange(3), np.arange(3)).tolist()
        [1, 3, 3]
    """
    different, first = np.unique(codes, return_index=True)
    candidates, questions = among[first], np.unique(of, return_inverse=True)[1]
    right = np.zeros((questions.max() + 1, len(different)), bool)
    right[questions, np.searchsorted(different, codes)] = True
    found = np.empty(len(asked), np.int64)
    for low in range(0, len(asked), _BLOCK):
        rows = slice(low, low + _BLOCK)
        scores, true = asked[rows] @ candidates.T, right[questions[rows]]
        best = np.where(true, scores, -np.inf).max(axis=1, keepdims=True)
        found[rows] = 1 + ((scores >= best) & ~true).sum(axis=1)
    return found


@dataclasses.dataclass(frozen=True, eq=False)
class Retrieved(Evidence):
    """The ranks at which pairs find each other.

    Attributes:
        forth: of each pair, the rank of its second among all seconds, asked by its first, ``(rows,)``.
        back: that of its first among all firsts, asked by its second, ``(rows,)``.
        candidates: how many different seconds and firsts there are.
        groups: a number for each pair, the same for pairs that share a part; None where none do.

    Example:
        >>> found = Retrieved(np.array([1, 1, 3, 2]), np.array([1, 2, 1, 1]), (4, 4))
        >>> found.measures(None, ("pair_recall", "forth_recall_1", "back_recall_5", "forth_median_rank"))
        {'pair_recall': 0.625, 'forth_recall_1': 0.5, 'back_recall_5': 1.0, 'forth_median_rank': 1.5}
    """

    forth: np.ndarray
    back: np.ndarray
    candidates: tuple[int, int]
    groups: np.ndarray | None = None

    primary: ClassVar[str] = "pair_recall"
    noun: ClassVar[str] = "test pairs"
    unlike: ClassVar[str] = "the two rankings are of different pairs; expected the same pairs in the same order"

    def __post_init__(self) -> None:
        if np.shape(self.forth) != np.shape(self.back) or np.ndim(self.forth) != 1 or not len(self.forth):
            raise DataError(
                f"ranks of the shapes {np.shape(self.forth)} and {np.shape(self.back)}; expected (rows,) of both"
            )

    def __len__(self) -> int:
        return len(self.forth)

    def measures(self, weights: np.ndarray | None = None, names: Sequence[str] | None = None) -> Mapping[str, float]:
        weight = np.ones(len(self)) if weights is None else np.asarray(weights, float)
        total = max(float(weight.sum()), 1e-300)

        def share(ranks: np.ndarray, most: int) -> float:
            return float(weight @ (ranks <= most)) / total

        known: dict[str, Callable[[], float]] = {
            "pair_recall": lambda: (share(self.forth, 1) + share(self.back, 1)) / 2
        }
        for side, ranks in (("forth", self.forth), ("back", self.back)):
            for most in _RANKS:
                known[f"{side}_recall_{most}"] = lambda ranks=ranks, most=most: share(ranks, most)  # type: ignore[misc]
            known[f"{side}_median_rank"] = lambda ranks=ranks: _median(ranks, weight)  # type: ignore[misc]
        return {name: known[name]() for name in (known if names is None else names)}

    def _take(self, rows: np.ndarray) -> Self:
        groups = None if self.groups is None else self.groups[rows]
        return dataclasses.replace(self, forth=self.forth[rows], back=self.back[rows], groups=groups)

    def _same(self, other: Self) -> bool:
        same = (self.groups is None and other.groups is None) or np.array_equal(self.groups, other.groups)  # type: ignore[arg-type]
        return len(other) == len(self) and other.candidates == self.candidates and same

    def shares(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        side, _, rest = name.partition("_recall_")
        if not rest:
            return None
        ranks = self.forth if side == "forth" else self.back
        return (ranks <= int(rest)).astype(float), np.ones(len(self))

    @property
    def together(self) -> np.ndarray | None:
        return self.groups

    def middle(self, name: str, level: float) -> tuple[float, float]:
        """Between two of the sorted ranks: how many lie below the true median is binomial, of ½."""
        from scipy.special import bdtr

        if self.groups is not None:
            return float("nan"), float("nan")
        ranks, rows = np.sort(self.forth if name.startswith("forth") else self.back), len(self)
        chance = bdtr(np.arange(rows // 2 + 1), rows, 0.5)
        below = int(np.searchsorted(chance, (1 - level) / 2, side="right")) - 1
        return (float(ranks[below]), float(ranks[rows - 1 - below])) if below >= 0 else (float("nan"), float("nan"))


def _median(ranks: np.ndarray, weight: np.ndarray) -> float:
    """The weighted median: the middle of the two where half of the weight lies on each side."""
    order = np.argsort(ranks, kind="stable")
    below = np.cumsum(weight[order])
    half = below[-1] / 2
    low, high = np.searchsorted(below, half), np.searchsorted(below, half, side="right")
    return float(ranks[order[low]] + ranks[order[min(high, len(order) - 1)]]) / 2
