"""Cross-fitting: which network learns from which rows, and what its predictions are judged on."""

import dataclasses
import sys
from typing import Any

import jax
import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import danlu
from danlu.data import TableEncoder, TargetEncoder, infer_schema
from danlu.engine.order import shuffled
from danlu.errors import ConfigError
from danlu.tasks import Imbalance, fold_numbers, folds_for, learn, plan_for
from danlu.tasks.folds import out_of_fold
from danlu.trained.labels import members_mean

folds_learnt: Any = sys.modules["danlu.tasks.learn"]
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
    return learn(data, encoder=encoder, target=target, plan=plan, folds=folds, kind="network")


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
    plain, other = trained(table), trained(table, turned)
    for before, after in zip(
        *(jax.tree.leaves(each.fitted.train_state.params) for each in (plain, other)), strict=True
    ):
        assert_array_equal(before[1], after[1])
        assert (np.asarray(before[0]) != np.asarray(after[0])).any() or before[0].size == 0
    assert plain.fitted.history[0]["val_loss"] != other.fitted.history[0]["val_loss"]


def test_the_monitored_loss_is_the_out_of_fold_loss(table, tmp_path):
    _, _, inputs, codes, folds = table
    learned = trained(table)
    predicted = out_of_fold(learned.model, inputs, folds)
    best = learned.fitted.history[learned.fitted.best_epoch]
    assert_allclose(best["val_accuracy"], (predicted.argmax(1) == codes).mean(), atol=1e-6)
    whole = learned.model.answer(inputs)
    assert (whole != predicted).any()
    loaded = danlu.load(learned.fitted.save(tmp_path / "folds"))
    assert_allclose(members_mean("binary", loaded.predict(inputs)), whole, atol=1e-6)
    assert loaded.evaluate((inputs, codes))["accuracy"] == pytest.approx((whole.argmax(1) == codes).mean(), abs=1e-6)


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


def test_what_is_fitted_later_is_given_rows_that_were_not_learnt_from(table):
    _, _, inputs, codes, folds = table
    learned = trained(table)
    held = learned.held_out
    assert held.crossed
    assert len(held) == len(codes)
    assert_array_equal(held.truth, codes)
    assert_array_equal(held.folds, folds)
    assert_allclose(held.answers, out_of_fold(learned.model, inputs, folds), atol=1e-12)
    assert (held.answers != learned.model.answer(inputs)).any()


def test_mistakes_are_named(table):
    encoder, target, inputs, codes, folds = table
    plan = plan_for(encoder, target, ROWS, members=2, width=8, epochs=1)
    with pytest.raises(ConfigError, match="1 folds"):
        learn((inputs, codes), encoder=encoder, target=target, plan=plan, folds=folds)


def test_the_folds_are_trained_as_each_alone(table):
    """A network of the five is what the trainer makes of the other folds' rows alone, from the same weights."""
    encoder, target, inputs, codes, folds = table
    learned = trained(table, epochs=2)
    plan = plan_for(encoder, target, ROWS, folds=FOLDS, members=6, width=8, depth=1, epochs=2)
    rows = np.flatnonzero(folds != 1)
    alone = plan.fit(
        (inputs, codes),
        rows=len(rows),
        seed=1,
        initial=plan.initial(jax.random.split(jax.random.key(0), FOLDS)[1], inputs),
        sampler=shuffled(rows),
        display="none",
    )
    for ours, theirs in zip(
        jax.tree.leaves(learned.fitted.train_state.params), jax.tree.leaves(alone.params), strict=True
    ):
        assert_allclose(ours[1], theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("resample", ["oversample", "undersample"])
def test_each_network_evens_out_the_classes_of_its_own_rows(table, resample):
    encoder, target, inputs, codes, _ = table
    rare = np.flatnonzero((codes == 0) | (np.arange(ROWS) % 5 == 0))
    taken = {name: value[rare] for name, value in inputs.items()}
    own = fold_numbers(codes[rare], "binary", FOLDS, seed=0)
    plan = plan_for(encoder, target, len(rare), folds=FOLDS, members=3, width=4, depth=1, epochs=1)
    seen = []
    draw = folds_learnt.resampler

    def watched(kind, labels):
        sampler = draw(kind, labels)
        seen.append(labels[sampler(0, np.random.default_rng(0))].mean())
        return sampler

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folds_learnt, "resampler", watched)
        learn(
            (taken, codes[rare]),
            encoder=encoder,
            target=target,
            plan=plan,
            folds=own,
            imbalance=Imbalance(resample=resample),
            display="none",
        )
    assert seen == pytest.approx([0.5] * FOLDS, abs=0.02)


def test_devices_share_the_rows_where_they_cannot_divide_the_folds(table):
    one, two = (trained(table, epochs=1, batch_size=16, dropout=0.0, devices=devices) for devices in (1, 2))
    for ours, theirs in zip(jax.tree.leaves(one.model.params), jax.tree.leaves(two.model.params), strict=True):
        assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
