"""Rounds of clients: beside plain training, the same rounds in float64 by hand, and quadratics whose answer is known."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu import engine, nn, optim
from danlu.federated import Method, Private, RoundSource, fit_clients
from danlu.verify.case import Check, case
from danlu.verify.oracles import draw

__all__: list[str] = []

RATE, SIZE = 0.05, 4
X = draw(20, 2)
Y = (X @ [1.0, -2.0] + 0.5 + 0.1 * draw(20, seed=1)).astype(np.float32)
CLIENTS = [np.arange(3), np.arange(3, 10), np.arange(10, 20)]
MODEL = nn.Dense(1, initializer="zeros")


def rounds(clients: Any = CLIENTS, x: Any = X, y: Any = Y, **settings: Any) -> engine.Fitted:
    """Rounds of gradient descent on half the squared error, from weights of 0."""
    settings = {"loss": "half_mse", "learning_rate": RATE, "batch_size": SIZE, "rounds": 3, **settings}
    data = (x.astype(np.float32), y.astype(np.float32))
    return fit_clients(MODEL, data, clients, display="none", **settings)


def line(params: Any) -> np.ndarray:
    """``(w₁, w₂, b)``."""
    return np.concatenate([np.ravel(params["kernel"]), np.ravel(params["bias"])])


def by_hand(server: Any = None, *, mu: float = 0.0, scaffold: bool = False, epochs: int = 1) -> np.ndarray:
    """Three rounds in float64; ``server(d, memory)`` is what is added for a mean change ``d``."""
    source = RoundSource((X, Y), CLIENTS, batch_size=SIZE, local_epochs=epochs)
    design, theta = np.column_stack([X, np.ones(len(X))]), np.zeros(3)
    memory: dict[str, Any] = {}
    share = np.array([rows.size for rows in CLIENTS]) / len(X)
    own, whole = np.zeros((3, 3)), np.zeros(3)
    for number in range(3):
        learnt, news = [], []
        for client in range(3):
            at, steps = theta, source.batches_of(CLIENTS[client].size)
            for batch in np.split(source.order(number, client), steps):
                rows = batch[batch >= 0]
                slope = design[rows].T @ (design[rows] @ at - Y[rows]) / rows.size + mu * (at - theta)
                at = at - RATE * (slope + (whole - own[client] if scaffold else 0))
            learnt.append(at)
            news.append(own[client] - whole + (theta - at) / (steps * RATE))
        mean = share @ (np.array(learnt) - theta)
        if scaffold:
            whole, own = whole + share @ (np.array(news) - own), np.array(news)
        theta = theta + (mean if server is None else server(mean, memory))
    return theta


@case("federated.one_client")
def one_client(check: Check) -> None:
    """One client that takes part in each round is a plain training, momentum and all, to the last bit."""
    everyone = [np.arange(len(X))]
    found = rounds(everyone, optimizer=optim.momentum(RATE), learning_rate=None, method=Method(remember=True))
    plain = engine.fit(
        MODEL, (X.astype(np.float32), Y), loss="half_mse", optimizer=optim.momentum(RATE), epochs=3, batch_size=SIZE,
        display="none",
    )  # fmt: skip
    check(np.array_equal(line(found.params), line(plain.params)), True, oracle="plain training")


@case("federated.fedavg")
def fedavg(check: Check) -> None:
    """Clients of 3, 7 and 10 rows, whose last batches are ragged, count by their rows."""
    check(line(rounds(local_epochs=2).params), by_hand(epochs=2), floor=0.1)
    check(line(rounds(local_epochs=2, together=3).params), by_hand(epochs=2), floor=0.1)


@case("federated.one_step")
def one_step(check: Check) -> None:
    """One step on all of each client's rows is a step on all rows."""
    design, theta = np.column_stack([X, np.ones(len(X))]), np.zeros(3)
    for _ in range(3):
        theta = theta - RATE * design.T @ (design @ theta - Y) / len(X)
    check(line(rounds(batch_size=20).params), theta, floor=0.1)


@case("federated.fedprox")
def fedprox(check: Check) -> None:
    check(line(rounds(method=Method("fedprox", proximal=0.7)).params), by_hand(mu=0.7), floor=0.1)


@case("federated.scaffold")
def scaffold(check: Check) -> None:
    """By hand; and on a quadratic whose clients pull apart, where the mean of what they learn is not the answer."""
    check(line(rounds(method="scaffold").params), by_hand(scaffold=True), floor=0.1)
    x, b = np.sqrt(np.array([[1.0], [9.0]])), np.array([4.0, -1.0])
    apart = {"x": x, "y": x[:, 0] * b, "local_steps": 10, "rounds": 120, "learning_rate": 0.02, "batch_size": 1}
    found = fit_clients(
        nn.Dense(1, use_bias=False, initializer="zeros"),
        (np.float32(apart.pop("x")), np.float32(apart.pop("y"))),
        [np.array([0]), np.array([1])],
        loss="half_mse",
        method="scaffold",
        display="none",
        **apart,
    )
    best = (np.square(x[:, 0]) * b).sum() / np.square(x).sum()
    check(found.params["kernel"][0, 0], best, oracle="closed form", floor=1.0)


