"""Rows that belong together or come one after the other, which chance puts on both sides of a split; and columns that name rows."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator

import numpy as np
import polars as pl

from danlu.auditing.finding import Finding
from danlu.auditing.leaks import left_out
from danlu.auditing.sheet import Sheet
from danlu.data.naming import names_rows, names_whose
from danlu.evaluate.intervals import figure
from danlu.prose import percent

__all__ = ["belonging", "in_time", "naming"]

_FEWEST = 10  # different values of a number that names something
_DRAWS = 200
_LEAST = 0.05  # of the intraclass correlation
_TREND = 0.1


def naming(sheet: Sheet) -> Iterator[Finding]:
    """Columns that name the rows: those that are left out for it, and numbers that differ in every row like a running number."""
    known = [
        c
        for c in sheet.schema.columns
        if c.kind == "identifier" and c.name != sheet.target and c.reason != "you left it out"
    ]
    if known:
        names = [column.name for column in known]
        yield Finding(
            "identifier",
            "note",
            f"{'column' if len(names) == 1 else 'columns'} {', '.join(names[:6])}{', …' if len(names) > 6 else ''} "
            f"{'names' if len(names) == 1 else 'name'} the rows ({known[0].reason}), and the model does not see "
            f"{'it' if len(names) == 1 else 'them'}",
            tuple(names),
            remedy=f'data.kinds=\'{{"{names[0]}": "categorical"}}\' uses it all the same',
        )
    rows = sheet.frame.height
    for column in sheet.schema.features:
        values = sheet.frame[column.name]
        if (
            column.kind == "numeric"
            and column.whole
            and column.distinct >= _FEWEST
            and names_rows(column.name, places=False)
        ):
            yield Finding(
                "identifier",
                "note",
                f"column {column.name} is called a number of something and is used as a quantity ({column.distinct:,} different values "
                f"in {rows:,} rows)",
                (column.name,),
                evidence={"distinct": column.distinct},
                remedy=f'if its size says nothing: data.kinds=\'{{"{column.name}": "categorical"}}\', or leave it out: '
                f"{left_out(column.name)}",
            )
            continue
        if not values.dtype.is_integer() or column.distinct < rows or rows < 50:
            continue
        steps = values.diff().drop_nulls()
        ordered = bool((steps > 0).all() or (steps < 0).all())
        digits = values.abs().cast(pl.String).str.len_chars()
        if not ordered and (digits.n_unique() > 1 or int(digits[0]) < 5):
            continue
        share = sheet.told_by(sheet.codes(column.name)) if sheet.truth is not None else 0.0
        why = "it grows from row to row" if ordered else f"whole numbers of {digits[0]} digits"
        tells = f", and tells {percent(share)} of {sheet.target}: the rows are sorted by it" if share > 0.2 else ""
        yield Finding(
            "identifier",
            "serious" if share > 0.2 else "warning",
            f"column {column.name} has another value in every row ({why}) and is used as a quantity{tells}",
            (column.name,),
            evidence={"told": round(share, 4)},
            remedy=f"if it is a number of the row or a case, leave it out: {left_out(column.name)}",
        )


def belonging(sheet: Sheet) -> Iterator[Finding]:
    """Columns such as a patient's number whose rows are alike, and would be learnt from and tested on."""
    rows = sheet.frame.height
    if sheet.truth is None or rows < 40:
        return
    found = []
    for column in sheet.schema.columns:
        values = sheet.frame[column.name]
        if column.name == sheet.target or column.kind in ("datetime", "text", "boolean") or values.dtype == pl.Float64:
            continue
        named = names_whose(column.name, owners=True)
        groups = column.distinct
        if groups < 10 or groups > 0.9 * rows or column.missing > 0.5 * rows:
            continue
        if not named and values.dtype != pl.String:
            continue
        codes = sheet.codes(column.name)
        coded = values.dtype == pl.String and groups >= 0.02 * rows and _are_codes(values)
        kept = sum(_fixed(sheet, other, codes) for other in sheet.inputs if other != column.name)
        if not (named or coded or kept >= 3):
            continue
        truth = (
            sheet.truth.astype(np.float64)
            if not sheet.classes
            else (sheet.truth == _commonest(sheet)).astype(np.float64)
        )
        alike, chance = _alike(truth, codes)
        whole = groups <= 0.5 * rows and kept >= max(3, 0.3 * len(sheet.inputs))
        if whole or ((named or coded) and alike >= _LEAST and chance <= 0.005):
            found.append((alike, column.name, groups, kept, codes))
    for alike, name, groups, kept, codes in sorted(found, key=lambda each: -each[0])[:3]:
        sizes = np.bincount(codes)[1:]
        several = int((sizes > 1).sum())
        fixed = f", and {kept} other columns are the same in all rows of one" if kept else ""
        yield Finding(
            "rows of one group",
            "warning",
            f"column {name}: {groups:,} values in {rows:,} rows, {several:,} of them in several; rows of one are alike in "
            f"{sheet.target} (intraclass correlation {figure(alike, 2)}){fixed}",
            (name,),
            sheet.rows(np.flatnonzero((sizes > 1)[np.maximum(codes - 1, 0)] & (codes > 0))),
            {"groups": groups, "alike": round(alike, 4), "fixed columns": kept},
            f"keep them on one side: split.method=group split.column={shlex.quote(name)}",
        )


