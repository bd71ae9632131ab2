"""Several devices do what one does: the same gradient from shared rows, the same members from a divided population."""

import dataclasses
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu import nn, optim
from danlu.engine import BatchSource, LambdaCallback, fit, fit_population
from danlu.engine.loop import evaluate_steps
from danlu.engine.members import fit_members
from danlu.engine.mesh import gathered, joined, mean, need_devices, on_host, place, position, spread, total
from danlu.engine.order import pad_order
from danlu.errors import ConfigError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int32)
WEIGHTS = RNG.uniform(size=50).astype(np.float32)
MODEL = nn.Sequential((nn.Dense(4, "tanh"), nn.Dense(1)))
COMMON = {"loss": "binary_cross_entropy", "display": "none", "batch_size": 8, "epochs": 3, "devices": 2}


def close(one, other, **how):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, **{"rtol": 1e-4, "atol": 1e-6, **how})


@pytest.fixture(scope="module")
def shared():
    return fit(MODEL, (X, Y, WEIGHTS), validation=(X, Y), metrics=["accuracy"], accumulate=2, l2=0.01, **COMMON)


def test_two_devices_learn_what_one_does(shared):
    alone = fit(MODEL, (X, Y, WEIGHTS), validation=(X, Y), metrics=["accuracy"], l2=0.01, **{**COMMON, "devices": 1})
    close(shared.params, alone.params)
    for ours, theirs in zip(shared.history, alone.history, strict=True):
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4)
    np.testing.assert_allclose(shared.predict(X), alone.predict(X), atol=1e-4)
    assert shared.evaluate((X, Y))["loss"] == pytest.approx(alone.evaluate((X, Y))["loss"], rel=1e-4)


def test_a_stream_is_divided_among_devices_and_goes_on_where_it_was_stopped(tmp_path):
    class Stream:
        def chunks(self, epoch, start):
            for number in range(start, 2):
                rows = slice(25 * number, 25 * number + 25)
                yield {"x": X[rows], "y": Y[rows], "weight": WEIGHTS[rows]}

    alone, both = (fit(MODEL, Stream(), **{**COMMON, "devices": devices}) for devices in (1, 2))
    close(both.params, alone.params)
    stop = LambdaCallback(on_epoch_end=lambda epoch, logs: stop.training.stop() if epoch == 1 else None)
    fit(MODEL, Stream(), checkpoint=tmp_path, callbacks=[stop], **COMMON)
    rest = fit(MODEL, Stream(), checkpoint=tmp_path, callbacks=[LambdaCallback()], resume=True, **COMMON)
    close(rest.params, both.params, rtol=0, atol=0)


def test_batches_of_an_evaluation_are_shared(shared):
    chunk = {"x": X, "y": Y, "weight": WEIGHTS}
    order = jnp.asarray(pad_order(np.arange(50), 8))
    one, two = (
        evaluate_steps(
            dataclasses.replace(shared.program, devices=n), shared.params, shared.state, {}, chunk, order, 7, size=8
        )
        for n in (1, 2)
    )
    close(one, two)
    assert float(two["weight"]) == pytest.approx(WEIGHTS.sum(), rel=1e-5)


def test_what_comes_back_lies_on_one_device_and_can_go_on_anywhere(shared):
    assert {len(leaf.devices()) for leaf in jax.tree.leaves((shared.params, shared.train_state))} == {1}
    initial = (shared.params, shared.state)
    for devices in (1, 2):
        again = fit(MODEL, (X, Y), initial=initial, **{**COMMON, "epochs": 1, "devices": devices})
        assert np.isfinite(again.history[-1]["loss"])


def test_stopped_and_resumed_is_the_uninterrupted_run_to_the_bit(tmp_path):
    model = nn.Sequential((nn.Dense(4, "tanh"), nn.Dropout(0.5), nn.Dense(1)))
    whole = fit(model, (X, Y), **COMMON)
    stop = LambdaCallback(on_epoch_end=lambda epoch, logs: stop.training.stop() if epoch == 1 else None)
    fit(model, (X, Y), checkpoint=tmp_path, callbacks=[stop], **COMMON)
    rest = fit(model, (X, Y), checkpoint=tmp_path, callbacks=[LambdaCallback()], resume=True, **COMMON)
    for a, b in zip(jax.tree.leaves(whole.params), jax.tree.leaves(rest.params), strict=True):
        np.testing.assert_array_equal(a, b)


IN_ORDER = lambda epoch, rng: np.arange(8)  # noqa: E731


def test_each_device_draws_for_itself():
    model = nn.Dropout(0.5)
    summed = lambda outputs, targets: outputs.sum(-1)  # noqa: E731
    fitted = fit(model, (X[:8], Y[:8]), sampler=IN_ORDER, **{**COMMON, "loss": summed, "epochs": 1})
    _, state, _ = model.init(jax.random.key(0), (3,))
    outputs = []
    for device, half in enumerate((X[:4], X[4:8])):
        key = jax.random.fold_in(jax.random.fold_in(fitted.train_state.key, 0), device)
        outputs.append(model.apply({}, state, half, train=True, key=key)[0])
    assert fitted.history[0]["loss"] == pytest.approx(float(np.concatenate(outputs).sum(-1).mean()), rel=1e-5)


