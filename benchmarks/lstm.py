"""The same LSTM classifier trained by danlu and by PyTorch, side by side in one run, and where danlu's time goes.

Run ``.venv/bin/python benchmarks/lstm.py``; see ``benchmarks/README.md`` for what the figures mean. Every contestant
trains in a process of its own, on as many cores as it has threads, and they take turns.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlp import machine

BATCH, TIME, FEATURES, UNITS, CLASSES = 32, 100, 64, 128, 10
ROWS, EPOCHS, LEARNING_RATE = 1024, 6, 1e-3
# Multiply-adds count 2; the backward pass takes each product twice more, but for the inputs' gradient, which none needs.
PROJECTION, RECURRENT = 2 * BATCH * TIME * FEATURES * 4 * UNITS, 2 * BATCH * TIME * UNITS * 4 * UNITS
FLOPS = 2 * PROJECTION + 3 * RECURRENT
RESULTS = Path(__file__).parent / "results"
CONTESTANTS = tuple((library, threads) for threads in (1, 2) for library in ("danlu", "torch"))

Epochs = tuple[list[float], float]


def make_data() -> tuple[Any, Any]:
    """Fixed sequences ``(rows, time, features)`` and labels that depend on their first steps."""
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, TIME, FEATURES)).astype(np.float32)
    return x, np.argmax(x[:, :10].sum(axis=1)[:, :CLASSES], axis=1).astype(np.int32)


def train_danlu() -> Epochs:
    """Times at the ends of the epochs, and the last epoch's mean loss."""
    import danlu
    from danlu import nn, optim
    from danlu.engine import LambdaCallback

    ends: list[float] = []
    fitted = danlu.fit(
        nn.Sequential((nn.LSTM(UNITS, return_sequences=False), nn.Dense(CLASSES))),
        make_data(),
        loss="categorical_cross_entropy",
        optimizer=optim.adam(LEARNING_RATE),
        callbacks=[LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(time.time()))],
        epochs=EPOCHS,
        batch_size=BATCH,
        display="none",
    )
    return ends, float(fitted.history[-1]["loss"])


def train_torch(threads: int) -> Epochs:
    """The usual eager loop, without a DataLoader, over ``nn.LSTM`` and a linear head on its last output."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    inputs, labels = (torch.from_numpy(a) for a in make_data())
    labels = labels.long()
    lstm, head = torch.nn.LSTM(FEATURES, UNITS, batch_first=True), torch.nn.Linear(UNITS, CLASSES)
    optimizer = torch.optim.Adam([*lstm.parameters(), *head.parameters()], lr=LEARNING_RATE)
    ends, mean = [], 0.0
    for _ in range(EPOCHS):
        total = torch.zeros(())
        for rows in torch.randperm(ROWS).split(BATCH):
            optimizer.zero_grad()
            outputs = head(lstm(inputs[rows])[0][:, -1])
            loss = torch.nn.functional.cross_entropy(outputs, labels[rows])
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(rows)
        mean = float(total) / ROWS
        ends.append(time.time())
    return ends, mean


def danlu_parts() -> dict[str, float]:
    """Milliseconds of the parts of one step, each compiled by itself; the loops include the cells' elementwise work."""
    import jax
    import jax.numpy as jnp

    from danlu.nn import LSTM
    from danlu.nn.recurrent.rnn import project

    layer = LSTM(UNITS)
    params, _, _ = layer.init(jax.random.key(0), (TIME, FEATURES))
    x = jax.random.normal(jax.random.key(1), (BATCH, TIME, FEATURES))
    z = project("LSTM", params, x)
    weights = {"recurrent_kernel": params["recurrent_kernel"]}
    forward = jax.jit(lambda z, weights, carry: layer.cell.forward(z, weights, carry, None, False))
    backward = jax.jit(lambda kept, weights, d_hs, carry: layer.cell.backward(kept, weights, d_hs, carry, None, False))
    hs, carry, kept = forward(z, weights, layer.zeros(z))
    flat_x, flat_z = x.reshape(-1, FEATURES), z.reshape(-1, 4 * UNITS)
    square = jnp.ones((1024, 1024))
    timed: dict[str, Callable[[], Any]] = {
        "projection of the inputs": functools.partial(jax.jit(project, static_argnums=0), "LSTM", params, x),
        "forward loop": functools.partial(forward, z, weights, carry),
        "backward loop and the recurrent kernel's gradient": functools.partial(backward, kept, weights, hs, carry),
        "kernel's gradient": functools.partial(jax.jit(lambda x, z: x.T @ z), flat_x, flat_z),
        "product 1024 x 1024 x 1024": functools.partial(jax.jit(jnp.matmul), square, square),
    }
    found = {}
    for name, run in timed.items():
        jax.block_until_ready(run())
        times = []
        for _ in range(30):
            started = time.perf_counter()
            jax.block_until_ready(run())
            times.append(time.perf_counter() - started)
        found[name] = 1e3 * statistics.median(times)
    return found


