"""Reading: whatever the file or object, the same table; whatever is wrong, one error that says where."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.data import read_table
from danlu.data.parquet import ParquetRows
from danlu.errors import ConfigError, DataError

ROWS = [("Ada", "36", "1.5", "true"), ("Bo, Jr", "", "-2", "false"), ("Cleo", "7", "1e3", "true")]
NAMES = ("name", "age", "size", "flag")
EXPECTED = {
    "name": ["Ada", "Bo, Jr", "Cleo"],
    "age": [36, None, 7],
    "size": [1.5, -2.0, 1000.0],
    "flag": [True, False, True],
}


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def delimited(delimiter: str, *, header: bool = True, end: str = "\n") -> str:
    rows = [NAMES, *ROWS] if header else ROWS
    quoted = ([f'"{cell}"' if delimiter in cell or "," in cell else cell for cell in row] for row in rows)
    return end.join(delimiter.join(row) for row in quoted) + end


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_delimiter_and_the_line_ends_are_found(tmp_path: Path, delimiter: str, end: str) -> None:
    table = read_table(write(tmp_path / "t.csv", delimited(delimiter, end=end)))
    assert table.frame.to_dict(as_series=False) == EXPECTED
    assert table.notices == ()
    assert table.line_offset == 2


def test_a_delimiter_of_ones_own(tmp_path: Path) -> None:
    path = write(tmp_path / "t.txt", "a^b\n1^2\n")
    assert read_table(path, delimiter="^").frame.to_dict(as_series=False) == {"a": [1], "b": [2]}


def test_spaces_delimit_and_pad(tmp_path: Path) -> None:
    path = write(tmp_path / "t.data", "18.0   8   307.0\n15.0   8   350.0\n11.0   6   318.0 \n")
    assert read_table(path).frame.to_dict(as_series=False) == {
        "c1": [18.0, 15.0, 11.0],
        "c2": [8, 8, 6],
        "c3": [307.0, 350.0, 318.0],
    }


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ('"a, b"', "a, b"),
        ('"say ""hi"""', 'say "hi"'),
        ('"two\nlines"', "two\nlines"),
        (' "padded" ', "padded"),
        ("it's", "it's"),
        ('""', None),
    ],
)
def test_quotes(tmp_path: Path, cell: str, expected: str | None) -> None:
    path = write(tmp_path / "t.csv", f"x,text,y\n1,{cell},2\n3,plain,4\n")
    assert read_table(path).frame["text"].to_list() == [expected, "plain"]


def test_another_quote_character(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "x,y\n'a, b',1\nc,2\n")
    assert read_table(path, quote="'").frame["x"].to_list() == ["a, b", "c"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "gb18030", "cp1252", "latin-1"])
def test_the_encoding_is_found_or_given(tmp_path: Path, encoding: str) -> None:
    city = "北京" if encoding.startswith(("utf", "gb")) else "Zürich"
    text = "city,n\n" + f"{city},1\n中国,2\n".replace("中国", city) * 20
    path = write(tmp_path / "t.csv", text, encoding)
    table = read_table(path, encoding="utf-16-le" if encoding == "utf-16-le" else None)
    assert set(table.frame["city"]) == {city}
    assert table.names == ("city", "n")
    assert bool(table.notices) == (encoding in ("gb18030", "cp1252", "latin-1"))


def test_an_encoding_that_does_not_fit(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "a,b\né,1\n", "latin-1")
    with pytest.raises(DataError, match="cannot be read as utf-8"):
        read_table(path, encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read as klingon"):
        read_table(path, encoding="klingon")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("39,Private\n50,Self\n38,Private\n", ("c1", "c2")),
        ("age,work\n50,Self\n38,Private\n", ("age", "work")),
        ("red,small\nblue,large\nred,large\ngreen,small\n", ("c1", "c2")),
        ("2020,2021\n1,2\n3,4\n", ("c1", "c2")),
    ],
)
def test_whether_there_is_a_header_is_worked_out(tmp_path: Path, text: str, names: tuple[str, ...]) -> None:
    assert read_table(write(tmp_path / "t.csv", text)).names == names


def test_whether_there_is_a_header_can_be_said(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "2020,2021\n1,2\n3,4\n")
    assert read_table(path, header=True).names == ("2020", "2021")
    assert read_table(path, header=False).rows == 3
    with pytest.raises(ConfigError, match="header is 'maybe'; expected True, False or 'auto'"):
        read_table(path, header="maybe")


