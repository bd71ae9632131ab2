"""What only the outcome fills in: gaps and dates that tell the target."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import polars as pl

from danlu.auditing.finding import Finding
from danlu.auditing.leaks import left_out
from danlu.auditing.sheet import Sheet
from danlu.evaluate.intervals import figure
from danlu.prose import percent

__all__ = ["dates_in_order", "missing_tells"]

_SOME, _HALF = 0.2, 0.5  # Cramér's V or a correlation of a missing value with the target; what it tells of it
_MOST_COLUMNS = 400
_DAY = 86_400_000_000  # microseconds


def missing_tells(sheet: Sheet) -> Iterator[Finding]:
    """Columns whose gaps tell the target: often they were filled in when the answer was known."""
    rows, noted = sheet.frame.height, []
    gaps: dict[bytes, list[tuple[float, str, np.ndarray]]] = {}
    for column in sheet.schema.columns[:_MOST_COLUMNS]:
        if column.name == sheet.target or column.reason == "you left it out" or sheet.truth is None:
            continue
        gone = sheet.frame[column.name].is_null().to_numpy()
        count = int(gone.sum())
        if min(count, rows - count) < 5:
            continue
        strength, chance = _association(gone, sheet.truth, len(sheet.classes))
        if strength < _SOME or chance > 0.001 / len(sheet.schema.columns):
            continue
        share = sheet.told_by(gone.astype(np.int64))
        if share >= _HALF:
            gaps.setdefault(_same_gaps(gone), []).append((share, column.name, gone))
        else:
            noted.append((strength, column.name, gone))
    for group in sorted(gaps.values(), key=lambda each: -each[0][0]):
        share, name, gone = group[0]
        names = [each[1] for each in group]
        others = (
            f" (and {', '.join(names[1:4])}{', …' if len(names) > 4 else ''}, in the same rows)" if names[1:] else ""
        )
        yield Finding(
            "missing tells target",
            "serious" if share >= 0.9 else "warning",
            f"whether {name} is missing{others} tells {sheet.target}: {_rates(sheet, gone)}",
            tuple(names),
            (),
            {"told": round(share, 4), "missing": int(gone.sum())},
            f"if it is filled in after the outcome, leave it out: {left_out(*names)}",
        )
    noted.sort(key=lambda each: -each[0])
    if noted:
        strength, name, gone = noted[0]
        more = (
            f"; so do {len(noted) - 1} other columns"
            if len(noted) > 2
            else f"; so does {noted[1][1]}"
            if noted[1:]
            else ""
        )
        yield Finding(
            "missing tells target",
            "note",
            f"whether {name} is missing says something of {sheet.target}: {_rates(sheet, gone)}{more}",
            tuple(each[1] for each in noted),
            evidence={each[1]: round(each[0], 4) for each in noted},
            remedy="the model sees it; is the column filled in before the outcome?",
        )


def _same_gaps(gone: np.ndarray) -> bytes:
    return np.packbits(gone).tobytes()


def _association(gone: np.ndarray, truth: np.ndarray, classes: int) -> tuple[float, float]:
    """Cramér's V or the correlation with the ranks of the target, and how likely as much is by chance."""
    from scipy import stats

    if classes:
        table = np.zeros((2, classes))
        np.add.at(table, (gone.astype(int), truth), 1)
        table = table[:, table.sum(0) > 0]
        if table.shape[1] < 2:
            return 0.0, 1.0
        found = stats.chi2_contingency(table, correction=False)
        return float(np.sqrt(found[0] / len(gone))), float(found[1])
    found = stats.pearsonr(gone.astype(float), stats.rankdata(truth))
    return abs(float(found[0])), float(found[1])


def _rates(sheet: Sheet, gone: np.ndarray) -> str:
    truth = sheet.truth
    if truth is None:
        return ""
    if sheet.classes:
        gaps = np.abs(
            np.bincount(truth[gone], minlength=len(sheet.classes)) / max(gone.sum(), 1)
            - np.bincount(truth[~gone], minlength=len(sheet.classes)) / max((~gone).sum(), 1)
        )
        place = int(gaps[1] >= gaps[0]) if len(sheet.classes) == 2 else int(gaps.argmax())
        with_, without = (percent(float(np.mean(truth[part] == place))) for part in (gone, ~gone))
        return f"{with_} are {sheet.classes[place]} where it is missing, {without} elsewhere"
    means = [figure(float(truth[part].mean())) for part in (gone, ~gone)]
    return f"the mean is {means[0]} where it is missing, {means[1]} elsewhere"


def dates_in_order(sheet: Sheet, *, at: str | None = None) -> Iterator[Finding]:
    """Dates that tell the target by their order or distance, and with ``at`` those that are later than it.

    Args:
        at: the column that says when the answer is given.
    """
    names = [
        c.name
        for c in sheet.schema.columns
        if sheet.frame[c.name].dtype.is_temporal() and c.reason != "you left it out"
    ]
    days = {name: sheet.frame[name].cast(pl.Int64).cast(pl.Float64) / _DAY for name in names}
    if at is not None:
        for name in names:
            later = (days[name] > days[at]).fill_null(value=False)
            share = float(later.sum()) / max(int((days[name].is_not_null() & days[at].is_not_null()).sum()), 1)
            if name == at or not later.any():
                continue
            yield Finding(
                "later than the answer",
                "serious" if share > 0.5 else "warning",
                f"column {name} is later than {at} in {later.sum():,} rows ({percent(share)} of those with both)",
                (name, at),
                sheet.rows(later),
                {"share": round(share, 4)},
                f"it is not known when the answer is given; leave it out: {left_out(name)}",
            )
    if sheet.truth is None:
        return
    telling: list[tuple[float, str, str, str]] = []
    for first, second in itertools.islice(itertools.combinations(names, 2), 100):
        apart = days[second] - days[first]
        if apart.null_count() > 0.9 * len(apart):
            continue
        order = apart.sign().fill_null(2).cast(pl.Int64).to_numpy() + 2
        by_order = sheet.told_by(order) if len(np.unique(order)) > 1 else 0.0
        by_days = sheet.told_by(apart.rank("dense").fill_null(0).cast(pl.Int64).to_numpy())
        gone = apart.is_null().to_numpy()
        if max(by_order, by_days) < 0.9 or sheet.told_by(gone.astype(np.int64)) >= 0.9:
            continue  # nothing, or its gaps tell it already
        how = "is later than" if by_order >= 0.9 else "days to"
        telling.append((max(by_order, by_days), first, second, how))
    while telling:  # the date that is in most of the pairs is the one from the future
        named = [name for each in telling for name in each[1:3]]
        late = max(named[::-1], key=named.count)
        own = [each for each in telling if late in each[1:3]]
        telling = [each for each in telling if late not in each[1:3]]
        share, first, second, how = max(own)
        words = (
            f"whether {second} is later than {first}"
            if how == "is later than"
            else f"the days from {first} to {second}"
        )
        others = sorted({name for each in own for name in each[1:3]} - {late, first, second})
        beside = f"; so does {late} beside {', '.join(others[:3])}{', …' if len(others) > 3 else ''}" if others else ""
        yield Finding(
            "order of dates",
            "serious",
            f"{words} tells {percent(share)} of {sheet.target}{beside}",
            (late, *({first, second} - {late}), *others),
            evidence={"told": round(share, 4)},
            remedy=f"leave out what is later than the answer: {left_out(late)}",
        )
