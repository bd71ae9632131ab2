"""Flower's simulation of the clients in ``federated.py``, which runs this with another Python.

The program is that of Flower's quickstart for PyTorch (message API, ``FedAvg``): a ClientApp loads the weights, trains an epoch by SGD and
sends them back; Ray's actors run it on the cores. Each actor reads the rows once.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import time

os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import numpy as np
import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

CLIENTS, ROUNDS, BATCH, WIDTH = (int(os.environ[f"BENCH_{name}"]) for name in ("CLIENTS", "ROUNDS", "BATCH", "WIDTH"))
RATE = float(os.environ["BENCH_RATE"])
DATA, CORES = os.environ["BENCH_DATA"], int(os.environ["BENCH_CORES"])
client_app, server_app = ClientApp(), ServerApp()
ENDS: list[float] = []


def network() -> torch.nn.Module:
    """The MLP."""
    layers = torch.nn.Linear(784, WIDTH), torch.nn.ReLU(), torch.nn.Linear(WIDTH, WIDTH), torch.nn.ReLU()
    return torch.nn.Sequential(*layers, torch.nn.Linear(WIDTH, 10))


@functools.cache
def rows() -> tuple[torch.Tensor, torch.Tensor]:
    """All rows."""
    with np.load(DATA) as file:
        x = torch.from_numpy((file["x_train"].reshape(-1, 784) / np.float32(255)).astype(np.float32))
        return x, torch.from_numpy(file["y_train"].astype(np.int64))


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """One local epoch."""
    torch.set_num_threads(1)
    x, y = rows()
    each = len(y) // CLIENTS
    first = int(context.node_config["partition-id"]) * each
    x, y = x[first : first + each], y[first : first + each]
    model = network()
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    optimizer, loss_of = torch.optim.SGD(model.parameters(), RATE), torch.nn.CrossEntropyLoss()
    total = 0.0
    for batch in torch.randperm(len(y)).split(BATCH):
        optimizer.zero_grad()
        loss = loss_of(model(x[batch]), y[batch])
        loss.backward()
        optimizer.step()
        total += loss.item() * len(batch)
    told = MetricRecord({"train_loss": total / len(y), "num-examples": len(y)})
    return Message(RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": told}), reply_to=message)


class Timed(FedAvg):
    """FedAvg that notes when each round ended."""

    def aggregate_train(self, server_round, replies):
        """The mean, and the time."""
        found = super().aggregate_train(server_round, replies)
        ENDS.append(time.perf_counter())
        print("ROUND", server_round, dict(found[1]) if found[1] is not None else None, file=sys.stderr)
        return found


@server_app.main()
def serve(grid: Grid, context: Context) -> None:
    """All rounds, and the test."""
    begun = time.perf_counter()
    strategy = Timed(fraction_train=1.0, fraction_evaluate=0.0)
    result = strategy.start(grid=grid, initial_arrays=ArrayRecord(network().state_dict()), num_rounds=ROUNDS)
    model = network()
    model.load_state_dict(result.arrays.to_torch_state_dict())
    with np.load(DATA) as file:
        x = torch.from_numpy((file["x_test"].reshape(-1, 784) / np.float32(255)).astype(np.float32))
        right = (model(x).argmax(1).numpy() == file["y_test"]).mean()
    seconds = np.diff([begun, *ENDS]).tolist()
    print("RESULT " + json.dumps({"seconds": seconds, "accuracy": float(right)}))


def main() -> None:
    """The simulation. Ray's actors import this module by its name, so that it must not be the one that is run."""
    backend = {
        "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
        "init_args": {"address": "local", "num_cpus": CORES, "include_dashboard": False},
    }
    run_simulation(server_app=server_app, client_app=client_app, num_supernodes=CLIENTS, backend_config=backend)
