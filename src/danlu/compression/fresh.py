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

__all__ = ["peak_of_danlu", "peak_of_onnx"]

_SECONDS = 300
# VmHWM counts this process alone; the resource module's maximum would begin with that of the process that started it.
_SAID = """
def peak():
    try:
        lines = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
        return int(lines["VmHWM"].split()[0]) * 1024
    except (OSError, KeyError):
        import resource, sys
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
"""
_DANLU = """
import sys, numpy as np
import danlu
from danlu.compression.fresh import unpacked
model = danlu.load(sys.argv[1])
model.outputs(unpacked(np.load(sys.argv[2])))
print(peak())
"""
_ONNX = """
import sys, numpy as np, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
kept = np.load(sys.argv[2])
session.run(None, {name: kept[name].astype(object) if kept[name].dtype.kind == "U" else kept[name] for name in kept.files})
print(peak())
"""


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
    return _peak(_DANLU, model, packed(inputs))


def peak_of_onnx(file: Path, feed: Mapping[str, np.ndarray]) -> int:
    """The same of onnxruntime with an exported file, and the file's inputs by name."""
    return _peak(_ONNX, file, {name: each.astype(str) if each.dtype == object else each for name, each in feed.items()})


def _peak(code: str, place: Path, arrays: Mapping[str, np.ndarray]) -> int:
    with tempfile.TemporaryDirectory(prefix="danlu-fresh-") as folder:
        kept = Path(folder) / "rows.npz"
        np.savez(kept, **{name: np.asarray(each) for name, each in arrays.items()})  # type: ignore[arg-type]
        path = os.pathsep.join(each for each in sys.path if each)
        try:
            done = subprocess.run(
                [sys.executable, "-c", _SAID + code, str(place), str(kept)],
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
