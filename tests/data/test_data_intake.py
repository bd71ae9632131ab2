"""Pipes are read once, devices are refused, and what is packed does not grow beyond the memory."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from danlu.artifact import RunDirectory
from danlu.data import intake, read_table
from danlu.data.images import read_images
from danlu.data.intake import is_pipe, open_npz, spool, unpacked
from danlu.errors import ConfigError, DataError
from danlu.pipeline.config import config_from
from danlu.pipeline.piped import kept_names, taken_in, with_kept

ROWS = b"x,y\n" + b"".join(b"%d,a\n" % i for i in range(50_000))


def through(path: Path, data: bytes) -> threading.Thread:
    """Write to a FIFO, from the side."""
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(data,))
    writer.start()
    return writer


def packed_as_parquet() -> bytes:
    file = io.BytesIO()
    pl.DataFrame({"x": [1, 2], "y": ["a", "b"]}).write_parquet(file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "ending", "rows"),
    [
        (ROWS, ".csv", 50_000),
        (gzip.compress(ROWS), ".csv", 50_000),
        (packed_as_parquet(), ".parquet", 2),
        (b'{"x": 1, "y": "a"}\n{"x": 2, "y": "b"}\n', ".jsonl", 2),
        (b'[{"x": 1, "y": "a"}, {"x": 2, "y": "b"}]', ".json", 2),
    ],
)
def test_a_pipe_is_read_once_and_whole(tmp_path: Path, data: bytes, ending: str, rows: int) -> None:
    writer = through(tmp_path / "pipe", data)
    with spool(tmp_path / "pipe", tmp_path) as file:
        assert file.read_bytes() == data
        assert file.suffix == ending
        assert read_table(file).frame.columns == ["x", "y"]
        assert read_table(file).frame.height == rows
    writer.join()
    assert os.listdir(tmp_path) == ["pipe"]
    os.unlink(tmp_path / "pipe")
    writer = through(tmp_path / "pipe", data)
    assert read_table(tmp_path / "pipe").frame.height == rows
    writer.join()


def test_standard_input_is_a_source() -> None:
    program = "import sys; from danlu.data import read_table; print(read_table(sys.argv[1]).frame.height)"
    for name in ("-", "/dev/stdin"):
        done = subprocess.run([sys.executable, "-c", program, name], input=ROWS, capture_output=True, check=True)
        assert done.stdout == b"50000\n"


def test_a_pipe_that_nobody_writes_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "PATIENCE", 0.2)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match=r"nothing was written to the pipe .*pipe for 0 seconds"):
        read_table(tmp_path / "pipe")
    pausing = os.open(tmp_path / "pipe", os.O_RDWR)  # a writer who takes longer than that
    threading.Timer(0.5, lambda: (os.write(pausing, b"x\n1\n"), os.close(pausing))).start()
    assert read_table(tmp_path / "pipe").frame.height == 1


def test_what_is_wrong_is_said_of_the_pipe(tmp_path: Path) -> None:
    """And not of the file that its content is copied to."""
    writer = through(tmp_path / "pipe", b"x,y\n")
    with pytest.raises(DataError, match=r"the pipe .*/pipe has a header line and no rows") as caught:
        read_table(tmp_path / "pipe")
    writer.join()
    assert ".tmp" not in str(caught.value)
    program = "from danlu.data import read_table; read_table('-')"
    done = subprocess.run([sys.executable, "-c", program], input=b"", capture_output=True, check=False)
    assert b"nothing came through standard input" in done.stderr


def test_a_pipe_that_never_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "available_memory", lambda: 30_000)
    writer = through(tmp_path / "pipe", b"x" * 60_000)  # no more than the pipe itself holds
    with pytest.raises(DataError, match=r"more than 9.8 KiB came through the pipe .*pipe"):
        read_table(tmp_path / "pipe")
    writer.join()


def test_what_is_no_file(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        for path, kind in (("/dev/zero", "device"), ("/dev/null", "device"), (tmp_path / "s", "socket")):
            assert not is_pipe(path)
            with pytest.raises(DataError, match=f"is a {kind}; expected a file, a folder or a pipe"):
                read_table(path)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_bomb_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]
) -> None:
    data = b"0" * 5_000_000
    assert unpacked(pack(data) + pack(data), "f") == data + data
    monkeypatch.setattr(intake, "available_memory", lambda: 4_000_000)
    (tmp_path / "bomb.csv").write_bytes(pack(data))
    with pytest.raises(DataError, match=r"unpacks to more than 976.6 KiB, a quarter of the free memory"):
        read_table(tmp_path / "bomb.csv")
    with pytest.raises(DataError, match="cannot be unpacked"):
        unpacked(pack(data[:9000])[:-6], "f")


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def array(value: Any, **lies: str) -> bytes:
    file = io.BytesIO()
    np.save(file, value)
    data = file.getvalue()
    for old, new in lies.items():
        data = data.replace(old.encode(), new.encode())
    return data


def test_archives_that_lie_about_their_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = zipped(tmp_path / "a.npz", {"x.npy": array(np.zeros((4, 8, 8), np.uint8)), "y.npy": array(np.arange(4))})
    with open_npz(honest) as arrays:
        assert arrays["x"].shape == (4, 8, 8)
    whole = array(np.zeros((4, 8, 8), np.uint8))
    lying = whole.replace(b"(4, 8, 8), }     ", b"(99999999, 8, 8),}")[: len(whole)]
    zipped(tmp_path / "b.npz", {"x.npy": lying, "y.npy": array(np.arange(4))})
    with pytest.raises(DataError, match="says it has the shape"):
        read_images(tmp_path / "b.npz")
    monkeypatch.setattr(intake, "available_memory", lambda: 1_000_000)
    for name in ("c.npz", "c.xlsx"):
        path = zipped(tmp_path / name, {"x.npy": b"0" * 2_000_000})
        with pytest.raises(DataError, match=r"unpacks to 1.9 MiB; expected at most half of the free memory"):
            (read_images if name == "c.npz" else read_table)(path)


def test_what_comes_through_a_pipe_is_kept_in_the_run(tmp_path: Path) -> None:
    writer = through(tmp_path / "rows", ROWS)
    with taken_in(config_from({"data": {"source": str(tmp_path / "rows"), "target": "y"}}), tmp_path) as (
        config,
        files,
    ):
        assert config.data.source == str(files[0])
        kept, data = kept_names(config, files)
        run = RunDirectory.create(tmp_path, name="run", config=kept.as_dict(), data=data)
    writer.join()
    assert not files[0].exists()
    again = with_kept(config_from(run.read_json("config.json")), run.path)
    assert Path(again.data.source) == run.path / "source-rows.csv"
    assert Path(again.data.source).read_bytes() == ROWS
    os.unlink(tmp_path / "rows")
    os.mkfifo(tmp_path / "rows")
    both = config_from({"data": {"source": "-", "test": "-"}})
    with pytest.raises(ConfigError, match="it can be read once"), taken_in(both):
        pass
