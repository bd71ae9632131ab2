"""How many segments there are: as many as rows that were not clustered confirm, and no more than rows without segments show."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator

import numpy as np

__all__ = ["Choice", "centres_of", "choose", "labels_by", "prediction_strength", "split_centres"]

_ROWS = 2000  # that are clustered at a time
_REPEATS = 5
_STRONG = 0.8  # prediction strength from which segments count as confirmed
_NEAR = 0.05  # below the best strength, within which the larger number is taken
_NULLS = 40  # clouds without segments
_SURE = 0.01  # chance that one of them looks as clustered, over all k that are tried


@dataclasses.dataclass(frozen=True)
class Choice:
    """How many segments were found, and what was seen of each number.

    Attributes:
        k: how many; 1 where none are clear.
        tried: each number that was tried.
        strength: the prediction strength of each.
        chance: how likely rows without segments are to be as clustered; NaN where that was not asked.
        given: whether the user said how many.
    """

    k: int
    tried: tuple[int, ...]
    strength: tuple[float, ...]
    chance: tuple[float, ...]
    given: bool = False

    @property
    def clear(self) -> bool:
        """Whether the number is confirmed."""
        if self.k not in self.tried:
            return False
        place = self.tried.index(self.k)
        return self.strength[place] >= _STRONG and self.chance[place] <= _SURE

    @property
    def said(self) -> str:
        """The choice in words."""
        best = max(zip(self.strength, self.tried, strict=True))
        if self.k == 1:
            passing = [k for k, value in zip(self.tried, self.strength, strict=True) if value >= _STRONG]
            if passing:
                return (
                    f"no clear segments: {passing[-1]} would come back in other rows, but rows without segments, whose columns are "
                    "spread alike, divide as well"
                )
            return (
                f"no clear segments: of 2 to {self.tried[-1]}, {best[1]} come back in other rows best, with a prediction strength of "
                f"{best[0]:.2f}; expected {_STRONG} or more"
            )
        place = self.tried.index(self.k)
        strength, chance = self.strength[place], self.chance[place]
        if self.clear:
            return (
                f"{self.k} segments: they come back in other rows with a prediction strength of {strength:.2f}, and rows without "
                "segments do not divide as clearly"
            )
        why = f"a prediction strength of {strength:.2f}, where {_STRONG} is expected"
        if strength >= _STRONG:
            why = f"rows without segments divide as clearly with a chance of {chance:.3f}, where at most {_SURE} is expected"
        return f"{self.k} segments, as was asked; they are not clear: {why}"


def choose(
    codes: np.ndarray,
    *,
    most: int = 8,
    k: int = 0,
    seed: int = 0,
    cloud: Callable[[np.random.Generator, int], np.ndarray] | None = None,
) -> Choice:
    """How many clusters rows have: the largest number that holds in other rows and that rows without segments do not show.

    1. Its *prediction strength* is 0.8 or more, and at most 0.05 below the best one (Tibshirani & Walther 2005, who take the largest
       number with 0.8 or more; see :func:`prediction_strength`), the mean over 5 divisions of the rows in halves.
    2. The *cluster index*, the sum of squares within clusters over that of all, is smaller than that of rows drawn from one normal
       distribution with the codes' mean and covariance (SigClust; Liu, Hayes, Nobel & Marron 2008): an oblong cloud is cut in two just as
       reliably, and has no segments. Codes that a network made are no normal cloud even where the columns are; of these ``cloud`` draws
       what the network makes of rows without segments. 40 clouds are drawn, and the chance is that of a normal distribution of their
       indices, times the numbers for which 1 holds.

    Args:
        codes: ``(rows, codes)``; of more than 2,000 rows so many are drawn.
        most: the largest number that is tried.
        k: a number that was asked for, which alone is looked at; 0 tries 2 to ``most``.
        seed: draws halves and clouds.
        cloud: draws so many rows without segments, as codes; None is a normal cloud.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> clouds = rng.normal(size=(300, 2)) + 8.0 * rng.integers(0, 2, (300, 1))
        >>> choose(clouds, most=4).k, choose(rng.normal(size=(300, 2)) * [5.0, 1.0], most=4).k
        (2, 1)
    """
    rng = np.random.default_rng(seed)
    rows = np.asarray(codes, np.float64)
    rows = rows[rng.permutation(len(rows))[:_ROWS]]
    tried = (k,) if k else tuple(range(2, max(2, min(most, len(rows) // 20)) + 1))
    halves = [np.array_split(rng.permutation(len(rows)), 2) for _ in range(_REPEATS)]
    with alone():
        strength = tuple(
            float(np.mean([prediction_strength(rows[one], rows[two], each, seed=seed) for one, two in halves]))
            for each in tried
        )
    cloud = cloud or _normal(rows)
    chance = np.full(len(tried), math.nan)
    least = max(_STRONG, max(strength) - _NEAR)
    passing = [place for place, value in enumerate(strength) if value >= least]
    found = k or 1
    for place in reversed(passing):
        with alone():
            chance[place] = min(1.0, _chance(rows, tried[place], cloud, rng) * len(passing))
        if chance[place] <= _SURE:
            found = tried[place]
            break
    return Choice(found, tried, strength, tuple(chance.tolist()), given=bool(k))


def prediction_strength(train: np.ndarray, test: np.ndarray, k: int, *, seed: int = 0) -> float:
    """The least share, over the clusters of ``test``, of pairs of its rows that the clusters of ``train`` also put together::

        min_j  Σ_{i≠i' in cluster j of test} [the same cluster by train's centres] / (n_j·(n_j − 1))

    Reference: Tibshirani & Walther, "Cluster validation by prediction strength" (2005), eq. 2.

    Example:
        >>> rows = np.array([[0.0], [0.1], [9.0], [9.1]])
        >>> prediction_strength(rows, rows, 2)
        1.0
    """
    own = labels_by(centres_of(test, k, seed=seed), test)
    told = labels_by(centres_of(train, k, seed=seed), test)
    return _strength(own, told, k)


def _strength(own: np.ndarray, told: np.ndarray, k: int) -> float:
    table = np.zeros((k, k))
    np.add.at(table, (own, told), 1)
    size = table.sum(axis=1)
    if (size < 2).any():
        return 0.0  # a cluster of one row is confirmed by nothing
    return float(((table * (table - 1)).sum(axis=1) / (size * (size - 1))).min())


def centres_of(rows: np.ndarray, k: int, *, seed: int = 0) -> np.ndarray:
    """The centres of k-means ``(k, numbers)``, the largest cluster first."""
    from sklearn.cluster import KMeans

    if k == 1:
        return rows.mean(axis=0, keepdims=True)
    found = KMeans(k, n_init=4, random_state=seed).fit(rows)
    order = np.argsort(-np.bincount(found.labels_, minlength=k), kind="stable")
    return np.asarray(found.cluster_centers_[order])


def labels_by(centres: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The nearest centre of each row ``(rows,)``.

    >>> labels_by(np.array([[0.0], [4.0]]), np.array([[1.0], [3.0]])).tolist()
    [0, 1]
    """
    far = np.square(rows).sum(axis=1)[:, None] - 2 * rows @ centres.T + np.square(centres).sum(axis=1)[None]
    return np.asarray(far.argmin(axis=1))