@case("federated.server")
def server(check: Check) -> None:
    """An adaptive server is its optimizer on the mean change, taken for a gradient."""

    def adam(mean: Any, memory: dict[str, Any]) -> Any:
        memory["t"] = memory.get("t", 0) + 1
        memory["m"] = 0.9 * memory.get("m", 0.0) - 0.1 * mean
        memory["v"] = 0.99 * memory.get("v", 0.0) + 0.01 * mean**2
        hat = np.sqrt(memory["v"] / (1 - 0.99 ** memory["t"]))
        return -0.03 * memory["m"] / (1 - 0.9 ** memory["t"]) / (hat + 1e-3)

    check(line(rounds(method="fedadam").params), by_hand(adam), floor=0.1)
    check(line(rounds(method=Method(server_rate=0.5)).params), by_hand(lambda mean, _: 0.5 * mean), floor=0.1)


@case("federated.private")
def private(check: Check) -> None:
    """Bounded changes, each client counted alike; and noise of the size that is said."""
    found = rounds(private=Private(noise=0.0, clip=0.02), rounds=1, batch_size=20)
    design = np.column_stack([X, np.ones(len(X))])
    changes = [RATE * design[rows].T @ Y[rows] / rows.size for rows in CLIENTS]
    check(
        line(found.params),
        sum(change * min(1.0, 0.02 / float(np.linalg.norm(change))) for change in changes) / 3,
        floor=0.1,
    )
    check(max(np.linalg.norm(change) for change in changes) > 0.02, True, oracle="closed form")
    wide = nn.Dense(3000, use_bias=False, initializer="zeros")
    far = lambda outputs, targets: 0 * jnp.mean(outputs, axis=-1)  # noqa: E731
    for local, size in ((False, 1 / 3), (True, 1 / np.sqrt(3))):
        noisy = fit_clients(
            wide, (np.float32(X), np.zeros((20, 3000), np.float32)), CLIENTS, loss=far, learning_rate=RATE, rounds=1,
            batch_size=20, display="none", private=Private(noise=2.0, clip=0.5, local=local),
        )  # fmt: skip
        spread = float(np.std(jax.device_get(noisy.params["kernel"]))) / size
        check(round(spread, 1), 1.0, oracle="closed form")


@case("federated.fedrep")
def fedrep(check: Check) -> None:
    """Each client's bias stays with it and is trained in the first of two epochs; the kernel is of all, and trained in the second."""
    method, epochs = Method("fedrep", own=("bias",)), 2
    found = rounds(local_epochs=epochs, method=method)
    source = RoundSource((X, Y), CLIENTS, batch_size=SIZE, local_epochs=epochs)
    share = np.array([rows.size for rows in CLIENTS]) / len(X)
    kernel, bias = np.zeros(2), np.zeros(3)
    for number in range(3):
        learnt = []
        for client in range(3):
            steps, at = source.batches_of(CLIENTS[client].size), kernel
            for place, batch in enumerate(np.split(source.order(number, client), steps)):
                rows = batch[batch >= 0]
                error = X[rows] @ at + bias[client] - Y[rows]
                if place < steps // epochs:
                    bias[client] -= RATE * error.mean()
                else:
                    at = at - RATE * X[rows].T @ error / rows.size
            learnt.append(at)
        kernel = share @ np.array(learnt)
    check(np.ravel(found.params["kernel"]), kernel, floor=0.1)
    (kept,) = found.train_state.world["clients"]["own"]
    check(np.ravel(kept), bias, floor=0.1)


@case("federated.rows")
def rows_of_clients(check: Check) -> None:
    """Each client's own private gradient: hardly any noise and all rows of each step is gradient descent; and noise as large as it says."""
    even = [np.arange(5), np.arange(5, 10), np.arange(10, 15), np.arange(15, 20)]
    quiet = engine.PerExample(clip=1e3, noise=1e-9, expected=5.0)
    design, theta = np.column_stack([X, np.ones(len(X))]), np.zeros(3)
    for _ in range(3):
        theta = theta - RATE * design.T @ (design @ theta - Y) / len(X)
    check(line(rounds(even, gradient=quiet).params), theta, floor=0.1)
    wide, data = nn.Dense(3000, use_bias=False, initializer="zeros"), (np.float32(X), np.zeros((20, 3000), np.float32))
    far = lambda outputs, targets: 0 * jnp.mean(outputs, axis=-1)  # noqa: E731
    loud = fit_clients(
        wide, data, even, loss=far, learning_rate=RATE, rounds=1, gradient=quiet.replace(clip=0.5, noise=2.0, expected=2.5),
        display="none",
    )  # fmt: skip
    # Two steps of each of four clients, whose mean is taken.
    spread = float(np.std(jax.device_get(loud.params["kernel"]))) / (RATE * 0.5 * 2.0 / 2.5 * np.sqrt(2 / 4))
    check(round(spread, 1), 1.0, oracle="closed form")
