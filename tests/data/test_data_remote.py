"""Data at URLs: copied once, read as any other, and what is wrong is said without keys."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from golden_rows import GOLDEN
from typer.testing import CliRunner

from danlu.cli.app import app
from danlu.data import open_stream, read_table, remote
from danlu.data.parquet import ParquetRows
from danlu.data.remote import brought, by_url, identity_of, masked, url_of
from danlu.data.text import read_corpus
from danlu.errors import ConfigError, DataError, MissingExtraError
from danlu.pipeline.fingerprint import fingerprint

fsspec = pytest.importorskip("fsspec")


def packed(frame: pl.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.write_parquet(file)
    return file.getvalue()


def table(rows: int, first: int = 0) -> pl.DataFrame:
    return pl.DataFrame({"x": np.arange(first, first + rows, dtype=np.float64), "y": ["a", "b"] * (rows // 2)})


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "cache" / "xla"))
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]
    memory.pipe("/bucket/d/year=2023/part-0.parquet", packed(table(10)))
    memory.pipe("/bucket/d/year=2024/part-0.parquet", packed(table(20, 10)))
    memory.pipe("/bucket/d/_SUCCESS", b"")
    memory.pipe("/bucket/t.csv", b"x,y\n1,a\n2,b\n")
    return memory


def test_files_folders_and_patterns_are_read_as_local_ones(store) -> None:
    assert read_table("memory://bucket/t.csv").frame.rows() == [(1, "a"), (2, "b")]
    whole = read_table("memory://bucket/d").frame
    assert whole.columns == ["x", "y", "year"]
    assert whole["x"].to_list() == list(range(30))
    assert whole["year"].to_list() == [2023] * 10 + [2024] * 20
    assert read_table("memory://bucket/d/*/part-*.parquet").frame.equals(whole)
    assert open_stream("memory://bucket/d", target="y", chunk_rows=8).source.rows == 30
    assert brought("table.csv") == "table.csv"
    assert Path(brought("memory://bucket/t.csv")).parts[-3:] == ("memory", "bucket", "t.csv"), "errors name the file"


def test_what_did_not_change_is_not_copied_again(store, monkeypatch) -> None:
    copied, real = [], type(store).get_file
    monkeypatch.setattr(
        type(store), "get_file", lambda self, there, *a, **k: copied.append(there) or real(self, there, *a, **k)
    )
    first = brought("memory://bucket/d")
    before = identity_of(first)
    assert len(copied) == 3
    assert identity_of(brought("memory://bucket/d")) == before
    assert len(copied) == 3
    store.pipe("/bucket/d/year=2024/part-0.parquet", packed(table(22, 10)))
    store.rm("/bucket/d/year=2023/part-0.parquet")
    assert read_table("memory://bucket/d").rows == 22, "what the store no longer has is gone here too"
    assert copied[3:] == ["/bucket/d/year=2024/part-0.parquet"]
    assert identity_of(first) != before
    assert url_of(first) == "memory://bucket/d"
    brought("memory://bucket/t.csv")
    store.pipe("/bucket/t.csv", b"x,y\n1,a\n3,b\n")  # of the same size
    assert read_table("memory://bucket/t.csv").frame.rows() == [(1, "a"), (3, "b")]
    Path(first, "year=2024", "part-0.parquet").write_bytes(b"cut")  # a copy that is not what was copied
    assert read_table("memory://bucket/d").rows == 22


def test_copies_are_removed_after_a_week_but_for_those_in_use(store) -> None:
    one, two = brought("memory://bucket/t.csv"), brought("memory://bucket/d")
    [note] = [file for file in remote._root().glob(".*.json") if "t.csv" in file.read_text()]
    os.utime(note, (time.time() - 8 * 24 * 3600,) * 2)
    brought("memory://bucket/d")
    assert not Path(one).exists()
    assert Path(two).is_dir()


@pytest.mark.parametrize(
    ("url", "kind", "said"),
    [
        ("memory://bucket/none.csv", DataError, "nothing at memory://bucket/none.csv"),
        ("memory://bucket/x-*.csv", DataError, "no file at"),
        ("s4://bucket/x", ConfigError, "did you mean s3://"),
        ("https://me:secret@127.0.0.1:9/x.csv?X-Amz-Signature=secret", DataError, r"https://\*\*\*@127.0.0.1:9/x.csv"),
    ],
)
def test_what_is_not_to_be_had_is_said_without_keys(store, url, kind, said) -> None:
    with pytest.raises(kind, match=said) as caught:
        brought(url)
    assert "secret" not in str(caught.value)


def because(cause: Exception) -> FileNotFoundError:
    """What a store raises of an https address, whatever went wrong."""
    error = FileNotFoundError("https://h/x")
    error.__cause__ = cause
    return error


def test_refusals_shortages_and_missing_packages_say_what_to_do(store, monkeypatch) -> None:
    for error, said, hint in (
        (PermissionError("Forbidden"), "was refused", "who you are"),
        (RuntimeError("An error occurred (403) when calling"), "was refused", "who you are"),
        (because(RuntimeError("403, message='Forbidden'")), "was refused", "who you are"),
        (because(ConnectionError("no route")), "cannot be read: no route", "network"),
        (because(type("Response", (Exception,), {"status": 404})()), "there is nothing at", "names"),
        (ConnectionError("no route to me:secret@host://me:secret@host"), "cannot be read", "network"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(type(store), "info", lambda self, path, error=error, **k: (_ for _ in ()).throw(error))
            with pytest.raises(DataError, match=said) as caught:
                brought("memory://bucket/t.csv")
            assert hint in str(caught.value.hint)
    with monkeypatch.context() as patch:
        patch.setattr(type(store), "get_file", lambda self, there, here, **k: Path(here).write_bytes(b"x,"))
        with pytest.raises(DataError, match="cut short: 2 of 12 bytes"):
            brought("memory://bucket/t.csv")
        assert not Path(remote._root(), "memory", "bucket", "t.csv").exists()
    with monkeypatch.context() as patch:
        patch.setattr(remote.shutil, "disk_usage", lambda place: type("Usage", (), {"free": 5}))
        with pytest.raises(DataError, match="room for 5 bytes"):
            brought("memory://bucket/t.csv")
    with monkeypatch.context() as patch:
        patch.setattr(remote.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(MissingExtraError, match="s3fs") as caught:
            brought("s3://bucket/t.csv")
        assert "danlu[remote]" in str(caught.value.hint)


def test_masking_leaves_the_rest_of_a_text() -> None:
    text = "read s3://k:s@b/x and https://h/a?sig=1&t=2, or C:/x?y"
    assert masked(text) == "read s3://***@b/x and https://h/a?sig=***&t=***, or C:/x?y"
    assert masked("https://me:p@ss@h/a@b and me@h") == "https://***@h/a@b and me@h"  # a password with marks of its own
    assert masked("https://me:p/s@h/a and https://h:80/a@b") == "https://***@h/a and https://h:80/a@b"


def test_commands_read_urls(store, tmp_path) -> None:
    store.pipe("/bucket/many.csv", table(20).write_csv().encode())
    run = CliRunner().invoke(app, ["audit", "memory://bucket/many.csv", "--target", "y", "--quick"])
    assert run.exit_code == 0, run.output
    assert "memory://bucket/many.csv" in run.output
    run = CliRunner().invoke(app, ["predict", str(GOLDEN / "table" / "model"), "memory://bucket/none.csv"])
    assert "there is nothing at memory://bucket/none.csv" in str(run.exception) + run.output
    for command in ("train", "tune"):  # a signature has an equals sign, as a setting has
        run = CliRunner().invoke(app, [command, "memory://bucket/none.csv?sig=secret", "--target", "y"])
        told = str(run.exception) + run.output
        assert "memory://bucket/none.csv?sig=***" in told
        assert "secret" not in told


def test_hive_columns_are_those_below_the_folder_that_was_named(tmp_path) -> None:
    for name, rows in (("run=7/site=a/x.parquet", 2), ("run=7/site=__HIVE_DEFAULT_PARTITION__/x.parquet", 4)):
        file = tmp_path / name
        file.parent.mkdir(parents=True)
        table(rows).write_parquet(file)
    found = ParquetRows(tmp_path / "run=7")
    assert list(found.types) == ["x", "y", "site"]
    assert found.read(0, 9)["site"].to_list() == [None] * 4 + ["a"] * 2
    assert ParquetRows(str(tmp_path / "run=*" / "**" / "*.parquet")).types["run"] == pl.Int64()
    assert list(ParquetRows(tmp_path / "run=7" / "site=a" / "x.parquet").types) == ["x", "y"]


def test_a_pattern_is_read_and_hashed_as_its_files_together(tmp_path) -> None:
    for number in range(3):
        (tmp_path / f"part-{number}.txt").write_text(
            f"to be or not to be, that is question number {number}" + "\n" * (number == 1)
        )
        table(4, number).write_parquet(tmp_path / f"part-{number}.parquet")
    corpus = read_corpus(str(tmp_path / "part-*.txt"), lines=False)
    assert [line[-1] for line in corpus.texts[0].split("\n")] == ["0", "1", "2"]
    pattern = str(tmp_path / "part-*.parquet")
    before = fingerprint(pattern)
    assert before is not None
    table(6).write_parquet(tmp_path / "part-2.parquet")
    assert fingerprint(pattern) != before


@pytest.mark.slow
def test_a_run_learns_from_a_bucket_and_is_resumed(tmp_path) -> None:
    """The whole way, with a local object store: train, resume, predict; other rows than before are refused."""
    pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "k3y-that-is-secret"}
        env = {
            **os.environ,
            **keys,
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "DANLU_CACHE": str(tmp_path / "cache" / "xla"),
        }
        script = tmp_path / "put.py"
        script.write_text(
            "import sys, io, s3fs, polars as pl, numpy as np\n"
            "fs = s3fs.S3FileSystem(); fs.mkdir('bucket') if not fs.exists('bucket') else None\n"
            "rng = np.random.default_rng(int(sys.argv[1]))\n"
            "for part in range(3):\n"
            "    x = rng.normal(size=200); b = io.BytesIO()\n"
            "    pl.DataFrame({'x': x, 'z': rng.normal(size=200), 'y': np.where(x > 0, 'up', 'down')}).write_parquet(b)\n"
            "    fs.pipe(f'bucket/rows/part-{part}.parquet', b.getvalue())\n"
        )

        def danlu_(*words: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "-m", "danlu", *words], env=env, cwd=tmp_path, capture_output=True, text=True
            )

        subprocess.run([sys.executable, str(script), "0"], env=env, check=True)
        few = ("trainer.epochs=2", "model.kind=network", "evaluate.report=true")
        done = danlu_("train", "s3://bucket/rows", "--target", "y", "--name", "one", *few)
        assert done.returncode == 0, done.stdout + done.stderr
        run = tmp_path / "runs" / "one"
        source = json.loads((run / "source.json").read_text())["data"]["source"]
        assert source["path"] == "s3://bucket/rows"
        assert json.loads((run / "config.json").read_text())["data"]["source"] == "s3://bucket/rows"
        for file in run.rglob("*"):
            assert not file.is_file() or b"k3y-that-is-secret" not in file.read_bytes()
        again = danlu_("train", "--resume", "runs/one")
        assert again.returncode == 0, again.stdout + again.stderr
        told = danlu_("predict", "runs/one", "s3://bucket/rows/part-*.parquet", "-o", "out.csv")
        assert told.returncode == 0, told.stdout + told.stderr
        assert pl.read_csv(tmp_path / "out.csv").height == 600
        for words, said in (
            (("train", "s3://bucket/none", "--target", "y"), "there is nothing at s3://bucket/none"),
            (("train", "s3://nobucket/x.csv", "--target", "y"), "s3://nobucket/x.csv"),
        ):
            failed = danlu_(*words)
            assert failed.returncode != 0
            assert said in failed.stdout + failed.stderr
            assert "Traceback" not in failed.stdout + failed.stderr
        subprocess.run([sys.executable, str(script), "1"], env=env, check=True)
        other = danlu_("train", "--resume", "runs/one")
        assert other.returncode != 0
        assert "the data s3://bucket/rows is not what the run" in other.stdout + other.stderr
    finally:
        server.stop()


def test_codes_of_folders_keep_their_zeros_and_unsigned_numbers_are_whole(tmp_path) -> None:
    for code, numbers in (("007", pl.Series([1, 2], dtype=pl.UInt64)), ("012", pl.Series([3, 4]))):
        (tmp_path / f"k={code}").mkdir()
        pl.DataFrame({"x": numbers}).write_parquet(tmp_path / f"k={code}" / "part.parquet")
    frame = read_table(tmp_path).frame
    assert frame["k"].to_list() == ["007", "007", "012", "012"]
    assert (frame["x"].dtype, frame["x"].to_list()) == (pl.Int64, [1, 2, 3, 4])
    large = pl.DataFrame({"x": pl.Series([1, 2**63], dtype=pl.UInt64)})
    large.write_parquet(tmp_path / "large.parquet")
    assert read_table(tmp_path / "large.parquet").frame["x"].dtype == pl.Float64


def test_a_url_that_was_kept_without_its_signature_is_read_from_its_copy(store, monkeypatch) -> None:
    copy = Path(brought("memory://bucket/t.csv"))
    note = remote._note(copy, remote._root())
    about = json.loads(note.read_text())
    kept = "https://host/t.csv?X-Amz-Signature=***"
    note.write_text(json.dumps({**about, "url": kept}))
    assert brought(kept) == str(copy)
    assert by_url(f"{copy} cannot be read") == f"{kept} cannot be read", "as its user knows it"
    copy.write_bytes(b"cut")
    with pytest.raises(DataError, match="without its signature, and no copy of it is on this machine"):
        brought(kept)
