"""What ``fit`` returned, saved and loaded; ``fit(model, x, y)``; the names of other libraries."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import danlu
from danlu import nn, optim
from danlu.artifact import load_artifact
from danlu.engine import Fitted
from danlu.errors import ArtifactError, ConfigError
from danlu.nn.losses import METRICS, Huber, Loss, get_loss, get_metric
from danlu.pipeline import load_model

X = np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int32)
NET = nn.Sequential((nn.Dense(4, "relu"), nn.BatchNorm(), nn.Dense(2)))


def own_metric(outputs: Any, targets: Any) -> Any:
    return jnp.square(outputs[:, 0] - targets)


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return danlu.fit(
        NET, X, Y, loss="cross_entropy", metrics=["acc"], validation=(X, Y), epochs=2, batch_size=24, display="none"
    )


def test_a_loaded_model_gives_the_same_bits(fitted: Fitted, tmp_path: Path) -> None:
    loaded = danlu.load(fitted.save(tmp_path / "model"))
    assert loaded.model == NET
    np.testing.assert_array_equal(loaded.predict(X), fitted.predict(X))
    assert loaded.evaluate((X, Y)) == fitted.evaluate((X, Y))
    assert set(loaded.evaluate((X, Y))) == {"loss", "acc"}
    assert (loaded.history, loaded.best_epoch, loaded.stopped_because) == (fitted.history, fitted.best_epoch, None)
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["model.json", "weights.safetensors"]
    again = danlu.load(loaded.save(tmp_path / "again"))
    np.testing.assert_array_equal(again.predict(X), fitted.predict(X))
    with pytest.raises(ArtifactError, match="cannot read files"):
        load_model(tmp_path / "model")


def measured_by(fitted: Fitted, **changes: Any) -> Any:
    program: Any = fitted.program
    return dataclasses.replace(program, objective=program.objective.replace(**changes))


def test_what_is_a_function_is_not_saved(fitted: Fitted, tmp_path: Path) -> None:
    measured = dataclasses.replace(fitted, program=measured_by(fitted, loss=own_metric))
    loaded = danlu.load(measured.save(tmp_path / "measured"))
    np.testing.assert_array_equal(loaded.predict(X), fitted.predict(X))
    with pytest.raises(ConfigError, match="measured by own_metric, a function"):
        loaded.evaluate((X, Y))
    functions = nn.lift(lambda key, shape: ({}, {}, shape), lambda params, state, x, *, train, key: (x, state))
    with pytest.raises(ArtifactError, match="the model cannot be saved: a blueprint holds a function"):
        dataclasses.replace(fitted, program=dataclasses.replace(fitted.program, model=functions)).save(tmp_path / "f")


@pytest.mark.parametrize("damage", [{"extra": {}}, {"extra": {"metrics": 3}}, {"model": Huber()}])
def test_a_document_that_is_not_right_is_one_message(fitted: Fitted, tmp_path: Path, damage: dict[str, Any]) -> None:
    whole = load_artifact(fitted.save(tmp_path / "model"))
    with pytest.raises(ArtifactError, match="the saved model is"):
        Fitted.of(dataclasses.replace(whole, **damage))


def test_settings_of_a_loss_are_kept(fitted: Fitted, tmp_path: Path) -> None:
    program: Any = measured_by(fitted, loss=Huber(2.5), metrics=())
    loaded: Any = danlu.load(dataclasses.replace(fitted, program=program).save(tmp_path / "huber"))
    assert loaded.program.objective.loss == Huber(2.5)


class BatchSpread(Loss):
    """A loss of the batch as a whole, of the user's own."""

    def __call__(self, outputs: Any, targets: Any) -> Any:
        return jnp.var(outputs[:, 0] - targets)


