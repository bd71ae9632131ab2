"""Small tables with a fault in each, which an audit must name by column and rows."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["FAULTS", "Columns", "clean", "prices"]

ROWS = 400
Columns = dict[str, list[Any]]


@functools.cache
def _base() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    age = rng.normal(44, 9, ROWS).round().clip(19, 80)
    income = np.exp(rng.normal(8, 0.4, ROWS)).round(2)
    city = rng.choice(["Bern", "Oslo", "Lima", "Pune"], ROWS)
    visits = rng.poisson(3, ROWS)
    score = (age - 44) / 9 + (city == "Oslo") + rng.normal(0, 1.2, ROWS)
    return {"age": age, "income": income, "city": city, "visits": visits, "bought": np.where(score > 0.4, "yes", "no")}


def clean() -> Columns:
    """A table of two classes without a fault."""
    return {name: values.tolist() for name, values in _base().items()}


def prices() -> Columns:
    """The same with a quantity to predict."""
    found = clean()
    rng = np.random.default_rng(8)
    age, income = np.array(found["age"]), np.array(found["income"])
    found["bought"] = (20 * age + income / 20 + rng.normal(0, 150, ROWS)).round(1).tolist()
    return found


Fault = tuple[Columns, str, tuple[str, ...], list[int] | None, dict[str, Any]]
FAULTS: dict[str, Callable[[], Fault]] = {}
"""Each gives a table, the check that must find it, the columns and the rows (from 1) that it must name, and what to audit it with."""


def _fault(make: Callable[[], tuple[Any, ...]]) -> Callable[[], tuple[Any, ...]]:
    def whole() -> Fault:
        table, check, columns, rows, *how = make()
        return table, check, columns, rows, how[0] if how else {}

    FAULTS[make.__name__] = whole
    return make


def _chosen(count: int, seed: int = 1) -> np.ndarray:
    return np.sort(np.random.default_rng(seed).choice(ROWS, count, replace=False))


def _days(start: str, offsets: np.ndarray) -> list[datetime.datetime]:
    first = datetime.datetime.fromisoformat(start)
    return [first + datetime.timedelta(days=int(day)) for day in offsets]


@_fault
def duplicate_rows() -> Any:
    table = clean()
    for name in table:
        table[name] += table[name][:20]
    return table, "duplicate rows", (), list(range(ROWS + 1, ROWS + 21))


@_fault
def near_duplicates_by_noise() -> Any:
    table = clean()
    rng = np.random.default_rng(3)
    table["weight"] = rng.normal(70, 9, ROWS).tolist()
    table["height"] = rng.normal(170, 9, ROWS).tolist()
    for name in table:
        table[name] += table[name][:12]
    for name in ("income", "weight", "height"):
        table[name][ROWS:] = [value * 1.00001 for value in table[name][ROWS:]]
    return table, "near-duplicate rows", ("income", "weight", "height"), [*range(1, 13), *range(ROWS + 1, ROWS + 13)]


@_fault
def near_duplicates_but_for_one() -> Any:
    table = clean()
    for name in table:
        table[name] += table[name][:8]
    table["visits"][ROWS:] = [value + 9 for value in table["visits"][ROWS:]]
    return table, "near-duplicate rows", ("visits",), [*range(1, 9), *range(ROWS + 1, ROWS + 9)]


@_fault
def equal_rows_with_other_answers() -> Any:
    table = clean()
    for name in table:
        table[name] += table[name][:9]
    table["bought"][ROWS:] = ["no" if value == "yes" else "yes" for value in table["bought"][ROWS:]]
    return table, "equal rows, other target", ("bought",), [*range(1, 10), *range(ROWS + 1, ROWS + 10)]


@_fault
def target_under_another_name() -> Any:
    table = clean()
    table["state"] = ["paid" if value == "yes" else "lapsed" for value in table["bought"]]
    return table, "target copied", ("state",), []


@_fault
def target_with_a_few_errors() -> Any:
    table = clean()
    wrong = _chosen(6)
    table["flag"] = [int((value == "yes") != (row in wrong)) for row, value in enumerate(table["bought"])]
    return table, "target copied", ("flag",), (wrong + 1).tolist()


@_fault
def monotone_function_of_the_target() -> Any:
    table = prices()
    table["tax"] = [float(np.log(value)) for value in table["bought"]]
    return table, "target copied", ("tax",), []


@_fault
def bands_of_the_target() -> Any:
    table = prices()
    edges = np.quantile(table["bought"], [0.3, 0.7])
    table["class"] = [("low", "mid", "high")[int(np.searchsorted(edges, value))] for value in table["bought"]]
    return table, "target copied", ("class",), []


@_fault
def sum_of_columns() -> Any:
    table = prices()
    part = np.random.default_rng(4).normal(300, 90, ROWS).round(1)
    table["net"] = part.tolist()
    table["rest"] = (np.array(table["bought"]) - part).tolist()
    return table, "target from columns", ("net", "rest"), []


@_fault
def a_rule_of_two_columns() -> Any:
    table = clean()
    rng = np.random.default_rng(6)
    table["paid"], table["open"] = rng.normal(size=ROWS).tolist(), rng.normal(size=ROWS).tolist()
    table["bought"] = [
        "yes" if a > 0.1 and b < 0.4 else "no" for a, b in zip(table["paid"], table["open"], strict=True)
    ]
    return table, "target from columns", ("paid", "open"), []


@_fault
def target_in_text() -> Any:
    table = clean()
    rng = np.random.default_rng(5)
    words = np.array(["blue", "red", "round", "small", "old", "new", "warm", "dry", "soft", "loud"])
    table["bought"] = ["renewed" if value == "yes" else "cancelled" for value in table["bought"]]
    table["note"] = [f"{' '.join(rng.choice(words, 4))} {value} {rng.integers(1000)}" for value in table["bought"]]
    return table, "target in text", ("note",), list(range(1, ROWS + 1))


@_fault
def gaps_that_tell_the_target() -> Any:
    table = clean()
    rng = np.random.default_rng(9)
    table["boat"] = [float(rng.integers(20)) if value == "yes" else None for value in table["bought"]]
    return table, "missing tells target", ("boat",), []


@_fault
def order_of_two_dates() -> Any:
    table = clean()
    rng = np.random.default_rng(10)
    seen = rng.integers(0, 300, ROWS)
    later = np.array([value == "yes" for value in table["bought"]])
    table["seen"] = _days("2020-01-01", seen)
    table["called"] = _days("2020-01-01", seen + np.where(later, 1, -1) * rng.integers(1, 60, ROWS))
    return table, "order of dates", ("seen", "called"), []


@_fault
def dates_after_the_answer() -> Any:
    table = clean()
    rng = np.random.default_rng(11)
    asked = rng.integers(0, 300, ROWS)
    late = _chosen(30)
    gap = -rng.integers(1, 60, ROWS)
    gap[late] = 9
    table["asked"], table["checked"] = _days("2020-01-01", asked), _days("2020-01-01", asked + gap)
    return table, "later than the answer", ("checked",), (late + 1).tolist(), {"at": "asked"}


@_fault
def a_running_number_of_cases() -> Any:
    table = clean()
    table["case"] = np.cumsum(np.random.default_rng(12).integers(1, 9, ROWS)).tolist()
    return table, "identifier", ("case",), []


@_fault
def patients_with_several_rows() -> Any:
    table = clean()
    rng = np.random.default_rng(13)
    who = np.repeat(np.arange(80), 5)
    ill = rng.random(80) < 0.5
    table["patient"] = [f"P{100 + each}" for each in who]
    table["bought"] = ["yes" if ill[each] != (rng.random() < 0.1) else "no" for each in who]
    return table, "rows of one group", ("patient",), list(range(1, ROWS + 1))


@_fault
def a_target_that_changes_in_time() -> Any:
    table = clean()
    rng = np.random.default_rng(14)
    when = np.sort(rng.integers(0, 900, ROWS))
    table["when"] = _days("2019-01-01", when)
    table["bought"] = ["yes" if rng.random() < 0.15 + 0.7 * day / 900 else "no" for day in when]
    return table, "leakage by time", ("when",), []


@_fault
def a_constant_column() -> Any:
    table = clean()
    table["version"] = ["2.1"] * ROWS
    return table, "constant column", ("version",), []


@_fault
def an_almost_constant_column() -> Any:
    table = clean()
    table["flag"] = [0] * ROWS
    table["flag"][122] = 1
    return table, "nearly constant column", ("flag",), [123]


@_fault
def texts_among_numbers() -> Any:
    table = clean()
    table["income"] = [str(value) for value in table["income"]]
    table["income"][10] = table["income"][333] = "see note"
    return table, "mixed types", ("income",), [11, 334]


@_fault
def negative_ages() -> Any:
    table = clean()
    table["age"][7], table["age"][90] = -3.0, 999.0
    return table, "impossible values", ("age",), [8, 91]


@_fault
def percentages_above_100() -> Any:
    table = clean()
    table["pct_used"] = np.random.default_rng(15).uniform(0, 100, ROWS).round(1).tolist()
    table["pct_used"][200] = 130.0
    return table, "impossible values", ("pct_used",), [201]


@_fault
def dates_to_come() -> Any:
    table = clean()
    table["born"] = _days("1970-01-01", np.random.default_rng(16).integers(0, 9000, ROWS))
    table["born"][55] = datetime.datetime(2913, 4, 1)
    return table, "impossible values", ("born",), [56]


@_fault
def a_code_for_missing() -> Any:
    table = clean()
    at = _chosen(9)
    for row in at:
        table["visits"][row] = 999
    return table, "code for missing", ("visits",), (at + 1).tolist()


@_fault
def zeros_for_missing() -> Any:
    table = clean()
    table["pressure"] = np.random.default_rng(17).normal(120, 12, ROWS).round().tolist()
    at = _chosen(8)
    for row in at:
        table["pressure"][row] = 0.0
    return table, "code for missing", ("pressure",), (at + 1).tolist()


@_fault
def another_unit() -> Any:
    table = clean()
    table["income"][42] *= 1000
    return table, "outlier", ("income",), [43]


@_fault
def nines_among_amounts() -> Any:
    table = clean()
    rng = np.random.default_rng(18)
    table["weight kg"] = np.round(rng.gamma(3, 2, ROWS) + 10 * rng.integers(0, 2, ROWS), 1).tolist()
    table["weight kg"][42] = 9999.0
    return table, "outlier", ("weight kg",), [43]


@_fault
def a_rare_class() -> Any:
    table = clean()
    for row in (3, 77, 200):
        table["bought"][row] = "maybe"
    return table, "class counts", ("bought",), []


@_fault
def a_column_twice() -> Any:
    table = clean()
    table["income_eur"] = [value * 0.92 + 3 for value in table["income"]]
    return table, "same columns", ("income", "income_eur"), []


@_fault
def categories_in_two_spellings() -> Any:
    table = clean()
    table["city"][5], table["city"][6] = table["city"][5].upper(), table["city"][6].lower() + " "
    return table, "spellings", ("city",), [6, 7]


@_fault
def swapped_labels() -> Any:
    table = clean()
    age = np.array(table["age"])
    truth = age + np.random.default_rng(18).normal(0, 0.1, ROWS) > 44.5
    swapped = np.random.default_rng(19).choice(np.flatnonzero(np.abs(age - 44.5) > 4), ROWS // 20, replace=False)
    table["bought"] = ["yes" if one != (row in swapped) else "no" for row, one in enumerate(truth)]
    return table, "label errors", ("bought",), sorted((swapped + 1).tolist()), {"label_errors": True, "share": 0.9}


def _half(table: Columns, second: slice) -> Columns:
    return {name: values[second] for name, values in table.items()}


@_fault
def drift_of_a_column() -> Any:
    table = clean()
    later = _half(table, slice(200, None))
    later["income"] = [value * 1.4 for value in later["income"]]
    return _half(table, slice(0, 200)), "drift", ("income",), [], {"against": later}


@_fault
def a_new_category() -> Any:
    table = clean()
    later = _half(table, slice(200, None))
    later["city"] = ["Quito" if row % 3 == 0 else value for row, value in enumerate(later["city"])]
    return _half(table, slice(0, 200)), "drift", ("city",), [], {"against": later}


@_fault
def rows_in_both_files() -> Any:
    table = clean()
    return (
        _half(table, slice(0, 250)),
        "rows in both files",
        (),
        list(range(1, 51)),
        {"against": _half(table, slice(200, None))},
    )