def split_centres(rows: np.ndarray, k: int, *, repeats: int = 5, seed: int = 0) -> np.ndarray:
    """The centres of k-means on each half of the rows, which were divided ``repeats`` times: ``(repeats, 2, k, numbers)``."""
    rng = np.random.default_rng(seed)
    halves = [np.array_split(rng.permutation(len(rows))[: 2 * _ROWS], 2) for _ in range(repeats)]
    with alone():
        return np.array([[centres_of(rows[half], k, seed=seed) for half in pair] for pair in halves])


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Within, a small fit has one thread: several would spend their time waiting for each other."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        yield


def _normal(rows: np.ndarray) -> Callable[[np.random.Generator, int], np.ndarray]:
    """What draws from one normal distribution with the rows' mean and covariance."""
    mean = rows.mean(axis=0)
    _, spread, directions = np.linalg.svd(rows - mean, full_matrices=False)
    root = spread[:, None] / math.sqrt(len(rows) - 1) * directions
    return lambda rng, count: mean + rng.normal(size=(count, len(root))) @ root


def _chance(
    rows: np.ndarray, k: int, cloud: Callable[[np.random.Generator, int], np.ndarray], rng: np.random.Generator
) -> float:
    """The chance that rows without segments are as clustered as these."""

    def index(x: np.ndarray) -> float:
        return _within(x, labels_by(centres_of(x, k), x), k)

    clouds = np.array([index(cloud(rng, len(rows))) for _ in range(_NULLS)])
    z = (index(rows) - clouds.mean()) / max(float(clouds.std(ddof=1)), 1e-12)
    return 0.5 * math.erfc(-z / math.sqrt(2))


def _within(rows: np.ndarray, labels: np.ndarray, k: int) -> float:
    """The cluster index: the sum of squares within clusters over that of all."""
    total = np.square(rows - rows.mean(axis=0)).sum()
    within = sum(
        np.square(rows[labels == each] - rows[labels == each].mean(axis=0)).sum()
        for each in range(k)
        if (labels == each).any()
    )
    return float(within / total)
