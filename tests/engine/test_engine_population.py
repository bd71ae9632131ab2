"""A population is its members trained alone; folds judge each row once."""

import json

import jax
import numpy as np
import pytest

from danlu import nn, optim
from danlu.engine import (
    EarlyStopping,
    JSONLogger,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    fit,
    fit_folds,
    fit_population,
)
from danlu.engine.members import fit_members
from danlu.errors import ConfigError, DataError, TrainingError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int32)
COMMON = {"loss": "binary_cross_entropy", "display": "none", "batch_size": 8, "epochs": 4}


def test_members_equal_single_fits():
    together = fit_population(
        nn.Dense(1), (X, Y), seeds=[0, 1], optimizers=[optim.adam(0.1), optim.adam(0.01)], validation=(X, Y), **COMMON
    )
    for member, seed, rate in zip(together, (0, 1), (0.1, 0.01), strict=True):
        alone = fit(nn.Dense(1), (X, Y), seed=seed, optimizer=optim.adam(rate), validation=(X, Y), **COMMON)
        for a, b in zip(jax.tree.leaves(member.params), jax.tree.leaves(alone.params), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
        assert member.best_epoch == alone.best_epoch
        np.testing.assert_allclose(
            [row["val_loss"] for row in member.history], [row["val_loss"] for row in alone.history], rtol=1e-4
        )


def test_folds_equal_training_without_the_fold():
    folds = fit_folds(nn.Dense(1), (X, Y), folds=3, **COMMON)
    from sklearn.model_selection import KFold

    train, held_out = list(KFold(3, shuffle=True, random_state=0).split(X))[1]
    alone = fit(
        nn.Dense(1),
        (X, Y),
        seed=1,
        sampler=lambda epoch, rng: rng.permutation(train),
        validation=(X[held_out], Y[held_out]),
        **COMMON,
    )
    for a, b in zip(jax.tree.leaves(folds[1].params), jax.tree.leaves(alone.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    assert folds[1].history[-1]["val_loss"] == pytest.approx(alone.history[-1]["val_loss"], rel=1e-4)


T = X @ np.array([1.0, -2.0, 0.5], np.float32)
VALUES = {"loss": "mse", "display": "none", "batch_size": 8, "validation": (X[:20], T[:20])}


def test_one_member_that_diverges_leaves_the_others(tmp_path):
    log = tmp_path / "log.jsonl"
    best = ModelCheckpoint(tmp_path / "best.safetensors", save_best_only=True)
    members = fit_population(
        nn.Dense(1),
        (X, T),
        seeds=[0, 1],
        optimizers=(optim.sgd(1e30), optim.sgd(0.1)),
        epochs=5,
        callbacks=[JSONLogger(log), best],
        **VALUES,
    )
    assert not np.isfinite(members[0].history[-1]["loss"])
    assert members[0].best_epoch == -1
    kept = members[1]
    assert kept.evaluate(VALUES["validation"])["loss"] == pytest.approx(
        kept.history[kept.best_epoch]["val_loss"], rel=1e-4
    )
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert all(np.isfinite(row["val_loss"]) for row in rows)
    assert (tmp_path / "best.safetensors").exists()


def test_members_stop_and_keep_their_last_weights_as_alone():
    rates = [0.3, 0.1, 0.01]
    settings = {**VALUES, "epochs": 25, "restore_best": False}
    stopping = [EarlyStopping(patience=2, min_delta=0.02, restore_best_weights=False)]
    members = fit_population(
        nn.Dense(1), (X, T), seeds=[0, 1, 2], optimizers=[optim.adam(r) for r in rates], callbacks=stopping, **settings
    )
    assert len({len(member.history) for member in members}) > 1
    for seed, (member, rate) in enumerate(zip(members, rates, strict=True)):
        alone = fit(nn.Dense(1), (X, T), seed=seed, optimizer=optim.adam(rate), callbacks=stopping, **settings)
        assert [row["epoch"] for row in member.history] == [row["epoch"] for row in alone.history]
        assert member.stopped_because == alone.stopped_because
        for a, b in zip(jax.tree.leaves(member.params), jax.tree.leaves(alone.params), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
        assert member.history[-1]["learning_rate"] == pytest.approx(rate)


def test_a_scheduler_moves_each_members_own_rate():
    halve = LearningRateScheduler(lambda epoch, rate: rate * 0.5)
    members = fit_population(
        nn.Dense(1),
        (X, T),
        seeds=[0, 1],
        optimizers=[optim.sgd(0.1), optim.sgd(0.01)],
        epochs=2,
        callbacks=[halve],
        **VALUES,
    )
    rates = [member.history[-1]["learning_rate"] for member in members]
    np.testing.assert_allclose(rates, [0.025, 0.0025], rtol=1e-5)
    with pytest.raises(ConfigError, match="one rate, but each member of a population has its own"):
        fit_population(nn.Dense(1), (X, T), seeds=[0, 1], callbacks=[ReduceLROnPlateau()], **VALUES)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epoch": 3}, "unknown option of fit_population"),
        ({"seed": 3}, "expected seeds, one for each"),
        ({"seeds": 3}, "seeds is 3; expected a sequence"),
        ({"seeds": ["a"]}, "expected a sequence of whole numbers"),
        ({"seeds": [-1, 2]}, "whole numbers >= 0"),
        ({"validation_rows": [[0], [50]]}, "row 50; the data has 50 rows"),
        ({"validation_rows": [[0], [-1]]}, "negative row number"),
        ({"train_rows": [[0], []]}, "an empty set"),
        ({"train_rows": [[0], [1]], "samplers": [len, len]}, "both train_rows and samplers"),
        ({"validation": (X[:9], Y[:9]), "validation_rows": [[0], [9]]}, "row 9; the data has 9 rows"),
        ({"initial": [({}, {})]}, "1 pairs of variables for 2 seeds"),
    ],
)
def test_what_a_population_cannot_use_is_refused(changes, said):
    with pytest.raises((ConfigError, DataError), match=said):
        fit_population(nn.Dense(1), (X, Y), **{**COMMON, "seeds": [0, 1], **changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"folds": 2.5}, "folds is 2.5"),
        ({"stratify": True}, "not class numbers"),
        ({"seeds": [1]}, "received seeds, which the folds decide"),
    ],
)
def test_what_folds_cannot_use_is_refused(changes, said):
    with pytest.raises(ConfigError, match=said):
        fit_folds(nn.Dense(1), (X, T), loss="mse", **changes)


