"""The cells of a column: its values as the number of a cell and a place within it, and back.

A category is a cell of its own. A column of numbers is cut into cells that hold about as many training rows each; a value that is common
by itself, such as the 0 of a gain that most people do not have, is a cell alone. A missing value is cell 0, where there are any. So one
form serves every column: numbers with peaks and gaps, whole numbers, dates, categories, and a value is never lost in a mean.

With the cells ``[l_k, h_k)`` and the place ``t`` in [0, 1) a number is ``x = l_k + t·(h_k − l_k)``. The first and the last cell of numbers
that are measured (not counted) have no end: ``x = h_0 + s·log(1 − t)`` on the left, where ``s`` is the mean distance from ``h_0`` of the
rows there, and likewise on the right: exponential tails. So any row has a likelihood, and ``log |dx/dt|`` is exact.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from danlu.errors import ArtifactError

__all__ = ["Cells", "category_cells", "grid_of", "number_cells"]

MOST = 128
"""Cells of a column of numbers, at most."""
_ROWS = 20  # of a cell of numbers, at least
_DIGITS = 12
_LAST = 1 - 1e-6
_FAR = 1e6  # scales of a tail
_GAP = 0.02  # of the range, from which a place without any value may be a cell


@dataclasses.dataclass(frozen=True, eq=False)
class Cells:
    """The cells of one column.

    Attributes:
        missing: whether cell 0 is that of missing values.
        share: of the training rows in each cell, ``(cells,)``.
        levels: the categories; empty of numbers.
        low, high: the ends of the cells of numbers, ``(cells of numbers,)`` float64.
        tails: the scales of the tails to the left and to the right; 0 where there is none.
        grid: numbers are ``grid[0] + n·grid[1]`` with whole ``n``; a step of 0 is none.
        range: the least and the largest number in training.
    """

    missing: bool
    share: np.ndarray
    levels: tuple[str, ...] = ()
    low: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0))
    high: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0))
    tails: tuple[float, float] = (0.0, 0.0)
    grid: tuple[float, float] = (0.0, 0.0)
    range: tuple[float, float] = (0.0, 0.0)

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self.share)

    @property
    def is_number(self) -> bool:
        """Whether it is a column of numbers."""
        return len(self.low) > 0

    @property
    def jitter(self) -> np.ndarray:
        """How much of a cell one value fills, ``(cells,)``: all of that of a category, a step of the grid of one of numbers."""
        found = np.ones(self.size, np.float32)
        if self.is_number:
            step, width = self.grid[1], np.maximum(self.high - self.low, 1e-300)
            found[int(self.missing) :] = np.minimum(step / width, 1.0)
            first = int(self.missing)
            found[[first, -1]] = [
                0.0 if tail else each for tail, each in zip(self.tails, found[[first, -1]], strict=True)
            ]
        return found

    def encode(self, values: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``(cells, places, log |dx/dt|)`` of values, each ``(rows,)``; what has no cell is in the nearest one (of categories: the first).

        Args:
            values: numbers (NaN is missing) or texts (None is missing).

        Example:
            >>> cells = number_cells(np.array([0.0, 0.0, 0.0, 5.0, 7.0, 9.0]), least=1)
            >>> code, place, slope = cells.encode(np.array([0.0, 7.0]))
            >>> cells.decode(code, place).tolist()
            [0.0, 7.0]
        """
        first = int(self.missing)
        if not self.is_number:
            known = {level: number + first for number, level in enumerate(self.levels)}
            usual = int(np.argmax(self.share))
            code = np.array([0 if value is None and first else known.get(value, usual) for value in values], np.int32)
            return code, np.full(len(code), 0.5, np.float32), np.zeros(len(code), np.float32)
        values = np.asarray(values, np.float64)
        gone = ~np.isfinite(values)
        left, right = self.tails
        ends = self.low[0] - _FAR * left, self.high[-1] + _FAR * right  # beyond, a density is none in any case
        x = np.clip(np.where(gone, self.low[0], values), *ends)
        inner = (self.high[:-1] + self.low[1:]) / 2
        k = np.searchsorted(inner, x, side="right")
        width = np.maximum(self.high[k] - self.low[k], 1e-300)
        place, slope = np.clip((x - self.low[k]) / width, 0, _LAST), np.log(width)
        if left:
            own = k == 0
            gap = np.maximum(self.high[0] - x[own], 0) / left
            place[own], slope[own] = np.minimum(-np.expm1(-gap), _LAST), np.log(left) + gap
        if right:
            own = k == len(self.low) - 1
            gap = np.maximum(x[own] - self.low[-1], 0) / right
            place[own], slope[own] = np.minimum(-np.expm1(-gap), _LAST), np.log(right) + gap
        if not first:  # no missing value is known: the middle of the commonest cell
            k = np.where(gone, int(np.argmax(self.share)), k)
        code = np.where(gone & self.missing, 0, k + first)
        place, slope = np.where(gone, 0.5, place), np.where(gone, 0.0, slope)
        return code.astype(np.int32), place.astype(np.float32), slope.astype(np.float32)

    def decode(self, code: np.ndarray, place: np.ndarray) -> Any:
        """The inverse of :meth:`encode`: texts, or numbers on the grid and in the range of training; None or NaN where missing."""
        first = int(self.missing)
        if not self.is_number:
            named = np.array([*([None] if first else []), *self.levels], object)
            return named[code]
        k = np.maximum(np.asarray(code, np.int64) - first, 0)
        t = np.asarray(place, np.float64)
        x = self.low[k] + t * (self.high[k] - self.low[k])
        left, right = self.tails
        if left:
            x = np.where(k == 0, self.high[0] + left * np.log1p(-np.minimum(t, _LAST)), x)
        if right:
            x = np.where(k == len(self.low) - 1, self.low[-1] - right * np.log1p(-np.minimum(t, _LAST)), x)
        origin, step = self.grid
        if step:  # a value of the cell, not of its neighbour
            n = np.rint((x - origin) / step)
            ends = (self.low[k] - origin) / step, (self.high[k] - origin) / step
            n = np.clip(n, np.ceil(ends[0] - 1e-6), np.maximum(np.floor(ends[1] - 1e-6), np.ceil(ends[0] - 1e-6)))
            x = origin + n * step
        x = np.clip(x, *self.range)
        return np.where(np.asarray(code) < first, np.nan, x)

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Plain data and arrays."""
        told = {"missing": self.missing, "levels": list(self.levels)}
        told |= {name: list(getattr(self, name)) for name in ("tails", "grid", "range")}
        return told, {"share": self.share, "low": self.low, "high": self.high}

    @classmethod
    def from_state(cls, told: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Cells:
        """The inverse of :meth:`state`.

        Raises:
            ArtifactError: it is damaged.
        """
        pairs: dict[str, Any] = {name: tuple(map(float, told[name])) for name in ("tails", "grid", "range")}
        levels = tuple(str(each) for each in told["levels"])
        found = cls(bool(told["missing"]), arrays["share"], levels, arrays["low"], arrays["high"], **pairs)
        cells = int(found.missing) + (len(levels) or len(found.low))
        if found.size != cells or found.low.shape != found.high.shape or any(len(pair) != 2 for pair in pairs.values()):
            raise ArtifactError(f"the saved cells of a column are damaged: {found.size} shares of {cells} cells")
        return found


def category_cells(values: Any, levels: tuple[str, ...] = ()) -> Cells:
    """The cells of texts, the commonest first.

    Args:
        levels: of which there are cells; empty is all that occur.

    Example:
        >>> cells = category_cells(["b", "a", "b", None])
        >>> cells.levels, cells.share.tolist(), cells.decode(np.array([0, 1]), np.zeros(2)).tolist()
        (('b', 'a'), [0.25, 0.5, 0.25], [None, 'b'])
    """
    counts: dict[str, int] = {}
    gone = 0
    for value in values:
        if value is None:
            gone += 1
        else:
            counts[value] = counts.get(value, 0) + 1
    levels = levels or tuple(sorted(counts, key=lambda each: (-counts[each], each)))
    found = np.array([*([gone] if gone else []), *(counts.get(each, 0) for each in levels)], np.float64)
    return Cells(bool(gone), _shares(found), levels)


def number_cells(values: np.ndarray, *, most: int = MOST, least: int = _ROWS) -> Cells:
    """The cells of numbers (NaN is missing), at least one of which is there.

    Args:
        most: how many cells, at most.
        least: training rows of a cell, about; a value that as many rows have is a cell alone.
    """
    known = values[np.isfinite(values)]
    gone = len(values) - len(known)
    unique, counts = np.unique(known, return_counts=True)
    grid = grid_of(unique)
    step = grid[1]
    full = max(len(known) / max(min(most, len(known) / least), 2), 1)
    gaps = np.diff(unique, prepend=unique[:1])
    extent = float(unique[-1] - unique[0])
    wide = gaps > max(_GAP * extent, 16 * extent / len(unique))  # nothing is there, so that no cell reaches across
    runs: list[list[int]] = []  # of the places of values that share a cell
    held = np.inf
    for place, count in enumerate(counts.tolist()):
        alone = count >= full
        if alone or held >= full or (held >= full / 2 and wide[place]):
            runs.append([])
            held = 0
        runs[-1].append(place)
        held = np.inf if alone else held + count
    first, last = unique[[run[0] for run in runs]], unique[[run[-1] for run in runs]]
    single = np.array([len(run) == 1 for run in runs])
    between = (last[:-1] + first[1:]) / 2
    low, high = np.concatenate([[first[0] - step / 2], between]), np.concatenate([between, [last[-1] + step / 2]])
    fine = step > 0
    apart = wide[[run[0] for run in runs]][1:] & ~single[:-1] & ~single[1:]
    if fine:  # one value is as wide as the grid's step; runs of values go up to the next cell
        low, high = np.where(single, first - step / 2, low), np.where(single, last + step / 2, high)
    mass = np.array([counts[run].sum() for run in runs], np.float64)
    ends: tuple[float, float] = (0.0, 0.0)
    if not single[0] and not single[-1] and len(runs) > 2:
        ends = (
            float(np.average(high[0] - unique[runs[0]], weights=counts[runs[0]])),
            float(np.average(unique[runs[-1]] - low[-1], weights=counts[runs[-1]])),
        )
    elif len(runs) == 1 or high[-1] <= low[0]:  # a single value off any grid
        low, high = low - 1e-9 * (1 + np.abs(low)), high + 1e-9 * (1 + np.abs(high))
    else:
        tight = high <= low
        low, high = (
            np.where(tight, low - 1e-9 * (1 + np.abs(low)), low),
            np.where(tight, high + 1e-9 * (1 + np.abs(high)), high),
        )
    if apart.any():  # a cell without a row between two that it keeps apart
        places = np.flatnonzero(apart)
        pad = (first[places + 1] - last[places]) / 16
        high[places], low[places + 1] = last[places] + pad, first[places + 1] - pad
        low = np.insert(low, places + 1, high[places])
        high = np.insert(high, places + 1, low[places + 1 + np.arange(len(places)) + 1])
        mass = np.insert(mass, places + 1, 0.0)
    share = _shares(np.concatenate([[gone], mass] if gone else [mass]))
    return Cells(gone > 0, share, (), low, high, ends, grid, (float(unique[0]), float(unique[-1])))


def grid_of(unique: np.ndarray) -> tuple[float, float]:
    """The grid on which sorted numbers lie: ``(origin, step)``; a step of 0 where they lie on none.

    >>> grid_of(np.array([0.5, 2.0, 3.5])), grid_of(np.array([1.0, np.e, np.pi]))
    ((0.5, 1.5), (1.0, 0.0))
    """
    origin = float(unique[0])
    if len(unique) < 2:
        return origin, 1.0 if origin == round(origin) else 0.0
    size = float(np.abs(unique).max())
    for digits in range(_DIGITS):
        scaled = unique * 10.0**digits
        if size * 10.0**digits > 2**53:
            break
        whole = np.rint(scaled)
        if np.all(np.abs(scaled - whole) <= 1e-9 * np.maximum(np.abs(scaled), 1)):
            step = int(np.gcd.reduce(np.diff(whole.astype(np.int64))))
            cells = (whole[-1] - whole[0]) / step
            # A grid so fine that few of its places are taken is no count of anything; but whole numbers stay whole.
            return (origin, step / 10.0**digits) if cells <= 1e9 or not digits else (origin, 0.0)
    return origin, 0.0


def _shares(counts: np.ndarray) -> np.ndarray:
    """Counts as shares, none of them 0."""
    found = counts + 0.5 * (counts == 0)
    return found / found.sum()
