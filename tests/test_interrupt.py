"""Signals to stop: noted once within training, the end of the process at any other time, and never a traceback."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from danlu.artifact import load_artifact
from danlu.interrupt import exit_status, graceful, heed, why

SIGNALS = [(signal.SIGINT, "Ctrl-C", 130), (signal.SIGTERM, "SIGTERM", 143), (signal.SIGHUP, "SIGHUP", 129)]
BUSY = """
import signal, sys, time
from danlu.interrupt import graceful, heed, why
if sys.argv[1] == "nohup":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
with heed():
    if sys.argv[1] == "graceful":
        with graceful() as asked:
            print("ready", flush=True)
            end = time.monotonic() + 30
            while not asked and time.monotonic() < end:
                time.sleep(0.01)
            print(why(asked), flush=True)
    else:
        print("ready", flush=True)
    time.sleep(30)
"""


@contextlib.contextmanager
def started(kind: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", BUSY, kind], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process


@pytest.mark.parametrize(("number", "name", "status"), SIGNALS)
def test_with_nothing_to_keep_it_ends_at_once(number: int, name: str, status: int) -> None:
    with started("plain") as process:
        process.send_signal(number)
        _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (status, f"danlu: stopped by {name}\n")


@pytest.mark.parametrize(("number", "name", "status"), SIGNALS)
def test_the_first_is_noted_and_the_second_ends(number: int, name: str, status: int) -> None:
    with started("graceful") as process:
        process.send_signal(number)
        assert process.stdout is not None
        assert process.stdout.readline() == f"stopped by {name}; what was learned is kept\n"
        process.send_signal(number)
        process.communicate(timeout=20)
    assert process.returncode == status
    assert exit_status(number) == status


def test_what_is_ignored_stays_ignored() -> None:
    """As under nohup."""
    with started("nohup") as process:
        process.send_signal(signal.SIGHUP)
        time.sleep(0.2)
        assert process.poll() is None
        process.terminate()
        process.communicate(timeout=20)
    assert process.returncode == 143


def test_handlers_come_back(capfd: pytest.CaptureFixture[str]) -> None:
    before = [signal.getsignal(number) for number, _, _ in SIGNALS]
    with heed(), graceful() as asked:
        os.kill(os.getpid(), signal.SIGTERM)
        end = time.monotonic() + 10
        while not asked and time.monotonic() < end:
            time.sleep(0.001)
        assert why(asked).startswith("stopped by SIGTERM")
    assert [signal.getsignal(number) for number, _, _ in SIGNALS] == before
    with graceful() as asked:  # any other program
        signal.raise_signal(signal.SIGINT)
        assert asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) == before[1]


@pytest.mark.parametrize("delay", [0.15, 0.5, 1.0])
def test_the_first_second_of_the_command_is_no_traceback(delay: float, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "danlu", "train"], stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.endswith("danlu: stopped by Ctrl-C\n")
    assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.parametrize(("number", "name", "status"), SIGNALS)
def test_a_training_that_is_told_to_stop_keeps_what_it_learned(
    number: int, name: str, status: int, tmp_path: Path
) -> None:
    settings = ["trainer.epochs=100000", "trainer.patience=100000", "evaluate.baselines=false", "evaluate.report=false"]
    command = [sys.executable, "-m", "danlu", "train", "--name", "run", "--display", "plain", *settings]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    assert process.stderr is not None
    assert any(line.startswith("epoch") for line in process.stderr)
    process.send_signal(number)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == status
    assert f"stopped by {name}; what was learned is kept" in said
    assert load_artifact(tmp_path / "runs" / "run" / "artifact").metrics
