"""Seconds from the start of ``danlu train TABLE`` to a saved model, with an empty and with a warm compilation cache.

    .venv/bin/python benchmarks/cold_start.py [TABLE TARGET] [--rounds 3]

The clock runs from the start of the process until the artifact's folder appears, which it does whole. Without a table,
scikit-learn's breast-cancer table is used.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def _seconds(arguments: list[str], cache: Path, runs: Path) -> tuple[float, float]:
    """Seconds until the model is saved, and until the command ends."""
    command = [sys.executable, "-m", "danlu", "train", *arguments, "--display", "none", "--runs", str(runs)]
    begun = time.perf_counter()
    environment = {**os.environ, "DANLU_CACHE": str(cache)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        saved = None
        while process.poll() is None:
            if saved is None and any(runs.glob("*/artifact/model.json")):
                saved = time.perf_counter() - begun
            time.sleep(0.01)
    if process.returncode or saved is None:
        raise SystemExit("danlu train failed")
    return saved, time.perf_counter() - begun


def main() -> None:
    """Measure, print and write ``results/cold_start.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", nargs="?")
    parser.add_argument("target", nargs="?")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    arguments = [chosen.table, "--target", chosen.target] if chosen.table else []
    rows = []
    for _ in range(chosen.rounds):
        with tempfile.TemporaryDirectory() as place:
            cache = Path(place) / "cache"
            for name in ("empty", "warm"):
                saved, ended = _seconds(arguments, cache, Path(place) / name)
                row = {"cache": name, "saved": round(saved, 2), "ended": round(ended, 2), "load": os.getloadavg()[0]}
                rows.append(row)
                print(row, flush=True)
    best = {name: min(row["saved"] for row in rows if row["cache"] == name) for name in ("empty", "warm")}
    found = {
        "table": Path(chosen.table).name if chosen.table else "breast-cancer",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "saved_least": best,
        "rounds": rows,
    }
    (RESULTS / "cold_start.json").write_text(json.dumps(found, indent=1) + "\n")
    print(best)


if __name__ == "__main__":
    main()
