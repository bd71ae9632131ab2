"""A training killed at any call that changes a file goes on to the bits of one that was never killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from crash import Killed, killed_at
from safetensors import safe_open

from danlu import nn
from danlu.engine import fit, fit_population
from danlu.engine.training import CHECKPOINT

RNG = np.random.default_rng(0)
X = RNG.normal(size=(70, 3)).astype(np.float32)
Y = (X[:, 0] - X[:, 1]).astype(np.float32)
MODEL = nn.Sequential((nn.Dense(4, "tanh"), nn.Dropout(0.3), nn.Dense(1)))
SETTINGS: dict[str, Any] = {"loss": "mse", "epochs": 2, "display": "none", "checkpoint_every": 0.0}
HELD_OUT = (X[:16], Y[:16])


class Chunks:
    """A table in chunks, whose sequence is the epoch's own."""

    def chunks(self, epoch: int, start: int) -> Any:
        for part in np.random.default_rng(epoch).permutation(4)[start:]:
            rows = slice(16 * part, 16 * part + 16)
            yield {"x": X[rows], "y": Y[rows], "weight": np.ones(16, np.float32)}


def arrays(folder: Path) -> Any:
    """65 steps an epoch: the trainer looks up after 64 of them, so a checkpoint falls between. The best is a moving average."""
    own: Any = {"batch_size": 1, "validation": HELD_OUT, "average": "ema"}
    return fit(MODEL, (X[:65], Y[:65]), checkpoint=folder, resume=True, **own, **SETTINGS)


def batches(folder: Path) -> Any:
    """Each batch is a piece of its own."""
    parts = [(X[i : i + 16], Y[i : i + 16]) for i in range(0, 48, 16)]
    return fit(MODEL, parts, validation=HELD_OUT, checkpoint=folder, resume=True, **SETTINGS)


def chunks(folder: Path) -> Any:
    """Chunks that are read ahead, and read again for the statistics of a mean of weights."""
    model = nn.Sequential((nn.Dense(4, "tanh"), nn.BatchNorm(), nn.Dense(1)))
    own: Any = {"batch_size": 16, "average": "swa", "average_start": 0}
    return fit(model, Chunks(), checkpoint=folder, resume=True, **own, **SETTINGS)


def population(folder: Path) -> Any:
    """Two members side by side, each with its own best."""
    data: Any = {"batch_size": 1, "validation": HELD_OUT, "seeds": [1, 2], "checkpoint": folder}
    return fit_population(MODEL, (X[:65], Y[:65]), resume=True, **data, **SETTINGS)


def snapshots(folder: Path) -> Any:
    """Two members, of which the ends of both epochs are kept."""
    data: Any = {"batch_size": 1, "validation": HELD_OUT, "seeds": [1, 2], "snapshots": 2, "checkpoint": folder}
    return fit_population(MODEL, (X[:65], Y[:65]), resume=True, **data, **SETTINGS)


def bits(found: Any) -> list[Any]:
    """Everything that a training ends in, but for how long it took."""
    seen: list[Any] = []
    for each in found if isinstance(found, list) else [found]:
        kept = [{k: v for k, v in row.items() if k not in ("seconds", "rows_per_second")} for row in each.history]
        tree = (each.params, each.state, each.train_state.params, each.train_state.opt_state, each.train_state.average)
        seen.append((json.dumps(kept), each.best_epoch, [np.asarray(a).tobytes() for a in jax.tree.leaves(tree)]))
    return seen


def note_of(folder: Path) -> dict[str, Any] | None:
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    with safe_open(path, framework="numpy") as file:
        note: dict[str, Any] = json.loads(file.metadata()["note"])
        return note


def calls_of(train: Callable[[Path], Any], folder: Path) -> list[str]:
    """Every call of a whole training that changes a file."""
    with killed_at(1_000_000, folder) as calls:
        train(folder)
    return calls


def check_kills(train: Callable[[Path], Any], points: list[int], folder: Path) -> set[str]:
    """Killed at each of these calls and taken up again; the calls at which it died. Some died with a checkpoint from midway."""
    whole, seen, midway = bits(train(folder / "whole")), set(), 0
    for point in points:
        one = folder / str(point)
        try:
            with killed_at(point, one) as calls:
                train(one)
        except Killed:
            seen.add(calls[-1])
        else:
            break  # how many checkpoints there are goes by how quick the machine is; it had fewer this time
        note = note_of(one)
        midway += bool(note and note["mid_epoch"] and (note["piece"] or note["start"]))
        assert bits(train(one)) == whole, f"killed at call {point}, {calls[-1]}"
    assert midway >= 2, "hardly a kill left a checkpoint from within an epoch"
    return seen


def test_killed_at_any_call_it_ends_in_the_same_bits(tmp_path: Path) -> None:
    """Every call that the first three checkpoints make: the next ones make the same."""
    calls = calls_of(batches, tmp_path / "counted")
    third = [point for point, call in enumerate(calls) if call == "replace"][2]
    seen = check_kills(batches, list(range(third + 5)), tmp_path)
    assert {"mkdir", "open", "write", "fsync", "replace"} <= seen


@pytest.mark.parametrize("train", [arrays, chunks, population, snapshots])
def test_killed_after_any_checkpoint_it_ends_in_the_same_bits(train: Callable[[Path], Any], tmp_path: Path) -> None:
    """Killed where each checkpoint would take the place of the one before, whatever training walks."""
    calls = calls_of(train, tmp_path / "counted")
    check_kills(train, [point for point, call in enumerate(calls) if call == "replace"], tmp_path)


def test_killed_again_and_again_it_ends_in_the_same_bits(tmp_path: Path) -> None:
    """Each life dies a few calls later than the one before; none of what they leave behind does harm."""
    whole, lives = bits(batches(tmp_path / "whole")), 0
    for point in range(4, 40):
        try:
            with killed_at(point, tmp_path / "killed"):
                found = batches(tmp_path / "killed")
        except Killed:
            lives += 1
        else:
            break
    assert lives >= 3
    assert bits(found) == whole


SCRIPT = textwrap.dedent(
    """
    import os, signal, sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[1])
    from crash import killed_at
    from test_engine_crash import batches
    folder = Path(sys.argv[2])
    with killed_at(int(sys.argv[3]), folder, die=lambda: os.kill(os.getpid(), signal.SIGKILL)):
        batches(folder)
    """
)


def test_a_process_that_is_really_killed_in_the_middle_of_a_write(tmp_path: Path) -> None:
    """SIGKILL within the third checkpoint, half of which is written: the second one is whole, and training goes on from it."""
    whole, calls = bits(batches(tmp_path / "whole")), calls_of(batches, tmp_path / "counted")
    third = [number for number, call in enumerate(calls) if call == "write"][2]
    arguments = [sys.executable, "-c", SCRIPT, str(Path(__file__).parent), str(tmp_path / "killed"), str(third)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    assert len(list((tmp_path / "killed").iterdir())) == 2  # the checkpoint, and what was begun of the next
    note = note_of(tmp_path / "killed")
    assert note is not None
    assert note["mid_epoch"]
    assert bits(batches(tmp_path / "killed")) == whole
    assert [path.name for path in (tmp_path / "killed").iterdir()] == [CHECKPOINT]
