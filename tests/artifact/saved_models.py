"""A small model that the tests of saved models share; run as a program it writes the golden file of this format version."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).with_name("golden")


def parts() -> dict[str, Any]:
    """The arguments of ``save_artifact`` for a model of two inputs; the same on every machine."""
    from danlu.nn import Dense, Dropout, Sequential

    kernel = np.arange(6, dtype=np.float32).reshape(2, 3) / 7 - 0.3
    return {
        "model": Sequential((Dense(3, activation="relu"), Dropout(0.25), Dense(2))),
        "variables": (
            (
                {"kernel": kernel, "bias": np.array([0.5, -0.0, 1e-40], np.float32)},
                {},
                {"kernel": kernel.T.copy(), "bias": np.zeros(2, np.float32)},
            ),
            ({}, {"rate": np.float32(0.25)}, {}),
        ),
        "task": {"name": "binary", "positive": "yes"},
        "schema": {"target": "y", "columns": [{"name": "名字", "kind": "numeric"}]},
        "encoder": {"scaling": "standard"},
        "encoder_arrays": {"center": np.array([0.1, np.nan]), "codes": np.array([[1, 2]], np.int16)},
        "classes": ["no", "yes"],
        "threshold": 0.375,
        "metrics": {"accuracy": 0.75, "loss": float("nan")},
        "provenance": {"source": "table.csv"},
        "extra": {"note": "a/b\n<é>"},
    }


def main(folder: str) -> None:
    from danlu.artifact import FORMAT_VERSION, save_artifact

    target = Path(folder, f"version-{FORMAT_VERSION}")
    if target.exists():
        sys.exit(f"{target} is there already; a golden file is written once")
    save_artifact(target, **parts())


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else str(GOLDEN))
