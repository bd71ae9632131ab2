"""What ``import danlu`` adds to a process that has already imported JAX: the median over five fresh processes."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

PROBE = "import time, jax; t = time.perf_counter(); import danlu; print(time.perf_counter() - t)"
BAR = 0.3


def main() -> None:
    """Measure and print; one process more goes first, so that byte code is compiled and files are read."""
    command = [sys.executable, "-c", PROBE]
    times = [float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(6)][1:]
    median = statistics.median(times)
    report = {"median_seconds": median, "seconds": times, "bar_seconds": BAR, "load": os.getloadavg()[0]}
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "import_time.json").write_text(json.dumps(report, indent=1) + "\n")
    verdict = "met" if median <= BAR else "not met"
    print(f"import danlu adds {median:.3f} s after import jax (bar {BAR} s: {verdict}; load {report['load']:.1f})")


if __name__ == "__main__":
    main()
