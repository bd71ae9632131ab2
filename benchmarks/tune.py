"""Many trainings as one program beside loops over PyTorch's and scikit-learn's; a search beside Optuna over PyTorch.

    .venv/bin/python benchmarks/tune.py --data FOLDER [--peers PYTHON] [--only grid|search] [--rounds 1]

``grid``: 5 folds × 8 learning rates of one MLP on telco-churn's rows, from encoded arrays to 40 held-out log losses. danlu's time
includes compiling, with an empty cache of programs. Every contestant has a process of its own; they take turns. Imports and the reading
of the file are not timed.

``search``: settings of a network on telco-churn, scored by 5 folds of the training rows, and then by test rows that neither looks at
before. danlu has 3 minutes or 50 trials; Optuna over a PyTorch MLP of the same space (rate, decay, dropout, width, depth) has 10 minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

FOLDS, RATES = 5, (3e-4, 1e-3, 2e-3, 3e-3, 5e-3, 1e-2, 2e-2, 4e-2)
HIDDEN, EPOCHS, BATCH = 32, 20, 32
SEARCH_SECONDS = 600.0


def encoded(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Inputs and labels of training and of test rows: numbers standardised, texts one-hot; the split is the same for all."""
    import csv

    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name not in ("customerID", "Churn")]
    order = np.random.default_rng(0).permutation(len(rows))
    columns = []
    for name in names:
        texts = [row[name].strip() for row in rows]
        try:
            values = np.array([float(text or 0) for text in texts])
            columns.append(((values - values.mean()) / values.std())[:, None])
        except ValueError:
            levels = sorted(set(texts))
            columns.append(np.array([[text == level for level in levels] for text in texts], float))
    x = np.concatenate(columns, axis=1).astype(np.float32)[order]
    y = np.array([row["Churn"] == "Yes" for row in rows], np.int32)[order]
    cut = len(x) * 4 // 5
    return x[:cut], y[:cut], x[cut:], y[cut:]


def folds_of(rows: int) -> np.ndarray:
    return np.random.default_rng(1).permutation(rows) % FOLDS


def log_loss(logits: np.ndarray, y: np.ndarray) -> float:
    logits = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(y)), y]))


def cpu_seconds() -> float:
    """Seconds that this process and those it started and waited for had on a core."""
    return sum(os.times()[:4])


# Grid.


def grid_danlu(path: Path, hidden: int, batch: int, epochs: int) -> dict[str, Any]:
    x, y, _, _ = encoded(path)
    import jax

    import danlu
    from danlu import nn, optim

    jax.numpy.zeros(1).block_until_ready()
    fold = folds_of(len(x))
    begun, cpu = time.perf_counter(), cpu_seconds()
    members = danlu.fit_population(
        nn.MLP(hidden=(hidden, hidden), outputs=2),
        (x, y),
        loss="categorical_cross_entropy",
        seeds=[k for _ in RATES for k in range(FOLDS)],
        optimizers=[optim.adam(rate) for rate in RATES for _ in range(FOLDS)],
        train_rows=[np.flatnonzero(fold != k) for _ in RATES for k in range(FOLDS)],
        validation_rows=[np.flatnonzero(fold == k) for _ in RATES for k in range(FOLDS)],
        epochs=epochs,
        batch_size=batch,
        restore_best=False,
        display="none",
        devices=int(os.environ.get("JAX_NUM_CPU_DEVICES", "1")),
    )
    scores = [each.history[-1]["val_loss"] for each in members]
    best = min(np.reshape(scores, (len(RATES), FOLDS)).mean(axis=1))
    return {"seconds": time.perf_counter() - begun, "cpu": cpu_seconds() - cpu, "score": float(best)}


def grid_torch(path: Path, hidden: int, batch: int, epochs: int) -> dict[str, Any]:
    x, y, _, _ = encoded(path)
    import torch

    torch.set_num_threads(int(os.environ.get("THREADS", "1")))
    fold, inputs, labels = folds_of(len(x)), torch.from_numpy(x), torch.from_numpy(y.astype(np.int64))
    begun, cpu, scores = time.perf_counter(), cpu_seconds(), []
    for rate in RATES:
        for k in range(FOLDS):
            scores.append(
                _torch_fit(inputs, labels, fold != k, fold == k, rate, 0.0, 0.0, hidden, 2, epochs, batch, k)[0]
            )
    best = min(np.reshape(scores, (len(RATES), FOLDS)).mean(axis=1))
    return {"seconds": time.perf_counter() - begun, "cpu": cpu_seconds() - cpu, "score": float(best)}


