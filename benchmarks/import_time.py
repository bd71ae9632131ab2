"""What danlu adds to a process that has already imported JAX: the medians over five fresh processes.

``import danlu`` alone loads next to nothing, for its names are loaded when they are first used. What a program that trains
pays is the second figure: the import together with the first use of ``danlu.fit``, ``danlu.nn`` and ``danlu.optim``.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

PROBE = (
    "import time, jax; t = time.perf_counter(); import danlu; a = time.perf_counter() - t; "
    "danlu.fit, danlu.nn.MLP, danlu.optim.adam; print(a, time.perf_counter() - t)"
)
BAR = 0.3


def main() -> None:
    """Measure and print; one process more goes first, so that byte code is compiled and files are read."""
    command = [sys.executable, "-c", PROBE]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() for _ in range(6)][1:]
    report: dict[str, object] = {"bar_seconds": BAR, "load": os.getloadavg()[0]}
    for index, name in enumerate(("import danlu", "import danlu, with fit, nn and optim")):
        times = [float(run[index]) for run in runs]
        median = statistics.median(times)
        report[name] = {"median_seconds": median, "seconds": times}
        print(f"{name}: {median:.4f} s after import jax (bar {BAR} s: {'met' if median <= BAR else 'not met'})")
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "import_time.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