@pytest.mark.parametrize("mark", ["", "?", "NA", "n/a", "NULL", "NaN", "<NA>", " ? ", "#N/A", "NaT"])
def test_marks_of_missing_values(tmp_path: Path, mark: str) -> None:
    path = write(tmp_path / "t.csv", f"x,s,y\n1,a,1\n{mark},{mark},1\n3,b,1\n")
    assert read_table(path).frame.select("x", "s").to_dict(as_series=False) == {
        "x": [1, None, 3],
        "s": ["a", None, "b"],
    }


def test_rows_without_a_single_value_are_left_out(tmp_path: Path) -> None:
    assert read_table(write(tmp_path / "t.csv", "x,s\n1,a\n,\n\n , \n3,b\n")).rows == 2


def test_marks_of_ones_own(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "x,s\n1,a\n-999,?\n3,b\n")
    frame = read_table(path, missing=["-999"]).frame
    assert frame.to_dict(as_series=False) == {"x": [1, None, 3], "s": ["a", "?", "b"]}


def test_marks_of_ones_own_that_no_cell_holds(tmp_path: Path) -> None:
    for source in (write(tmp_path / "t.csv", "a,b\n1,Foo\n-9.0,bar\n"), {"a": [1, -9], "b": ["Foo ", "bar"]}):
        assert not read_table(source, missing=["", "?", "foo", -9]).notices
        assert read_table(source, missing=["fo", -8]).notices == (
            "data.missing has 'fo', which no cell holds",
            "data.missing has '-8', which no cell holds",
        )
        assert read_table(source, missing={"a": ["foo"], "b": ["foo"]}).notices == (
            "data.missing has 'foo' for column 'a', and no cell of it holds that",
        )


@pytest.mark.parametrize("ending", ["csv", "parquet", "arrow", "jsonl", "json"])
def test_names_of_columns_are_printable(tmp_path: Path, ending: str) -> None:
    frame, path = pl.DataFrame({"a\tb\x1b c": [1, 2], "y": [3, 4]}), tmp_path / f"t.{ending}"
    {"csv": frame.write_csv, "parquet": frame.write_parquet, "arrow": frame.write_ipc, "jsonl": frame.write_ndjson}.get(
        ending, frame.write_json
    )(path)
    found = read_table(path)
    assert found.names == ("a b c", "y")
    assert "control characters in column names" in found.notices[0]
    if ending == "parquet":
        rows = ParquetRows(path)
        assert rows.notices == found.notices
        assert rows.read(0, 2, columns=["y", "a b c"]).to_dict(as_series=False) == {"y": [3, 4], "a b c": [1, 2]}


def test_columns_with_the_same_name(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "t.csv", "a,b,a,,a_2\n1,2,3,4,5\n"), header=True)
    assert len(set(table.names)) == 5
    assert table.names[:2] == ("a", "b")
    assert "duplicate column names were changed" in table.notices[0]
    assert table.notices[1].startswith("columns without a name were called ")


def test_types_of_columns(tmp_path: Path) -> None:
    columns = {
        "whole": ["1", "-2", "+3"],
        "zip": ["01234", "99999", "00001"],
        "huge": ["123456789012345678901", "1", "2"],
        "number": ["1,234.5", "2", "1e-3"],
        "date": ["2024-12-31", "2023-01-01", ""],
        "moment": ["2024-12-31T10:00:00Z", "2024-12-31T10:00:00+02:00", "2024-01-01T00:00:00Z"],
        "european": ["31.12.2024", "01.02.2024", "03.04.2024"],
        "word": ["x", "1", "2"],
        "yes": ["True", "FALSE", "true"],
    }
    frame = read_table(columns).frame
    kinds = {name: str(dtype) for name, dtype in frame.schema.items()}
    assert kinds["whole"] == "Int64"
    assert kinds["zip"] == kinds["word"] == "String"
    assert kinds["number"] == "Float64"
    assert kinds["yes"] == "Boolean"
    assert frame["number"].to_list() == [1234.5, 2.0, 0.001]
    assert [day.month for day in frame["european"]] == [12, 2, 4]
    assert frame["moment"].dt.hour().to_list() == [10, 8, 0]
    assert frame["date"].dtype == pl.Datetime("us")


def test_a_decimal_comma(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "x;y\n1,5;1.234,5\n2,25;7\n")
    assert read_table(path).frame.to_dict(as_series=False) == {"x": [1.5, 2.25], "y": [1234.5, 7.0]}


