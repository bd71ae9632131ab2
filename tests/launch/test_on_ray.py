"""Workers of a Ray cluster of this machine, and folds and trials that workers share."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from worker_jobs import job

import danlu
from danlu.launch import Workers
from danlu.tuning import tune

pytestmark = pytest.mark.slow

ROWS = {
    "x": [float(i % 9) for i in range(120)],
    "z": [i / 7 % 1 for i in range(120)],
    "y": ["no" if i % 9 < 4 else "yes" for i in range(120)],
}
SMALL: dict[str, Any] = {
    "model": {"kind": "network", "width": 8, "depth": 1, "members": 2},
    "trainer": {"epochs": 3},
    "evaluate": {"baselines": False, "importance": False, "report": False},
}


@pytest.fixture(autouse=True)
def _found_by_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers find the modules of this folder, and no cluster of somebody else's."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)]))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def crossed(folder: Path, workers: Workers | None) -> tuple[bytes, bytes]:
    how: dict[str, Any] = {"runs": folder, "name": "run", "display": "none", "say": lambda line: None}
    danlu.cross_validate(ROWS, target="y", folds=2, workers=workers, **how, **SMALL)
    return tuple((folder / "run" / name).read_bytes() for name in ("artifact/weights.safetensors", "predictions.csv"))  # type: ignore[return-value]


def test_folds_that_processes_share_are_those_of_one_to_the_bit(tmp_path: Path) -> None:
    assert crossed(tmp_path / "two", Workers(2)) == crossed(tmp_path / "one", None)


def test_trials_that_processes_share_are_all_done_once(tmp_path: Path) -> None:
    how: dict[str, Any] = {"runs": tmp_path, "name": "run", "display": "none", "say": lambda line: None}
    found = tune(ROWS, target="y", trials=9, batch=3, workers=2, **how, **{**SMALL, "split": {"folds": 2}})
    assert [each.number for each in found.trials] == list(range(9))
    assert {each.state for each in found.trials} <= {"complete", "stopped"}
    journal = (tmp_path / "run" / "study.log").read_text()
    assert len(set(re.findall(r'"process":"([0-9a-f]{12})"', journal))) == 2
    assert not (tmp_path / "run" / "trials").exists()


def test_a_cluster_does_jobs_again_whose_worker_died(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    jobs = [(each, str(tmp_path)) for each in ("one", "die once", "three")]
    assert sorted(Workers(2, on="ray").each(job, jobs)) == [(0, "ONE"), (1, "DIE ONCE"), (2, "THREE")]


def test_a_training_on_ray_that_is_killed_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    pytest.importorskip("ray.train")
    lines = [f"{x},{z},{y}" for x, z, y in zip(*ROWS.values(), strict=True)]
    (tmp_path / "table.csv").write_text("\n".join(["x,z,y", *lines]) + "\n")
    words = [
        "train",
        "table.csv",
        "--target",
        "y",
        "model.kind=network",
        "model.members=1",
        "model.width=8",
        "split.folds=1",
    ]
    words += ["evaluate.baselines=false", "evaluate.report=false", "trainer.epochs=60", "trainer.patience=60"]

    def command(*own: str) -> list[str]:
        return [sys.executable, "-m", "danlu", *own]

    subprocess.run(command("launch", "-n", "2", "--", *words, "--name", "whole"), cwd=tmp_path, check=True)
    trained = subprocess.Popen(command(*words, "--name", "killed", "--on", "ray", "--workers", "2"), cwd=tmp_path)
    metrics, until = tmp_path / "runs" / "killed" / "metrics.jsonl", time.monotonic() + 400
    while time.monotonic() < until and not (metrics.is_file() and metrics.read_text().count("\n") > 5):
        time.sleep(0.1)
    for pid in processes_of("--name killed --runs"):
        os.kill(pid, signal.SIGKILL)
    assert trained.wait(400) == 0

    def weights(name: str) -> bytes:
        return (tmp_path / "runs" / name / "artifact" / "weights.safetensors").read_bytes()

    assert weights("killed") == weights("whole")


def processes_of(words: str) -> list[int]:
    """One of the processes whose command has these words, apart from those that have workers."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            told = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if words.replace("--runs", "").strip() in told and "--on" not in told:
            found.append(int(folder.name))
    return found[:1]
