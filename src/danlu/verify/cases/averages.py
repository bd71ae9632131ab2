"""Averages of the weights and snapshots: whole trainings of a linear model, against the same descent in float64 by hand."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu import engine, nn, optim
from danlu.verify.case import Check, case
from danlu.verify.cases.engine import MODEL, RATE, ROWS, X, Y, descend, in_sequence, line, slope, train

__all__: list[str] = []

EPOCHS, SIZE = 6, 4


def path(y: Any = Y) -> np.ndarray:
    """The weights after each step, ``(steps, 3)``; batches of four rows in sequence."""
    theta, seen = np.zeros(3), []
    for _ in range(EPOCHS):
        for start in range(0, ROWS, SIZE):
            rows = slice(start, start + SIZE)
            theta = theta - RATE * slope(theta, X[rows], y[rows], np.ones(len(y[rows])))
            seen.append(theta)
    return np.array(seen)


@case("engine.ema")
def ema(check: Check) -> None:
    """``Σ d^(t−i) θ_i / Σ d^(t−i)`` over the steps: after the last one, and where the validation rows choose the epoch by it."""
    settings: dict[str, Any] = {"batch_size": SIZE, "sampler": in_sequence, "epochs": EPOCHS}
    fitted = train(**settings, average="ema", average_decay=0.7)
    steps = path()
    count = len(steps)
    weights = 0.7 ** (count - 1 - np.arange(count))
    check(line(fitted.params), weights @ steps / weights.sum(), floor=0.1)
    check(line(fitted.train_state.params), steps[-1], floor=0.1)  # what goes on to learn is not the average
    if optax := check.module("optax"):
        average = optax.ema(0.7)
        state = average.init(jnp.zeros(3))
        for theta in steps:
            mean, state = average.update(jnp.asarray(theta, jnp.float32), state)
        check(line(fitted.params), mean, oracle="optax", floor=0.1)
    y, design, means = 0.5 * Y, np.column_stack([X, np.ones(ROWS)]), []
    for epoch in range(EPOCHS):
        seen = steps[: 3 * (epoch + 1)]
        share = 0.7 ** (len(seen) - 1 - np.arange(len(seen)))
        means.append(share @ seen / share.sum())
    losses = [float(np.mean((design @ mean - y) ** 2)) / 2 for mean in means]
    judged = train(**settings, average="ema", average_decay=0.7, validation=(X, y))
    check([row["val_loss"] for row in judged.history], losses, floor=0.1)
    check(line(judged.params), means[int(np.argmin(losses))], floor=0.1)
    two = engine.fit_population(
        MODEL, (X, Y), loss="half_mse", seeds=[0, 1], optimizers=[optim.sgd(RATE), optim.sgd(RATE / 2)], epochs=EPOCHS,
        batch_size=16, average="ema", average_decay=0.5, display="none",
    )  # fmt: skip
    share = 0.5 ** (EPOCHS - 1 - np.arange(EPOCHS))
    for member, rate in zip(two, (RATE, RATE / 2), strict=True):
        check(line(member.params), share @ descend(rate=rate, epochs=EPOCHS) / share.sum(), floor=0.1)


@case("engine.swa")
def swa(check: Check) -> None:
    """The mean of the weights at the ends of the epochs from the first averaged one on, by which these epochs are judged."""
    ends = path().reshape(EPOCHS, 3, 3)[:, -1]
    settings: dict[str, Any] = {"batch_size": SIZE, "sampler": in_sequence, "epochs": EPOCHS, "average": "swa"}
    check(line(train(**settings, average_start=2).params), ends[2:].mean(axis=0), floor=0.1)
    check(line(train(**settings).params), ends[4:].mean(axis=0), floor=0.1)  # the last quarter, at least
    fitted = train(**settings, average_start=2, validation=(X, Y))
    judged = [*ends[:2], *(ends[2 : epoch + 1].mean(axis=0) for epoch in range(2, EPOCHS))]
    design = np.column_stack([X, np.ones(ROWS)])
    losses = [float(np.mean((design @ theta - Y) ** 2)) / 2 for theta in judged]
    check([row["val_loss"] for row in fitted.history], losses, floor=0.1)
    check([row["best"] for row in fitted.history][:2], [False, False])
    check(fitted.best_epoch, 2 + int(np.argmin(losses[2:])))


@case("engine.averaged_statistics")
def averaged_statistics(check: Check) -> None:
    """Running statistics behind averaged weights: those of the training rows under these weights."""
    model = nn.Sequential((nn.Dense(2, use_bias=False), nn.BatchNorm(0.5), nn.Dense(1)))
    fitted = engine.fit(
        model,
        (X, Y),
        loss="half_mse",
        optimizer=optim.sgd(0.3),
        epochs=8,
        batch_size=ROWS,
        average="swa",
        display="none",
    )
    hidden = X @ np.asarray(fitted.params[0]["kernel"], np.float64)
    check(fitted.state[1]["mean"], hidden.mean(axis=0), floor=0.1)
    check(fitted.state[1]["variance"], hidden.var(axis=0, ddof=1), floor=0.1)
    learnt: Any = fitted.train_state.model_state  # where the mean of the weights is not
    check(bool(np.abs(np.asarray(learnt[1]["variance"]) - hidden.var(axis=0, ddof=1)).max() > 1e-3), True)


@case("engine.snapshots")
def snapshots(check: Check) -> None:
    """The weights at the ends of the cycles, the rate beginning anew in each; the model's answers are theirs, side by side."""
    rates = optim.Restarts(optim.Cosine(0.3, 2), 2)
    fitted = train(optimizer=optim.sgd(rates), epochs=EPOCHS, snapshots=3)
    theta, kept = np.zeros(3), []
    for epoch in range(EPOCHS):
        theta = theta - 0.3 * (1 + np.cos(np.pi * (epoch % 2) / 2)) / 2 * slope(theta, X, Y, np.ones(ROWS))
        kept += [theta] if epoch % 2 else []
    for place, theta in enumerate(kept):
        check(line(jax.tree.map(lambda leaf, place=place: leaf[place], fitted.params)), theta, floor=0.1)
    answers = np.stack([np.column_stack([X, np.ones(ROWS)]) @ theta for theta in kept], axis=1)
    check(fitted.predict(X.astype(np.float32))[..., 0], answers, floor=0.1)
