"""Which interval of cross-validation holds: by simulation, for models that are fitted in closed form or by a few Newton steps.

    python benchmarks/fold_coverage.py --studies 1000     # prints the table of results/coverage.md

A study draws a small table from a population, cross-validates (5 folds, stratified, 1 or 3 repeats) and forms three intervals: the
naive one of the folds' mean (``s²/J``), the corrected resampled t (Nadeau & Bengio) and the ordinary interval of the out-of-fold rows
together (the jackknife of ``evaluate/intervals.py``; a row of several repeats is one part). Two true values are known from large
samples: the score of the *procedure* (the mean over many training sets of that size) and that of *these models*, the mean over those
that the study trained.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from danlu.evaluate import MEASURES, Rows, fold_interval, intervals

FOLDS, LARGE, TRAININGS = 5, 10_000, 300


def population(task: str, features: int) -> Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]:
    """Normal features, of which half matter, with a constant; a logit of variance 4, or a quantity with R² of a half."""
    true = np.zeros(features + 1)
    true[1 : features // 2 + 2] = (2.0 if task == "binary" else 1.0) / math.sqrt(features // 2 + 1)

    def draw(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
        x = np.concatenate([np.ones((rows, 1)), rng.normal(size=(rows, features))], axis=1)
        signal = x @ true
        if task == "binary":
            return x, (rng.random(rows) < 1 / (1 + np.exp(-signal))).astype(np.int64)
        return x, signal + rng.normal(size=rows)

    return draw


def fitted(task: str, x: np.ndarray, y: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Ridge or penalised logistic regression (penalty 1) on the rows that each of several models uses, ``(models, features)``."""
    penalty = np.eye(x.shape[1])
    penalty[0, 0] = 1e-6
    used = used.astype(np.float64)
    if task == "regression":
        gram = np.einsum("mn,ni,nj->mij", used, x, x, optimize=True) + penalty
        return np.linalg.solve(gram, ((used * y) @ x)[..., None])[..., 0]
    beta = np.zeros((len(used), x.shape[1]))
    for _ in range(8):
        p = 1 / (1 + np.exp(-(beta @ x.T)))
        slope = (used * (y - p)) @ x - beta @ penalty
        curve = np.einsum("mn,ni,nj->mij", used * p * (1 - p), x, x, optimize=True) + penalty
        beta = beta + np.linalg.solve(curve, slope[..., None])[..., 0]
    return beta


def measured(task: str, x: np.ndarray, y: np.ndarray, beta: np.ndarray) -> Rows:
    score = x @ beta
    if task == "regression":
        return Rows(task, y, score)
    p = 1 / (1 + np.exp(-score))
    return Rows(task, y, np.stack([1 - p, p], 1))


def folds_of(rng: np.random.Generator, y: np.ndarray, task: str) -> np.ndarray:
    """The fold of each row; each class is dealt out evenly."""
    order = rng.permutation(len(y))
    if task == "binary":
        order = order[np.argsort(y[order], kind="stable")]
    fold = np.empty(len(y), np.int64)
    fold[order] = np.arange(len(y)) % FOLDS
    return fold


def study(task: str, rows: int, features: int, repeats: int, studies: int) -> dict[str, dict[str, float]]:
    names = ("log_loss", "accuracy", "roc_auc") if task == "binary" else ("rmse", "mae")
    draw, rng = population(task, features), np.random.default_rng([rows, features, repeats])
    large = draw(np.random.default_rng(99), LARGE)
    kept = rows - rows // FOLDS
    trials = []
    for _ in range(TRAININGS):
        x, y = draw(rng, kept)
        if task == "binary" and len(np.unique(y)) < 2:
            continue
        beta = fitted(task, x, y, np.ones((1, kept)))[0]
        trials.append(list(measured(task, *large, beta).measures(None, names).values()))
    procedure = dict(zip(names, np.mean(trials, axis=0), strict=True))
    found: dict[str, dict[str, Any]] = {
        f"{name}, {how}": {"procedure": 0, "models": 0, "none": 0, "widths": []}
        for name in names
        for how in ("naive", "corrected", "pooled")
    }
    for _ in range(studies):
        x, y = draw(rng, rows)
        fold = np.concatenate([folds_of(rng, y, task) + FOLDS * number for number in range(repeats)])
        models = FOLDS * repeats
        of = fold.reshape(repeats, rows)
        tested = np.array([of[number // FOLDS] == number for number in range(models)])
        betas = fitted(task, x, y, ~tested)
        each = [
            measured(task, x[test], y[test], beta).measures(None, names)
            for test, beta in zip(tested, betas, strict=True)
        ]
        own = [measured(task, *large, beta).measures(None, names) for beta in betas]
        parts = [measured(task, x[test], y[test], beta) for test, beta in zip(tested, betas, strict=True)]
        pooled = parts[0].joined(parts[1:], np.concatenate([np.flatnonzero(test) for test in tested]))
        whole = intervals(pooled, names)
        for name in names:
            scores = np.array([one[name] for one in each])
            models_true = float(np.mean([one[name] for one in own]))
            sizes = tested.sum(axis=1)
            corrected = fold_interval(scores, sizes, rows - sizes, family=MEASURES[name].family)
            naive = fold_interval(scores, 1, 10**12, family=MEASURES[name].family)
            for how, one in (("naive", naive), ("corrected", corrected), ("pooled", whole[name])):
                cell = found[f"{name}, {how}"]
                if not one.known:
                    cell["none"] += 1
                    continue
                cell["procedure"] += one.low <= procedure[name] <= one.high
                cell["models"] += one.low <= models_true <= one.high
                cell["widths"].append(one.high - one.low)
    for cell in found.values():
        known = max(studies - cell["none"], 1)
        cell["procedure"], cell["models"] = cell["procedure"] / known, cell["models"] / known
        cell["width"] = float(np.median(cell.pop("widths") or [math.nan]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--rows", default="60,100,300")
    given = parser.parse_args()
    begun = time.perf_counter()
    print("| model | rows | features | repeats | measure | interval | procedure | these models | none | width |")
    print("|---|---:|---:|---:|---|---|---:|---:|---:|---:|")
    for task in ("binary", "regression"):
        for rows in map(int, given.rows.split(",")):
            for features, repeats in ((5, 1), (5, 3), (20, 1)):
                for label, cell in study(task, rows, features, repeats, given.studies).items():
                    name, how = label.split(", ")
                    model = "logistic regression" if task == "binary" else "ridge regression"
                    print(
                        f"| {model} | {rows} | {features} | {repeats} | {name} | {how} | {cell['procedure']:.3f} "
                        f"| {cell['models']:.3f} | {cell['none'] / given.studies:.2f} | {cell['width']:.3g} |",
                        flush=True,
                    )
    print(f"\n{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
