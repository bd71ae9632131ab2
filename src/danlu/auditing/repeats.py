"""Rows that come again: equal ones, nearly equal ones, and equal ones with different answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from danlu.auditing.finding import Finding, numbers_in_words
from danlu.auditing.sheet import Sheet
from danlu.data.twins import equal_rows
from danlu.prose import percent

__all__ = ["equal", "nearly_equal", "other_answers"]

_MANY = 0.01  # of the rows, from which repeats are more than a note
_FEW_VALUES = 20  # of each column: rows of few possible values come again by themselves
_TIMES = 10  # as many pairs as by chance, from which they are no chance
_NEAR, _CELL, _SHIFTS = 0.002, 0.05, 4  # in standard deviations
_WORK = 4e7
_SEVERAL = 6  # rows


def groups_of(sheet: Sheet, names: Sequence[str]) -> np.ndarray:
    """The group of each row ``(rows,)``; rows equal in these columns are of one."""
    return equal_rows(sheet.frame.select(names))


def few_values(sheet: Sheet, names: Sequence[str]) -> bool:
    """Whether all columns have so few values that rows come again by themselves."""
    most = max(_FEW_VALUES, sheet.frame.height // 50)
    return all(sheet.schema[name].distinct <= most for name in names)


def _left_out(sheet: Sheet) -> str:
    ids = [c.name for c in sheet.schema.columns if c.kind == "identifier" and c.name != sheet.target]
    return f" (apart from {', '.join(ids[:3])}{', …' if len(ids) > 3 else ''})" if ids else ""


def equal(sheet: Sheet) -> Iterator[Finding]:
    """Rows that are equal to an earlier one in all columns but identifiers, the target included."""
    names = [*sheet.inputs, *([sheet.target] if sheet.target else [])]
    groups = groups_of(sheet, names)
    sizes = np.bincount(groups)
    again = _repeats(groups)
    count, rows = int(again.sum()), len(groups)
    if not count:
        return
    few = few_values(sheet, names)
    severe = count >= _MANY * rows and not few
    parts = f"{percent(count / rows, 1)} of the rows" if count * 200 >= rows else f"{count:,} rows"
    numbers = sheet.rows(again)
    said = f"{parts} are equal to an earlier one{_left_out(sheet)}: {numbers_in_words(numbers)}" + (
        f"; the largest group has {sizes.max():,}" if sizes.max() > 2 else ""
    )
    yield Finding(
        "duplicate rows",
        "warning" if severe else "note",
        said + ("; so few values are possible that rows come again" if few else ""),
        (),
        numbers,
        {"repeats": count, "groups": int((sizes > 1).sum()), "largest": int(sizes.max())},
        "divided at random, equal rows stay in one part (split.equal_rows=together, the default)",
    )


def _repeats(groups: np.ndarray) -> np.ndarray:
    """Whether each row's group has come before."""
    again = np.ones(len(groups), bool)
    again[np.unique(groups, return_index=True)[1]] = False
    return again


def other_answers(sheet: Sheet) -> Iterator[Finding]:
    """Rows that are equal in all that the model sees and have different targets."""
    truth = sheet.truth
    if truth is None or not sheet.inputs:
        return
    groups = groups_of(sheet, sheet.inputs)
    low = np.full(int(groups.max()) + 1, np.inf)
    high = -low
    np.minimum.at(low, groups, truth)
    np.maximum.at(high, groups, truth)
    least = 0 if sheet.classes else 0.5 * float(np.std(truth))
    differ = (high - low > least)[groups]
    count, rows = int(differ.sum()), len(groups)
    if not count:
        return
    severe = count >= _MANY * rows and not few_values(sheet, sheet.inputs)
    numbers = sheet.rows(differ)
    yield Finding(
        "equal rows, other target",
        "warning" if severe else "note",
        f"{count:,} rows ({percent(count / rows, 1)}) are equal to another one and have a different {sheet.target}: "
        f"{numbers_in_words(numbers)}",
        (str(sheet.target),),
        numbers,
        {"rows": count, "share": round(count / rows, 4)},
        "no model can be right in all of them: is a column missing that tells them apart?",
    )


def nearly_equal(sheet: Sheet) -> Iterator[Finding]:
    """Rows that are equal to another one but for one column, or but for small differences of its numbers."""
    names = list(sheet.inputs)
    if len(names) < 3 or few_values(sheet, names):
        return
    first = ~_repeats(groups_of(sheet, names))
    at = np.flatnonzero(first)  # equal rows are told of elsewhere
    if len(at) < 10 or len(at) * len(names) > _WORK:
        return
    yield from _but_one(sheet, names, at)
    yield from _but_a_little(sheet, names, at)


