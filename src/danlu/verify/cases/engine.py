"""The trainer's identities: whole trainings of a linear model, against the same descent in float64 by hand."""

from __future__ import annotations

import tempfile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu import engine, nn, optim
from danlu.engine.order import gather
from danlu.verify.case import Check, case
from danlu.verify.oracles import draw

__all__: list[str] = []

ROWS, RATE, EPOCHS = 10, 0.1, 5
X, NOISE = draw(ROWS, 2), draw(ROWS, seed=1)
Y = (X @ [1.0, -2.0] + 0.5 + 0.1 * NOISE).astype(np.float32).astype(np.float64)
WEIGHTS = np.array([1.0, 2.0, 0.0, 3.0, 1.0, 1.0, 2.0, 1.0, 5.0, 1.0])  # not as many in all as a batch has rows
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
    check(line(fitted.params), descend(X[copies], Y[copies], size=32)[-1], oracle="copied rows", floor=0.1)


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


@case("engine.batch_loss")
def batch_loss(check: Check) -> None:
    """The variance of the errors, which no row has: by batches of four, and whole with weights that are numbers of copies."""

    def spread(outputs: Any, targets: Any) -> Any:
        return jnp.var(outputs[:, 0] - targets)

    def spread_weighed(outputs: Any, targets: Any, weights: Any) -> Any:
        error, total = outputs[:, 0] - targets, jnp.sum(weights)
        return jnp.sum(weights * jnp.square(error - jnp.sum(weights * error) / total)) / total

    def by_hand(x: Any, y: Any, size: int) -> Any:
        theta, seen = np.zeros(2), []
        for _ in range(EPOCHS):
            for start in range(0, len(y) - size + 1, size):
                rows = slice(start, start + size)
                error = x[rows] @ theta - y[rows]
                seen.append(error.var())
                theta = theta - RATE * 2 * (x[rows] - x[rows].mean(0)).T @ (error - error.mean()) / size
        return theta, np.mean(seen[-(len(y) // size) :])

    fitted = train(loss=spread, batch_size=4, sampler=in_sequence)
    theta, value = by_hand(X, Y, 4)
    check(line(fitted.params)[:2], theta, floor=0.1)
    check(fitted.history[-1]["loss"], value, floor=0.1)
    copies = np.repeat(np.arange(ROWS), WEIGHTS.astype(int))
    fitted = train(weights=WEIGHTS, loss=spread_weighed)
    check(line(fitted.params)[:2], by_hand(X[copies], Y[copies], len(copies))[0], oracle="copied rows", floor=0.1)


@case("engine.extra_arguments")
def extra_arguments(check: Check) -> None:
    """Polyak's step ``f/|∇f|²`` asks for the objective's value, penalty included; a line search for the objective as a function."""

    def update(grads: Any, state: Any, params: Any = None, *, value: Any, value_fn: Any) -> Any:
        square = sum(jnp.sum(jnp.square(g)) for g in jax.tree.leaves(grads))
        moved = jax.tree.map(lambda g: -value / square * g, grads)
        return moved, {"ahead": value_fn(jax.tree.map(jnp.add, params, moved))}

    asking: Any = update

    def begin(params: Any) -> Any:
        return {"ahead": jnp.zeros(())}

    theta = np.array([0.5, -0.5, 0.0])
    error = np.column_stack([X, np.ones(ROWS)]) @ theta - Y
    value = np.sum(WEIGHTS * error**2) / (2 * WEIGHTS.sum()) + 0.2 * np.sum(theta[:2] ** 2)
    gradient = slope(theta, X, Y, WEIGHTS) + 0.4 * theta * [1, 1, 0]
    start: Any = ({"kernel": jnp.float32(theta[:2, None]), "bias": jnp.zeros(1)}, {})
    settings: Any = {"optimizer": optim.Optimizer(begin, asking), "l2": 0.2, "epochs": 1, "initial": start}
    after = theta - value / np.sum(gradient**2) * gradient
    ahead = np.sum(WEIGHTS * (np.column_stack([X, np.ones(ROWS)]) @ after - Y) ** 2) / (2 * WEIGHTS.sum())
    ahead += 0.2 * np.sum(after[:2] ** 2)
    for accumulate in (1, 4):
        fitted = train(weights=WEIGHTS, accumulate=accumulate, sampler=in_sequence, **settings)
        check(line(fitted.params), after, floor=0.1)
        check(fitted.train_state.opt_state["ahead"], ahead, floor=0.1)


@case("engine.devices")
def devices(check: Check) -> None:
    """Rows of unequal weight shared by two devices (where there are two) give the gradient of the whole batch."""
    fitted = train(weights=WEIGHTS, devices=min(2, jax.device_count()), sampler=in_sequence)
    check(line(fitted.params), descend(weights=WEIGHTS)[-1], floor=0.1)


def _whole_and_divided(check: Check, **how: Any) -> None:
    """A network's losses and parameters after some steps of clipped momentum, with its arrays whole on a device and divided among two."""
    found: list[Any] = []
    for devices in (1, min(2, jax.device_count())):
        optimizer = optim.chain(optim.clip_by_global_norm(0.1), optim.momentum(0.1))
        settings: Any = {"optimizer": optimizer, "loss": "mse", "epochs": 2, "batch_size": 4, "display": "none"}
        fitted = engine.fit(
            nn.MLP((64, 16), 1), (X[:8], Y[:8]), **settings, **({} if devices == 1 else {"devices": devices, **how})
        )
        found.append((fitted.params, [row["loss"] for row in fitted.history]))
    check(*(np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(each)]) for each in reversed(found)), floor=0.1)


@case("engine.fsdp")
def fsdp(check: Check) -> None:
    """Parameters divided among two devices (where there are two), and gathered where they are used, learn what whole ones do."""
    _whole_and_divided(check, sharding="fsdp")


@case("engine.tensor")
def tensor(check: Check) -> None:
    """Layers divided among two devices (where there are two) learn what whole ones do."""
    _whole_and_divided(check, sharding="tensor")


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


@case("engine.resume_mid_epoch", tolerance=0.0)
def resume_mid_epoch(check: Check) -> None:
    """Stopped within its second epoch and taken up again: the batches that were left, the sums so far, bit for bit."""
    batches = [(X[i : i + 2].astype(np.float32), Y[i : i + 2].astype(np.float32)) for i in range(0, ROWS, 2)]
    model = nn.Sequential((nn.Dense(4, "tanh"), nn.Dropout(0.5), nn.Dense(1)))
    asked: dict[str, Any] = {"at": None, "count": 0}

    class Stop(engine.Callback):
        def on_train_begin(self) -> None:
            asked["training"] = self.training

    def draws() -> Any:
        for batch in batches:
            asked["count"] += 1
            if asked["count"] == asked["at"]:
                asked["training"].stop()
            yield batch

    def run(folder: str, at: int | None) -> engine.Fitted:
        asked.update(at=at, count=0)
        settings: Any = {"loss": "mse", "epochs": 3, "display": "none", "callbacks": [Stop()]}
        return engine.fit(model, draws, checkpoint=folder, resume=True, **settings)

    with tempfile.TemporaryDirectory() as whole, tempfile.TemporaryDirectory() as broken:
        expected = run(whole, None)
        stopped = run(broken, 8)
        received = run(broken, None)
    check([len(stopped.history), 5 < int(stopped.train_state.step) < 10], [1, True], oracle="whole run")
    check([row["loss"] for row in received.history], [row["loss"] for row in expected.history], oracle="whole run")
    for ours, theirs in zip(jax.tree.leaves(received.params), jax.tree.leaves(expected.params), strict=True):
        check(ours, theirs, oracle="whole run")


@case("engine.resume_best")
def resume_best(check: Check) -> None:
    """Taken up after the best epoch: it is still the best, and patience counts from it."""
    y_validation, design = 0.6 * Y, np.column_stack([X, np.ones(ROWS)])
    path = descend(epochs=60)
    best = int(np.argmin([np.mean((design @ theta - y_validation) ** 2) for theta in path]))
    settings: dict[str, Any] = {"validation": (X, y_validation), "epochs": 60, "patience": 6, "resume": True}
    with tempfile.TemporaryDirectory() as folder:
        stopped = train(**settings, checkpoint=folder, callbacks=[_StopAfter(best + 3)])
        fitted = train(**settings, checkpoint=folder, callbacks=[_StopAfter(-1)])
    check([len(stopped.history), fitted.best_epoch, len(fitted.history)], [best + 4, best, best + 7])
    check(line(fitted.params), path[best], floor=0.1)


@case("engine.population_orders")
def population_orders(check: Check) -> None:
    """Members of several seeds see their own rows in their own sequence: as each alone."""
    settings: dict[str, Any] = {"loss": "half_mse", "epochs": 2, "batch_size": 4, "display": "none"}
    members = engine.fit_population(MODEL, (X, Y), seeds=[3, 4], optimizers=[optim.sgd(RATE)] * 2, **settings)
    for seed, member in zip((3, 4), members, strict=True):
        theta = np.zeros(3)
        for epoch in range(2):
            [piece] = engine.ArraySource((X, Y), batch_size=4, seed=seed).pieces(epoch, 0)
            for start in range(0, ROWS, 4):
                rows = np.asarray(piece.order)[start : min(start + 4, ROWS)]
                theta = theta - RATE * slope(theta, X[rows], Y[rows], np.ones(len(rows)))
        check(line(member.params), theta, floor=0.1)


@case("engine.randomness")
def randomness(check: Check) -> None:
    """Dropout draws anew in each step and in each micro-batch, from the run's key alone: ``fold_in(key, step)``."""
    model = nn.Sequential((nn.Dropout(0.5), nn.Dense(1, initializer="zeros", use_bias=False)))
    ones = np.ones((8, 3), np.float32)

    def slid(**settings: Any) -> np.ndarray:
        """A step of 1 along the mean output: the kernel is Σ of the means of what dropout let through."""
        found = engine.fit(
            model, (ones, ones[:, 0]), loss=lambda z, y: -z[:, 0], optimizer=optim.sgd(1.0), batch_size=8,
            display="none", **settings,
        )  # fmt: skip
        return np.ravel(found.params["kernel"] if isinstance(found.params, dict) else found.params[1]["kernel"])

    def kept(key: jax.Array, rows: int) -> np.ndarray:
        bits = jax.random.bits(jax.random.fold_in(key, 0), (rows, 3), np.uint16)  # layer 0 of the network
        return np.where(np.asarray(bits, np.int64) < 2**15, 2.0, 0.0)

    one = slid(epochs=1)
    whole, parts = slid(epochs=3), slid(epochs=1, accumulate=2)
    state = engine.fit(model, (ones, ones[:, 0]), loss="mse", epochs=0, display="none").train_state
    keys = [jax.random.fold_in(state.key, step) for step in range(3)]
    check(one, kept(keys[0], 8).mean(0), oracle="closed form")
    check(whole, sum(kept(key, 8).mean(0) for key in keys), oracle="closed form")
    halves = [kept(jax.random.fold_in(keys[0], part), 4) for part in range(2)]
    check(parts, np.concatenate(halves).mean(0), oracle="closed form")


@case("engine.measures")
def measures(check: Check) -> None:
    """Means over all rows by weight, of unequal batches, in training before each update and in validation after the last."""
    fitted = train(
        weights=WEIGHTS, validation=(X, Y, WEIGHTS), metrics=["absolute_error"], batch_size=4, sampler=in_sequence
    )
    theta, design = np.zeros(3), np.column_stack([X, np.ones(ROWS)])
    for row in fitted.history:
        seen = []
        for start in range(0, ROWS, 4):
            rows = slice(start, start + 4)
            seen.append(design[rows] @ theta - Y[rows])
            theta = theta - RATE * slope(theta, X[rows], Y[rows], WEIGHTS[rows])
        before, after = np.concatenate(seen), design @ theta - Y
        for prefix, error in (("", before), ("val_", after)):
            check(row[f"{prefix}loss"], np.average(error**2, weights=WEIGHTS) / 2, floor=0.1)
            check(row[f"{prefix}absolute_error"], np.average(np.abs(error), weights=WEIGHTS), floor=0.1)
    check([row["step"] for row in fitted.history], [3 * (epoch + 1) for epoch in range(EPOCHS)])


@case("engine.best_weights")
def best_weights(check: Check) -> None:
    """The best by what is monitored: the largest where that is better, a gain that counts, or the last where asked."""

    def score(z: Any, y: Any) -> Any:
        return -((z[:, 0] - y) ** 2)

    y_validation, path = 0.6 * Y, descend(epochs=60)
    design = np.column_stack([X, np.ones(ROWS)])
    losses = np.array([np.mean((design @ theta - y_validation) ** 2) for theta in path])
    settings: dict[str, Any] = {"validation": (X, y_validation), "metrics": [score], "epochs": 60}
    largest = train(**settings, monitor="val_score", mode="max")
    check(line(largest.params), path[losses.argmin()], floor=0.1)
    least, best, kept = 0.05, float("inf"), 0
    for epoch, loss in enumerate((losses / 2).tolist()):
        if loss < best - least:
            best, kept = loss, epoch
    check(train(**settings, min_delta=least).best_epoch, kept)
    check(line(train(**settings, restore_best=False).params), path[-1], floor=0.1)


@case("engine.plateau")
def plateau(check: Check) -> None:
    """The rate is halved after each two epochs whose validation loss brought nothing."""
    schedule = optim.ReduceOnPlateau(RATE, factor=0.5, patience=2, threshold=0.0)
    fitted = train(optimizer=optim.sgd(schedule), validation=(X, 0.6 * Y), epochs=30, restore_best=False)
    design, theta = np.column_stack([X, np.ones(ROWS)]), np.zeros(3)
    rate, best, waited = RATE, np.inf, 0
    for _ in range(30):
        theta = theta - rate * slope(theta, X, Y, np.ones(ROWS))
        loss = float(np.mean((design @ theta - 0.6 * Y) ** 2)) / 2
        best, waited = (loss, 0) if loss < best else (best, waited + 1)
        if waited == 2:
            rate, waited = rate / 2, 0
    check(line(fitted.params), theta, floor=0.1)
    check(fitted.train_state.opt_state.learning_rate(0), rate)


@case("engine.orders")
def orders(check: Check) -> None:
    """Each row once an epoch, in a sequence that is new each epoch and each seed's own, and filled up at weight 0."""
    found = {}
    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        source = engine.ArraySource((X, Y), batch_size=4, seed=seed)
        [piece] = source.pieces(epoch, 0)
        order = np.asarray(piece.order)
        check(np.sort(order[:ROWS]), np.arange(ROWS), oracle="closed form")
        check((order[ROWS : 4 * piece.steps] < 0).all(), True, oracle="closed form")
        check(piece.steps, 3, oracle="closed form")
        found[seed, epoch] = tuple(order[:ROWS].tolist())
    check(len(set(found.values())), 3, oracle="closed form")
    batch, mask = gather({"x": jnp.arange(10) * 2}, jnp.asarray([4, ~3, 0, ~9]), 1, 2)
    check(batch["x"], [0, 18], oracle="closed form")
    check(mask, [1, 0], oracle="closed form")


@case("engine.shares")
def shares(check: Check) -> None:
    """What 2, 4 and 8 processes read of a stream, each its own part, are together the batches of one process, row for row."""
    rows, size = 61, 8

    class Numbered:
        def chunks(self, epoch: int, start: int) -> Any:
            numbers = np.arange(float(rows))
            yield {"x": numbers[:, None], "y": numbers, "weight": np.ones(rows)}

    source = engine.ChunkSource(Numbered(), batch_size=size, seed=3)

    def batches(parts: int) -> np.ndarray:
        read = [next(source.divided(parts, range(own, own + 1)).lots(2, 0)) for own in range(parts)]
        held = np.concatenate([lots[0]["y"] for lots, _, _ in read])
        order, steps = read[0][1], read[0][2]
        entries = order[: steps * size].reshape(steps, size)
        return np.where(entries >= 0, held[np.where(entries >= 0, entries, ~entries)], -1.0)

    whole = batches(1)
    check(np.sort(whole[whole >= 0]), np.arange(float(rows)), oracle="each row once")
    for parts in (2, 4, 8):
        check(batches(parts), whole, oracle="one process")