def test_bad_populations_are_refused():
    with pytest.raises(ConfigError, match="different kinds"):
        fit_population(nn.Dense(1), (X, Y), seeds=[0, 1], optimizers=[optim.adam(0.1), optim.sgd(0.1)], **COMMON)
    with pytest.raises(ConfigError, match="at least one seed"):
        fit_population(nn.Dense(1), (X, Y), seeds=[], **COMMON)
    with pytest.raises(DataError, match="51 folds of 50 rows"):
        fit_folds(nn.Dense(1), (X, Y), folds=51, **COMMON)


def test_rows_of_other_data_judge_each_member():
    rows, settings = [np.arange(5), np.arange(5, 30)], {**VALUES, "validation": (X[:30], T[:30]), "epochs": 1}
    members = fit_population(nn.Dense(1), (X, T), seeds=[0, 1], validation_rows=rows, **settings)
    for member, own in zip(members, rows, strict=True):
        alone = member.evaluate((X[own], T[own]))["loss"]
        assert member.history[0]["val_loss"] == pytest.approx(alone, rel=1e-4)


def test_members_that_are_one_model_have_one_best_epoch_by_all_their_rows():
    """Each would choose another epoch by its own rows; the one of all is by the mean over all rows, however few a member has."""
    held = [np.arange(3), np.arange(3, 20)]
    settings = {**VALUES, "validation": None, "epochs": 12}
    rates = [optim.sgd(0.5), optim.sgd(0.01)]
    fitted = fit_members(
        nn.Dense(1),
        (X, T),
        seeds=[0, 1],
        optimizers=rates,
        validation_rows=held,
        together=True,
        patience=12,
        **settings,
    )
    apart = fit_population(
        nn.Dense(1), (X, T), seeds=[0, 1], optimizers=rates, validation_rows=held, patience=12, **settings
    )
    each = np.array([[row["val_loss"] for row in member.history] for member in apart])
    pooled = (3 * each[0] + 17 * each[1]) / 20
    np.testing.assert_allclose([row["val_loss"] for row in fitted.history], pooled, rtol=1e-5)
    assert fitted.best_epoch == int(pooled.argmin())
    assert [member.best_epoch for member in apart] == each.argmin(axis=1).tolist() != [fitted.best_epoch] * 2
    own = np.array([row["val_loss_each"] for row in fitted.history]).T
    np.testing.assert_allclose(own, each, rtol=1e-5)


def test_of_members_that_are_one_model_none_may_diverge():
    with pytest.raises(TrainingError, match="not finite"):
        fit_members(
            nn.Dense(1), (X, T), seeds=[0, 1], optimizers=[optim.sgd(1e30), optim.sgd(0.1)], together=True, epochs=5,
            **{**VALUES, "validation": None},
        )  # fmt: skip
