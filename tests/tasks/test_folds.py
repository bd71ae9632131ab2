"""Cross-fitting: which network learns from which rows, and what its predictions are judged on."""

import dataclasses

import jax
import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from danlu.data import TableEncoder, TargetEncoder, infer_schema
from danlu.errors import ConfigError, DataError
from danlu.nn.losses import MSE, PerFold, accuracy, with_folds
from danlu.tasks import fold_numbers, folds_for, learn, plan_for
from danlu.tasks.folds import out_of_fold
from danlu.trained.labels import members_mean

ROWS, FOLDS = 90, 3


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(1)
    frame = pl.DataFrame({"a": rng.normal(size=ROWS), "b": rng.choice(["x", "y"], ROWS)})
    label = np.where((frame["a"] > 0).to_numpy() ^ (frame["b"] == "x").to_numpy(), "yes", "no")
    frame = frame.with_columns(pl.Series("label", label))
    target = TargetEncoder.fit(frame["label"], task="binary")
    encoder = TableEncoder.fit(frame, infer_schema(frame, target="label"))
    codes = target.transform(frame["label"])
    return encoder, target, encoder.transform(frame), codes, fold_numbers(codes, "binary", FOLDS, seed=0)


def trained(table, labels=None, **changes):
    encoder, target, inputs, codes, folds = table
    plan = plan_for(encoder, target, ROWS, folds=FOLDS, members=6, width=8, depth=1, **{"epochs": 3, **changes})
    data = inputs, codes if labels is None else labels
    return learn(data, encoder=encoder, target=target, plan=plan, folds=folds)


def test_folds_share_out_rows_and_classes(table):
    *_, codes, folds = table
    assert np.ptp(np.bincount(folds)) <= 1
    for code in (0, 1):
        assert np.ptp(np.bincount(folds[codes == code])) <= 1
    assert_array_equal(folds, fold_numbers(codes, "binary", FOLDS, seed=0))
    assert (folds != fold_numbers(codes, "binary", FOLDS, seed=1)).any()


def test_small_tables_have_folds_and_large_ones_none():
    assert [folds_for(rows) for rows in (10, 50, 10_000, 10_001)] == [1, 5, 5, 1]
    assert folds_for(10, 2) == 2


def test_a_network_never_learns_from_its_own_fold(table):
    """With the labels of one fold turned round, the network that leaves that fold out stays the same to the last bit."""
    *_, codes, folds = table
    turned = np.where(folds == 1, 1 - codes, codes)
    # Clipping looks at all networks together, so it is put out of reach here.
    plain, other = trained(table, clip_norm=1e9), trained(table, turned, clip_norm=1e9)
    for before, after in zip(
        *(jax.tree.leaves(each.fitted.train_state.params) for each in (plain, other)), strict=True
    ):
        assert_array_equal(before[1], after[1])
        assert (np.asarray(before[0]) != np.asarray(after[0])).any() or before[0].size == 0
    assert plain.fitted.history[0]["val_loss"] != other.fitted.history[0]["val_loss"]


def test_the_monitored_loss_is_the_out_of_fold_loss(table):
    _, _, inputs, codes, folds = table
    learned = trained(table)
    predicted = out_of_fold(learned.model, inputs, folds)
    best = learned.fitted.history[learned.fitted.best_epoch]
    assert_allclose(best["val_accuracy"], (predicted.argmax(1) == codes).mean(), atol=1e-6)
    whole = learned.model.answer(inputs)
    assert (whole != predicted).any()


def test_per_fold_by_hand():
    outputs = np.arange(12.0, dtype=np.float32).reshape(2, 6, 1)  # 3 networks of 2 members
    targets = np.array([1.0, 2.0], np.float32)
    folds = np.array([0, 2])
    squares = ((outputs[..., 0] - targets[:, None]) ** 2).reshape(2, 3, 2).mean(2)
    train = PerFold(MSE(), 3)(outputs, with_folds(targets, folds, 3, held_out=False))
    held = PerFold(MSE(), 3)(outputs, with_folds(targets, folds, 3, held_out=True))
    assert_allclose(train, [squares[0, 1:].mean(), squares[1, :2].mean()], rtol=1e-6)
    assert_allclose(held, [squares[0, 0], squares[1, 2]], rtol=1e-6)
    assert PerFold(accuracy, 3).__name__ == "accuracy"


def test_out_of_fold_takes_the_own_network(table):
    _, target, inputs, _, folds = table
    model = trained(table).model
    for k in range(FOLDS):
        alone = dataclasses.replace(
            model,
            network=model.network.network,
            params=jax.tree.map(lambda a, k=k: a[k], model.params),
            state=jax.tree.map(lambda a, k=k: a[k], model.state),
        )
        expected = alone.answer(inputs)[folds == k]
        assert_allclose(out_of_fold(model, inputs, folds)[folds == k], expected, atol=1e-6)
    assert members_mean(target.task, np.zeros((2, 3, 2))).shape == (2, 2)


def test_mistakes_are_named(table):
    encoder, target, inputs, codes, folds = table
    with pytest.raises(DataError, match="PerFold received"):
        PerFold(MSE(), 3)(np.zeros((2, 4, 1)), np.zeros((2, 4)))
    plan = plan_for(encoder, target, ROWS, members=2, width=8, epochs=1)
    with pytest.raises(ConfigError, match="1 folds"):
        learn((inputs, codes), encoder=encoder, target=target, plan=plan, folds=folds)
