"""Columns in bins in which the share of a class differs: what a scorecard is made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

__all__ = ["Bins", "category_bins", "evidence_of", "information_of", "number_bins"]

_FINE = 50  # bins that merging begins with
_ALIKE = 3.841  # chi squared with one degree of freedom, at 5 %

Between = Callable[[float, float], float]


@dataclasses.dataclass(frozen=True, eq=False)
class Bins:
    """The bins of a column.

    Attributes:
        counts: rows of the first and the second class in each bin, ``(bins, 2)``; the last bin is that of missing values.
        edges: of a number, where each bin after the first begins, ``(bins − 2,)``.
        of_code: of a category, the bin of each code.
    """

    counts: np.ndarray
    edges: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0))
    of_code: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def evidence(self) -> np.ndarray:
        """See :func:`evidence_of`."""
        return evidence_of(self.counts)

    @property
    def information(self) -> float:
        """See :func:`information_of`."""
        return information_of(self.counts)


def evidence_of(counts: np.ndarray) -> np.ndarray:
    """The weight of evidence of each bin, ``ln((g_i/G) / (b_i/B))``, ``(bins,)``: how much more of the first class there is.

    A bin that lacks one of the classes counts half a row more of both; one without rows has 0.

    Reference: Good, "Probability and the weighing of evidence" (1950); Siddiqi, "Credit risk scorecards" (2006), chapter 6.

    Example:
        >>> evidence_of(np.array([[80.0, 10.0], [20.0, 10.0]])).round(4).tolist()
        [0.47, -0.9163]
    """
    counts = np.asarray(counts, np.float64)
    whole, rows = counts.sum(axis=0), counts.sum(axis=1)
    parts = counts + 0.5 * ((counts.min(axis=1) <= 0) & (rows > 0))[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(rows > 0, np.log((parts[:, 0] / whole[0]) / (parts[:, 1] / whole[1])), 0.0)


def information_of(counts: np.ndarray) -> float:
    """The information value of a column, ``Σ_i (g_i/G − b_i/B) · WoE_i``: below 0.02 it says nothing, above 0.3 much.

    Example:
        >>> round(information_of(np.array([[80.0, 10.0], [20.0, 10.0]])), 4)
        0.4159
    """
    shares = np.asarray(counts, np.float64) / np.sum(counts, axis=0)
    return float((shares[:, 0] - shares[:, 1]) @ evidence_of(counts))


def number_bins(
    values: np.ndarray,
    lost: np.ndarray,
    looked: np.ndarray,
    *,
    most: int,
    share: float,
    monotone: bool = True,
    between: Between | None = None,
    weight: np.ndarray | None = None,
) -> Bins | None:
    """The bins of a column of numbers; None where it has one value, or no bins that differ.

    Neighbouring bins of some fifty of as many rows are merged: first where the share of the second class would turn (pool adjacent
    violators, in the direction with more information), then where a bin is too small or lacks a class, then as long as two are not
    different (chi squared at 5 %) or there are too many.

    Args:
        values: of each row ``(rows,)``.
        lost: which are missing.
        looked: which rows are of the second class.
        most: bins, that of missing values not counted.
        share: of the rows that a bin has at least.
        monotone: whether the share of the second class only rises, or only falls.
        between: a number above the first and at most the second one, to cut there; None cuts at the second.
        weight: of each row.

    Reference: Kerber, "ChiMerge: discretization of numeric attributes" (1992); Ayer et al. (1955) for the pooling.
    """
    by = np.ones(len(values)) if weight is None else np.asarray(weight, np.float64)
    known = values[~lost]
    distinct = np.unique(known)
    if len(distinct) < 2:
        return None
    at = (
        distinct
        if len(distinct) <= _FINE
        else np.unique(np.quantile(known, np.linspace(0, 1, _FINE + 1), method="higher"))
    )
    edges = at[at > distinct[0]]
    counts = _counted(np.searchsorted(edges, known, side="right"), looked[~lost], by[~lost], len(edges) + 1)
    starts = _merged(counts, share * by.sum(), most, monotone)
    if len(starts) < 2:
        return None
    edges = edges[starts[1:] - 1]
    if between is not None:
        below = distinct[np.searchsorted(distinct, edges) - 1]
        edges = np.array([between(low, high) for low, high in zip(below, edges, strict=True)])
    missing = _counted(np.zeros(int(lost.sum()), np.int64), looked[lost], by[lost], 1)
    return Bins(np.concatenate([np.add.reduceat(counts, starts), missing]), edges)


def category_bins(
    codes: np.ndarray,
    size: int,
    missing: int,
    looked: np.ndarray,
    *,
    most: int,
    share: float,
    weight: np.ndarray | None = None,
) -> Bins | None:
    """The bins of a column of codes: levels in the order of their share of the second class, merged as numbers are.

    Codes that no row has are in a bin of their own, whose evidence is 0; it is the one before the last.

    Args:
        codes: of each row ``(rows,)``.
        size: how many codes there are.
        missing: the code of missing values; −1 has none.
        looked, most, share, weight: as of :func:`number_bins`.
    """
    by = np.ones(len(codes)) if weight is None else np.asarray(weight, np.float64)
    counts = _counted(codes, looked, by, size)
    rows = counts.sum(axis=1)
    seen = np.array([code for code in range(size) if rows[code] > 0 and code != missing])
    if len(seen) < 2:
        return None
    order = seen[np.argsort(counts[seen, 1] / rows[seen], kind="stable")]
    starts = _merged(counts[order], share * by.sum(), most, False)
    if len(starts) < 2:
        return None
    of_code = np.full(size, len(starts))
    of_code[order] = np.repeat(np.arange(len(starts)), np.diff([*starts, len(order)]))
    own = np.zeros((1, 2))
    if missing >= 0:
        of_code[missing], own = len(starts) + 1, counts[missing : missing + 1]
    return Bins(np.concatenate([np.add.reduceat(counts[order], starts), np.zeros((1, 2)), own]), of_code=of_code)


def _counted(places: np.ndarray, looked: np.ndarray, weight: np.ndarray, count: int) -> np.ndarray:
    """The weight of the rows of both classes in each place, ``(count, 2)``."""
    return np.stack([np.bincount(places, weight * (looked == each), minlength=count) for each in (False, True)], axis=1)


def _merged(counts: np.ndarray, least: float, most: int, monotone: bool) -> np.ndarray:
    """Where the merged bins begin among the fine ones."""
    starts = list(range(len(counts)))
    if monotone:
        both = [_pooled(counts, sign) for sign in (1, -1)]
        starts = max(both, key=lambda each: information_of(np.add.reduceat(counts, each)))
    while len(starts) > 1:
        now = np.add.reduceat(counts, starts)
        small = (now.sum(axis=1) < least) | (now.min(axis=1) <= 0)
        apart = _chi_squared(now)
        if small.any():
            touching = small[1:] | small[:-1]
            pair = int(np.argmin(np.where(touching, apart, np.inf)))
        elif len(starts) > most or apart.min() < _ALIKE:
            pair = int(np.argmin(apart))
        else:
            break
        del starts[pair + 1]
    return np.asarray(starts)


def _pooled(counts: np.ndarray, sign: int) -> list[int]:
    """Where bins begin in which the share of the second class only rises (or falls, of sign −1): pool adjacent violators."""
    blocks: list[tuple[int, float, float]] = []  # where it begins, its rows, those of the second class
    for place, (first, second) in enumerate(counts.tolist()):
        block = (place, first + second, second)
        while blocks and sign * block[2] * blocks[-1][1] <= sign * blocks[-1][2] * block[1]:
            before = blocks.pop()
            block = (before[0], before[1] + block[1], before[2] + block[2])
        blocks.append(block)
    return [place for place, _, _ in blocks]


def _chi_squared(counts: np.ndarray) -> np.ndarray:
    """How different each bin is from the next, ``(bins − 1,)``: ``n (ad − bc)² / ((a+b)(c+d)(a+c)(b+d))``."""
    (a, b), (c, d) = counts[:-1].T, counts[1:].T
    below = (a + b) * (c + d) * (a + c) * (b + d)
    return np.divide((a + b + c + d) * (a * d - b * c) ** 2, below, out=np.zeros_like(below), where=below > 0)
