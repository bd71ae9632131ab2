"""Simulated clients: the time of a round beside Flower's simulation, and FedAvg's accuracy on MNIST.

``python benchmarks/federated.py speed --data mnist.npz --flower PYTHON`` trains an MLP on 100 clients a round, an epoch each, by danlu
and in Flower's simulation, in turns. PYTHON is of an environment with ``flwr[simulation]`` and torch, and runs ``federated_peers.py``.
``python benchmarks/federated.py accuracy --data mnist.npz`` trains 50 rounds of 10 of 100 clients.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

CLIENTS, WIDTH, BATCH, RATE = 100, 200, 32, 0.05
ROUNDS, BARS = 50, {"even": 0.97, "classes": 0.93}
PEERS = Path(__file__).with_name("federated_peers.py")


def read(path: str) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Training and test rows, ``(rows, 784)`` in [0, 1] and the digits."""
    with np.load(path) as file:
        return tuple(  # type: ignore[return-value]
            (
                (file[f"x_{part}"].reshape(-1, 784) / np.float32(255)).astype(np.float32),
                file[f"y_{part}"].astype(np.int32),
            )
            for part in ("train", "test")
        )


def danlu_rounds(data: str, rounds: int, together: int, devices: int) -> dict[str, Any]:
    """The seconds of each round, the first with compiling, and the accuracy after the last."""
    from danlu import nn
    from danlu.engine import LambdaCallback
    from danlu.federated import fit_clients

    (x, y), held = read(data)
    ends: list[float] = []
    begun = time.perf_counter()
    fitted = fit_clients(
        nn.MLP((WIDTH, WIDTH), 10),
        (x, y),
        np.split(np.arange(len(y)), CLIENTS),
        loss="categorical_cross_entropy",
        rounds=rounds,
        optimizer="sgd",
        learning_rate=RATE,
        batch_size=BATCH,
        together=together,
        devices=devices,
        callbacks=[LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter()))],
        display="none",
    )
    seconds = np.diff([begun, *ends]).tolist()
    return {"seconds": seconds, "accuracy": float((fitted.predict(held[0]).argmax(1) == held[1]).mean())}


def flower_rounds(python: str, data: str, rounds: int, cores: int) -> dict[str, Any]:
    """The same of Flower's simulation, in an environment of its own."""
    given = {
        "CLIENTS": CLIENTS,
        "ROUNDS": rounds,
        "BATCH": BATCH,
        "RATE": RATE,
        "WIDTH": WIDTH,
        "DATA": data,
        "CORES": cores,
    }
    environment = {**os.environ, **{f"BENCH_{name}": str(value) for name, value in given.items()}}
    environment["PYTHONPATH"] = str(PEERS.parent)
    environment["RAY_worker_niceness"] = "0"  # Ray's workers would stand back behind all other programs, by 15
    program = f"import {PEERS.stem}; {PEERS.stem}.main()"
    done = subprocess.run([python, "-c", program], env=environment, capture_output=True, text=True, timeout=3600)
    line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        raise SystemExit(f"Flower's simulation failed:\n{done.stderr[-3000:]}")
    return dict(json.loads(line.removeprefix("RESULT ")))


