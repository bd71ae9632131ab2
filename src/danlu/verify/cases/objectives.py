"""Objectives with terms, gradients row by row, members that are one model, two programs in turn, steps that are differentiated."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu import engine, nn, optim
from danlu.engine.members import fit_members
from danlu.verify.case import Check, case
from danlu.verify.cases.engine import EPOCHS, MODEL, RATE, ROWS, WEIGHTS, X, Y, line, slope, train

__all__: list[str] = []


class _Shrunk(engine.Objective):
    """Half the squared error and, as a term of its own, half the squared output."""

    model: nn.Layer

    def __call__(
        self, params: Any, state: Any, batch: dict[str, Any], key: jax.Array, *, train: bool
    ) -> tuple[Any, Any, dict[str, jax.Array]]:
        y, state = self.model.apply(params, state, batch["x"], train=train, key=key)
        return {"error": jnp.square(y[:, 0] - batch["y"]) / 2, "size": jnp.square(y[:, 0]) / 2}, state, {}


@case("engine.terms")
def terms(check: Check) -> None:
    """Two terms with a weight each: what is descended on, and what stands in the history."""
    given = {"error": 0.5, "size": 0.25}
    fitted = train(loss=_Shrunk(MODEL), loss_weights=given, weights=WEIGHTS, validation=(X, Y, WEIGHTS))
    theta, design = np.zeros(3), np.column_stack([X, np.ones(ROWS)])
    for row in fitted.history:
        before = design @ theta
        theta = theta - RATE * (0.5 * slope(theta, X, Y, WEIGHTS) + 0.25 * slope(theta, X, 0 * Y, WEIGHTS))
        for prefix, z in (("", before), ("val_", design @ theta)):
            error, size = (np.average((z - y) ** 2, weights=WEIGHTS) / 2 for y in (Y, 0 * Y))
            found = [row[f"{prefix}{name}"] for name in ("error", "size", "loss")]
            check(found, [error, size, 0.5 * error + 0.25 * size], floor=0.1)
    check(line(fitted.params), theta, floor=0.1)


@case("engine.row_gradients")
def row_gradients(check: Check) -> None:
    """The gradient of each row, times its weight, made no longer than the bound before they are added."""
    bound = 1.0
    fitted = train(gradient=engine.PerExample(clip=bound), weights=WEIGHTS)
    theta, design = np.zeros(3), np.column_stack([X, np.ones(ROWS)])
    for _ in range(EPOCHS):
        each = (WEIGHTS * (design @ theta - Y))[:, None] * design
        norms = np.linalg.norm(each, axis=1, keepdims=True)
        theta = theta - RATE * (each * np.minimum(1, bound / np.maximum(norms, 1e-30))).sum(axis=0) / WEIGHTS.sum()
    check(line(fitted.params), theta, floor=0.1)
    check(
        line(train(gradient=engine.PerExample(clip=1e6)).params), line(train().params), oracle="whole batch", floor=0.1
    )


@case("engine.together")
def together(check: Check) -> None:
    """Members that are one model, of 3 and of 7 held-out rows: the epoch that is best by the mean over all ten rows."""
    held, rates, y = [np.arange(3), np.arange(3, ROWS)], (0.4, 0.03), np.where(np.arange(ROWS) < 3, -Y, 0.6 * Y)
    fitted = fit_members(
        MODEL, (X, Y), loss="half_mse", seeds=[0, 1], optimizers=[optim.sgd(rate) for rate in rates], together=True,
        validation=(X, y), validation_rows=held, epochs=30, batch_size=16, display="none",
    )  # fmt: skip
    design, paths, total = np.column_stack([X, np.ones(ROWS)]), [], np.zeros(30)
    for rows, rate in zip(held, rates, strict=True):
        theta, path = np.zeros(3), []
        for epoch in range(30):
            theta = theta - rate * slope(theta, X, Y, np.ones(ROWS))
            total[epoch] += np.sum((design[rows] @ theta - y[rows]) ** 2) / 2
            path.append(theta)
        paths.append(path)
    best = int(total.argmin())
    check(fitted.best_epoch, best)
    check([row["val_loss"] for row in fitted.history], total / ROWS, floor=0.1)
    for member, path in enumerate(paths):
        check(line(jax.tree.map(lambda leaf, member=member: leaf[member], fitted.params)), path[best], floor=0.1)


class _Saddle(engine.Objective):
    """``s·(x² + 3xy − y²)``, of which there is no batch."""

    sign: float

    def __call__(
        self, params: Any, state: Any, batch: dict[str, Any], key: jax.Array, *, train: bool
    ) -> tuple[Any, Any, dict[str, jax.Array]]:
        x, y = params["x"], params["y"]
        return self.sign * (x * x + 3 * x * y - y * y), state, {}


@case("engine.turns")
def turns(check: Check) -> None:
    """Two programs in turn, each with momentum of its own: one goes down in x, then the other up in y from where that has led."""
    optimizer = optim.momentum(0.05, momentum=0.5)
    down, up = (engine.Program(MODEL, _Saddle(sign), optimizer.update, batch_size=1) for sign in (1.0, -1.0))
    params = {"x": jnp.float32(1.0), "y": jnp.float32(-2.0)}
    state = engine.TrainState.start(params, (optimizer.init(params), optimizer.init(params)))
    both = engine.Alternate(down, up, ("x", "y"))
    fitted = engine.train(both, (np.zeros((8, 1)), np.zeros(8)), state, epochs=2, display="none")
    (x, y), (first, second) = (1.0, -2.0), (0.0, 0.0)
    for _ in range(16):
        first = 0.5 * first + (2 * x + 3 * y)
        x -= 0.05 * first
        second = 0.5 * second - (3 * x - 2 * y)
        y -= 0.05 * second
    check([fitted.params["x"], fitted.params["y"]], [x, y], floor=0.1)


@case("engine.unrolled")
def unrolled(check: Check) -> None:
    """Through k steps on ½(θ − y)² the weights become y + (1 − α)ᵏ(θ − y): their derivatives by the weights before and by α."""
    model, steps, rate = nn.Dense(1, use_bias=False), 3, 0.3
    program = engine.Program.of(model, nn.get_loss("half_mse"), optim.sgd(rate).update)
    y = jnp.array([[0.5], [-1.0], [2.0]])
    batches = {"x": jnp.ones((steps, 1, 1)), "y": y, "weight": jnp.ones((steps, 1))}

    def after(theta: jax.Array, rate: jax.Array) -> jax.Array:
        params = {"kernel": theta.reshape(1, 1)}
        state = engine.TrainState(jnp.int32(0), jax.random.key(0), params, {}, optim.sgd(rate).init(params), {})
        return engine.unrolled(program, state, batches)[0].params["kernel"][0, 0]

    theta = 1.5
    value, (by_theta, by_rate) = jax.value_and_grad(after, (0, 1))(jnp.float32(theta), jnp.float32(rate))
    slope_of_rate = 0.0
    for target in np.ravel(y):
        slope_of_rate = (1 - rate) * slope_of_rate - (theta - target)
        theta = theta - rate * (theta - target)
    check(value, theta, oracle="closed form")
    check(by_theta, (1 - rate) ** steps, oracle="closed form")
    check(by_rate, slope_of_rate, oracle="closed form")
