"""A small convolutional network's training step, danlu and PyTorch in turn, and where danlu's time goes.

Run ``.venv/bin/python benchmarks/cnn.py``. The network is conv 3×3 (32) → conv 3×3 (64) → max-pool 2 → dense 128 → 10 on
28×28×1 images, without padding, batch 64, Adam, float32. Every contestant trains in a process of its own and they take
turns, so that a busy machine is busy for all. A step's time is an epoch's over its steps; the figure is the least of the
epochs (the one that was disturbed least) and the median. CPU seconds are those of all threads.
"""

from __future__ import annotations

import argparse
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

from mlp import machine  # the file beside this one

ROWS, BATCH, EPOCHS, CLASSES = 1024, 64, 6, 10
LEARNING_RATE = 1e-3
RESULTS = Path(__file__).parent / "results"

# multiply-adds count 2; the first layer passes no error on, the others run three products of the forward's size
CONV1, CONV2, DENSE1, DENSE2 = 2 * 26 * 26 * 9 * 32, 2 * 24 * 24 * 9 * 32 * 64, 2 * 9216 * 128, 2 * 128 * CLASSES
STEP_FLOPS = BATCH * (2 * CONV1 + 3 * (CONV2 + DENSE1 + DENSE2))

# key of the contestant, the package it needs, its name in the table
CONTESTANTS = (
    ("danlu", "danlu", "danlu"),
    ("torch-1", "torch", "PyTorch eager, channels_last, fused Adam, 1 thread"),
    ("torch-2", "torch", "PyTorch eager, channels_last, fused Adam, 2 threads"),
    ("torch_plain-1", "torch", "PyTorch eager, contiguous, fused Adam, 1 thread"),
)
Clock = tuple[float, float]


def now() -> Clock:
    """Seconds of the clock and of the processors."""
    return time.perf_counter(), time.process_time()


def make_data() -> tuple[Any, Any]:
    """Fixed images ``(rows, 28, 28, 1)`` with one bright square each, whose place is the label."""
    import numpy as np

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(ROWS, 28, 28, 1)).astype(np.float32), rng.integers(0, CLASSES, ROWS)
    for image, label in zip(x, y, strict=True):
        row, column = divmod(int(label), 4)
        image[8 * row : 8 * row + 6, 7 * column : 7 * column + 5] += 1
    return x, y.astype(np.int32)


def network() -> Any:
    """The network out of danlu's layers."""
    from danlu import nn

    return nn.Sequential(
        (
            nn.Conv(32, 3, padding="valid", activation="relu"),
            nn.Conv(64, 3, padding="valid", activation="relu"),
            nn.MaxPool(2),
            nn.Flatten(),
            nn.Dense(128, "relu"),
            nn.Dense(CLASSES),
        )
    )


def train_danlu(threads: int) -> tuple[list[Clock], float]:
    """The clock at the ends of the epochs, and the last epoch's mean loss."""
    import danlu
    from danlu import optim
    from danlu.engine import LambdaCallback

    ends: list[Clock] = []
    fitted = danlu.fit(
        network(),
        make_data(),
        loss="categorical_cross_entropy",
        optimizer=optim.adam(LEARNING_RATE),
        callbacks=[LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(now()))],
        epochs=EPOCHS,
        batch_size=BATCH,
        display="none",
    )
    return ends, float(fitted.history[-1]["loss"])


