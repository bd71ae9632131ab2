"""A save that fails or is killed leaves what was there before, whole, and nothing else."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

import danlu.files
from danlu.artifact import files, load_artifact, save, save_artifact, write_atomic
from danlu.errors import ArtifactError

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "engine"))
from crash import Killed, killed_at
from saved_models import parts


def with_threshold(value: float) -> dict[str, Any]:
    return {**parts(), "threshold": value}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_artifact(tmp_path / "m", **with_threshold(0.25))


def unchanged(folder: Path) -> None:
    assert load_artifact(folder).threshold == 0.25
    assert os.listdir(folder.parent) == [folder.name]


def test_saving_again_replaces(folder: Path) -> None:
    save_artifact(folder, **with_threshold(0.75))
    assert load_artifact(folder).threshold == 0.75
    assert os.listdir(folder.parent) == ["m"]


class FullDisk:
    """A file that takes ``room`` bytes and then has no space left."""

    def __init__(self, file: Any, room: int) -> None:
        self._file, self._room = file, room

    def __enter__(self) -> FullDisk:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def write(self, data: bytes) -> None:
        self._file.write(data[: self._room])
        if len(data) > self._room:
            raise OSError(errno.ENOSPC, "No space left on device")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@pytest.mark.parametrize("room", [0, 100, 1000])
def test_a_full_disk_keeps_the_old_model(folder: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    for module in (files, danlu.files):
        monkeypatch.setattr(module, "open", lambda path, mode: FullDisk(path.open(mode), room), raising=False)
    with pytest.raises(ArtifactError, match="No space left on device; what was there before is unchanged") as caught:
        save_artifact(folder, **with_threshold(0.75))
    assert "free space" in str(caught.value.hint)
    with pytest.raises(ArtifactError, match="No space left"):
        save_artifact(folder.with_name("new"), **with_threshold(0.75))
    with pytest.raises(ArtifactError, match="No space left"):
        write_atomic(folder.parent / "text", "x" * 2000)
    unchanged(folder)


@pytest.mark.parametrize("step", [1, 2])
def test_a_rename_that_fails_keeps_the_old_model(folder: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    rename, calls = os.rename, []

    def failing(source: Any, target: Any) -> None:
        calls.append(source)
        if len(calls) == step:
            raise OSError(errno.EIO, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(save.os, "rename", failing)
    with pytest.raises(ArtifactError, match="Input/output error"):
        save_artifact(folder, **with_threshold(0.75))
    monkeypatch.undo()
    unchanged(folder)


def test_killed_between_the_two_renames(folder: Path) -> None:
    """The old model is aside, the new one not yet there: both loading and saving find the old one."""
    os.rename(folder, folder.with_name(".m.previous"))
    assert load_artifact(folder).threshold == 0.25
    save_artifact(folder, **with_threshold(0.75))
    assert load_artifact(folder).threshold == 0.75
    assert os.listdir(folder.parent) == ["m"]


def killed_saves(folder: Path, points: Iterable[int]) -> Iterator[str]:
    """A save over an old model, killed at each of these calls, and the call; then what is there is looked at, and saved over."""
    for point in points:
        one = folder / str(point)
        save_artifact(one / "m", **with_threshold(0.25))
        try:
            with killed_at(point, one) as calls:
                save_artifact(one / "m", **with_threshold(0.75))
        except Killed:
            yield calls[-1]
        else:
            return
        assert load_artifact(one / "m").threshold in (0.25, 0.75)
        save_artifact(one / "m", **with_threshold(0.5))
        assert load_artifact(one / "m").threshold == 0.5
        assert [name for name in os.listdir(one) if not name.endswith(".tmp")] == ["m"]


def test_killed_at_any_call_there_is_a_whole_model(tmp_path: Path) -> None:
    seen = list(killed_saves(tmp_path, range(1000)))
    assert {"open", "write", "fsync", "mkdir", "rename"} <= set(seen)


SCRIPT = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
from crash import killed_at
from saved_models import parts
from danlu.artifact import save_artifact
with killed_at(int(sys.argv[4]), Path(sys.argv[3]), die=lambda: os.kill(os.getpid(), signal.SIGKILL)):
    save_artifact(Path(sys.argv[3]) / "m", **{**parts(), "threshold": 0.75})
"""


