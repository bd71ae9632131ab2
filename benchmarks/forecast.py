"""The default forecast of ETTh1 beside published figures: multivariate, the standard split, several seeds.

    .venv/bin/python benchmarks/forecast.py --data FOLDER [--horizons 96] [--seeds 0,1,2]

The first 14,400 hours: 12 months to train, 4 to validate, 4 to test; every window of the test part; values standardised by the
training part. Nothing is tuned on the test. What the results' file holds of other horizons and seeds is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"
PUBLISHED = {96: {"DLinear": 0.375, "Autoformer": 0.449}}
"""Test MSE: Zeng et al. (2023), arXiv:2205.13504, table 2."""


def _run(source: Path, horizon: int, seed: int) -> dict[str, Any]:
    from danlu import train
    from danlu.data import read_table

    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as runs:
        result = train(
            read_table(source).frame[:14_400], runs=runs, display="none", say=lambda line: None,
            forecast={"columns": "all", "horizon": horizon}, split={"validation": 0.2, "test": 0.2},
            trainer={"seed": seed}, evaluate={"report": False},
        )  # fmt: skip
    judged = result.judgement
    return {
        "horizon": horizon,
        "seed": seed,
        **result.scores,
        "interval": [judged.scores["mse"].low, judged.scores["mse"].high],
        "baselines": {label: scores["mse"].value for label, scores in judged.others.items()},
        "seconds": round(time.perf_counter() - begun, 1),
        "load": round(os.getloadavg()[0], 1),
    }


def _table(rows: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row["baselines"]))
    lines = [
        f"| horizon | seeds | danlu, MSE | MAE | coverage of 80 % | {' | '.join(names)} | published | seconds |",
        "|--:|--:|--:|--:|--:|" + "--:|" * len(names) + "---|--:|",
    ]
    for horizon in dict.fromkeys(row["horizon"] for row in rows):
        mine = [row for row in rows if row["horizon"] == horizon]
        mse = np.array([row["mse"] for row in mine])
        means = {name: np.mean([row[name] for row in mine]) for name in ("scaled_mae", "coverage")}
        simple = " | ".join(f"{np.mean([row['baselines'][name] for row in mine]):.3f}" for name in names)
        published = ", ".join(f"{name} {value}" for name, value in PUBLISHED.get(horizon, {}).items())
        seconds = [row["seconds"] for row in mine]
        lines.append(
            f"| {horizon} | {len(mine)} | {mse.mean():.4f} ({mse.min():.4f} to {mse.max():.4f}) | {means['scaled_mae']:.4f} "
            f"| {means['coverage']:.1%} | {simple} | {published} | {min(seconds):.0f} to {max(seconds):.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run, and write the results after each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--horizons", default="96")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--out", type=Path, default=RESULTS / "forecast.json")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = json.loads(arguments.out.read_text())["rows"] if arguments.out.exists() else []
    for horizon in map(int, arguments.horizons.split(",")):
        for seed in map(int, arguments.seeds.split(",")):
            found = _run(arguments.data / "etth1" / "ETTh1.csv", horizon, seed)
            print(found, flush=True)
            rows = [row for row in rows if (row["horizon"], row["seed"]) != (horizon, seed)] + [found]
            machine = f"{platform.machine()}, {os.cpu_count()} cores"
            arguments.out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    arguments.out.with_suffix(".md").write_text(_table(rows) + "\n")
    print(_table(rows))


if __name__ == "__main__":
    main()