def _torch_fit(
    inputs: Any, labels: Any, train: Any, held: Any, rate: float, decay: float, dropout: float,
    width: int, depth: int, epochs: int, batch: int, seed: int, patience: int | None = None,
) -> tuple[float, Any]:  # fmt: skip
    """The usual eager loop with the fused Adam, indexing one tensor; the held-out log loss, of the best epoch with a patience."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    layers: list[Any] = []
    for number in range(depth):
        layers += [nn.Linear(inputs.shape[1] if number == 0 else width, width), nn.ReLU()]
        layers += [nn.Dropout(dropout)] if dropout else []
    network = nn.Sequential(*layers, nn.Linear(width if depth else inputs.shape[1], 2))
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=decay, fused=True)
    loss_of = nn.functional.cross_entropy
    rows, judged = torch.from_numpy(np.flatnonzero(train)), torch.from_numpy(np.flatnonzero(held))
    xs, ys = inputs[rows], labels[rows]
    best, kept, stale = float("inf"), None, 0
    for _ in range(epochs):
        network.train()
        order = torch.randperm(len(rows))
        for start in range(0, len(rows), batch):
            taken = order[start : start + batch]
            optimizer.zero_grad(set_to_none=True)
            loss_of(network(xs[taken]), ys[taken]).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            found = float(loss_of(network(inputs[judged]), labels[judged]))
        if found < best:
            best, stale = found, 0
            kept = None if patience is None else {name: value.clone() for name, value in network.state_dict().items()}
        else:
            stale += 1
        if patience is not None and stale >= patience:
            break
    if kept is not None:
        network.load_state_dict(kept)
    return (found if patience is None else best), network


def grid_sklearn(path: Path, hidden: int, batch: int, epochs: int) -> dict[str, Any]:
    x, y, _, _ = encoded(path)
    import warnings

    from sklearn.model_selection import PredefinedSplit, cross_val_score
    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore")
    os.environ["PYTHONWARNINGS"] = "ignore"
    begun, cpu, scores = time.perf_counter(), cpu_seconds(), []
    for rate in RATES:
        network = MLPClassifier(
            (hidden, hidden), learning_rate_init=rate, alpha=0.0, batch_size=batch, max_iter=epochs, tol=0.0,
            n_iter_no_change=epochs, random_state=0,
        )  # fmt: skip
        found = cross_val_score(network, x, y, cv=PredefinedSplit(folds_of(len(x))), scoring="neg_log_loss", n_jobs=2)
        scores.append(-found.mean())
    return {"seconds": time.perf_counter() - begun, "cpu": cpu_seconds() - cpu, "score": float(min(scores))}


# Search.


def search_danlu(path: Path, minutes: float, trials: int) -> dict[str, Any]:
    x, y, test_x, test_y = encoded(path)
    rows, runs = _split_files(path)
    import danlu

    begun, cpu = time.perf_counter(), cpu_seconds()
    tuned = danlu.tune(
        str(rows[0]),
        target="Churn",
        test=str(rows[1]),
        data={"drop": ["customerID"]},
        model={"kind": "network"},  # as Optuna searches one
        trials=trials,
        minutes=minutes,
        runs=runs,
        display="none",
        say=lambda line: print(f"{time.perf_counter() - begun:6.1f} s  {line}", file=sys.stderr),
        evaluate={"baselines": False, "importance": False, "report": False},
    )
    return {
        "seconds": time.perf_counter() - begun,
        "cpu": cpu_seconds() - cpu,
        "search_seconds": tuned.seconds,
        "trials": len(tuned.trials),
        "score": tuned.score,
        "test": tuned.judgement.scores["log_loss"].value,
        "settings": dict(tuned.settings),
    }


def _split_files(path: Path) -> tuple[list[Path], Path]:
    """The file's training and test rows, split as :func:`encoded` does, as files of their own."""
    lines = path.read_text().splitlines()
    head, body = lines[0], lines[1:]
    order = np.random.default_rng(0).permutation(len(body))
    cut = len(body) * 4 // 5
    folder = Path(tempfile.mkdtemp())
    files = [folder / "train.csv", folder / "test.csv"]
    for file, part in zip(files, (order[:cut], order[cut:]), strict=True):
        file.write_text("\n".join([head, *(body[place] for place in part)]) + "\n")
    return files, folder / "runs"


