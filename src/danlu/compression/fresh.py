"""The most memory that a model takes, in a process of its own that has done nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from danlu.errors import DanluError

__all__ = ["packed", "peak_of_danlu", "peak_of_onnx", "unpacked"]

_SECONDS = 300


def packed(inputs: Any) -> dict[str, np.ndarray]:
    """Encoded rows, an array or nested dicts of arrays, as arrays by name.

    >>> unpacked(packed({"a": {"x": np.ones(2)}, "b": np.zeros(1)}))
    {'a': {'x': array([1., 1.])}, 'b': array([0.])}
    """
    if not isinstance(inputs, Mapping):
        return {"": np.asarray(inputs)}
    return {f"/{name}{path}": leaf for name, each in inputs.items() for path, leaf in packed(each).items()}


def unpacked(arrays: Any) -> Any:
    """The inverse of :func:`packed`."""
    found: dict[str, Any] = {}
    for path in arrays:
        if not path:
            return arrays[path]
        node, names = found, path.split("/")[1:]
        for name in names[:-1]:
            node = node.setdefault(name, {})
        node[names[-1]] = arrays[path]
    return found


def peak_of_danlu(model: Path, inputs: Any) -> int:
    """Bytes at the most of a process that loads a saved model with danlu and answers encoded rows, Python and JAX included."""
    return _peak("danlu", model, packed(inputs))


def peak_of_onnx(file: Path, feed: Mapping[str, np.ndarray]) -> int:
    """The same of onnxruntime with an exported file, and the file's inputs by name."""
    return _peak(
        "onnxruntime", file, {name: each.astype(str) if each.dtype == object else each for name, each in feed.items()}
    )


def _peak(engine: str, place: Path, arrays: Mapping[str, np.ndarray]) -> int:
    with tempfile.TemporaryDirectory(prefix="danlu-fresh-") as folder:
        kept = Path(folder) / "rows.npz"
        np.savez(kept, **{name: np.asarray(each) for name, each in arrays.items()})  # type: ignore[arg-type]
        path = os.pathsep.join(each for each in sys.path if each)
        try:
            done = subprocess.run(
                [sys.executable, str(Path(__file__).with_name("alone.py")), engine, str(place), str(kept)],
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=True,
                env={**os.environ, "PYTHONPATH": path},
            )
            return int(done.stdout.split()[-1])
        except (subprocess.SubprocessError, OSError, ValueError, IndexError) as error:
            lines = str(getattr(error, "stderr", None) or error).strip().splitlines() or [type(error).__name__]
            raise DanluError(f"the memory of a fresh process was not measured: {lines[-1][:160]}") from error
