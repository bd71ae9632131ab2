"""The tables on which the default recipe is judged, and their splits: the same rows for every library.

    python benchmarks/table_sets.py --data FOLDER --splits FOLDER [--tables titanic,car] [--seeds 0,1,2]

writes ``SPLITS/TABLE/SEED/{train,test}.parquet`` and ``meta.json``, where the contestants read them, each with its own
interpreter. It takes Polars and NumPy only. Three quarters of the rows are for training. Rows that are equal in all
columns but the target stay in one part (and so do rows that are equal in the target as well): the published white
wine holds a quarter of its rows twice, which a model that remembers would otherwise be praised for.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

TEST_SHARE = 0.25
METRICS = {"binary": "1 - AUC", "multiclass": "1 - accuracy", "regression": "RMSE"}


class Table(NamedTuple):
    """Where a table lies, and what is predicted from which of its columns."""

    path: str
    target: str = ""  # the last column if empty
    task: str = "regression"  # or "binary", "multiclass"
    drop: tuple[str, ...] = ()  # numbers of rows, and what is made from the target or after it
    keep: tuple[str, ...] = ()  # all that are not dropped if empty
    header: bool = True
    separator: str = ","
    missing: tuple[str, ...] = ("",)
    above: float | None = None  # the target is whether it is larger


# two_year_recid is known from is_recid, violent_recid, event, the dates of custody and of the second charge. These
# columns are known when the person is judged; the company's own scores are left out, as is usual.
_COMPAS = (
    "sex", "age", "age_cat", "race", "juv_fel_count", "juv_misd_count", "juv_other_count", "priors_count",
    "c_charge_degree",
)  # fmt: skip

TABLES: dict[str, Table] = {
    "echoMonths": Table("tables/echoMonths.csv"),
    "fishcatch": Table("tables/fishcatch.csv"),
    "servo": Table("tables/servo.csv"),
    "lowbwt": Table("tables/lowbwt.csv"),
    "pharynx": Table("tables/pharynx.csv"),
    "pwLinear": Table("tables/pwLinear.csv"),
    "autoHorse": Table("tables/autoHorse.csv"),
    "cpu": Table("tables/cpu.csv"),
    "bodyfat": Table("tables/bodyfat.csv"),
    "cleveland": Table("tables/cleveland.csv", task="binary", above=0),
    "cleveland-stages": Table("tables/cleveland.csv", task="multiclass"),
    "autoMpg": Table("tables/autoMpg.csv"),
    "pbc": Table("tables/pbc.csv"),
    "vote": Table("tables/vote.csv", task="binary"),
    "meta": Table("tables/meta.csv"),
    "sensory": Table("tables/sensory.csv"),
    "strike": Table("tables/strike.csv"),
    "soybean": Table("tables/soybean.csv", task="multiclass"),
    "titanic": Table("titanic/train.csv", "Survived", "binary", drop=("PassengerId",)),
    "german": Table("tables/german.csv", task="binary", header=False),
    "wine-red": Table("tables/wine-red.csv", header=False),
    "wine-red-grades": Table("tables/wine-red.csv", task="multiclass", header=False),
    "car": Table("tables/car.csv", task="multiclass", header=False),
    "segment": Table("tables/segment.csv", task="multiclass"),
    "ames": Table("tables/ames.csv", "SalePrice", drop=("Order", "PID")),
    "hypothyroid": Table("tables/hypothyroid.csv", task="multiclass"),
    "bank": Table("tables/bank.csv", "y", "binary", separator=";"),
    "wine-quality": Table("wine-quality/winequality-white.csv", task="multiclass", header=False),
    "telco-churn": Table("telco-churn/telco-churn.csv", "Churn", "binary", drop=("customerID",)),
    "compas": Table("compas/compas-scores-two-years.csv", "two_year_recid", "binary", keep=_COMPAS),
    "churn-modelling": Table(
        "tables/churn-modelling.csv", "Exited", "binary", drop=("RowNumber", "CustomerId", "Surname")
    ),
    "covertype-15k": Table("tables/covertype-15k.csv", task="multiclass", drop=("c1",), header=False),
    "california-housing": Table("california-housing/housing.csv", "median_house_value"),
    "credit-default": Table("tables/credit-default.csv", "default.payment.next.month", "binary", drop=("ID",)),
    "adult": Table("adult/train.csv", task="binary", header=False, missing=("", "?")),  # the official training file
}


def read(name: str, folder: Path) -> tuple[pl.DataFrame, str]:
    """A table without the columns that are dropped, and its target's name: text for classes, a number for a quantity."""
    table = TABLES[name]
    frame = pl.read_csv(
        folder / table.path, has_header=table.header, separator=table.separator, infer_schema=False, null_values=[""]
    )
    if not table.header:
        frame.columns = [f"c{number + 1}" for number in range(frame.width)]
    target = table.target or frame.columns[-1]
    if table.keep:
        frame = frame.select(*table.keep, target)
    frame = frame.drop(table.drop).with_columns(pl.all().str.strip_chars())
    frame = frame.with_columns(pl.when(~pl.all().is_in(table.missing)).then(pl.all()))
    frame = frame.with_columns(*map(_typed, frame.iter_columns())).drop_nulls(target)
    if table.above is not None:
        frame = frame.with_columns(
            pl.when(pl.col(target) > table.above).then(pl.lit("yes")).otherwise(pl.lit("no")).alias(target)
        )
    return frame.with_columns(pl.col(target).cast(pl.Float64 if table.task == "regression" else pl.String)), target


