"""The trainer's identities: whole trainings of a linear model, against the same descent in float64 by hand."""

from __future__ import annotations

import tempfile
from typing import Any

import jax
import numpy as np

from danlu import engine, nn, optim
from danlu.verify.case import Check, case
from danlu.verify.oracles import draw

__all__: list[str] = []

ROWS, RATE, EPOCHS = 10, 0.1, 5
X, NOISE = draw(ROWS, 2), draw(ROWS, seed=1)
Y = (X @ [1.0, -2.0] + 0.5 + 0.1 * NOISE).astype(np.float32).astype(np.float64)
WEIGHTS = np.array([1.0, 2.0, 0.0, 3.0, 1.0, 1.0, 2.0, 1.0, 4.0, 1.0])
MODEL = nn.Dense(1, initializer="zeros")


def in_sequence(epoch: int, rng: np.random.Generator) -> np.ndarray:
    """The rows as they come, so that the descent by hand knows which are in a batch."""
    return np.arange(ROWS)


def train(x: Any = X, y: Any = Y, weights: Any = None, **settings: Any) -> engine.Fitted:
    """Gradient descent on half the squared error by the engine, from weights of 0."""
    data = (x, y) if weights is None else (x, y, weights)
    settings = {"loss": "half_mse", "optimizer": optim.sgd(RATE), "epochs": EPOCHS, "batch_size": 16, **settings}
    return engine.fit(MODEL, data, display="none", **settings)


def line(params: Any) -> np.ndarray:
    """``(w₁, w₂, b)``."""
    return np.concatenate([np.ravel(params["kernel"]), np.ravel(params["bias"])])


def slope(theta: Any, x: Any, y: Any, weights: Any) -> np.ndarray:
    """The gradient of ``Σ w·½·(ŷ − y)² / Σ w``, by hand."""
    design = np.column_stack([x, np.ones(len(x))])
    return design.T @ (weights * (design @ theta - y)) / weights.sum()


def descend(
    x: Any = X, y: Any = Y, weights: Any = None, *, size: int = 16, rate: float = RATE, epochs: int = EPOCHS
) -> np.ndarray:
    """The weights after each epoch, ``(epochs, 3)``; each batch is ``size`` rows in sequence, the last one what is left."""
    weights = np.ones(len(y)) if weights is None else weights
    theta, seen = np.zeros(3), []
    for _ in range(epochs):
        for start in range(0, len(y), size):
            rows = slice(start, start + size)
            theta = theta - rate * slope(theta, x[rows], y[rows], weights[rows])
        seen.append(theta)
    return np.array(seen)


@case("engine.ragged_batch")
def ragged_batch(check: Check) -> None:
    """Ten rows in batches of four: the two rows of the last one are averaged as two."""
    fitted = train(batch_size=4, sampler=in_sequence)
    check(line(fitted.params), descend(size=4)[-1], floor=0.1)


@case("engine.sample_weights")
def sample_weights(check: Check) -> None:
    """A row of weight 3 is a row that is there three times; one of weight 0 is not there."""
    fitted = train(weights=WEIGHTS)
    check(line(fitted.params), descend(weights=WEIGHTS)[-1], floor=0.1)
    copies = np.repeat(np.arange(ROWS), WEIGHTS.astype(int))
    check(line(fitted.params), descend(X[copies], Y[copies])[-1], oracle="copied rows", floor=0.1)


@case("engine.class_weights")
def class_weights(check: Check) -> None:
    """Balanced weights for eight rows against two: each of the two counts as if it were there four times."""
    labels = (np.arange(ROWS) >= 8).astype(np.int32)
    y = labels.astype(np.float64)
    weights = nn.losses.example_weights(labels, nn.losses.class_weights(labels, 2))
    copies = np.repeat(np.arange(ROWS), np.where(labels == 1, 4, 1))
    fitted = train(y=y, weights=np.asarray(weights))
    check(line(fitted.params), descend(X[copies], y[copies])[-1], oracle="copied rows", floor=0.1)


