"""The same small classifier trained by danlu, PyTorch, Keras and scikit-learn in turn: ``python benchmarks/mlp.py``."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import os
import resource
import sys
import tempfile
import time
from typing import Any

import harness
from harness import THREADS, Clock, Recipe, Training

FEATURES, CLASSES, ROWS, BATCH, LEARNING_RATE = 20, 3, 8192, 32, 1e-3
WIDTHS = (64, 256)
BARS = {64: {"PyTorch": 8.0, "scikit-learn": 5.0}, 256: {"PyTorch": 2.0, "scikit-learn": 2.0}}

# name of the contestant, the package that it needs, and its threads: all may use both cores, PyTorch's better count counts
CONTESTANTS = (
    ("danlu, empty cache", "danlu", THREADS[-1:]),
    ("danlu, warm cache", "danlu", THREADS[-1:]),
    ("PyTorch", "torch", THREADS),
    ("Keras on JAX", "keras", THREADS[-1:]),
    ("scikit-learn", "sklearn", THREADS[-1:]),
)


def make_data() -> tuple[Any, Any]:
    """Fixed inputs ``(rows, 20)`` and labels of a random two-layer teacher, one of three a row."""
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, FEATURES)).astype(np.float32)
    hidden = np.tanh(x @ rng.normal(size=(FEATURES, 16)) / 2)
    return x, np.argmax(hidden @ rng.normal(size=(16, CLASSES)), axis=1).astype(np.int32)


def train_danlu(width: int, recipe: Recipe, threads: int) -> Training:
    """``danlu.fit`` of an MLP."""
    from danlu import nn

    return harness.fit_danlu(nn.MLP((width, width), CLASSES), make_data(), recipe)


def train_torch(width: int, recipe: Recipe, threads: int) -> Training:
    """The harness's loop over the same network."""

    def build(x: Any) -> tuple[Any, Any]:
        from torch import nn

        hidden = (nn.Linear(FEATURES, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        return harness.as_danlu_starts(nn.Sequential(*hidden, nn.Linear(width, CLASSES))), x

    return harness.fit_torch(build, make_data(), recipe, threads)


def train_keras(width: int, recipe: Recipe, threads: int) -> Training:
    """``model.fit`` on the JAX backend."""
    import keras

    keras.utils.set_random_seed(0)
    hidden = [keras.layers.Dense(width, "relu", kernel_initializer="he_normal") for _ in range(2)]
    head = keras.layers.Dense(CLASSES, kernel_initializer="lecun_normal")
    model = keras.Sequential([keras.Input((FEATURES,)), *hidden, head])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(recipe.learning_rate), loss=loss)
    ends: list[Clock] = []
    clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(harness.now()))
    history = model.fit(*make_data(), batch_size=recipe.batch, epochs=recipe.epochs, verbose=0, callbacks=[clock])
    return ends, float(history.history["loss"][-1])


class _LineClock(io.StringIO):
    """A stream that notes when each epoch's line arrives."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[Clock] = []

    def write(self, text: str) -> int:
        if text.startswith("Iteration"):
            self.ends.append(harness.now())
        return len(text)


def train_sklearn(width: int, recipe: Recipe, threads: int) -> Training:
    """``MLPClassifier.fit``; the line that it prints after each epoch is the clock. Its initial scale (Glorot) is its own."""
    import warnings

    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore")
    model = MLPClassifier(
        (width, width),
        alpha=0.0,
        batch_size=recipe.batch,
        learning_rate_init=recipe.learning_rate,
        max_iter=recipe.epochs,
        tol=0.0,
        n_iter_no_change=10**6,
        random_state=0,
        verbose=True,
    )
    clock = _LineClock()
    with contextlib.redirect_stdout(clock):
        model.fit(*make_data())
    return clock.ends, float(model.loss_)


TRAINERS = {"danlu": train_danlu, "torch": train_torch, "keras": train_keras, "sklearn": train_sklearn}


def contest(options: argparse.Namespace) -> dict[str, Any]:
    """In the contestant's process: train; the seconds since it was started; the memory it took."""
    name, width = options.contestant.split(" @ ")
    package = next(package for label, package, _ in CONTESTANTS if label == name)
    ends, loss = TRAINERS[package](int(width), Recipe(options.epochs, BATCH, LEARNING_RATE), options.threads)
    cold = ends[0][0] - float(os.environ["BENCH_STARTED"])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    times = harness.laps(ends, ROWS // BATCH)
    return {**times, "loss": loss, "cold_seconds": cold, "peak_mib": peak}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All contestants' rows, and how many times danlu's warm rate is each rival's, for each one's best row."""
    present = [c for c in CONTESTANTS if importlib.util.find_spec(c[1])]
    contestants = [(f"{name} @ {w}", threads) for w in WIDTHS for name, _, counts in present for threads in counts]
    with tempfile.TemporaryDirectory() as warm:

        def start(contestant: harness.Contestant) -> dict[str, Any]:
            with tempfile.TemporaryDirectory() as empty:
                cache = empty if "empty cache" in contestant[0] else warm
                started = repr(time.time())
                return harness.spawn(options, contestant, KERAS_BACKEND="jax", DANLU_CACHE=cache, BENCH_STARTED=started)

        for contestant in contestants:
            if "warm cache" in contestant[0]:
                start(contestant)  # fills it
        rows = harness.in_turn(contestants, options.rounds, start)
    best: dict[tuple[int, str], float] = {}
    for row in rows:
        name, width = row["contestant"].split(" @ ")
        row |= {"contestant": name, "width": int(width), "rows_per_second": BATCH * 1e3 / row["median_ms"]}
        row |= {figure: min(run[figure] for run in row["runs"]) for figure in ("cold_seconds", "peak_mib")}
        key = (row["width"], name.split(",")[0])
        best[key] = max(best.get(key, 0.0), row["rows_per_second"])
    ratios = [
        {"width": width, "rival": rival, "ratio": best[width, "danlu"] / rate, "bar": BARS[width].get(rival)}
        for (width, rival), rate in best.items()
        if rival != "danlu"
    ]
    return {"results": rows, "ratios": ratios}


def page(report: dict[str, Any]) -> list[str]:
    """The report as the lines of a small Markdown page."""
    figures = {
        "rows_per_second": ("warm rows/s", ",.0f"),
        **{name: (head, ".3f") for name, head in harness.TIMES.items()},
    }
    figures |= {"cold_seconds": ("cold s", ".2f"), "peak_mib": ("peak MiB", ".0f"), "loss": ("final loss", ".4f")}
    rows = [["contestant", "width", "threads", *(head for head, _ in figures.values())]]
    for r in report["results"]:
        numbers = (format(r[name], form) for name, (_, form) in figures.items())
        rows.append([r["contestant"], str(r["width"]), str(r["threads"]), *numbers])
    ratios = [["danlu's warm rate against", "width", "ratio", "bar"]]
    for r in report["ratios"]:
        bar = f"{r['bar']:.0f}x {'met' if r['ratio'] >= r['bar'] else 'not met'}" if r["bar"] else ""
        ratios.append([r["rival"], str(r["width"]), f"{r['ratio']:.1f}x", bar])
    return ["# Training a small classifier", "", harness.facts(report), *harness.table(*rows), *harness.table(*ratios)]


if __name__ == "__main__":
    harness.run(__doc__, 5, contest, measure, page)
