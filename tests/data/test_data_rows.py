"""A table in cells and back: every kind of column comes back as it is in the file."""

from __future__ import annotations

import datetime
import json
from typing import Any

import numpy as np
import polars as pl
import pytest

from danlu.data import check_frame, infer_schema, read_table
from danlu.data.format import Format
from danlu.data.rows import Cells, Fresh, RowEncoder, Written, category_cells, number_cells
from danlu.errors import ArtifactError, DataError, SchemaError

ROWS = 200


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Any:
    rng = np.random.default_rng(0)
    pay = rng.normal(5000, 900, ROWS)
    born = [datetime.date(1960, 1, 1) + datetime.timedelta(days=int(each)) for each in rng.integers(0, 9000, ROWS)]
    seen = [
        datetime.datetime(2024, 1, 1) + datetime.timedelta(minutes=int(each)) for each in rng.integers(0, 90000, ROWS)
    ]
    frame = pl.DataFrame(
        {
            "id": [f"p{number:04d}" for number in range(ROWS)],
            "age": rng.integers(18, 80, ROWS),
            "pay": [f"${each:,.2f}" if row % 9 else "?" for row, each in enumerate(pay)],
            "gain": np.where(rng.random(ROWS) < 0.8, 0, rng.integers(100, 9000, ROWS)),
            "half": rng.integers(0, 9, ROWS) / 2,
            "city": rng.choice(["Bern", "Oslo", ""], ROWS),
            "born": [each.strftime("%d.%m.%Y") for each in born],
            "seen": [each.strftime("%Y-%m-%d %H:%M") for each in seen],
            "member": rng.choice(["true", "false"], ROWS),
            "land": ["CH"] * ROWS,
        }
    )
    path = tmp_path_factory.mktemp("rows") / "people.csv"
    frame.write_csv(path)
    table, raw = read_table(path), read_table(path, typed=False)
    schema = infer_schema(table.frame, formats=table.formats)
    checked = pl.DataFrame([c.read(table.frame[c.name]) if c.used else table.frame[c.name] for c in schema.columns])
    return raw.frame, checked, RowEncoder.fit(checked, schema, raw=raw)


def test_rows_come_back_as_they_are_in_the_file(people: Any) -> None:
    raw, checked, encoder = people
    rows = encoder.transform(checked)
    back = encoder.decode(rows["cell"], rows["place"])
    assert back.columns == raw.columns
    for name in raw.columns:
        if name != "id":
            assert back[name].fill_null("").to_list() == raw[name].fill_null("").to_list(), name
    assert back["id"].to_list() == [f"p{number:04d}" for number in range(ROWS, 2 * ROWS)]


def test_what_is_made_is_read_as_the_original(people: Any, tmp_path: Any) -> None:
    _, checked, encoder = people
    rng = np.random.default_rng(1)
    cell = np.stack([rng.integers(0, size, 300) for size in encoder.sizes], axis=1)
    made = encoder.decode(cell, rng.random(cell.shape))
    made.write_csv(tmp_path / "made.csv")
    again = read_table(tmp_path / "made.csv").frame
    known = {column.name: column for column in encoder.schema.columns}
    assert [str(each) for each in again.dtypes] == [str(each) for each in checked.dtypes]
    read, _ = check_frame(made, encoder.schema)
    assert again.columns == list(known)
    for column in encoder.schema.features:
        if column.kind == "numeric":
            assert read[column.name].min() >= column.minimum
            assert read[column.name].max() <= column.maximum
    assert set(read["half"].unique()) <= set(np.arange(9) / 2)


def test_an_encoder_is_saved_and_found_again(people: Any) -> None:
    _, checked, encoder = people
    told, arrays = encoder.state()
    again = RowEncoder.from_state(json.loads(json.dumps(told)), arrays)
    for one, other in zip(encoder.transform(checked).values(), again.transform(checked).values(), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ArtifactError, match="damaged"):
        RowEncoder.from_state({**told, "cells": told["cells"][:1]}, {})