def test_running_statistics_are_averaged():
    model = nn.BatchNorm()
    centred = lambda outputs, targets: outputs.sum(-1)  # noqa: E731
    fitted = fit(model, (X[:8], Y[:8]), sampler=IN_ORDER, **{**COMMON, "loss": centred, "epochs": 1})
    params, state, _ = model.init(jax.random.key(0), (3,))
    halves = [model.apply(params, state, half, train=True, key=None)[1] for half in (X[:4], X[4:8])]
    close(fitted.state, jax.tree.map(lambda a, b: (a + b) / 2, *halves))
    assert not np.allclose(*(jax.tree.leaves(half)[0] for half in halves))


def test_a_divided_population_is_the_whole_one(tmp_path):
    settings = {**COMMON, "batch_size": 7, "seeds": [0, 1], "validation": (X, Y), "patience": 2}
    settings["optimizers"] = [optim.adam(0.1), optim.adam(0.01)]
    divided = fit_population(MODEL, (X, Y), **settings)
    whole = fit_population(MODEL, (X, Y), **{**settings, "devices": 1})
    for ours, theirs in zip(divided, whole, strict=True):
        close(ours.params, theirs.params)
        assert ours.best_epoch == theirs.best_epoch
        assert [row["epoch"] for row in ours.history] == [row["epoch"] for row in theirs.history]
        assert ours.history[-1]["val_loss"] == pytest.approx(theirs.history[-1]["val_loss"], rel=1e-4)
    stop = LambdaCallback(on_epoch_end=lambda epoch, logs: stop.training.stop() if epoch == 1 else None)
    first = fit_population(MODEL, (X, Y), checkpoint=tmp_path, callbacks=[stop], **settings)
    rest = fit_population(MODEL, (X, Y), checkpoint=tmp_path, callbacks=[LambdaCallback()], resume=True, **settings)
    assert len(first[0].history) == 2
    for ours, theirs in zip(rest, divided, strict=True):
        for a, b in zip(jax.tree.leaves(ours.params), jax.tree.leaves(theirs.params), strict=True):
            np.testing.assert_array_equal(a, b)


def test_collectives_over_positions():
    def body(x):
        mine = position(2) + x
        return total(mine, 2), mean({"mean": mine.astype(jnp.float32), "count": x}, 2)

    summed, averaged = jax.jit(spread(body, 2))(jnp.int32(10))
    assert int(summed) == 21
    assert float(averaged["mean"]) == 10.5
    assert int(averaged["count"]) == 10
    lying = place({"a": np.ones(3)}, 2)
    assert len(lying["a"].devices()) == 2
    assert len(gathered(lying, 2)["a"].devices()) == 1
    rows = joined(np.arange(4), 2)
    assert [shard.data.tolist() for shard in rows.addressable_shards] == [[0, 1], [2, 3]]
    assert on_host(rows).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: fit(MODEL, (X, Y), **{**COMMON, "devices": 64}), "devices is 64, but JAX has 2 here"),
        (lambda: fit(MODEL, (X, Y), **{**COMMON, "batch_size": 7}), "a batch of 7 rows cannot be divided"),
        (lambda: fit(MODEL, BatchSource([(X[:9], Y[:9])]), **COMMON), "a batch of 9 rows cannot be divided"),
        (lambda: fit_population(MODEL, (X, Y), seeds=[0, 1, 2], **COMMON), "3 members cannot be divided among 2"),
        (lambda: fit(MODEL, (X, Y), **{**COMMON, "devices": 0}), "devices is 0"),
    ],
)
def test_what_cannot_be_divided_is_refused(call, said):
    with pytest.raises(ConfigError, match=said):
        call()


def test_a_fresh_process_gets_the_devices_that_it_asks_for():
    code = "from danlu.engine.mesh import need_devices; need_devices(2); import jax; print(jax.device_count())"
    env = {"PATH": "/usr/bin:/bin", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "2"


def test_one_device_is_asked_of_no_one():
    need_devices(1)
    function = lambda x: x  # noqa: E731
    assert spread(function, 1) is function


@pytest.mark.parametrize("members", [2, 3])
def test_members_that_are_one_model_go_on_as_the_same(tmp_path, members):
    """Two are divided among the devices; of three, the devices share the rows."""
    settings = COMMON | {"epochs": 3, "seeds": range(members), "validation": (X, Y), "together": True, "devices": 2}
    whole = fit_members(MODEL, (X, Y), callbacks=[LambdaCallback()], **settings)
    halt = LambdaCallback()
    halt.on_epoch_end = lambda epoch, logs: halt.training.stop() if epoch == 0 else None
    fit_members(MODEL, (X, Y), checkpoint=tmp_path, callbacks=[halt], **settings)
    rest = fit_members(MODEL, (X, Y), checkpoint=tmp_path, callbacks=[LambdaCallback()], resume=True, **settings)
    for ours, theirs in zip(jax.tree.leaves(rest.params), jax.tree.leaves(whole.params), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    one = fit_members(MODEL, (X, Y), **settings | {"devices": 1})
    close(one.params, whole.params)
