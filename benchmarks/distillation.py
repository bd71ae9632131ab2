"""An ensemble of 8 networks, distilled into one: how much of its gain over one network is kept.

    .venv/bin/python benchmarks/distillation.py --data covertype-15k.csv --target TARGET [--seeds 0,1,2,3,4] [trainer.epochs=20 …]

Each seed draws its own test rows, trains 8 networks of one size from different seeds as one program (`model.ensemble=8`), and distils
their mean into one network of the same size, by `danlu.compress`. One network is each of the 8 by itself, so that it learnt from the
same rows in the same way. The test rows are used once, at the end. ``gain`` is the ensemble less the mean of its networks, ``kept`` the
student's part of it, over all seeds together.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import harness  # the file beside this one
import jax
import numpy as np

RESULTS = Path(__file__).parent / "results"
MEASURES = ("accuracy", "log_loss")
COUNT = 8


def _run(data: Path, target: str, seed: int, changes: dict[str, Any], how: dict[str, Any]) -> dict[str, Any]:
    import danlu
    from danlu.compression import Distil

    with tempfile.TemporaryDirectory() as runs:
        given = {**changes, "trainer": {**changes.get("trainer", {}), "seed": seed}}
        model = {"kind": "network", "ensemble": COUNT, **changes.get("model", {})}
        plain = {"baselines": False, "report": False, "importance": False, "slices": False}
        result = danlu.train(
            data, target=target, runs=runs, name="teacher", say=lambda line: None, evaluate=plain,
            split={"folds": 1}, **{**given, "model": model},
        )  # fmt: skip
        small = danlu.compress(result.run.path, Distil("same", **how), receipts=False, say=lambda line: None)
        whole, found = result.model, []
        from danlu.pipeline.again import Again

        again = Again.of(result.run.path, say=lambda line: None)
        for number in range(COUNT):
            own = jax.tree.map(lambda leaf, number=number: leaf[number], (whole.params, whole.state))
            alone = dataclasses.replace(whole, network=whole.network.network, params=own[0], state=own[1])
            found.append(again.domain.test(again.config, again.prepared, alone).scores)
        student = small.result.judgement.scores
    return {
        "seed": seed,
        "test rows": len(result.judgement.evidence),
        "one": {name: [each[name].value for each in found] for name in MEASURES},
        "ensemble": {name: result.judgement.scores[name].value for name in MEASURES},
        "student": {name: student[name].value for name in MEASURES},
        "parameters": [sum(np.size(leaf) for leaf in jax.tree.leaves(each.params)) for each in (whole, small.model)],
        "load": round(os.getloadavg()[0], 1),
    }


def summed(runs: list[dict[str, Any]], name: str) -> dict[str, float]:
    """The means over the seeds of a measure, and how much of the gain is kept, with the standard error of the ratio of the means."""
    one = np.array([np.mean(each["one"][name]) for each in runs])
    ensemble, student = (np.array([each[kind][name] for each in runs]) for kind in ("ensemble", "student"))
    gain, own = ensemble - one, student - one
    kept = own.mean() / gain.mean()
    rest = own - kept * gain  # of the ratio of two means: the spread of what is left over
    error = rest.std(ddof=1) / np.sqrt(len(runs)) / abs(gain.mean()) if len(runs) > 1 else float("nan")
    return {"one": one.mean(), "ensemble": ensemble.mean(), "student": student.mean(), "kept": kept, "error": error}


def page(report: dict[str, Any]) -> str:
    """The results as a small Markdown page."""
    lines = [
        "# An ensemble of 8 distilled into one network",
        "",
        f"`benchmarks/distillation.py`, {report['data']}, {len(report['runs'])} seeds, settings {' '.join(report['settings'])}; distillation: "
        f"{report['how']}. Kept: the student's gain over one network, as a share of the ensemble's.",
        "",
        "| measure | one network | the ensemble | the student | kept | standard error |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name in MEASURES:
        each = summed(report["runs"], name)
        lines.append(
            f"| {name} | {each['one']:.4f} | {each['ensemble']:.4f} | {each['student']:.4f} | {each['kept']:.0%} | {each['error']:.0%} |"
        )
    first = report["runs"][0]
    lines += [
        "",
        f"{first['parameters'][0]:,} parameters become {first['parameters'][1]:,}. {first['test rows']:,} test rows a seed.",
        "",
    ]
    about = report["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return "\n".join(
        [*lines, f"{about['cpu']}, {about['cores']} cores; {versions}; {about['date']}, commit {about['commit']}.", ""]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--temperature", type=float, default=2.0)
    parser.add_argument("--labels", type=float, default=0.1)
    parser.add_argument("--made", type=int, default=0)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("settings", nargs="*")
    asked = parser.parse_args()
    from danlu.pipeline.config import override

    how = {"temperature": asked.temperature, "labels": asked.labels, "made": asked.made, "epochs": asked.epochs}
    runs: list[dict[str, Any]] = []
    for seed in map(int, asked.seeds.split(",")):
        runs.append(_run(asked.data, asked.target, seed, override({}, asked.settings), how))
        print(json.dumps(runs[-1]), flush=True)
    report = {
        "data": asked.data.name, "settings": asked.settings, "how": how, "runs": runs, "machine": harness.machine(),
    }  # fmt: skip
    asked.results.mkdir(parents=True, exist_ok=True)
    (asked.results / "distillation.json").write_text(json.dumps(report, indent=1))
    (asked.results / "distillation.md").write_text(page(report))
    print(page(report))


if __name__ == "__main__":
    main()
