"""Columns that name files: how paths are written, and what is said where the files are not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from danlu.data.describe import infer_schema, told_of
from danlu.data.media import files_named, found_media, located
from danlu.errors import DataError
from danlu.pipeline.config import config_from
from danlu.pipeline.pairs import PairedRows


def test_paths_that_windows_wrote_are_found(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    names = [f"photos\\{row}.png" for row in range(4)]
    for row in range(4):
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "photos" / f"{row}.png")
    frame = pl.DataFrame({"photo": names})
    frame.write_csv(tmp_path / "t.csv")
    paths = [str(tmp_path / "photos" / f"{row}.png") for row in range(4)]
    assert found_media(frame, tmp_path)["photo"][0] == "image"
    found, lost = located(frame, {"photo": "image"}, tmp_path)
    assert found["photo"].to_list() == paths
    assert not lost
    assert [str(path) for path in files_named(tmp_path / "t.csv", None, {})] == paths


def test_files_that_are_not_there_are_told_and_are_no_captions(tmp_path: Path) -> None:
    rows = {"photo": [f"https://example.org/{n}.png" for n in range(20)], "about": [f"word {n}" for n in range(20)]}
    frame = pl.DataFrame({**rows, "n": [1.5, 2.5, 3.5, 4.5] * 5, "y": ["a", "b"] * 10})
    [said] = told_of(frame, infer_schema(frame, target="y"))
    assert said.startswith("column photo is written as names of pictures, of which too few are there")
    frame.write_csv(tmp_path / "t.csv")
    config = config_from({"data": {"source": str(tmp_path / "t.csv")}, "pair": {"columns": "photo:about"}})
    with pytest.raises(DataError, match="not one of the 20 files that it names can be read"):
        PairedRows().prepare(config, config.data.source)
