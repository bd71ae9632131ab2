"""Rankings of a whole catalogue, one for each user: how high the items stand that the user then took."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import numpy as np

from danlu.errors import DataError
from danlu.evaluate.evidence import Evidence
from danlu.evaluate.families import MEAN, SHARE
from danlu.evaluate.measures import Measure, register

__all__ = ["DEPTH", "RANKING_MEASURES", "Rankings"]

DEPTH = 10
"""How many of the first items of a ranking are looked at."""

RANKING_MEASURES = register(
    Measure("ndcg", "NDCG@10", True, SHARE),
    Measure("hit_rate", "hit rate@10", True, SHARE),
    Measure("reciprocal_rank", "MRR", True, SHARE),
    Measure("ranking_precision", "MAP@10", True, SHARE),
    Measure("recall_at_10", "recall@10", True, SHARE),
    Measure("catalogue_coverage", "catalogue coverage", True, SHARE),
    Measure("novelty", "novelty, bits", True, MEAN),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Rankings(Evidence):
    """Each user's ranking of all items that it did not have yet, and where its true next items stand in it.

    With the ranks ``r`` of a user's ``m`` true items, those up to 10 being hits::

        NDCG@10  = Σ_hits 1/log₂(r + 1) / Σ_{j ≤ min(m, 10)} 1/log₂(j + 1)        recall@10   = hits/m
        MAP@10   = Σ_hits (hits up to r)/r / min(m, 10)                           hit rate@10 = 1 if there is a hit
        MRR      = 1/(the smallest r)

    Each is the mean over users, who are what a test draws. Catalogue coverage is the share of all items that are among the first 10 of
    some user; novelty is the mean of ``−log₂ p`` over the items that are recommended, ``p`` being the share of users who had the item
    in training (half a user for none).

    Attributes:
        ranks: of the true items, from 1, ``(true items,)``; infinite for an item that the model does not know.
        owner: the user, from 0, that each is of, ``(true items,)``, growing; every user has one or more.
        top: the codes of the first 10 items of each user, ``(users, 10)``; negative where there is none.
        popularity: the share of users who had each item in training, ``(items,)``.

    Reference: Järvelin & Kekäläinen (2002), "Cumulated gain-based evaluation of IR techniques", TOIS 20; Krichene & Rendle (2020),
    "On sampled metrics for item recommendation", KDD: why the whole catalogue is ranked.

    Example:
        >>> one = Rankings(np.array([1.0, 3.0]), np.array([0, 0]), np.arange(10)[None], np.full(20, 0.5))
        >>> found = one.measures()
        >>> round(found["ndcg"], 4), found["recall_at_10"], round(found["ranking_precision"], 4), found["reciprocal_rank"]
        (0.9197, 1.0, 0.8333, 1.0)
    """

    ranks: np.ndarray
    owner: np.ndarray
    top: np.ndarray
    popularity: np.ndarray

    primary: ClassVar[str] = "ndcg"
    noun: ClassVar[str] = "test users"
    unlike: ClassVar[str] = (
        "the two rankings are for different users or items; expected the same ones in the same order"
    )

    def __post_init__(self) -> None:
        counts = np.bincount(self.owner, minlength=len(self.top)) if len(self.owner) else np.zeros(0)
        if len(self.ranks) != len(self.owner) or len(counts) != len(self.top) or not len(counts) or not counts.all():
            raise DataError(
                f"{len(self.ranks)} ranks of the true items of {len(self.top)} users; expected one or more of each user"
            )

    def __len__(self) -> int:
        return len(self.top)

    @functools.cached_property
    def _of_users(self) -> Mapping[str, np.ndarray]:
        """Each measure that is a mean over users, ``(users,)``."""
        users, owner = len(self), self.owner
        order = np.lexsort((self.ranks, owner))
        ranks = self.ranks[order]
        true = np.bincount(owner, minlength=users)
        place = np.arange(len(owner)) - np.repeat(
            np.cumsum(true) - true, true
        )  # of a true item among the user's, from 0
        hit, most = ranks <= DEPTH, np.minimum(true, DEPTH)
        ideal = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(DEPTH) + 2))])

        def total(values: np.ndarray) -> np.ndarray:
            return np.bincount(owner, values, minlength=users)

        hits = total(hit.astype(np.float64))
        share = np.where(self.top >= 0, self.popularity[self.top], np.nan)
        known = np.isfinite(share)
        bits = -np.log2(np.where(known, share, 1.0))
        return {
            "ndcg": total(np.where(hit, 1 / np.log2(ranks + 1), 0)) / ideal[most],
            "hit_rate": (hits > 0).astype(np.float64),
            "reciprocal_rank": 1 / np.minimum.reduceat(ranks, np.flatnonzero(place == 0)),
            "ranking_precision": total(np.where(hit, (place + 1) / ranks, 0)) / most,
            "recall_at_10": hits / true,
            "novelty": np.divide(bits.sum(1), known.sum(1), out=np.full(users, np.nan), where=known.sum(1) > 0),
        }

    def measures(self, weights: np.ndarray | None = None, names: Sequence[str] | None = None) -> Mapping[str, float]:
        by = np.ones(len(self)) if weights is None else weights
        return {name: self._measure(name, by) for name in (RANKING_MEASURES if names is None else names)}

    def _measure(self, name: str, by: np.ndarray) -> float:
        if name == "catalogue_coverage":
            shown = self.top[by > 0]
            return len(np.unique(shown[shown >= 0])) / max(len(self.popularity), 1)
        values = self._of_users[name]
        counts = np.isfinite(values) & (by > 0)
        return float(by[counts] @ values[counts] / by[counts].sum()) if counts.any() else float("nan")

    def _take(self, rows: np.ndarray) -> Self:
        starts = np.searchsorted(self.owner, rows)
        ends = np.searchsorted(self.owner, rows, side="right")
        chosen = np.concatenate([np.arange(low, high) for low, high in zip(starts, ends, strict=True)])
        owner = np.repeat(np.arange(len(rows)), ends - starts)
        return dataclasses.replace(self, ranks=self.ranks[chosen], owner=owner, top=self.top[rows])

    def _same(self, other: Self) -> bool:
        return np.array_equal(self.owner, other.owner) and len(self.popularity) == len(other.popularity)

    @property
    def constant(self) -> bool:
        return bool(len(self) > 1 and (self.top == self.top[:1]).all())

    def shares(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        if name != "hit_rate":
            return None
        return np.array([self._of_users[name].sum()]), np.array([float(len(self))])
