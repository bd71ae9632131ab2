"""Privacy: MNIST and adult at stated ε, and the time of a step beside Opacus.

    python benchmarks/private.py choose                      # settings for MNIST, by 10,000 of its training rows; prints them
    python benchmarks/private.py mnist --kind wavelets       # appends a line a run to benchmarks/results/private.jsonl
    python benchmarks/private.py adult                       # the same
    python benchmarks/private.py average                     # tables with and without the mean of the weights, by training rows held out
    python benchmarks/private.py step --opacus PYTHON        # two minutes on a quiet machine; the same

MNIST is learnt by Opacus's own network with its published settings (``cnn``), and by a linear layer on fixed wavelet features
(``wavelets``, see ``private_mnist.py``), which look at no row. Batches are drawn by Poisson sampling, ε is counted by privacy loss
distributions. adult is learnt by ``danlu.train`` with its defaults, with and without privacy, on the official two files. A step is of
Opacus's network, with the draws of the rows; rounds of danlu and of Opacus take turns in processes of their own.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import private_mnist

RESULTS = Path(__file__).parent / "results" / "private.jsonl"
DELTA = 1e-5
ROWS = 60_000
HELD = 10_000  # training rows by which settings are chosen
# Opacus's examples/mnist_README: noise, clip, learning rate, epochs, batch; the accuracy that it states; the bar.
OPACUS = {
    "5.43": {"noise": 0.7, "clip": 1.5, "rate": 0.25, "epochs": 45, "batch": 240, "stated": 97.09, "bar": 97.0},
    "2.30": {"noise": 1.1, "clip": 1.0, "rate": 0.15, "epochs": 60, "batch": 240, "stated": 96.78, "bar": 96.7},
    "0.83": {"noise": 1.3, "clip": 1.5, "rate": 0.25, "epochs": 15, "batch": 240, "stated": 94.63, "bar": 94.6},
}
# By ``choose``: the best on the training rows held out.
WAVELETS = {
    "5.43": {"epochs": 40, "batch": 1500, "clip": 0.1, "rate": 240.0, "bar": 97.0},
    "2.30": {"epochs": 40, "batch": 1500, "clip": 0.1, "rate": 60.0, "bar": 96.7},
    "0.83": {"epochs": 40, "batch": 1500, "clip": 0.1, "rate": 30.0, "bar": 94.6},
}
ADULT = (
    "age workclass fnlwgt education education_num marital_status occupation relationship race sex capital_gain capital_loss hours "
    "country income"
)
HELD_TABLES = {"adult": "income", "credit-default": "default.payment.next.month", "covertype-15k": "column_55"}
ROUND = {240: 10, 1024: 3}  # steps of a round, by the batch


def cnn():
    """The network of Opacus's MNIST example: 26,010 parameters."""
    from danlu import nn

    return nn.Sequential(
        (
            nn.Conv(16, 8, stride=2, padding=((3, 3), (3, 3)), activation="relu"),
            nn.MaxPool(2, stride=1, padding="valid"),
            nn.Conv(32, 4, stride=2, padding="valid", activation="relu"),
            nn.MaxPool(2, stride=1, padding="valid"),
            nn.Flatten(),
            nn.Dense(32, activation="relu"),
            nn.Dense(10),
        )
    )


def noise_for(epsilon: float, batch: int, epochs: int) -> float:
    """The noise multiplier that spends ``epsilon``."""
    from danlu.privacy import Budget, Ledger

    steps = epochs * round(ROWS / batch)

    def plan(noise: float) -> Ledger:
        return Ledger().with_steps("training", noise=noise, sampling=batch / ROWS, steps=steps)

    return Budget(epsilon=epsilon, delta=DELTA).noise(plan)