def _pairs(key: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours with an equal key, in the order of the keys."""
    order = np.argsort(key, kind="stable")
    same = key[order][1:] == key[order][:-1]
    return order[:-1][same], order[1:][same]


def _chance(sheet: Sheet, names: Sequence[str], rows: int) -> float:
    """How many pairs of rows would be equal in these columns if the columns were independent of each other."""
    found = rows * (rows - 1) / 2
    for name in names:
        sizes = np.bincount(sheet.codes(name)).astype(np.float64)
        found *= float((sizes * (sizes - 1)).sum()) / (sizes.sum() * (sizes.sum() - 1))
    return found


def _but_one(sheet: Sheet, names: Sequence[str], at: np.ndarray) -> Iterator[Finding]:
    frame = sheet.frame[at].select(names)
    keys = {name: frame.select(name).hash_rows(seed=3 + j).to_numpy() for j, name in enumerate(names)}
    whole = np.zeros(len(at), np.uint64)
    for key in keys.values():
        whole += key
    near, by_column = np.zeros(len(at), bool), {}
    for name in [name for name in names if sheet.schema[name].distinct <= 0.9 * len(at)]:  # no name of the rows
        others = [other for other in names if other != name]
        if few_values(sheet, others):
            continue
        one, two = _pairs(whole - keys[name])
        if len(one) > _TIMES * _chance(sheet, others, len(at)):
            by_column[name] = len(one)
            near[one] = near[two] = True
    count = int(near.sum())
    if not count:
        return
    columns = sorted(by_column, key=lambda name: -by_column[name])
    if by_column[columns[0]] > 0.5 * len(at):  # a table in which a column is varied on purpose: see groups
        return
    numbers = sheet.rows(at[near])
    yield Finding(
        "near-duplicate rows",
        "note",
        f"{count:,} rows ({percent(count / len(at), 1)}) are equal to another one in all columns but one "
        f"({', '.join(columns[:3])}{', …' if len(columns) > 3 else ''}): {numbers_in_words(numbers)}",
        tuple(columns[:20]),
        numbers,
        {"rows": count, "by column": by_column},
        "if they are the same thing twice, delete one, or keep both in one part: split.method=group split.column=COLUMN",
    )


def _but_a_little(sheet: Sheet, names: Sequence[str], at: np.ndarray) -> Iterator[Finding]:
    """Rows whose numbers all differ by less than 0.002 standard deviations from another row's, and that are equal in all else."""
    numeric = [name for name in names if sheet.frame[name].dtype.is_numeric()]
    fine = [name for name in numeric if sheet.schema[name].distinct > max(_FEW_VALUES, len(at) // 20)]
    if len(fine) < 3:
        return
    x = np.column_stack([sheet.frame[name].cast(pl.Float64).fill_null(0).to_numpy()[at] for name in numeric])
    spread = np.nanstd(np.where(np.isfinite(x), x, np.nan), 0)
    if not np.isfinite(x).all() or (spread == 0).any():
        return
    x = (x - x.mean(0)) / spread
    rest = [name for name in names if name not in numeric]
    own = sheet.frame[at].select(rest).hash_rows(seed=5).to_numpy() if rest else np.zeros(len(at), np.uint64)
    line = x @ np.random.default_rng(2).normal(size=x.shape[1])
    near = np.zeros(len(at), bool)
    for shift in range(_SHIFTS):
        cells = pl.DataFrame(np.floor(x / _CELL + shift / _SHIFTS)).with_columns(pl.Series("rest", own))
        key = cells.hash_rows(seed=7).to_numpy()
        order = np.lexsort((line, key))
        one, two = order[:-1], order[1:]
        together = (key[one] == key[two]) & (np.abs(x[one] - x[two]).max(1) <= _NEAR)
        near[one[together]] = near[two[together]] = True
    count = int(near.sum())
    if not count or count <= _TIMES * _by_chance(x):
        return
    numbers = sheet.rows(at[near])
    yield Finding(
        "near-duplicate rows",
        "warning" if count >= max(_MANY * len(at), _SEVERAL) else "note",
        f"{count:,} rows ({percent(count / len(at), 1)}) have nearly the numbers of another one and are equal to it in all else: "
        f"{numbers_in_words(numbers)}",
        tuple(fine[:20]),
        numbers,
        {"rows": count, "within": _NEAR},
        "if they are the same thing measured or written twice, delete one, or keep both in one part: split.method=group "
        "split.column=COLUMN",
    )


def _by_chance(x: np.ndarray) -> float:
    """How many pairs would be so near in all columns if these were independent of each other."""
    rows = len(x)
    found = rows * (rows - 1) / 2
    for column in x.T:
        ordered = np.sort(column)
        within = np.searchsorted(ordered, ordered + _NEAR, "right") - np.searchsorted(ordered, ordered - _NEAR, "left")
        found *= float((within - 1).sum()) / (rows * (rows - 1))
    return found
