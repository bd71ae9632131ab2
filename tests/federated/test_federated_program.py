"""A round of clients does what its formula says: beside plain training, NumPy, and answers known beforehand."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import danlu
from danlu import nn, optim
from danlu.engine import Callback, PerExample
from danlu.engine.poisson import Secret
from danlu.errors import ConfigError, DataError
from danlu.federated import Method, Private, RoundSource, fit_clients
from danlu.federated.own import chosen, patterns_of, replaced
from danlu.federated.rows import room_of_rows
from danlu.federated.split import by_classes, by_dirichlet, by_quantity, by_value, evenly

RNG = np.random.default_rng(0)


class Stop(Callback):
    """As a signal after a round."""

    def __init__(self, after):
        self.after = after

    def on_epoch_end(self, epoch, logs):
        if epoch == self.after:
            self.training.stopped_by = 15
            self.training.stop("stopped by a signal")


X = RNG.normal(size=(37, 3)).astype(np.float32)
Y = (X @ np.float32([1, -2, 0.5]) + 0.3).astype(np.float32)
CLIENTS = [np.arange(0, 4), np.arange(4, 20), np.arange(20, 37)]
LINE = nn.Dense(1)
COMMON = {"loss": "mse", "display": "none", "learning_rate": 0.05, "batch_size": 8}


def equal(one, other):
    return all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


def close(one, other, tolerance=2e-6):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def by_hand(rounds: int, *, mu: float = 0.0, scaffold: bool = False, rate: float = 0.05, start=None, first: int = 0):
    """The rounds of :data:`CLIENTS` in NumPy, float64: bias and kernel after each."""
    source = RoundSource((X, Y), CLIENTS, batch_size=8, local_epochs=2)
    params = [np.asarray(leaf, np.float64) for leaf in (begun(0) if start is None else start.values())]
    share = np.array([rows.size for rows in CLIENTS]) / len(X)
    control = [[np.zeros_like(p) for p in params] for _ in CLIENTS]
    whole, after = [np.zeros_like(p) for p in params], []
    for number in range(first, first + rounds):
        learnt, news = [], []
        for client in range(len(CLIENTS)):
            own, steps = [p.copy() for p in params], 0
            for batch in np.split(source.order(number, client), source.batches_of(CLIENTS[client].size)):
                rows = batch[batch >= 0]
                error = 2 * (X[rows] @ own[1] + own[0] - Y[rows][:, None]) / rows.size
                slope = [error.sum(axis=0), X[rows].T @ error]
                for place, start in enumerate(params):
                    slope[place] = slope[place] + mu * (own[place] - start)
                    if scaffold:
                        slope[place] = slope[place] + whole[place] - control[client][place]
                own = [p - rate * g for p, g in zip(own, slope, strict=True)]
                steps += 1
            learnt.append(own)
            news.append(
                [c - w + (p - q) / (steps * rate)
                 for c, w, p, q in zip(control[client], whole, params, own, strict=True)]
            )  # fmt: skip
        params = [sum(s * own[place] for s, own in zip(share, learnt, strict=True)) for place in range(2)]
        if scaffold:
            for client, new in enumerate(news):
                whole = [w + share[client] * (n - o) for w, n, o in zip(whole, new, control[client], strict=True)]
            control = news
        after.append(params)
    return after


def begun(seed: int):
    """The parameters that a training of a seed begins with: its bias and its kernel."""
    key = jax.random.fold_in(jax.random.key(seed), 0)
    return jax.tree.leaves(LINE.init(key, (3,))[0])


@pytest.fixture(scope="module")
def three():
    return fit_clients(LINE, (X, Y), CLIENTS, rounds=4, local_epochs=2, **COMMON)


def test_the_mean_of_three_unequal_clients_is_that_of_numpy(three) -> None:
    close([three.params["bias"], three.params["kernel"]], by_hand(4)[-1])
    assert three.history[0]["clients"] == 3
    assert three.history[0]["client_change"] >= three.history[0]["change"] > 0


def test_one_client_is_a_plain_training_to_the_bit() -> None:
    network = nn.Sequential((nn.Dense(4, "tanh"), nn.Dropout(0.3), nn.BatchNorm(), nn.Dense(1)))
    how = {**COMMON, "seed": 3, "optimizer": "momentum"}
    one = fit_clients(network, (X, Y), [np.arange(37)], rounds=2, local_epochs=2, method=Method(remember=True), **how)
    plain = danlu.fit(network, (X, Y), epochs=4, **how)
    assert equal((one.params, one.state), (plain.params, plain.state))
    assert one.predict(X).shape == (37, 1)


def test_one_step_on_all_rows_of_each_client_is_a_step_on_all_rows() -> None:
    how = {**COMMON, "batch_size": 37}
    together = fit_clients(LINE, (X, Y), CLIENTS, rounds=5, **how)
    plain = danlu.fit(LINE, (X, Y), epochs=5, optimizer="sgd", **how)
    close(together.params, plain.params)


@pytest.mark.slow
@pytest.mark.parametrize("how", [{"mu": 0.5}, {"scaffold": True}], ids=str)
def test_clients_that_do_not_drift_are_those_of_numpy(how) -> None:
    method = Method("scaffold") if "scaffold" in how else Method("fedprox", proximal=0.5)
    found = fit_clients(LINE, (X, Y), CLIENTS, rounds=4, local_epochs=2, method=method, **COMMON)
    close([found.params["bias"], found.params["kernel"]], by_hand(4, **how)[-1], 2e-5)


@pytest.mark.slow
def test_scaffold_finds_the_middle_of_quadratics_that_pull_apart_and_fedavg_does_not() -> None:
    """Clients minimise aᵢ(θ − bᵢ)², whose sum is smallest at Σ aᵢbᵢ / Σ aᵢ; the mean of many local steps is not there."""
    x = np.sqrt(np.float32([[1.0], [9.0]]))
    b = np.float32([4.0, -1.0])
    y, line = x[:, 0] * b, nn.Dense(1, use_bias=False)
    best = float((np.square(x[:, 0]) * b).sum() / np.square(x).sum())
    how = {**COMMON, "batch_size": 1, "local_steps": 10, "rounds": 60, "learning_rate": 0.02}
    found = {
        name: float(fit_clients(line, (x, y), [[0], [1]], method=name, **how).params["kernel"][0, 0])
        for name in ("fedavg", "scaffold")
    }
    assert found["scaffold"] == pytest.approx(best, abs=1e-3)
    assert abs(found["fedavg"] - best) > 0.3


@pytest.mark.slow
def test_an_adaptive_server_is_its_optimizer_on_the_mean_change(three) -> None:
    server = optim.adam(0.1)
    fitted = fit_clients(LINE, (X, Y), CLIENTS, rounds=3, local_epochs=2, server=server, **COMMON)
    params = jax.tree.map(jnp.asarray, dict(zip(("bias", "kernel"), begun(0), strict=True)))
    state = server.init(params)
    for number in range(3):
        mean = by_hand(1, start=params, first=number)[-1]
        slope = {name: jnp.asarray(params[name] - own, jnp.float32) for name, own in zip(params, mean, strict=True)}
        updates, state = server.update(slope, state, params)
        params = optim.apply_updates(params, updates)
    close(fitted.params, params, 1e-5)


@pytest.mark.slow
def test_clients_side_by_side_learn_what_they_do_one_after_the_other(three) -> None:
    for how in ({"together": 2}, {"together": 3}):
        close(fit_clients(LINE, (X, Y), CLIENTS, rounds=4, local_epochs=2, **how, **COMMON).params, three.params)


@pytest.mark.slow
def test_what_stays_with_a_client_is_not_averaged() -> None:
    network = nn.Sequential((nn.Dense(3, "tanh"), nn.Dense(1)))
    how = {**COMMON, "rounds": 3, "method": Method(own=("1",))}
    fitted = fit_clients(network, (X, Y), CLIENTS, **how)
    key = jax.random.fold_in(jax.random.key(0), 0)
    start = network.init(key, (3,))[0]
    own = fitted.train_state.world["clients"]["own"]
    assert equal(fitted.params[1], start[1])
    assert not equal(fitted.params[0], start[0])
    assert all(leaf.shape[0] == 3 and not np.array_equal(leaf[0], leaf[1]) for leaf in own)


@pytest.mark.slow
def test_a_training_that_is_stopped_goes_on_to_the_same_bits(tmp_path) -> None:
    how = {**COMMON, "method": "scaffold", "clients_per_round": 2, "local_epochs": 2}
    whole = fit_clients(LINE, (X, Y), CLIENTS, rounds=6, **how)
    fit_clients(LINE, (X, Y), CLIENTS, rounds=3, checkpoint=tmp_path, **how)
    again = fit_clients(LINE, (X, Y), CLIENTS, rounds=6, checkpoint=tmp_path, resume=True, **how)
    assert equal(again.params, whole.params)
    assert [row["loss"] for row in again.history] == [row["loss"] for row in whole.history]


def test_who_takes_part_is_drawn_anew_in_each_round() -> None:
    source = RoundSource((X, Y), [np.array([row]) for row in range(37)], batch_size=8, per_round=5, multiple=4)
    drawn = [source.drawn(number) for number in range(40)]
    assert all(np.unique(each).size == 5 for each in drawn)
    assert np.unique(np.concatenate(drawn)).size == 37
    order = np.asarray(next(source.pieces(3, 0)).order)
    assert order.shape == (8, 8)
    assert order[:5, 0].tolist() == drawn[3].tolist()
    assert np.all(order[5:] < 0)


@pytest.mark.parametrize(
    ("clients", "how", "said"),
    [
        ([[0, 1], []], {}, "client 1 has no rows to learn from"),
        ([], {}, "there are no clients"),
        ([[0, 1], [1, 2]], {}, "row 1 is named 2 times"),
        ([[0], [1]], {"clients_per_round": 3}, "clients_per_round is 3; expected 1 to 2"),
        ([[0], [1]], {"epochs": 3}, "expected rounds, and local_epochs"),
        ([[0], [1]], {"method": "fedprix"}, "unknown method of federated learning 'fedprix'"),
        ([[0], [1]], {"method": "scaffold", "optimizer": "adam"}, "plain gradient descent at one rate"),
        ([[0], [1]], {"method": Method(own=("9",))}, "the pattern '9' names no array"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_is_refused(clients, how, said) -> None:
    with pytest.raises((ConfigError, DataError), match=said):
        fit_clients(LINE, (X, Y), clients, **{**COMMON, "rounds": 2, **how})


def test_settings_of_other_methods_are_refused() -> None:
    with pytest.raises(ConfigError, match="the pull is fedprox's"):
        Method("fedavg", proximal=0.1)
    with pytest.raises(ConfigError, match="it is for fedadam, fedyogi, fedadagrad"):
        Method("scaffold", tau=0.1)


LABELS = np.repeat(np.arange(10), 100)


@pytest.mark.parametrize(
    "clients",
    [evenly(1000, 7), by_dirichlet(LABELS, 7), by_classes(LABELS, 7), by_quantity(1000, 7), by_value(LABELS)],
    ids=lambda clients: clients.said,
)
def test_each_row_has_one_client(clients) -> None:
    assert np.array_equal(np.sort(np.concatenate(clients.rows)), np.arange(1000))
    assert len(set(clients.names)) == len(clients)


def test_splits_are_as_uneven_as_they_are_asked_to_be() -> None:
    def classes(clients):
        return [np.unique(LABELS[rows]).size for rows in clients.rows]

    def largest(clients):
        return np.mean([np.bincount(LABELS[rows]).max() / rows.size for rows in clients.rows])

    assert max(classes(by_classes(LABELS, 10, each=2))) == 2
    few, many = (by_dirichlet(LABELS, 5, alpha=alpha) for alpha in (0.1, 100.0))
    assert largest(few) > largest(many) + 0.1
    assert np.ptp(evenly(1000, 7).sizes) <= 1 < np.ptp(by_quantity(1000, 7).sizes)
    assert by_value(["b", "a", "b"]).names == ("a", "b")


def test_more_clients_than_rows_are_refused() -> None:
    with pytest.raises(ConfigError, match="5 rows cannot be divided among 9 clients"):
        evenly(5, 9)
    with pytest.raises(DataError, match="of 2 clients 1 have no rows"):
        by_value(["a"]).__class__(("a", "b"), (np.arange(2), np.arange(0)), "given")


def private(**how):
    return {**COMMON, "rounds": 1, "local_epochs": 2, "optimizer": "sgd", **how}


@pytest.mark.slow
def test_a_private_round_bounds_each_client_and_counts_all_alike() -> None:
    """Without noise it is the mean of the clipped changes, each counted alike, whatever its rows."""
    start = [np.asarray(leaf) for leaf in begun(0)]
    alone = fit_clients(LINE, (X, Y), CLIENTS, method=Method(own=("*",)), **private())
    own = [np.asarray(leaf) for leaf in alone.train_state.world["clients"]["own"]]
    changes = [[leaf[client] - old for leaf, old in zip(own, start, strict=True)] for client in range(3)]
    clip = 0.2
    found = fit_clients(LINE, (X, Y), CLIENTS, private=Private(noise=0.0, clip=clip), **private())
    norms = [np.sqrt(sum(np.square(leaf).sum() for leaf in change)) for change in changes]
    assert max(norms) > clip
    expected = [
        old + sum(change[place] * min(1, clip / norm) for change, norm in zip(changes, norms, strict=True)) / 3
        for place, old in enumerate(start)
    ]
    close([found.params["bias"], found.params["kernel"]], expected, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("local", "size"), [(False, 1 / 3), (True, 1 / np.sqrt(3))])
def test_the_noise_of_a_private_round_is_as_large_as_it_says(local, size) -> None:
    wide = nn.Dense(400)
    x, y = np.zeros((37, 400), np.float32), np.zeros((37, 400), np.float32)
    mse = lambda outputs, targets: jnp.mean(jnp.square(outputs - targets), axis=-1)  # noqa: E731
    how = private(loss=mse, learning_rate=1e-9)
    quiet, loud = (
        fit_clients(wide, (x, y), CLIENTS, private=Private(noise=z, clip=0.5, local=local), **how).params["kernel"]
        for z in (0.0, 2.0)
    )
    assert float(np.std(loud - quiet)) == pytest.approx(2.0 * 0.5 * size, rel=0.02)


def test_each_client_of_a_private_round_is_drawn_by_itself() -> None:
    source = RoundSource(
        (X, Y), [np.array([row]) for row in range(37)], batch_size=8, per_round=6, poisson=True, multiple=4
    )
    counts = [source.drawn(number).size for number in range(400)]
    assert np.mean(counts) == pytest.approx(6, abs=0.4)
    assert np.var(counts) == pytest.approx(37 * 6 / 37 * (1 - 6 / 37), rel=0.3)
    assert source.width >= 20
    assert source.width % 4 == 0


def test_who_is_drawn_for_a_private_round_is_a_secret() -> None:
    """The ledger counts on it: whoever knew who takes part, by the published seed, would see more."""
    rows = [np.array([row]) for row in range(37)]
    one, same, other, open_ = (
        RoundSource((X, Y), rows, batch_size=8, per_round=6, poisson=True, secret=secret)
        for secret in (*(Secret(tuple(range(first, first + 8))) for first in (0, 0, 1)), None)
    )
    who = [[source.drawn(number).tolist() for number in range(5)] for source in (one, same, other, open_)]
    assert who[0] == who[1]
    assert who[0] != who[2]
    assert who[3] not in who[:3]


@pytest.mark.parametrize("local", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_nobody_who_knows_the_seed_can_draw_the_noise_of_clients_again(local, tmp_path) -> None:
    """Two trainings of one seed have noise of their own; one that goes on has its own again, and leaves no secret."""
    how = {**COMMON, "rounds": 2, "private": Private(noise=1.0, local=local)}
    other = fit_clients(LINE, (X, Y), CLIENTS, **how)
    fit_clients(LINE, (X, Y), CLIENTS, checkpoint=tmp_path / "one", callbacks=[Stop(0)], **how)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    one, two = (
        fit_clients(LINE, (X, Y), CLIENTS, checkpoint=tmp_path / name, resume=True, callbacks=[Stop(9)], **how)
        for name in ("one", "two")
    )
    assert equal(one.params, two.params)
    assert not equal(one.params, other.params)
    assert len(one.history) == 2
    for name in ("one", "two"):
        assert not (tmp_path / name / "secret").exists()
    world = one.train_state.world
    for kept in (world["clients"], world["privacy"]):
        assert not jax.random.key_data(kept["secret"]).any()


@pytest.mark.parametrize(
    ("network", "how", "said"),
    [(LINE, {"method": "scaffold"}, "control variate"), (nn.Sequential((LINE, nn.BatchNorm())), {}, "batch norm")],
    ids=["scaffold", "batch norm"],
)
def test_what_would_send_more_than_a_bounded_change_is_refused(network, how, said) -> None:
    with pytest.raises(ConfigError, match=said):
        fit_clients(network, (X, Y), CLIENTS, private=Private(noise=1.0), **private(**how))


@pytest.mark.slow
def test_devices_share_the_clients_of_a_round(three) -> None:
    for how in ({"devices": 2}, {"devices": 2, "together": 2}):
        found = fit_clients(LINE, (X, Y), CLIENTS, rounds=4, local_epochs=2, **how, **COMMON)
        close(found.params, three.params)
        assert found.history[-1]["clients"] == 3


def test_what_fedrep_trains_in_turn_is_asked_for() -> None:
    with pytest.raises(ConfigError, match="own names nothing"):
        Method("fedrep")
    how = {**COMMON, "rounds": 1, "method": Method("fedrep", own=("bias",))}
    for given, said in (({}, "local_epochs is 1, and fedrep"), ({"local_steps": 4}, "local_steps is 4, and fedrep")):
        with pytest.raises(ConfigError, match=said):
            fit_clients(LINE, (X, Y), CLIENTS, **how, **given)


def test_words_name_the_head_and_the_norms_of_any_network() -> None:
    zero = np.zeros(2)
    params = ({"bias": zero, "kernel": zero}, {"offset": zero, "scale": zero}, {"bias": zero, "kernel": zero})
    state = ({}, {"mean": zero, "variance": zero}, {})
    assert patterns_of(("head", "norms"), params, state) == ("2", "1")
    assert patterns_of(("head",), {"head": 0, "head_bias": 0, "kernel_0": 0}, {}) == ("head", "head_bias")
    tree = (params, state)
    mine = [leaf for leaf, own in zip(jax.tree.leaves(tree), chosen(tree, ("1",)), strict=True) if own]
    assert len(mine) == 4, "scale, offset, mean and variance"
    assert equal(replaced(tree, ("1",), [leaf + 1 for leaf in mine])[0][0], params[0])
    for word, said in (("head", "no layers one after the other"), ("norms", "no batch norm")):
        with pytest.raises(ConfigError, match=said):
            patterns_of((word,), {"kernel": 0}, {})


ROWS = PerExample(clip=1.0, noise=1.0, expected=4.0)


def test_private_rows_are_drawn_one_by_one_by_a_secret_of_each_client() -> None:
    secret, room = Secret(tuple(range(8))), room_of_rows(ROWS, [4, 16, 17])
    source = RoundSource((X, Y), CLIENTS, batch_size=room, local_epochs=2, expected=4.0, secret=secret)
    assert [source.batches_of(rows.size) for rows in CLIENTS] == [2, 8, 8]
    for number in range(3):
        order = np.asarray(next(source.pieces(number, 0)).order)
        for place, own in enumerate(CLIENTS):
            visited = order[place][: source.batches_of(own.size) * room]
            assert set(np.where(visited >= 0, visited, ~visited).tolist()) <= set(own.tolist()), (
                "fillers are its own too"
            )
            assert (visited != -1).all(), "-1 says that a client is absent"
    counts = [int((source.order(number, 1) >= 0).sum()) for number in range(60)]
    assert np.mean(counts) == pytest.approx(8 * 4, rel=0.1)
    assert np.std(counts) > 2, "how many are drawn is left to chance"
    assert secret.part(0) != secret.part(1)
    assert not np.array_equal(source.order(0, 1), source.order(1, 1))


def test_what_private_rows_do_not_allow_is_said() -> None:
    how = {**COMMON, "rounds": 1}
    with pytest.raises(DataError, match="client 0 has 4 rows to learn from, and a private batch has 8"):
        fit_clients(LINE, (X, Y), CLIENTS, gradient=ROWS.replace(expected=8.0), **how)
    with pytest.raises(ConfigError, match="has no noise, or does not know"):
        fit_clients(LINE, (X, Y), CLIENTS, gradient=PerExample(clip=1.0), **how)
    with pytest.raises(ConfigError, match="whole clients and the rows of each"):
        fit_clients(LINE, (X, Y), CLIENTS, gradient=ROWS, private=Private(noise=1.0), **how)


@pytest.mark.slow
def test_private_rows_go_on_to_the_same_bits_and_leave_no_secret(tmp_path) -> None:
    how = {**COMMON, "gradient": ROWS, "local_epochs": 1}
    fit_clients(LINE, (X, Y), CLIENTS, rounds=4, checkpoint=tmp_path / "one", callbacks=[Stop(1)], **how)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    one, two = (
        fit_clients(
            LINE, (X, Y), CLIENTS, rounds=4, checkpoint=tmp_path / name, resume=True, callbacks=[Stop(9)], **how
        )
        for name in ("one", "two")
    )
    assert equal(one.params, two.params)
    assert len(one.history) == 4
    assert not (tmp_path / "one" / "secret").exists()
    assert not jax.random.key_data(one.train_state.world["clients"]["secret"]).any()
    assert one.train_state.world["clients"]["step"].tolist() == [4, 16, 16]
