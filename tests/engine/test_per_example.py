"""Gradients row by row: each clipped as a loop clips it, however they are cut up; noise once; ghost norms equal to plain ones."""

from __future__ import annotations

import functools
import shutil
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu import nn, optim
from danlu.engine import Accumulated, LambdaCallback, PerExample, Program, Supervised, TrainState, Whole, fit, step
from danlu.engine.ghost import squared_norms
from danlu.engine.gradient import Probed
from danlu.engine.objective import measured
from danlu.engine.per_example import Carried
from danlu.engine.poisson import Forgetting, Poisson, Secret, room_for
from danlu.engine.step import gradient
from danlu.errors import CheckpointError, ConfigError, TrainingError
from danlu.nn.losses import MSE, get_loss
from danlu.privacy import together

ROWS = 12
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, 3)).astype("float32")
Y = (X @ np.array([2.0, -1.0, 0.5]) + 0.3).astype("float32")
WEIGHT = np.float32([1, 1, 2, 1, 1, 0.5, 1, 1, 0, 0, 0, 0])  # those at the end fill the batch up
BATCH = {"x": jnp.asarray(X), "y": jnp.asarray(Y), "weight": jnp.asarray(WEIGHT)}
MODEL = nn.MLP((8,), 1, dropout=0.5)
KEY = jax.random.key(3)
CLIP = 5.0


def begun(model: nn.Layer, shape: Any, gradient: Any = None) -> TrainState:
    params, state, _ = model.init(jax.random.key(1), shape)
    carried = None if gradient is None else gradient.carried(jax.random.key(7))
    return TrainState(jnp.int32(0), jax.random.key(2), params, state, (), {}, carried)


STATE = begun(MODEL, (3,))


def mean(gradient_: Any, state: TrainState = STATE, batch: Any = BATCH, objective: Any = None) -> Any:
    """The gradient of the mean, and the sums."""
    objective = objective or Supervised(MODEL, MSE())
    program = Program(objective.model, objective, lambda *_: None, gradient=gradient_, batch_size=ROWS)
    return jax.jit(functools.partial(gradient, program))(state, batch, KEY)


@functools.cache
def looped() -> list[Any]:
    """The gradient of each row by itself."""
    one = jax.jit(functools.partial(Whole(), Supervised(MODEL, MSE())))
    rows = [jax.tree.map(lambda a, i=i: a[i : i + 1], BATCH) for i in range(ROWS)]
    return [one(STATE, row, jax.random.fold_in(KEY, i))[0] for i, row in enumerate(rows)]


def norm(tree: Any) -> float:
    return float(np.sqrt(sum(np.sum(np.square(leaf)) for leaf in jax.tree.leaves(tree))))


def same(ours: Any, theirs: Any, rtol: float = 2e-5) -> None:
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=2e-6)


@pytest.mark.parametrize("how", [{}, {"at_once": 4}, {"passes": 2}, {"passes": 2, "at_once": 3}], ids=str)
def test_rows_are_clipped_as_in_a_loop_and_divided_by_what_is_expected(how: dict[str, Any]) -> None:
    norms = [norm(each) for each in looped()]
    assert min(norms[:8]) < CLIP < max(norms), "some rows are clipped and others are not"
    scales = [min(1, CLIP / max(each, 1e-30)) for each in norms]
    scaled = [jax.tree.map(lambda g, s=s: s * g, each) for s, each in zip(scales, looped(), strict=True)]
    expected = jax.tree.map(lambda *each: sum(each) / 5.0, *scaled)
    grads, _, sums = mean(PerExample(CLIP, expected=5.0, **how))
    same(grads, expected)
    assert float(sums["weight"]) == 5.0, "how many rows were drawn is not told"


def layers(tree: Any) -> list[Any]:
    return [each for each in jax.tree.leaves(tree, is_leaf=lambda t: isinstance(t, dict) and "kernel" in t) if each]


def test_each_layer_is_clipped_by_itself() -> None:
    grads = layers(mean(PerExample(CLIP, expected=1.0, clipping="layers", at_once=5))[0])
    bound = CLIP / np.sqrt(len(grads))
    for place, layer in enumerate(grads):
        own = [layers(each)[place] for each in looped()]
        scales = [min(1, bound / max(norm(each), 1e-30)) for each in own]
        scaled = [jax.tree.map(lambda g, s=s: s * g, each) for s, each in zip(scales, own, strict=True)]
        same(layer, jax.tree.map(lambda *each: sum(each), *scaled))
    assert len(grads) == 2


def test_noise_is_added_once_however_the_batch_is_cut() -> None:
    model = nn.Dense(4000)
    objective, state = Supervised(model, MSE()), begun(model, (3,))
    batch = {**BATCH, "y": jnp.zeros((ROWS, 4000))}
    drawn = {}
    for name, noisy, plain in (
        ("whole", PerExample(0.5, 3.0, expected=2.0), PerExample(0.5, expected=2.0)),
        ("chunks", PerExample(0.5, 3.0, expected=2.0, at_once=4), PerExample(0.5, expected=2.0, at_once=4)),
        ("parts", Accumulated(3, PerExample(0.5, 3.0, expected=2.0)), Accumulated(3, PerExample(0.5, expected=2.0))),
    ):
        pair = (mean(each, state, batch, objective)[0] for each in (noisy, plain))
        drawn[name] = np.concatenate([(a - b).ravel() for a, b in zip(*map(jax.tree.leaves, pair), strict=True)])
        assert drawn[name].std() == pytest.approx(3.0 * 0.5 / 2.0, rel=0.02)
        assert abs(np.mean(drawn[name])) < 0.05
    np.testing.assert_allclose(drawn["whole"], drawn["chunks"], atol=1e-5)


