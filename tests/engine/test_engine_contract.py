"""What an objective, a program and a state of one's own must be like, and the words for what is not so."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu import nn, optim
from danlu.engine import Alternate, Callback, Objective, Population, Probed, Program, TrainState, fit, train
from danlu.engine.sources import ArraySource
from danlu.errors import ConfigError

X, Y = np.ones((8, 2), np.float32), np.ones(8, np.float32)
MODEL, OPTIMIZER = nn.Dense(1), optim.sgd(0.1)
FIELDS: dict[str, Any] = {"display": "none", "epochs": 1, "batch_size": 8}


class Says(Objective):
    """Returns what ``form`` names."""

    form: Any

    def __call__(self, params, state, batch, key, *, train):
        values = batch["y"] * params["kernel"][0, 0]
        return {
            "right": lambda: ({"a": values, "b": values}, state, {"m": values}),
            "values": lambda: values,
            "two": lambda: (values, state),
            "no measures": lambda: (values, state, None),
            "no terms": lambda: ({}, state, {}),
            "state": lambda: (values, {"n": jnp.zeros(())}, {}),
            "terms": lambda: ({"a": values} | ({"b": values} if train else {}), state, {}),
            "measured": lambda: (values, state, {} if train else {"m": values}),
        }[self.form]()


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("values", "returns one value; expected a tuple of 3"),
        ("two", "returns a tuple of 2; expected a tuple of 3"),
        ("no measures", "None as its measures"),
        ("no terms", "returns no term"),
        ("state", "a state of another form.*n of shape"),
        ("terms", r"the terms \['a', 'b'\] with train=True and \['a'\] with"),
        ("measured", r"the measures \(none\) with train=True"),
        (np.ones(3), "cannot be compared.*ndarray"),
    ],
)
def test_an_objective_that_returns_something_else_is_refused(form: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        fit(MODEL, (X, Y), loss=Says(form), **FIELDS)


class Spread(Objective):
    """One number of the whole batch, with or without a look at the rows' weights."""

    weighed: bool = False

    def __call__(self, params, state, batch, key, *, train):
        value, weight = batch["x"] @ params["kernel"][:, 0], batch["weight"]
        mean = jnp.sum(value * weight) / jnp.sum(weight) if self.weighed else jax.jit(jnp.mean)(value)
        return {"spread": mean, "size": jnp.sum(jnp.square(params["kernel"]))}, state, {}


class Complete(Spread):
    """The same, of full batches."""

    complete = frozenset({"spread"})


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_number_of_a_batch_uses_the_weights_or_says_that_it_is_of_full_batches(precision: str) -> None:
    data, fields = (np.ones((11, 2), np.float32), np.ones(11)), {**FIELDS, "precision": precision}
    with pytest.raises(
        ConfigError, match=r"objective Spread returns 'spread' as one number(?s:.*)complete = frozenset"
    ):
        fit(MODEL, data, loss=Spread(), **fields)
    assert fit(MODEL, data, loss=Spread(True), **fields).history[0]["step"] == 2
    assert fit(MODEL, data, loss=Complete(), **fields).history[0]["step"] == 1  # the ragged batch is left out


def start(**fields: Any) -> TrainState:
    params, state, _ = MODEL.init(jax.random.key(0), (2,))
    return TrainState.start(params, OPTIMIZER.init(params), state, **fields)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, r"(?s)gives the sums \['a', 'b'.*see \['a', 'b', 'm'\]"),
        ({"measures": ("a", "b", "m"), "gradient": Probed()}, "(?s)gradient_norm/bias.*observed="),
    ],
)
def test_a_program_that_does_not_name_its_sums_is_refused(fields: Any, words: str) -> None:
    program = Program(MODEL, Says("right"), OPTIMIZER.update, batch_size=8, **fields)
    with pytest.raises(ConfigError, match=words):
        train(program, (X, Y), start(), epochs=1, display="none")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_size": 4}, "batch_size, which is the program's own"),
        ({"l2": 0.1}, "l2, which is the program's own"),
        ({"precision": "bfloat16"}, "precision, which"),
        ({"learning_rate": 0.1}, "learning_rate, which is the optimizer's"),
        ({"patience": 2}, "no validation data to monitor"),
    ],
)
def test_train_refuses_options_that_it_would_not_use(changes: Any, words: str) -> None:
    program = Program.of(MODEL, nn.get_loss("mse"), OPTIMIZER.update, batch_size=8)
    with pytest.raises(ConfigError, match=words):
        train(program, (X, Y), start(), epochs=1, display="none", **changes)


class Sets(Callback):
    """Sets the weights of the terms."""

    def __init__(self, weights: Any) -> None:
        self.weights = weights

    def on_train_begin(self) -> None:
        self.training.weights = self.weights


