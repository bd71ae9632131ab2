"""Synthetic tables: what can be learnt from made-up rows of adult, beside CTGAN and TVAE of the Synthetic Data Vault.

    python benchmarks/synthetic.py choose                     # models and widths, by validation rows of the training file alone
    python benchmarks/synthetic.py adult --ctgan PYTHON       # appends a line a contestant to benchmarks/results/synthetic.jsonl

The rows of the official training file are learnt from; 15 % of them choose the epoch of danlu's models, and CTGAN and TVAE learn from all
at their defaults. Every contestant makes as many rows as there are training rows, and the same gradient boosting (and CatBoost, where it is
installed) learns from them and is tested on the official test file. Beside them: real rows, SMOTE-like neighbours, the Gaussian copula.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

RESULTS = Path(__file__).parent / "results" / "synthetic.jsonl"
NAMES = (
    "age workclass fnlwgt education education_num marital_status occupation relationship race sex capital_gain capital_loss hours "
    "country income"
)
COLUMNS = NAMES.split()
TARGET = "income"
CHOICES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("autoregressive", {}),
    ("autoregressive", {"model": {"width": 128}}),
    ("autoregressive", {"model": {"dropout": 0.3}}),
    ("autoregressive", {"model": {"width": 512, "dropout": 0.3}}),
    ("diffusion", {}),
    ("diffusion", {"model": {"width": 512}}),
    ("vae", {}),
    ("flow", {}),
)
PEER = """
import sys, pandas as pd
from ctgan import CTGAN, TVAE
source, output, kind, seed = sys.argv[1:]
import torch; torch.manual_seed(int(seed))
import numpy as np; np.random.seed(int(seed))
table = pd.read_csv(source)
numbers = [name for name in table.columns if table[name].dtype.kind in "if"]
model = {"ctgan": CTGAN, "tvae": TVAE}[kind]()
model.fit(table.fillna("?"), [name for name in table.columns if name not in numbers])
model.sample(len(table)).to_csv(output, index=False)
"""


def adult(folder: Path, part: str) -> pl.DataFrame:
    """An official file of adult, with the names of its columns; the test file's classes end with a full stop, which is taken off."""
    lines = (folder / "adult" / f"{part}.csv").read_text().splitlines()
    rows = [[cell.strip().rstrip(".") for cell in line.split(",")] for line in lines if line.count(",") == 14]
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


def trained(source: Path, kind: str, seed: int, runs: str, **settings: Any) -> Any:
    """A run of danlu's, without baselines."""
    import danlu

    settings = {"trainer": {"seed": seed, **settings.pop("trainer", {})}, **settings}
    quiet = {"display": "plain", "say": lambda line: None, "runs": runs}
    return danlu.train(
        str(source),
        target=TARGET,
        synthesize={"model": kind},
        evaluate={"baselines": False, "report": False},
        **quiet,
        **settings,
    )


def choose(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Models by rows of the training file that were held out."""
    with tempfile.TemporaryDirectory() as place:
        source = Path(place) / "train.csv"
        adult(given.data, "train").write_csv(source)
        for kind, settings in CHOICES:
            begun = time.process_time()
            result = trained(source, kind, 0, place, **{name: dict(each) for name, each in settings.items()})
            scores = {name: round(value, 4) for name, value in result.scores.items()}
            yield {"what": "choose", "model": kind, **settings, "cpu_s": round(time.process_time() - begun), **scores}


def compared(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """danlu's model and the others on the official test file."""
    from danlu.generative.rows import Bench, neighbours_mixed, real_rows

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for part in ("train", "test"):
            adult(given.data, part).write_csv(folder / f"{part}.csv")
        for seed in given.seeds:
            begun = time.process_time()
            result = trained(
                folder / "train.csv",
                given.model,
                seed,
                place,
                data={"test": str(folder / "test.csv")},
            )
            took, model = time.process_time() - begun, result.model
            encoder = model.encoder
            whole = encoder.transform(model.read(str(folder / "train.csv"), say=_quiet).rows)
            test = encoder.transform(model.read(str(folder / "test.csv"), lenient=True, say=_quiet).rows)
            bench = dataclasses.replace(
                Bench(encoder, whole, test, len(COLUMNS) - 1, "classes", seed), most=len(test["cell"])
            )
            numbers = np.array([cells.is_number for cells in encoder.cells])
            made: dict[str, Any] = {given.model: model.head.encoded(model, bench.wanted, seed=seed)}
            made["real rows"] = real_rows(whole, bench.wanted, seed=seed)
            made["SMOTE"] = neighbours_mixed(whole, bench.space(whole), numbers, bench.wanted, seed=seed)
            for kind in ("ctgan", "tvae") if given.ctgan else ():
                output = folder / f"{kind}.csv"
                script = [given.ctgan, "-c", PEER, str(folder / "train.csv"), str(output), kind, str(seed)]
                subprocess.run(script, check=True)
                made[kind] = encoder.transform(model.read(str(output), lenient=True, say=_quiet).rows)
            for name, rows in made.items():
                found = bench.tested(rows)
                line = {
                    "what": "adult",
                    "seed": seed,
                    "rows of": name,
                    **({"cpu_s": round(took)} if name == given.model else {}),
                }
                line |= {
                    name: [round(part, 4) for part in (each.value, each.low, each.high)]
                    for name, each in found.scores().items()
                }
                yield line | _catboost(encoder, rows, test)


def _quiet(line: str) -> None:
    pass


def _catboost(encoder: Any, rows: Any, test: Any) -> dict[str, Any]:
    """F1 of CatBoost that learnt from the rows, macro as in TabDDPM's tables; empty where it is not installed."""
    try:
        from catboost import CatBoostClassifier
    except ImportError:
        return {}
    from sklearn.metrics import f1_score

    def table(part: Any) -> Any:
        return encoder.decode(part["cell"], part["place"]).to_pandas()

    known, asked = table(rows), table(test)
    named = [name for name, cells in zip(COLUMNS, encoder.cells, strict=True) if not cells.is_number and name != TARGET]
    numbers = [name for name in COLUMNS if name not in named and name != TARGET]
    for each in (known, asked):
        each[numbers] = each[numbers].astype(float)
    model = CatBoostClassifier(verbose=False, random_seed=0, cat_features=named)
    model.fit(known.drop(columns=TARGET), known[TARGET])
    told = model.predict(asked.drop(columns=TARGET))
    return {"catboost_macro_f1": round(float(f1_score(asked[TARGET], told, average="macro")), 4)}


def main() -> None:
    """Print, and append to the results, a line for each contestant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("choose", "adult"))
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--model", default="autoregressive")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--ctgan", help="a Python that has ctgan")
    parser.add_argument("--try", dest="dry", action="store_true", help="print the lines only")
    given = parser.parse_args()
    for line in (choose if given.what == "choose" else compared)(given):
        print(json.dumps(line), flush=True)
        if not given.dry:
            with RESULTS.open("a") as file:
                file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
