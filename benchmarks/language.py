"""The default recipe for texts beside n-grams counted on the same text, and beside published figures.

    .venv/bin/python benchmarks/language.py --data FOLDER [--texts tiny-shakespeare,names] [--seeds 0,1,2]

tiny-shakespeare: the first 90 % are learnt from and the whole last 10 % are predicted, as in nanoGPT, whose network for a CPU
(4 layers of 128, context 64, 2,000 steps of 12 windows) reaches 1.88. That part also chooses the best epoch. names: 1,000
names at random are the test, as in makemore (about 1.92 with its Transformer), 1,000 others choose the best epoch; a name that is in
the file twice may be in both. "names apart" keeps equal names together. "danlu" reads the test in windows that do not overlap, as the
published figures do; "overlapping" gives each token at least half the context, as n-grams have theirs. What the results' file
holds of other texts and seeds is kept.
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
PUBLISHED = {"tiny-shakespeare": 1.88, "names": 1.92, "names apart": None}
ORDERS = (1, 2, 3, 5)


def _parts(name: str, folder: Path, seed: int) -> tuple[Any, Any, Any]:
    """The texts that are learnt from, that choose the best epoch, and that are predicted."""
    from danlu.data.text import Corpus, read_corpus, split_corpus

    if name == "tiny-shakespeare":
        text = read_corpus(folder / name / "input.txt", lines=False).texts[0]
        cut = int(0.9 * len(text))
        return Corpus((text[:cut],), False), Corpus((text[cut:],), False), Corpus((text[cut:],), False)
    corpus = read_corpus(folder / "names" / "names.txt", lines=True)
    if name == "names apart":
        share = 1000 / len(set(corpus.texts))
        parts, _ = split_corpus(corpus, validation=share, test=share, seed=seed)
        return parts["train"], parts["validation"], parts["test"]
    order = np.random.default_rng(seed).permutation(len(corpus.texts))
    drawn = [tuple(corpus.texts[i] for i in some) for some in (order[2000:], order[:1000], order[1000:2000])]
    return Corpus(drawn[0], True), Corpus(drawn[1], True), Corpus(drawn[2], True)


def _run(name: str, folder: Path, seed: int, changes: dict[str, Any]) -> dict[str, Any]:
    from danlu.data.text import Tokenizer, tokens_of
    from danlu.evaluate.ngrams import NGrams
    from danlu.tasks import language_recipe, learn_language

    parts = _parts(name, folder, seed)
    tokenizer = Tokenizer.fit(parts[0].texts, kind="char")
    train, validation, test = (tokens_of(part, tokenizer) for part in parts)
    lines = parts[0].lines
    longest = max(train.longest, validation.longest) if lines else None
    plan = language_recipe(tokenizer.size, train.predicted, longest=longest, **changes)
    begun, cpu = time.perf_counter(), time.process_time()
    learned = learn_language(train, tokenizer=tokenizer, plan=plan, validation=validation, lines=lines, seed=seed)
    seconds, used = time.perf_counter() - begun, time.process_time() - cpu
    counted = {
        f"{order}-gram": NGrams(train.tokens, train.bounds, vocabulary=tokenizer.size, order=order).losses(
            test.tokens, test.bounds
        )
        for order in ORDERS
    }
    return {
        "text": name,
        "seed": seed,
        "danlu": _mean(learned.model.token_losses(test, stride=plan.model.context)),
        "overlapping": _mean(learned.model.token_losses(test)),
        "published": PUBLISHED[name],
        **{label: _mean(losses) for label, losses in counted.items()},
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used, 1),
        "best_epoch": learned.fitted.best_epoch,
        "epochs": len(learned.fitted.history),
        "steps": learned.fitted.history[-1]["step"],
        "load": round(os.getloadavg()[0], 1),
        "sample": learned.model.generate("" if lines else "ROMEO:", length=200, temperature=0.8, samples=2),
    }


def _mean(losses: np.ndarray) -> float:
    return round(float(losses.mean(dtype=np.float64)), 4)


def _table(rows: list[dict[str, Any]]) -> str:
    labels = [f"{order}-gram" for order in ORDERS]
    lines = [
        f"| text | seeds | danlu | published | danlu, overlapping | {' | '.join(labels)} | steps | CPU seconds | seconds |",
        f"|---|--:|--:|--:|--:|{'--:|' * len(labels)}--:|--:|--:|",
    ]
    for name in dict.fromkeys(row["text"] for row in rows):
        mine = [row for row in rows if row["text"] == name]
        losses, overlapping = (np.array([row.get(key, np.nan) for row in mine]) for key in ("danlu", "overlapping"))
        counted = [f"{np.mean([row[label] for row in mine]):.3f}" for label in labels]
        spent = [[row[key] for row in mine] for key in ("cpu_seconds", "seconds")]
        cells = [name, str(len(mine)), f"{losses.mean():.3f} ± {losses.std():.3f}", str(PUBLISHED[name] or "–")]
        cells += ["–" if np.isnan(overlapping).any() else f"{overlapping.mean():.3f}", *counted]
        cells += [str(mine[0]["steps"]), *(f"{min(each):.0f} to {max(each):.0f}" for each in spent)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run, and write the results after each training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--texts", default=",".join(PUBLISHED))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--changes", type=json.loads, default={}, help="fields of the recipe, as JSON; not stored")
    parser.add_argument("--out", type=Path, default=RESULTS / "language.json")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = json.loads(arguments.out.read_text())["rows"] if arguments.out.exists() else []
    for name in arguments.texts.split(","):
        for seed in map(int, arguments.seeds.split(",")):
            if not (arguments.data / name.split()[0]).exists():
                print(f"{name}: skipped, {arguments.data / name.split()[0]} is not there")
                break
            found = _run(name, arguments.data, seed, arguments.changes)
            print(found, flush=True)
            if arguments.changes:
                continue
            rows = [row for row in rows if (row["text"], row["seed"]) != (name, seed)] + [found]
            machine = f"{platform.machine()}, {os.cpu_count()} cores"
            arguments.out.write_text(
                json.dumps({"machine": machine, "rows": rows}, indent=1, ensure_ascii=False) + "\n"
            )
            arguments.out.with_suffix(".md").write_text(_table(rows) + "\n")
    print(_table(rows))


if __name__ == "__main__":
    main()
