"""The X-ray: its numbers, read from the page, against NumPy; films of what trains; wrong use."""

from __future__ import annotations

import base64
import json
import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import danlu
from danlu import nn, optim
from danlu.engine import Supervised
from danlu.errors import ConfigError, DataError
from danlu.film import Film, xray
from danlu.film.slopes import Slopes
from danlu.nn.backprop import tape as tape_module
from danlu.nn.backprop import trace


def _read(page: str):
    """What the page holds, as a reader would take it out: nested data, arrays of float32."""
    text = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.S)[1]

    def array(node):
        if isinstance(node, dict) and set(node) >= {"s", "d"}:
            return np.frombuffer(base64.b64decode(node["d"]), np.float32).reshape(node["s"])
        if isinstance(node, dict):
            return {name: array(each) for name, each in node.items()}
        return [array(each) for each in node] if isinstance(node, list) else node

    return array(json.loads(text.replace("<\\/", "</")))


@pytest.fixture(scope="module")
def film():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(24, 2)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] > 0).astype(np.int32)
    film = Film(rows=3, at=[0, 1, 4])
    film.fitted = danlu.fit(
        nn.MLP((4,), 2, activation="tanh"), x, y, loss="categorical_cross_entropy", optimizer=optim.adam(0.05),
        batch_size=8, epochs=2, callbacks=[film], display="none",
    )  # fmt: skip
    film.given = (x, y)
    return film


@pytest.fixture(scope="module")
def seen(film):
    return xray(film, title="XOR </script>", classes=["no", "yes"], names=["left", "right"])


def test_the_numbers_of_the_page_equal_a_recomputation_in_numpy(film, seen):
    data = _read(seen.page())
    x, y = film.given[0][list(film.numbers)], film.given[1][list(film.numbers)]
    assert [frame["step"] for frame in data["frames"]] == [0, 1, 4, 6]
    for frame in data["frames"]:
        first, last = frame["layers"]
        w, b = (np.float64(first["params"][name]["w"]) for name in ("kernel", "bias"))
        v, c = (np.float64(last["params"][name]["w"]) for name in ("kernel", "bias"))
        h = np.tanh(x @ w + b)
        z = h @ v + c
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        delta = (p - np.eye(2)[y]) / len(y)
        back = delta @ v.T
        below = back * (1 - h * h)
        close = {"rtol": 1e-5, "atol": 1e-6}
        np.testing.assert_allclose(frame["outputs"], p, **close)
        np.testing.assert_allclose(frame["loss"], -np.mean(np.log(p[range(3), y])), **close)
        np.testing.assert_allclose(last["arrays"]["delta"], delta, **close)
        np.testing.assert_allclose(last["params"]["kernel"]["g"], h.T @ delta, **close)
        np.testing.assert_allclose(first["arrays"]["dy"], back, **close)
        np.testing.assert_allclose(first["arrays"]["z"], x @ w + b, **close)
        np.testing.assert_allclose(first["params"]["kernel"]["g"], x.T @ below, **close)
        np.testing.assert_allclose(first["params"]["bias"]["g"], below.sum(0), **close)
        np.testing.assert_allclose(first["arrays"]["dx"], below @ w.T, **close)
        np.testing.assert_allclose(first["params"]["kernel"]["check"], x.T @ below, **close)  # the finite differences


def test_the_update_is_the_one_that_adam_made_and_leads_to_the_next_frame(film, seen):
    data = _read(seen.page())
    one, two = data["frames"][0]["layers"], data["frames"][1]["layers"]
    for before, after in zip(one, two, strict=True):
        for name, param in before["params"].items():
            g = np.float64(param["G"])
            np.testing.assert_allclose(param["u"], -0.05 * g / (np.abs(g) + 1e-8), rtol=1e-4)  # Adam's first update
            np.testing.assert_allclose(param["w"] + param["u"], after["params"][name]["w"], rtol=1e-6, atol=1e-7)
            np.testing.assert_allclose(after["params"][name]["mean"], 0.1 * g, rtol=1e-4, atol=1e-9)
    last = data["frames"][-1]["layers"]
    np.testing.assert_array_equal(last[0]["params"]["kernel"]["w"], film.fitted.params[0]["kernel"])
    assert "u" not in last[0]["params"]["kernel"]


def test_filming_changes_no_bit_of_the_training(film):
    x, y = film.given
    plain = danlu.fit(
        nn.MLP((4,), 2, activation="tanh"), x, y, loss="categorical_cross_entropy", optimizer=optim.adam(0.05),
        batch_size=8, epochs=2, display="none",
    )  # fmt: skip
    jax.tree.map(np.testing.assert_array_equal, plain.params, film.fitted.params)


def test_everything_was_checked_and_is_right(seen):
    assert seen.error < 1e-5
    assert seen.checked == 4 * (3 * 4 + 3 * 2 + 2 * 4 + 4 + 4 * 2 + 2)
    assert "compared with finite differences" in str(seen).replace("\n", " ")
    assert max(len(line) for line in str(seen).split("\n")) <= 80
    assert "∂L/∂w = Σ x·δ" in str(seen)
    page = seen.page()
    assert len(page.encode()) < 2e6
    assert "XOR </script>" not in page
    assert "//" not in re.sub(r"<script.*</script>", "", page, flags=re.S)  # no outside resource
    assert "<iframe" in seen._repr_html_()


