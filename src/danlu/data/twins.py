"""Finds equal rows and keeps them in one part of the split, so that no test row is also a training row."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import numpy as np
import polars as pl

from danlu.prose import percent

__all__ = ["deal_units", "draw_units", "equal_rows", "keep_together", "unit_strata"]

_MOST_SHARE = 1 / 3  # of the rows that may be in groups too large to be drawn


def equal_rows(rows: pl.DataFrame | Iterable[Hashable]) -> np.ndarray:
    """The group of each row ``(rows,)``, numbered in the order in which they first come; equal rows are of one group.

    >>> equal_rows(["b", "a", "b", "c"]).tolist()
    [0, 1, 0, 2]
    >>> equal_rows(pl.DataFrame({"x": [1.0, 2.0, 1.0, None, None], "y": [0, 0, 0, 1, 1]})).tolist()
    [0, 1, 0, 2, 2]
    """
    keys = rows.hash_rows(seed=0).to_list() if isinstance(rows, pl.DataFrame) else rows
    numbers: dict[Hashable, int] = {}
    return np.fromiter((numbers.setdefault(key, len(numbers)) for key in keys), np.int64)


def keep_together(
    groups: np.ndarray, *shares: float, noun: str = "rows", besides: str = ""
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """The groups to split by, None if there are none or they are too large; and notices.

    Rows are grouped by what the model sees, not by the target: in a table of few different rows whose targets differ by chance,
    a test of the copies with one answer, after training on those with another, would be worse than chance. Where rows come
    again so often that parts cannot be made of whole groups (those that are larger than half the smallest part hold more than a
    third of the rows), they are rows of a kind and no copies, and are divided one by one.

    Args:
        groups: of each row; see :func:`equal_rows`.
        *shares: of the parts that are drawn; 0 for none.
        noun: what rows are called.
        besides: what a row's twin may differ in, such as ``"the target"``.
    """
    sizes = np.bincount(groups)
    twins = int(sizes[sizes > 1].sum())
    if not twins:
        return None, ()
    share = percent(twins / len(groups)) if twins * 200 >= len(groups) else f"{twins:,}"
    all_of, alike = f"{len(groups):,} {noun}", f"equal {noun}"
    told = f"{share} of the {all_of} are equal to another one{f' (apart from {besides})' if besides else ''}"
    smallest = min((part for part in shares if part > 0), default=0.0) * len(groups)
    if not smallest:
        return None, ()
    large = int(sizes[sizes > max(smallest / 2, 1)].sum())
    if large > _MOST_SHARE * len(groups):
        told += f"; they are in several parts, because the largest group of equal ones is {percent(sizes.max() / len(groups))} of all"
        return None, (told,)
    return groups, (f"{told}; {alike} stay in one part (split.equal_rows=anywhere splits them one by one)",)


def unit_strata(groups: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """The stratum that most rows of each group have; the lowest of several."""
    pairs, counts = np.unique(np.stack([groups, strata]), axis=1, return_counts=True)
    order = np.lexsort((pairs[1], -counts, pairs[0]))
    first = np.unique(pairs[0][order], return_index=True)[1]
    found: np.ndarray = pairs[1][order][first]
    return found


def draw_units(
    sizes: np.ndarray, strata: np.ndarray, units: np.ndarray, rows: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Groups with ``rows`` rows in all, as nearly as whole groups allow, in the strata's shares; and the other groups.

    Args:
        sizes: rows of each group.
        strata: of each group; one that has a single group is left alone as long as there are others.
        units: the groups to draw from.
        rows: how many to draw.
        seed: decides which.
    """
    if not rows or not len(units):
        return units[:0], units
    order = np.random.default_rng(seed).permutation(units)
    order = order[np.argsort(strata[order], kind="stable")]
    bounds = np.flatnonzero(np.diff(strata[order])) + 1
    total, due = int(sizes[units].sum()), 0.0
    taken: list[int] = []
    left: list[int] = []
    for stratum in np.split(order, bounds):
        due += rows * int(sizes[stratum].sum()) / total
        if len(stratum) < 2:
            left += stratum.tolist()
            continue
        due = _fill(stratum[:-1].tolist(), sizes, due, taken, left)
        left += stratum[-1:].tolist()
    _fill(left, sizes, due, taken, [])
    if left and not taken:
        taken.append(min(left, key=lambda unit: int(sizes[unit])))
    chosen = np.sort(np.asarray(taken, np.int64))
    return chosen, np.setdiff1d(units, chosen)


def _fill(units: list[int], sizes: np.ndarray, due: float, taken: list[int], left: list[int]) -> float:
    """Take units as long as that brings the rows taken nearer to those due; what is due then. The others go to ``left``."""
    for place, unit in enumerate(units):
        if due < 0.5:
            left += units[place:]
            break
        if sizes[unit] / 2 <= due:
            taken.append(unit)
            due -= float(sizes[unit])
        else:
            left.append(unit)
    return due


def deal_units(sizes: np.ndarray, strata: np.ndarray, parts: int, seed: int) -> np.ndarray:
    """The part of each group, so that parts have nearly equal sizes and shares of the strata: the largest groups are assigned first."""
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[np.lexsort((-sizes[order], strata[order]))]
    found = np.zeros(len(sizes), np.int64)
    held, of_stratum, before = np.zeros(parts, np.int64), np.zeros(parts, np.int64), None
    for unit in order:
        if strata[unit] != before:
            of_stratum[:], before = 0, strata[unit]
        part = np.lexsort((held, of_stratum))[0]
        found[unit] = part
        held[part] += sizes[unit]
        of_stratum[part] += sizes[unit]
    return found
