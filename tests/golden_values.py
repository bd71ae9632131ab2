"""What other libraries answer, recorded: tests compare danlu with PyTorch, Keras and transformers where none of them is installed.

A test asks ``golden("torch", compute)`` for what ``compute(torch)`` gives, arrays by name. They are read from ``tests/golden/``;
``make golden`` computes them anew, where the libraries are installed, and writes them with the libraries' versions. So the script that
made the numbers is the test itself.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

__all__ = ["Golden", "golden"]

FOLDER = Path(__file__).parent / "golden"
Arrays = dict[str, np.ndarray]


@functools.cache
def _read(file: Path) -> tuple[Arrays, dict[str, str]]:
    if not file.exists():
        return {}, {}
    with safe_open(file, framework="numpy") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata() or {}  # noqa: SIM118


class Golden:
    """The recorded answers of one test.

    Args:
        file: where those of its module are.
        test: the test's name, its parameters included.
        record: whether to ask the library, and to keep what it says.
    """

    def __init__(self, file: Path, test: str, *, record: bool) -> None:
        self.file, self.test, self.record = file, test, record

    def __call__(self, library: str, compute: Callable[[Any], Mapping[str, Any]], *, name: str | None = None) -> Arrays:
        """The arrays that ``compute(library)`` gave; ``name`` is for answers that several tests share."""
        name = name or self.test
        if self.record:
            self._write(name, library, compute(importlib.import_module(library)))
        start = f"{name}/"
        found = {
            name.removeprefix(start): array for name, array in _read(self.file)[0].items() if name.startswith(start)
        }
        if not found:
            pytest.fail(
                f"nothing is recorded for {name} in {self.file}: run `make golden` where {library} is installed"
            )
        return found

    def _write(self, test: str, library: str, answers: Mapping[str, Any]) -> None:
        arrays, notes = _read(self.file)
        kept = {name: array for name, array in arrays.items() if not name.startswith(f"{test}/")}
        new = {f"{test}/{name}": np.array(_plain(value), order="C") for name, value in answers.items()}
        FOLDER.mkdir(exist_ok=True)
        package = library.partition(".")[0]
        notes = {**notes, test: f"{package} {importlib.metadata.version(package)}"}
        save_file(dict(sorted({**kept, **new}.items())), self.file, metadata=dict(sorted(notes.items())))
        self.file.chmod(0o644)
        _read.cache_clear()


def _plain(value: Any) -> np.ndarray:
    """A tensor of PyTorch's, or an array, as NumPy's."""
    return np.asarray(value.detach().numpy() if hasattr(value, "detach") else value)


@pytest.fixture
def golden(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Golden:
    """See :class:`Golden`. The module's ``RNG`` begins anew for the test, so that its inputs do not depend on other tests."""
    name = request.module.__name__.rpartition(".")[2]
    if hasattr(request.module, "RNG"):
        monkeypatch.setattr(request.module, "RNG", np.random.default_rng(zlib.crc32(request.node.name.encode())))
    record = request.config.getoption("--record-golden")
    return Golden(FOLDER / f"{name}.safetensors", request.node.name, record=record)
