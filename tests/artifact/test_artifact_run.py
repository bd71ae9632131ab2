"""Run directories: names, what is in them, and records that survive a kill."""

from __future__ import annotations

import concurrent.futures
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from danlu.artifact import RunDirectory
from danlu.artifact import run as run_module
from danlu.errors import ArtifactError, ConfigError


def test_everything_has_its_place(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "runs", name="first", config={"rate": np.float32(0.5), "best": float("nan")})
    assert run.name == "first"
    assert os.fspath(run) == str(tmp_path / "runs" / "first")
    assert json.loads(run.config_path.read_text()) == {"rate": 0.5, "best": None}
    names = ("config", "metrics", "checkpoints", "artifact", "predictions", "results", "report")
    paths = [getattr(run, f"{name}_path") for name in names]
    assert len(set(paths)) == len(paths)
    assert {path.parent for path in paths} == {run.path}
    assert "first" in repr(run)
    assert RunDirectory.open(run.path).read_json("config.json") == {"rate": 0.5, "best": None}


def test_runs_of_one_second_get_different_names(tmp_path: Path) -> None:
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: RunDirectory.create(tmp_path, dataset="adult income.csv"), range(12)))
    names = [run.name for run in runs]
    assert len(set(names)) == 12
    assert all(name.startswith("adult-income.csv-2") for name in names)


def test_a_name_that_is_taken(tmp_path: Path) -> None:
    RunDirectory.create(tmp_path, name="a", config={"mine": 1})
    with pytest.raises(ConfigError, match=r"the run .* exists already") as caught:
        RunDirectory.create(tmp_path, name="a", config={"mine": 2})
    assert "resume" in str(caught.value.hint)
    assert RunDirectory.open(tmp_path / "a").read_json("config.json") == {"mine": 1}


