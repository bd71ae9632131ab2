"""Delimited text to Parquet, a piece at a time: the same table as reading the file whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from danlu.data import convert, open_stream, read_table, to_parquet
from danlu.errors import DataError


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "_PIECE_BYTES", 500)
    monkeypatch.setattr(convert, "_MOST_BYTES", 4000)


def _lines(rows: int = 200) -> list[str]:
    rng = np.random.default_rng(0)
    words = ["plain", '"a, comma"', '"two\nlines"', '"say ""hi"""', "", "?"]
    return [
        f"{i},{rng.normal():.3f},{words[rng.integers(6)]},{'NA' if rng.random() < 0.2 else rng.integers(9)},"
        f"2024-01-{i % 28 + 1:02},{'true' if i % 3 else 'false'}"
        for i in range(rows)
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_pieces_give_the_table_that_reading_it_whole_gives(tmp_path: Path, end: str) -> None:
    text = end.join(["row,x,word,count,day,flag", *_lines()]) + end
    (tmp_path / "t.csv").write_bytes(text.encode())
    assert to_parquet(tmp_path / "t.csv", tmp_path / "t") == ()
    assert len(list((tmp_path / "t").iterdir())) > 5
    written = pl.read_parquet(tmp_path / "t")
    whole = read_table(tmp_path / "t.csv").frame
    assert written.schema == whole.schema
    assert written.equals(whole, null_equal=True)
    assert open_stream(tmp_path / "t", target="flag").target.classes == ("false", "true")


def test_without_a_header_and_with_another_delimiter(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("".join(f"{i};{i / 2:.1f};a\n" for i in range(300)).replace(".", ","))
    to_parquet(tmp_path / "t.txt", tmp_path / "t")
    frame = pl.read_parquet(tmp_path / "t")
    assert frame.columns == ["c1", "c2", "c3"]
    assert frame["c2"].to_list() == [i / 2 for i in range(300)]


def test_types_that_only_a_later_piece_decides(tmp_path: Path) -> None:
    lines = ["a,b,c,d", *("1,1,1,3/4/2024" for _ in range(100)), *("2.5,word,x7,30/4/2024" for _ in range(100))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    to_parquet(tmp_path / "t.csv", tmp_path / "t")
    frame = pl.read_parquet(tmp_path / "t")
    assert frame["a"].to_list() == [1.0] * 100 + [2.5] * 100
    assert frame["b"].to_list() == ["1"] * 100 + ["word"] * 100
    assert frame["c"].to_list() == ["1"] * 100 + ["x7"] * 100
    assert {day.month for day in frame["d"]} == {4}


def test_a_stray_text_among_numbers_is_missing_and_told(tmp_path: Path) -> None:
    lines = ["a,b", *(f"{i * 1.5},x" for i in range(300))]
    lines[150] = "oops,x"
    (tmp_path / "t.csv").write_text("\n".join(lines))
    assert to_parquet(tmp_path / "t.csv", tmp_path / "t") == (
        "column a: 1 values do not fit its type and become missing",
    )
    assert pl.read_parquet(tmp_path / "t")["a"].null_count() == 1


def test_other_encodings_are_named_by_the_caller(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("名,y\n好,1\n坏,0\n".encode("gb18030"))
    with pytest.raises(DataError, match="cannot be read as utf-8-sig"):
        to_parquet(tmp_path / "t.csv", tmp_path / "t")
    to_parquet(tmp_path / "t.csv", tmp_path / "t", encoding="gb18030")
    assert pl.read_parquet(tmp_path / "t").columns == ["名", "y"]
    with pytest.raises(DataError, match="unknown encoding"):
        to_parquet(tmp_path / "t.csv", tmp_path / "u", encoding="klingon")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        ("\n".join(["a,b", *["1,2"] * 200, "1,2,3", *["1,2"] * 200]).encode(), "line 202: 3 fields where 2"),
        (b'a,b\n1,"2\n' + b"3,4\n" * 2000, "a row of more than|never closed"),
    ],
)
def test_a_file_that_cannot_be_read_leaves_nothing_behind(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        to_parquet(tmp_path / "t.csv", tmp_path / "t")
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_a_folder_that_exists_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    with pytest.raises(DataError, match="exists already"):
        to_parquet(tmp_path / "t.csv", tmp_path / "t")
    with pytest.raises(DataError, match="there is no file"):
        to_parquet(tmp_path / "t.csv", tmp_path / "u")
