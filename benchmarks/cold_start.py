"""Seconds from the start of ``danlu train TABLE`` to a saved model, and of ``danlu predict`` for one row, with an empty and a warm cache.

    .venv/bin/python benchmarks/cold_start.py [TABLE TARGET] [--rounds 3]

The clock runs from the start of the process until the artifact's folder appears, which it does whole. ``cpu`` is what the process
used of the cores, which says more where others use them too. Without a table, scikit-learn's breast-cancer table is used.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def _seconds(arguments: list[str], cache: Path, runs: Path) -> dict[str, float]:
    """Seconds until the model is saved, and until the command ends; of the cores, and by the clock."""
    command = [sys.executable, "-m", "danlu", *arguments]
    begun, used = time.perf_counter(), _used()
    environment = {**os.environ, "DANLU_CACHE": str(cache)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        saved = None
        while process.poll() is None:
            if saved is None and any(runs.glob("*/artifact/model.json")):
                saved = time.perf_counter() - begun
            time.sleep(0.01)
    if process.returncode or saved is None:
        raise SystemExit(f"danlu {arguments[0]} failed")
    return {"saved": round(saved, 2), "ended": round(time.perf_counter() - begun, 2), "cpu": round(_used() - used, 2)}


def _machine() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.machine()
    return f"{name}, {os.cpu_count()} cores"


def _load() -> float:
    return round(os.getloadavg()[0], 1)


def _used() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


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
                runs = Path(place) / name
                given = ["train", *arguments, "--display", "none", "--runs", str(runs)]
                rows.append({"command": "train", "cache": name, **_seconds(given, cache, runs), "load": _load()})
                print(rows[-1], flush=True)
            table = Path(chosen.table or Path(place) / "examples" / "breast_cancer.csv")
            row = Path(place) / "row.csv"
            row.write_text("".join(table.read_text().splitlines(keepends=True)[:2]))
            for name in ("empty", "warm"):
                given = ["predict", str(next(runs.iterdir())), str(row)]
                rows.append(
                    {
                        "command": "predict",
                        "cache": name,
                        **_seconds(given, Path(place) / "other", runs),
                        "load": _load(),
                    }
                )
                del rows[-1]["saved"]
                print(rows[-1], flush=True)
    of = lambda command, cache: [row for row in rows if (row["command"], row["cache"]) == (command, cache)]  # noqa: E731
    best = {
        f"{command}, {cache} cache": {key: min(row[key] for row in of(command, cache)) for key in keys}
        for command, keys in (("train", ("saved", "ended", "cpu")), ("predict", ("ended", "cpu")))
        for cache in ("empty", "warm")
    }
    found = {
        "table": Path(chosen.table).name if chosen.table else "breast-cancer",
        "machine": _machine(),
        "least_seconds": best,
        "rounds": rows,
    }
    (RESULTS / "cold_start.json").write_text(json.dumps(found, indent=1) + "\n")
    print(best)


if __name__ == "__main__":
    main()
