"""Changes of whole batches: in training alone, the whole batch at once, refused before anything is compiled."""

import jax
import numpy as np
import pytest

from danlu import nn, optim
from danlu.engine import fit
from danlu.errors import ConfigError, DataError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 3)).astype(np.float32)
Y = RNG.integers(0, 2, 64)
MODEL = nn.MLP((4,), 2)
SETTINGS = {"loss": "categorical_cross_entropy", "display": "none", "batch_size": 32, "epochs": 1}


def train(augment=None, rate=0.0, **settings):
    return fit(MODEL, (X, Y), optimizer=optim.sgd(rate), augment=augment, validation=(X, Y), **{**SETTINGS, **settings})


def test_it_is_for_training_alone():
    """At a learning rate of 0 the data alone decides the losses."""
    plain, mixed = train(), train(nn.MixUp(1.0, 2))
    [before], [after] = plain.history, mixed.history
    assert after["val_loss"] == before["val_loss"] == pytest.approx(before["loss"], rel=1e-5)
    assert abs(after["loss"] - before["loss"]) > 1e-4
    assert mixed.evaluate((X, Y))["loss"] == pytest.approx(before["val_loss"], rel=1e-6)


def test_micro_batches_are_cut_from_the_mixed_batch():
    whole, cut = (train(nn.MixUp(1.0, 2), 0.1, accumulate=k) for k in (1, 4))
    for a, b in zip(jax.tree.leaves(whole.params), jax.tree.leaves(cut.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("augment", "error", "message"),
    [
        ("mixup", ConfigError, "expected a function"),
        (nn.MixUp(0.2, 3), (ConfigError, DataError), "3"),
        (nn.CutMix(1.0, 2), DataError, "expected images"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(augment, error, message):
    with pytest.raises(error, match=message):
        train(augment)