def speed(options: argparse.Namespace) -> dict[str, Any]:
    """Rounds in turns: danlu in a process of its own, then Flower; the least and the median of all rounds after the first."""
    found: dict[str, list[float]] = {"danlu": [], "Flower": []}
    first: dict[str, float] = {}
    accuracy: dict[str, float] = {}
    for _ in range(options.turns):
        own = [sys.executable, __file__, "one", "--data", options.data, "--rounds", str(options.rounds)]
        own += ["--together", str(options.together), "--devices", str(options.devices)]
        environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(options.devices)}
        done = subprocess.run(own, env=environment, capture_output=True, text=True, timeout=3600, check=False)
        if done.returncode:
            raise SystemExit(done.stderr[-3000:])
        results = {"danlu": json.loads(done.stdout.splitlines()[-1])}
        if options.flower:
            results["Flower"] = flower_rounds(options.flower, options.data, options.rounds, options.cores)
        for name, result in results.items():
            found[name] += result["seconds"][1:]
            first.setdefault(name, result["seconds"][0])
            accuracy[name] = result["accuracy"]
            print(
                f"{name}: rounds {[round(s, 3) for s in result['seconds']]} s, accuracy {result['accuracy']:.4f}",
                flush=True,
            )
    rows = {
        name: {
            "first_s": first[name],
            "least_s": min(each),
            "median_s": statistics.median(each),
            "accuracy": accuracy[name],
        }
        for name, each in found.items()
        if each
    }
    if "Flower" in rows:
        ratio = rows["Flower"]["least_s"] / rows["danlu"]["least_s"]
        print(
            f"least of a round: {rows['danlu']['least_s']:.3f} s and {rows['Flower']['least_s']:.3f} s, {ratio:.1f} times (bar: 10)"
        )
    return {"speed": rows, "load": os.getloadavg()[0]}


def accuracy(options: argparse.Namespace) -> dict[str, Any]:
    """FedAvg of McMahan et al.'s MLP by even rows, and by two pieces of rows sorted by class for each client."""
    from danlu import nn
    from danlu.federated import fit_clients
    from danlu.federated.split import by_classes, evenly

    (x, y), held = read(options.data)
    rows: dict[str, Any] = {}
    for split in options.splits:
        clients = evenly(len(y), CLIENTS, seed=0) if split == "even" else by_classes(y, CLIENTS, each=2, seed=0)
        begun = time.perf_counter()
        fitted = fit_clients(
            nn.MLP((WIDTH, WIDTH), 10),
            (x, y),
            clients.rows,
            loss="categorical_cross_entropy",
            metrics=("accuracy",),
            validation=held,  # for the curve; the last round's weights are kept
            restore_best=False,
            rounds=ROUNDS,
            clients_per_round=10,
            local_epochs=options.local_epochs,
            optimizer="sgd",
            learning_rate=options.rate,
            batch_size=10,
            seed=options.seed,
            display="none",
        )
        curve = [row["val_accuracy"] for row in fitted.history]
        rows[split] = {
            "last": curve[-1],
            "mean_of_last_10": float(np.mean(curve[-10:])),
            "seconds": time.perf_counter() - begun,
        }
        print(
            f"{split}: {curve[-1]:.4f} after {ROUNDS} rounds (mean of the last ten {np.mean(curve[-10:]):.4f}; bar {BARS[split]})",
            flush=True,
        )
    return {"accuracy": rows, "local_epochs": options.local_epochs, "rate": options.rate}


def main() -> None:
    """Run what is asked for, and write it where ``--write`` says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("speed", "accuracy", "one"))
    parser.add_argument("--data", required=True, help="mnist.npz with x_train, y_train, x_test, y_test")
    parser.add_argument("--flower", help="the Python of an environment with flwr[simulation] and torch")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--together", type=int, default=10)
    parser.add_argument("--devices", type=int, default=1, help="of danlu: a round's clients are divided among so many")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--local-epochs", type=int, default=5)
    parser.add_argument("--rate", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--splits", nargs="+", default=["even", "classes"])
    parser.add_argument("--write", type=Path, help="a JSON file for the figures")
    options = parser.parse_args()
    options.data = str(Path(options.data).resolve())
    if options.what == "one":
        print(json.dumps(danlu_rounds(options.data, options.rounds, options.together, options.devices)))
        return
    figures = speed(options) if options.what == "speed" else accuracy(options)
    if options.write:
        versions = {name: importlib.metadata.version(name) for name in ("danlu", "jax", "numpy")}
        options.write.write_text(json.dumps({**figures, "versions": versions}, indent=2) + "\n")


if __name__ == "__main__":
    main()
