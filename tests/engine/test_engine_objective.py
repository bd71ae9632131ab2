"""Objectives with terms, several inputs and outputs, random draws in evaluation; gradients row by row, and their norms."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import danlu
from danlu import nn, optim
from danlu.blueprint import from_json, to_json
from danlu.engine import (
    Accumulated,
    Around,
    Gradient,
    LambdaCallback,
    Objective,
    PerExample,
    Probed,
    TrainState,
    Whole,
    fit,
    fit_population,
    run_steps,
)
from danlu.engine.measures import Part, TakesWeights
from danlu.errors import ConfigError, DataError
from danlu.federated import Drift

RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 3)).astype(np.float32)
Y = (X @ np.float32([1, -2, 0.5]) + 1).astype(np.float32)
MODEL = nn.Dense(1)
START = ({"kernel": jnp.full((3, 1), 0.5), "bias": jnp.zeros(1)}, {})
COMMON: dict[str, Any] = {"display": "none", "epochs": 1, "batch_size": 48}


class Noisy(Objective):
    """Two terms and a measure; the second term draws random numbers, in evaluation too."""

    model: nn.Layer

    directions = {"size": "min"}  # noqa: RUF012

    def __call__(self, params, state, batch, key, *, train):
        y, state = self.model.apply(params, state, batch["x"], train=train, key=key)
        drawn = jax.random.normal(key, y[:, 0].shape)
        fit, size = jnp.square(y[:, 0] - batch["y"]), jnp.square(y[:, 0] * (1 + drawn))
        return {"fit": fit, "size": size}, state, {"drawn": drawn}


def leaves(tree: Any) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def test_terms_add_up_by_weights_that_compile_nothing() -> None:
    fitted = fit(MODEL, (X, Y), loss=Noisy(MODEL), loss_weights={"size": 0.25}, validation=(X, Y), **COMMON)
    before = run_steps._cache_size()
    for row in fitted.history:
        for prefix in ("", "val_"):
            total = row[f"{prefix}fit"] + 0.25 * row[f"{prefix}size"]
            assert row[f"{prefix}loss"] == pytest.approx(total, rel=1e-5)
    assert fitted.evaluate((X, Y))["loss"] == pytest.approx(fitted.history[0]["val_loss"], rel=1e-5)
    rise = LambdaCallback()
    rise.on_epoch_begin = lambda epoch: setattr(rise.training, "weights", {"size": float(epoch)})  # type: ignore[method-assign]
    settings = COMMON | {"epochs": 3, "optimizer": optim.sgd(0.0), "initial": START}
    risen = fit(MODEL, (X, Y), loss=Noisy(MODEL), loss_weights={"size": 9}, callbacks=[rise], **settings)
    kept = fit(MODEL, (X, Y), loss=Noisy(MODEL), **settings)
    assert run_steps._cache_size() == before + 1, "another optimizer is another program; other weights are not"
    for epoch, (row, other) in enumerate(zip(risen.history, kept.history, strict=True)):
        assert row["loss"] == pytest.approx(row["fit"] + epoch * row["size"], rel=1e-5)
        assert other["loss"] == pytest.approx(row["fit"] + row["size"], rel=1e-5)


def test_evaluation_has_a_key_of_its_own() -> None:
    fitted = fit(
        MODEL, (X, Y), loss=Noisy(MODEL), validation=(X, Y), **COMMON | {"epochs": 2, "optimizer": optim.sgd(0.0)}
    )
    first, second = fitted.history
    assert first["val_drawn"] == second["val_drawn"] != 0
    assert first["drawn"] != second["drawn"]


def test_members_have_weights_of_their_own_in_the_state() -> None:
    members = fit_population(MODEL, (X, Y), loss=Noisy(MODEL), loss_weights={"fit": 2}, seeds=[0, 1], **COMMON)
    for member in members:
        row = member.history[0]
        assert row["loss"] == pytest.approx(2 * row["fit"] + row["size"], rel=1e-5)
        assert member.weights["fit"] == 2


TWO = nn.Parallel((nn.Dense(1), nn.Dense(3)), merge="dict", inputs=("left", "right"), outputs=("price", "kind"))
INPUTS = {"left": X, "right": X[:, :2]}
TARGETS = {"price": Y, "kind": np.arange(48, dtype=np.int32) % 3}
LOSSES = {"price": "mse", "kind": "categorical_cross_entropy"}


def test_several_inputs_and_outputs_are_their_losses_added_up(tmp_path: Any) -> None:
    """With nothing shared, each head learns as it does alone with its loss times its weight."""
    initial = TWO.init(jax.random.key(0), {"left": (3,), "right": (2,)})[:2]
    together = fit(
        TWO, INPUTS, TARGETS, loss=LOSSES, loss_weights={"price": 0.5}, metrics={"kind": ["accuracy"], "price": "mae"},
        optimizer=optim.sgd(0.1), initial=initial, validation=(INPUTS, TARGETS), monitor="val_kind_accuracy",
        restore_best=False, **COMMON | {"epochs": 3, "batch_size": 16},
    )  # fmt: skip
    order = {"epochs": 3, "batch_size": 16, "display": "none"}
    price = fit(MODEL, X, Y, loss=lambda o, t: 0.5 * jnp.square(o[:, 0] - t), optimizer=optim.sgd(0.1),
                initial=jax.tree.map(lambda a: a, (initial[0][0], {})), **order)  # fmt: skip
    for ours, alone in zip(leaves(together.params[0]), leaves(price.params), strict=True):
        np.testing.assert_allclose(ours, alone, rtol=1e-5, atol=1e-6)
    row = together.history[-1]
    assert row["loss"] == pytest.approx(0.5 * row["price"] + row["kind"], rel=1e-5)
    assert {"price", "kind", "kind_accuracy", "price_mae", "val_price", "val_kind_accuracy"} <= set(row)
    loaded = danlu.load(together.save(tmp_path / "two"))
    assert loaded.evaluate((INPUTS, TARGETS)) == together.evaluate((INPUTS, TARGETS))
    assert together.predict(INPUTS)["kind"].shape == (48, 3)


def test_a_part_asks_what_its_measure_asks() -> None:
    weighed = Part.of("a", TakesWeights(lambda o, t, w: jnp.sum(w * (o[:, 0] - t))))
    outputs, targets = {"a": jnp.ones((2, 1))}, {"a": jnp.zeros(2)}
    assert float(weighed(outputs, targets, jnp.array([1.0, 2.0]))) == 3
    with pytest.raises(DataError, match="for 3 outputs"):
        fit(TWO, INPUTS, {**TARGETS, "kind": np.arange(48) % 4}, loss=LOSSES, **COMMON)
    with pytest.raises(DataError, match="is for 'kind', and the targets are a dict of price"):
        fit(TWO, INPUTS, TARGETS, loss=LOSSES, validation=(INPUTS, {"price": Y}), **COMMON)


def test_an_output_without_a_loss_is_told_of() -> None:
    with pytest.warns(UserWarning, match="no entry for 'kind' of the model's outputs, so they are not trained"):
        fit(TWO, INPUTS, TARGETS, loss={"price": "mse"}, **COMMON)


class Loud(Noisy):
    """Three names that are taken."""

    name: str = "loss"

    def __call__(self, params, state, batch, key, *, train):
        values, state, _ = super().__call__(params, state, batch, key, train=train)
        return {**values, self.name: values["fit"]}, state, {}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "mse", "loss_weights": {"mse": 1}}, "the loss is one value"),
        ({"loss": Noisy(MODEL), "loss_weights": {"siz": 1}}, "siz"),
        ({"loss": Noisy(MODEL), "loss_weights": {"size": "much"}}, "loss_weights.size"),
        ({"loss": Loud(MODEL)}, "returns a value called 'loss'"),
        ({"loss": Loud(MODEL, "l2")}, "returns a value called 'l2'"),
        ({"loss": {}}, "an empty dict"),
        ({"loss": "mse", "gradient": "per example"}, "expected a danlu.engine.Gradient"),
        (
            {"loss": lambda o, t: jnp.mean(jnp.square(o[:, 0] - t)), "gradient": PerExample(1.0)},
            "PerExample would split",
        ),
        ({"loss": "mse", "gradient": Accumulated(5)}, "among 5 micro-batches"),
        ({"loss": {"price": "mse"}}, "is for 'price', and the outputs are no dict"),
    ],
)
def test_what_cannot_be_meant_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, DataError), match=message):
        fit(MODEL, (X, Y), **{**COMMON, **settings})


def begun(model: nn.Layer, shape: Any = (3,)) -> TrainState:
    params, state, _ = model.init(jax.random.key(1), shape)
    return TrainState(jnp.int32(0), jax.random.key(2), params, state, (), {})


BATCH = {"x": jnp.asarray(X[:6]), "y": jnp.asarray(Y[:6]), "weight": jnp.float32([1, 1, 2, 0, 1, 0.5])}


@functools.partial(jax.jit, static_argnums=(0, 1))
def found(gradient: Any, objective: Any, *given: Any) -> Any:
    """What a gradient makes of an objective, a state, a batch and a key."""
    return gradient(objective, *given)


def test_a_layer_that_mixes_rows_has_no_gradient_of_one() -> None:
    model = nn.Sequential((nn.BatchNorm(), nn.Dense(1)))
    with pytest.raises(ConfigError, match="gradient of each row separately, but the network's state"):
        fit(model, (X, Y), loss="mse", gradient=PerExample(1.0), **COMMON)


def test_private_steps_learn_by_fit() -> None:
    fitted = fit(MODEL, (X, Y), loss="mse", gradient=PerExample(1.0, 0.1), learning_rate=0.1, **COMMON | {"epochs": 60})
    assert fitted.history[-1]["loss"] < 0.3 * fitted.history[0]["loss"]


def test_a_probe_shows_each_layers_norms_and_changes_nothing() -> None:
    model = nn.Sequential((nn.Dense(2, "tanh"), nn.Dense(1)))
    settings = COMMON | {"optimizer": optim.sgd(0.1), "validation": (X, Y), "l2": 0.1}
    plain, probed = (
        fit(model, (X, Y), loss="mse", gradient=gradient, **settings) for gradient in (None, Probed(Accumulated(2)))
    )
    row = probed.history[0]
    params, _, _ = model.init(jax.random.fold_in(jax.random.key(0), 0), (3,))
    for layer, (old, new) in enumerate(zip(params, probed.params, strict=True)):
        moved = np.sqrt(sum(np.sum(np.square(a - b)) for a, b in zip(leaves(old), leaves(new), strict=True)))
        assert row[f"update_norm/{layer}"] == pytest.approx(moved, rel=1e-4)
        assert row[f"gradient_norm/{layer}"] == pytest.approx(10 * moved, rel=1e-4)
    assert not any(name.startswith("val_") and "norm" in name for name in row)
    for a, b in zip(leaves(plain.params), leaves(probed.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


class Marked(Whole):
    """A gradient each of whose traits is another than that of :class:`Gradient`."""

    cuts, whole, private = 3, False, True

    def carried(self, key: Any) -> Any:
        return "carried"

    def observe(self, grads: Any, updates: Any) -> Any:
        return {"seen": 1.0}


def test_a_gradient_around_another_has_what_it_does_not_change() -> None:
    told = {name for name in vars(Gradient) if not name.startswith("_") or name == "__call__"}
    assert told <= vars(Around).keys(), "a new member is passed on too"
    assert {"cuts", "whole", "private", "plain", "finish", "carried", "values", "observe", "__call__"} <= told
    for around in (Accumulated(1, Marked()), Probed(Marked()), Drift(Marked(), True)):
        assert (around.cuts, around.whole, around.private, around.plain) == (3, False, True, True)
        assert around.observe({}, {}) == {"seen": 1.0}
    assert Probed(Accumulated(2, Marked())).cuts == 6
    assert Accumulated(2, Marked()).carried(None) == "carried"
    assert from_json(to_json(Accumulated(2, Probed()))) == Accumulated(2, Probed())
