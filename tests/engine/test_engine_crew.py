"""Members that have stopped are taken out of the program, and nothing else changes."""

import jax
import numpy as np
import pytest

from danlu import nn, optim
from danlu.engine import Callback, fit_population, training
from danlu.engine.crew import crew_of

X = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
Y = X[:, 0] - X[:, 1]
RATES = [1e-4, 0.9, 0.9, 1e-4, 0.9, 0.9]  # those of 0.9 soon stop


def trained(**how):
    return fit_population(
        nn.Dense(1),
        (X, Y),
        loss="mse",
        seeds=range(6),
        optimizers=[optim.sgd(rate) for rate in RATES],
        validation=(X, Y),
        batch_size=16,
        patience=2,
        display="none",
        **{"epochs": 12, **how},
    )


@pytest.fixture
def sizes(monkeypatch):
    """How many members each call of the compiled program had."""
    found, run = [], training.run_steps

    def spy(program, *args, **how):
        found.append(program.members)
        return run(program, *args, **how)

    monkeypatch.setattr(training, "run_steps", spy)
    monkeypatch.setattr(training, "_COMPILING", 0)
    return found


@pytest.mark.parametrize(
    ("active", "group", "expected"),
    [
        ([1, 1, 1, 1], 1, None),
        ([1, 0, 1, 1], 1, None),
        ([0, 1, 0, 1], 1, [1, 3]),
        ([0, 0, 0, 1], 1, [3]),
        ([0, 0, 1, 0, 1, 1, 0, 0], 1, [0, 2, 4, 5]),
        ([0, 0, 1, 1, 0, 0, 0, 0], 2, [2, 3]),
        ([1, 0, 0], 1, [0]),
    ],
)
def test_the_smallest_half_that_holds_all_that_are_active(active, group, expected):
    crew = crew_of(np.array(active, bool), group)
    assert (None if crew is None else crew.tolist()) == expected


def test_those_that_stopped_are_taken_out_and_the_others_learn_as_before(sizes):
    fewer = trained()
    assert sorted(set(sizes)) == [2, 6] or sorted(set(sizes)) == [2, 3, 6]
    assert sizes == sorted(sizes, reverse=True)
    training._COMPILING = 1e30
    whole = trained()
    for one, other in zip(fewer, whole, strict=True):
        assert (one.best_epoch, one.stopped_because) == (other.best_epoch, other.stopped_because)
        assert [row["epoch"] for row in one.history] == [row["epoch"] for row in other.history]
        for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(other.params), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


class Dies(Callback):
    def on_epoch_end(self, epoch, logs):
        if epoch == 8:
            raise KeyboardInterrupt


def test_a_killed_one_goes_on_with_the_same_bits(sizes, tmp_path):
    whole = trained(callbacks=[Callback()])
    with pytest.raises(KeyboardInterrupt):
        trained(callbacks=[Dies()], checkpoint=tmp_path, checkpoint_every=0.0)
    sizes.clear()
    again = trained(callbacks=[Callback()], checkpoint=tmp_path, resume=True)
    assert max(sizes) < 6  # at once the smaller program
    for one, other in zip(whole, again, strict=True):
        for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(other.params), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_short_training_compiles_nothing_more(sizes):
    training._COMPILING = 2e11
    trained()
    assert set(sizes) == {6}
