"""What the benchmarks share: the clock, a process for each contestant, turns, two training loops, facts and pages.

Every contestant trains in a process of its own, on as many cores as it has threads, and the contestants take turns, so
that a busy machine is busy for all of them. What the figures mean: ``benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import functools
import importlib.metadata
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

THREADS = tuple(count for count in (1, 2) if count <= (os.cpu_count() or 1))
PACKAGES = ("danlu", "jax", "jaxlib", "numpy", "torch", "keras", "scikit-learn")
TIMES = {"least_ms": "ms a step, least", "median_ms": "median", "cpu_ms": "CPU ms, least"}

Clock = tuple[float, float]
Training = tuple[list[Clock], float]  # the clock at the ends of the epochs, and the last epoch's mean loss
Contestant = tuple[str, int]  # its name and its threads
Figures = dict[str, Any]
Build = Callable[[Any], tuple[Any, Any]]  # from the tensor of inputs: PyTorch's model, and the inputs as it takes them


class Recipe(NamedTuple):
    """How all contestants train: Adam, or with a decay AdamW.

    ``mixed``: in bfloat16, PyTorch by autocast, compiled, and on the GPU where there is one.
    """

    epochs: int
    batch: int
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    mixed: bool = False


def now() -> Clock:
    """Seconds by the wall clock, and of this process's threads, which another program's work lengthens less."""
    return time.time(), time.process_time()


def laps(ends: Sequence[Clock], steps: int = 1) -> dict[str, list[float]]:
    """Milliseconds from each time to the next, over ``steps``; the first time ends what compiles and is not counted."""
    wall, cpu = ([1e3 * (b[i] - a[i]) / steps for a, b in itertools.pairwise(ends)] for i in (0, 1))
    return {"wall_ms": wall, "cpu_ms": cpu}


def fit_danlu(net: Any, data: Any, recipe: Recipe, devices: int = 1, sharding: str = "replicated") -> Training:
    """``danlu.fit``, with a callback for the clock."""
    import danlu
    from danlu import optim
    from danlu.engine import LambdaCallback

    ends: list[Clock] = []
    rate, decay = recipe.learning_rate, recipe.weight_decay
    fitted = danlu.fit(
        net,
        data,
        loss="categorical_cross_entropy",
        optimizer=optim.adamw(rate, weight_decay=decay) if decay else optim.adam(rate),
        callbacks=[LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(now()))],
        epochs=recipe.epochs,
        batch_size=recipe.batch,
        precision="bfloat16" if recipe.mixed else "float32",
        devices=devices,
        sharding=sharding,
        display="none",
    )
    return ends, float(fitted.history[-1]["loss"])


def fit_torch(build: Build, data: Any, recipe: Recipe, threads: int) -> Training:
    """The usual loop with the fused Adam; rows are indexed out of one tensor, which is faster than a DataLoader."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    device = torch.device("cuda" if recipe.mixed and torch.cuda.is_available() else "cpu")
    x, y = (torch.from_numpy(array).to(device) for array in data)
    (model, inputs), labels = build(x), y.long()
    model = model.to(device)
    forward = torch.compile(model) if recipe.mixed else model
    adam = functools.partial(torch.optim.AdamW, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
    optimizer, ends, mean = adam(model.parameters()), [], 0.0
    for _ in range(recipe.epochs):
        total = torch.zeros((), device=device)
        for rows in torch.randperm(len(labels)).split(recipe.batch):
            optimizer.zero_grad()
            rows = rows.to(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=recipe.mixed):
                outputs = forward(inputs[rows])
                loss = torch.nn.functional.cross_entropy(outputs.flatten(0, -2), labels[rows].flatten())
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(rows)
        mean = float(total) / len(labels)
        ends.append(now())
    return ends, mean


def as_danlu_starts(model: Any) -> Any:
    """A PyTorch model of ReLU layers and a linear head with the scale of danlu's initial weights: He's, LeCun's, zeros."""
    from torch import nn

    layers: list[Any] = [layer for layer in model.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="linear" if layer is layers[-1] else "relu")
        nn.init.zeros_(layer.bias)
    return model


def spawn(options: argparse.Namespace, contestant: Contestant, **env: str) -> Figures:
    """One contestant's figures, from a fresh process of the same script, which prints them as its last line."""
    name, threads = contestant
    command = [sys.executable, sys.argv[0], "--contestant", name, "--threads", str(threads)]
    command += ["--epochs", str(options.epochs)]
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} with {threads} threads failed:\n{done.stderr[-3000:]}")
    figures: Figures = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def in_turn(contestants: Sequence[Contestant], rounds: int, start: Callable[[Contestant], Figures]) -> list[Figures]:
    """A row for each contestant: its times over all epochs of all rounds, and the figures of its ``runs``.

    The sequence is turned round every other time.
    """
    runs: dict[Contestant, list[Figures]] = {contestant: [] for contestant in contestants}
    for number in range(rounds):
        for contestant in contestants[:: -1 if number % 2 else 1]:
            runs[contestant].append(start(contestant))
            least = min(runs[contestant][-1]["wall_ms"])
            print(f"round {number + 1}, {contestant}: {least:.3g} ms a step", file=sys.stderr, flush=True)
    rows = []
    for (name, threads), of in runs.items():
        wall, cpu = ([ms for run in of for ms in run[clock]] for clock in ("wall_ms", "cpu_ms"))
        row = {"contestant": name, "threads": threads, "least_ms": min(wall), "median_ms": statistics.median(wall)}
        row |= {"cpu_ms": min(cpu), "loss": statistics.median(run["loss"] for run in of)}
        rows.append({**row, "runs": of})
    return rows


