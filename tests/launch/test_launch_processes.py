"""Two processes train one model: the same weights whatever happens to them, with each kind of data, and however they are started."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="danlu launch needs Linux or macOS")]

FAULTS = Path(__file__).parent / "faults"
SMALL = (
    "model.kind=network", "model.members=2", "model.width=8", "model.depth=1", "split.folds=1", "evaluate.baselines=false",
    "evaluate.report=false",
)  # fmt: skip


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(240, 3))
    rows = [f"{a:.4f},{b:.4f},{c:.4f},{'yes' if a + b * c > 0 else 'no'}" for a, b, c in x]
    path = tmp_path_factory.mktemp("launch") / "table.csv"
    path.write_text("a,b,c,y\n" + "\n".join(rows) + "\n")
    return path


@contextlib.contextmanager
def begun(words: list[str], folder: Path, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A danlu that ends with the test, and its processes with it."""
    path = os.pathsep.join([*([str(FAULTS)] if variables else []), *sys.path])
    process = subprocess.Popen(
        [sys.executable, "-m", "danlu", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()  # its processes end when they find that it has gone
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def ended(process: subprocess.Popen[str], seconds: float = 240) -> tuple[int, str]:
    said, _ = process.communicate(timeout=seconds)
    return process.returncode, said


def done(words: list[str], folder: Path, **variables: str) -> str:
    with begun(words, folder, **variables) as process:
        status, said = ended(process)
    assert status == 0, said
    return said


def training(table: Path, name: str, *settings: str, options: tuple[str, ...] = ("--processes", "2")) -> list[str]:
    return ["launch", *options, "--", "train", str(table), "--target", "y", "--name", name, *SMALL, *settings]


def weights(folder: Path, name: str) -> str:
    return hashlib.sha256((folder / "runs" / name / "artifact" / "weights.safetensors").read_bytes()).hexdigest()


def history(folder: Path, name: str) -> list[dict[str, Any]]:
    path = folder / "runs" / name / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def children(process: subprocess.Popen[str]) -> list[int]:
    """The processes of a launcher, in order of their ranks."""
    found = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return sorted(map(int, found))


def until(true: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, "it did not come so far"
        time.sleep(0.05)


LONG = ("trainer.epochs=60", "trainer.patience=60")


@pytest.fixture(scope="module")
def uninterrupted(table: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("whole")
    done(training(table, "whole", *LONG), folder)
    return weights(folder, "whole")


@pytest.mark.parametrize("seed", range(3))
def test_a_process_is_killed_at_a_random_moment_and_the_weights_are_the_same_to_the_bit(
    seed: int, table: Path, uninterrupted: str, tmp_path: Path
) -> None:
    draw = random.Random(seed)
    with begun(training(table, "hit", *LONG), tmp_path, FAULT_SAVE="0.05") as process:
        for _ in range(2):  # twice: also while it starts again
            after = draw.randrange(3, 45)
            until(lambda after=after: len(history(tmp_path, "hit")) > after, process)  # type: ignore[misc]
            time.sleep(draw.random() * 0.2)
            os.kill(draw.choice(children(process)), signal.SIGKILL)
            time.sleep(draw.random() * 4)
        status, said = ended(process)
    assert status == 0, said
    assert said.count("was killed by SIGKILL; all processes start again") == 2, said
    assert "from the last checkpoint (restart 1 of 3)" in " ".join(said.split())
    assert weights(tmp_path, "hit") == uninterrupted
    assert [row["epoch"] for row in history(tmp_path, "hit")] == list(range(60))


def test_a_process_that_is_stopped_and_one_that_waits_for_ever_are_found(
    table: Path, uninterrupted: str, tmp_path: Path
) -> None:
    how = ("--processes", "2", "--timeout", "25")
    with begun(
        training(table, "still", *LONG, options=how), tmp_path, FAULT_SAVE="0.05", FAULT_HANG=f"1:40:{tmp_path / 'was'}"
    ) as process:
        until((tmp_path / "was").exists, process)
        hung, before = time.monotonic(), children(process)
        until(lambda: len(set(children(process)) - set(before)) == 2, process)
        assert time.monotonic() - hung < 25 + 30
        until(lambda: len(history(tmp_path, "still")) > 35, process)
        number = children(process)[1]
        os.kill(number, signal.SIGSTOP)
        status, said = ended(process)
    text = " ".join(said.split())
    assert status == 0, said
    assert "no process has come further for 25 s (--timeout): process 1 is behind" in text
    assert f"process 1 (pid {number}) has said nothing for 20 s" in text
    assert weights(tmp_path, "still") == uninterrupted


def test_one_process_fewer_goes_on_to_the_same_up_to_rounding(table: Path, tmp_path: Path) -> None:
    how = ("trainer.epochs=25", "trainer.patience=25", "model.dropout=0")
    done(training(table, "two", *how), tmp_path)
    with begun(
        training(table, "fewer", *how, options=("--processes", "2", "--elastic")), tmp_path, FAULT_SAVE="0.05"
    ) as process:
        until(lambda: len(history(tmp_path, "fewer")) > 5, process)
        os.kill(children(process)[1], signal.SIGKILL)
        status, said = ended(process)
    assert status == 0, said
    assert "with 1 process (restart 1 of 3)" in " ".join(said.split())
    done(training(table, "one", *how, options=("--processes", "1")), tmp_path)
    two, fewer, one = ([row["val_log_loss"] for row in history(tmp_path, name)] for name in ("two", "fewer", "one"))
    np.testing.assert_allclose(fewer, two, rtol=2e-4)
    np.testing.assert_allclose(one, two, rtol=2e-4)


def test_only_process_0_writes_and_ctrl_c_keeps_what_was_learned(table: Path, tmp_path: Path) -> None:
    with begun(training(table, "cut", "trainer.epochs=20000", "trainer.patience=20000"), tmp_path) as process:
        until(lambda: len(history(tmp_path, "cut")) > 5, process)
        before = children(process)
        process.send_signal(signal.SIGTERM)
        status, said = ended(process)
    assert status == 143, said
    assert "stopped by SIGTERM; what was learned is kept" in " ".join(said.split())
    assert "[1]" not in said
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["cut"]
    epochs = [row["epoch"] for row in history(tmp_path, "cut")]
    assert epochs == list(range(len(epochs))), "each epoch is written once"
    assert (tmp_path / "runs" / "cut" / "results.json").exists()
    assert not any(Path(f"/proc/{number}").exists() for number in before)


def test_a_launcher_that_is_killed_leaves_no_process_behind(table: Path, tmp_path: Path) -> None:
    with begun(training(table, "left", "trainer.epochs=20000", "trainer.patience=20000"), tmp_path) as process:
        until(lambda: len(history(tmp_path, "left")) > 1, process)
        before = children(process)
    end = time.monotonic() + 10
    while any(Path(f"/proc/{number}").exists() for number in before):
        assert time.monotonic() < end
        time.sleep(0.2)


def port() -> int:
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        return int(own.getsockname()[1])


@pytest.mark.parametrize("cluster", ["Slurm", "Open MPI", "DANLU_PROCESSES"])
def test_processes_that_a_cluster_starts_find_each_other(cluster: str, table: Path, tmp_path: Path) -> None:
    own, number = str(port()), str(os.getpid())
    of = {
        "Slurm": lambda rank: {
            "SLURM_JOB_ID": number, "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2",
            "SLURM_PROCID": rank, "SLURM_LOCALID": rank, "JAX_COORDINATOR_PORT": own,
        },
        "Open MPI": lambda rank: {
            "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://127.0.0.1:34911", "OMPI_COMM_WORLD_SIZE": "2",
            "OMPI_COMM_WORLD_RANK": rank, "OMPI_COMM_WORLD_LOCAL_RANK": rank, "JAX_COORDINATOR_PORT": own,
        },
        "DANLU_PROCESSES": lambda rank: {
            "DANLU_COORDINATOR": f"127.0.0.1:{own}", "DANLU_PROCESSES": "2", "JOB_COMPLETION_INDEX": rank,
        },
    }[cluster]  # fmt: skip
    words = training(table, "found", "trainer.epochs=2")[4:]
    with begun(words, tmp_path, **of("0")) as first, begun(words, tmp_path, **of("1")) as second:
        (status, said), (other, silent) = ended(first), ended(second)
    assert (status, other, silent) == (0, 0, ""), said + silent
    assert f"found by {cluster}: 2 processes; this is the first" in said
    assert len(history(tmp_path, "found")) == 2


@pytest.mark.parametrize(
    ("words", "variables", "message"),
    [
        (["nothing.csv"], {}, "danlu: there is no file or folder nothing.csv"),
        (["{table}", "--target", "y", "--folds", "3"], {}, "evaluate.folds is for one process, and this is one of 2"),
        (
            ["{table}", "--target", "y", "trainer.minutes=1"],
            {},
            "trainer.minutes is for one process, and this is one of 2",
        ),
        (
            ["{table}", "--target", "y", "trainer.devices=3"],
            {},
            "trainer.devices is 3, and the 2 processes have 2 together",
        ),
        (["CartPole-v1"], {}, "CartPole-v1 is environments, which one process trains, and this is one of 2"),
        (
            ["{table}", "--target", "y"],
            {"FAULT_VERSION": "1:0.0.1"},
            "the processes of a training differ: the version (danlu) is '0.0.1' in process 1",
        ),
    ],
)
def test_what_cannot_be_done_together_is_one_message(
    words: list[str], variables: dict[str, str], message: str, table: Path, tmp_path: Path
) -> None:
    given = [word.format(table=table) for word in words]
    with begun(["launch", "--processes", "2", "--", "train", *given], tmp_path, **variables) as process:
        status, said = ended(process)
    assert status == 1
    assert said.count(message) == 1, said
    assert "Traceback" not in said
    assert "start again" not in said


def test_a_port_that_is_taken_is_said(table: Path, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        own = f"127.0.0.1:{other.getsockname()[1]}"
        with begun(training(table, "taken", options=("--processes", "2", "--coordinator", own)), tmp_path) as process:
            status, said = ended(process)
    assert status == 1
    assert said.count(f"process 0 cannot listen at {own}") == 1, said


@pytest.mark.parametrize("kind", ["pictures", "texts", "language", "series", "ensemble", "blend"])
def test_each_kind_of_data_is_trained_by_two_processes(kind: str, table: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    if kind == "pictures":
        classes = rng.integers(0, 2, 120)
        pictures = rng.integers(0, 255, (120, 10, 10), dtype=np.uint8) // (1 + 2 * classes)[:, None, None].astype(
            np.uint8
        )
        np.savez(tmp_path / "data.npz", x_train=pictures, y_train=classes)
        words = ["data.npz"]
    elif kind == "texts":
        for number in range(60):
            folder = tmp_path / "data" / ("good" if number % 2 else "bad")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number}.txt").write_text(f"{folder.name} " * rng.integers(1, 5) + f"film {number}")
        words = ["data"]
    elif kind == "language":
        (tmp_path / "data.txt").write_text("the cat sat on the mat and the dog ran. " * 100)
        words = ["data.txt", "model.width=16", "model.depth=1"]
    elif kind == "series":
        days = np.arange("2020-01-01", "2020-10-01", dtype="datetime64[D]")
        values = np.sin(np.arange(len(days)) / 7)
        rows = [f"{day},{value:.4f}" for day, value in zip(days, values, strict=True)]
        (tmp_path / "data.csv").write_text("date,v\n" + "\n".join(rows) + "\n")
        words = ["data.csv", "--forecast", "v"]
    else:
        words = [
            str(table),
            "--target",
            "y",
            *(("--ensemble", "2", "model.kind=network") if kind == "ensemble" else ()),
        ]
    said = done(
        ["launch", "--", "train", *words, "--name", "both", "trainer.epochs=2", "evaluate.baselines=false"], tmp_path
    )
    assert "saved in runs/both" in said
    rows = history(tmp_path, "both")
    assert [row["epoch"] for row in rows] == [0, 1]
    assert json.loads((tmp_path / "runs" / "both" / "config.json").read_text())["trainer"]["devices"] == 2