def test_a_loss_of_the_batch_is_one_after_loading(tmp_path: Path) -> None:
    fitted = danlu.fit(nn.Dense(1), X, X[:, 0], loss=BatchSpread(), epochs=1, batch_size=8, display="none")
    loaded = danlu.load(fitted.save(tmp_path / "spread"))
    assert loaded.evaluate((X, X[:, 0])) == fitted.evaluate((X, X[:, 0]))


def test_targets_are_given_once(fitted: Fitted) -> None:
    with pytest.raises(ConfigError, match="the data is a tuple of 2, and targets are also given separately"):
        danlu.fit(NET, (X, Y), Y, loss="ce")
    with pytest.raises(danlu.errors.DataError, match=r"fit\(model, x, y\)"):
        danlu.fit(NET, X, loss="ce")


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("mean_squared_error", "mse"),
        ("MeanSquaredError", "mse"),
        ("MAE", "mae"),
        ("mean_absolute_error", "mae"),
        ("cross_entropy", "categorical_cross_entropy"),
        ("CrossEntropyLoss", "categorical_cross_entropy"),
        ("sparse_categorical_crossentropy", "categorical_cross_entropy"),
        ("categorical_crossentropy", "categorical_cross_entropy"),
        ("binary_crossentropy", "binary_cross_entropy"),
        ("BCEWithLogitsLoss", "binary_cross_entropy"),
        ("smooth_l1_loss", "huber"),
    ],
)
def test_losses_by_the_names_of_others(name: str, own: str) -> None:
    assert get_loss(name) == get_loss(own)


def test_metrics_optimizers_and_activations_by_the_names_of_others() -> None:
    for name, own in (
        ("accuracy_score", "accuracy"),
        ("mae", "absolute_error"),
        ("MSE", "squared_error"),
        ("cross_entropy", "log_loss"),
    ):
        assert get_metric(name) is METRICS[own]
    assert optim.get_optimizer("Adam").update == optim.adam().update
    assert optim.get_optimizer("SGD").update == optim.sgd().update
    assert nn.Dense(2, "ReLU") == nn.Dense(2, "relu")
    assert nn.Dense(2, "swish") == nn.Dense(2, "silu")
    assert nn.Dense(2, "linear") == nn.Dense(2)


def test_what_means_something_else_is_answered() -> None:
    for ask, said in (
        (lambda: get_metric("AUC"), "roc_auc_score"),
        (lambda: get_metric("F1"), "f1_score"),
        (lambda: get_metric("rmse"), "squared_error"),
        (lambda: get_metric("r2"), "r2_score"),
        (lambda: get_loss("nll"), "without the log_softmax"),
        (lambda: get_loss("focal"), "binary_focal"),
        (lambda: get_loss("quantile"), "Pinball"),
        (lambda: optim.get_optimizer("lion"), "optax"),
        (lambda: optim.get_optimizer("adam", lr=0.1), "learning_rate"),
        (lambda: danlu.fit(NET, X, Y, loss="ce", verbose=0), "display='none'"),
        (lambda: danlu.fit(NET, X, Y, loss="ce", validation_split=0.2), "validation=0.2"),
        (lambda: danlu.fit(NET, X, Y, loss="ce", lr=0.2), "learning_rate"),
        (lambda: danlu.fit(NET, X, Y, loss="ce", sample_weight=Y), r"\(x, y, weights\)"),
    ):
        with pytest.raises(ConfigError, match=f"(?s)unknown.*Hint: .*{said}"):
            ask()


@pytest.mark.parametrize(("last", "loss"), [("sigmoid", "bce"), ("softmax", "ce"), ("log_softmax", "ce")])
def test_probabilities_are_not_taken_for_logits(last: str, loss: str) -> None:
    for model in (nn.Sequential((nn.Dense(2), nn.Dense(2, last))), nn.Sequential((nn.Dense(2), nn.Activation(last)))):
        with pytest.raises(ConfigError, match=f"the network ends in {last}, and .* takes logits"):
            danlu.fit(model, X, Y, loss=loss, display="none")
