"""A population is its members trained alone; folds judge each row once."""

import jax
import numpy as np
import pytest

from danlu import nn, optim
from danlu.engine import cross_validate, fit, fit_population
from danlu.errors import ConfigError, DataError

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
    folds = cross_validate(nn.Dense(1), (X, Y), folds=3, **COMMON)
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


def test_bad_populations_are_refused():
    with pytest.raises(ConfigError, match="different kinds"):
        fit_population(nn.Dense(1), (X, Y), seeds=[0, 1], optimizers=[optim.adam(0.1), optim.sgd(0.1)], **COMMON)
    with pytest.raises(ConfigError, match="at least one seed"):
        fit_population(nn.Dense(1), (X, Y), seeds=[], **COMMON)
    with pytest.raises(DataError, match="51 folds of 50 rows"):
        cross_validate(nn.Dense(1), (X, Y), folds=51, **COMMON)