def choose(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """For each ε the settings of the linear layer that are best on rows held out: a line for each number of epochs and batch."""
    (x, y), _ = private_mnist.kept(given.data)
    tries = [(clip, pace / clip) for clip in private_mnist.CLIPS for pace in private_mnist.PACES]
    for name in given.epsilon:
        for epochs, batch in [(epochs, batch) for epochs in private_mnist.EPOCHS for batch in private_mnist.BATCHES]:
            noise, steps = noise_for(float(name), batch, epochs), epochs * round(ROWS / batch)
            found = private_mnist.judged(x, y, HELD, tries, noise=noise, sampling=batch / ROWS, steps=steps)
            best = sorted(zip(found, tries, strict=True), reverse=True)[:3]
            settings = [
                {"held out": round(float(share), 2), "clip": clip, "rate": rate} for share, (clip, rate) in best
            ]
            yield {"what": "choose", "at": name, "epochs": epochs, "batch": batch, "noise": noise, "best": settings}


def mnist(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A line for each seed and ε."""
    parts = private_mnist.pictures(given.data) if given.kind == "cnn" else private_mnist.kept(given.data)
    changes = {name: json.loads(value) for name, value in (each.split("=") for each in given.set)}
    for seed in given.seeds:
        for name in given.epsilon:
            yield run(given.kind, name, seed, parts, **changes)


def run(kind: str, name: str, seed: int, parts: Any, **changes: Any) -> dict[str, Any]:
    """One training; a line of results."""
    from danlu import fit, nn, optim
    from danlu.engine import PerExample
    from danlu.engine.average import decay_for

    settings = dict((OPACUS if kind == "cnn" else WAVELETS)[name]) | changes
    (x, y), (test, truth) = parts
    batch, epochs = settings["batch"], settings["epochs"]
    noise = settings.get("noise") or noise_for(float(name), batch, epochs)
    steps = epochs * round(ROWS / batch)
    gradient = PerExample.drawn(
        rows=ROWS, batch=batch, clip=settings["clip"], noise=noise, at_once=settings.get("at_once", 128)
    )
    started = time.perf_counter()
    fitted = fit(
        cnn() if kind == "cnn" else nn.Dense(10),
        (x, y),
        loss="categorical_cross_entropy",
        optimizer=optim.momentum(settings["rate"], momentum=0.9) if kind == "wavelets" else optim.sgd(settings["rate"]),
        gradient=gradient,
        epochs=epochs,
        seed=seed,
        display=settings.get("display", "none"),
        average=settings.get("average", "none"),
        average_decay=decay_for(steps) if settings.get("average") else None,
    )
    seconds = time.perf_counter() - started
    answers = np.asarray(fitted.predict(test)).argmax(1)
    return {
        "what": f"mnist {kind}", "at": name, "seed": seed, "accuracy": 100 * float((answers == truth).mean()),
        "epsilon": gradient.spent(steps).epsilon(DELTA), "noise": noise, "seconds": round(seconds, 1), **settings,
    }  # fmt: skip


def adult(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A line for each seed and ε, and for trainings without privacy: the default, a blend, and its network alone."""
    import danlu

    with tempfile.TemporaryDirectory() as place:
        for part in ("train", "test"):
            _adult(given.data, part).write_csv(Path(place) / f"{part}.csv")
        for seed in given.seeds:
            for at in ("blend", "network", 1.0, 3.0, 8.0):
                own = {"model": {"kind": "network"}} if at == "network" else {}
                own = {"private": {"epsilon": at, "delta": DELTA}} if isinstance(at, float) else own
                done = danlu.train(
                    str(Path(place) / "train.csv"),
                    target="income",
                    test=str(Path(place) / "test.csv"),
                    runs=place,
                    display="none",
                    say=lambda line: None,
                    trainer={"seed": seed},
                    evaluate={"report": False, "baselines": False, "importance": False},
                    **own,
                )
                scores = {name: done.judgement.scores[name] for name in ("accuracy", "roc_auc")}
                spent = done.run.read_json("results.json").get("privacy", {}).get("epsilon")
                yield {
                    "what": "adult", "at": at, "seed": seed, "epsilon": spent, "rows": done.rows, "seconds": round(done.seconds, 1),
                    **{name: [each.value, each.low, each.high] for name, each in scores.items()},
                }  # fmt: skip


def _adult(data: Path, part: str) -> Any:
    """One of the two official files, with names."""
    import polars as pl

    frame = pl.read_csv(data / "adult" / f"{part}.csv", has_header=False, infer_schema=False)
    frame.columns = ADULT.split()
    return frame.with_columns(pl.all().str.strip_chars(" .")).filter(pl.col("income").is_not_null())


def average(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A line for each seed, table, ε and average of the weights: judged by a fifth of the training rows, which took no part.

    adult's training file is all that is read of it; of the others a quarter is kept apart for a test to come.
    """
    import polars as pl

    import danlu

    for seed, (name, target) in itertools.product(given.seeds, HELD_TABLES.items()):
        if name == "adult":
            rows = _adult(given.data, "train").sample(fraction=1, shuffle=True, seed=7)
        else:
            header = name != "covertype-15k"
            rows = pl.read_csv(given.data / "tables" / f"{name}.csv", infer_schema_length=None, has_header=header)
            rows = rows.sample(fraction=1, shuffle=True, seed=7)[: int(0.75 * rows.height)]
        fit, held = rows[: int(0.8 * rows.height)], rows[int(0.8 * rows.height) :]
        for at, kind in itertools.product((3.0, 8.0), ("none", "ema")):
            with tempfile.TemporaryDirectory() as place:
                fit.write_csv(Path(place) / "fit.csv")
                held.write_csv(Path(place) / "held.csv")
                done = danlu.train(
                    str(Path(place) / "fit.csv"),
                    target=target,
                    test=str(Path(place) / "held.csv"),
                    runs=place,
                    display="none",
                    say=lambda line: None,
                    trainer={"seed": seed, "average": kind},
                    private={"epsilon": at, "delta": DELTA},
                    evaluate={"report": False, "baselines": False, "importance": False},
                )
            scores = {each: done.judgement.scores[each].value for each in ("accuracy", "log_loss")}
            yield {"what": "average", "table": name, "at": at, "average": kind, "seed": seed, **scores}


def step(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A line for each batch and contestant: milliseconds of a step, by the wall clock and of the process."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-given.threads :])  # before JAX counts the cores
    from danlu import fit, optim
    from danlu.engine import PerExample

    (x, y), _ = private_mnist.pictures(given.data)
    for batch, steps in ROUND.items():
        peers = {f"Opacus, {mode}": _peer(given, mode, batch, steps) for mode in ("hooks", "ghost")}
        times: dict[str, list[list[float]]] = {name: [] for name in ("danlu", *peers)}
        before, rows = os.getloadavg()[0], batch * steps
        fit(
            cnn(),
            (x[:rows], y[:rows]),
            loss="categorical_cross_entropy",
            optimizer=optim.sgd(0.25),
            gradient=PerExample.drawn(rows=rows, batch=batch, clip=1.5, noise=0.7, **given.gradient),
            epochs=given.rounds + 1,
            callbacks=[_turns(times, peers, steps)],
            display="none",
        )
        for peer in peers.values():
            peer.communicate()
        for name, rounds in times.items():
            wall, cpu = np.array(rounds[1:]).T.tolist()
            yield {
                "what": "step", "at": batch, "contestant": name, "least_ms": min(wall), "median_ms": statistics.median(wall),
                "cpu_ms": min(cpu), "first_round_s": rounds[0][0] * steps / 1e3, "threads": given.threads, "rounds": len(wall),
                "steps": steps, "load": [before, os.getloadavg()[0]], **given.gradient,
            }  # fmt: skip


def _turns(times: dict[str, list[list[float]]], peers: dict[str, Any], steps: int) -> Any:
    """The clock of danlu's epochs, each of which is a round, the first with all that comes before it; after each, the peers' round."""
    from danlu.engine import Callback

    class Turns(Callback):
        def __init__(self) -> None:
            self.began = time.perf_counter(), time.process_time()

        def on_epoch_begin(self, epoch: int) -> None:
            if epoch:
                self.began = time.perf_counter(), time.process_time()

        def on_epoch_end(self, epoch: int, logs: Any) -> None:
            taken = time.perf_counter() - self.began[0], time.process_time() - self.began[1]
            times["danlu"].append([1e3 * each / steps for each in taken])
            for name, peer in peers.items():
                peer.stdin.write("a round\n")
                peer.stdin.flush()
                times[name].append(json.loads(peer.stdout.readline()))
                time.sleep(0.3)  # until its idle threads sleep

    return Turns()


def _peer(given: argparse.Namespace, mode: str, batch: int, steps: int) -> Any:
    """Opacus, in a process that waits for its turns."""
    script, file = Path(__file__).with_name("private_peers.py"), given.data / "mnist" / "mnist.npz"
    command = [given.opacus, "-W", "ignore", script, mode, file, batch, steps, given.threads]
    return subprocess.Popen([str(each) for each in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("choose", "mnist", "adult", "average", "step"))
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--kind", choices=("cnn", "wavelets"), default="cnn")
    parser.add_argument("--epsilon", choices=tuple(OPACUS), nargs="*", default=["2.30", "5.43", "0.83"])
    parser.add_argument("--seeds", type=int, nargs="*", default=list(range(5)))
    parser.add_argument("--set", nargs="*", default=[], help="settings of MNIST, such as at_once=512")
    parser.add_argument("--opacus", help="a Python that has Opacus")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--threads", type=int, default=2, help="of a step; with 1 a busy machine disturbs the CPU time little"
    )
    parser.add_argument(
        "--gradient", type=json.loads, default={}, help='further fields of danlu\'s gradient: {"at_once": 64}'
    )
    parser.add_argument("--try", dest="dry", action="store_true", help="print the lines only")
    given = parser.parse_args()
    if given.what == "step" and not given.opacus:
        parser.error("step needs --opacus, a Python that has Opacus")
    for line in {"choose": choose, "mnist": mnist, "adult": adult, "average": average, "step": step}[given.what](given):
        print(json.dumps(line), flush=True)
        if not given.dry and given.what != "choose":
            with RESULTS.open("a") as file:
                file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
