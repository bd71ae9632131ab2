"""Two programs in turn, a population of such pairs, and steps that are differentiated."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu import nn, optim
from danlu.engine import Alternate, Objective, Population, Program, TrainState, run_steps, step, train, unrolled
from danlu.engine.sources import ArraySource
from danlu.errors import ConfigError

X = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
Y = (X @ np.float32([1, -2])).astype(np.float32)
MODEL = nn.Dense(1, use_bias=False)


class Against(Objective):
    """A squared error that one makes small, or large, with what the other adds to the inputs."""

    sign: float

    def __call__(self, params, state, batch, key, *, train):
        moved = batch["x"] + params["moves"] + 0.1 * jax.random.normal(key, batch["x"].shape)
        error = jnp.square((moved @ params["net"]["kernel"])[:, 0] - batch["y"])
        return self.sign * error, state, {"error": error}


def pair(batch_size: int = 5) -> Alternate:
    down, up = optim.adamw(0.1, weight_decay=0.3), optim.sgd(0.05)
    first = Program(MODEL, Against(1.0), down.update, measures=("error",), batch_size=batch_size)
    second = Program(MODEL, Against(-1.0), up.update, measures=("error",), batch_size=batch_size)
    return Alternate(first, second, ("net", "moves"))


def begun(seed: int = 0) -> TrainState:
    params = {"net": {"kernel": jnp.ones((2, 1))}, "moves": jnp.full((1, 2), 0.1)}
    return TrainState.start(
        params, (optim.adamw(0.1, weight_decay=0.3).init(params), optim.sgd(0.05).init(params)), seed=seed
    )


def by_hand(seed: int = 0) -> Any:
    """One epoch of turns, step by step; the part of the other is put back after each."""
    both, state = pair(), begun(seed)
    [piece] = ArraySource((X, Y), batch_size=5, seed=seed).pieces(0, 0)
    order = np.asarray(piece.order)
    opt, sums = list(state.opt_state), [0.0, 0.0]
    for index in range(piece.steps):
        rows = order[5 * index : 5 * index + 5]
        batch = {"x": X[rows], "y": Y[rows], "weight": np.ones(5, np.float32)}
        for turn, (program, part) in enumerate(((both.first, "net"), (both.second, "moves"))):
            old = state.params
            one = TrainState(state.step, state.key, old, {}, opt[turn], {})
            state, found = step(program, one, batch)
            opt[turn] = state.opt_state
            state = TrainState(state.step, state.key, {**old, part: state.params[part]}, {}, (), {})
            sums[turn] += float(found["error"])
    return state, sums


def test_each_turn_changes_its_own_part_and_has_an_optimizer_of_its_own() -> None:
    fitted = train(pair(), (X, Y), begun(), epochs=1, display="none")
    state, sums = by_hand()
    for ours, theirs in zip(jax.tree.leaves(fitted.params), jax.tree.leaves(state.params), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    row = fitted.history[0]
    assert row["net_error"] == pytest.approx(sums[0] / 20, rel=1e-5)
    assert row["moves_loss"] == pytest.approx(-sums[1] / 20, rel=1e-5)
    assert (row["step"], int(fitted.train_state.step)) == (8, 8)


def test_a_population_holds_pairs_too() -> None:
    both = Population(pair(), 2)
    state = jax.tree.map(lambda *leaves: jnp.stack(leaves), begun(0), begun(7))
    [piece] = ArraySource((X, Y), batch_size=5, seed=[0, 7]).pieces(0, 0)
    after, sums = run_steps(both, state, both.zero_sums(), piece.chunk, piece.order, 0, piece.steps)
    for member, seed in enumerate((0, 7)):
        alone, found = by_hand(seed)
        for ours, theirs in zip(jax.tree.leaves(after.params), jax.tree.leaves(alone.params), strict=True):
            np.testing.assert_allclose(ours[member], theirs, rtol=1e-4, atol=1e-5)
        assert float(sums["net_error"][member]) == pytest.approx(found[0], rel=1e-4)
    means = both.means({name: np.asarray(value) for name, value in sums.items() if name != "bad_step"})
    assert means["net_error"] == pytest.approx(np.mean(means["net_error_each"]))


def test_a_turn_that_is_not_finite_ends_the_training() -> None:
    state = begun()
    spoilt = TrainState.start({**state.params, "moves": jnp.full((1, 2), jnp.inf)}, state.opt_state)
    with pytest.raises(Exception, match="the loss is not finite at step 0"):
        train(pair(), (X, Y), spoilt, epochs=1, display="none")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Alternate(pair().first, pair(4).second, ("net", "moves")), "batch_size 5 and 4"),
        (lambda: Alternate(pair().first, pair().second, ("net", "net")), "two names"),
        (lambda: train(pair(), (X, Y), begun(), monitor="loss", display="none"), "net_loss"),
        (lambda: train(pair(), (X, Y), TrainState.start(jnp.ones(2), ((), ())), display="none"), "parts net, moves"),
    ],
)
def test_what_does_not_fit_is_one_message(make: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make()


def test_unrolled_steps_are_steps_and_have_a_gradient() -> None:
    """By finite differences through three steps of Adam, in the weights before them and in their learning rate."""
    model, loss = nn.MLP((3,), 1, activation="tanh"), nn.get_loss("mse")
    optimizer = optim.adam(0.05)
    program = Program.of(model, loss, optimizer.update)
    params, state, _ = model.init(jax.random.key(1), (2,))
    batches = {"x": X[:12].reshape(3, 4, 2), "y": Y[:12].reshape(3, 4), "weight": np.ones((3, 4), np.float32)}

    def start(params: Any, rate: Any) -> TrainState:
        return TrainState(jnp.int32(0), jax.random.key(0), params, state, optim.adam(rate).init(params), {})

    @jax.jit
    def after(params: Any, rate: Any) -> jax.Array:
        learnt, _ = unrolled(program, start(params, rate), batches)
        return jnp.mean(loss(model.apply(learnt.params, state, jnp.asarray(X[12:]))[0], jnp.asarray(Y[12:])))

    looped, one = start(params, 0.05), jax.jit(step, static_argnums=0)
    for index in range(3):
        looped, _ = one(program, looped, jax.tree.map(lambda a, index=index: a[index], batches))
    learnt, sums = jax.jit(unrolled, static_argnums=0)(program, start(params, 0.05), batches)
    assert sums["loss"].shape == (3,)
    for ours, theirs in zip(jax.tree.leaves(learnt.params), jax.tree.leaves(looped.params), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    slopes, by_rate = jax.grad(after, argnums=(0, 1))(params, jnp.float32(0.05))
    params = jax.tree.map(np.asarray, params)
    way = jax.tree.map(lambda leaf: np.sign(leaf) + np.float32(0.3), params)
    moved = [jax.tree.map(lambda a, b, s=s: a + np.float32(s * 1e-2) * b, params, way) for s in (1, -1)]
    difference = (after(moved[0], jnp.float32(0.05)) - after(moved[1], jnp.float32(0.05))) / 2e-2
    along = sum(np.sum(a * b) for a, b in zip(jax.tree.leaves(slopes), jax.tree.leaves(way), strict=True))
    assert float(along) == pytest.approx(float(difference), rel=2e-2)
    of_rate = (after(params, jnp.float32(0.06)) - after(params, jnp.float32(0.04))) / 0.02
    assert float(by_rate) == pytest.approx(float(of_rate), rel=5e-2)
