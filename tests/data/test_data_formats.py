"""How columns are written: found once over the whole column, kept in the schema, and used for one row as for all."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.data import Schema, check_frame, infer_schema, read_table, to_parquet
from danlu.data.format import Format
from danlu.data.numbers import NumberStyle
from danlu.errors import ArtifactError, ConfigError, DataError, SchemaError

AMOUNTS = [float(n) for n in np.random.default_rng(0).uniform(1000, 99_000, 60).round(2)]


def column(values: list, **options):
    """The column as it is read, its format and what was said of it."""
    table = read_table({"x": [str(value) for value in values]}, **options)
    return table.frame["x"], table.formats["x"], table.notices


def german(number: float, places: int = 2) -> str:
    return f"{number:,.{places}f}".translate(str.maketrans(",.", ".,"))


# --- numbers ---

WRITTEN = {
    "dollars": (lambda n: f"${n:,.2f}", "$"),
    "euros before": (lambda n: f"€ {n:,.2f}", "€"),
    "euros behind": (lambda n: f"{german(n)} EUR", "EUR"),
    "a code before": (lambda n: f"CHF {n:,.2f}".replace(",", "’"), "CHF"),
    "decimal commas": (german, ""),
    "spaces in groups": (lambda n: f"{n:,.2f}".replace(",", "\u202f").replace(".", ","), ""),
    "lakhs": (lambda n: f"{int(n) // 1000:d}".join(["", f",{int(n) % 1000:03d}{n % 1:.2f}".replace("0.", ".")]), ""),
    "per cent": (lambda n: f"{n:.2f} %", "%"),
    "kilometres": (lambda n: f"{n:,.2f} km", "km"),
    "square metres": (lambda n: f"{n:.2f} m²", "m2"),
    "a minus sign behind": (lambda n: f"{n:.2f}-", ""),
    "brackets": (lambda n: f"({n:,.2f})", ""),
    "thousands": (lambda n: f"{n / 1000:.5f}k", ""),
    "full width": (lambda n: f"{n:.2f}".translate({ord(str(d)): chr(0xFF10 + d) for d in range(10)}), ""),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_numbers_written_for_people_are_numbers(name: str) -> None:
    write, unit = WRITTEN[name]
    values = [write(n) for n in AMOUNTS]
    found, written, notices = column([*values, "" if name != "brackets" else "7.00"])
    sign = -1 if name in ("a minus sign behind", "brackets") else 1
    expected = [sign * (int(n) + round(n % 1, 2) if name == "lakhs" else n) for n in AMOUNTS]
    assert found.head(60).to_list() == pytest.approx(expected)
    assert written.number.unit == unit
    assert not unit or any(f"numbers in {unit}" in notice for notice in notices)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["0.370", "0.125", "1.250"], [0.37, 0.125, 1.25]),
        (["1,37", "2,5", "10,25"], [1.37, 2.5, 10.25]),
        (["0,370", "0,125"], [0.37, 0.125]),
        (["1.234.567", "1.000"], [1_234_567, 1000]),
        (["1,234,567", "1,000"], [1_234_567, 1000]),
        (["1.234", "2.345"], [1.234, 2.345]),
        (["1,234", "2,345"], [1234, 2345]),
        (["-5", "−7", "+3"], [-5, -7, 3]),
        (["1.2M", "3k", "500"], [1.2e6, 3000, 500]),
        (["1.2万", "3亿"], [12_000, 3e8]),
        (["2 kg", "500 g", "3 kg"], [2, 0.5, 3]),
        (["1 year", "5 years"], [1, 5]),
        (["-$5", "$-6.5", "($7)", "$8"], [-5, -6.5, -7, 8]),
        (["25,-", "30,-"], [25, 30]),
        (["25-", "30- "], [-25, -30]),
        (["١٢٫٥", "٣"], [12.5, 3]),
        (["१२", "３"], [12, 3]),
        (["5e3", "1e-4"], [5000, 1e-4]),
    ],
)
def test_marks_signs_and_scales(values: list[str], expected: list[float]) -> None:
    assert column(values)[0].to_list() == pytest.approx(expected)


@pytest.mark.parametrize(
    "values",
    [
        ["A12", "A13", "B14"],
        ["12B", "14B", "7B"],
        ["12A", "14B", "7C"],
        ["0123", "4567"],
        ["1.2.3", "1.10.4"],
        ["192.168.100.200", "10.0.0.1"],
        ["12-24", "25-30"],
        ["1st", "2nd", "3rd"],
        ["S", "M", "L"],
        ["+41 44 123 45 67"],
        ["+49 586 928", "+49 586 9281"],
        ["+4958692812", "+495869281"],
        ["612 345 678", "622 345 111"],
        ["555-1234", "555-9876"],
        ["12:30", "13:45"],
        ["1/2", "3/4"],
        ["$5", "€7"],
        ["2009-10", "2010-11", "2011-12"],
        ["10 AM", "9 PM"],
        ["<5", "5-10", ">10"],
        ["3", "7", "12B", "9C", "x1"],
        ["12-pack", "6-pack", "24-pack"],  # no minus sign
        ["06-Feb", "14-Feb", "23-Feb"],
        ["48m", "52bn", "3k"],  # millions or metres?
        ["Feb 06", "Mar 29", "Apr 01", "May 14"],  # days without a year, no months of 2006, 2029, …
    ],
)
def test_codes_ranges_and_versions_stay_texts(values: list[str]) -> None:
    found, written, _ = column(values * 20)
    assert found.dtype == pl.String
    assert written.written == "text"
    assert found.head(len(values)).to_list() == values


def test_the_decimal_mark_of_a_doubtful_column_is_that_of_the_others(tmp_path: Path) -> None:
    assert read_table({"a": ["1,234", "5,678"], "b": ["1,5", "2,25"]}).frame["a"].to_list() == [1.234, 5.678]
    assert read_table({"a": ["1.234", "5.678"], "b": ["1,5", "2,25"]}).frame["a"].to_list() == [1234, 5678]
    beside = {"a": ["0.370", "5.678"], "b": ["1,5", "2,25"]}
    assert read_table(beside).frame["a"].to_list() == [0.37, 5.678]  # a group never begins with a zero
    assert "no value shows whether" in read_table({"a": ["1.234", "5.678"]}).notices[0]
    for mark in "\t;|,":
        (tmp_path / "t.csv").write_text(f"x{mark}y\n0.370{mark}a\n0.125{mark}b\n0.999{mark}a\n")
        assert read_table(tmp_path / "t.csv").frame["x"].to_list() == [0.37, 0.125, 0.999]
    (tmp_path / "t.csv").write_text('x,y\n"1,37",a\n"0,125",b\n')
    assert read_table(tmp_path / "t.csv").frame["x"].to_list() == [1.37, 0.125]


@pytest.mark.parametrize(
    "words", [["None", "-", "unknown"], ["n.v.", "n.v.", "n.v."], ["keine Angabe", "--", "N/A"], ["无", "-", "#DIV/0!"]]
)
def test_words_among_numbers_are_missing_and_told(words: list[str]) -> None:
    values = [words[i % 3] if i % 7 == 0 else f"{n}" for i, n in enumerate(AMOUNTS)]
    found, written, notices = column(values)
    assert found.dtype == pl.Float64
    assert found.null_count() == 9
    assert any("were read as missing" in notice for notice in notices)
    assert all(word.lower() in written.missing for word in words)


def test_a_kind_that_no_value_has_is_refused() -> None:
    for kind, what in (("numeric", "numbers"), ("datetime", "date-times")):
        with pytest.raises(DataError, match=rf"0 of 60 values of 'x' are {what}: 'cheap', 'dear'"):
            column(["cheap", "dear"] * 30, kinds={"x": kind})
        with pytest.raises(DataError, match=rf"0 of 60 values of 'x' are {what}"):
            infer_schema(pl.DataFrame({"x": ["cheap", "dear"] * 30, "y": [0, 1] * 30}), target="y", kinds={"x": kind})
    with pytest.raises(DataError, match="0 of 2 values of 'x' are true or false"):
        infer_schema(pl.DataFrame({"x": ["cheap", "dear"]}), kinds={"x": "boolean"})
    found, _, notices = column(["7", "cheap"] * 30, kinds={"x": "numeric"})
    assert found.null_count() == 30
    assert "30 of 60 values are not a number" in notices[0]


def test_what_is_said_to_be_a_category_keeps_its_texts() -> None:
    assert column(["1.10", "1.1", "1.2"], kinds={"x": "categorical"})[0].to_list() == ["1.10", "1.1", "1.2"]


# --- missing codes ---


def test_missing_texts_and_codes_for_all_columns_or_for_one() -> None:
    data = {"income": ["-999", "-999.0", "1200", "n"], "city": ["unknown", "Bern", "NA", "-999"]}
    everywhere = read_table(data, missing=["unknown", "-999", "n"]).frame
    assert everywhere["income"].to_list() == [None, None, 1200, None]
    assert everywhere["city"].to_list() == [None, "Bern", "NA", None]
    one = read_table(data, missing={"income": [-999, "n"], "city": []})
    assert one.frame["income"].to_list() == [None, None, 1200, None]
    assert one.frame["city"].to_list() == ["unknown", "Bern", "NA", "-999"]
    with pytest.raises(DataError, match="unknown column 'incom'; expected one of: city, income"):
        read_table(data, missing={"incom": [-999]})
    with pytest.raises(ConfigError, match="cannot mean a missing value"):
        read_table(data, missing=[True])
    typed = read_table(pl.DataFrame({"x": [1.0, -999.0, 3.0]}), missing=[-999])
    assert typed.frame["x"].to_list() == [1.0, None, 3.0]
    assert check_frame(pl.DataFrame({"x": [-999]}), infer_schema(typed.frame, formats=typed.formats))[0][
        "x"
    ].to_list() == [None]


@pytest.mark.parametrize(
    ("odd", "others", "shown"),
    [
        (-999, range(20, 60), "-999"),
        (9999, range(100), "9999"),
        (-1, range(20, 60), "-1"),
        ("1900-01-01", [f"2020-01-{day:02}" for day in range(1, 29)], "1900-01-01"),
        (99, range(60, 98), None),
        (-1, range(40), None),
        (99, range(150), None),
    ],
)
def test_a_value_far_off_that_often_means_missing_is_told(odd, others, shown: str | None) -> None:
    notices = column([*others, odd, odd, odd])[2]
    assert any(f"{shown} comes 3 times" in notice for notice in notices) == (shown is not None)


# --- dates ---

DAYS = [dt.datetime(1990, 1, 31) + dt.timedelta(days=37 * i) for i in range(40)]


@pytest.mark.parametrize(
    "pattern",
    [
        "%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%m-%d-%Y", "%d/%m/%y", "%m/%d/%y", "%y-%m-%d", "%Y%m%d",
        "%d %b %Y", "%B %d, %Y", "%A, %d %B %Y", "%b %d, %Y", "%d-%b-%y", "%Y年%m月%d日", "%Y-%m-%dT%H:%M:%SZ", "%d.%m.%Y %H:%M",
        "%m/%d/%Y %I:%M %p", "%m/%d/%y %I:%M:%S %p", "%d/%b/%Y:%H:%M:%S +0000", "%G-W%V-%u", "%Y%m%dT%H%M%S",
    ],
)  # fmt: skip
def test_days_are_read_as_they_are_written(pattern: str) -> None:
    found, written, _ = column([day.strftime(pattern) for day in DAYS])
    assert found.to_list() == DAYS
    assert written.written == "date"


def test_noon_and_midnight() -> None:
    hours = column([f"2020-01-31T{hour:02d}" for hour in range(24)])[0]  # of an hour alone, as NumPy writes it
    assert [moment.hour for moment in hours] == [*range(24)]
    found = column(["1/31/2020 12:30 PM", "1/31/2020 12:30 AM", "1/31/2020 11:59 p.m.", "1/31/2020 1 am"])[0]
    assert [moment.hour for moment in found] == [12, 0, 23, 1]
    assert {moment.day for moment in found} == {31}


@pytest.mark.parametrize(
    "write",
    [
        "{0:%Y-%m}",
        "{0:%m/%Y}",
        "{0:%m.%Y}",
        "{0:%b %Y}",
        "{0:%B %Y}",
        "{0:%b-%y}",
        "{0:%Y}M{0:%m}",
        "{0:%Y}年{0.month}月",
    ],
)
def test_months_are_their_first_day(write: str) -> None:
    assert column([write.format(day) for day in DAYS])[0].to_list() == [day.replace(day=1) for day in DAYS]


def test_quarters_and_weeks_are_their_first_day() -> None:
    for write in ("{1}Q{0}", "Q{0} {1}", "{1}-Q{0}", "{0}Q{1}"):
        found = column([write.format((day.month + 2) // 3, day.year) for day in DAYS])[0]
        assert found.to_list() == [dt.datetime(day.year, (day.month + 2) // 3 * 3 - 2, 1) for day in DAYS]
    found = column([f"{day:%G-W%V}" for day in DAYS])[0]
    assert found.to_list() == [day - dt.timedelta(days=day.weekday()) for day in DAYS]


def test_the_order_of_day_and_month_is_the_columns_and_is_said() -> None:
    early = [f"{month}/{day}/2020" for month in (1, 2, 3) for day in (4, 7, 9)]
    found, _, notices = column([*early, "12/31/2020"])
    assert found[0] == dt.datetime(2020, 1, 4)
    assert "read month first" in notices[0]
    found, _, notices = column(early[::-1] + early)  # nothing shows it
    assert found[-1] == dt.datetime(2020, 9, 3)
    assert "data.dates=mdy reads it the other way" in notices[0]
    assert column(early[::-1] + early, dates="mdy")[0][-1] == dt.datetime(2020, 3, 9)
    beside = {"x": early[::-1] + early, "other": ["1/31/2020"] * 18}
    assert read_table(beside).frame["x"][-1] == dt.datetime(2020, 3, 9)
    monthly = [f"{month}/1/{year}" for year in (1980, 1981, 1982) for month in range(1, 13)]
    assert column(monthly)[0][1] == dt.datetime(1980, 2, 1)
    assert column([f"1/{month}/{year}" for year in (1980, 1981, 1982) for month in range(1, 13)])[0][1] == dt.datetime(
        1980, 2, 1
    )


def test_how_dates_are_written_can_be_said() -> None:
    assert column(["31|12|2020 08h30", "01|02|2021 09h00"], dates={"x": "%d|%m|%Y %Hh%M"})[0][1] == dt.datetime(
        2021, 2, 1, 9
    )
    with pytest.raises(DataError, match="0 of 2 values of 'x' are date-times as 'mdy': 'a', 'b'"):
        column(["a", "b"], dates={"x": "mdy"})
    with pytest.raises(DataError, match="unknown column 'z'"):
        column(["a", "b"], dates={"z": "mdy"})
    for unused in ("mdy", "zzz", "%d.%m.%Y"):
        with pytest.raises(DataError, match="and no column holds such dates"):
            column(["a", "b"], dates=unused)


# --- at predict ---


def trained(values: dict[str, list], **options) -> Schema:
    table = read_table(values, **options)
    schema = infer_schema(table.frame, target="y", formats=table.formats)
    return Schema.from_json(schema.to_json())


KINDS = {
    "plain": [f"{n}" for n in AMOUNTS],
    "money": [f"${n:,.2f}" for n in AMOUNTS],
    "comma": [german(n) for n in AMOUNTS],
    "three": [f"{int(n):,}".replace(",", ".") for n in AMOUNTS[:-1]] + ["1.234.567,5"],
    "us": [f"{day:%m/%d/%y}" for day in DAYS] + ["02/03/04"] * 20,
    "month": [f"{day:%m/%Y}" for day in DAYS] + ["02/2004"] * 20,
    "version": ["1.10", "1.1", "beta"] * 20,
    "flag": ["True", "False", "Unknown"] * 20,
    "truth": ["True", "False"] * 30,
    "zip": ["01234", "99999", "00001"] * 20,
    "words": [f"{n}" if i % 8 else "keine" for i, n in enumerate(AMOUNTS)],
    "percent": [f"{i % 37},5 %" for i in range(60)],
}


@pytest.fixture(scope="module")
def everything() -> tuple[dict[str, list], Schema]:
    data = {**KINDS, "y": ["a", "b"] * 30}
    return data, trained(data)


def test_one_row_gives_what_it_gives_in_the_full_file(everything, tmp_path: Path) -> None:
    data, schema = everything
    frame = pl.DataFrame(data)
    whole, _ = check_frame(frame, schema)
    assert set(schema.names) == {*KINDS, "y"}
    for row in (0, 1, 2, 8, 45, 59):
        frame[[row]].write_csv(tmp_path / "row.csv")
        for source in (tmp_path / "row.csv", frame[[row]], frame[[row]].to_pandas()):
            alone, _ = check_frame(read_table(source, typed=False).frame, schema)
            assert alone.rows() == whole[[row]].rows()


def test_frames_with_other_types_are_read_as_the_texts_of_training(everything) -> None:
    data, schema = everything
    row = pl.DataFrame(data)[[1]].to_dicts()[0]
    typed = {
        **row,
        "version": 1.1,
        "flag": False,
        "truth": False,
        "plain": AMOUNTS[1],
        "zip": 99999,
        "words": AMOUNTS[1],
    }
    checked, _ = check_frame(pl.DataFrame([typed]), schema)
    assert checked["version"].to_list() == ["1.1"]
    assert checked["flag"].to_list() == ["False"]
    assert checked["zip"].to_list() == ["99999"]
    assert check_frame(pl.DataFrame([{**typed, "zip": 1234}]), schema)[0]["zip"].to_list() == ["01234"]
    alone = trained({"v": ["1.10", "1.2", "x"] * 5, "y": ["a", "b", "a"] * 5})
    assert check_frame(pl.DataFrame({"v": [1.1]}), alone)[0]["v"].to_list() == ["1.10"]


def test_texts_of_another_format_are_no_guess(everything) -> None:
    _, schema = everything
    row = {name: [values[1]] for name, values in KINDS.items()}
    for name, text in (("comma", "12.5"), ("us", "31/12/23"), ("money", "€ 5"), ("plain", "12 km")):
        with pytest.raises(SchemaError, match=rf"column '{name}': 1 value is not a"):
            check_frame(pl.DataFrame({**row, name: [text]}), schema)


def test_a_format_survives_json_and_old_schemas_have_the_usual_one(everything) -> None:
    _, schema = everything
    body = schema.to_json()
    assert Schema.from_json(body) == schema
    for each in body["columns"]:
        del each["format"]
    assert Schema.from_json(body)["plain"].format == Format()
    for damaged in (
        {},
        {**Format().to_json(), "written": "x"},
        {**Format().to_json(), "codes": ["a"]},
        {**Format().to_json(), "number": 3},
    ):
        with pytest.raises(ArtifactError):
            Format.from_json(damaged)


@given(
    st.lists(st.decimals(-(10**7), 10**7, places=2, allow_nan=False), min_size=3, max_size=30),
    st.sampled_from([(".", ","), (",", "."), (".", "’"), (",", "\u202f"), (".", "")]),
    st.sampled_from([("", ""), ("$", ""), ("", " €"), ("", " km"), ("", "%")]),
)
def test_any_numbers_in_any_format_read_back(numbers, marks, around) -> None:
    def write(number) -> str:
        text = f"{abs(number):,.2f}".replace(",", "g").replace(".", marks[0]).replace("g", marks[1])
        return f"{'-' if number < 0 else ''}{around[0]}{text}{around[1]}"

    data = {"x": [write(number) for number in numbers]}
    table = read_table(data)
    assert table.frame["x"].to_list() == pytest.approx([float(number) for number in numbers])
    schema = infer_schema(table.frame, formats=table.formats, kinds={"x": "numeric"})
    assert check_frame(pl.DataFrame({"x": data["x"][:1]}), schema)[0]["x"][0] == table.frame["x"][0]


@given(
    st.lists(st.datetimes(dt.datetime(1970, 1, 1), dt.datetime(2068, 12, 31)), min_size=2, max_size=20),
    st.sampled_from(
        ["%d/%m/%Y", "%m/%d/%Y", "%d/%m/%y", "%m-%d-%y", "%d.%m.%Y %H:%M", "%m/%d/%Y %I:%M %p", "%b %d, %Y"]
    ),
)
def test_any_dates_in_any_format_read_back(moments, pattern: str) -> None:
    moments = [each.replace(second=0, microsecond=0) for each in moments] + [dt.datetime(2020, 7, 31)]
    if "%H" not in pattern and "%I" not in pattern:
        moments = [each.replace(hour=0, minute=0) for each in moments]
    texts = [each.strftime(pattern) for each in moments]
    table = read_table({"x": texts})
    assert table.frame["x"].to_list() == moments
    schema = infer_schema(table.frame, formats=table.formats)
    assert check_frame(pl.DataFrame({"x": texts[:1]}), schema)[0]["x"].to_list() == moments[:1]


def test_a_file_in_pieces_has_the_formats_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from danlu.data import convert
    from danlu.data.parquet import formats_in

    monkeypatch.setattr(convert, "_PIECE_BYTES", 700)
    pl.DataFrame(KINDS).write_csv(tmp_path / "t.csv", separator=";")
    to_parquet(tmp_path / "t.csv", tmp_path / "t")
    whole = read_table(tmp_path / "t.csv")
    assert pl.read_parquet(tmp_path / "t").equals(whole.frame)
    piece = next((tmp_path / "t").iterdir())
    assert formats_in(piece) == whole.formats
    assert read_table(piece).formats["comma"].number == NumberStyle(",")


def test_sequences_are_read_as_those_of_training(tmp_path: Path) -> None:
    from danlu.data.sequences import SequenceEncoder, read_sequences

    rows = {
        "id": [f"0{i // 6}" for i in range(60)],
        "when": [f"{1 + i % 6}/{13 + i // 6}/2020" for i in range(60)],
        "v": [german(n) for n in AMOUNTS],
    }
    found = read_sequences(rows, series="id", time="when")
    encoder = SequenceEncoder.fit(found.values, found.columns, series="id", time="when", formats=found.formats)
    saved = SequenceEncoder.from_state(*encoder.state())
    pl.DataFrame({"id": ["07", "07"], "when": ["10/2/2020", "9/3/2020"], "v": ["1.234", "5"]}).write_csv(
        tmp_path / "new.csv"
    )
    new = read_sequences(tmp_path / "new.csv", series="id", time="when", formats=saved.formats)
    assert new.values[0].tolist() == [[5.0], [1234.0]]  # sorted by month and day, with points that group
    with pytest.raises(DataError, match=r"column 'v': '1.5' \(row 1\) is not a number as those of training"):
        read_sequences(
            {"id": ["7"], "when": ["1/1/2020"], "v": ["1.5"]}, series="id", time="when", formats=saved.formats
        )


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([f"{i}.5" if i % 2 else f"{i},5" for i in range(40)], "a decimal point in some and a decimal comma in others"),
        ([f"{i}.5 kg" if i % 2 else f"{i}.5 lbs" for i in range(40)], "in lbs, kg|in kg, lbs"),
        (["<0.1" if i % 4 == 0 else f"{i}.5" for i in range(40)], "others are like '<0.1'"),
        ([f"{13 + i % 9}/1/2020" if i % 3 else f"1/{13 + i % 9}/2020" for i in range(40)], "dates in several orders"),
        (["0.45" if i % 8 == 0 else f"{i}%" for i in range(40)], "5 of 40 have no unit and are read as % too"),
    ],
)
def test_amounts_and_dates_that_are_not_written_alike_are_told_of(texts: list[str], said: str) -> None:
    (note,) = read_table({"x": texts}).notices
    assert re.search(said, note)


@pytest.mark.parametrize("form", ["A{0}", "{0}B", "1.{0}.3", "10.0.{0}.{0}", "{0}-{0}", "0{0}12345", "75{0}-VHVEG"])
def test_codes_and_versions_are_no_amounts(form: str) -> None:
    assert read_table({"x": [form.format(i) for i in range(40)]}).notices == ()


@pytest.mark.parametrize("code", ["999.9", "-999.9"])
def test_codes_with_a_decimal_are_noted(code: str) -> None:
    (note,) = read_table({"x": [f"{i / 7:.1f}" for i in range(60)] + [code] * 4}).notices
    assert code in note
    assert read_table({"x": [f"{i * 40 + 0.9}" for i in range(60)]}).notices == ()  # among others it is a value


@pytest.mark.parametrize("scale", ["mn", "k", "百万"])
def test_a_scale_moves_the_point_and_rounds_nothing(scale: str) -> None:
    power = {"mn": 6, "k": 3, "百万": 6}[scale]
    texts = [f"{i}.{i % 10} {scale}" for i in range(60)]
    assert column(texts)[0].to_list() == [float(f"{i}.{i % 10}e{power}") for i in range(60)]


_DAY = dt.datetime(2023, 1, 28, 9, 5)


@pytest.mark.parametrize(
    ("write", "what"),
    [
        *(
            (lambda i, form=form: form.format(i), "numbers")
            for form in ("~{0}", "{0},000+", "<{0}.5", "{0}-pack", "{0}M")
        ),
        *(
            (lambda i, form=form: f"{_DAY + dt.timedelta(i):{form}}", "dates")
            for form in ("%a %b %d %H:%M:%S %Y", "%d%m%Y")
        ),
        *((lambda i, form=form: f"{_DAY + dt.timedelta(i):{form}}", "dates") for form in ("%d/%m", "%Y-%j", "%b %d")),
        (lambda i: f"{i % 24}:{10 + i}", "times of day"),
    ],
)
def test_what_looks_like_numbers_or_dates_and_cannot_be_read_is_told_of(write, what: str) -> None:
    table = read_table({"x": [write(i) for i in range(1, 41)]})
    (note,) = table.notices
    assert table.frame["x"].dtype == pl.String
    assert f"look like {what} and are read as texts" in note
    assert read_table({"x": [write(i) for i in range(1, 41)]}, kinds={"x": "categorical"}).notices == ()


def test_postcodes_of_which_some_begin_with_a_zero_are_no_numbers() -> None:
    assert read_table({"x": [f"0{i}123" if i % 19 == 0 else f"1{i + 10}12" for i in range(60)]}).notices == ()


def test_the_reason_why_amounts_are_texts_is_true() -> None:
    (note,) = read_table({"x": [f"{i}.5" if i % 6 else "inf" for i in range(60)]}).notices
    assert "decimal comma" not in note