def test_a_stray_text_among_numbers_is_missing_and_told(tmp_path: Path) -> None:
    lines = ["x,y", *(f"{i},1" for i in range(60))]
    lines[31] = "n.a.,1"
    table = read_table(write(tmp_path / "t.csv", "\n".join(lines)))
    assert table.frame["x"].null_count() == 1
    assert "column x: 1 of 60 value is not a number and was read as missing: 'n.a.' (line 32)" in table.notices


# --- what is wrong is said once, with the place ---


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"  \n\n ", "is empty"),
        (b"a,b\n", "a header line and no rows"),
        (b"a,b\n1,2\n1,2,3\n4,5\n", "line 3: 3 fields where 2 were expected: '1,2,3'"),
        (b"\n\na,b\n1,2\n1\n4,5\n", "line 5: 1 fields where 2 were expected"),
        (b'a,b\n1,"2\n3,4\n', "line 2: a quote is opened and never closed"),
        (b"a,b,c\n1,2\n3,4\n5,6\n7,8\n", None),
        (bytes(range(256)) * 20, "not a text file"),
        (b"\x93NUMPY\x01\x00" + b"1,2\n" * 10, "an array of NumPy"),
        (b"\x1f\x8b" + b"junk" * 10, "cannot be unpacked"),
        (b"PAR1" + b"junk" * 10, "cannot be read as parquet"),
        (b"ARROW1" + b"junk" * 10, "cannot be read as arrow"),
        (b"PK\x03\x04" + b"junk" * 10, "cannot be read as excel"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, content: bytes, message: str | None) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    if message is None:  # one name less than fields is R's row-name column; one more is an error
        message = "the header line has 3 names, the lines below it have 2 fields"
    with pytest.raises(DataError, match=message) as caught:
        read_table(path)
    assert "t.csv" in str(caught.value)


def test_a_line_that_is_too_short_is_found_in_a_long_file(tmp_path: Path) -> None:
    lines = ["a,b,c", *("1,2,3" for _ in range(5000))]
    lines[4000] = "1,2"
    with pytest.raises(DataError, match="line 4001: 2 fields where 3 were expected"):
        read_table(write(tmp_path / "t.csv", "\n".join(lines)))