BAD_NAMES = [
    "",
    " ",
    ".",
    "..",
    "...",
    "a/b",
    "../a",
    "/etc",
    "a\\b",
    "a\0b",
    "a\nb",
    " a",
    "a ",
    "x" * 121,
    "c:",
    'q"',
    "a*",
    "a|b",
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_cannot_be(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be the name of a run or of a file in it"):
        RunDirectory.create(tmp_path, name=name)
    run = RunDirectory.create(tmp_path, name="fine")
    with pytest.raises(ConfigError, match="cannot be the name"):
        run.write_json(name, {})
    with pytest.raises(ConfigError, match="cannot be the name"):
        run.read_json(name)
    assert os.listdir(tmp_path) == ["fine"]


@pytest.mark.parametrize("name", ["a.b", "结果", "run-1_final (2)", "été", "x" * 120])
def test_names_that_can(tmp_path: Path, name: str) -> None:
    assert RunDirectory.create(tmp_path, name=name).name == name


@pytest.mark.parametrize("dataset", ["", "...", "/", "\0", "数据 表.csv", "../../etc/passwd", "x" * 500])
def test_default_names_come_from_any_data_set(tmp_path: Path, dataset: str) -> None:
    run = RunDirectory.create(tmp_path, dataset=dataset)
    assert run.path.parent == tmp_path
    assert run.config_path.is_file()


def test_roots_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    for options in ({"name": "a"}, {}):
        with pytest.raises(ArtifactError, match=r"cannot make (the run|runs in)"):
            RunDirectory.create(tmp_path / "file", **options)

    def refuse(self: Path, *args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(run_module.Path, "mkdir", refuse)
    with pytest.raises(ArtifactError, match=r"cannot make the run .*: Permission denied"):
        RunDirectory.create(tmp_path / "runs", name="a")


def test_runs_that_are_not_there(tmp_path: Path) -> None:
    RunDirectory.create(tmp_path, name="kept")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ArtifactError, match=r"there is no run .*kep; the latest in .*: kept\nHint: give"):
        RunDirectory.open(tmp_path / "kep")
    with pytest.raises(ArtifactError, match=r"is not a run: it has no config.json"):
        RunDirectory.open(tmp_path / "folder")


def test_metrics_survive_a_torn_line(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, name="a")
    assert run.read_metrics() == []
    run.append_metrics({"epoch": 0, "loss": np.float32(0.5), "best": True, "gap": float("inf")})
    run.append_metrics({"epoch": 1})
    with run.metrics_path.open("a") as file:
        file.write('{"epoch": 2, "lo')
    assert [row["epoch"] for row in run.read_metrics()] == [0, 1]
    run.append_metrics({"epoch": 2})
    assert run.read_metrics() == [{"epoch": 0, "loss": 0.5, "best": True, "gap": None}, {"epoch": 1}, {"epoch": 2}]
    run.rewind_metrics(0)
    assert [row["epoch"] for row in run.read_metrics()] == [0]


def test_metrics_with_a_single_torn_line(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, name="a")
    run.metrics_path.write_text('{"epoch"')
    run.append_metrics({"epoch": 0})
    assert run.read_metrics() == [{"epoch": 0}]


@pytest.mark.parametrize("line", ["[1]", "nonsense", "[" * 100_000, '"text"'])
def test_metrics_that_are_not_metrics(tmp_path: Path, line: str) -> None:
    run = RunDirectory.create(tmp_path, name="a")
    run.append_metrics({"epoch": 0})
    with run.metrics_path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ArtifactError, match=r"line 2 of .* is not a JSON object"):
        run.read_metrics()


def test_a_damaged_config(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, name="a")
    for text in ("", "{", "[]", '{"a": NaN}', '{"a": 1, "a": 2}'):
        run.config_path.write_text(text)
        with pytest.raises(ArtifactError, match=r"config.json"):
            run.read_json("config.json")
    with pytest.raises(ArtifactError, match="does not exist"):
        run.read_json("results.json")


# --- killed at any moment, held by one process ---


class Killed(BaseException):
    """What a kill is to the code that it hits: nothing after it runs."""


@pytest.mark.parametrize("call", ["open", "fsync", "replace", "rename", "mkdir"])
def test_a_run_appears_with_its_files_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """Killed at each system call in turn: what is there is a whole run, or the name is still free."""
    real = getattr(os, call)
    for at in range(20):
        root, reached = tmp_path / f"{call}-{at}", 0
        root.mkdir()

        def dying(*args: object, real=real, at=at, **kwargs: object) -> object:
            nonlocal reached
            reached += 1
            if reached > at:
                raise Killed
            return real(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, dying)
            patch.setattr("shutil.rmtree", lambda *args, **kwargs: None)  # nor does any cleaning
            patch.setattr(Path, "unlink", lambda *args, **kwargs: None)
            try:
                RunDirectory.create(root, name="a", config={"x": 1}, files={"source.json": {"sha256": None}})
            except Killed:
                pass
            else:
                assert at > 0
                break
        if (root / "a").exists():
            assert RunDirectory.open(root / "a").read_json("source.json") == {"sha256": None}
        else:
            RunDirectory.create(root, name="a", config={"x": 1})
    else:
        pytest.fail(f"os.{call} is called too often")


def test_an_empty_folder_is_free(tmp_path: Path) -> None:
    """As a killed process left it, before runs were made elsewhere and renamed."""
    (tmp_path / "a").mkdir()
    assert RunDirectory.create(tmp_path, name="a").config_path.is_file()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine.txt").write_text("x")
    with pytest.raises(ConfigError, match="exists already"):
        RunDirectory.create(tmp_path, name="b")
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    dead, mine = f".a.{gone.pid}-0123abcd.tmp", f".a.{os.getpid()}-0123abcd.tmp"
    for name in (dead, mine):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    (tmp_path / ".a.notes.tmp").write_text("the user's")
    run = RunDirectory.create(tmp_path, name="a")
    assert sorted(os.listdir(tmp_path)) == sorted([".a.notes.tmp", mine, "a"])
    for name in (
        "checkpoints/.last.safetensors.123.part",
        f"checkpoints/.x.{os.getpid()}-0123abcd.tmp",
        ".artifact.1-0123abcd.tmp",
    ):
        (run.path / name).parent.mkdir(exist_ok=True)
        (run.path / name).write_text("half")
    with run.locked():
        assert sorted(os.listdir(run.path)) == [".lock", "checkpoints", "config.json"]
        assert not os.listdir(run.checkpoints_path)


def test_a_run_is_held_by_one_process(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, name="a")
    again = RunDirectory.open(run.path)
    with run.locked():
        with (
            pytest.raises(ConfigError, match=rf"a is in use by process {os.getpid()} on .+\nHint: wait"),
            again.locked(),
        ):
            pass
        assert (run.path / ".lock").exists()
    assert not (run.path / ".lock").exists()
    with again.locked():
        pass
    program = (
        "import sys, time; from danlu.artifact import RunDirectory\n"
        "with RunDirectory.open(sys.argv[1]).locked(): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", program, str(run.path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(ConfigError, match=f"in use by process {holder.pid} on"), run.locked():
        pass
    holder.kill()
    holder.wait()
    holder.stdout.close()
    with run.locked():  # its death released it
        pass


def test_where_there_are_no_locks_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDirectory.create(tmp_path, name="a")

    def unsupported(handle: int) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr("danlu.artifact.lock._lock", unsupported)
    with run.locked(), run.locked():
        pass
