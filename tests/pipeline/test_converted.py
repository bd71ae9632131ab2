"""A text file that is streamed: its Parquet copy, what is read from it, and when it is made anew."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from danlu.data import to_parquet
from danlu.errors import DataError
from danlu.pipeline import converted
from danlu.pipeline.config import config_from
from danlu.pipeline.converted import as_parquet
from danlu.pipeline.domains import domain_of


@pytest.fixture
def table(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "cache" / "xla"))
    rng = np.random.default_rng(0)
    lines = [f"{x:.3f};{c};{'yes' if x > 0 else 'no'}" for x, c in zip(rng.normal(size=600), "abc" * 200, strict=True)]
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["x;c;y", *lines, ""]))
    return path


def prepared(path: Path, **data):
    config = config_from({"data": {"source": str(path), "target": "y", **data}, "split": {"validation": 0.2}})
    return domain_of(config, str(path)).prepare(config, str(path))


def test_a_text_file_is_streamed_as_it_is_read_whole(table) -> None:
    streamed, whole = prepared(table, stream=True), prepared(table, stream=False)
    assert [(each.name, each.kind) for each in streamed.schema.columns] == [
        (each.name, each.kind) for each in whole.schema.columns
    ]
    assert sum(streamed.rows.values()) == 600
    assert streamed.inferred.task == "binary"
    assert any("is read in pieces, from a Parquet copy" in notice for notice in streamed.notices)


def test_the_copy_is_made_once_for_a_file_and_its_settings(table) -> None:
    first, _ = as_parquet(table, config_from({}).data)
    made = {part: part.stat().st_mtime_ns for part in first.iterdir()}
    again, _ = as_parquet(table, config_from({}).data)
    assert again == first
    assert {part: part.stat().st_mtime_ns for part in again.iterdir()} == made
    other, _ = as_parquet(table, config_from({"data": {"missing": ["a"]}}).data)
    assert other != first
    table.write_text(table.read_text() + "0.5;b;yes\n")
    changed, _ = as_parquet(table, config_from({}).data)
    assert changed not in (first, other)


def test_a_copy_without_use_is_removed_after_a_week(table) -> None:
    old, _ = as_parquet(table, config_from({}).data)
    used = old.with_suffix(".json")
    os.utime(used, (time.time() - 8 * 86400,) * 2)
    kept, _ = as_parquet(table, config_from({"data": {"missing": ["a"]}}).data)
    assert not old.exists()
    assert not used.exists()
    assert kept.exists()


def test_a_file_that_cannot_be_read_leaves_no_copy(table) -> None:
    table.write_text("x;y\n" + "1;2\n" * 30 + "1;2;3\n" + "1;2\n" * 30)
    with pytest.raises(DataError, match="line 32"):
        as_parquet(table, config_from({}).data)
    assert not list((table.parent / "cache" / "tables").iterdir())


def test_two_trainings_that_begin_together_share_one_copy(table, monkeypatch) -> None:
    written = []

    def slow(*args, **how):
        written.append(args)
        time.sleep(0.2)
        return to_parquet(*args, **how)

    monkeypatch.setattr(converted, "to_parquet", slow)
    with ThreadPoolExecutor() as pool:
        first, second = (each.result() for each in [pool.submit(as_parquet, table, config_from({}).data) for _ in "ab"])
    assert first == second
    assert len(written) == 1