def _commonest(sheet: Sheet) -> int:
    return int(np.bincount(sheet.truth).argmax())  # type: ignore[arg-type]


def _are_codes(values: pl.Series) -> bool:
    """Whether nearly all texts are codes: letters and two digits or more, no sentence."""
    present = values.drop_nulls().unique().str.strip_chars()
    if not len(present):
        return False
    digits, gaps = (present.str.count_matches(pattern).to_numpy() for pattern in (r"\d", r"\s"))
    return bool(np.mean(digits >= 2) > 0.9 and gaps.mean() <= 1)


def _alike(truth: np.ndarray, codes: np.ndarray) -> tuple[float, float]:
    """The intraclass correlation of the target in groups (one-way analysis of variance), and how likely as much is by chance."""
    known = codes > 0
    codes, y = np.unique(codes[known], return_inverse=True)[1], truth[known]
    sizes = np.bincount(codes)
    count, rows = len(sizes), len(y)
    if count < 2 or rows <= count or y.var() == 0:
        return 0.0, 1.0
    typical = (rows - (sizes**2).sum() / rows) / (count - 1)
    y = (y - y.mean()) / y.std()

    def correlation(values: np.ndarray) -> float:
        means = np.bincount(codes, values) / sizes
        between = float((sizes * means**2).sum()) / (count - 1)
        within = (rows - (count - 1) * between) / (rows - count)
        return (between - within) / (between + (typical - 1) * within)

    own = correlation(y)
    rng = np.random.default_rng(0)
    beaten = sum(correlation(rng.permutation(y)) >= own for _ in range(_DRAWS))
    return own, (beaten + 1) / (_DRAWS + 1)


def _fixed(sheet: Sheet, name: str, codes: np.ndarray) -> bool:
    """Whether a column is the same in all rows of a group, while it differs between groups."""
    other = sheet.codes(name)
    sizes = np.bincount(codes)
    inside = (sizes[codes] > 1) & (codes > 0)
    if inside.sum() < 10 or sheet.schema[name].distinct < 2:
        return False
    pairs = len(np.unique(codes[inside] * (int(other.max()) + 1) + other[inside]))
    groups = len(np.unique(codes[inside]))
    values = len(np.unique(other[inside]))
    commonest = np.bincount(other[inside]).max() / inside.sum()
    return values > 1 and commonest < 0.9 and pairs <= 1.02 * groups


def in_time(sheet: Sheet, *, but: Collection[str] = ()) -> Iterator[Finding]:
    """Columns of dates along which the target changes: drawn at random, a test part does not stand for the future.

    Args:
        but: columns that tell the target in another way.
    """
    if sheet.truth is None:
        return
    found = []
    for column in sheet.schema.columns:
        values = sheet.frame[column.name]
        if not values.dtype.is_temporal() or column.distinct < 10 or column.name in but:
            continue
        if column.missing > 0.2 * len(values):
            continue
        known = values.is_not_null().to_numpy()
        when, y = values.rank("average").fill_null(0).to_numpy()[known], sheet.truth[known]
        y = (y == _commonest(sheet)).astype(np.float64) if sheet.classes else pl.Series(y).rank("average").to_numpy()
        if y.std() == 0:
            continue
        trend, chance = _trend(when, y)
        if trend >= _TREND and chance < 1e-4:
            found.append((trend, column.name))
    if not found:
        return
    found.sort(reverse=True)
    trend, name = found[0]
    others = [each for _, each in found[1:]]
    beside = f", and along {', '.join(others[:3])}" if others else ""
    yield Finding(
        "leakage by time",
        "warning",
        f"{sheet.target} changes along {name} (tenths of time explain {percent(trend**2)} of it){beside}: rows drawn at random "
        "are tested beside their neighbours in time",
        (name, *others),
        evidence={each: round(value, 4) for value, each in found},
        remedy=f"to test on the latest rows: split.method=time split.column={shlex.quote(name)}",
    )


def _trend(when: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The correlation ratio of the target with the tenths of time, and how likely as much is by chance (an F test)."""
    from scipy import stats

    order = np.argsort(np.argsort(when, kind="stable"), kind="stable")
    tenth = order * 10 // len(order)
    means = np.bincount(tenth, y) / np.bincount(tenth)
    between = float((np.bincount(tenth) * (means - y.mean()) ** 2).sum())
    whole = float(((y - y.mean()) ** 2).sum())
    used = len(means) - 1
    rest = max(whole - between, 1e-300)
    f = between / used / (rest / max(len(y) - used - 1, 1))
    return float(np.sqrt(between / whole)), float(stats.f.sf(f, used, max(len(y) - used - 1, 1)))