def test_the_key_of_the_noise_is_carried_and_not_the_trainings() -> None:
    noisy = PerExample(0.5, 1.0, expected=2.0)
    one, other = begun(MODEL, (3,), noisy), begun(MODEL, (3,), noisy)
    other = TrainState(**{**vars(other), "world": Carried(jax.random.key(8), other.world.clip)})
    first, again, apart = (mean(noisy, state)[0] for state in (one, one, other))
    same(first, again, rtol=0)
    assert norm(jax.tree.map(jnp.subtract, first, apart)) > 0.1


def test_the_bound_follows_the_quantile_of_the_norms() -> None:
    """Without noise on the count it comes to rest where the share of the rows below it is the one asked for."""
    own = PerExample(5.0, expected=8.0, clipping="adaptive", quantile=0.5, pace=0.5)
    quiet = begun(MODEL, (3,), own)
    program = Program(MODEL, Supervised(MODEL, MSE()), optim.sgd(0.0).update, gradient=own, batch_size=ROWS)
    quiet = TrainState(**{**vars(quiet), "opt_state": optim.sgd(0.0).init(quiet.params)})
    run = jax.jit(functools.partial(step, program))
    clips = []
    for _ in range(60):
        quiet, _ = run(quiet, BATCH)
        clips.append(float(quiet.world.clip))
    norms = [norm(each) for each in looped()[:8]]
    assert min(norms) * 0.3 < np.median(clips[20:]) < max(norms) * 2
    assert own.multiplier == 0
    assert PerExample(1.0, 1.0, expected=80.0, clipping="adaptive").multiplier == together(1.0, 8.0)


def test_values_are_told_with_noise_that_is_paid_for() -> None:
    near = {**BATCH, "x": BATCH["x"] * 0.1, "y": BATCH["y"] * 0.1}  # values below the largest that count
    plain = mean(PerExample(0.5, 1.0, expected=5.0), batch=near)[2]["loss"]
    told = [float(mean(PerExample(0.5, 1.0, expected=5.0, told=each), batch=near)[2]["loss"]) for each in (1e-6, 20.0)]
    assert told[0] == pytest.approx(float(plain), rel=1e-3)
    assert abs(told[1] - told[0]) > 1
    assert PerExample(0.5, 1.0, expected=5.0, told=20.0).multiplier == together(1.0, 20.0)


@pytest.mark.parametrize("passes", [1, 2])
def test_a_row_that_is_not_finite_counts_for_nothing(passes: int) -> None:
    broken = {**BATCH, "x": BATCH["x"].at[2].set(jnp.nan)}
    without = {**BATCH, "weight": BATCH["weight"].at[2].set(0.0)}
    ours = mean(PerExample(0.5, expected=5.0, passes=passes), batch=broken)[0]
    same(ours, mean(PerExample(0.5, expected=5.0, passes=passes), batch=without)[0])