@case("engine.accumulation")
def accumulation(check: Check) -> None:
    """Four micro-batches of unequal weight give the gradient of the whole batch, not a mean of means."""
    fitted = train(weights=WEIGHTS, accumulate=4, sampler=in_sequence)
    check(line(fitted.params), descend(weights=WEIGHTS)[-1], floor=0.1)


@case("engine.devices")
def devices(check: Check) -> None:
    """Rows of unequal weight shared by two devices (where there are two) give the gradient of the whole batch."""
    fitted = train(weights=WEIGHTS, devices=min(2, jax.device_count()), sampler=in_sequence)
    check(line(fitted.params), descend(weights=WEIGHTS)[-1], floor=0.1)


@case("engine.penalties")
def penalties(check: Check) -> None:
    """``c₁·‖θ‖₁ + c₂·‖θ‖²`` over the weights; the bias goes free."""
    theta, free = np.array([0.0, 0.0, 0.0]), np.array([1.0, 1.0, 0.0])
    for _ in range(EPOCHS):
        penalty = free * (0.03 * np.sign(theta) + 0.2 * 2 * theta)
        theta = theta - RATE * (slope(theta, X, Y, np.ones(ROWS)) + penalty)
    check(line(train(l1=0.03, l2=0.2).params), theta, floor=0.1)


@case("engine.early_stopping")
def early_stopping(check: Check) -> None:
    """The validation rows' truth lies on the way, so their loss falls and rises again; the best weights are kept."""
    y_validation = 0.6 * Y
    path = descend(epochs=60)
    design = np.column_stack([X, np.ones(ROWS)])
    losses = [float(np.mean((design @ theta - y_validation) ** 2) / 2) for theta in path]
    best = int(np.argmin(losses))
    fitted = train(validation=(X, y_validation), epochs=60, patience=4)
    check([fitted.best_epoch, len(fitted.history)], [best, best + 5])
    check([row["val_loss"] for row in fitted.history], losses[: best + 5], floor=0.1)
    check(line(fitted.params), path[best], floor=0.1)


@case("engine.population")
def population(check: Check) -> None:
    """Two learning rates at once are two trainings, one after the other."""
    rates = (0.05, 0.2)
    members = engine.fit_population(
        MODEL,
        (X, Y),
        loss="half_mse",
        seeds=[0, 1],
        optimizers=[optim.sgd(rate) for rate in rates],
        epochs=EPOCHS,
        batch_size=16,
        display="none",
    )
    for rate, member in zip(rates, members, strict=True):
        check(line(member.params), descend(rate=rate)[-1], floor=0.1)
        check(line(member.params), line(train(optimizer=optim.sgd(rate)).params), oracle="one by one", floor=0.1)


class _StopAfter(engine.Callback):
    """Ends the training after epoch ``last``, as a kill would."""

    def __init__(self, last: int) -> None:
        self.last = last

    def on_epoch_end(self, epoch: int, logs: Any) -> None:
        if epoch == self.last:
            self.training.stop()


@case("engine.resume", tolerance=0.0)
def resume(check: Check) -> None:
    """With dropout, Adam and shuffled batches, stopped and taken up again: bit for bit the uninterrupted run."""
    model = nn.Sequential((nn.Dense(4, "tanh"), nn.Dropout(0.5), nn.Dense(1)))

    def run(last: int, folder: str) -> engine.Fitted:
        return engine.fit(
            model,
            (X, Y),
            loss="mse",
            epochs=4,
            batch_size=4,
            checkpoint=folder,
            resume=True,
            callbacks=[_StopAfter(last)],
            display="none",
        )

    with tempfile.TemporaryDirectory() as whole, tempfile.TemporaryDirectory() as broken:
        expected = run(-1, whole)
        stopped = run(1, broken)
        received = run(-1, broken)
    check([len(stopped.history), len(received.history)], [2, 4], oracle="whole run")
    for ours, theirs in zip(jax.tree.leaves(received.params), jax.tree.leaves(expected.params), strict=True):
        check(ours, theirs, oracle="whole run")