@pytest.mark.parametrize("weights", [{"a": "x"}, {"a": float("nan")}, {"a": np.ones(3)}, {"a": None}, 3])
def test_a_weight_that_is_no_number_is_refused(weights: Any) -> None:
    with pytest.raises(ConfigError, match=r"^weights.*expected a"):
        fit(MODEL, (X, Y), loss=Says("right"), callbacks=[Sets(weights)], **FIELDS)
    with pytest.raises(ConfigError, match=r"loss_weights.* expected a"):
        fit(MODEL, (X, Y), loss=Says("right"), loss_weights=weights, **FIELDS)


def test_the_state_and_the_source_have_the_programs_members() -> None:
    program = Program.of(MODEL, nn.get_loss("mse"), OPTIMIZER.update, batch_size=8)
    two = jax.tree.map(lambda *each: jnp.stack(each), start(seed=0), start(seed=1))
    fields: dict[str, Any] = {"epochs": 1, "display": "none"}
    assert len(train(Population(program, 2), (X, Y), two, **fields).history[0]["loss_each"]) == 2
    both = Population(program, 2)
    two = jax.tree.map(lambda *each: jnp.stack(each), start(seed=0), start(seed=1))  # the first was used up
    for of, source, state, words in (
        (both, (X, Y), start(), r"step has shape \(\), and the program is of 2 members"),
        (program, (X, Y), two, r"step has shape \(2,\), and the program is of one training"),
        (both, ArraySource((X, Y), batch_size=8), two, "rows of one training, and the program is of 2 members"),
        (both, [(X, Y)], two, "batches or a stream"),
    ):
        with pytest.raises(ConfigError, match=words):
            train(of, source, state, **fields)
    for make in (lambda: Population(program, 0), lambda: Population(both, 2)):
        with pytest.raises(ConfigError, match="expected at least one member of one training"):
            make()


def test_a_member_of_a_population_of_ones_own_that_has_stopped_stays_as_it_is() -> None:
    """Momentum would move it on, though its rows have weight 0."""
    optimizer = optim.adam(0.1)
    program = Program.of(MODEL, nn.get_loss("mse"), optimizer.update, batch_size=8)

    def trained(epochs: int) -> Any:
        values = iter([[1.0, 1.0], *([2.0, -number] for number in range(epochs))])  # the first gets worse at once

        def measure(state: Any) -> dict[str, Any]:
            each = np.array(next(values))
            return {"loss": each.mean(), "loss_each": each}

        one = start()
        one = dataclasses.replace(one, opt_state=optimizer.init(one.params))
        two = jax.tree.map(lambda each: jnp.stack([each, each]), one)
        options = {"patience": 1, "monitor": "val_loss", "restore_best": False, "display": "none"}
        return train(Population(program, 2), (X, Y), two, measure=measure, epochs=epochs, **options)

    short, long = (jax.tree.leaves(trained(epochs).params) for epochs in (2, 5))
    for a, b in zip(short, long, strict=True):
        np.testing.assert_array_equal(a[0], b[0])
        assert not np.array_equal(a[1], b[1])


def test_alternate_needs_an_optimizers_state_for_each_program() -> None:
    program = Program(MODEL, Says("values"), OPTIMIZER.update, batch_size=8)
    with pytest.raises(ConfigError, match="expected a pair"):
        train(Alternate(program, program, ("kernel", "bias")), (X, Y), start(), epochs=1, display="none")


def test_parameters_without_a_gradient_are_refused_and_one_array_has_a_name() -> None:
    whole = (lambda key, shape: {"w": jnp.zeros(2), "n": jnp.arange(3)}, lambda params, x: x @ params["w"])
    with pytest.raises(ConfigError, match="parameter n is of type int32"):
        fit(whole, (X, Y), loss="mse", **FIELDS)
    bare = fit((lambda key, shape: jnp.zeros(2), lambda w, x: x @ w), (X, Y), loss="mse", gradient=Probed(), **FIELDS)
    assert {"gradient_norm/params", "update_norm/params"} <= bare.history[0].keys()


def test_the_record_of_several_networks_does_not_predict() -> None:
    program = Program.of(MODEL, nn.get_loss("mse"), OPTIMIZER.update, batch_size=8)
    two = jax.tree.map(lambda *each: jnp.stack(each), start(seed=0), start(seed=1))
    fitted = train(Population(program, 2), (X, Y), two, epochs=0, display="none")
    with pytest.raises(ConfigError, match=r"by Population; predict is for one network"):
        fitted.predict(X)


def test_a_network_is_applied_with_a_state_for_each_layer() -> None:
    network = nn.MLP((4,), 1)
    params, state, _ = network.init(jax.random.key(0), (2,))
    with pytest.raises(ConfigError, match=r"has \d layers, its params \d entries and its state 0"):
        network.apply(params, {}, X)
    assert network.apply(params, state, X)[0].shape == (8, 1)
