"""The default recipe on real tables, beside other libraries' defaults on the same rows.

    python benchmarks/table_sets.py --data FOLDER --splits SPLITS
    PEERS/bin/python benchmarks/tables_peers.py --splits SPLITS --out peers.jsonl --models linear,boosting,catboost
    .venv/bin/python benchmarks/tables.py --splits SPLITS --out danlu.jsonl --peers peers.jsonl
        [--tables titanic,car] [--seeds 0,1,2] [--from-rows 0] [--to-rows 5000] [--minutes 5] [--threads 2] [--page]

Nothing is tuned; what the task is (classes or a quantity) is told to all. What the files hold is not measured again.
The last command writes the results, ``--page`` only from what was measured before.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from harness import machine, table
from table_sets import TABLES, contest, lines, parser_of

RESULTS = Path(__file__).parent / "results"
PEERS = {
    "linear": "linear model",
    "boosting": "HistGradientBoosting",
    "catboost": "CatBoost",
    "realmlp": "RealMLP-TD",
    "tabm": "TabM-D",
}
SMALL = 2500  # rows of a small table
Row = dict[str, Any]


def fit(meta: Row, threads: int) -> tuple[np.ndarray, np.ndarray, list[str], str]:
    """The truth, what danlu predicts, its classes, and its version; on as many cores as threads."""
    if hasattr(os, "sched_setaffinity"):  # before JAX counts the cores
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])
    import danlu

    train, test = meta["files"]
    with tempfile.TemporaryDirectory() as place:
        model = danlu.train(
            train,
            target=meta["target"],
            test=str(test),
            runs=place,
            display="none",
            say=lambda line: None,
            data={"task": meta["task"]},
            trainer={"seed": meta["seed"]},
            evaluate={"report": False, "baselines": False, "importance": False},
        ).model
    rows = pl.read_parquet(test)
    found = np.asarray(model.predict_values(rows.drop(meta["target"]), lenient=True, say=lambda line: None))
    classes = [] if meta["task"] == "regression" else [str(name) for name in model.head.target.classes]
    return rows[meta["target"]].to_numpy(), found, classes, f"danlu {danlu.__version__} at {machine()['commit']}"


def error_of(rows: Sequence[Row], measure: str) -> float:
    """The mean over seeds, at least half a wrong row (of an AUC, half a wrong pair of rows) of all that were tested."""
    mean = float(np.mean([row["errors"][measure] for row in rows]))
    tested = sum(row["test"] for row in rows)
    least = {"1 - accuracy": 0.5 / tested, "1 - AUC": 2.0 / tested**2}.get(measure, 0.0)
    return max(mean, least)


def ratios(rows: Sequence[Row], peer: str, measure: str = "error") -> dict[str, float]:
    """danlu's error over the peer's for each table, means over the seeds that both have first; or that of the log-loss."""
    found = {}
    for name in TABLES:
        mine, theirs = ({row["seed"]: row for row in _good(rows, name, model)} for model in ("danlu", peer))
        seeds = sorted(mine.keys() & theirs.keys())
        if not seeds or (measure == "log-loss" and mine[seeds[0]]["task"] == "regression"):
            continue
        what = mine[seeds[0]]["metric"] if measure == "error" else measure
        a, b = (error_of([of[seed] for seed in seeds], what) for of in (mine, theirs))
        found[name] = a / b
    return found


def _good(rows: Sequence[Row], name: str, model: str) -> list[Row]:
    return [row for row in rows if row["table"] == name and row["model"] == model and "errors" in row]


def _height(rows: Sequence[Row], name: str) -> int:
    return next((row["train"] + row["test"] for row in rows if row["table"] == name), 0)


def mean_ratio(found: dict[str, float]) -> str:
    """The geometric mean, with two standard errors over the tables."""
    logs = np.log(list(found.values()))
    if len(logs) < 2:
        return "–"
    spread = 2 * logs.std(ddof=1) / math.sqrt(len(logs))
    return f"{np.exp(logs.mean()):.3f} ({np.exp(logs.mean() - spread):.2f} to {np.exp(logs.mean() + spread):.2f})"


def ranks(rows: Sequence[Row], models: Sequence[str]) -> tuple[dict[str, float], int]:
    """The mean rank of each model by the error over the tables and seeds that all have, 1 for the best; and how many."""
    of: dict[tuple[str, int], dict[str, float]] = {}
    for row in rows:
        if "errors" in row and row["model"] in models:
            of.setdefault((row["table"], row["seed"]), {})[row["model"]] = row["errors"][row["metric"]]
    whole = [errors for errors in of.values() if len(errors) == len(models)]
    if not whole:
        return {}, 0
    values = np.array([[errors[model] for model in models] for errors in whole])
    lower = (
        (values[:, :, None] > values[:, None, :]).sum(2) + (values[:, :, None] == values[:, None, :]).sum(2) / 2 + 0.5
    )
    return dict(zip(models, lower.mean(0).tolist(), strict=True)), len(whole)


def page(rows: Sequence[Row], about: Row) -> list[str]:
    """The results in words and tables."""
    models = [model for model in ("danlu", *PEERS) if any(row["model"] == model for row in rows)]
    versions = sorted({row["version"] for row in rows if "version" in row})
    loads = [row["load"] for row in rows]
    text = [
        f"{about['cpu']}, {about['cores']} cores, load average {min(loads):.0f} to {max(loads):.0f} (other programs ran); "
        f"{', '.join(versions)}; {about['date']}.",
        "",
        "Error: 1 - AUC for two classes, 1 - accuracy for several, RMSE for a quantity; means over seeds. A ratio below 1 is "
        "danlu's lead. In brackets: two standard errors over the tables. The tables: `benchmarks/table_sets.py`. Where the "
        "load is above the number of cores, only the CPU seconds tell the time (of danlu's process, all its threads).",
    ]  # fmt: skip
    head = (
        "danlu's error over that of",
        "tables",
        "error",
        "log-loss",
        f"error, < {SMALL:,} rows",
        "log-loss, the same",
        "worst table",
    )
    body = []
    for peer in models[1:]:
        error, loss = ratios(rows, peer), ratios(rows, peer, "log-loss")
        if error:
            small = [{name: value for name, value in of.items() if _height(rows, name) < SMALL} for of in (error, loss)]
            worst = max(error, key=lambda name: error[name])
            cells = [mean_ratio(each) for each in (error, loss, *small)]
            body.append((PEERS[peer], str(len(error)), *cells, f"{worst} {error[worst]:.2f}"))
    text += table(head, *body)
    quick = [model for model in models if model not in ("realmlp", "tabm")]
    for several in dict.fromkeys(map(tuple, (models, [model for model in models if model != "tabm"], quick))):
        found, count = ranks(rows, several)
        if found:
            each = ", ".join(
                f"{PEERS.get(model, model)} {value:.2f}"
                for model, value in sorted(found.items(), key=lambda pair: pair[1])
            )
            text += ["", f"Mean rank over the {count} splits that these have: {each}."]
    behind = [
        f"{name} {value:.2f} of {PEERS[peer]}"
        for peer, bound in (("linear", 1.03), ("boosting", 1.05), ("catboost", 1.05))
        for name, value in sorted(ratios(rows, peer).items(), key=lambda pair: -pair[1])
        if value > bound
    ]
    text += ["", f"More than 3 % worse than the linear model or 5 % than boosting: {'; '.join(behind) or 'none'}."]
    text += _each(rows, models)
    failed = [row for row in rows if "failed" in row]
    if failed:
        text += [
            "",
            "Not measured: "
            + "; ".join(
                f"{PEERS.get(row['model'], row['model'])} on {row['table']}, seed {row['seed']}: {row['failed']}"
                for row in failed
            )
            + ".",
        ]
    return text


def _each(rows: Sequence[Row], models: Sequence[str]) -> list[str]:
    """A line a table: the errors of all, danlu's lead over CatBoost, and the seconds."""
    lead = ratios(rows, "catboost")
    head = (
        "table",
        "rows",
        "seeds",
        "error",
        *(PEERS.get(model, model) for model in models),
        "danlu / CatBoost",
        "danlu, s",
        "CPU s",
    )
    body = []
    for name in TABLES:
        if mine := _good(rows, name, "danlu"):
            seeds, cells = {row["seed"] for row in mine}, []
            for model in models:
                theirs = [row for row in _good(rows, name, model) if row["seed"] in seeds]
                few = "" if len(theirs) == len(mine) else f" ({len(theirs)} of {len(mine)} seeds)"
                mean = np.mean([row["errors"][mine[0]["metric"]] for row in theirs]) if theirs else np.nan
                cells.append(_figure(mean) + few if theirs else "–")
            times = [f"{np.mean([row[key] for row in mine]):.0f}" for key in ("seconds", "cpu_seconds")]
            ratio = f"{lead[name]:.3f}" if name in lead else "–"
            body.append((name, f"{_height(rows, name):,}", str(len(mine)), mine[0]["metric"], *cells, ratio, *times))
    return table(head, *body)


def _figure(value: Any) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def main() -> None:
    """Measure what the file lacks, and write the results."""
    parser = parser_of(__doc__)
    parser.add_argument("--peers", type=Path, help="what tables_peers.py wrote")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--page", action="store_true", help="only write the results from what was measured before")
    options = parser.parse_args()
    if not options.page:
        contest(options, {"danlu": fit}, fresh=True)
    rows = lines(options.out) + (lines(options.peers) if options.peers else [])
    about = machine()
    text = "\n".join(page(rows, about)) + "\n"
    options.results.mkdir(parents=True, exist_ok=True)
    each = ",\n  ".join(map(json.dumps, rows))  # a line a training
    (options.results / "tables.json").write_text(
        f'{{\n "machine": {json.dumps(about)},\n "rows": [\n  {each}\n ]\n}}\n'
    )
    (options.results / "tables.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
