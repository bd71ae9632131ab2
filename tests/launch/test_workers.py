"""Workers that do jobs: processes of this machine that die, refuse, or are stopped."""

from __future__ import annotations

import math
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from worker_jobs import job

from danlu.artifact import RunDirectory
from danlu.cli.workers import workers_of
from danlu.errors import ConfigError, DataError, MissingExtraError, TrainingError
from danlu.launch import Workers
from danlu.launch import workers as module


@pytest.fixture(autouse=True)
def _found_by_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers find the modules of this folder."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)]))


def done(tmp_path: Path, *jobs: str, count: int = 2) -> list[tuple[int, Any]]:
    return sorted(Workers(count).each(job, [(each, str(tmp_path)) for each in jobs]))


def test_a_job_is_done_again_when_its_worker_died(tmp_path: Path) -> None:
    assert done(tmp_path, "one", "die once", "three") == [(0, "ONE"), (1, "DIE ONCE"), (2, "THREE")]
    assert (tmp_path / "died").exists()


def test_a_mistake_and_a_signal_end_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="there is no such row\nHint: look again"):
        done(tmp_path, "refuse", "one", count=1)
    with pytest.raises(TrainingError, match="stopped by SIGTERM; what was learned is kept") as caught:
        done(tmp_path, "stop", "one", count=1)
    assert caught.value.stopped_by == signal.SIGTERM
    monkeypatch.setattr(module, "RESTARTS", 1)
    with pytest.raises(TrainingError, match="the worker of job 1 of 1 ended with status 7, 2 times"):
        done(tmp_path, "die")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("slurm", 2, None, None), "--on is 'slurm'; expected processes, ray, or the address"),
        ((None, 0, None, None), "--workers is 0; expected a whole number >= 1"),
        ((None, 2, 1.0, None), "--cpus is 1, but processes of one machine share"),
        ((None, None, None, 1.0), "--gpus is of workers, and there are none"),
        (("ray", None, None, -1.0), "--gpus is -1; expected a number >= 0"),
        (("ray", None, None, math.inf), "--gpus is inf; expected a number >= 0"),
        (("ray", None, math.nan, None), "--cpus is nan; expected a number >= 0.1"),
    ],
)
def test_options_that_cannot_be_are_refused(options: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        workers_of(*options)
    assert workers_of(None, None, None, None) is None


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"--on ray needs Ray\nHint: pip install \"danlu\[ray\]\""):
        list(Workers(2, on="ray").each(str.upper, ["a"]))


def test_the_folder_of_the_next_run_is_known_before_it_begins(tmp_path: Path) -> None:
    found = RunDirectory.next_path(tmp_path, dataset="titanic")
    assert found.parent == tmp_path
    assert found.name.startswith("titanic-")
    RunDirectory.create(tmp_path, name="mine")
    with pytest.raises(ConfigError, match=r"the run .*mine exists already"):
        RunDirectory.next_path(tmp_path, name="mine")
