"""Equal rows, texts and images go to one part, and the user is told; nothing is trained here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from danlu.data import read_table
from danlu.pipeline.config import config_from
from danlu.pipeline.domains import domain_of


def prepared(source, **settings):
    config = config_from(settings)
    return domain_of(config, source).prepare(config, source)


def wines() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {"acid": rng.random(300).round(3), "sugar": rng.random(300).round(3), "q": rng.integers(0, 3, 300)}
    )
    return pl.concat([frame, frame[:120]])


@pytest.mark.parametrize("folds", [1, 5])
def test_equal_rows_of_a_table(folds: int) -> None:
    found = prepared(wines(), data={"target": "q"}, split={"folds": folds})
    (note,) = (notice for notice in found.notices if "equal to another one" in notice)
    assert note.startswith(
        "57 % of the 420 rows are equal to another one (apart from the target); equal rows stay in one part"
    )
    train, test = (part[0]["numeric"] for part in (found.train, found.test))
    tested = {row.tobytes() for row in test}
    assert not tested & {row.tobytes() for row in train}
    if folds > 1:
        of_row: dict[bytes, set[int]] = {}
        for row, fold in zip(train, found.folds, strict=True):
            of_row.setdefault(row.tobytes(), set()).add(int(fold))
        assert all(len(own) == 1 for own in of_row.values())
    else:
        assert not {row.tobytes() for row in found.validation[0]["numeric"]} & (
            {row.tobytes() for row in train} | tested
        )


def test_equal_rows_where_the_user_divides_are_told_of(tmp_path: Path) -> None:
    frame = wines().with_columns(pl.Series("day", range(420)))
    found = prepared(frame, data={"target": "q", "drop": ["day"]}, split={"method": "time", "column": "day"})
    assert any("test rows are copies of training rows" in notice for notice in found.notices)
    found = prepared(wines(), data={"target": "q"}, split={"equal_rows": "anywhere"})
    assert any("test rows are copies of training rows" in notice for notice in found.notices)
    wines()[100:200].write_csv(tmp_path / "test.csv")
    found = prepared(wines(), data={"target": "q", "test": str(tmp_path / "test.csv")})
    assert any("of 100 test rows are copies of training rows" in notice for notice in found.notices)


def test_equal_texts() -> None:
    words = [f"word{i} and word{i * 7 % 31}" for i in range(100)]
    frame = {"text": [*words, *(f"  {text.upper()} " for text in words[:50])], "label": ["a", "b"] * 75}
    found = prepared(read_table(frame).frame, data={"text": "text", "target": "label"})
    assert any(
        notice.startswith("67 % of the 150 texts are equal to another one; equal texts") for notice in found.notices
    )
    parts = found.parts
    learnt = parts.found.rows(np.concatenate([parts.places[name] for name in ("train", "validation")]))
    plain = [{text.strip().lower() for text in part.texts} for part in (learnt, parts.tested)]
    assert len(plain[0]) > 60
    assert plain[1]
    assert not plain[0] & plain[1]


@pytest.mark.parametrize("stream", [None, True])
def test_equal_images(tmp_path: Path, stream: bool | None) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (40, 8, 8), np.uint8)
    for row, image in enumerate([*pixels, *pixels[:20]]):
        folder = tmp_path / "ab"[row % 2]
        folder.mkdir(exist_ok=True)
        Image.fromarray(image).save(folder / f"{row:02}.png")
    found = prepared(str(tmp_path), data={"stream": stream})
    assert any(notice.startswith("67 % of the 60 images are equal to another one") for notice in found.notices)
    train = found.train.arrays() if stream else found.train
    assert not {image.tobytes() for image in found.test[0]} & {image.tobytes() for image in train[0]}


def test_equal_rows_of_a_stream(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    frame = pl.DataFrame({"x": rng.random(4000), "z": rng.integers(0, 9, 4000), "y": rng.integers(0, 2, 4000)})
    frame = pl.concat([frame, frame[:1500]]).with_row_index("id").sample(fraction=1.0, shuffle=True, seed=0)
    frame.write_parquet(tmp_path / "t.parquet", row_group_size=500)
    found = prepared(str(tmp_path / "t.parquet"), data={"target": "y", "stream": True})
    assert any(notice.startswith("55 % of the 5,500 rows are equal to another one") for notice in found.notices)
    assert found.split == "drawn at random, equal rows kept in one part"
    parts = [found.train.arrays()[0], found.validation[0], found.test[0]]
    rows = [{row.tobytes() for row in part["numeric"]} for part in parts]
    assert sum(map(len, rows)) == 4000
    assert abs(len(found.test[1]) - 1100) < 200
    few = pl.DataFrame({"x": rng.integers(0, 2, 3000), "y": rng.integers(0, 2, 3000)})
    few.write_parquet(tmp_path / "few.parquet")
    found = prepared(str(tmp_path / "few.parquet"), data={"target": "y", "stream": True})
    assert any("equal rows are in several parts" in notice for notice in found.notices)
