"""How values are distributed, as counts, and how far two such counts are apart: what a model that is in use is watched by."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from danlu.errors import ArtifactError
from danlu.evaluate.intervals import figure
from danlu.prose import percent

__all__ = ["Drift", "Histogram", "drifts", "holm", "profile_bytes", "profile_from"]

_BINS, _FEW_VALUES, _GROUPS = 64, 64, 10
_LEVELS = 100  # of texts that are counted each
_FAR, _LEVEL = 0.1, 0.01  # the least PSI that is told, and the level of all tests together
_FEWEST = 20  # values of each side


@dataclasses.dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of the values of one thing that is watched: a column, the brightness of pictures, an answer.

    Attributes:
        name: what it is called.
        edges: of numbers, increasing: bin ``i`` holds ``edges[i-1] <= x < edges[i]``. The first and the last bin are what lies outside
            of the values that
            the edges were made from. None of levels.
        levels: texts that are counted each; empty of numbers.
        counts: ``(len(edges) + 1,)``; of levels ``(len(levels) + 1,)``, all other texts last.
        missing: how many values there were not.
    """

    name: str
    edges: np.ndarray | None
    levels: tuple[str, ...]
    counts: np.ndarray
    missing: int = 0

    @classmethod
    def of(cls, values: pl.Series) -> Histogram:
        """Bins for these values, and their counts. Numbers of at most 64 different values have a bin each, others 64 bins of equal counts.

        >>> Histogram.of(pl.Series("x", [1.0, 1.0, 2.0])).count(pl.Series("x", [0.0, 1.0, 5.0, None])).counts.tolist()
        [1, 1, 0, 1]
        """
        if values.dtype.is_numeric():
            return cls(values.name, _edges(_finite(values)), (), np.zeros(0, np.int64)).count(values)
        texts = values.cast(pl.String).drop_nulls()
        counted = texts.value_counts(sort=True).head(_LEVELS)
        return cls(values.name, None, tuple(counted[texts.name].to_list()), np.zeros(0, np.int64)).count(values)

    def count(self, values: pl.Series) -> Histogram:
        """Counts of other values in the same bins."""
        if self.edges is not None:
            found = _finite(values.cast(pl.Float64, strict=False))
            places = np.searchsorted(self.edges, found, side="right")
            counts = np.bincount(places, minlength=len(self.edges) + 1)
        else:
            texts = values.cast(pl.String).drop_nulls()
            place = {level: number for number, level in enumerate(self.levels)}
            found = np.asarray([place.get(text, len(self.levels)) for text in texts.to_list()], np.int64)
            counts = np.bincount(found, minlength=len(self.levels) + 1)
        return dataclasses.replace(self, counts=counts.astype(np.int64), missing=len(values) - int(counts.sum()))

    def __add__(self, other: Histogram) -> Histogram:
        return dataclasses.replace(self, counts=self.counts + other.counts, missing=self.missing + other.missing)

    def empty(self) -> Histogram:
        """The same bins without counts."""
        return dataclasses.replace(self, counts=np.zeros_like(self.counts), missing=0)

    def __len__(self) -> int:
        return int(self.counts.sum()) + self.missing

    @property
    def middle(self) -> float:
        """The median of numbers, to the width of a bin; NaN without one."""
        assert self.edges is not None
        total = self.counts.sum()
        if not total or not len(self.edges):
            return math.nan
        place = int(np.searchsorted(np.cumsum(self.counts), total / 2))
        low, high = self.edges[max(place - 1, 0)], self.edges[min(place, len(self.edges) - 1)]
        return float((low + high) / 2)

    def as_dict(self) -> dict[str, Any]:
        """It as plain data."""
        bins = {"levels": list(self.levels)} if self.edges is None else {"edges": self.edges.tolist()}
        return {"name": self.name, **bins, "counts": self.counts.tolist(), "missing": self.missing}

    @classmethod
    def from_dict(cls, data: Any) -> Histogram:
        """The inverse of :meth:`as_dict`.

        Raises:
            ArtifactError: it is damaged.
        """
        try:
            edges = None if "levels" in data else np.asarray(data["edges"], np.float64)
            levels = tuple(data.get("levels", ()))
            counts = np.asarray(data["counts"], np.int64)
            size = len(levels) if edges is None else len(edges)
            fine = (
                counts.shape == (size + 1,)
                and counts.min() >= 0
                and type(data["missing"]) is int
                and data["missing"] >= 0
            )
            if edges is not None:
                fine = fine and edges.ndim == 1 and np.isfinite(edges).all() and (np.diff(edges) > 0).all()
            if not fine or not isinstance(data["name"], str) or not all(isinstance(level, str) for level in levels):
                raise ValueError("its counts do not fit its bins")
            return cls(data["name"], edges, levels, counts, data["missing"])
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
            raise ArtifactError(f"a saved histogram is damaged: {str(error)[:120]}") from error