WORDS = jnp.asarray(RNG.integers(0, 40, (4, 5)), jnp.int32)
NETWORKS = {
    "tokens": (nn.Sequential((nn.Embedding(40, 3), nn.Dense(4, "tanh"), nn.Flatten(), nn.Dense(2))), WORDS),
    "convolution": (
        nn.Sequential((nn.Conv(3, 3, activation="relu"), nn.MaxPool(2), nn.Flatten(), nn.Dense(2))),
        jnp.asarray(RNG.normal(size=(4, 6, 6, 1)), jnp.float32),
    ),
    "recurrent": (nn.Sequential((nn.Embedding(40, 3), nn.LSTM(3), nn.Dense(2))), WORDS),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_ghost_norms_are_the_norms(name: str) -> None:
    model, x = NETWORKS[name]
    objective = Supervised(model, get_loss("categorical_cross_entropy"))
    state = begun(model, x.shape[1:])
    batch = {"x": x, "y": jnp.asarray([0, 1, 1, 0]), "weight": jnp.float32([1, 2, 1, 0])}

    def value(params: Any, row: Any, number: jax.Array) -> Any:
        part = jax.tree.map(lambda a: a[None], row)
        sums = measured(objective, params, state.model_state, part, jax.random.fold_in(KEY, number), {}, train=True)[1]
        return sums["loss"], sums

    squares, sums = jax.jit(functools.partial(squared_norms, value))(state.params, batch, jnp.arange(4))
    grads, plain = jax.vmap(jax.grad(value, has_aux=True), in_axes=(None, 0, 0))(state.params, batch, jnp.arange(4))
    same(squares, jax.tree.map(lambda a: np.square(a).sum(axis=tuple(range(1, a.ndim))), grads))
    same(sums, plain)


def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(ConfigError, match="which counts rows"):
        PerExample(1.0, clipping="adaptive")
    with pytest.raises(ConfigError, match="scaled as a whole"):
        PerExample(1.0, clipping="layers", passes=2)
    with pytest.raises(ConfigError, match="private rows without noise"):
        PerExample(1.0, 1.0, expected=2.0).values(Supervised(MODEL, MSE()), STATE, BATCH, KEY)


def test_batches_are_drawn_row_by_row_from_a_secret() -> None:
    secret = Secret(tuple(range(8)))
    draws = Poisson(300, 0.05, room_for(300, 0.05, 8), secret)
    orders = [draws(epoch, None).reshape(draws.steps, draws.room) for epoch in range(40)]
    counts = np.array([(order >= 0).sum(1) for order in orders]).ravel()
    assert draws.room % 8 == 0
    assert counts.mean() == pytest.approx(15, abs=0.5)
    assert counts.var() == pytest.approx(300 * 0.05 * 0.95, rel=0.2)
    assert all((np.unique(row[row >= 0], return_counts=True)[1] == 1).all() for order in orders for row in order)
    often = np.bincount(np.concatenate([order[order >= 0] for order in orders]), minlength=300)
    assert 15 < often.min() < often.max() < 75, "each row is as likely as another"
    np.testing.assert_array_equal(draws(3, None), draws(3, np.random.default_rng(9)))
    assert not np.array_equal(draws(3, None), draws(4, None))
    with pytest.raises(TrainingError, match="does not happen by chance"):
        Poisson(300, 0.05, 4, secret)(0, None)


def test_a_private_gradient_in_another_is_refused() -> None:
    own = PerExample.drawn(rows=ROWS, batch=6, clip=1.0, noise=1.0)
    with pytest.raises(ConfigError, match="a Probed around a private one"):
        fit(nn.Dense(1), X, Y, loss="mse", gradient=Probed(inner=own), epochs=1, display="none")


def test_a_population_of_private_trainings_has_no_secret_to_miss() -> None:
    """As the shadow models of an attack: each member counts its own steps, and none goes on from a folder."""
    members: Any = SimpleNamespace(
        state=SimpleNamespace(step=np.zeros(8, int)), epoch=0, options=SimpleNamespace(epochs=5), _stop=False
    )
    callback = Forgetting(None)
    callback.training = members
    callback.on_train_begin()
    members.state.step = np.full(8, 3)
    with pytest.raises(CheckpointError, match="secret of its noise is gone"):
        callback.on_train_begin()


def test_a_private_training_resumes_to_the_bit_and_forgets_its_secret(tmp_path: Any) -> None:
    own = PerExample.drawn(rows=ROWS, batch=6, clip=1.0, noise=1.0, told=8.0)

    def run(folder: Any, epochs: int, **how: Any) -> Any:
        return fit(nn.Dense(1), X, Y, loss="mse", gradient=own, epochs=epochs, checkpoint=folder, display="none", **how)

    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "secret").write_text("0123abcd" * 8)
    shutil.copytree(tmp_path / "b", tmp_path / "a")
    whole = run(tmp_path / "a", 6)
    assert not (tmp_path / "a" / "secret").exists(), "erased at the end"
    assert not np.asarray(jax.random.key_data(whole.train_state.world.key)).any(), "and from the state"

    def stop(epoch: int, logs: Any) -> None:
        if epoch == 2:
            halting.training.stop()
            halting.training.stopped_by = 2

    halting = LambdaCallback(on_epoch_end=stop)
    run(tmp_path / "b", 6, callbacks=[halting])
    assert (tmp_path / "b" / "secret").exists(), "one that was broken off goes on"
    shutil.copytree(tmp_path / "b", tmp_path / "c")
    (tmp_path / "c" / "secret").unlink()
    with pytest.raises(CheckpointError, match="secret of its noise is gone"):
        run(tmp_path / "c", 6, resume=True, callbacks=[LambdaCallback(on_epoch_end=lambda epoch, logs: None)])
    shutil.copytree(tmp_path / "b", tmp_path / "d")
    quiet = own
    own = own.replace(noise=50.0)
    with pytest.raises(CheckpointError, match=r"noise 0\.9923 times.*noise 7\.9 times"):
        run(tmp_path / "d", 6, resume=True, callbacks=[LambdaCallback(on_epoch_end=lambda epoch, logs: None)])
    before = (tmp_path / "d" / "secret").read_text()
    run(tmp_path / "d", 3, callbacks=[halting])
    assert (tmp_path / "d" / "secret").read_text() != before, "another training has noise of its own"
    own = quiet
    again = run(tmp_path / "b", 6, resume=True, callbacks=[LambdaCallback(on_epoch_end=lambda epoch, logs: None)])
    for ours, theirs in zip(jax.tree.leaves(again.params), jax.tree.leaves(whole.params), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert own.spent(int(again.train_state.step)) == own.spent(int(whole.train_state.step))
    assert own.spent(12).mechanisms[0].steps == 12