def contest(library: str, threads: int) -> None:
    """In the contestant's process: train, and print one line of JSON."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])
    ends, loss = train_danlu() if library == "danlu" else train_torch(threads)
    steps = [(b - a) * BATCH / ROWS * 1e3 for a, b in itertools.pairwise(ends)]
    parts = danlu_parts() if library == "danlu" else {}
    print(json.dumps({"step_ms": statistics.median(steps), "best_ms": min(steps), "loss": loss, "parts": parts}))


def spawn(library: str, threads: int) -> dict[str, Any]:
    """One contestant's figures, from a fresh process."""
    command = [sys.executable, __file__, "--contestant", library, "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{library} with {threads} threads failed:\n{done.stderr[-3000:]}")
    figures: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def measure(rounds: int) -> list[dict[str, Any]]:
    """All contestants in turn, ``rounds`` times; the sequence is turned round every other time."""
    found = [c for c in CONTESTANTS if importlib.util.find_spec(c[0])]
    runs: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for number in range(rounds):
        for contestant in found[:: -1 if number % 2 else 1]:
            figures = spawn(*contestant)
            runs.setdefault(contestant, []).append(figures)
            print(f"round {number + 1}, {contestant}: {figures['step_ms']:.1f} ms", file=sys.stderr, flush=True)
    rows = []
    for contestant in found:
        rounds_of = runs[contestant]
        numbers = {name: statistics.median(run[name] for run in rounds_of) for name in ("step_ms", "loss")}
        parts = {name: statistics.median(run["parts"][name] for run in rounds_of) for name in rounds_of[0]["parts"]}
        best = min(run["best_ms"] for run in rounds_of)
        row = {"library": contestant[0], "threads": contestant[1], **numbers, "best_ms": best, "parts": parts}
        rows.append({**row, "rounds": rounds_of})
    return rows


def ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """PyTorch's time over danlu's, by the medians and by the quickest epochs; "best" is each one's better thread count."""
    result = []
    for threads in (1, 2, "best"):
        of = {
            library: [row for row in rows if row["library"] == library and threads in (row["threads"], "best")]
            for library in ("danlu", "torch")
        }
        if all(of.values()):
            by = {k: min(r[k] for r in of["torch"]) / min(r[k] for r in of["danlu"]) for k in ("step_ms", "best_ms")}
            result.append({"threads": threads, "medians": by["step_ms"], "quickest": by["best_ms"]})
    return result


def markdown(report: dict[str, Any]) -> str:
    """The report as a small Markdown page."""
    about = report["machine"]
    versions = ", ".join(
        f"{name} {about['versions'][name]}" for name in ("danlu", "jax", "torch") if name in about["versions"]
    )
    load = " -> ".join(f"{value:.1f}" for value in report["load"])
    lines = [
        "# A training step of an LSTM",
        "",
        f"Batches of {BATCH} sequences of {TIME} steps, {FEATURES} features to {UNITS} units and a dense head, Adam, float32. "
        f"{about['cpu']}, {about['cores']} cores, load average {load} during the run; Python {about['python']}, {versions}; "
        f"{about['date']}, commit {about['commit']}. Medians of {report['rounds']} rounds; the quickest epoch of all.",
        "",
        "| library | threads | step ms | quickest ms | GFLOP/s at the quickest | final loss |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for r in report["results"]:
        rate = FLOPS / r["best_ms"] / 1e6
        lines.append(
            f"| {r['library']} | {r['threads']} | {r['step_ms']:.1f} | {r['best_ms']:.1f} | {rate:.0f} | {r['loss']:.3f} |"
        )
    lines += ["", "| threads | PyTorch's time over danlu's, medians | quickest |", "|---|---:|---:|"]
    lines += [f"| {r['threads']} | {r['medians']:.2f}x | {r['quickest']:.2f}x |" for r in report["ratios"]]
    lines += ["", "| where danlu's time goes | 1 thread, ms | 2 threads, ms |", "|---|---:|---:|"]
    ours = {r["threads"]: r["parts"] for r in report["results"] if r["library"] == "danlu"}
    lines += [f"| {name} | {ours[1][name]:.2f} | {ours[2][name]:.2f} |" for name in ours[1]]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, show and write the results; or be one contestant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant:
        contest(options.contestant, options.threads)
        return
    before = os.getloadavg()[0]
    rows = measure(options.rounds)
    report = {
        "machine": machine(),
        "load": [before, os.getloadavg()[0]],
        "rounds": options.rounds,
        "flops_a_step": FLOPS,
        "results": rows,
        "ratios": ratios(rows),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "lstm.json").write_text(json.dumps(report, indent=1) + "\n")
    (RESULTS / "lstm.md").write_text(markdown(report))
    print(markdown(report))


if __name__ == "__main__":
    main()
