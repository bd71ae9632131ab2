"""One process on one core, and two processes with a core each that train together: ``python benchmarks/processes.py``.

Networks, data and training are those of ``gpt.py`` and ``cnn.py``. The processes are joined by ``jax.distributed`` over gloo, as
``danlu launch`` joins them, and train by ``danlu.fit``. So that the cost of the exchange is known, two processes also train side by side
without one, each for itself, and sums over processes are timed alone. What follows for many machines: ``scaling.py``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from harness import Figures, Recipe, facts, fit_danlu, laps, machine, table

NETWORKS = {"GPT": ("gpt", "sequences of 64 tokens"), "CNN": ("cnn", "images")}
ONE, TWICE, SAME, APART = "one process", "two, each with the batch", "two, sharing the batch", "two, without exchange"
KINDS = (ONE, TWICE, SAME, APART)
EXCHANGES = 20  # sums over processes that are timed, of each size
SIZES = (1_000, 100_000, 4_000_000)  # numbers that are summed, beside as many as the network has


def recipe_of(network: str, epochs: int) -> Recipe:
    """How the network trains in its own benchmark."""
    module = importlib.import_module(NETWORKS[network][0])
    return Recipe(epochs=epochs, batch=module.BATCH, weight_decay=getattr(module, "DECAY", 0.0))


def contest(network: str, kind: str, rank: int, epochs: int) -> Figures:
    """One process's part: its epochs' times a sample, and what an exchange takes."""
    from danlu.launch import join

    together = kind in (TWICE, SAME)
    if together:
        join()
    module, recipe = importlib.import_module(NETWORKS[network][0]), recipe_of(network, epochs)
    recipe = recipe._replace(batch=recipe.batch * (2 if kind == TWICE else 1))
    data = module.make_data()
    ends, loss = fit_danlu(module.danlu_net(), data, recipe, devices=2 if together else 1)
    found = laps(ends, len(data[1]))
    parameters = count(module.danlu_net(), data)
    sums = {size: exchange(size) for size in (*SIZES, parameters)} if kind == TWICE else {}
    if together:
        import jax

        jax.distributed.shutdown()  # waits for the other: where the first ends, all do
    return {**found, "loss": loss, "rank": rank, "parameters": parameters, "sums_ms": sums}


def count(network: Any, data: Any) -> int:
    """The network's parameters."""
    import jax

    params = jax.eval_shape(lambda key: network.init(key, data[0].shape[1:])[0], jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def exchange(parameters: int) -> float:
    """The least milliseconds of a sum over processes of as many float32 numbers as the network has parameters."""
    import jax
    import numpy as np

    from danlu.engine import mesh

    values = mesh.place(np.ones(parameters, np.float32), 2)
    summed = jax.jit(mesh.spread(lambda x: mesh.total(x, 2) / 2, 2))
    times = []
    for _ in range(EXCHANGES):
        begun = time.perf_counter()
        jax.block_until_ready(summed(values))
        times.append(1e3 * (time.perf_counter() - begun))
    return min(times[1:])


def started(network: str, kind: str, epochs: int) -> list[Figures]:
    """The figures of all processes of a contestant, which are on cores of their own."""
    processes = []
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for rank in range(1 if kind == ONE else 2):
        command = [sys.executable, __file__, "--contestant", network, kind, str(rank), "--epochs", str(epochs)]
        joined = {"DANLU_COORDINATOR": f"127.0.0.1:{port}", "DANLU_PROCESSES": "2", "DANLU_RANK": str(rank)}
        env = {
            **os.environ,
            "JAX_NUM_CPU_DEVICES": "1",
            "JAX_PLATFORMS": "cpu",
            **(joined if kind in (TWICE, SAME) else {}),
        }
        processes.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    found = []
    for process in processes:
        out, err = process.communicate(timeout=300)
        if process.returncode:
            raise SystemExit(f"{network}, {kind} failed:\n{err[-3000:]}")
        found.append(json.loads(out.strip().splitlines()[-1]))
    return found


def measure(rounds: int, epochs: int) -> list[Figures]:
    """A row for each network and kind: samples a second of all processes together, the best and the median over epochs."""
    runs: dict[tuple[str, str], list[list[Figures]]] = {(n, k): [] for n in NETWORKS for k in KINDS}
    for number in range(rounds):
        for network, kind in list(runs)[:: -1 if number % 2 else 1]:
            runs[network, kind].append(started(network, kind, epochs))
            print(
                f"round {number + 1}, {network}, {kind}: {speed(runs[network, kind][-1:], kind)[0]:.0f}/s",
                file=sys.stderr,
            )
    rows = []
    for (network, kind), of in runs.items():
        best, median = speed(of, kind)
        first = [each[0] for each in of]
        sums = {size: min(each["sums_ms"][size] for each in first) for size in first[0]["sums_ms"]}
        rows.append({
            "network": network, "kind": kind, "best": best, "median": median, "parameters": first[0]["parameters"],
            "sums_ms": sums, "loss": first[0]["loss"],
        })  # fmt: skip
    return rows


def speed(runs: list[list[Figures]], kind: str) -> tuple[float, float]:
    """Samples a second, the best and the median: of processes that train together one's clock counts, of others all do."""
    ends = [[1e3 / ms for ms in each["wall_ms"]] for run in runs for each in (run if kind == APART else run[:1])]
    many = 2 if kind == APART else 1
    if kind == APART:  # the best epoch of each, at the same time or not: what two cores can do at most
        pairs = [sum(best) for best in zip(*(map(max, ends[rank::2]) for rank in (0, 1)), strict=True)]
        return max(pairs), many * statistics.median(each for run in ends for each in run)
    return max(map(max, ends)), statistics.median(each for run in ends for each in run)


def page(report: Figures) -> list[str]:
    """The results as Markdown."""
    text = [
        "# Two processes on two cores", "",
        "The networks of `gpt.py` and `cnn.py`, each process on a core of its own, joined by gloo on one machine. Samples a second of all",
        "processes together (sequences of 64 tokens, images). *Each with the batch*: two batches a step, the usual way to use more machines;",
        "*sharing the batch*: the same batch as one process, so the same training. *Without exchange*: two trainings that know nothing of each",
        "other, which is what the two cores can do at most.", "", facts(report),
    ]  # fmt: skip
    for network, (_, unit) in NETWORKS.items():
        rows = {row["kind"]: row for row in report["rows"] if row["network"] == network}
        one, apart, twice, batch = rows[ONE], rows[APART], rows[TWICE], report["batches"][network]
        lines = [
            (kind, f"{row['best']:.0f}", f"{row['best'] / one['best']:.2f}x", f"{row['median']:.0f}",
             f"{row['median'] / one['median']:.2f}x", f"{1e3 * batch * (2 if kind in (TWICE, APART) else 1) / row['best']:.1f}")
            for kind, row in rows.items()
        ]  # fmt: skip
        text += ["", f"## {network}: {one['parameters']:,} parameters, batches of {batch} {unit}"]
        text += table(("", "samples/s, best", "of one", "median", "of one", "ms a step"), *lines)
        added = 2e3 * batch * (1 / twice["best"] - 1 / apart["best"])
        alone = twice["sums_ms"][str(one["parameters"])]
        text += ["", f"The gradients are {4 * one['parameters'] / 1e6:.2f} MB. Their sum over processes takes {alone:.2f} ms alone, and adds",
                 f"{added:.1f} ms to a step of {2e3 * batch / twice['best']:.1f} ms (two processes with the exchange, less two without)."]  # fmt: skip
    return text


def main() -> None:
    """Measure and write the page, or be one contestant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2, help="how often every contestant trains (default: 2)")
    parser.add_argument("--epochs", type=int, default=5, help="of a training, at least 2 (default: 5)")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results", help="folder to write to")
    parser.add_argument("--page", action="store_true", help="only write the page again, from the JSON file")
    parser.add_argument("--contestant", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant:
        network, kind, rank = options.contestant
        if hasattr(os, "sched_setaffinity"):  # before JAX counts the cores
            cores = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, [cores[int(rank) % len(cores)]])
        print(json.dumps(contest(network, kind, int(rank), options.epochs)), flush=True)
        os._exit(0)  # processes that are joined would wait for each other's end
    file = options.results / "processes.json"
    if not options.page:
        before, begun = os.getloadavg()[0], time.time()
        rows = measure(options.rounds, options.epochs)
        length = {"rounds": options.rounds, "epochs": options.epochs, "seconds": time.time() - begun}
        batches = {network: recipe_of(network, 2).batch for network in NETWORKS}
        report = {
            "machine": machine(),
            "load": [before, os.getloadavg()[0]],
            **length,
            "batches": batches,
            "rows": rows,
        }
        file.write_text(json.dumps(report, indent=1) + "\n")
    text = "\n".join(page(json.loads(file.read_text()))) + "\n"
    file.with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
