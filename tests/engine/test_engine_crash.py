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
    """65 steps an epoch: the trainer looks up after 64 of them, so a checkpoint falls between."""
    return fit(MODEL, (X[:65], Y[:65]), batch_size=1, validation=HELD_OUT, checkpoint=folder, resume=True, **SETTINGS)


def batches(folder: Path) -> Any:
    """Each batch is a piece of its own."""
    parts = [(X[i : i + 16], Y[i : i + 16]) for i in range(0, 64, 16)]
    return fit(MODEL, parts, validation=HELD_OUT, checkpoint=folder, resume=True, **SETTINGS)


def chunks(folder: Path) -> Any:
    """Chunks that are read ahead."""
    return fit(MODEL, Chunks(), batch_size=16, checkpoint=folder, resume=True, **SETTINGS)


def population(folder: Path) -> Any:
    """Two members side by side, each with its own best."""
    data: Any = {"batch_size": 1, "validation": HELD_OUT, "seeds": [1, 2], "checkpoint": folder}
    return fit_population(MODEL, (X[:65], Y[:65]), resume=True, **data, **SETTINGS)


def bits(found: Any) -> list[Any]:
    """Everything that a training ends in, but for how long it took."""
    seen: list[Any] = []
    for each in found if isinstance(found, list) else [found]:
        kept = [{k: v for k, v in row.items() if k not in ("seconds", "rows_per_second")} for row in each.history]
        tree = (each.params, each.state, each.train_state.params, each.train_state.opt_state)
        seen.append((json.dumps(kept), each.best_epoch, [np.asarray(a).tobytes() for a in jax.tree.leaves(tree)]))
    return seen


def note_of(folder: Path) -> dict[str, Any] | None:
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    with safe_open(path, framework="numpy") as file:
        note: dict[str, Any] = json.loads(file.metadata()["note"])
        return note


@pytest.mark.parametrize("train", [arrays, batches, chunks, population])
def test_killed_at_any_call_it_ends_in_the_same_bits(train: Callable[[Path], Any], tmp_path: Path) -> None:
    whole, seen, midway = bits(train(tmp_path / "whole")), set(), 0
    for point in range(1000):
        folder = tmp_path / str(point)
        try:
            with killed_at(point, folder) as calls:
                train(folder)
        except Killed:
            seen.add(calls[-1])
            note = note_of(folder)
            midway += bool(note and note["mid_epoch"] and (note["piece"] or note["start"]))
            assert bits(train(folder)) == whole, f"killed at call {point}, {calls[-1]}"
        else:
            break
    assert {"open", "write", "fsync", "replace"} <= seen
    assert midway >= 5, "hardly a kill left a checkpoint from within an epoch"


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
    assert [path.name for path in (tmp_path / "killed").iterdir()] == [CHECKPOINT]


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
    whole = bits(batches(tmp_path / "whole"))
    with killed_at(1000, tmp_path / "counted") as calls:
        batches(tmp_path / "counted")
    third = [number for number, call in enumerate(calls) if call == "write"][2]
    arguments = [sys.executable, "-c", SCRIPT, str(Path(__file__).parent), str(tmp_path / "killed"), str(third)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    assert len(list((tmp_path / "killed").iterdir())) == 2  # the checkpoint, and what was begun of the next
    note = note_of(tmp_path / "killed")
    assert note is not None
    assert note["mid_epoch"]
    assert bits(batches(tmp_path / "killed")) == whole