def test_an_r_file_lacks_the_name_of_the_row_names(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", 'speed,dist\n"1",4,2\n"2",7,4\n')
    assert read_table(path).frame.to_dict(as_series=False) == {"row": [1, 2], "speed": [4, 7], "dist": [2, 4]}


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    write(tmp_path / "titanic.csv", "a\n1\n")
    with pytest.raises(DataError, match=r"there is no file .*titanik\.csv\nHint: did you mean .*titanic\.csv"):
        read_table(tmp_path / "titanik.csv")
    with pytest.raises(DataError, match="is a folder; expected a file"):
        read_table(tmp_path)
    with pytest.raises(DataError, match="there is no folder"):
        read_table(tmp_path / "nowhere" / "t.csv")


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "t.csv", "a,b\n1,2\n")
    if os.geteuid() == 0:  # root may read everything: the system's answer is played

        def refuse(*args: object, **kwargs: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
    else:
        path.chmod(0)
    with pytest.raises(DataError, match=r"t\.csv cannot be opened: Permission denied"):
        read_table(path)


# --- other formats, and objects in memory ---


def typed() -> pl.DataFrame:
    return pl.DataFrame({"name": ["Ada", " ", None], "n": [1, None, 3], "x": [0.5, float("nan"), 2.0]})


TYPED = {"name": ["Ada", None, None], "n": [1, None, 3], "x": [0.5, None, 2.0]}


@pytest.mark.parametrize("ending", ["parquet", "arrow", "jsonl", "json", "dat"])
def test_typed_files(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"t.{ending}"
    if ending == "jsonl":
        typed().write_ndjson(path)
    elif ending == "json":
        typed().write_json(path)
    elif ending == "arrow":
        typed().write_ipc(path)
    else:  # a Parquet file is known by its first bytes, whatever its name
        typed().write_parquet(path)
    assert read_table(path).frame.to_dict(as_series=False) == TYPED


@pytest.mark.parametrize(("pack", "ending"), [(gzip.compress, "gz"), (bz2.compress, "bz2"), (lzma.compress, "xz")])
def test_packed_files(tmp_path: Path, pack, ending: str) -> None:
    path = tmp_path / f"t.csv.{ending}"
    path.write_bytes(pack(delimited(",").encode()))
    assert read_table(path).frame.to_dict(as_series=False) == EXPECTED
    path.write_bytes(pack(delimited(",").encode())[:-10])
    with pytest.raises(DataError, match="cannot be unpacked"):
        read_table(path)


def test_excel(tmp_path: Path) -> None:
    pytest.importorskip("fastexcel")
    pytest.importorskip("xlsxwriter", reason="nothing here writes Excel files")
    typed().write_excel(tmp_path / "t.xlsx")
    assert read_table(tmp_path / "t.xlsx").frame["n"].to_list() == [1, None, 3]


def test_frames_of_other_libraries() -> None:
    pandas, pyarrow = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    assert read_table(typed()).frame.to_dict(as_series=False) == TYPED
    assert read_table(typed().lazy()).frame.to_dict(as_series=False) == TYPED
    assert read_table(typed().to_arrow()).frame.to_dict(as_series=False) == TYPED
    frame = pandas.DataFrame(
        {
            "name": ["Ada", " ", None],
            "mixed": ["1", 2, 3.5],
            "category": pandas.Categorical(["a", "b", "a"]),
            "when": pandas.to_datetime(["2024-01-01", None, "2024-01-03"]),
            "n": pandas.array([1, None, 3], dtype="Int64"),
        },
        index=[5, 5, 7],
    )
    found = read_table(frame).frame
    assert found["name"].to_list() == ["Ada", None, None]
    assert found["mixed"].to_list() == [1.0, 2.0, 3.5]
    assert found["category"].to_list() == ["a", "b", "a"]
    assert found["when"].null_count() == 1
    assert found["n"].to_list() == [1, None, 3]
    assert read_table(pyarrow.table({"x": [1, 2]})).names == ("x",)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([[1, 2], [3, 4]], np.int16), {"c1": [1, 3], "c2": [2, 4]}),
        (np.array([[1.5, np.nan]], np.float16), {"c1": [1.5], "c2": [None]}),
        (np.array([[True], [False]]), {"c1": [True, False]}),
        (np.array([["a", "1"], ["", "2"]], object), {"c1": ["a", None], "c2": [1, 2]}),
        (np.array([(1, "x")], [("n", "i4"), ("s", "U1")]), {"n": [1], "s": ["x"]}),
        (np.ma.masked_equal([[1, 9], [9, 2]], 9), {"c1": [1, None], "c2": [None, 2]}),
        (np.asfortranarray(np.eye(2))[::-1], {"c1": [0.0, 1.0], "c2": [1.0, 0.0]}),
    ],
)
def test_arrays(array: np.ndarray, expected: dict) -> None:
    assert read_table(array).frame.to_dict(as_series=False) == expected


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros(3), r"shape \(3,\); expected two dimensions"),
        (np.zeros((2, 2), complex), "complex numbers"),
        (np.zeros((0, 2)), "0 rows and 2 columns"),
        ({}, "0 rows and 0 columns"),
        ({"a": [1, 2], "b": [1]}, "cannot be read as a table"),
        (pl.DataFrame({"a": [[1], [2]]}), "column 'a' of .* holds List"),
        (pl.DataFrame({"a": [{"b": 1}]}), "holds Struct"),
        (42, "a int is not a table danlu knows"),
        (["a", "b"], "a list is not a table danlu knows"),
        (None, "a NoneType is not a table danlu knows"),
    ],
)
def test_objects_that_are_no_tables(source: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_table(source)


def test_names_and_columns_are_chosen() -> None:
    data = {"a": [1], "b": [2], "c": [3]}
    assert read_table(data, names=["x", "y", "z"], columns=["z", "x"]).names == ("z", "x")
    with pytest.raises(DataError, match="2 names were given for the 3 columns"):
        read_table(data, names=["x", "y"])
    with pytest.raises(DataError, match="unknown column of the dict given: 'aa'"):
        read_table(data, columns=["aa"])


@given(
    st.lists(
        st.tuples(st.text("ab, ;\"\n'é中0.-", min_size=1, max_size=6), st.integers(-99, 99)), min_size=2, max_size=8
    )
)
def test_what_a_csv_writer_writes_is_read_back(rows: list[tuple[str, int]]) -> None:
    import csv
    import tempfile

    rows = [("x" + text.strip() + "x", number) for text, number in rows]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "t.csv")
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("text", "number"), *rows])
        frame = read_table(path, header=True, delimiter=",").frame
    assert frame["text"].to_list() == [text.replace("\r", "\n") for text, _ in rows]
    assert frame["number"].to_list() == [number for _, number in rows]