@dataclasses.dataclass(frozen=True)
class Drift:
    """How differently something is distributed now.

    Attributes:
        before, now: the counts.
        psi: the population stability index, Σ (qᵢ − pᵢ) ln(qᵢ / pᵢ) over ten groups of bins and the missing ones, less what chance
            gives of so few values.
        distance: of the values that are there, the largest difference of the distribution functions (Kolmogorov, Smirnov); of levels
            half the sum of the differences of their shares.
        chance: how likely as large a distance, or as large a difference of the missing ones, is by chance, for all comparisons
            together (Holm).
        enough: whether there are at least 20 values on both sides.
    """

    before: Histogram
    now: Histogram
    psi: float
    distance: float
    chance: float
    enough: bool = True

    @property
    def name(self) -> str:
        """What it is of."""
        return self.before.name

    @property
    def sure(self) -> bool:
        """Whether it is more than chance and large enough to matter: a PSI of 0.1 at least, at a level of 0.01 for all together."""
        return self.enough and self.chance <= _LEVEL and self.psi >= _FAR

    @property
    def said(self) -> str:
        """What changed, in words."""
        told = []
        gone = [len(each) and each.missing / len(each) for each in (self.before, self.now)]
        if abs(gone[1] - gone[0]) >= 0.05:
            told.append(f"missing in {percent(gone[0])} before, in {percent(gone[1])} now")
        if self.before.edges is not None:
            outside = int(self.now.counts[0] + self.now.counts[-1])
            told.append(f"median {figure(self.before.middle, 3)} before, {figure(self.now.middle, 3)} now")
            if outside:
                share = percent(outside / max(int(self.now.counts.sum()), 1))
                told.append(f"{share} outside of the range of training")
        else:
            shares = [each.counts / max(each.counts.sum(), 1) for each in (self.before, self.now)]
            place = int(np.abs(shares[1] - shares[0]).argmax())
            level = (
                repr(self.before.levels[place])
                if place < len(self.before.levels)
                else "a value that was not seen in training"
            )
            told.append(f"{level} in {percent(shares[0][place])} before, in {percent(shares[1][place])} now")
        return "; ".join(told)

    def as_dict(self) -> dict[str, Any]:
        """It as plain data."""
        numbers = {"psi": self.psi, "distance": self.distance, "chance": self.chance}
        plain = {"name": self.name, **{name: float(f"{value:.6g}") for name, value in numbers.items()}}
        return {**plain, "drifted": self.sure, "enough": self.enough, "rows": len(self.now), "said": self.said}


def drifts(before: Iterable[Histogram], now: Mapping[str, Histogram]) -> list[Drift]:
    """How far each thing is from what it was, the largest PSI first.

    Each has two tests: of its values (Kolmogorov and Smirnov's, on the edges of the bins, which can only miss a difference; χ² of
    levels) and of the share of missing ones. Holm's correction is for all of them. Values that depend on each other, such as many
    requests of one user, make chance look smaller than it is, so that a difference is told only where its PSI is 0.1 or more as well.

    Reference:
        Siddiqi, "Credit risk scorecards" (2006) for the PSI, whose mean without any drift is (bins − 1)(1/n + 1/m)
        (Yurdakul & Naranjo, "Statistical properties of the population stability index", 2020); Holm (1979).

    Example:
        >>> before = Histogram.of(pl.Series("age", range(100)))
        >>> [each.sure for each in drifts([before], {"age": before.count(pl.Series("age", range(50, 150)))})]
        [True]
    """
    pairs = [(one, now[one.name]) for one in before if one.name in now]
    tests = [(*_of_values(one, two), _of_missing(one, two)) for one, two in pairs]
    corrected = holm([chance for _, *chances in tests for chance in chances])
    found = []
    for number, ((one, two), test) in enumerate(zip(pairs, tests, strict=True)):
        enough = min(len(one), len(two)) >= _FEWEST
        chance = min(corrected[2 * number : 2 * number + 2])
        found.append(Drift(one, two, _psi(one, two), test[0], chance, enough))
    return sorted(found, key=lambda each: (-each.sure, -each.psi))