def test_a_process_that_is_really_killed_leaves_the_old_model(folder: Path) -> None:
    """SIGKILL in the middle of the second file; the next save removes what it had begun."""
    with killed_at(10**6, folder.parent / "counted") as calls:
        save_artifact(folder.parent / "counted" / "m", **parts())
    shutil.rmtree(folder.parent / "counted")
    second = [point for point, call in enumerate(calls) if call == "write"][1]
    here = Path(__file__).parent
    arguments = [sys.executable, "-c", SCRIPT, str(here), str(here.parent / "engine"), str(folder.parent), str(second)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    assert load_artifact(folder).threshold == 0.25
    assert len(os.listdir(folder.parent)) == 2
    save_artifact(folder, **with_threshold(0.75))
    assert os.listdir(folder.parent) == ["m"]


def test_readers_see_a_whole_model_while_it_is_replaced(folder: Path) -> None:
    done = threading.Event()

    def replace() -> None:
        for i in range(20):
            save_artifact(folder, **with_threshold(i / 32))
        done.set()

    writer = threading.Thread(target=replace)
    writer.start()
    loaded = 0
    while not done.is_set():
        load_artifact(folder)
        loaded += 1
    writer.join()
    assert loaded > 0


def test_folders_that_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.txt").write_text("years of work")
    with pytest.raises(ArtifactError, match="exists and is not an artifact; nothing was written"):
        save_artifact(tmp_path / "work", **parts())
    (tmp_path / "file").write_text("x")
    with pytest.raises(ArtifactError, match="exists and is not a folder; nothing was written"):
        save_artifact(tmp_path / "file", **parts())
    (tmp_path / "link").symlink_to(tmp_path / "work")
    with pytest.raises(ArtifactError, match="is not a folder; nothing was written"):
        save_artifact(tmp_path / "link", **parts())
    with pytest.raises(ArtifactError, match="cannot write the artifact"):
        save_artifact(tmp_path / "file" / "m", **parts())
    assert sorted(os.listdir(tmp_path)) == ["file", "link", "work"]
    (tmp_path / "empty").mkdir()
    assert load_artifact(save_artifact(tmp_path / "empty", **parts())).threshold == 0.375


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    write_atomic(tmp_path / "t", "old é")
    write_atomic(tmp_path / "t", b"new")
    assert (tmp_path / "t").read_bytes() == b"new"
    with pytest.raises(ArtifactError, match="cannot write"):
        write_atomic(tmp_path / "no" / "t", "x")
    (tmp_path / "d").mkdir()
    with pytest.raises(ArtifactError, match="cannot write"):
        write_atomic(tmp_path / "d", "x")
    assert sorted(os.listdir(tmp_path)) == ["d", "t"]


def test_a_pipe_is_written_to_and_not_replaced() -> None:
    """Not even one that has no name but its number, as ``/dev/stdout`` before another command."""
    reader, writer = os.pipe()
    write_atomic(f"/dev/fd/{writer}", "rows")
    os.close(writer)
    assert os.read(reader, 9) == b"rows"
    os.close(reader)


def test_a_lock_that_another_one_removed_while_it_was_waited_for_is_made_anew(tmp_path: Path, monkeypatch: Any) -> None:
    """Who leaves removes the lock; the one that waited then holds a file without a name, which keeps nobody out."""
    pytest.importorskip("fcntl")
    lock, real, waits = tmp_path / "lock", danlu.files.fcntl.flock, []

    def flock(handle: Any, how: int) -> None:
        waits.append(how)
        if len(waits) == 1:
            lock.unlink()
        real(handle, how)

    monkeypatch.setattr(danlu.files.fcntl, "flock", flock)
    with danlu.files.alone(lock), open(lock) as other, pytest.raises(BlockingIOError):
        real(other, danlu.files.fcntl.LOCK_EX | danlu.files.fcntl.LOCK_NB)
    assert not lock.exists()
