"""Tables in chunks: the same rows, split, encoding and order as the rule says, whatever the files look like."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import polars as pl
import pytest

import danlu
from danlu.data import TableEncoder, TargetEncoder, open_stream, read_table
from danlu.data.parquet import ParquetRows
from danlu.data.partition import Partition
from danlu.engine import LambdaCallback
from danlu.errors import ConfigError, DataError
from danlu.nn import MLP, Parallel


def table(rows: int = 1000, *, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "number": np.arange(rows, dtype=np.float64),
            "gap": pl.Series(rng.normal(size=rows)).set(pl.Series(rng.random(rows) < 0.1), None),
            "city": rng.choice(["Bern", "Oslo", " ", "Rome"], rows),
            "day": pl.Series(rng.integers(0, 20_000, rows)).cast(pl.Date),
            "group": rng.integers(0, 40, rows),
            "y": rng.choice(["no", "yes"], rows, p=[0.7, 0.3]),
        }
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("stream") / "table.parquet"
    table().write_parquet(file, row_group_size=300)
    return file


@pytest.fixture(scope="module")
def stream(path: Path):
    return open_stream(path, target="y", chunk_rows=64)


@pytest.fixture(scope="module")
def encoder(stream) -> TableEncoder:
    return TableEncoder.fit(stream.sample, stream.schema)


def _numbers(stream, part: str, **options) -> list[float]:
    return [n for frame in stream.frames(part, **options) for n in frame["number"].to_list()]


def test_parts_are_disjoint_and_cover_the_table(stream) -> None:
    parts = [_numbers(stream, part) for part in ("train", "validation", "test")]
    assert sorted(n for part in parts for n in part) == list(range(1000))
    assert [len(part) for part in parts] == list(stream.rows.values())
    assert all(part == sorted(part) for part in parts)
    assert stream.rows["train"] == pytest.approx(650, abs=60)
    assert stream.rows["test"] == pytest.approx(200, abs=50)


@pytest.mark.parametrize("epoch", [0, 1, 7])
def test_an_epoch_visits_each_training_row_once_in_chunks_of_one_size(stream, encoder, epoch: int) -> None:
    chunks = list(stream.train(encoder).chunks(epoch, 0))
    sizes = [len(chunk["y"]) for chunk in chunks]
    assert set(sizes[:-1]) == {64}
    assert 0 < sizes[-1] <= 64
    assert len(sizes) == stream.train(encoder).num_chunks
    assert sorted(_numbers(stream, "train", epoch=epoch, shuffle=True)) == _numbers(stream, "train")


def test_epochs_differ_and_repeat(stream, path: Path) -> None:
    first, second = (_numbers(stream, "train", epoch=epoch, shuffle=True) for epoch in (0, 1))
    assert first != second
    again = open_stream(path, target="y", chunk_rows=64)
    assert _numbers(again, "train", epoch=1, shuffle=True) == second
    other = open_stream(path, target="y", chunk_rows=64, seed=1)
    assert _numbers(other, "train") != _numbers(stream, "train")


@pytest.mark.parametrize("start", [1, 2, 5, 10])
def test_a_resumed_epoch_goes_on_with_the_same_chunks(stream, encoder, start: int) -> None:
    whole = list(stream.train(encoder).chunks(3, 0))[start:]
    rest = list(stream.train(encoder).chunks(3, start))
    assert len(whole) == len(rest) > 0
    for left, right in zip(whole, rest, strict=True):
        for name in ("numeric", "categorical"):
            np.testing.assert_array_equal(left["x"][name], right["x"][name])
        np.testing.assert_array_equal(left["y"], right["y"])


def test_values_are_those_of_the_table_in_memory(stream, path: Path) -> None:
    whole = read_table(path).frame
    rows = np.asarray(_numbers(stream, "train"), np.int64)
    frame = whole[rows]
    expected = TableEncoder.fit(frame, stream.schema)
    encoder = TableEncoder.fit(stream.sample, stream.schema)
    assert expected.state()[0] == encoder.state()[0]
    x, y = stream.train(encoder).arrays()
    for name, array in expected.transform(frame).items():
        np.testing.assert_array_equal(x[name], array)
    np.testing.assert_array_equal(y, TargetEncoder.fit(whole["y"]).transform(frame["y"]))
    assert stream.target == TargetEncoder.fit(whole["y"])


def test_a_chunk_mixes_rows_from_several_places(tmp_path: Path) -> None:
    pl.DataFrame({"number": range(20_000), "y": [0, 1] * 10_000}).write_parquet(tmp_path / "t.parquet")
    stream = open_stream(tmp_path / "t.parquet", target="y", chunk_rows=1000)
    chunk = next(stream.frames("train", shuffle=True))["number"].to_numpy()
    assert len(np.unique(chunk // 2000)) >= 3


def test_rows_without_a_target_weigh_nothing(tmp_path: Path) -> None:
    frame = table().with_columns(
        y=pl.when(pl.col("number") < 250).then(pl.lit(" ")).when(pl.col("number") < 500).then(None).otherwise("y")
    )
    frame.write_parquet(tmp_path / "t.parquet")
    stream = open_stream(tmp_path / "t.parquet", target="y", chunk_rows=128)
    assert any("500 of 1000 rows have no value for the target y" in notice for notice in stream.notices)
    encoder = TableEncoder.fit(stream.sample, stream.schema)
    assert stream.sample["number"].min() == 500
    weights = np.concatenate([chunk["weight"] for chunk in stream.train(encoder).chunks(0, 0)])
    assert len(weights) == stream.rows["train"]
    assert weights.sum() == stream.sample.height
    assert len(stream.validation(encoder).arrays()[1]) < stream.rows["validation"]


def test_a_quantity_is_standardised_by_all_training_rows(path: Path) -> None:
    stream = open_stream(path, target="gap", sample_rows=100)
    assert stream.inferred.task == "regression"
    assert stream.sample.height <= 100
    values = pl.concat(stream.frames("train"))["gap"].drop_nulls().to_numpy()
    assert stream.target.mean == pytest.approx(values.mean(), rel=1e-12)
    assert stream.target.std == pytest.approx(values.std(), rel=1e-12)


def test_classes_outside_the_sample_are_known(tmp_path: Path) -> None:
    y = pl.Series("y", ["a", "b"] * 5000 + ["c"] * 4)
    pl.DataFrame({"x": range(10_004), "y": y}).write_parquet(tmp_path / "t.parquet")
    stream = open_stream(tmp_path / "t.parquet", target="y", sample_rows=50, chunk_rows=1000, kinds={"x": "numeric"})
    assert stream.target.classes == ("a", "b", "c")


def test_the_sample_is_spread_over_the_table(tmp_path: Path) -> None:
    pl.DataFrame({"x": range(50_000), "y": [0, 1] * 25_000}).write_parquet(tmp_path / "t.parquet")
    stream = open_stream(tmp_path / "t.parquet", target="y", sample_rows=1000, chunk_rows=2000, kinds={"x": "numeric"})
    assert 900 <= stream.sample.height <= 1000
    counts = np.bincount(stream.sample["x"].to_numpy() // 5000, minlength=10)
    assert counts.min() > 50
    assert set(stream.sample["x"].to_list()) <= {int(n) for f in stream.frames("train") for n in f["x"]}
    assert "a sample of" in stream.notices[-1]


def test_part_of_a_part_in_memory(stream, encoder) -> None:
    x, y = stream.train(encoder).arrays(limit=100)
    assert len(y) == len(x["numeric"]) == 100
    assert len(stream.train(encoder).arrays(limit=10_000)[1]) == stream.rows["train"]


# --- how rows are dealt out ---


def test_groups_stay_together(path: Path) -> None:
    stream = open_stream(path, target="y", method="group", column="group", drop=["city"])
    groups = [set(pl.read_parquet(path)[_rows(stream, part)]["group"]) for part in stream.rows]
    assert all(groups)
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]
    assert "group" not in [column.name for column in stream.schema.features]


def _rows(stream, part: str) -> np.ndarray:
    return np.asarray(_numbers(stream, part), np.int64)


def test_time_is_in_order(path: Path) -> None:
    stream = open_stream(path, target="y", method="time", column="day")
    days = [pl.read_parquet(path)[_rows(stream, part)]["day"] for part in stream.rows]
    assert days[0].max() < days[1].min()
    assert days[1].max() < days[2].min()
    assert list(stream.rows.values()) == pytest.approx([650, 150, 200], abs=3)


def test_the_users_own_parts(tmp_path: Path) -> None:
    part = pl.Series("part", ["Train", "dev", " test", "train"] * 250)
    table().with_columns(part).write_parquet(tmp_path / "t.parquet")
    stream = open_stream(tmp_path / "t.parquet", target="y", method="column", column="part")
    assert stream.rows == {"train": 500, "validation": 250, "test": 250}
    table().with_columns(part.replace("dev", "later")).write_parquet(tmp_path / "u.parquet")
    with pytest.raises(DataError, match="'part' holds 'later' in row 2; expected train, validation or test"):
        open_stream(tmp_path / "u.parquet", target="y", method="column", column="part")


def test_a_part_depends_on_the_row_number_and_the_seed_alone() -> None:
    whole = Partition(seed=3).codes(0, 10_000)
    np.testing.assert_array_equal(
        np.concatenate([Partition(seed=3).codes(s, 2500) for s in range(0, 10_000, 2500)]), whole
    )
    shares = np.bincount(whole) / 10_000
    assert shares == pytest.approx([0.65, 0.15, 0.2], abs=0.015)
    other = Partition(seed=4).codes(0, 10_000)
    # Independent deals agree by chance: .65² + .15² + .2² = .485
    assert np.mean(whole == other) == pytest.approx(0.485, abs=0.03)
    # and neighbouring rows are dealt independently of each other.
    assert np.mean(whole[1:] == whole[:-1]) == pytest.approx(0.485, abs=0.03)


# --- files ---


def test_files_of_a_folder_are_one_table(tmp_path: Path) -> None:
    whole = table()
    (tmp_path / "deep").mkdir()
    whole[:333].write_parquet(tmp_path / "a.parquet")
    whole[333:334].write_parquet(tmp_path / "b.pq")
    whole[:0].write_parquet(tmp_path / "c.parquet")
    whole[334:].write_parquet(tmp_path / "deep" / "d.parquet")
    (tmp_path / "notes.txt").write_text("not a table")
    rows = ParquetRows(tmp_path)
    assert rows.rows == 1000
    expected = whole.with_columns(city=pl.col("city").replace(" ", None))
    assert rows.read(0, 2000)["number"].to_list() == expected["number"].to_list()
    assert rows.read(320, 20)["city"].to_list() == expected["city"][320:340].to_list()
    assert ParquetRows(str(tmp_path / "*.parquet")).rows == 333
    assert ParquetRows([tmp_path / "b.pq", tmp_path / "a.parquet"]).read(0, 2)["number"].to_list() == [333.0, 0.0]


def test_types_of_several_files_are_brought_together(tmp_path: Path) -> None:
    pl.DataFrame({"x": [1, 2], "z": [None, None], "y": [0, 1]}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"z": ["p", "q"], "x": [1.5, 2.5], "y": [0, 1]}).write_parquet(tmp_path / "b.parquet")
    frame = ParquetRows(tmp_path).read(0, 4)
    assert frame["x"].to_list() == [1.0, 2.0, 1.5, 2.5]
    assert frame["z"].to_list() == [None, None, "p", "q"]


def test_files_that_cannot_be_one_table(tmp_path: Path) -> None:
    pl.DataFrame({"x": [1], "y": [0]}).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame({"x": [1], "z": [0]}).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"b\.parquet does not have the columns .* lacks 'y' and also has 'z'"):
        ParquetRows(tmp_path)
    pl.DataFrame({"x": ["one"], "y": [0]}).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"column 'x' holds texts in .*b\.parquet and whole numbers in .*a\.parquet"):
        ParquetRows(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as Parquet"),
        (b"a,b\n1,2\n" * 100, "cannot be read as Parquet"),
        (b"PAR1PAR1", "cannot be"),
    ],
)
def test_what_is_not_parquet_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "t.parquet").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        open_stream(tmp_path / "t.parquet", target="y")
    assert "to_parquet" in str(caught.value.hint)


def test_a_file_damaged_in_the_middle_is_an_error_and_not_other_rows(path: Path, tmp_path: Path) -> None:
    data = bytearray(path.read_bytes())
    for start in range(200, len(data) - 4000, 400):
        data[start : start + 50] = bytes(50)
    (tmp_path / "t.parquet").write_bytes(data)
    with pytest.raises(DataError, match=r"t\.parquet"):
        for _ in open_stream(tmp_path / "t.parquet", target="y", chunk_rows=64).frames("train"):
            pass


def test_damage_at_which_the_reader_panics_is_an_error_of_the_file(tmp_path, monkeypatch) -> None:
    """A panic of polars is no Exception, so that whoever does not name it lets it pass."""

    def panic(*given: object, **named: object) -> None:
        raise pl.exceptions.PanicException("assertion failed: range.end as u64 <= self.size")

    path = tmp_path / "t.parquet"
    pl.DataFrame({"x": [1.0, 2.0]}).write_parquet(path)
    rows = ParquetRows(path)
    for broken in ((pl.LazyFrame, "collect"), (pl, "read_parquet")):
        monkeypatch.setattr(*broken, panic)
    for read in (lambda: rows.read(0, 2), lambda: ParquetRows(path), lambda: read_table(path)):
        with pytest.raises(DataError, match=r"t\.parquet.* cannot be read.*: assertion failed"):
            read()


def test_a_file_cut_while_it_is_used_is_an_error(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "t.parquet"
    copy.write_bytes(path.read_bytes())
    stream = open_stream(copy, target="y", chunk_rows=64)
    table(500).write_parquet(copy)
    with pytest.raises(DataError, match="has changed since it was opened"):
        list(stream.frames("train"))


def _spoilt(file: Path, group: int) -> None:
    """Zeros in the middle of the pages of a row group; the end, which says what is where, stays."""
    import pyarrow.parquet as pq

    column = pq.ParquetFile(file).metadata.row_group(group).column(0)
    data, begin = bytearray(file.read_bytes()), column.data_page_offset
    data[begin : begin + column.total_compressed_size // 2] = bytes(column.total_compressed_size // 2)
    file.write_bytes(data)


def test_a_shard_that_goes_bad_is_named_and_what_was_learnt_is_kept(tmp_path: Path) -> None:
    for number in range(2):
        table(300, seed=number).write_parquet(tmp_path / f"part-{number}.parquet", row_group_size=100)
    stream = dataclasses.replace(open_stream(tmp_path, target="y", chunk_rows=64), batch_chunks=1)
    train = stream.train(TableEncoder.fit(stream.sample, stream.schema))
    common = {"loss": "categorical_cross_entropy", "batch_size": 32, "epochs": 2, "display": "none"}
    model = Parallel((MLP((4,), 2),), inputs=("numeric",))
    whole = danlu.fit(model, train, **common)
    bad, kept = tmp_path / "part-1.parquet", (tmp_path / "part-1.parquet").read_bytes()

    def spoil(epoch: int) -> None:
        if epoch == 1:
            _spoilt(bad, 1)

    with pytest.raises(DataError, match=r"rows [\d,]+ to [\d,]+ of .*part-1.parquet \(row group 1\)") as caught:
        danlu.fit(model, train, checkpoint=tmp_path / "run", callbacks=[LambdaCallback(on_epoch_begin=spoil)], **common)
    assert "--resume" in str(caught.value.hint)
    bad.write_bytes(kept)
    rest = danlu.fit(model, train, checkpoint=tmp_path / "run", callbacks=[LambdaCallback()], resume=True, **common)
    for ours, theirs in zip(jax.tree.leaves(rest.params), jax.tree.leaves(whole.params), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    bad.unlink()
    with pytest.raises(DataError, match=r"part-1\.parquet has gone"):
        list(stream.frames("train"))
    bad.write_bytes(kept[:-9])
    with pytest.raises(DataError, match=r"part-1.parquet cannot be read as Parquet"):  # before training
        open_stream(tmp_path, target="y")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"target": "Y"}, DataError, "unknown column 'Y'.*\n.*did you mean 'y'"),
        ({"target": "y", "drop": ["cities"]}, DataError, "unknown column 'cities'"),
        ({"target": "y", "method": "group"}, ConfigError, "splitting by group needs a column"),
        ({"target": "y", "method": "group", "column": "grp"}, DataError, "unknown column 'grp'"),
        ({"target": "y", "method": "by hand"}, ConfigError, "unknown split method"),
        ({"target": "y", "validation": 0.6, "test": 0.6}, ConfigError, "leave no rows to train on"),
        ({"target": "y", "chunk_rows": 0}, ConfigError, "chunk_rows is 0; expected a whole number >= 1"),
        ({"target": "y", "sample_rows": 1.5}, ConfigError, "sample_rows is 1.5"),
        ({"target": "day"}, DataError, "date-time"),
        ({"target": "y", "method": "time", "column": "gap"}, DataError, "missing values"),
        ({"target": "y", "method": "time", "column": "city"}, DataError, "holds texts|missing values"),
    ],
)
def test_options_that_do_not_fit(path: Path, options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        open_stream(path, **options)


def test_a_file_that_is_not_there(tmp_path: Path, path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file .*tabel\.parquet\nHint: did you mean .*table\.parquet"):
        open_stream(path.with_name("tabel.parquet"), target="y")
    with pytest.raises(DataError, match="no Parquet file"):
        open_stream(tmp_path, target="y")
    table(0).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="0 rows"):
        open_stream(tmp_path, target="y")


@pytest.mark.slow
def test_training_on_more_data_than_the_memory_it_may_use(tmp_path: Path) -> None:
    """1.6 GB of numbers, in memory, train in a process that may grow by 500 MB."""
    files, rows, columns = 8, 500_000, 50
    rng = np.random.default_rng(0)
    (tmp_path / "large").mkdir()
    for k in range(files):
        numbers = {f"x{i}": rng.integers(0, 256, rows, dtype=np.int16) / 8 for i in range(columns)}
        label = (numbers["x0"] + numbers["x1"] > 32).astype(np.int64)
        pl.DataFrame(numbers | {"y": label}).write_parquet(tmp_path / "large" / f"{k}.parquet", row_group_size=250_000)
    program = Path(__file__).with_name("train_streamed.py")
    done = subprocess.run([sys.executable, program, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.splitlines()[-1])
    decoded = files * rows * columns * 8
    assert decoded >= 3 * 500e6
    assert result["rows"] == pytest.approx(0.8 * files * rows, rel=0.01)
    assert result["accuracy"] > 0.95
    assert result["growth"] < 500e6