def profile_bytes(profile: Sequence[Histogram]) -> bytes:
    """Histograms as a file."""
    return json.dumps([each.as_dict() for each in profile], ensure_ascii=False).encode()


def profile_from(content: bytes) -> tuple[Histogram, ...]:
    """The inverse of :func:`profile_bytes`.

    Raises:
        ArtifactError: it is damaged.
    """
    try:
        return tuple(Histogram.from_dict(each) for each in json.loads(content))
    except (ValueError, TypeError) as error:
        raise ArtifactError(f"the saved profile of the training data is damaged: {str(error)[:120]}") from error


def _edges(values: np.ndarray) -> np.ndarray:
    distinct = np.unique(values)
    if not len(distinct):
        return np.zeros(0)
    inner = (
        (distinct[1:] + distinct[:-1]) / 2
        if len(distinct) <= _FEW_VALUES
        else np.quantile(values, np.arange(1, _BINS) / _BINS)
    )
    ends = (distinct[0], *inner, np.nextafter(distinct[-1], np.inf))
    return np.unique(np.asarray(ends))


def _finite(values: pl.Series) -> np.ndarray:
    found = values.cast(pl.Float64).drop_nulls().to_numpy()
    return np.asarray(found[np.isfinite(found)])


def _grouped(one: Histogram, two: Histogram) -> np.ndarray:
    """Counts of both in ten groups of bins at most, which hold about as many of the first each, and the missing ones, ``(2, groups)``."""
    pair = np.stack([one.counts, two.counts])
    if one.edges is not None and len(one.counts) > _GROUPS:
        below = (np.cumsum(one.counts) - one.counts / 2) / max(one.counts.sum(), 1)
        group = np.minimum((below * _GROUPS).astype(int), _GROUPS - 1)
        pair = np.stack([np.bincount(group, weights=each, minlength=_GROUPS) for each in pair])
    pair = np.concatenate([pair, [[one.missing], [two.missing]]], axis=1)
    return pair[:, pair.sum(0) > 0]


def _psi(one: Histogram, two: Histogram) -> float:
    pair = _grouped(one, two)
    if pair.shape[1] < 2 or not pair.sum(1).all():
        return 0.0
    shares = (pair + 0.5) / (pair + 0.5).sum(1, keepdims=True)
    found = float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())
    return max(found - (pair.shape[1] - 1) * float((1 / pair.sum(1)).sum()), 0.0)


def _of_values(one: Histogram, two: Histogram) -> tuple[float, float]:
    """The distance of the values that are there, and how likely as much is by chance."""
    from scipy import stats

    n, m = int(one.counts.sum()), int(two.counts.sum())
    if not n or not m:
        return 0.0, 1.0
    if one.edges is not None:
        below = [np.cumsum(each.counts) / each.counts.sum() for each in (one, two)]
        far = float(np.abs(below[0] - below[1]).max())
        return far, float(stats.kstwobign.sf(far * math.sqrt(n * m / (n + m))))
    pair = np.stack([one.counts, two.counts]).astype(np.float64)
    pair = pair[:, pair.sum(0) > 0]
    far = 0.5 * float(np.abs(pair[0] / n - pair[1] / m).sum())
    return far, float(stats.chi2_contingency(pair, correction=False)[1]) if pair.shape[1] > 1 else 1.0


def _of_missing(one: Histogram, two: Histogram) -> float:
    from scipy import stats

    table = [[one.missing, len(one) - one.missing], [two.missing, len(two) - two.missing]]
    if not all(map(sum, table)):
        return 1.0
    return float(stats.fisher_exact(table)[1])


def holm(chances: Sequence[float]) -> list[float]:
    """P-values of several tests, corrected so that the level is that of all of them together.

    >>> holm([0.01, 0.04])
    [0.02, 0.04]
    """
    order = np.argsort(chances)
    corrected = np.maximum.accumulate(np.asarray(chances)[order] * np.arange(len(chances), 0, -1))
    found = np.empty(len(chances))
    found[order] = np.minimum(corrected, 1)
    return [float(value) for value in found]