def test_a_peak_is_a_cell_alone_and_numbers_are_measured_in_their_tails() -> None:
    gain = np.where(np.arange(1000) % 10, 0.0, np.random.default_rng(0).integers(1, 5000, 1000))
    cells = number_cells(gain)
    code, _, _ = cells.encode(np.array([0.0]))
    assert cells.share[code[0]] > 0.8
    far = number_cells(np.random.default_rng(0).normal(size=2000))
    _, _, slope = far.encode(np.array([0.0, 9.0]))
    assert slope[1] > slope[0] + 5, "a number far outside is unlikely, and not impossible"


def test_missing_values_have_a_cell() -> None:
    cells = number_cells(np.array([1.0, np.nan, 2.0, 3.0]), least=1)
    code, place, _ = cells.encode(np.array([np.nan, 2.0]))
    assert code[0] == 0
    assert np.isnan(cells.decode(code, place)[0])
    assert cells.decode(code, place)[1] == 2
    assert category_cells(["a", None]).missing


def test_rare_categories_are_drawn_by_their_shares() -> None:
    names = [f"n{number // 2}" if number < 600 else "often" for number in range(900)]
    frame = pl.DataFrame({"name": names, "x": range(900)})
    schema = infer_schema(frame, kinds={"name": "categorical", "x": "numeric"})
    encoder = RowEncoder.fit(frame, schema)
    rows = encoder.transform(frame)
    back = encoder.decode(rows["cell"], rows["place"])["name"]
    assert abs(back.n_unique() - 301) < 60
    assert (back == "often").sum() == 300
    assert set(back) <= set(names)


def test_free_texts_are_refused() -> None:
    frame = pl.DataFrame({"said": [f"word {n} and some more of it {n * 7}" for n in range(50)], "x": range(50)})
    with pytest.raises(DataError, match="free text"):
        RowEncoder.fit(frame, infer_schema(frame, kinds={"x": "numeric"}))


def test_names_of_rows_are_new() -> None:
    rng = np.random.default_rng(0)
    assert Fresh.of(["7", "9"]).names(2, rng) == ["10", "11"]
    old = ["ab-12-x", "cd-99-y", "ee-01-z"]
    new = Fresh.of(old).names(50, rng)
    assert all(len(each) == 7 and each[2] == "-" and each[3:5].isdigit() for each in new)


def test_damaged_cells_are_refused() -> None:
    told, arrays = number_cells(np.arange(50.0)).state()
    with pytest.raises(ArtifactError, match="damaged"):
        Cells.from_state(told, {**arrays, "share": arrays["share"][:1]})


def test_numbers_and_dates_of_many_forms_are_written_as_they_were(tmp_path: Any) -> None:
    """A number that is written in millions is divided by a million again: what is read of it is the same."""
    rng = np.random.default_rng(0)
    rows = 60
    n, day, month = rng.integers(1, 99, rows), rng.integers(13, 29, rows), rng.integers(1, 13, rows)
    forms = {
        "millions": [f"{each / 10}M" for each in n],
        "percent": [f"{each} %" for each in n],
        "spaced": [f"{each} 037.5" for each in n],
        "month first": [f"{m}/{d}/2021" for d, m in zip(day, month, strict=True)],
        "zone": [f"2020-{m:02d}-{d}T1{d % 10}:0{m % 10}:00Z" for d, m in zip(day, month, strict=True)],
        "mixed": [f"{each}{('', 'k', 'M')[each % 3]}" for each in n],
        "negative": [f"(${each},500)" if each % 3 else f"${each},500" for each in n],
    }
    pl.DataFrame(forms).write_csv(tmp_path / "forms.csv")
    table, raw = read_table(tmp_path / "forms.csv"), read_table(tmp_path / "forms.csv", typed=False)
    schema = infer_schema(table.frame, formats=table.formats)
    typed = pl.DataFrame([column.read(table.frame[column.name]) for column in schema.columns])
    encoder = RowEncoder.fit(typed, schema, raw=raw)
    parts = encoder.transform(typed)
    back = encoder.decode(parts["cell"], parts["place"])
    for name, texts in forms.items():
        if name not in ("mixed", "negative"):
            assert back[name].to_list() == texts, name
        known = schema[name].read(back[name])
        assert known.dtype.is_temporal() or known.to_list() == pytest.approx(typed[name].to_list(), rel=1e-6), name


