"""The default recipe for translation on Multi30k, English to German, beside two baselines and published figures.

    .venv/bin/python benchmarks/translation.py --data FOLDER [--seeds 0] [--changes '{"epochs": 4}']

29,000 pairs of picture captions are learnt from (tokenised and lower-cased, as in the published figures), 1,014 others choose the
best epoch, and the 1,000 sentences of test2016 are translated once. BLEU is of the words as they stand in the files
("none"), as the published figures count it; "13a" is sacrebleu's default on the same sentences. What the results' file holds of
other seeds is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"
PUBLISHED = {
    "Transformer-Tiny (Wu et al. 2021, arXiv:2105.14462; github.com/LividWo/Revisit-MMT, README-baseline.md)": 41.02
}


def _run(folder: Path, seed: int, changes: dict[str, Any], save: Path | None) -> dict[str, Any]:
    from danlu.data.text import read_pairs
    from danlu.evaluate.bleu import TranslationCounts
    from danlu.evaluate.dictionary import WordByWord
    from danlu.pipeline.config import config_from
    from danlu.pipeline.translation import Translations

    settings = {"source": "en", "target": "de", "validation": str(folder / "val")}
    data = {"source": str(folder / "train"), "test": str(folder / "test2016")}
    config = config_from({"data": data, "translation": settings, "trainer": {"seed": seed, **changes}})
    domain, begun, cpu = Translations(), time.perf_counter(), time.process_time()
    prepared = domain.prepare(config, folder / "train")
    plan = domain.plan(config, prepared)
    save = None if save is None else save / f"seed-{seed}"
    checkpoint = None if save is None else save / "checkpoints"
    learned = domain.learn(config, prepared, plan, checkpoint=checkpoint, resume=True, display="plain")
    spent = {"seconds": round(time.perf_counter() - begun, 1), "cpu_seconds": round(time.process_time() - cpu, 1)}
    if save is not None:
        learned.model.save(save / "artifact")
        clock = save / "seconds.json"  # a rerun only measures again what was trained before
        spent = json.loads(clock.read_text()) if clock.exists() else spent
        clock.write_text(json.dumps(spent))
    test, train = read_pairs(folder / "test2016", ("en", "de")), prepared.pairs["train"]
    begun = time.perf_counter()
    translations = {"danlu": learned.model.translate(test.sources)}
    searched = time.perf_counter() - begun
    translations["greedy"] = learned.model.translate(test.sources, beams=1)
    translations["dictionary"] = WordByWord(train.sources, train.targets).translate(test.sources)
    translations["copied"] = list(test.sources)
    scores = {}
    for name, texts in translations.items():
        words, standard = (TranslationCounts.of(texts, test.targets, tokenization=kind) for kind in ("none", "13a"))
        interval = words.scores()["bleu"]
        scores[name] = {
            "bleu": round(interval.value, 2),
            "interval": [round(interval.low, 2), round(interval.high, 2)],
            "13a": round(standard.bleu(), 2),
            "chrf": round(words.chrf(), 2),
        }
    return {
        "seed": seed,
        "scores": scores,
        "sacrebleu": _sacrebleu(translations["danlu"], test.targets),
        "parameters": sum(int(np.size(leaf)) for leaf in _leaves(learned.model.params)),
        "epochs": len(learned.fitted.history),
        "best_epoch": learned.fitted.best_epoch,
        "steps": learned.fitted.history[-1]["step"],
        "val_loss": round(min(row["val_loss"] for row in learned.fitted.history), 4),
        **spent,
        "search_seconds": round(searched, 1),
        "load": round(os.getloadavg()[0], 1),
        "samples": [list(row) for row in zip(test.sources, test.targets, translations["danlu"], strict=True)][:5],
    }


def _leaves(tree: Any) -> list[Any]:
    import jax

    return jax.tree.leaves(tree)


def _sacrebleu(ours: list[str], theirs: tuple[str, ...]) -> dict[str, float] | None:
    """The same two figures by sacrebleu, where it is installed."""
    try:
        import sacrebleu
    except ImportError:
        return None
    options: dict[str, Any] = {"force": True}
    return {
        kind: round(sacrebleu.corpus_bleu(ours, [list(theirs)], tokenize=kind, **options).score, 2)
        for kind in ("none", "13a")
    }


def _table(rows: list[dict[str, Any]]) -> str:
    labels = {
        "danlu": "danlu, 4 beams",
        "greedy": "danlu, greedy",
        "dictionary": "word-by-word dictionary (IBM model 1)",
        "copied": "the source left as it is",
    }
    lines = ["| test2016, en → de | BLEU | 95 % interval | BLEU, 13a | chrF |", "|---|--:|--:|--:|--:|"]
    for name, label in labels.items():
        mine = [row["scores"][name] for row in rows]
        values = [f"{np.mean([each[key] for each in mine]):.1f}" for key in ("bleu", "13a", "chrf")]
        between = ", ".join("{:.1f} to {:.1f}".format(*each["interval"]) for each in mine)
        lines.append(f"| {label} | {values[0]} | {between} | {values[1]} | {values[2]} |")
    lines += [f"| published: {label} | {value:g} | | | |" for label, value in PUBLISHED.items()]
    for row in rows:
        lines += [
            "",
            f"Seed {row['seed']}: {row['parameters']:,} parameters, {row['epochs']} epochs ({row['steps']:,} steps, best epoch "
            f"{row['best_epoch'] + 1}), {row['cpu_seconds'] / 60:.1f} CPU minutes in {row['seconds'] / 60:.1f} minutes, programs "
            f"compiled included; the search took {row['search_seconds']:.0f} s. By sacrebleu: {row['sacrebleu']}.",
        ]
    first = rows[0]["samples"]
    lines += ["", "| source | reference | danlu |", "|---|---|---|", *("| " + " | ".join(row) + " |" for row in first)]
    return "\n".join(lines)


def main() -> None:
    """Run, and write the results after each training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/multi30k"))
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--changes", type=json.loads, default={}, help="settings of the trainer, as JSON; not stored")
    parser.add_argument(
        "--save", type=Path, help="a folder for the model and for checkpoints, which a rerun goes on from"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "translation.json")
    arguments = parser.parse_args()
    if not arguments.data.exists():
        raise SystemExit(f"skipped, {arguments.data} is not there")
    rows: list[dict[str, Any]] = json.loads(arguments.out.read_text())["rows"] if arguments.out.exists() else []
    for seed in map(int, arguments.seeds.split(",")):
        found = _run(arguments.data, seed, arguments.changes, arguments.save)
        print(json.dumps({key: value for key, value in found.items() if key != "samples"}), flush=True)
        if arguments.changes:
            continue
        rows = sorted([row for row in rows if row["seed"] != seed] + [found], key=lambda row: row["seed"])
        machine = f"{platform.machine()}, {os.cpu_count()} cores"
        arguments.out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1, ensure_ascii=False) + "\n")
        arguments.out.with_suffix(".md").write_text(_table(rows) + "\n")
    if rows:
        print(_table(rows))


if __name__ == "__main__":
    main()
