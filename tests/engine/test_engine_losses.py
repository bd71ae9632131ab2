"""A loss or metric of the batch, objectives, the direction of what is monitored, and targets that do not fit their loss."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu import nn, optim
from danlu.engine import (
    EarlyStopping,
    ModelCheckpoint,
    Objective,
    ReduceLROnPlateau,
    fit,
    fit_folds,
    fit_population,
)
from danlu.errors import ConfigError, DataError
from danlu.nn import losses

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 2)).astype(np.float32)
Y = (X @ np.float32([1, -2]) + 3).astype(np.float32)
MODEL = nn.Dense(1)
START = ({"kernel": jnp.full((2, 1), 0.5), "bias": jnp.zeros(1)}, {})
COMMON: dict[str, Any] = {"display": "none", "epochs": 1, "batch_size": 16}


def spread(outputs: Any, targets: Any) -> Any:
    return jnp.var(outputs - targets[:, None])


def spread_weighed(outputs: Any, targets: Any, weights: Any) -> Any:
    error = outputs[:, 0] - targets
    middle = jnp.sum(weights * error) / jnp.sum(weights)
    return jnp.sum(weights * jnp.square(error - middle)) / jnp.sum(weights)


def by_hand(x: Any, y: Any, kernel: Any, rate: float) -> Any:
    """One step of gradient descent on the variance of the error, in NumPy."""
    error = (x @ kernel)[:, 0] - y
    return kernel - rate * 2 * ((x - x.mean(0)).T @ (error - error.mean()))[:, None] / len(x)


def test_a_scalar_is_the_loss_of_its_batch_and_the_rest_that_fills_none_is_left_out():
    fitted = fit(
        MODEL,
        (X, Y),
        loss=spread,
        optimizer=optim.sgd(0.1),
        initial=START,
        sampler=lambda e, r: np.arange(50),
        **COMMON,
    )
    kernel, values = np.full((2, 1), 0.5), []
    for start in (0, 16, 32):
        x, y = X[start : start + 16].astype(np.float64), Y[start : start + 16]
        values.append(np.var((x @ kernel)[:, 0] - y))
        kernel = by_hand(x, y, kernel, 0.1)
    np.testing.assert_allclose(fitted.params["kernel"], kernel, rtol=1e-5)
    assert fitted.history[0]["loss"] == pytest.approx(np.mean(values), rel=1e-5)
    assert fitted.history[0]["step"] == 3


def test_with_weights_the_rest_counts_and_weights_are_copies():
    weight = np.arange(50) % 3 + 1
    order = np.repeat(np.arange(50), weight)
    kwargs = COMMON | {"batch_size": 50, "loss": spread_weighed, "optimizer": optim.sgd(0.1), "initial": START}
    one = fit(MODEL, (X, Y, weight), **kwargs)
    many = fit(MODEL, (X[order], Y[order]), **kwargs | {"loss": spread, "batch_size": len(order)})
    np.testing.assert_allclose(one.params["kernel"], many.params["kernel"], rtol=1e-4)
    ragged = fit(MODEL, (X, Y), **kwargs | {"batch_size": 16})
    assert ragged.history[0]["step"] == 4


def test_it_is_judged_in_batches_that_nothing_fills_up():
    fitted = fit(MODEL, (X, Y), loss=spread, metrics=[spread_weighed], validation=(X, Y), initial=START, **COMMON)
    params = fitted.params
    error = (X @ np.asarray(params["kernel"]) + np.asarray(params["bias"]))[:, 0] - Y
    parts = np.array_split(error[np.random.Generator(np.random.Philox(np.random.SeedSequence([0]))).permutation(50)], 4)
    expected = sum(np.var(part) * len(part) for part in parts) / 50
    assert fitted.history[0]["val_loss"] == pytest.approx(expected, rel=1e-4)
    assert fitted.history[0]["val_spread_weighed"] == pytest.approx(expected, rel=1e-4)
    assert fitted.evaluate((X, Y))["loss"] == pytest.approx(expected, rel=1e-4)
    batches = [(X[:16], Y[:16]), (X[16:21], Y[16:21])]
    expected = (16 * np.var(error[:16]) + 5 * np.var(error[16:21])) / 21
    assert fitted.evaluate(batches)["loss"] == pytest.approx(expected, rel=1e-4)


def test_a_population_learns_and_judges_as_its_members_do():
    rows = [np.arange(0, 50, 2), np.arange(20)]
    held = [np.arange(1, 50, 2), np.arange(20, 50)]
    kwargs = COMMON | {"loss": spread, "epochs": 2}
    members = fit_population(MODEL, (X, Y), seeds=[3, 4], train_rows=rows, validation_rows=held, **kwargs)
    for member, seed, own, other in zip(members, (3, 4), rows, held, strict=True):
        alone = fit(MODEL, (X[own], Y[own]), seed=seed, validation=(X[other], Y[other]), **kwargs)
        assert member.history[-1]["val_loss"] == pytest.approx(alone.history[-1]["val_loss"], rel=1e-3)
        assert member.history[-1]["step"] == alone.history[-1]["step"] == 2
    folds = fit_folds(MODEL, (X, Y), loss=spread, folds=3, **COMMON)
    assert all(np.isfinite(fold.history[-1]["val_loss"]) for fold in folds)


def test_fewer_rows_than_a_batch_are_one_batch():
    fitted = fit(MODEL, (X[:9], Y[:9]), loss=spread, initial=START, **COMMON)
    assert fitted.program.batch_size == 9
    assert fitted.history[0]["loss"] == pytest.approx(np.var(X[:9] @ np.float32([0.5, 0.5]) - Y[:9]), rel=1e-5)


def nearest(outputs: Any, targets: Any) -> Any:
    """InfoNCE: of each row's code, which of the batch's codes is its own."""
    return -jnp.mean(jnp.diag(jax.nn.log_softmax(outputs @ targets.T)))


def test_info_nce_learns():
    views = np.tanh(X @ RNG.normal(size=(2, 4))).astype(np.float32)
    fitted = fit(nn.Dense(4), (X, views), loss=nearest, learning_rate=0.1, **COMMON | {"epochs": 30})
    assert fitted.history[0]["loss"] > 2
    assert fitted.history[-1]["loss"] < 0.8 * fitted.history[0]["loss"]


class Denoise(Objective):
    """Needs the parameters, the state and the key; a value a row."""

    model: nn.Layer
    whole: bool = False

    directions: ClassVar = {"error": "min"}

    def __call__(self, params, state, batch, key, *, train):
        y, state = self.model.apply(params, state, batch["x"], train=train, key=key)
        error = jnp.square(y[:, 0] - batch["y"])
        shrink = 0.01 * sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))
        if self.whole:
            weight = batch["weight"]
            return jnp.sum(weight * error) / jnp.sum(weight) + shrink, state, {"error": error}
        return error + shrink, state, {"error": error}


def test_an_objective_sees_parameters_state_and_key():
    model = nn.Sequential((nn.BatchNorm(), nn.Dense(1)))
    kwargs = COMMON | {"validation": (X, Y), "monitor": "val_error"}
    rows = fit(model, (X, Y), loss=Denoise(model), **kwargs)
    whole = fit(model, (X, Y), loss=Denoise(model, whole=True), **kwargs)
    for name in ("loss", "error", "val_loss", "val_error"):
        assert rows.history[0][name] == pytest.approx(whole.history[0][name], rel=1e-4), name
    assert float(jnp.abs(rows.state[0]["mean"]).max()) > 0
    np.testing.assert_allclose(rows.params[1]["kernel"], whole.params[1]["kernel"], rtol=1e-4)


def brier_score(outputs: Any, targets: Any) -> Any:
    return jnp.square(jax.nn.sigmoid(outputs[:, 0]) - targets)


def hits(outputs: Any, targets: Any) -> Any:
    return ((outputs[:, 0] > 0) == (targets > 0.5)).astype(jnp.float32)


hits.direction = "max"  # type: ignore[attr-defined]
LABELS = (Y > 3).astype(np.float32)
BINARY = COMMON | {"loss": "binary_cross_entropy", "validation": (X, LABELS), "epochs": 4, "learning_rate": 0.3}


@pytest.mark.parametrize(
    ("metric", "monitor", "mode", "better"),
    [
        (brier_score, "val_brier_score", "min", min),
        (brier_score, "val_brier_score", "max", max),
        (hits, "val_hits", "auto", max),
        ("accuracy", "val_accuracy", "auto", max),
        ("log_loss", "val_log_loss", "auto", min),
        ("accuracy", "val_loss", "auto", min),
    ],
)
def test_the_best_epoch_goes_by_the_measures_direction(metric, monitor, mode, better):
    for stop in ({"callbacks": [EarlyStopping(monitor, mode=mode, patience=9)]}, {"monitor": monitor, "mode": mode}):
        fitted = fit(MODEL, (X, LABELS), metrics=[metric], **BINARY, **stop)
        values = [row[monitor] for row in fitted.history]
        assert values[fitted.best_epoch] == better(values)


def test_callbacks_go_by_it_too(tmp_path):
    saved, slow = (
        ModelCheckpoint(tmp_path / "w", monitor="val_hits", save_best_only=True),
        ReduceLROnPlateau("val_hits"),
    )
    fitted = fit(MODEL, (X, LABELS), metrics=[hits], callbacks=[saved, slow], **BINARY)
    assert saved.sign == slow.sign == -1
    assert -saved.best == max(row["val_hits"] for row in fitted.history)


@pytest.mark.parametrize("measure", [*losses.METRICS.values(), losses.pixel_accuracy, losses.centre_error])
def test_every_metric_declares_its_direction(measure):
    assert measure.direction == ("max" if "accuracy" in measure.__name__ else "min")


def test_every_loss_is_to_be_small():
    assert {loss.direction for loss in losses.LOSSES.values()} == {"min"}


def no_weights() -> Any:
    return fit(MODEL, (X, Y, np.arange(50) + 1), loss=spread, **COMMON)


def monitored(**settings: Any) -> Any:
    return lambda: fit(MODEL, (X, LABELS), metrics=[brier_score], **BINARY, **settings)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (no_weights, "takes no weights, but the rows' weights differ"),
        (lambda: fit(MODEL, (X, Y), loss=spread, accumulate=2, **COMMON), "accumulate=2 would split"),
        (lambda: fit(MODEL, (X, Y), loss=lambda o, t: (o - t[:, None]) ** 2, **COMMON), r"returns shape \(16, 1\)"),
        (
            lambda: fit(MODEL, (X, Y), loss=lambda o, t, w: w * jnp.square(o[:, 0] - t), **COMMON),
            "weighted again afterwards",
        ),
        (lambda: fit(MODEL, (X, Y), loss=lambda a, b, c, d: 0.0, **COMMON), r"takes \(a, b, c, d\)"),
        (lambda: fit(MODEL, (X, Y), loss="mse", metrics=[lambda o, t: o - t[:, None]], **COMMON), r"metric <lambda>"),
        (lambda: fit(MODEL, (X, Y), loss="mse", metrics=["squared_error"] * 2, **COMMON), "name of two metrics"),
        (lambda: fit(MODEL, (X, Y), loss=Denoise(MODEL), metrics=["squared_error"], **COMMON), "objective"),
        (monitored(monitor="val_brier_score"), "smaller or larger values of it are better is not known"),
        (monitored(monitor="val_brier_scor"), "val_brier_score"),
        (lambda: fit(MODEL, (X, Y), loss="mse", monitor="val_loss", **COMMON), "no validation data"),
        (monitored(callbacks=[ModelCheckpoint("w", monitor="val_brier_score", save_best_only=True)]), "not known"),
        (monitored(monitor="val_brier_score", mode="max", optimizer=None), "ReduceOnPlateau has mode='min'"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_training(call, message, monkeypatch):
    if "ReduceOnPlateau" in message:
        kwargs = {key: value for key, value in BINARY.items() if key != "learning_rate"}
        rate = optim.ReduceOnPlateau(0.1)
        call = lambda: fit(  # noqa: E731
            MODEL, (X, LABELS), metrics=[hits], monitor="val_hits", optimizer=optim.sgd(rate), **kwargs
        )
    with pytest.raises(ConfigError, match=message):
        call()


@pytest.mark.parametrize("loss", [lambda o, t: jnp.mean((o - t) ** 2), lambda o, t: jnp.abs(t - o).mean(1)])
def test_a_row_must_not_meet_every_other_rows_target(loss):
    with jax.numpy_rank_promotion("allow"), pytest.raises(DataError, match=r"broadcasts to \(batch, batch\)"):
        fit(MODEL, (X, Y), loss=loss, **COMMON)


CODES = np.arange(50) % 3


@pytest.mark.parametrize(
    ("loss", "outputs", "targets", "message", "hint"),
    [
        ("binary_cross_entropy", 1, 2 * LABELS - 1, "from −1 to 1", r"targets \+ 1"),
        ("binary_focal", 1, LABELS + 1, "from 1 to 2", "targets - 1"),
        ("binary_cross_entropy", 1, (255 * LABELS).astype(np.uint8), "from 0 to 255", "targets / 255"),
        ("binary_cross_entropy", 1, Y, "expected 0 and 1", "mse"),
        ("categorical_cross_entropy", 3, CODES + 1, "from 1 to 3 for 3 outputs; expected 0 to 2", "targets - 1"),
        ("categorical_focal", 3, CODES - 1, "from −1 to 1 for 3", "number the classes from 0"),
        ("categorical_cross_entropy", 3, np.arange(50) % 5, "for 3 outputs", "needs 5 outputs"),
        ("categorical_cross_entropy", 3, CODES.astype(np.float32), "whole numbers", "int32"),
        ("categorical_cross_entropy", 3, np.ones((50, 3)), "add up to 3", "binary_cross_entropy"),
        ("categorical_cross_entropy", 3, np.eye(3)[CODES] * 2 - 1 / 3, "negative", "binary_cross_entropy"),
        ("categorical_cross_entropy", 3, np.eye(4)[CODES], r"targets of shape \(16, 4\)", ""),
        ("mse", 1, np.stack([Y, Y], 1), r"targets of shape \(16, 2\)", ""),
        ("mse", 1, np.where(Y > 5, np.nan, Y), "not finite", "missing"),
    ],
)
def test_targets_that_a_loss_is_not_defined_for_are_refused(loss, outputs, targets, message, hint):
    with pytest.raises(DataError, match=message) as caught:
        fit(nn.Dense(outputs), (X, targets), loss=loss, **COMMON)
    assert hint == "" or __import__("re").search(hint, str(caught.value).split("Hint:")[1])


def test_validation_data_batches_and_later_data_are_checked_too():
    good, bad = (X, LABELS), (X, 2 * LABELS - 1)
    kwargs = COMMON | {"loss": "binary_cross_entropy"}
    fitted = fit(MODEL, good, **kwargs)
    for call in (
        lambda: fitted.evaluate(bad),
        lambda: fitted.evaluate([good, bad]),
        lambda: fit(MODEL, good, validation=bad, **kwargs),
        lambda: fit(MODEL, [good, bad], **kwargs),
        lambda: fit_population(MODEL, good, validation=bad, **kwargs),
        lambda: fit(MODEL, (X, CODES - 1), metrics=["accuracy"], **kwargs | {"loss": lambda o, t: jnp.square(o[:, 0])}),
    ):
        with pytest.raises(DataError, match="from −1 to 1"):
            call()


def test_what_is_right_passes():
    for loss, outputs, targets in (
        ("categorical_cross_entropy", 3, CODES),
        ("categorical_cross_entropy", 3, np.eye(3)[CODES]),
        ("categorical_cross_entropy", 3, np.eye(3, dtype=int)[CODES]),
        ("binary_cross_entropy", 1, LABELS * 0.5),
        ("binary_cross_entropy", 1, LABELS > 0),
        ("binary_cross_entropy", 2, np.stack([LABELS, 1 - LABELS], 1)),
    ):
        check = losses.get_loss(loss).check_targets
        check(jax.ShapeDtypeStruct((16, outputs), jnp.float32), np.asarray(targets))
    tokens = losses.TokenCrossEntropy().check_targets
    tokens(jax.ShapeDtypeStruct((2, 3, 4), jnp.float32), np.array([[0, 3, -1], [1, 2, -1]]))
    with pytest.raises(DataError, match="or −1 for targets that are ignored"):
        tokens(jax.ShapeDtypeStruct((2, 3, 4), jnp.float32), np.array([[0, 4, -1]]))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"loss": lambda o, t: (jnp.mean(o), 1.0)}, "the loss returns a tuple; expected one array"),
        ({"loss": lambda o, t: None}, "the loss returns a NoneType"),
        ({"loss": lambda o, t: {"loss": jnp.mean(o)}}, "the loss returns a dict"),
        ({"loss": lambda o, t: (o[:, 0] > t).sum()}, "the loss returns numbers of type int32, which have no gradient"),
        ({"loss": lambda o, t: o[:, 0] > t}, "the loss returns numbers of type bool"),
        ({"loss": "mse", "metrics": [lambda o, t: [jnp.mean(o)]]}, "the metric .* returns a list"),
    ],
)
def test_a_measure_that_returns_no_array_or_a_loss_without_a_gradient_is_one_message(given: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fit(MODEL, (X, Y), **given, **COMMON)
