"""Pruning that learns: zeros stay, shares grow as they should, tickets begin where the training began, folds keep their rows."""

import jax
import numpy as np
import pytest

import danlu
from danlu import nn
from danlu.compression import Gradual, LotteryTicket, Magnitude, Movement, Workshop
from danlu.compression.masks import sparsity_of
from danlu.engine import Callback
from danlu.errors import ConfigError
from danlu.tasks.recipe import Recipe

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 4)).astype(np.float32)
Y = (X[:, 0] * X[:, 1]).astype(np.float32)
NET = nn.MLP((6,), 1)


def workshop(**changes):
    plan = Recipe(NET, "mse", batch_size=16, epochs=2, learning_rate=1e-2, **changes)
    return Workshop(plan, (X, Y), {"loss": "mse", "display": "none"}, len(Y))


def begun(net=NET, seed=0):
    shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), (4,))[:2])
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(leaf.dtype), shapes)


def kernels(params):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(params) if np.ndim(leaf) > 1]


def test_zeros_stay_while_it_is_trained_on():
    params, state = begun()
    network, after, _ = Magnitude(0.5, epochs=1)(NET, params, state, workshop())
    assert network == NET
    assert sparsity_of(after) == 0.5
    largest = np.sort(np.abs(np.concatenate([each.ravel() for each in kernels(params)])))[15:]
    was = [np.isin(np.abs(each), largest) for each in kernels(params)]
    for kept, now, before in zip(was, kernels(after), kernels(params), strict=True):
        np.testing.assert_array_equal(now != 0, kept)
        assert (now[kept] != before[kept]).all(), "the others have learnt"


def test_without_epochs_nothing_is_trained():
    params, state = begun()
    _, after, _ = Magnitude(0.5, epochs=0)(NET, params, state, workshop())
    for now, before in zip(kernels(after), kernels(params), strict=True):
        assert set(now[now != 0].tolist()) <= set(before.ravel().tolist())


class Watch(Callback):
    """Remembers the share of zeros of the mask at the end of each epoch."""

    def __init__(self):
        self.shares = []

    def on_epoch_end(self, epoch, logs):
        self.shares.append(sparsity_of(self.training.model_state["mask"]))


@pytest.mark.parametrize("technique", [Gradual(0.8, epochs=4, ramp=0.5), Movement(0.8, epochs=4, ramp=0.5)])
def test_the_share_grows_to_the_one_that_was_asked_for(technique):
    watch, params = Watch(), begun()
    shop = workshop()
    shop.settings = {**shop.settings, "callbacks": [watch]}
    _, after, _ = technique(NET, *params, shop)
    assert sparsity_of(after) == 0.8
    assert 0 < watch.shares[0] < watch.shares[1] == watch.shares[-1] == pytest.approx(0.8)
    assert watch.shares[0] > 0.4, "most of it at the beginning: the schedule is cubic"


def test_movement_goes_by_where_the_weights_go_and_not_by_size():
    """Large weights that training shrinks go before small ones that it makes grow."""
    net = nn.Dense(1, use_bias=False)
    x = RNG.normal(size=(64, 2)).astype(np.float32)
    y = 0.5 * x[:, 1]  # the first weight should become 0, the second grow
    plan = Recipe(net, "mse", batch_size=16, epochs=10, learning_rate=2e-2, weight_decay=0.0)
    shop = Workshop(plan, (x, y), {"loss": "mse", "display": "none"}, 64)
    params = {"kernel": np.array([[1.0], [0.1]], np.float32)}
    _, moved, _ = Movement(0.5, epochs=10)(net, params, {}, shop)
    assert moved["kernel"][0, 0] == 0
    assert moved["kernel"][1, 0] > 0.1
    _, small, _ = Magnitude(0.5, epochs=0)(net, params, {}, shop)
    assert small["kernel"][1, 0] == 0


def test_the_gradient_of_a_score_is_that_of_the_weight_times_the_weight():
    net = nn.Moving(nn.Dense(2, use_bias=False))
    weights = {"kernel": np.array([[1.0, -2.0], [3.0, 0.5]], np.float32)}
    params, state = net.adapt(weights, {})
    state["mask"]["kernel"] = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    x, pull = np.array([[2.0, 5.0]], np.float32), np.array([[1.0, 10.0]], np.float32)
    slopes = jax.grad(lambda given: (net.apply(given, state, x)[0] * pull).sum())(params)
    of_product = x.T @ pull
    np.testing.assert_allclose(slopes["scores"]["kernel"], of_product * weights["kernel"])
    np.testing.assert_allclose(slopes["weights"]["kernel"], of_product * state["mask"]["kernel"])


def test_a_ticket_begins_with_the_first_weights():
    first, trained = begun(seed=1), begun(seed=2)
    shop = workshop()
    shop.initial = first
    seen = []
    shop.tune = lambda network, params, state, **how: seen.append((params, how)) or (params, state)
    LotteryTicket(0.5, by="global")(NET, *trained, shop)
    ((ticket, how),) = seen
    kept = np.abs(np.concatenate([each.ravel() for each in kernels(trained[0])]))
    mask = kept > np.sort(kept)[14]
    np.testing.assert_array_equal(
        np.concatenate([each.ravel() for each in kernels(ticket)]),
        np.where(mask, np.concatenate([each.ravel() for each in kernels(first[0])]), 0),
    )
    assert how == {"epochs": 2, "learning_rate": 1e-2}, "trained as the run was"
    with pytest.raises(ConfigError, match="began with are not known"):
        LotteryTicket(0.5)(NET, *trained, workshop())
    with pytest.raises(ConfigError, match="is not the one that the run began with"):
        LotteryTicket(0.5)(nn.MLP((5,), 1), *begun(nn.MLP((5,), 1)), shop)


def test_networks_of_folds_are_trained_side_by_side_with_zeros_of_their_own():
    folds = np.arange(64) % 2
    plan = Recipe(NET, "mse", batch_size=16, epochs=2, learning_rate=1e-2, folds=2)
    shop = Workshop(plan, (X, Y), {"loss": "mse", "display": "none"}, 32, folds=folds)
    each = [begun(seed=seed) for seed in (1, 2)]
    params, state = jax.tree.map(lambda *leaves: np.stack(leaves), *each)
    network, after, _ = Magnitude(0.5, epochs=1)(nn.Ensemble(NET, 2), params, state, shop)
    assert network == nn.Ensemble(NET, 2)
    assert [sparsity_of(jax.tree.map(lambda leaf, k=k: leaf[k], after)) for k in range(2)] == [0.5, 0.5]
    assert shop.record(network, after, state).model == network


def test_a_network_of_arrays_is_compressed_by_its_own_loss():
    fitted = danlu.fit(NET, X, Y, loss="mae", epochs=1, batch_size=16, display="none")
    small = danlu.compress(fitted, [Magnitude(0.5, epochs=0)], data=(X, Y))
    assert sparsity_of(small.params) == 0.5
    assert small.evaluate((X, Y))["loss"] == pytest.approx(float(np.abs(small.predict(X)[:, 0] - Y).mean()), rel=1e-5)
    with pytest.raises(ConfigError, match="needs the rows that the network learnt from"):
        danlu.compress(fitted, Magnitude(0.5))
    with pytest.raises(ConfigError, match="expected techniques"):
        danlu.compress(fitted, ["prune"], data=(X, Y))
    with pytest.raises(ConfigError, match="expected the folder of a run"):
        danlu.compress(NET, Magnitude(0.5))
