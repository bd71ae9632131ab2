"""The audit of a table: all checks of its rows and columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import polars as pl

from danlu.auditing import columns, drift, groups, hindsight, labels, leaks, repeats, values
from danlu.auditing.finding import Finding
from danlu.auditing.sheet import Sheet
from danlu.stages import stage

__all__ = ["CHECKS", "QUICK", "audit_table", "quick_findings"]

Check = Callable[[Sheet], Iterable[Finding]]


def _target(sheet: Sheet) -> Iterator[Finding]:
    """Columns that tell the target alone, in texts or together."""
    if sheet.truth is None:
        return
    alone = list(leaks.copies_of_target(sheet))
    told = {name for found in alone for name in found.columns if found.severity != "note"}
    alone += leaks.texts_with_target(sheet, told)
    yield from alone
    if not alone:
        yield from leaks.combinations(sheet)


def _dates(sheet: Sheet, at: str | None = None) -> Iterator[Finding]:
    """Dates from after the answer, and along the others the change of the target."""
    found = list(hindsight.dates_in_order(sheet, at=at))
    yield from found
    yield from groups.in_time(sheet, but={name for each in found for name in each.columns})


def _classes(sheet: Sheet) -> Iterator[Finding]:
    if sheet.classes and sheet.truth is not None:
        counts = np.bincount(sheet.truth, minlength=len(sheet.classes))
        yield from labels.class_counts(str(sheet.target), counts, sheet.classes)


CHECKS: dict[str, Check] = {
    "columns that tell the target": _target,
    "missing values that tell it": hindsight.missing_tells,
    "dates": _dates,
    "identifiers": groups.naming,
    "rows of one group": groups.belonging,
    "equal rows": repeats.equal,
    "equal rows with other targets": repeats.other_answers,
    "nearly equal rows": repeats.nearly_equal,
    "mixed types": columns.mixed,
    "impossible values": values.impossible,
    "codes for missing": values.codes_for_missing,
    "outliers": values.far_off,
    "class counts": _classes,
    "columns that say the same": columns.same_columns,
    "constant columns": columns.constant,
    "spellings": columns.spelt,
}
"""The checks of a table by name, label errors and those of a second file aside."""

_LEAKS = ("target copied", "target in text", "missing tells target", "later than the answer", "identifier")

QUICK = (
    *(
        "columns that tell the target",
        "missing values that tell it",
        "dates",
        "identifiers",
        "rows of one group",
    ),
    *("equal rows with other targets", "impossible values", "outliers", "class counts"),
)
"""The checks that training makes: those that are quick, and whose answer it does not say anyway."""


def quick_findings(sheet: Sheet) -> list[Finding]:
    """What the quick checks find that training does not say by itself."""
    return [found for name in QUICK for found in CHECKS[name](sheet)]


def _leaking(found: list[Finding], sheet: Sheet) -> list[str]:
    """The columns that the model sees and that tell the target, or come after it: a model with them believes every label."""
    named = {each.columns[0] for each in found if each.check == "order of dates"}
    named |= {name for each in found if each.severity == "serious" and each.check in _LEAKS for name in each.columns}
    return [name for name in sheet.inputs if name in named]


def audit_table(
    sheet: Sheet, *, other: pl.DataFrame | None = None, at: str | None = None, wrong_labels: bool = True
) -> tuple[list[Finding], list[str]]:
    """What all checks find, and the names of the checks.

    Args:
        other: the rows of a second file, in the first one's types.
        at: the column of dates that says when the answer is given.
        wrong_labels: whether label errors are looked for, which takes a model of each of five folds.
    """
    found: list[Finding] = []
    looked = list(CHECKS)
    with stage("checking", total=len(CHECKS), unit="checks") as step:
        for name, check in CHECKS.items():
            step.detail = name
            found += _dates(sheet, at) if name == "dates" else check(sheet)
            step.advance()
    if wrong_labels and sheet.classes and sheet.truth is not None and sheet.inputs and len(sheet.truth) >= 50:
        looked.append("label errors")
        leaks = _leaking(found, sheet)
        if len(leaks) < len(sheet.inputs):
            told = labels.table_probabilities(sheet, without=leaks)
            found = [
                *labels.wrong_labels(str(sheet.target), sheet.truth, told, sheet.classes, sheet.numbers, without=leaks),
                *found,
            ]
        else:
            looked.pop()
    if other is not None:
        looked += ["rows in both files", "drift", "files told apart"]
        with stage("comparing the files"):
            found += [*drift.both_files(sheet, other), *drift.drifted(sheet, other), *drift.told_apart(sheet, other)]
    return found, looked
