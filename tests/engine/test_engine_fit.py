"""The trainer: identities of the step, orders, early stopping, resume, errors."""

import dataclasses
import json
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from danlu import nn, optim
from danlu.engine import (
    Accumulated,
    BatchSource,
    EarlyStopping,
    FitOptions,
    JSONLogger,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    Population,
    Program,
    fit,
    run_steps,
)
from danlu.engine import step as plain_step
from danlu.engine.order import capacity, pad_order
from danlu.engine.prefetch import prefetch
from danlu.engine.sources import ArraySource
from danlu.engine.state import TrainState
from danlu.engine.step import zero_sums
from danlu.errors import CheckpointError, ConfigError, DataError, TrainingError
from danlu.nn.losses import MSE
from danlu.optim import adam

RNG = np.random.default_rng(0)
X = RNG.normal(size=(101, 3)).astype(np.float32)
Y = (X[:, 0] - X[:, 1] > 0).astype(np.int32)
MODEL = nn.MLP((8,), 1)
step = jax.jit(plain_step, static_argnums=0)
COMMON = {"loss": "binary_cross_entropy", "display": "none", "batch_size": 16}


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def assert_same(a, b):
    for left, right in zip(leaves(a), leaves(b), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.fixture(scope="module")
def plain():
    return fit(MODEL, (X, Y), validation=(X[:40], Y[:40]), metrics=["accuracy"], epochs=6, learning_rate=0.05, **COMMON)


def start(optimizer=None, seed=0):
    params, state, _ = MODEL.init(jax.random.key(seed), (3,))
    optimizer = optimizer or optim.sgd(0.1)
    return optimizer, TrainState(jnp.int32(0), jax.random.key(1), params, state, optimizer.init(params), {})


def test_it_learns(plain):
    assert plain.history[-1]["loss"] < plain.history[0]["loss"]
    assert plain.evaluate((X, Y))["accuracy"] > 0.6
    assert plain.predict(X).shape == (101, 1)


def test_evaluate_is_the_mean_over_rows(plain):
    logits = plain.predict(X)[:, 0].astype(np.float64)
    expected = np.mean(np.logaddexp(0, logits) - Y * logits)
    assert plain.evaluate((X, Y))["loss"] == pytest.approx(expected, rel=1e-5)
    weights = RNG.uniform(size=101).astype(np.float32)
    expected = np.average(np.logaddexp(0, logits) - Y * logits, weights=weights)
    assert plain.evaluate((X, Y, weights))["loss"] == pytest.approx(expected, rel=1e-5)


def test_one_step_is_plain_gradient_descent_in_numpy():
    model, rate = nn.Dense(1), 0.05
    y = (X @ [1.0, 2.0, 3.0]).astype(np.float32)
    params, state, _ = model.init(jax.random.key(0), (3,))
    fitted = fit(
        model,
        (X, y),
        loss="mse",
        optimizer=optim.sgd(rate),
        epochs=1,
        batch_size=128,
        display="none",
        initial=(params, state),
    )
    w = np.asarray(params["kernel"], np.float64)
    error = X @ w[:, 0] - y
    np.testing.assert_allclose(
        np.asarray(fitted.params["kernel"])[:, 0], w[:, 0] - rate * 2 * X.T @ error / 101, rtol=1e-5
    )


@pytest.mark.parametrize("accumulate", [2, 4])
def test_accumulation_is_exact_under_uneven_weights(accumulate):
    optimizer, state = start()
    batch = {"x": X[:16], "y": Y[:16], "weight": RNG.uniform(size=16).astype(np.float32) * (np.arange(16) % 5 > 0)}
    program = Program.of(MODEL, nn.get_loss("binary_cross_entropy"), optimizer.update, batch_size=16)
    whole, sums = step(program, state, batch)
    parts, part_sums = step(dataclasses.replace(program, gradient=Accumulated(accumulate)), state, batch)
    for a, b in zip(leaves(whole.params), leaves(parts.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-7)
    assert float(sums["loss"]) == pytest.approx(float(part_sums["loss"]), rel=1e-6)


def test_padding_rows_do_not_count():
    optimizer, state = start()
    program = Program.of(MODEL, nn.get_loss("binary_cross_entropy"), optimizer.update, batch_size=8)
    full = {"x": X[:8], "y": Y[:8], "weight": np.r_[np.ones(5), np.zeros(3)].astype(np.float32)}
    short = {"x": X[:5], "y": Y[:5], "weight": np.ones(5, np.float32)}
    for a, b in zip(
        leaves(step(program, state, full)[0].params), leaves(step(program, state, short)[0].params), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


def test_an_epoch_is_its_steps_one_by_one():
    optimizer, state = start(optim.adam(0.01))
    program = Program.of(MODEL, nn.get_loss("binary_cross_entropy"), optimizer.update, batch_size=16)
    source = ArraySource((X, Y), batch_size=16, seed=3)
    piece = next(source.pieces(0, 0))
    by_hand, order = state, np.asarray(piece.order)
    for i in range(piece.steps):
        entries = order[16 * i : 16 * i + 16]
        rows = np.where(entries >= 0, entries, ~entries)
        by_hand, _ = step(program, by_hand, {"x": X[rows], "y": Y[rows], "weight": (entries >= 0).astype(np.float32)})
    looped, sums = run_steps(program, state, zero_sums(program), piece.chunk, piece.order, 0, piece.steps)
    for a, b in zip(leaves(looped.params), leaves(by_hand.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert float(sums["weight"]) == 101


def test_a_population_is_its_members_one_by_one():
    program = Program.of(MODEL, nn.get_loss("binary_cross_entropy"), optim.adam(0.1).update, batch_size=16)
    members = Population(program, 3)
    states = [start(optim.adam(rate), seed)[1] for rate, seed in ((0.1, 0), (0.01, 1), (0.001, 2))]
    source = ArraySource((X, Y), batch_size=16, seed=[5, 6, 7])
    piece = next(source.pieces(0, 0))
    stack = lambda trees: jax.tree.map(lambda *a: jnp.stack(a), *trees)  # noqa: E731
    together, _ = run_steps(members, stack(states), members.zero_sums(), piece.chunk, piece.order, 0, piece.steps)
    rates = [0.1, 0.01, 0.001]
    for i in range(3):
        alone = start(optim.adam(rates[i]), i)[1]
        alone, _ = run_steps(program, alone, zero_sums(program), piece.chunk, piece.order[i], 0, piece.steps)
        for a, b in zip(leaves(jax.tree.map(lambda t: t[i], together.params)), leaves(alone.params), strict=True):  # noqa: B023
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_a_second_fit_compiles_nothing(plain):
    before = run_steps._cache_size()
    fit(
        MODEL,
        (X[:99], Y[:99]),
        validation=(X[:37], Y[:37]),
        metrics=["accuracy"],
        epochs=2,
        learning_rate=0.02,
        seed=5,
        **COMMON,
    )
    assert run_steps._cache_size() == before


def test_batches_and_arrays_agree():
    batches = [(X[i : i + 16], Y[i : i + 16]) for i in range(0, 101, 16)]
    in_order = lambda epoch, rng: np.arange(101)  # noqa: E731
    from_arrays = fit(MODEL, (X, Y), epochs=2, sampler=in_order, **COMMON)
    from_batches = fit(MODEL, batches, epochs=2, **COMMON)
    for a, b in zip(leaves(from_arrays.params), leaves(from_batches.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_optax_and_any_functions_go_through():
    init = lambda key, shape: {"w": jnp.zeros(shape)}  # noqa: E731
    fitted = fit(
        (init, lambda params, x: x @ params["w"]),
        (X, (X @ [1.0, -2.0, 0.5]).astype(np.float32)),
        loss=lambda outputs, targets: jnp.mean((outputs - targets) ** 2),
        optimizer=optax.adam(0.05),
        epochs=40,
        batch_size=32,
        display="none",
    )
    np.testing.assert_allclose(fitted.params["w"], [1.0, -2.0, 0.5], atol=0.02)


def test_early_stopping_keeps_the_best():
    noise = RNG.integers(0, 2, 101)
    stopping = EarlyStopping(patience=2)
    fitted = fit(
        nn.MLP((32,), 1),
        (X, noise),
        validation=(X, 1 - noise),
        epochs=60,
        callbacks=[stopping],
        learning_rate=0.05,
        **COMMON,
    )
    values = [row["val_loss"] for row in fitted.history]
    assert len(values) < 60
    assert "stopped early" in fitted.stopped_because
    assert fitted.stopped_by is None
    assert fitted.best_epoch == int(np.argmin(values))
    assert fitted.evaluate((X, 1 - noise))["loss"] == pytest.approx(min(values), rel=1e-5)


def test_callbacks_see_and_steer(tmp_path):
    seen = []
    fitted = fit(
        MODEL,
        (X, Y),
        epochs=3,
        callbacks=[
            LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append((epoch, logs["loss"]))),
            LearningRateScheduler(lambda epoch, rate: 0.1 / (epoch + 1)),
            JSONLogger(tmp_path / "log.jsonl"),
            ModelCheckpoint(tmp_path / "w-{epoch}.safetensors"),
        ],
        **COMMON,
    )
    assert [epoch for epoch, _ in seen] == [0, 1, 2]
    np.testing.assert_allclose([row["learning_rate"] for row in fitted.history], [0.1, 0.05, 0.1 / 3], rtol=1e-6)
    assert [json.loads(line)["epoch"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [0, 1, 2]
    assert sorted(p.name for p in tmp_path.glob("w-*")) == ["w-0.safetensors", "w-1.safetensors", "w-2.safetensors"]
    assert fitted.frame().height == 3


def test_reduce_on_plateau_is_told_the_validation_loss():
    schedule = optim.ReduceOnPlateau(0.5, factor=0.5, patience=1)
    noise = RNG.integers(0, 2, 101)
    fitted = fit(MODEL, (X, noise), validation=(X, 1 - noise), optimizer=optim.sgd(schedule), epochs=8, **COMMON)
    assert fitted.history[-1]["learning_rate"] < 0.5


def test_penalties_shrink_the_weights():
    norms = [
        float(
            sum(
                (leaf**2).sum()
                for leaf in leaves(fit(MODEL, (X, Y), epochs=20, l2=c, learning_rate=0.02, **COMMON).params)
            )
        )
        for c in (0.0, 0.1)
    ]
    assert norms[1] < 0.5 * norms[0]


def test_ctrl_c_keeps_what_was_learned():
    press = LambdaCallback(on_epoch_end=lambda epoch, logs: os.kill(os.getpid(), signal.SIGINT) if epoch == 1 else None)
    before = signal.getsignal(signal.SIGINT)  # ignored, where the tests run in the background of a shell
    fitted = fit(MODEL, (X, Y), epochs=50, callbacks=[press], **COMMON)
    assert fitted.stopped_because == "stopped by Ctrl-C; what was learned is kept"
    assert fitted.stopped_by == signal.SIGINT
    assert 2 <= len(fitted.history) < 50
    assert signal.getsignal(signal.SIGINT) is before


def test_a_rate_that_goes_by_nothing_is_refused():
    plateau = optim.sgd(optim.ReduceOnPlateau(0.5, factor=0.5, patience=1))
    with pytest.raises(ConfigError, match="there is no validation data"):
        fit(MODEL, (X, Y), epochs=1, optimizer=plateau, **COMMON)


def test_a_loss_that_is_not_finite_names_the_step():
    with pytest.raises(TrainingError, match=r"not finite at step \d+ .*learning rate"):
        fit(MODEL, (X, X[:, 0] * 1e3), epochs=50, batch_size=16, loss="mse", optimizer=optim.sgd(1e4), display="none")


def test_resume_is_the_same_run(tmp_path):
    options = {"epochs": 6, "validation": (X[:40], Y[:40]), "checkpoint_every": 0.0, "patience": 4, **COMMON}
    model = nn.Sequential((nn.Dense(8, activation="relu"), nn.Dropout(0.3), nn.BatchNorm(), nn.Dense(1)))
    whole = fit(model, (X, Y), checkpoint=tmp_path / "a", **options)
    halt = LambdaCallback()
    halt.on_epoch_end = lambda epoch, logs: halt.training.stop() if epoch == 2 else None
    fit(model, (X, Y), checkpoint=tmp_path / "b", callbacks=[halt], **options)
    with pytest.raises(CheckpointError, match="with 1 callbacks, and there are 0"):
        fit(model, (X, Y), checkpoint=tmp_path / "b", resume=True, **options)
    options["display"] = "plain"  # how progress is shown may change
    resumed = fit(model, (X, Y), checkpoint=tmp_path / "b", resume=True, callbacks=[LambdaCallback()], **options)
    assert_same(whole.train_state.params, resumed.train_state.params)
    assert_same(whole.params, resumed.params)
    timing = ("seconds", "rows_per_second")
    strip = lambda rows: [{k: v for k, v in row.items() if k not in timing} for row in rows]  # noqa: E731
    assert strip(whole.history) == strip(resumed.history)


def test_a_finished_run_goes_on_with_more_epochs(tmp_path):
    fit(MODEL, (X, Y), checkpoint=tmp_path, epochs=2, **COMMON)
    longer = fit(MODEL, (X, Y), checkpoint=tmp_path, epochs=4, resume=True, **COMMON)
    assert [row["epoch"] for row in longer.history] == [0, 1, 2, 3]
    assert_same(longer.params, fit(MODEL, (X, Y), epochs=4, **COMMON).params)


def test_a_damaged_or_foreign_checkpoint_is_named(tmp_path):
    fit(MODEL, (X, Y), epochs=1, checkpoint=tmp_path, **COMMON)
    with pytest.raises(CheckpointError, match=r"another version of danlu: .* expected .*\n.*start again"):
        fit(nn.MLP((9,), 1), (X, Y), epochs=2, checkpoint=tmp_path, resume=True, **COMMON)
    file = tmp_path / "last.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="not a whole"):
        fit(MODEL, (X, Y), epochs=2, checkpoint=tmp_path, resume=True, **COMMON)


def test_a_failed_write_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    from danlu.engine.checkpoint import load_checkpoint, save_checkpoint

    save_checkpoint(tmp_path / "c", {"w": jnp.ones(3)}, {"n": 1})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left"):
        save_checkpoint(tmp_path / "c", {"w": jnp.zeros(3)}, {"n": 2})
    assert load_checkpoint(tmp_path / "c", {"w": jnp.zeros(3)})[1] == {"n": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


BAD = X.copy()
BAD[7, 1] = np.nan


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fit(MODEL, (X, Y[:-1]), **COMMON), DataError, "x has 101 rows and y has 100"),
        (lambda: fit(MODEL, (BAD, Y), **COMMON), DataError, "not finite; the first is nan at row 7"),
        (lambda: fit(MODEL, (X[:0], Y[:0]), **COMMON), DataError, "no rows"),
        (lambda: fit(MODEL, (X, np.array(["a"] * 101)), **COMMON), DataError, "expected numbers"),
        (lambda: fit(MODEL, (X, Y, -np.ones(101)), **COMMON), DataError, "negative weight"),
        (lambda: fit(MODEL, 5, **COMMON), DataError, "the data is a int"),
        (lambda: fit(MODEL, iter([(X, Y)]), **COMMON), DataError, "iterator"),
        (lambda: fit(MODEL, (X, Y), epoch=3, **COMMON), ConfigError, "did you mean 'epochs'"),
        (lambda: fit(MODEL, (X, Y), epochs=-1, **COMMON), ConfigError, "expected a whole number >= 0"),
        (lambda: fit(MODEL, (X, Y), loss="mze", display="none"), ConfigError, "did you mean"),
        (lambda: fit(MODEL, (X, Y), optimizer="adm", **COMMON), ConfigError, "did you mean"),
        (lambda: fit(object(), (X, Y), **COMMON), ConfigError, "expected a Layer"),
        (lambda: fit(MODEL, (X, Y), validation=1.5, **COMMON), ConfigError, "between 0 and 1"),
        (lambda: fit(MODEL, (X, Y), monitor="val_los", validation=0.2, epochs=1, **COMMON), ConfigError, "val_loss"),
        (lambda: FitOptions(batch_size=10, accumulate=3), ConfigError, "multiple"),
        (lambda: fit(MODEL, X, Y), ConfigError, "the loss is None; expected a name"),
        (lambda: fit(MODEL, X, Y, loss=MSE), ConfigError, r"the loss is the class MSE(.|\n)*MSE\(\)"),
        (lambda: fit(MODEL, X, Y, metrics="accuracy", **COMMON), ConfigError, r"metrics=\['accuracy'\]"),
        (lambda: fit(MODEL, X, Y, optimizer=adam, **COMMON), ConfigError, r"adam\(1e-3\)"),
        (lambda: fit(MODEL, X, Y, patience=3, **COMMON), ConfigError, "no validation data to monitor"),
        (lambda: fit(MODEL, X, Y, validation=1, **COMMON), ConfigError, "between 0 and 1"),
        (lambda: fit(MODEL, np.ma.masked_greater(X, 0), Y, **COMMON), DataError, "values are masked"),
        (lambda: fit(MODEL, np.float64(X) * 1e300, Y, **COMMON), DataError, "not finite"),
        (lambda: fit(MODEL, (X, Y, np.array(["a"] * 101)), **COMMON), DataError, "weight has dtype"),
    ],
)
def test_bad_input_gets_one_clear_message(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_orders():
    order = pad_order(np.array([3, 1, 2]), 2)
    assert order[:4].tolist() == [3, 1, 2, ~3]
    assert (order[3:] < 0).all()
    for n in (1, 7, 8, 9, 100, 12345):
        assert n <= capacity(n) <= max(8, n * 1.13)


def test_a_larger_batch_is_refused():
    with pytest.raises(DataError, match="batch 1 has 5 rows"):
        list(BatchSource([(X[:4], Y[:4]), (X[:5], Y[:5])]).pieces(0, 0))


def test_prefetch_passes_errors_and_stops():
    def items():
        yield 1
        raise DataError("broken")

    found = prefetch(items())
    assert next(found) == 1
    with pytest.raises(DataError, match="broken"):
        next(found)


@pytest.mark.parametrize("display", ["plain", "live", "none"])
def test_what_is_shown(display, capfd):
    fit(
        MODEL,
        (X, Y),
        validation=(X[:40], Y[:40]),
        metrics=["accuracy"],
        epochs=3,
        batch_size=16,
        display=display,
        loss="binary_cross_entropy",
    )
    shown = capfd.readouterr().err
    assert ("epoch 1/3" in shown) == (display == "plain")
    assert ("epoch 3/3" in shown) == (display != "none")
    assert (shown == "") == (display == "none")
    assert all(len(line) <= 110 for line in shown.splitlines())


@pytest.mark.slow
def test_two_hundred_fits_do_not_grow_memory():
    import gc

    import psutil

    process, sizes = psutil.Process(), []
    for number in range(200):
        fit(MODEL, (X, Y), epochs=2, seed=number, learning_rate=0.001 * (number + 1), **COMMON)
        if number % 50 == 49:
            gc.collect()
            sizes.append(process.memory_info().rss / 2**20)
    assert sizes[-1] - sizes[0] < 20, sizes