def test_a_table_of_which_nothing_can_be_learnt_is_refused() -> None:
    for frame in (
        pl.DataFrame({"a": [1] * 30, "b": ["x"] * 30}),
        pl.DataFrame({"id": [f"u{n:03d}" for n in range(30)]}),
    ):
        with pytest.raises(DataError, match="expected one or more to be learnt"):
            RowEncoder.fit(frame, infer_schema(frame))


def test_new_names_are_different_and_the_first_of_many_are_those_of_fewer() -> None:
    names = Fresh.of(["aX", "bY", "cZ", "dX"])
    few, many = names.names(50, np.random.default_rng(1)), names.names(2000, np.random.default_rng(1))
    assert few == many[:50]
    assert len(set(many)) == 2000


def test_records_are_checked_as_those_of_other_tables(people: Any) -> None:
    encoder = people[2]
    record = {column.name: None for column in encoder.schema.features} | {"age": 30, "born": "01.02.1970"}
    assert encoder.rows([record], say=print)["age"].to_list() == [30]
    with pytest.raises(SchemaError, match="the types int, str as 'age'"):
        encoder.rows([record, {**record, "age": "31"}], say=print)
    with pytest.raises(SchemaError, match="the number 1970 as 'born'; expected a date as a text"):
        encoder.rows([{**record, "born": 1970}], say=print)


def test_names_go_on_after_those_of_all_rows_of_the_file(tmp_path: Any) -> None:
    """A name that only a test row has is no new one."""
    (tmp_path / "t.csv").write_text("id,x\n" + "".join(f"c{row:03},{row % 7}\n" for row in range(60)))
    table, raw = read_table(tmp_path / "t.csv"), read_table(tmp_path / "t.csv", typed=False)
    schema = infer_schema(table.frame, formats=table.formats)
    encoder = RowEncoder.fit(table.frame.head(50), schema, raw=raw)
    made = encoder.decode(np.zeros((2, 1), np.int32), np.zeros((2, 1), np.float32))
    assert made["id"].to_list() == ["c060", "c061"]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["626e3", "110e3", "905e3"], None),
        (["3.51e+03", "2.16e-04", "6.78e+00"], None),
        (["0.5", "2e-07", "3"], ["0.5", "2e-07", "3"]),
        ([repr(1 / 3), repr(2 / 7), "4.0"], [repr(1 / 3), repr(2 / 7), "4"]),
        (["9007199254740", "17", "123456789012"], None),
    ],
)
def test_exponents_and_long_numbers_are_written_as_they_were(texts: list[str], expected: list[str] | None) -> None:
    values = np.array([float(text) for text in texts])
    written = Written.of(pl.Series(texts), pl.Series(values), Format())
    assert written.values(values).to_list() == (expected or texts)


def test_each_way_to_write_a_missing_value_comes_as_often() -> None:
    raw = pl.Series(["1", "NA", "?", None, "NA", "NA", "7"] * 40)
    written = Written.of(raw, raw.cast(pl.Float64, strict=False), Format())
    gone = np.where(np.arange(4000) % 2, np.nan, 5.0)
    made = written.values(gone, np.random.default_rng(0)).to_list()
    assert made[::2] == ["5"] * 2000
    shares = [made[1::2].count(mark) / 2000 for mark in ("NA", "?", None)]
    assert shares == pytest.approx([0.6, 0.2, 0.2], abs=0.04)
    assert written.values(gone[:2]).to_list() == ["5", "NA"]


def test_whole_numbers_stay_whole_however_large() -> None:
    values = np.random.default_rng(0).integers(10**9, 10**12, 200).astype(float)
    cells = number_cells(values)
    code, place, _ = cells.encode(values)
    found = cells.decode(code, (place + 0.1234567) % 1)
    assert (found == np.rint(found)).all()
    assert values.min() <= found.min() <= found.max() <= values.max()
