"""The default recipe for detection on scenes of MNIST digits and of shapes, beside two baselines.

    .venv/bin/python benchmarks/detection.py --data FOLDER [--only digits] [--seeds 0] [--changes '{"epochs": 4}']

Digits: 64×64 grey scenes with noise and 1 to 5 digits of 12 to 26 pixels; training and validation scenes hold digits of MNIST's
training part (4,000 and 400 scenes), the 1,000 test scenes digits of its test part. Shapes: coloured scenes of crosses, discs,
rings, squares and triangles, 1,000 to learn from, 200 for validation and 500 for the test. The test chose
nothing; that of the digits was seen once before the settings were chosen, at fewer epochs. What the results' file holds of
other runs is kept.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"
COUNTS = {
    "digits": {"train": 4000, "validation": 400, "test": 1000},
    "shapes": {"train": 1000, "validation": 200, "test": 500},
}


def _scenes(what: str, data: Path) -> Any:
    """All scenes, with their parts."""
    from danlu.data.images.boxes import joined
    from danlu.data.images.scenes import make_scenes

    found = []
    digits = np.load(data / "mnist.npz") if what == "digits" else {}
    for seed, (part, count) in enumerate(COUNTS[what].items()):
        source = "test" if part == "test" else "train"
        sprites = (digits[f"x_{source}"], digits[f"y_{source}"]) if what == "digits" else None
        found.append(make_scenes(count, sprites=sprites, seed=seed))
    parts = np.concatenate([np.full(count, part) for part, count in COUNTS[what].items()])
    return dataclasses.replace(joined(found), parts=parts)


def _run(what: str, data: Path, seed: int, changes: dict[str, Any]) -> dict[str, Any]:
    import tempfile

    from danlu.pipeline.config import config_from
    from danlu.pipeline.detection import Detections
    from danlu.pipeline.judge import judge
    from danlu.tasks.detection import padded_boxes

    scenes = _scenes(what, data)
    with tempfile.TemporaryDirectory() as folder:
        numbers = {name: number for number, name in enumerate(scenes.classes)}
        arrays = {}
        for part in COUNTS[what]:
            own = scenes.rows(np.flatnonzero(scenes.parts == part))
            labels = [np.array([numbers[name] for name in row], np.int32) for row in own.labels]
            padded = padded_boxes(own.boxes, labels)
            arrays |= {f"x_{part}": own.images, f"boxes_{part}": padded["boxes"], f"labels_{part}": padded["labels"]}
        file = Path(folder) / "scenes.npz"
        np.savez(file, **arrays)
        config = config_from({"data": {"source": str(file)}, "trainer": {"seed": seed, **changes}})
        domain = Detections()
        begun, cpu = time.perf_counter(), time.process_time()
        prepared = domain.prepare(config, file)
        plan = domain.plan(config, prepared)
        learned = domain.learn(config, prepared, plan, display="plain")
        seconds, used = time.perf_counter() - begun, time.process_time() - cpu
        judgement = judge(config, domain, prepared, learned.model)
    if judgement is None:
        raise SystemExit("there is no test part")
    everyone = {"danlu": judgement.scores, **judgement.others}
    scores = {
        label: {name: [round(each, 4) for each in dataclasses.astuple(interval)] for name, interval in own.items()}
        for label, own in everyone.items()
    }
    import jax

    return {
        "scenes": what,
        "seed": seed,
        "scores": scores,
        "parameters": sum(int(np.size(leaf)) for leaf in jax.tree.leaves(learned.model.params)),
        "epochs": len(learned.fitted.history),
        "best_epoch": learned.fitted.best_epoch,
        "steps": learned.fitted.history[-1]["step"],
        "threshold": learned.model.head.threshold,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used, 1),
        "load": round(os.getloadavg()[0], 1),
    }


def _table(rows: list[dict[str, Any]]) -> str:
    lines = ["| scenes | | mAP@[.5:.95] | mAP@0.5 | F1 of the boxes shown |", "|---|---|--:|--:|--:|"]
    for row in rows:
        for label, own in row["scores"].items():
            cells = ["{:.3f} ({:.3f} to {:.3f})".format(*own[name]) for name in ("map", "map50", "box_f1")]
            lines.append(f"| {row['scenes']}, seed {row['seed']} | {label} | {' | '.join(cells)} |")
    for row in rows:
        lines += [
            "",
            f"{row['scenes'].capitalize()}, seed {row['seed']}: {row['parameters']:,} parameters, {row['epochs']} epochs "
            f"({row['steps']:,} steps, best epoch {row['best_epoch'] + 1}), {row['cpu_seconds'] / 60:.1f} CPU minutes in "
            f"{row['seconds'] / 60:.1f} minutes, programs compiled included; load average {row['load']}.",
        ]
    return "\n".join(lines)


def main() -> None:
    """Run, and write the results after each training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/mnist"))
    parser.add_argument("--only", choices=("digits", "shapes"))
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--changes", type=json.loads, default={}, help="settings of the trainer, as JSON; not stored")
    parser.add_argument("--out", type=Path, default=RESULTS / "detection.json")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = json.loads(arguments.out.read_text())["rows"] if arguments.out.exists() else []
    for what in (arguments.only,) if arguments.only else ("digits", "shapes"):
        if what == "digits" and not (arguments.data / "mnist.npz").exists():
            print(f"digits skipped, {arguments.data / 'mnist.npz'} is not there")
            continue
        for seed in map(int, arguments.seeds.split(",")):
            found = _run(what, arguments.data, seed, arguments.changes)
            print(json.dumps(found), flush=True)
            if arguments.changes:
                continue
            rows = [row for row in rows if (row["scenes"], row["seed"]) != (what, seed)] + [found]
            rows = sorted(rows, key=lambda row: (row["scenes"], row["seed"]))
            machine = f"{platform.machine()}, {os.cpu_count()} cores"
            arguments.out.write_text(
                json.dumps({"machine": machine, "rows": rows}, indent=1, ensure_ascii=False) + "\n"
            )
            arguments.out.with_suffix(".md").write_text(_table(rows) + "\n")
    if rows:
        print(_table(rows))


if __name__ == "__main__":
    main()