def machine() -> Figures:
    """Where and with what this was measured."""
    cpu = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), cpu)
    versions = {"Python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return {"cpu": cpu, "cores": os.cpu_count(), "versions": versions, "date": date, "commit": commit}


def facts(report: Figures) -> str:
    """The machine, the versions and the length of a run, in a paragraph."""
    about, (before, after) = report["machine"], report["load"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return (
        f"{about['cpu']}, {about['cores']} cores, load average {before:.1f} -> {after:.1f} during the run; {versions}; "
        f"{about['date']}, commit {about['commit']}. Rounds: {report['rounds']}, each of {report['epochs'] - 1} timed "
        f"epochs; {report['seconds']:.0f} s in all."
    )


def table(*rows: Sequence[str]) -> list[str]:
    """A Markdown table, an empty line before it: the first row is the head, the columns after the first are numbers."""
    lines = [rows[0], ["---", *["---:"] * (len(rows[0]) - 1)], *rows[1:]]
    return ["", *("| " + " | ".join(cells) + " |" for cells in lines)]


def run(
    description: str | None,
    epochs: int,
    contest: Callable[[argparse.Namespace], Figures],
    measure: Callable[[argparse.Namespace], Figures],
    page: Callable[[Figures], list[str]],
) -> None:
    """The command of a benchmark: ``measure`` and write ``NAME.json`` and, from it, ``NAME.md``; or be one contestant."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often every contestant trains (default: 3)")
    parser.add_argument("--epochs", type=int, default=epochs, help=f"of a training, at least 2 (default: {epochs})")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results", help="folder to write to")
    parser.add_argument("--page", action="store_true", help="only write the page again, from the JSON file")
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.epochs < 2 or options.rounds < 1:
        parser.error("it takes at least 1 round of 2 epochs: the first epoch compiles and is not timed")
    if options.contestant:
        if hasattr(os, "sched_setaffinity"):  # before JAX or PyTorch counts the cores
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-options.threads :])
        print(json.dumps(contest(options)))
        return
    options.results.mkdir(parents=True, exist_ok=True)
    file = options.results / f"{Path(sys.argv[0]).stem}.json"
    if not options.page:
        before, begun = os.getloadavg()[0], time.time()
        found = measure(options)
        length = {"rounds": options.rounds, "epochs": options.epochs, "seconds": time.time() - begun}
        report = {"machine": machine(), "load": [before, os.getloadavg()[0]], **length, **found}
        file.write_text(json.dumps(report, indent=1) + "\n")
    text = "\n".join(page(json.loads(file.read_text()))) + "\n"
    file.with_suffix(".md").write_text(text)
    print(text)
