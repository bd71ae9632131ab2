"""New rows against the schema: every misfit is named with its column, and repaired where that is asked for."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from danlu.data import check_frame, doubts, infer_schema, read_table
from danlu.errors import SchemaError

DAY = dt.datetime(2024, 1, 1)


@pytest.fixture(scope="module")
def schema():
    frame = pl.DataFrame(
        {
            "age": [20, 30, None, 60] * 10,
            "price": [0.0, 1.5, 2.5, 9.0] * 10,
            "city": ["Bern", "Oslo", "Rome", None] * 10,
            "street": [f"street {i}" for i in range(40)],
            "member": [True, False, False, None] * 10,
            "when": [DAY + dt.timedelta(hours=i) for i in range(40)],
            "id": [f"u{i:03}" for i in range(40)],
            "y": [0, 1] * 20,
        }
    )
    many = frame.with_columns(street=pl.Series([f"street {i % 30} {'abc'[i % 3]}" for i in range(40)]))
    return infer_schema(many, target="y", kinds={"street": "categorical"})


def rows(**changes: list) -> pl.DataFrame:
    good = {
        "age": [25, 50],
        "price": [1.0, 2.0],
        "city": ["Bern", "Rome"],
        "street": ["street 1 b", "street 2 c"],
        "member": [True, False],
        "when": [DAY, DAY],
    }
    return pl.DataFrame({**good, **changes}, strict=False)


def test_rows_that_fit_pass_without_a_word(schema) -> None:
    checked, notices = check_frame(rows(), schema)
    assert notices == ()
    assert checked.columns == [column.name for column in schema.features]
    with_target, _ = check_frame(rows(y=[0, 1]), schema)
    assert with_target.columns[-1] == "y"


def test_missing_values_and_the_target_and_unused_columns_are_fine(schema) -> None:
    frame = rows(age=[None, None], city=[None, "?"], member=["", None], id=["u001", "new"])
    assert check_frame(frame, schema)[1] == ()


MISFITS = [
    ({"age": [25, "old"]}, "column 'age': 1 value is not a number: 'old' (row 2)", "read as missing"),
    ({"age": ["a", "b"]}, "column 'age': 2 values are not a number: 'a' (row 1), 'b' (row 2)", "read as missing"),
    ({"price": [float("inf"), 1.0]}, "column 'price': 1 value infinite: inf (row 1)", "read as missing"),
    (
        {"city": ["Berm", "Rome"]},
        "column 'city': 1 level never seen in training: 'Berm' (row 1) (did you mean 'Bern'?)",
        "treated as unknown",
    ),
    ({"member": ["maybe", "yes"]}, "column 'member': 1 value is not true or false: 'maybe' (row 1)", "read as missing"),
    (
        {"when": ["2024-05-01", "soon"]},
        "column 'when': 1 value is not a date-time: 'soon' (row 2); expected such as 2024-01-02 (%Y-%m-%d)",
        "read as missing",
    ),
]


@pytest.mark.parametrize(("changes", "problem", "repair"), MISFITS)
def test_a_misfit_is_an_error_or_is_repaired(schema, changes: dict, problem: str, repair: str) -> None:
    with pytest.raises(SchemaError) as caught:
        check_frame(rows(**changes), schema)
    assert f"\n  - {problem}" in str(caught.value)
    assert "lenient" in str(caught.value.hint)
    checked, notices = check_frame(rows(**changes), schema, lenient=True)
    assert notices == (f"{problem}; {repair}",)
    assert checked.height == 2


def test_all_misfits_come_in_one_error(schema) -> None:
    changes = {name: value for change, _, _ in MISFITS for name, value in change.items()}
    with pytest.raises(SchemaError) as caught:
        check_frame(rows(**changes).drop("street"), schema)
    message = str(caught.value)
    assert message.count("\n  - column") == 6
    assert "column 'street' is missing" in message


def test_a_missing_column_is_looked_for_by_name(schema) -> None:
    frame = rows().rename({"price": "prize"})
    with pytest.raises(SchemaError, match=r"column 'price' is missing \(there is 'prize'; is it the same\?\)"):
        check_frame(frame, schema)
    checked, notices = check_frame(frame, schema, lenient=True)
    assert checked["price"].null_count() == 2
    assert any("filled with missing values" in notice for notice in notices)
    assert any("not seen in training ignored: 'prize'" in notice for notice in notices)


def test_another_table_altogether(schema) -> None:
    with pytest.raises(
        SchemaError, match="none of the columns that the model was trained on; it has 'c1', 'c2'"
    ) as caught:
        check_frame(pl.DataFrame({"c1": [1], "c2": [2]}), schema, lenient=True)
    assert "does the file lack its header line?" in str(caught.value.hint)
    with pytest.raises(SchemaError, match="no rows"):
        check_frame(rows()[:0], schema)


def test_a_level_of_an_open_column_is_unknown_without_a_word(schema) -> None:
    open_schema = infer_schema(
        pl.DataFrame({"c": [f"l{i}" for i in range(150)] * 3, "y": [0, 1, 1] * 150}),
        target="y",
        kinds={"c": "categorical"},
    )
    assert check_frame(pl.DataFrame({"c": ["new"]}), open_schema)[1] == ()


def test_numbers_far_outside_are_told(schema) -> None:
    checked, notices = check_frame(rows(age=[25, 2000]), schema)
    assert notices == (
        "column 'age': 1 value far outside the training range 20 … 60: 2000 (row 2); do not trust those rows",
    )
    assert checked["age"].to_list() == [25, 2000]
    assert check_frame(rows(age=[25, 150]), schema)[1] == ()


def test_numbers_written_as_text_are_numbers(schema) -> None:
    checked, notices = check_frame(rows(age=["25", " 1,000 "]), schema)
    assert checked["age"].to_list() == [25, 1000]
    assert len(notices) == 1


def test_what_is_expected_is_written_as_the_training_wrote_it() -> None:
    written = {"at": ["3.4.2023", "17.5.2024"] * 5, "of": ["2019Q1", "2020Q3"] * 5, "paid": ["1.234,5 €", "2,5 €"] * 5}
    table = read_table({**written, "y": [0, 1] * 5})
    schema = infer_schema(table.frame, target="y", formats=table.formats)
    with pytest.raises(SchemaError) as caught:
        check_frame(pl.DataFrame({"at": ["soon"], "of": ["late"], "paid": ["much"]}), schema)
    said = str(caught.value)
    assert "expected such as 17.05.2024 (%d.%m.%Y)" in said
    assert "expected such as 2020Q3 (%YQ%q)" in said
    assert "expected such as 1234,5 €" in said


def test_a_row_is_doubted_for_its_own_values_alone(schema) -> None:
    far = dt.datetime(2913, 4, 1)
    frame, notices = check_frame(
        rows(age=[25, 999], city=["Bern", "Paris"], when=[DAY + dt.timedelta(days=700), far]), schema, lenient=True
    )
    assert any("'when': 1 value far outside" in each for each in notices)
    fine, odd = doubts(frame, schema)
    assert fine == ()  # a date two years later is no wonder
    assert [each.split(",")[0] for each in odd] == ["age is 999", "city is 'Paris'", "when is 2913-04-01 00:00:00"]