def search_torch(path: Path, seconds: float) -> dict[str, Any]:
    x, y, test_x, test_y = encoded(path)
    import optuna
    import torch

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(int(os.environ.get("THREADS", "1")))
    fold, inputs, labels = folds_of(len(x)), torch.from_numpy(x), torch.from_numpy(y.astype(np.int64))
    begun, cpu = time.perf_counter(), cpu_seconds()
    best: dict[str, Any] = {"score": float("inf")}
    history = []

    def objective(trial: Any) -> float:
        rate = trial.suggest_float("learning_rate", 3e-4, 3e-2, log=True)
        decay = trial.suggest_float("weight_decay", 1e-4, 0.3, log=True)
        dropout = trial.suggest_float("dropout", 0.0, 0.5)
        width = trial.suggest_categorical("width", [128, 192, 288])
        depth = trial.suggest_int("depth", 1, 3)
        networks, scores = [], []
        for k in range(FOLDS):
            score, network = _torch_fit(
                inputs, labels, fold != k, fold == k, rate, decay, dropout, width, depth, 40, 256, k, patience=10
            )  # fmt: skip
            scores.append(score)
            networks.append(network)
            trial.report(float(np.mean(scores)), k)
            if trial.should_prune():
                raise optuna.TrialPruned
        score = float(np.mean(scores))
        if score < best["score"]:
            with torch.no_grad():
                probability = np.mean(
                    [torch.softmax(net(torch.from_numpy(test_x)), 1).numpy() for net in networks], axis=0
                )
            test = log_loss(np.log(np.clip(probability, 1e-12, None)), test_y)
            best.update(score=score, test=test, settings=trial.params)
            history.append((time.perf_counter() - begun, score, test))
        return score

    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=0), pruner=optuna.pruners.MedianPruner(n_startup_trials=5)
    )
    study.optimize(objective, timeout=seconds)
    return {
        "seconds": time.perf_counter() - begun,
        "cpu": cpu_seconds() - cpu,
        "trials": len(study.trials),
        "history": history,
        **best,
    }


# The benchmark.


def child(what: str, path: Path, given: argparse.Namespace) -> dict[str, Any]:
    """A contestant in a process of its own, with a cache of compiled programs of its own."""
    mine = what.endswith("danlu")
    python = sys.executable if mine or what == "grid_sklearn" else given.peers
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "DANLU_CACHE": cache, "OMP_NUM_THREADS": os.environ.get("THREADS", "1")}
        environment.update({"MKL_NUM_THREADS": environment["OMP_NUM_THREADS"]})
        if mine and what.startswith("grid"):
            environment["JAX_NUM_CPU_DEVICES"] = str(given.devices)
        command = [python, __file__, "--child", what, "--data", str(given.data)]
        command += [
            "--hidden",
            str(given.hidden),
            "--batch",
            str(given.batch),
            "--epochs",
            str(given.epochs),
            "--minutes",
            str(given.minutes),
        ]
        command += ["--trials", str(given.trials), "--seconds", str(given.seconds)]
        load = os.getloadavg()[0]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return {"what": what, "load": [load, os.getloadavg()[0]], **found}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds telco-churn/telco-churn.csv")
    parser.add_argument("--peers", default=sys.executable, help="a Python that has torch and optuna")
    parser.add_argument("--only", choices=("grid", "search"))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--hidden", type=int, default=HIDDEN)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--devices", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=SEARCH_SECONDS)
    parser.add_argument("--child")
    given = parser.parse_args()
    path = given.data / "telco-churn" / "telco-churn.csv"
    if given.child:
        how: dict[str, Any] = (
            {"hidden": given.hidden, "batch": given.batch, "epochs": given.epochs}
            if given.child.startswith("grid")
            else {}
        )
        if given.child == "search_danlu":
            how = {"minutes": given.minutes, "trials": given.trials}
        if given.child == "search_torch":
            how = {"seconds": given.seconds}
        print(json.dumps(globals()[given.child](path, **how)))
        return
    for number in range(given.rounds):
        grid = ["grid_danlu", "grid_torch", "grid_sklearn"][:: 1 if number % 2 == 0 else -1]
        contestants = [
            each for each in (*grid, "search_danlu", "search_torch") if given.only in (None, each.split("_")[0])
        ]
        for what in contestants:
            print(json.dumps(child(what, path, given)), flush=True)


if __name__ == "__main__":
    main()
