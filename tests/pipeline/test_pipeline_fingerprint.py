"""A run goes on with the data it was started with, wherever it is resumed from; nothing is trained here."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from danlu.artifact import RunDirectory
from danlu.errors import ConfigError, DataError
from danlu.pipeline.config import config_from
from danlu.pipeline.domains import domain_of
from danlu.pipeline.fingerprint import check_unchanged, data_of, fingerprint, located


def begin(root: Path, source, **settings) -> RunDirectory:
    """The run's folder as training begins it."""
    data = {"source": str(source) if isinstance(source, str | Path) else "table"}
    config = config_from({**settings, "data": {**data, **settings.get("data", {})}})
    given = config.data.source if isinstance(source, str | Path) else source
    domain = domain_of(config, given)
    files = {"source.json": data_of(config, given, domain)}
    return RunDirectory.create(root / "runs", name="a", config=located(config, domain).as_dict(), files=files)


def resume(run: RunDirectory, source=None) -> None:
    config = config_from(run.read_json("config.json"))
    check_unchanged(run, config, config.data.source if source is None else source, domain_of)


def table(path: Path, rows: int = 9) -> Path:
    pl.DataFrame({"x": range(rows), "y": ["a", "b", "c"] * (rows // 3)}).write_csv(path)
    return path


def picture(path: Path, shade: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 4), shade, np.uint8)).save(path.with_suffix(".bmp"))  # every shade has as many bytes
    return path.with_suffix(".bmp")


def test_a_relative_path_is_found_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "away").mkdir()
    table(tmp_path / "home" / "t.csv")
    table(tmp_path / "home" / "test.csv", rows=3)
    monkeypatch.chdir(tmp_path / "home")
    run = begin(tmp_path, "t.csv", data={"target": "y", "test": "test.csv"})
    monkeypatch.chdir(tmp_path / "away")
    resume(run)
    config = run.read_json("config.json")
    assert config["data"]["source"] == str(tmp_path / "home" / "t.csv")
    assert config["data"]["test"] == str(tmp_path / "home" / "test.csv")


def test_the_test_file_belongs_to_it(tmp_path: Path) -> None:
    run = begin(tmp_path, table(tmp_path / "t.csv"), data={"target": "y", "test": str(table(tmp_path / "u.csv", 3))})
    resume(run)
    table(tmp_path / "u.csv", 6)
    with pytest.raises(ConfigError, match=r"u\.csv is not what the run .* was started with"):
        resume(run)


def test_a_file_that_was_moved_is_not_found_and_can_be_named_anew(tmp_path: Path) -> None:
    run = begin(tmp_path, table(tmp_path / "t.csv"), data={"target": "y"})
    shutil.move(tmp_path / "t.csv", tmp_path / "new.csv")
    with pytest.raises(
        DataError, match=r"t\.csv, which the run .* was started with, is not found\nHint: put it back, or say"
    ):
        resume(run)
    resume(run, source=tmp_path / "new.csv")
    table(tmp_path / "new.csv", 6)
    with pytest.raises(ConfigError, match=r"new\.csv is not what the run"):
        resume(run, source=tmp_path / "new.csv")


def test_the_bytes_of_each_picture_belong_to_it(tmp_path: Path) -> None:
    for label, shade in (("cat", 10), ("dog", 200)):
        picture(tmp_path / "photos" / label / "0", shade)
    run = begin(tmp_path, tmp_path / "photos")
    (tmp_path / "photos" / ".DS_Store").write_bytes(b"x")
    resume(run)
    picture(tmp_path / "photos" / "cat" / "0", 11)
    with pytest.raises(ConfigError, match="photos is not what the run"):
        resume(run)
    picture(tmp_path / "photos" / "cat" / "0", 10)
    resume(run)
    shutil.move(tmp_path / "photos" / "cat" / "0.bmp", tmp_path / "photos" / "cat" / "1.bmp")
    with pytest.raises(ConfigError, match="photos is not what the run"):
        resume(run)


@pytest.mark.parametrize("kind", ["classes", "labels", "boxes"])
def test_pictures_that_a_table_names_belong_to_it(tmp_path: Path, kind: str) -> None:
    lines = {
        "classes": "file,y\na.bmp,cat\nb.bmp,dog\n",
        "labels": "file,y\na.bmp,cat|dog\nb.bmp,dog\n",
        "boxes": "file,label,x0,y0,x1,y1\na.bmp,cat,0,0,2,2\nb.bmp,dog,1,1,3,3\n",
    }
    (tmp_path / "t.csv").write_text(lines[kind])
    for name, shade in (("a", 10), ("b", 200)):
        picture(tmp_path / name, shade)
    settings = {
        "classes": {"target": "y", "image_column": "file"},
        "labels": {"target": "y", "task": "multilabel"},
        "boxes": {},
    }
    run = begin(tmp_path, tmp_path / "t.csv", data=settings[kind])
    resume(run)
    picture(tmp_path / "b", 201)
    with pytest.raises(ConfigError, match=r"t\.csv is not what the run"):
        resume(run)


def test_a_recording_belongs_to_it_and_an_environment_is_no_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "CartPole-v1.gif").write_bytes(b"a film")
    (tmp_path / "steps.npz").write_bytes(b"steps")
    run = begin(tmp_path, "CartPole-v1", agent={"data": "steps.npz"})
    assert run.read_json("config.json")["data"]["source"] == "CartPole-v1"
    (tmp_path / "CartPole-v1.gif").write_bytes(b"another film")
    monkeypatch.chdir("/")
    resume(run)
    (tmp_path / "steps.npz").write_bytes(b"stops")
    with pytest.raises(ConfigError, match=r"steps\.npz is not what the run"):
        resume(run)


def test_data_in_memory_is_known_by_its_values(tmp_path: Path) -> None:
    frame = pl.DataFrame({"x": [1.0, 2.0, 3.0], "y": ["a", "b", "a"]})
    run = begin(tmp_path, frame, data={"target": "y"})
    resume(run, source=frame.clone())
    resume(run, source=frame.to_dict(as_series=False))
    with pytest.raises(ConfigError, match=r"given \(a DataFrame\) is not what the run"):
        resume(run, source=frame.with_columns(x=pl.Series([1.0, 2.0, 4.0])))
    with pytest.raises(ConfigError, match=r"was trained on data in memory\nHint: give it again"):
        resume(run)
    arrays = {"x": np.zeros((3, 4, 2)), "y": np.arange(3)}
    assert fingerprint(arrays) == fingerprint({name: array.copy() for name, array in arrays.items()})
    assert fingerprint(arrays) != fingerprint(arrays | {"y": np.arange(3) + 1})


def test_runs_of_earlier_versions_go_on(tmp_path: Path) -> None:
    run = begin(tmp_path, table(tmp_path / "t.csv"), data={"target": "y"})
    run.write_json("source.json", {"sha256": fingerprint(tmp_path / "t.csv")})
    resume(run)
    table(tmp_path / "t.csv", 6)
    with pytest.raises(ConfigError, match=r"t\.csv is not what the run"):
        resume(run)
    run.write_json("source.json", {"sha256": None})
    resume(run)
