"""The same table, written in many dialects, is read as the same table; and what was left out is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.data import read_table, to_parquet
from danlu.data.delimited import parse_delimited
from danlu.data.read import DEFAULT_MISSING
from danlu.errors import DataError

MISSING = frozenset(text.lower() for text in DEFAULT_MISSING)
NAMES = ["age", "income", "city name", "2019", "2020", "Größe", "年", "spend %"]
WORDS = ["north", "south", "east side", "two\nlines", 'say "hi"', "a,b", "c;d", "x|y", "tab\tbed", "", "it's", "#7"]


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    """A header with a column of numbers among two to six, and rows in which a last column is not empty throughout."""
    size = draw(st.integers(2, 6))
    names = ["id", *draw(st.permutations(NAMES))[: size - 1]]
    rows = draw(st.integers(4, 30))
    columns = [[str(i + 1) for i in range(rows)]]
    for _ in names[1:]:
        if draw(st.booleans()):
            numbers = draw(st.lists(st.integers(-900, 900), min_size=rows, max_size=rows))
            columns.append([f"{number / 8:g}" for number in numbers])
        else:
            columns.append(draw(st.lists(st.sampled_from(WORDS), min_size=rows, max_size=rows)))
    columns[-1][0] = columns[-1][0] or "north"
    return names, [list(row) for row in zip(*columns, strict=True)]


def field(text: str, delimiter: str, quoted: bool) -> str:
    special = quoted or any(sign in text for sign in (delimiter, '"', "\n"))
    return '"' + text.replace('"', '""') + '"' if special else text


@given(
    tables(),
    st.sampled_from([",", ";", "\t", "|"]),
    st.booleans(),
    st.sampled_from(["no", "rows", "all", "header"]),
    st.sampled_from(["no", "lone", "padded", "two", "sep", "comment"]),
    st.sampled_from(["no", "source", "blank", "total"]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
@settings(max_examples=100)
def test_a_table_reads_back_whatever_the_dialect(
    table: tuple[list[str], list[list[str]]],
    delimiter: str,
    quoted: bool,
    ends: str,
    above: str,
    below: str,
    newline: str,
    encoding: str,
) -> None:
    names, rows = table
    end = {"rows": ("", delimiter), "all": (delimiter, delimiter), "header": (delimiter, ""), "no": ("", "")}[ends]
    lines = [delimiter.join(field(name, delimiter, quoted) for name in names) + end[0]]
    lines += [delimiter.join(field(cell, delimiter, quoted) for cell in row) + end[1] for row in rows]
    pad = delimiter * (len(names) - 1)
    titles = {
        "lone": ["Sales of the year", ""],
        "padded": [f"Sales of the year{pad}", pad],
        "two": [f"Made on{delimiter}1 May 2020", "", ""] if len(names) > 3 else ["Made on 1 May"],
        "sep": [f"sep={delimiter}"],
        "comment": ["# made by hand", "# on a Monday, at noon"],
        "no": [],
    }[above]
    remarks = {
        "source": ["", "Source: World Bank, all rights reserved" if delimiter != "," else "Source: World Bank"],
        "blank": ["", ""],
        "total": [f"Total{pad}" if len(names) > 2 else ""],
        "no": [],
    }[below]
    text = newline.join([*titles, *lines, *remarks]) + newline
    found, _ = parse_delimited(text.encode(encoding), source="t.csv", missing=MISSING)
    assert list(found.names) == names
    expected = [[cell.replace("\r\n", "\n").strip() or None for cell in row] for row in rows]
    assert [list(row) for row in found.frame.iter_rows()] == expected
    if above not in ("no", "sep"):
        assert any("above the table" in notice for notice in found.notices)
    if remarks and any(remarks):
        assert any("below the table" in notice for notice in found.notices)


CASES = {
    "a delimiter at the end of each row": ("age,income,spend\n20,1000,0,\n30,2000,1,\n", ["age", "income", "spend"], 2),
    "the header has it too": ("age,income,\n20,1000,\n30,2000,\n", ["age", "income"], 2),
    "rows without a header": ("20,1000,\n30,2000,\n", ["c1", "c2"], 2),
    "R's names of rows": ('speed,dist\n"1",4,2\n"2",7,\n', ["row", "speed", "dist"], 2),
    "R's only column": ('speed\n"1",4\n"2",7\n', ["row", "speed"], 2),
    "years among names": ("id,2019,2020,region\n1,5,7,north\n2,6,8,south\n", ["id", "2019", "2020", "region"], 2),
    "wavelengths": ("s,400.5,401,401.5,y\na,.1,.2,.3,u\nb,.1,.3,.4,v\n", ["s", "400.5", "401", "401.5", "y"], 2),
    "numbers of columns": ("0,1,2\n5.5,6,7\n8,9,1\n", ["0", "1", "2"], 2),
    "data that begins with a word": ("unknown,5,3.2\n4,5,6\n7,8,9\n1,2,3\n", ["c1", "c2", "c3"], 4),
    "a year in data": ("Bern,2019\nOslo,2020\nRome,2018\nOslo,2019\n", ["c1", "c2"], 4),
    "blank names": (",a,,b\n0,x,1,y\n1,y,2,z\n", ["c1", "a", "c3", "b"], 2),
    "names that come twice": ("a,a,b\n1,2,3\n4,5,6\n", ["a", "a_2", "b"], 2),
    "white space in names": ('age ,"net\nincome",\u00a0spend  it\n1,2,3\n4,5,6\n', ["age", "net income", "spend it"], 2),
    "the last comment is the header": ("# by hand\n#a b c\n1 2 3\n4 5 6\n", ["a", "b", "c"], 2),
    "a column of hashes": ("tag,n\n#one,1\n#two,2\n#three,3\n", ["tag", "n"], 3),
    "files put together": ("a,b\n1,2\n3,4\na,b\n5,6\n", ["a", "b"], 3),
    "a line of units": ("speed,mass\nkm/h,kg\n1,2\n3,4\n5,6\n", ["speed", "mass"], 3),
    "a title with commas": ("Sales, 2020, north\nregion,kind,units\nnorth,a,3\nsouth,b,4\n", None, 2),
    "lines of a report": ("Report:,Sales\nDate:,2020-01-01\n\nregion,kind,units\nnorth,a,3\nsouth,b,4\nwest,b,1\n", None, 3),
    "a total": ("region,kind,units\nnorth,a,3\nsouth,b,4\nGrand total:,,7\n", ["region", "kind", "units"], 2),
    "total as a category": ("kind,n\npartial,1\ntotal,2\npartial,3\ntotal,4\n", ["kind", "n"], 4),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_layouts(tmp_path: Path, name: str) -> None:
    text, names, rows = CASES[name]
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    table = read_table(tmp_path / "t.csv")
    assert table.rows == rows
    assert list(table.names) == (names or ["region", "kind", "units"])
    silent = {"years among names", "wavelengths", "a column of hashes", "total as a category"}
    assert bool(table.notices) == (name not in silent)


@pytest.mark.parametrize("last", ["7", "Jo", "7,8,9,10"])
def test_a_line_that_was_cut_short_is_no_remark(tmp_path: Path, last: str) -> None:
    (tmp_path / "t.csv").write_text(f"a,b,c\nann,2,3\nbob,5,6\n{last}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"line 4: [14] fields where 3 were expected"):
        read_table(tmp_path / "t.csv")


def test_a_value_in_the_field_after_the_last_delimiter_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n" + "1,2,\n" * 300 + "1,2,3\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 302: 3 fields where 2 were expected"):
        read_table(tmp_path / "t.csv")


def test_long_cells_marks_that_are_text_and_zero_bytes(tmp_path: Path) -> None:
    long = "word " * 60_000
    path = tmp_path / "t.csv"
    path.write_text(f'text,n\n"{long}, the end",1\n"{long}\n{long}",2\nshort,3\n', encoding="utf-8")
    table = read_table(path)
    assert [len(text) for text in table.frame["text"]] == [len(long) + 9, 2 * len(long), 5]
    path.write_text('text,n\n"abc,1\n' + "".join(f'{i}" pipe,{i}\n' for i in range(40)), encoding="utf-8")
    table = read_table(path)
    assert table.frame["text"].to_list() == ['"abc', *(f'{i}" pipe' for i in range(40))]
    assert any("read as part of the text" in notice for notice in table.notices)
    path.write_bytes(b"text,n\nab\0c,1\n" + b"x,2\n" * 2000)
    assert read_table(path).frame["text"][0] == "abc"
    assert read_table(path).notices == ("1 zero bytes were removed (the first in line 2)",)


def test_a_file_read_in_pieces_has_the_layout_of_its_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("danlu.data.convert._PIECE_BYTES", 200)
    rows = "".join(f"{i},x{i % 3},,{i / 4},\n" for i in range(90))
    (tmp_path / "t.csv").write_text(f"Sales\n\nn,word,gap,half\n{rows}\nSource: us\n", encoding="utf-8")
    notices = to_parquet(tmp_path / "t.csv", tmp_path / "t")
    whole = read_table(tmp_path / "t.csv").frame
    parts = read_table(sorted((tmp_path / "t").iterdir())[0]).frame
    assert parts.columns == whole.columns == ["n", "word", "gap", "half"]
    import polars as pl

    assert pl.read_parquet(tmp_path / "t").to_dicts() == whole.to_dicts()
    assert any("above the table" in notice for notice in notices)


@pytest.mark.parametrize(
    ("header", "row", "names"),
    [
        ("age,2019,2020", "{0},{1},0.{0}", ("age", "2019", "2020")),  # years that the values below reach
        ("name,2020-01,2020-02", "n{0},{1},{0}", ("name", "2020-01", "2020-02")),
        ("2020-01,2020-02", "{1},{0}", ("2020-01", "2020-02")),
    ],
)
def test_names_that_are_years_or_months(tmp_path: Path, header: str, row: str, names: tuple[str, ...]) -> None:
    lines = [header, *(row.format(i, 1900 + 10 * i) for i in range(30))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    table = read_table(tmp_path / "t.csv")
    assert (table.names, table.frame.height) == (names, 30)


def test_a_row_of_words_that_comes_again_and_again_is_no_header(tmp_path: Path) -> None:
    rows = [f"{'xyz'[i % 3]}n,{'ABC'[i % 3]}town" for i in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    assert read_table(tmp_path / "t.csv").frame.height == 40


def test_names_hold_no_signs_that_steer_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a\x1b[31mge,inc\x07ome,\u202eo\n" + "1,2,3\n" * 9)
    assert all(name.isprintable() for name in read_table(tmp_path / "t.csv").names)


def test_columns_that_look_alike_are_told_of_together(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,c\n" + "".join(f"'{i}','{i + 1}','{i + 2}'\n" for i in range(30)))
    assert sum("look like numbers" in notice for notice in read_table(tmp_path / "t.csv").notices) == 1


@pytest.mark.parametrize(("lines", "said"), [(",\n", "1 line has"), (",\n , \n", "2 lines have"), ("\n", "")])
def test_lines_of_delimiters_alone_are_no_rows_and_are_told(lines, said):
    found = parse_delimited(f"age,kind\n4,cat\n{lines}5,dog\n".encode(), source="pets.csv", missing=frozenset())[0]
    assert found.frame["age"].to_list() == ["4", "5"]
    notes = [note for note in found.notices if "delimiters and no value" in note]
    assert len(notes) == bool(said)
    assert all(note.startswith(said) for note in notes)