def _typed(column: pl.Series) -> pl.Series:
    """A column of numbers as numbers, whole ones as whole numbers; another one as it is."""
    for kind in (pl.Int64, pl.Float64):
        found = column.cast(kind, strict=False)
        if found.null_count() == column.null_count():
            return found
    return column


def parts(name: str, folder: Path, seed: int) -> tuple[pl.DataFrame, pl.DataFrame, str, str, str]:
    """The rows for training, those for testing, the target's name, the task and the measure of the error.

    Each class gives a quarter of its rows to the test, as nearly as groups of equal rows allow. The same seed gives
    the same rows.
    """
    frame, target = read(name, folder)
    task = TABLES[name].task
    numbers: dict[tuple[Any, ...], int] = {}
    groups = np.array([numbers.setdefault(row, len(numbers)) for row in frame.drop(target).iter_rows()])
    classes = (
        np.zeros(len(groups), int)
        if task == "regression"
        else np.unique(frame[target].to_numpy(), return_inverse=True)[1]
    )
    counts = np.zeros((len(numbers), classes.max() + 1), int)
    np.add.at(counts, (groups, classes), 1)
    order = np.random.default_rng(seed).permutation(len(numbers))
    drawn = [_draw(order[counts[order].argmax(1) == one], counts.sum(1)) for one in range(counts.shape[1])]
    held = np.isin(groups, np.concatenate(drawn))
    return frame.filter(~held), frame.filter(held), target, task, METRICS[task]


def _draw(groups: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The first groups that hold a quarter of all their rows."""
    total = np.cumsum(sizes[groups])
    return groups[total <= round(TEST_SHARE * total[-1])] if len(groups) else groups


def write(name: str, folder: Path, splits: Path, seed: int) -> dict[str, Any]:
    """Write a split's two files and what is known of it, unless they are there."""
    place = splits / name / str(seed)
    if not (place / "meta.json").exists():
        train, test, target, task, metric = parts(name, folder, seed)
        place.mkdir(parents=True, exist_ok=True)
        train.write_parquet(place / "train.parquet")
        test.write_parquet(place / "test.parquet")
        meta = {"table": name, "seed": seed, "target": target, "task": task, "metric": metric}
        meta |= {
            "rows": train.height + test.height,
            "train": train.height,
            "test": test.height,
            "columns": train.width - 1,
        }
        (place / "meta.json").write_text(json.dumps(meta, indent=1) + "\n")
    found: dict[str, Any] = json.loads((place / "meta.json").read_text())
    return found


def splits_of(splits: Path, names: Sequence[str], seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
    """What is known of each split that was written, the smallest tables first, and its two files."""
    metas = [json.loads(file.read_text()) for file in splits.glob("*/*/meta.json")]
    for meta in sorted(metas, key=lambda meta: (meta["rows"], meta["table"], meta["seed"])):
        if meta["table"] in names and meta["seed"] in seeds:
            place = splits / meta["table"] / str(meta["seed"])
            yield meta | {"files": (place / "train.parquet", place / "test.parquet")}


def scores(task: str, truth: np.ndarray, found: np.ndarray, classes: Sequence[str] = ()) -> dict[str, float]:
    """The errors of predictions: RMSE; or of probabilities, a column a class, log-loss, 1 - accuracy and for two 1 - AUC.

    Probabilities are clipped at 1e-7, so that one that is 0 where the class came costs 16 nats and not infinity; a
    class that no training row had has the probability 0.
    """
    if task == "regression":
        return {"RMSE": float(np.sqrt(np.mean((truth.astype(float) - found.astype(float)) ** 2)))}
    known = {name: place for place, name in enumerate(classes)}
    places = np.array([known.get(name, -1) for name in truth])
    of_truth = np.where(places >= 0, found[np.arange(len(truth)), places], 0.0).astype(float)
    result = {
        "log-loss": float(-np.log(np.clip(of_truth, 1e-7, 1.0)).mean()),
        "1 - accuracy": float(np.mean(found.argmax(1) != places)),
    }
    if task == "binary":
        result["1 - AUC"] = 1.0 - _auc(places == 1, found[:, 1])
    return result


def _auc(positive: np.ndarray, score: np.ndarray) -> float:
    """The share of pairs of a positive and a negative row that the score orders rightly, ties half (Mann & Whitney)."""
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    many, rest = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - many * (many + 1) / 2) / (many * rest))


