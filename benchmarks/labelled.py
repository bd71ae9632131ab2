"""`danlu train` at its defaults on real images and texts, beside the baselines of the same run and published figures.

    .venv/bin/python benchmarks/labelled.py --data FOLDER [--sets mnist,sst2] [--seeds 0,1,2] [trainer.epochs=12 …]

Each set has its official test part, which is used once, at the end. What the results' file holds of other sets, seeds and
settings is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import harness  # the file beside this one

RESULTS = Path(__file__).parent / "results"


class Set(NamedTuple):
    """Where a set is, the measure that it is judged by, and what others reached."""

    path: str
    measure: str
    published: str


SETS = {
    "mnist": Set("mnist/mnist.npz", "accuracy", "0.9922, Keras's convnet, 34,826 parameters, 15 epochs"),
    "fashion-mnist": Set(
        "fashion-mnist", "accuracy", "0.925, 2 convolutions below 100,000 parameters (its README, not verified there)"
    ),
    "pneumonia-mnist": Set("pneumonia-mnist/pneumoniamnist.npz", "roc_auc", "0.944, MedMNIST's ResNet-18"),
    "sst2": Set(
        "sst2", "accuracy", "0.827, Kim's CNN from scratch with the labels of phrases too; here whole sentences only"
    ),
    "waimai": Set("waimai/waimai_10k.csv", "accuracy", "–"),
}
SETTINGS: dict[str, dict[str, Any]] = {"waimai": {"target": "label", "data": {"text": "review"}}}


def _run(name: str, folder: Path, seed: int, changes: dict[str, Any]) -> dict[str, Any]:
    import danlu
    from danlu.nn import summary

    own = dict(SETTINGS.get(name, {}))
    trainer = {"seed": seed, **changes.pop("trainer", {})}
    begun, cpu = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as runs:
        result = danlu.train(
            folder / SETS[name].path, runs=runs, trainer=trainer, evaluate={"report": False}, **own, **changes
        )
    measure, model = SETS[name].measure, result.model
    judgement = result.judgement
    if judgement is None:
        raise SystemExit(f"{name} has no test rows")
    interval = judgement.scores[measure]
    return {
        "set": name,
        "seed": seed,
        "measure": measure,
        "danlu": interval.value,
        "interval": [interval.low, interval.high],
        "others": {label: scores[measure].value for label, scores in judgement.others.items()},
        "parameters": int(summary(model.network, model.in_shape).parameters),
        "epochs": len(result.fitted.history),
        "rows": result.rows,
        "seconds_saved": round(result.seconds, 1),
        "seconds": round(time.perf_counter() - begun, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "load": round(os.getloadavg()[0], 1),
    }


def page(report: dict[str, Any]) -> str:
    """The results as a small Markdown page."""
    lines = [
        "| set | settings | measure | seed | danlu | 95 % interval | best baseline | parameters | epochs | seconds | CPU seconds "
        "| published |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for row in report["rows"]:
        best = max(row["others"].items(), key=lambda each: each[1], default=("–", float("nan")))
        low, high = row["interval"]
        cells = [
            row["set"],
            row["settings"] or "default",
            row["measure"],
            row["seed"],
            f"{row['danlu']:.4f}",
            f"{low:.4f} to {high:.4f}",
        ]
        cells += [f"{best[1]:.4f} ({best[0]})", f"{row['parameters']:,}", row["epochs"], f"{row['seconds']:.0f}"]
        lines.append(
            "| " + " | ".join(map(str, [*cells, f"{row['cpu_seconds']:.0f}", SETS[row["set"]].published])) + " |"
        )
    about = report["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return (
        "\n".join(
            [
                *lines,
                "",
                f"{about['cpu']}, {about['cores']} cores; {versions}; {about['date']}, commit {about['commit']}.",
            ]
        )
        + "\n"
    )


def main() -> None:
    """Measure, print and write ``results/labelled.json`` and, from it, ``labelled.md``."""
    from danlu.pipeline.config import override

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--seeds", default="0")
    parser.add_argument("settings", nargs="*")
    chosen = parser.parse_args()
    file, settings = RESULTS / "labelled.json", " ".join(chosen.settings)
    kept = json.loads(file.read_text())["rows"] if file.exists() else []
    for name in chosen.sets.split(","):
        for seed in map(int, chosen.seeds.split(",")):
            row = {"settings": settings, **_run(name, chosen.data, seed, override({}, chosen.settings))}
            print(row, flush=True)
            kept = [each for each in kept if any(each[key] != row[key] for key in ("set", "seed", "settings"))] + [row]
            order = list(SETS)
            kept.sort(key=lambda each: (order.index(each["set"]), each["settings"], each["seed"]))
            report = {"machine": harness.machine(), "rows": kept}
            file.write_text(json.dumps(report, indent=1) + "\n")
            file.with_suffix(".md").write_text(page(report))


if __name__ == "__main__":
    main()
