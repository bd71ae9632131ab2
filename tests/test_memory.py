"""How much memory is free, and what is said where it does not suffice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import danlu
from danlu import memory, nn
from danlu.errors import TrainingError


def control_group(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)


def test_what_the_machine_has_and_the_container_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    free = memory.available_memory()
    assert 2**20 < free < 2**50
    control_group(tmp_path, {"memory.max": "max\n", "memory.current": "5\n"})
    assert memory._container() == memory._UNKNOWN
    control_group(
        tmp_path, {"memory.max": "1000\n", "memory.current": "700\n", "memory.stat": "anon 5\ninactive_file 200\n"}
    )
    assert memory.available_memory() == 500
    (tmp_path / "memory.max").unlink()
    control_group(
        tmp_path,
        {"memory/memory.limit_in_bytes": "900", "memory/memory.usage_in_bytes": "400", "memory/memory.stat": "x\n"},
    )
    assert memory.available_memory() == 500


def test_a_limit_of_the_process_counts() -> None:
    program = "from danlu.memory import available_memory; print(available_memory())"
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_AS, (2**29, 2**29)); {program}"
    done = subprocess.run([sys.executable, "-c", limited], capture_output=True, text=True, check=True)
    assert 2**28 < int(done.stdout) < 2**29


def test_a_network_that_does_not_fit_is_refused_before_it_is_made() -> None:
    x = np.ones((4, 1000), np.float32)
    with pytest.raises(TrainingError, match=r"weights take 3.6 TiB, and training it about 18.2 TiB; .* are free"):
        danlu.fit(nn.Sequential((nn.Dense(10**9), nn.Dense(1))), (x, x[:, 0]), loss="mse", epochs=1, display="none")


def test_a_shortage_in_training_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*args: object, **how: object) -> None:
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 123 bytes.")

    monkeypatch.setattr("danlu.engine.training.run_steps", short)
    x = np.ones((4, 2), np.float32)
    with pytest.raises(TrainingError, match="there was not enough memory in epoch 1"):
        danlu.fit(nn.Dense(1), (x, x[:, 0]), loss="mse", epochs=1, display="none")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("MemoryError()", "danlu: there was not enough memory"),
        ("ValueError('Unable to allocate 9 GiB')", "danlu: there was not enough memory"),
        ("RecursionError()", "danlu: the input is nested too deeply"),
        ("OSError(28, 'No space left on device', 'runs/x')", "danlu: No space left on device (runs/x); what was saved"),
    ],
)
def test_the_command_ends_with_one_message(error: str, said: str) -> None:
    program = (
        "import danlu.cli.app as app; from danlu.cli import main\n"
        f"def failing(): raise {error}\n"
        "app.app = failing\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(said)
    assert "Traceback" not in done.stderr
