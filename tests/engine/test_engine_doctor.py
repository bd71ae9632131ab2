"""The doctor: trainings made sick on purpose are each diagnosed, and sound ones of many kinds are not accused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import danlu
from danlu import nn, optim
from danlu.engine import diagnose, fit, fit_population
from danlu.engine.case import constant_loss
from danlu.errors import ConfigError, TrainingError

RNG = np.random.default_rng(1)
X = RNG.normal(size=(400, 6)).astype("float32")
Y = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype("int32")
Q = (X[:, 0] - 2 * X[:, 1]).astype("float32")
NOISY = (Q + 0.3 * RNG.normal(size=400)).astype("float32")
STEPS = RNG.normal(size=(200, 40)).astype("float32")
CE = "categorical_cross_entropy"
MLP = nn.MLP((32, 32), 2)


def go(model, x, y, loss=CE, **changes):
    """The training, also one that ends in NaN."""
    settings = {"epochs": 12, "display": "none", "batch_size": 40, **changes}
    try:
        return fit(model, x, y, loss=loss, **settings)
    except TrainingError as error:
        return error.fitted


def begun(change):
    params, state, _ = MLP.init(jax.random.key(0), (6,))
    return change(params), state


def zeros(units, activation="identity"):
    return nn.Dense(units, activation, initializer="zeros")


def drawn(**shapes):
    return lambda key, _: {
        name: jax.random.normal(jax.random.fold_in(key, i), shape) * np.sqrt(2 / shape[0])
        for i, (name, shape) in enumerate(shapes.items())
    }


def stopped(w, x):
    return jax.nn.relu(jax.lax.stop_gradient(jax.nn.relu(x @ w["a"])) @ w["b"]) @ w["c"]


def recurrent(w, x):
    turn = lambda h, a: (h @ (1.1 * w["w"]) + a[:, None], None)  # noqa: E731
    return jax.lax.scan(turn, jnp.zeros((len(x), 8)), x.T)[0] @ w["v"]


def log_of(outputs, targets):
    return -targets * jnp.log(jnp.clip(outputs[:, 0], 0, 1))


def tiny(outputs, targets):
    return 1e-9 * nn.get_loss(CE)(outputs, targets)


def weighed():
    return go(MLP, (X, Y, np.where(Y == 1, 1e4, 1).astype("float32")), None)


def dead(params):
    return ({**params[0], "bias": params[0]["bias"] - 100}, *params[1:])


MEMORY, SMALL = nn.MLP((128, 128), 2), nn.MLP((32,), 1)
SICK = {
    "rate_too_high": lambda: go(MLP, X, Y, learning_rate=1.0),
    "rate_too_low": lambda: go(MLP, X, Y, learning_rate=1e-7),
    "dead_units": lambda: go(MLP, X, Y, initial=begun(dead)),
    "large_weights": lambda: go(MLP, X, Y, initial=begun(lambda p: jax.tree.map(lambda a: 100 * a, p))),
    "class_collapse": weighed,
    "not_finite": lambda: go(nn.MLP((16,), 1), X, (Q > 0).astype("float32"), log_of),
    "vanishing_gradients": lambda: go(nn.Sequential((*[nn.Dense(16, "sigmoid")] * 20, nn.Dense(2))), X, Y, epochs=20),
    "zero_weights": lambda: go(nn.Sequential((zeros(16, "relu"), zeros(2))), X, Y),
    "unscaled_inputs": lambda: go(nn.MLP((32, 32), 2, activation="tanh"), X * np.float32([1, 1e3, 1, 1e4, 1, 1]), Y),
    "unscaled_targets": lambda: go(SMALL, X, 1e5 * Q, "mse"),
    "shuffled_labels": lambda: go(MEMORY, X, np.random.default_rng(0).permutation(Y), validation=0.3, epochs=60),
    "leakage": lambda: go(SMALL, np.concatenate([X, 3 * Q[:, None] + 1], 1), Q, "mse", epochs=60, learning_rate=1e-2),
    "overfitting": lambda: go(MEMORY, X[:120], Y[:120], validation=0.5, epochs=80, batch_size=10),
    "no_gradient": lambda: go((drawn(a=(6, 16), b=(16, 16), c=(16, 2)), stopped), X, Y),
    "loss_scale": lambda: go(MLP, X, Y, tiny),
    "exploding_gradients": lambda: go(
        (drawn(w=(8, 8), v=(8, 1)), recurrent), STEPS, STEPS[:, 0], "mse", optimizer="sgd", learning_rate=0.01
    ),
}
QUICK = ("rate_too_high", "rate_too_low", "dead_units", "large_weights", "class_collapse", "not_finite")


@pytest.mark.parametrize(
    "kind", [kind if kind in QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in SICK]
)
def test_a_training_made_sick_on_purpose_is_diagnosed(kind):
    health = SICK[kind]().health
    assert kind in health.kinds, health
    assert set(health.kinds) <= {kind, "not_finite"}
    finding = health.findings[health.kinds.index(kind)]
    assert finding.evidence
    assert finding.change
    assert not finding.members


def images():
    x = RNG.normal(size=(300, 8, 8, 1)).astype("float32")
    y = RNG.integers(0, 3, 300).astype("int32")
    x[np.arange(300), 2 * y, 2 * y, 0] += 4
    return x, y


def deep():
    block = nn.Residual(nn.Sequential((nn.LayerNorm(), nn.Dense(16, "gelu"), nn.Dense(16))))
    return go(nn.Sequential((nn.Dense(16), *[block] * 8, nn.Dense(2))), X, Y)


def weak():
    y = np.where(np.random.default_rng(5).random(400) < 0.35, 1 - Y, Y).astype("int32")
    return go(MLP, X, y, epochs=40, validation=0.3, patience=4)


CONV = nn.Sequential((nn.Conv(8, 3, activation="relu"), nn.MaxPool(2), nn.Flatten(), nn.Dense(3)))
WORDS = np.random.default_rng(3).integers(0, 20, (400, 5)).astype("int32")
SERIES = STEPS[:, :24].reshape(200, 12, 2)
WELL = {
    "Adam": lambda: go(MLP, X, Y),
    "Adam, a large rate": lambda: go(MLP, X, Y, learning_rate=3e-2),
    "two epochs": lambda: go(MLP, X, Y, epochs=2),
    "RMSprop": lambda: go(MLP, X, Y, optimizer="rmsprop"),
    "momentum": lambda: go(SMALL, X, NOISY, "mse", optimizer=optim.momentum(0.02)),
    "a schedule to 0": lambda: go(MLP, X, Y, optimizer=optim.adamw(optim.Cosine(1e-2, 120))),
    "clipping": lambda: go(MLP, X, Y, optimizer=optim.chain(optim.clip_by_global_norm(0.1), optim.adam(1e-2))),
    "convolution": lambda: go(CONV, *images(), validation=0.2),
    "LSTM": lambda: go(nn.Sequential((nn.LSTM(16), nn.Dense(1))), SERIES, SERIES[:, :, 0].sum(1), "mse", epochs=20),
    "deep and residual": deep,
    "dropout": lambda: go(nn.Sequential((nn.Dense(64, "relu"), nn.Dropout(0.5), nn.Dense(2))), X, Y, validation=0.2),
    "batch norm": lambda: go(
        nn.Sequential((nn.Dense(32), nn.BatchNorm(), nn.Activation("relu"), nn.Dense(2))), X, Y, learning_rate=1e-2
    ),
    "embeddings": lambda: go(nn.Sequential((nn.Embedding(20, 8), nn.Flatten(), nn.Dense(2))), WORDS, Y, epochs=30),
    "sigmoid": lambda: go(nn.MLP((16, 16), 2, activation="sigmoid"), X, Y, epochs=60, learning_rate=1e-2),
    "tanh": lambda: go(nn.MLP((16,) * 5, 2, activation="tanh"), X, Y, epochs=30),
    "linear": lambda: go(nn.Dense(1), X, NOISY, "mse", learning_rate=3e-2, epochs=30),
    "autoencoder": lambda: go(nn.Sequential((nn.Dense(4, "relu"), nn.Dense(6))), X, X, "mse", epochs=30),
    "rare classes": lambda: go(SMALL, X, (Q > 3.5).astype("float32"), "binary_cross_entropy", epochs=40),
    "noise, stopped early": weak,
    "learnt by heart": lambda: go(nn.MLP((64, 64), 2), X, Y, epochs=100, learning_rate=3e-3),
    "a user's loss": lambda: go(SMALL, X, NOISY, lambda o, t: jnp.abs(o[:, 0] - t) ** 1.5),
    "last layer from 0": lambda: go(nn.Sequential((nn.Dense(16, "relu"), zeros(2))), X, Y),
}
SOON = ("Adam", "two epochs", "Adam, a large rate")


@pytest.mark.parametrize(
    "name", [name if name in SOON else pytest.param(name, marks=pytest.mark.slow) for name in WELL]
)
def test_a_sound_training_is_not_accused(name):
    fitted = WELL[name]()
    assert not fitted.health.kinds, fitted.health
    assert not diagnose(fitted).kinds, diagnose(fitted)  # nor when it is looked inside


def test_the_first_bad_operation_is_named_with_its_line_its_weight_and_its_rows():
    health = SICK["not_finite"]().health
    said = health.findings[0].evidence
    assert "log (log_of, test_engine_doctor.py line" in said
    assert "after the weight 1/bias" in said
    first = next(int(word.strip(",")) for word in said.split("for row")[1].split() if word.strip(",").isdigit())
    assert 0 <= first < 400
    assert "1e-7" in health.findings[0].change


def test_members_that_are_sick_are_named():
    rates = [1e-3, 1e-7, 1e-3]
    members = fit_population(
        MLP, (X, Y), loss=CE, seeds=[0, 1, 2], optimizers=[optim.adam(rate) for rate in rates], epochs=12, batch_size=40, display="none"
    )  # fmt: skip
    assert [member.health.kinds for member in members] == [(), ("rate_too_low",), ()]


def test_a_finding_is_shown_after_a_training_with_a_display(capsys):
    go(MLP, X, Y, learning_rate=1e-7, display="plain")
    assert "health: the learning rate is too low" in "".join(capsys.readouterr())


def test_nothing_is_computed_for_a_sound_training(monkeypatch):
    def no(*_):
        raise AssertionError("looked inside")

    monkeypatch.setattr("danlu.engine.doctor.examine", no)
    assert not go(MLP, X, Y).health.findings


@pytest.mark.parametrize(
    ("loss", "y", "expected"),
    [
        ("CategoricalCrossEntropy", np.array([0, 1, 1, 1]), 0.5623),
        ("BinaryCrossEntropy", np.array([0.0, 1.0, 1.0, 1.0]), 0.5623),
        ("MSE", np.array([0.0, 2.0, 0.0, 2.0]), 1.0),
        ("HalfMSE", np.array([0.0, 2.0, 0.0, 2.0]), 0.5),
        ("MAE", np.array([0.0, 0.0, 0.0, 4.0]), 1.0),
        ("Huber", np.array([0.0, 1.0]), None),
    ],
)
def test_the_loss_of_a_constant_answer(loss, y, expected):
    found = constant_loss(loss, y, np.ones(len(y)))
    assert found == pytest.approx(expected, abs=1e-4) if expected is not None else found is None


def test_diagnose_refuses_what_is_no_training():
    with pytest.raises(ConfigError, match=r"expected what danlu\.fit"):
        danlu.diagnose(3)


def test_a_rate_far_too_high_is_told_by_the_growth_and_one_that_mends_is_named():
    health = go(MLP, X, Y, learning_rate=30.0).health
    finding = health.findings[health.kinds.index("rate_too_high")]
    assert "the weights have grown" in finding.evidence
    assert "usual" not in finding.evidence
    rate = float(finding.settings["trainer.learning_rate"])
    assert "rate_too_high" not in go(MLP, X, Y, learning_rate=rate).health.kinds