def train_torch(threads: int, *, channels_last: bool = True) -> tuple[list[Clock], float]:
    """The usual eager loop; rows are indexed straight out of one tensor."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    x, y = make_data()
    inputs, labels = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(y).long()
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 32, 3),
        torch.nn.ReLU(),
        torch.nn.Conv2d(32, 64, 3),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(9216, 128),
        torch.nn.ReLU(),
        torch.nn.Linear(128, CLASSES),
    )
    if channels_last:
        model, inputs = (a.to(memory_format=torch.channels_last) for a in (model, inputs))
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)
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
        ends.append(now())
    return ends, mean


TRAINERS: dict[str, Callable[[int], tuple[list[Clock], float]]] = {
    "danlu": train_danlu,
    "torch": train_torch,
    "torch_plain": lambda threads: train_torch(threads, channels_last=False),
}


def least(run: Callable[[], Any], times: int = 8) -> dict[str, float]:
    """Milliseconds of a call, by the clock and of the processors, the least of ``times`` after a first one."""
    import jax

    jax.block_until_ready(run())
    walls, cpus = [], []
    for _ in range(times):
        before = now()
        jax.block_until_ready(run())
        wall, cpu = (1e3 * (b - a) for a, b in zip(before, now(), strict=True))
        walls.append(wall)
        cpus.append(cpu)
    return {"wall_ms": min(walls), "cpu_ms": min(cpus)}


def profile() -> dict[str, Any]:
    """The parts of the step, each compiled alone, with their rate beside that of a large matrix product."""
    import jax
    import jax.numpy as jnp

    from danlu import optim
    from danlu.nn.conv_rules import Window, convolve, input_gradient, kernel_gradient, max_pool

    key = jax.random.key(0)

    def drawn(*shape: int) -> Any:
        return jax.random.normal(key, shape)

    how = Window((1, 1), ((0, 0), (0, 0)), (1, 1))
    two = Window((2, 2), ((0, 0), (0, 0)), (1, 1))
    small, x, k1, k2 = drawn(BATCH, 28, 28, 1), drawn(BATCH, 26, 26, 32), drawn(3, 3, 1, 32), drawn(3, 3, 32, 64)
    dy1, dy2, dp = drawn(BATCH, 26, 26, 32), drawn(BATCH, 24, 24, 64), drawn(BATCH, 12, 12, 64)
    flat, wide, square = drawn(BATCH, 9216), drawn(9216, 128), drawn(1024, 1024)
    params, _, _ = network().init(key, (28, 28, 1))
    adam = optim.adam(LEARNING_RATE)
    # name -> (FLOPs, function, arguments)
    parts: dict[str, tuple[int, Callable[..., Any], tuple[Any, ...]]] = {
        "matrix product 1024": (2 * 1024**3, lambda a: a @ a, (square,)),
        "conv 2 forward": (BATCH * CONV2, lambda x, k: convolve(x, k, how), (x, k2)),
        "conv 2 input gradient": (BATCH * CONV2, lambda d, k: input_gradient(d, k, x.shape, how), (dy2, k2)),
        "conv 2 kernel gradient": (BATCH * CONV2, lambda x, d: kernel_gradient(x, d, k2.shape, how), (x, dy2)),
        "conv 1 forward": (BATCH * CONV1, lambda x, k: convolve(x, k, how), (small, k1)),
        "conv 1 kernel gradient": (BATCH * CONV1, lambda x, d: kernel_gradient(x, d, k1.shape, how), (small, dy1)),
        "dense 1, three products": (
            3 * BATCH * DENSE1, lambda x, w: jax.vjp(jnp.matmul, x, w)[1](x @ w), (flat, wide),
        ),
        "max-pool forward and backward": (
            0, lambda x, d: jax.vjp(lambda x: max_pool(x, (2, 2), two), x)[1](d), (dy2, dp),
        ),
        "Adam": (0, lambda g, s, p: adam.update(g, s, p), (params, adam.init(params), params)),
    }  # fmt: skip
    found: dict[str, Any] = {}
    for name, (flops, function, arguments) in parts.items():
        compiled = jax.jit(function)
        figures: dict[str, Any] = least(lambda run=compiled, arguments=arguments: run(*arguments))
        if flops:
            figures["gflops"] = flops / 1e6 / figures["wall_ms"]
        found[name] = figures
    return found


def contest(key: str) -> None:
    """In the contestant's process: train, and print one line of JSON."""
    if key == "profile":
        print(json.dumps(profile()))
        return
    name, _, threads = key.partition("-")
    ends, loss = TRAINERS[name](int(threads or 1))
    steps = ROWS // BATCH
    walls, cpus = ([1e3 * (b[i] - a[i]) / steps for a, b in itertools.pairwise(ends)] for i in (0, 1))
    print(json.dumps({"wall_ms": walls, "cpu_ms": cpus, "loss": loss}))


