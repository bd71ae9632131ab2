"""The audit of tables: every planted fault is named by column and rows, and a clean table has none."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from planted import FAULTS, ROWS, clean, prices

import danlu

_FOLLOWS = {"drift": ("files told apart",)}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_named(name: str) -> None:
    table, check, columns, rows, how = FAULTS[name]()
    share = how.pop("share", 1.0)
    found = danlu.audit(table, target="bought", **{"label_errors": False, **how})
    own = [each for each in found.of_check(check) if set(columns) <= set(each.columns)]
    assert own, f"{check} of {columns} is not among {[(each.check, each.columns) for each in found]}"
    named = set(own[0].rows)
    if share == 1.0 or not rows:
        assert named == set(rows or ()), "the rows"
    else:
        assert len(named & set(rows)) >= share * len(rows)
        assert len(named - set(rows)) <= (1 - share) * len(rows)
    assert own[0].said
    assert own[0].remedy
    others = [each for each in found.alarms if each.check not in (check, *_FOLLOWS.get(check, ()))]
    assert not others, "what is not planted is not named"


def test_a_copy_of_the_target_does_not_hide_wrong_labels() -> None:
    table, _, _, rows, _ = FAULTS["swapped_labels"]()
    table["paid"] = [value == "yes" for value in table["bought"]]
    told = danlu.audit(table, target="bought").of_check("label errors")[0]
    assert told.severity == "warning"
    assert ", without paid, flatly contradicts" in told.said
    assert told.evidence["without"] == ["paid"]
    assert len(set(told.rows) & set(rows)) >= 0.9 * len(rows)


def test_labels_of_classes_that_overlap_are_not_called_wrong() -> None:
    told = danlu.audit(clean(), target="bought").of_check("label errors")[0]
    assert told.severity == "note"
    assert "since classes overlap: no sign of wrong labels" in told.said
    evidence = told.evidence
    assert evidence["doubted"] > 60
    assert evidence["doubted"] == pytest.approx(evidence["doubted if none were wrong"], rel=0.25)


def test_numbers_of_rows_and_of_customers_are_no_quantities() -> None:
    table = clean()
    rng = np.random.default_rng(20)
    table["编号"] = (rng.permutation(ROWS) + 1000).tolist()
    table["Kundennummer"] = rng.integers(100, 250, ROWS).tolist()
    table["seat row"] = rng.integers(0, 30, ROWS).tolist()
    found = danlu.audit(table, target="bought", label_errors=False).of_check("identifier")
    assert [each.columns for each in found] == [("编号",), ("Kundennummer",)]
    assert "the model does not see it" in found[0].said
    assert "is used as a quantity" in found[1].said


def test_a_row_number_in_a_sorted_file_is_no_copy_of_the_target() -> None:
    table = clean()
    order = np.argsort(table["bought"], kind="stable")
    table = {name: [values[row] for row in order] for name, values in table.items()}
    table["Id"] = list(range(1, ROWS + 1))
    found = danlu.audit(table, target="bought", label_errors=False)
    assert not found.alarms
    assert found.of_check("rows sorted by target")[0].columns == ("Id",)


@pytest.mark.parametrize("make", [clean, prices])
def test_a_clean_table_has_no_fault(make) -> None:  # type: ignore[no-untyped-def]
    found = danlu.audit(make(), target="bought", against=make())
    assert [each.check for each in found.alarms] == ["rows in both files"]
    assert not danlu.audit(make(), target="bought").alarms


def test_a_table_in_pieces_is_audited_by_a_sample_which_is_said(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("danlu.pipeline.sheets._SAMPLE", 1000)
    table = pl.DataFrame({name: values * 5 for name, values in clean().items()})
    table = table.with_columns(pl.Series("income", np.random.default_rng(0).gamma(9, 300, table.height)))
    table = table.with_columns(
        paid=pl.col("bought") == "yes", age=pl.when(pl.int_range(pl.len()) % 9 == 4).then(-3.0).otherwise("age")
    )
    for part in (0, 1):
        table[1000 * part : 1000 * (part + 1)].write_parquet(tmp_path / f"{part}.parquet")
    found = danlu.audit(str(tmp_path), target="bought", label_errors=False)
    assert (found.rows, found.sample) == (2000, 990)
    assert "2,000 rows, of which a sample of 990 was looked at" in " ".join(str(found).split())
    assert found.of_check("target copied")[0].columns == ("paid",)
    bad = found.of_check("impossible values")[0].rows
    assert 90 < len(bad) < 120
    assert bad[-1] > 1000
    assert all((row - 1) % 9 == 4 for row in bad), "rows are numbered as in the source"
    whole = danlu.audit(str(tmp_path / "0.parquet"), target="bought", label_errors=False, data={"stream": True})
    assert whole.sample is None


def test_a_good_column_of_distinct_values_is_no_copy() -> None:
    random = np.random.default_rng(0)
    a = random.normal(size=300)
    good, exact = 3 * a + 0.45 * random.normal(size=300), np.exp(a)
    found = danlu.audit(pl.DataFrame({"a": a, "y": good}), target="y", label_errors=False).of_check("target copied")
    assert [each.severity for each in found] == ["warning"]
    assert "R² of its ranks" in str(found[0])
    found = danlu.audit(pl.DataFrame({"a": a, "y": exact}), target="y", label_errors=False).of_check("target copied")
    assert [each.severity for each in found] == ["serious"]
    assert found[0].evidence["exact"]
    classes = np.where(a + 0.01 * random.normal(size=300) > 0, "up", "down")
    (found,) = danlu.audit(pl.DataFrame({"a": a, "y": classes}), target="y", label_errors=False).of_check(
        "target copied"
    )
    assert not found.evidence["exact"], "each value stands with one class, since it is there once"
    assert "one class only" not in str(found)
