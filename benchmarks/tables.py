"""The default recipe beside scikit-learn's defaults on the same rows of real tables.

    .venv/bin/python benchmarks/tables.py --data FOLDER [--tables adult,titanic] [--seeds 0,1,2]

Each table is split 80/20 at random by the seed (adult has its official test file); danlu takes its validation rows from the
80, scikit-learn's models learn from all of them. Nothing is tuned. Tables from files are skipped when the folder lacks them.
What the results' file holds of other tables and seeds is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sklearn import datasets
from sklearn.model_selection import train_test_split

RESULTS = Path(__file__).parent / "results"


def _bundled(load: Callable[..., Any]) -> Callable[[Path], tuple[pl.DataFrame, str]]:
    def read(folder: Path) -> tuple[pl.DataFrame, str]:
        data = load()
        names = [str(name) for name in getattr(data, "feature_names", range(data.data.shape[1]))]
        frame = pl.DataFrame(dict(zip(names, np.asarray(data.data).T, strict=True)))
        labels = data.target if not hasattr(data, "target_names") else np.asarray(data.target_names)[data.target]
        return frame.with_columns(pl.Series("target", labels)), "target"

    return read


def _file(path: str, target: str) -> Callable[[Path], tuple[pl.DataFrame, str]]:
    def read(folder: Path) -> tuple[pl.DataFrame, str]:
        from danlu.data import read_table

        return read_table(folder / path).frame, target

    return read


def _friedman(folder: Path) -> tuple[pl.DataFrame, str]:
    x, y = datasets.make_friedman1(3000, noise=1.0, random_state=0)
    return pl.DataFrame(x).with_columns(pl.Series("y", y)), "y"


TABLES: dict[str, tuple[Callable[[Path], tuple[pl.DataFrame, str]], str]] = {
    "adult": (_file("adult/train.csv", "c15"), "accuracy"),
    "california-housing": (_file("california-housing/housing.csv", "median_house_value"), "rmse"),
    "telco-churn": (_file("telco-churn/telco-churn.csv", "Churn"), "roc_auc"),
    "titanic": (_file("titanic/train.csv", "Survived"), "roc_auc"),
    "wine-quality": (_file("wine-quality/winequality-white.csv", "c12"), "accuracy"),
    "compas": (_file("compas/compas-scores-two-years.csv", "two_year_recid"), "roc_auc"),
    "breast-cancer": (_bundled(datasets.load_breast_cancer), "roc_auc"),
    "diabetes": (_bundled(lambda: datasets.load_diabetes(scaled=False)), "rmse"),
    "digits": (_bundled(datasets.load_digits), "accuracy"),
    "iris": (_bundled(datasets.load_iris), "accuracy"),
    "wine": (_bundled(datasets.load_wine), "accuracy"),
    "friedman": (_friedman, "rmse"),
}


def _run(name: str, folder: Path, seed: int) -> dict[str, Any]:
    from danlu import train

    read, metric = TABLES[name]
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        test = folder / name / "test.csv"
        if name == "adult":
            source: Any = str(folder / name / "train.csv")
            target = read(folder)[1]
        else:
            frame, target = read(folder)
            quantity = metric == "rmse"
            kept, held = train_test_split(
                np.arange(frame.height), test_size=0.2, random_state=seed, stratify=None if quantity else frame[target]
            )
            source, test = frame[kept], Path(place) / "test.parquet"
            frame[held].write_parquet(test)
        result = train(
            source, target=target, test=str(test), runs=place, display="none", say=lambda line: None,
            trainer={"seed": seed}, evaluate={"report": False},
        )  # fmt: skip
    judged = result.judgement
    return {
        "table": name,
        "seed": seed,
        "metric": metric,
        "danlu": result.scores[metric],
        **{label: scores[metric].value for label, scores in judged.others.items() if metric in scores},
        "seconds": round(time.perf_counter() - begun, 1),
        "fit_seconds": round(sum(row["seconds"] for row in result.fitted.history), 1),
        "epochs": len(result.fitted.history),
        "load": round(os.getloadavg()[0], 1),
    }


def _table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| table | measure | seeds | danlu | HistGradientBoosting | linear | danlu ahead | seconds |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name in dict.fromkeys(row["table"] for row in rows):
        mine = [row for row in rows if row["table"] == name]
        metric = mine[0]["metric"]
        linear = "ridge regression" if metric == "rmse" else "logistic regression"
        sign = -1 if metric == "rmse" else 1
        cells = []
        for key in ("danlu", "HistGradientBoosting", linear):
            values = np.array([row[key] for row in mine])
            digits = 0 if values.mean() > 1000 else 4
            cells.append(f"{values.mean():,.{digits}f} ± {values.std():,.{digits}f}")
        ahead = sum(sign * (row["danlu"] - row["HistGradientBoosting"]) > 0 for row in mine)
        seconds = [row["seconds"] for row in mine]
        lines.append(
            f"| {name} | {metric} | {len(mine)} | {' | '.join(cells)} | {ahead} of {len(mine)} "
            f"| {min(seconds):.0f} to {max(seconds):.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run, and write the results after each table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--tables", default=",".join(TABLES))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--out", type=Path, default=RESULTS / "tables.json")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    rows: list[dict[str, Any]] = json.loads(arguments.out.read_text())["rows"] if arguments.out.exists() else []
    for name in arguments.tables.split(","):
        for seed in map(int, arguments.seeds.split(",")):
            try:
                found = _run(name, arguments.data, seed)
            except Exception as error:
                if not (arguments.data / name).exists():
                    print(f"{name}: skipped, {error}")
                    break
                raise
            print(found, flush=True)
            rows = [row for row in rows if (row["table"], row["seed"]) != (name, seed)] + [found]
            machine = f"{platform.machine()}, {os.cpu_count()} cores"
            arguments.out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    arguments.out.with_suffix(".md").write_text(_table(rows) + "\n")
    print(_table(rows))


if __name__ == "__main__":
    main()