def spawn(key: str) -> dict[str, Any]:
    """One contestant's figures, from a fresh process."""
    command = [sys.executable, __file__, "--contestant", key]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{key} failed:\n{done.stderr[-3000:]}")
    figures: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def measure(rounds: int) -> list[dict[str, Any]]:
    """All contestants in turn, ``rounds`` times, the sequence turned round every other time."""
    present = [c for c in CONTESTANTS if importlib.util.find_spec(c[1])]
    runs: dict[str, list[dict[str, Any]]] = {}
    for number in range(rounds):
        for key, _, _ in present[:: 1 if number % 2 == 0 else -1]:
            runs.setdefault(key, []).append(spawn(key))
            print(f"round {number + 1}, {key}: {min(runs[key][-1]['wall_ms']):.1f} ms", file=sys.stderr, flush=True)
    rows = []
    for key, _, label in present:
        wall, cpu = ([v for run in runs[key] for v in run[name]] for name in ("wall_ms", "cpu_ms"))
        row = {"key": key, "contestant": label, "least_ms": min(wall), "median_ms": statistics.median(wall)}
        row |= {"least_cpu_ms": min(cpu), "loss": statistics.median(r["loss"] for r in runs[key]), "rounds": runs[key]}
        rows.append(row | {"gflops": STEP_FLOPS / 1e6 / min(wall)})
    return rows


def markdown(report: dict[str, Any]) -> str:
    """The report as a small Markdown page."""
    about = report["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    load = " -> ".join(f"{value:.1f}" for value in report["load"])
    lines = [
        "# A training step of a small convolutional network",
        "",
        f"{about['cpu']}, {about['cores']} cores, load average {load} during the run; {versions}; {about['date']}, "
        f"commit {about['commit']}. {report['rounds']} rounds of {EPOCHS - 1} timed epochs. A step is "
        f"{STEP_FLOPS / 1e9:.1f} GFLOP.",
        "",
        "| contestant | ms a step, least | median | CPU ms, least | GFLOP/s | final loss |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for r in report["results"]:
        numbers = (r["least_ms"], r["median_ms"], r["least_cpu_ms"])
        lines.append(
            f"| {r['contestant']} | {' | '.join(f'{n:.1f}' for n in numbers)} | {r['gflops']:.0f} | {r['loss']:.3f} |"
        )
    lines += ["", *(f"danlu against PyTorch's best by {k}: {v:.2f}x." for k, v in report["ratios"].items()), ""]
    lines += ["## Where danlu's time goes", "", "Each part compiled alone; the least of eight calls.", ""]
    lines += ["| part | ms | CPU ms | GFLOP/s | of the matrix product's rate |", "|---|---:|---:|---:|---:|"]
    peak = report["profile"]["matrix product 1024"]["gflops"]
    for name, f in report["profile"].items():
        rate = f"{f['gflops']:.0f} | {f['gflops'] / peak:.0%}" if "gflops" in f else "– | –"
        lines.append(f"| {name} | {f['wall_ms']:.2f} | {f['cpu_ms']:.2f} | {rate} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, show and write the results; or be one contestant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant:
        contest(options.contestant)
        return
    before = os.getloadavg()[0]
    rows = measure(options.rounds)
    ratios = {}
    for name, label in (("least_ms", "the least time"), ("median_ms", "the median"), ("least_cpu_ms", "CPU time")):
        theirs = [r[name] for r in rows if r["key"] != "danlu"]
        if theirs:
            ratios[label] = min(theirs) / rows[0][name]
    report = {
        "machine": machine(),
        "load": [before, os.getloadavg()[0]],
        "rounds": options.rounds,
        "settings": {"rows": ROWS, "batch": BATCH, "epochs": EPOCHS, "learning_rate": LEARNING_RATE},
        "flops": STEP_FLOPS,
        "results": rows,
        "ratios": ratios,
        "profile": spawn("profile"),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "cnn.json").write_text(json.dumps(report, indent=1) + "\n")
    (RESULTS / "cnn.md").write_text(markdown(report))
    print(markdown(report))


if __name__ == "__main__":
    main()