Fit = Callable[[dict[str, Any], int], tuple[np.ndarray, np.ndarray, list[str], str]]


def contest(options: argparse.Namespace, models: dict[str, Fit], *, fresh: bool = False) -> None:
    """Train what the file lacks, the smallest tables first, and add a line for each training to the file.

    ``models`` are functions of a split and a number of threads, which give the truth, the predictions, the names of
    their columns and the library's version. They run one at a time in another process (with ``fresh``, in a new one each, whose
    imports are then part of the time), so that a training that takes too long can be given up. Its line says so; it is
    tried again with more minutes.
    """
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    seeds = [int(seed) for seed in options.seeds.split(",")]
    metas = [
        meta
        for meta in splits_of(options.splits, options.tables.split(","), seeds)
        if options.from_rows <= meta["rows"] < options.to_rows
    ]

    def worker() -> Any:
        return multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1 if fresh else None)

    pool = worker()
    for name, model in models.items():
        for meta in metas:
            about = {key: meta[key] for key in ("table", "seed", "task", "metric", "train", "test")} | {"model": name}
            known = [row for row in lines(options.out) if _key(row) == _key(about)]
            if any(row.get("minutes", np.inf) >= options.minutes for row in known):
                continue
            try:
                row = pool.apply_async(_measure, (model, meta, about, options.threads)).get(options.minutes * 60)
            except multiprocessing.TimeoutError:
                pool.terminate()
                pool = worker()
                row = about | {"failed": f"longer than {options.minutes:g} minutes", "minutes": options.minutes}
            row |= {"threads": options.threads, "load": round(os.getloadavg()[0], 1)}
            with options.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(row, flush=True)
    pool.terminate()


def _key(row: dict[str, Any]) -> tuple[str, int, str]:
    return row["table"], row["seed"], row["model"]


def _measure(model: Fit, meta: dict[str, Any], about: dict[str, Any], threads: int) -> dict[str, Any]:
    warnings.simplefilter("ignore")
    begun, used = time.perf_counter(), time.process_time()
    try:
        truth, found, classes, version = model(meta, threads)
    except Exception as error:  # the row says so, and the others go on
        about["failed"] = f"{type(error).__name__}: {error}"[:300]
    else:
        about |= {"version": version, "errors": scores(meta["task"], truth, found, classes)}
    times = {"seconds": time.perf_counter() - begun, "cpu_seconds": time.process_time() - used}
    return about | {key: round(value, 2) for key, value in times.items()}


def lines(file: Path) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines, the last of each table, seed and model; none if it is not there."""
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return list({_key(row): row for row in rows}.values())


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """The options of a contest."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=Path, required=True, help="the folder that table_sets.py wrote")
    parser.add_argument("--out", type=Path, required=True, help="a file of JSON lines, which grows")
    parser.add_argument("--tables", default=",".join(TABLES))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--from-rows", type=int, default=0, help="only tables of so many rows or more")
    parser.add_argument("--to-rows", type=int, default=10**9, help="only tables of fewer rows")
    parser.add_argument("--minutes", type=float, default=5.0, help="the most for one training")
    parser.add_argument("--threads", type=int, default=2)
    return parser


def main() -> None:
    """Write the splits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--splits", type=Path, required=True)
    parser.add_argument("--tables", default=",".join(TABLES))
    parser.add_argument("--seeds", default="0,1,2")
    options = parser.parse_args()
    for name in options.tables.split(","):
        for seed in map(int, options.seeds.split(",")):
            meta = write(name, options.data, options.splits, seed)
        print(*(meta[key] for key in ("table", "target", "task", "train", "test", "columns")), flush=True)


if __name__ == "__main__":
    main()
