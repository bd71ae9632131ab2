"""The same small classifier trained by danlu, PyTorch, Keras and scikit-learn, side by side in one run.

Run ``.venv/bin/python benchmarks/mlp.py``; see ``benchmarks/README.md`` for what the figures mean. Every contestant
trains in a process of its own, and the contestants take turns, so that a busy machine is busy for all of them.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.metadata
import importlib.util
import itertools
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FEATURES, CLASSES, ROWS, BATCH, EPOCHS = 20, 3, 8192, 32, 5
LEARNING_RATE = 1e-3
WIDTHS = (64, 256)
BARS = {64: {"PyTorch eager": 8.0, "scikit-learn": 5.0}, 256: {"PyTorch eager": 2.0, "scikit-learn": 2.0}}
RESULTS = Path(__file__).parent / "results"
PACKAGES = {"danlu": "danlu", "torch": "torch", "keras": "keras", "sklearn": "scikit-learn"}

# key of the contestant, its process, the package it needs, and its name in the table
CONTESTANTS = (
    ("danlu-empty", "danlu", "danlu, empty cache"),
    ("danlu-warm", "danlu", "danlu, warm cache"),
    ("torch-1", "torch", "PyTorch eager, 1 thread"),
    ("torch-2", "torch", "PyTorch eager, 2 threads"),
    ("keras", "keras", "Keras on JAX"),
    ("sklearn", "sklearn", "scikit-learn"),
)

Epochs = tuple[list[float], float]


def make_data() -> tuple[Any, Any]:
    """Fixed inputs ``(rows, 20)`` and labels of a random two-layer teacher, one of three a row."""
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, FEATURES)).astype(np.float32)
    hidden = np.tanh(x @ rng.normal(size=(FEATURES, 16)) / 2)
    return x, np.argmax(hidden @ rng.normal(size=(16, CLASSES)), axis=1).astype(np.int32)


def train_danlu(width: int, threads: int) -> Epochs:
    """Times at the ends of the epochs, and the last epoch's mean loss."""
    import danlu
    from danlu import nn, optim
    from danlu.engine import LambdaCallback

    x, y = make_data()
    ends: list[float] = []
    fitted = danlu.fit(
        nn.MLP((width, width), CLASSES),
        (x, y),
        loss="categorical_cross_entropy",
        optimizer=optim.adam(LEARNING_RATE),
        callbacks=[LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(time.time()))],
        epochs=EPOCHS,
        batch_size=BATCH,
        display="none",
    )
    return ends, float(fitted.history[-1]["loss"])


def train_torch(width: int, threads: int) -> Epochs:
    """The usual eager loop, without a DataLoader: rows are indexed straight out of one tensor."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    inputs, labels = (torch.from_numpy(a) for a in make_data())
    labels = labels.long()
    model = torch.nn.Sequential(
        torch.nn.Linear(FEATURES, width),
        torch.nn.ReLU(),
        torch.nn.Linear(width, width),
        torch.nn.ReLU(),
        torch.nn.Linear(width, CLASSES),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    ends, mean = [], 0.0
    for _ in range(EPOCHS):
        total = torch.zeros(())
        for rows in torch.randperm(ROWS).split(BATCH):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(inputs[rows]), labels[rows])
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(rows)
        mean = float(total) / ROWS
        ends.append(time.time())
    return ends, mean


def train_keras(width: int, threads: int) -> Epochs:
    """``model.fit`` on the JAX backend."""
    import keras

    keras.utils.set_random_seed(0)
    layer = keras.layers.Dense
    model = keras.Sequential(
        [keras.Input((FEATURES,)), layer(width, "relu"), layer(width, "relu"), layer(CLASSES)],
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(LEARNING_RATE), loss=loss)
    ends: list[float] = []
    clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(time.time()))
    history = model.fit(*make_data(), batch_size=BATCH, epochs=EPOCHS, verbose=0, callbacks=[clock])
    return ends, float(history.history["loss"][-1])


class _LineClock:
    """A stream that notes when each line arrives."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def write(self, text: str) -> int:
        if text.startswith("Iteration"):
            self.ends.append(time.time())
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""


def train_sklearn(width: int, threads: int) -> Epochs:
    """``MLPClassifier.fit``; the line that it prints after each epoch is the clock."""
    import warnings

    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore")
    model = MLPClassifier(
        (width, width),
        solver="adam",
        alpha=0.0,
        batch_size=BATCH,
        learning_rate_init=LEARNING_RATE,
        max_iter=EPOCHS,
        tol=0.0,
        n_iter_no_change=10**6,
        early_stopping=False,
        random_state=0,
        verbose=True,
    )
    clock = _LineClock()
    with contextlib.redirect_stdout(clock):
        model.fit(*make_data())
    return clock.ends, float(model.loss_)


TRAINERS: dict[str, Callable[[int, int], Epochs]] = {
    "danlu": train_danlu,
    "torch": train_torch,
    "keras": train_keras,
    "sklearn": train_sklearn,
}


def contest(key: str, width: int) -> None:
    """In the contestant's process: train, and print one line of JSON."""
    started = float(os.environ["BENCH_STARTED"])
    name, _, variant = key.partition("-")
    ends, loss = TRAINERS[name](width, int(variant) if variant.isdigit() else 1)
    warm = statistics.median(b - a for a, b in itertools.pairwise(ends))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        json.dumps(
            {
                "warm_rows_per_second": ROWS / warm,
                "cold_seconds": ends[0] - started,
                "peak_mib": peak / (2**20 if sys.platform == "darwin" else 2**10),
                "loss": loss,
                "epochs": len(ends),
            }
        )
    )