def test_a_wrong_rule_is_found_out(film, monkeypatch):
    rule = tape_module.LAYER_RULES[nn.Dense]

    def wrong(visit, dy):
        dx, gradients = rule(visit, dy)
        return dx, {**gradients, "kernel": gradients["kernel"] * 1.01}

    monkeypatch.setattr(tape_module, "LAYER_RULES", {**tape_module.LAYER_RULES, nn.Dense: wrong})
    assert xray(film).error > 5e-3


def test_an_error_signal_is_the_slope_along_a_nudge():
    net = nn.Sequential((nn.Dense(3, activation="tanh"), nn.Dense(1)))
    params, state, _ = net.init(jax.random.key(0), (2,))
    x, y = jnp.ones((2, 2)), jnp.array([1.0, 2.0])
    found = trace(net, params, state, x, y, nn.get_loss("mse"))
    slopes = Slopes(net, nn.get_loss("mse"), x, y)
    outputs = {record.path: record.error for record in found.records}
    below, above = slopes.of_outputs(params, state, outputs, np.arange(8))
    expected = np.concatenate([np.ravel(found.records[0].error), np.ravel(found.records[1].error)])
    np.testing.assert_allclose((below + above) / 2, expected, rtol=1e-5, atol=1e-7)


def test_the_table_network_is_walked_part_by_part():
    net = nn.TabularNet(2, vocabularies=(4, 30), members=3, width=8)
    params, state, _ = net.init(jax.random.key(0), {"numeric": (2,), "categorical": (2,), "text": (3,)})
    params = jax.tree.map(lambda a: a + 0.1, params)
    rng = np.random.default_rng(0)
    x = {
        "numeric": jnp.asarray(rng.normal(size=(6, 2)), jnp.float32),
        "categorical": jnp.asarray(rng.integers(0, 4, (6, 2))),
        "text": jnp.asarray(rng.normal(size=(6, 3)), jnp.float32),
    }
    state = net.with_bins(state, np.asarray(rng.normal(size=(100, 2)), np.float32))
    y, loss = jnp.array([0, 1, 0, 1, 1, 0]), nn.get_loss("categorical_cross_entropy")
    paths = []

    @jax.jit
    def walked(params, x):
        found = trace(net, params, state, x, y, loss)
        paths.extend(record.path for record in found.records)
        return found.gradients, found.input_error["numeric"], found.input_error["text"]

    def mean(params, x):
        return jnp.mean(loss(net.apply(params, state, x)[0], y))

    expected, of_x = jax.jit(jax.grad(mean, argnums=(0, 1), allow_int=True))(params, x)
    gradients, *errors = walked(params, x)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), gradients, expected)
    for error, name in zip(errors, ("numeric", "text"), strict=True):
        np.testing.assert_allclose(error, of_x[name], atol=2e-6)
    assert paths == ["categorical", "numeric", "scale", "hidden_0", "hidden_1", "head", "shortcut"]


def test_of_a_population_the_first_training_is_filmed():
    x = np.linspace(-1, 1, 16, dtype=np.float32)[:, None]
    film = Film(rows=[0, 5], at=[0, 2])
    fitted = danlu.fit_population(
        nn.Dense(1), x, 2 * x[:, 0], seeds=[0, 1], loss="mse", optimizers=optim.sgd(0.1), batch_size=8, epochs=2,
        callbacks=[film], display="none",
    )  # fmt: skip
    assert film.members == 2
    assert [frame.step for frame in film.frames] == [0, 2, 4]
    np.testing.assert_array_equal(film.frames[-1].state.params["kernel"], fitted[0].params["kernel"])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Film(rows=0), "rows is 0; expected how many"),
        (lambda: Film(rows=[-1]), "rows is"),
        (lambda: Film(at=[]), "at is"),
        (lambda: Film(frames=1), "frames is 1"),
        (lambda: Film(until=0), "until is 0"),
        (lambda: xray(Film()), "the film is empty"),
    ],
)
def test_wrong_use_is_told(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


def test_what_cannot_be_filmed_is_told():
    x = np.ones((8, 1), np.float32)
    with pytest.raises(DataError, match="rows names row 99"):
        danlu.fit(nn.Dense(1), x, x[:, 0], loss="mse", epochs=1, callbacks=[Film(rows=[99])], display="none")
    net = nn.Parallel((nn.Dense(1), nn.Dense(1)), merge="dict", outputs=("a", "b"))
    program = danlu.engine.Program(net, Supervised(net, (("a", nn.get_loss("mse")),)), optim.sgd(0.1).update)
    film = Film()
    film.training = SimpleNamespace(program=program)
    with pytest.raises(ConfigError, match="several losses"):
        film.on_train_begin()
