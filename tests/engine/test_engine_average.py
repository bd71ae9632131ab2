"""Averages of the weights and snapshots: what is refused, how they go with members, devices and callbacks. Formulas: ``danlu verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu import engine, nn, optim
from danlu.engine import Alternate, Average, FitOptions, Objective, Program, TrainState, load_checkpoint
from danlu.errors import ConfigError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 2)).astype(np.float32)
Y = X @ np.float32([1, -1])
SETTINGS: dict[str, Any] = {
    "loss": "mse",
    "optimizer": optim.sgd(0.1),
    "epochs": 4,
    "batch_size": 16,
    "display": "none",
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"average": "swa", "epochs": 4}, "of 4 epochs 1 would be in the mean"),
        ({"average": "swa", "average_start": 10}, "0 would be in the mean"),
        ({"average_decay": 0.9}, "it is for average='ema'"),
        ({"average": "ema", "average_start": 1}, "it is for average='swa'"),
        ({"average": "ema", "average_decay": 1.0}, "average_decay"),
        ({"average": "mean"}, "mean"),
        ({"snapshots": 3}, "epochs=9, or 12"),
        ({"snapshots": 5, "patience": 2}, "all cycles"),
        ({"snapshots": 5, "average": "swa"}, "expected one of them"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        FitOptions(**{"epochs": 10, **changes})
    assert message in str(caught.value)


def test_members_that_stop_and_devices_have_the_average_of_one_training() -> None:
    """Members as if each were alone, and two devices as one: the same steps, the same average."""
    how: dict[str, Any] = {k: v for k, v in SETTINGS.items() if k != "optimizer"}
    how |= {"average": "ema", "average_decay": 0.5, "validation": (X, Y)}
    alone, shared = (
        engine.fit(nn.Dense(1), (X, Y), seed=1, optimizer=optim.sgd(0.1), devices=n, **how) for n in (1, 2)
    )
    optimizers = [optim.sgd(0.0), optim.sgd(0.1)]
    members = engine.fit_population(nn.Dense(1), (X, Y), seeds=[0, 1], optimizers=optimizers, patience=1, **how)
    for found in (shared, members[1]):
        np.testing.assert_allclose(found.params["kernel"], alone.params["kernel"], rtol=1e-5)
        assert found.history[-1]["val_loss"] == pytest.approx(alone.history[-1]["val_loss"], rel=1e-5)


def test_what_is_saved_after_an_epoch_is_what_was_judged(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    fitted = engine.fit(
        nn.Dense(1), (X, Y), callbacks=[engine.ModelCheckpoint(path)], average="swa", average_start=0, **SETTINGS
    )
    saved, _ = load_checkpoint(path, {"params": fitted.params, "state": fitted.state})
    np.testing.assert_array_equal(saved["params"]["kernel"], fitted.params["kernel"])
    assert np.abs(fitted.params["kernel"] - fitted.train_state.params["kernel"]).max() > 1e-3


def test_an_average_of_two_programs_in_turn_takes_in_what_both_have_learnt() -> None:
    class Down(Objective):
        def __call__(self, params: Any, state: Any, batch: Any, key: Any, *, train: bool) -> Any:
            return params["x"] ** 2 + params["y"] ** 2, state, {}

    down = Program(nn.Dense(1), Down(), optim.sgd(0.25).update, batch_size=1)
    params, kept = {"x": jnp.ones(()), "y": jnp.ones(())}, optim.sgd(0.25)
    state = TrainState.start(
        params, (kept.init(params), kept.init(params)), average=Average.of("ema", params, {}, decay=0.5)
    )
    fitted = engine.train(
        Alternate(down, down, ("x", "y")), (np.zeros((1, 1)), np.zeros(1)), state, epochs=2, display="none"
    )
    expected = (0.5 * 0.5 + 0.25) / 1.5
    assert jax.tree.leaves(fitted.params) == pytest.approx([expected, expected])
    with pytest.raises(ConfigError, match=r"Average\.of"):
        engine.train(down, (np.zeros((1, 1)), np.zeros(1)), state, average="ema")


def test_snapshots_of_what_is_no_single_output_are_refused() -> None:
    two = nn.Parallel((nn.Dense(1), nn.Dense(1)), merge="dict", outputs=("a", "b"))
    with pytest.raises(ConfigError, match="one array"):
        engine.fit(two, (X, {"a": Y, "b": Y}), snapshots=2, **{**SETTINGS, "loss": {"a": "mse", "b": "mse"}})


def test_a_training_that_is_stopped_early_has_the_snapshots_of_the_cycles_that_ended() -> None:
    stop = engine.LambdaCallback(on_epoch_end=lambda epoch, logs: None)
    stop.on_epoch_end = lambda epoch, logs: stop.training.stop() if epoch == 2 else None  # type: ignore[method-assign]
    fitted = engine.fit(nn.Dense(1), (X, Y), snapshots=4, callbacks=[stop], **SETTINGS)
    assert fitted.predict(X).shape == (32, 3, 1)
    assert fitted.model == nn.Ensemble(nn.Dense(1), 3)