def spawn(key: str, width: int, cache: str) -> dict[str, Any]:
    """One contestant's figures, from a fresh process."""
    env = {**os.environ, "KERAS_BACKEND": "jax", "DANLU_CACHE": cache, "BENCH_STARTED": repr(time.time())}
    command = [sys.executable, __file__, "--contestant", key, "--width", str(width)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{key} at width {width} failed:\n{done.stderr[-3000:]}")
    figures: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def measure(rounds: int) -> list[dict[str, Any]]:
    """All contestants in turn, ``rounds`` times; the sequence is turned round every other time."""
    found = [c for c in CONTESTANTS if importlib.util.find_spec(c[1])]
    for _, package, label in CONTESTANTS:
        if importlib.util.find_spec(package) is None:
            print(f"skipped: {label} ({package} is not installed)")
    runs: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for number in range(rounds):
        for width in WIDTHS:
            with tempfile.TemporaryDirectory() as warm:
                # the warm cache is filled by the run with the empty one, which therefore goes first
                turn = found if number % 2 == 0 else [*found[2:][::-1], *found[:2]]
                for key, _, _ in turn:
                    runs.setdefault((width, key), []).append(spawn(key, width, warm))
                    rate = runs[width, key][-1]["warm_rows_per_second"]
                    print(f"round {number + 1}, width {width}, {key}: {rate:,.0f} rows/s", file=sys.stderr, flush=True)
    rows = []
    for (width, key), figures in sorted(runs.items()):
        label = next(label for k, _, label in CONTESTANTS if k == key)
        row = {name: statistics.median(f[name] for f in figures) for name in figures[0]}
        rows.append({"width": width, "key": key, "contestant": label, **row, "rounds": figures})
    return rows


def ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How many times danlu's warm rate is each rival's; PyTorch's rate is the better of its thread counts."""
    rates = {(r["width"], r["key"]): r["warm_rows_per_second"] for r in rows}
    result = []
    for width in WIDTHS:
        runs = [run for r in rows if r["width"] == width and r["key"].startswith("danlu") for run in r["rounds"]]
        ours = statistics.median(run["warm_rows_per_second"] for run in runs)
        for name, prefix in (("PyTorch eager", "torch"), ("Keras on JAX", "keras"), ("scikit-learn", "sklearn")):
            theirs = [v for (w, k), v in rates.items() if w == width and k.startswith(prefix)]
            if theirs:
                bar = BARS[width].get(name)
                result.append({"width": width, "rival": name, "ratio": ours / max(theirs), "bar": bar})
    return result


def machine() -> dict[str, Any]:
    """Where and with what this was measured."""
    cpu = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), cpu)
    versions = {}
    for package in ("danlu", "jax", "jaxlib", "numpy", "torch", "keras", "scikit-learn"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip(),
    }


HEAD = ("width", "contestant", "warm rows/s", "cold s", "peak MiB", "final loss")


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """A result as the table shows it."""
    numbers = (f"{row['warm_rows_per_second']:,.0f}", f"{row['cold_seconds']:.2f}", f"{row['peak_mib']:.0f}")
    return (str(row["width"]), row["contestant"], *numbers, f"{row['loss']:.4f}")


def markdown(report: dict[str, Any]) -> str:
    """The report as a small Markdown page."""
    about = report["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    load = " -> ".join(f"{value:.1f}" for value in report["load"])
    lines = [
        "# Training a small classifier",
        "",
        f"{about['cpu']}, {about['cores']} cores, load average {load} during the run; Python {about['python']}, {versions}; "
        f"{about['date']}, commit {about['commit']}. Medians of {report['rounds']} rounds.",
        "",
        "| " + " | ".join(HEAD) + " |",
        "|---|---|---:|---:|---:|---:|",
        *("| " + " | ".join(cells(row)) + " |" for row in report["results"]),
        "",
        "| width | danlu's warm rate against | ratio | bar |",
        "|---|---|---:|---:|",
    ]
    for r in report["ratios"]:
        bar = "" if r["bar"] is None else f"{r['bar']:.0f}x {'met' if r['ratio'] >= r['bar'] else 'not met'}"
        lines.append(f"| {r['width']} | {r['rival']} | {r['ratio']:.1f}x | {bar} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, show and write the results; or be one contestant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    parser.add_argument("--width", type=int, default=64, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant:
        contest(options.contestant, options.width)
        return
    before, begun = os.getloadavg()[0], time.time()
    rows = measure(options.rounds)
    report = {
        "machine": machine(),
        "load": [before, os.getloadavg()[0]],
        "seconds": time.time() - begun,
        "rounds": options.rounds,
        "settings": {"rows": ROWS, "batch": BATCH, "epochs": EPOCHS, "learning_rate": LEARNING_RATE},
        "results": rows,
        "ratios": ratios(rows),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "mlp.json").write_text(json.dumps(report, indent=1) + "\n")
    (RESULTS / "mlp.md").write_text(markdown(report))

    from rich.console import Console
    from rich.table import Table

    table = Table(*HEAD, title="Training a small classifier")
    for row in rows:
        table.add_row(*cells(row))
    console = Console()
    console.print(table)
    for r in report["ratios"]:
        console.print(f"width {r['width']}: danlu is {r['ratio']:.1f}x {r['rival']} (bar: {r['bar'] or 'none'})")
    console.print(f"load {report['load'][0]:.1f} -> {report['load'][1]:.1f}, {report['seconds']:.0f} s in all")


if __name__ == "__main__":
    main()
