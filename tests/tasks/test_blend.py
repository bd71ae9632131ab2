"""The network of a table beside other models, without training a network: it is a part like any other."""

import dataclasses
import signal

import jax
import numpy as np
import polars as pl
import pytest

from danlu.data import TableEncoder, TargetEncoder, infer_schema
from danlu.engine import Fitted
from danlu.errors import ConfigError
from danlu.evaluate.selection import loss_of
from danlu.nn import Blend, TableLinear
from danlu.tasks import Answers, Imbalance, Recipe, learn, plan_for
from danlu.tasks.blend import blended, divided
from danlu.tasks.parts import boosting, linear
from danlu.trained import HeldOut, Labels, Learned, Trained

ROWS = 150


def table(task):
    rng = np.random.default_rng(0)
    x, city = rng.normal(size=(ROWS, 2)).round(2), rng.choice(["Bern", "Oslo", "Rome"], ROWS)
    signal = x[:, 0] * 2 + (x[:, 1] > 0) * (city == "Oslo") * 3 + rng.normal(0, 0.5, ROWS)
    y = {
        "regression": signal,
        "binary": np.where(signal > 0, "yes", "no"),
        "multiclass": np.digitize(signal, [0, 2]).astype(str),
    }
    frame = pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "city": city, "y": y[task]})
    encoder = TableEncoder.fit(frame, infer_schema(frame, target="y"))
    target = TargetEncoder.fit(frame["y"], task=task)
    return encoder, target, encoder.transform(frame), target.transform(frame["y"])


def begun(task, folds=3):
    """A network that knows nothing, as a trained one, and its answers for rows that it did not learn from."""
    encoder, target, inputs, labels = table(task)
    numbers = np.arange(ROWS) % folds if folds else None
    net = TableLinear(target.units, encoder.cardinalities, max(folds, 1))
    params, state, _ = net.init(jax.random.key(0), encoder.in_shape)
    model = Trained(net, params, state, encoder, Labels(target))
    rows = 40 if not folds else ROWS
    known = HeldOut(model.answer({k: v[-rows:] for k, v in inputs.items()}), labels[-rows:], numbers)
    learned = Learned(model, Fitted(None, params, state, [], None, None), known)
    if folds:
        return learned, divided(target, (inputs, labels, None), None, numbers, seed=0), numbers
    learnt, held = ({k: v[part] for k, v in inputs.items()} for part in (slice(0, -rows), slice(-rows, None)))
    return learned, divided(target, (learnt, labels[:-rows], None), (held, labels[-rows:], None), None, seed=0), None


@pytest.fixture(autouse=True)
def _few_rounds(monkeypatch):
    monkeypatch.setattr("danlu.tasks.parts._ROUNDS", 50)


@pytest.mark.parametrize(("task", "folds"), [("regression", 3), ("binary", 0), ("multiclass", 3)])
def test_a_blend_answers_with_the_weighted_mean_of_its_parts(task, folds):
    learned, rows, numbers = begun(task, folds)
    found = blended(learned, rows, numbers)
    model = found.model
    assert isinstance(model.network, Blend)
    assert sum(model.shares.values()) == pytest.approx(1)
    assert f"blend: {model.mixture}, chosen on {len(found.held_out):,} rows" in found.notes[0]
    params, state = jax.tree.map(np.asarray, (model.params, model.state))  # as they are in a saved model
    loaded = dataclasses.replace(model, params=params, state=state)
    np.testing.assert_allclose(jax.jit(loaded.forward)(rows.inputs), model.forward(rows.inputs), rtol=1e-4, atol=1e-5)
    single = [model.part(name).answer(rows.inputs) for name in model.shares]
    mean = sum(share * each for share, each in zip(model.shares.values(), single, strict=True))
    np.testing.assert_allclose(model.answer(rows.inputs), mean, rtol=1e-4, atol=1e-5)
    truth = found.held_out.truth if rows.classes else model.head.target.inverse(found.held_out.truth)
    assert loss_of(found.held_out.answers, truth) < 0.8 * loss_of(learned.held_out.answers, truth)
    if numbers is None:  # the held-out rows were the last ones, and none learnt from them
        held = {name: each[-40:] for name, each in rows.inputs.items()}
        np.testing.assert_allclose(model.answer(held), found.held_out.answers, rtol=1e-4, atol=1e-5)


def test_no_part_learns_from_the_rows_that_it_is_judged_on():
    """Labels that are noise cannot be foretold, unless one has seen them."""
    learned, rows, numbers = begun("binary")
    noise = np.random.default_rng(1).integers(0, 2, ROWS).astype(np.int32)
    rows = dataclasses.replace(rows, labels=noise)
    learned = dataclasses.replace(learned, held_out=dataclasses.replace(learned.held_out, truth=noise))
    assert loss_of(blended(learned, rows, numbers).held_out.answers, noise) > 0.65


def test_parts_learn_by_the_rows_weights():
    _, rows, _ = begun("binary")
    weight = np.where(rows.labels == 1, 1e-3, 1.0)
    for fit in (boosting, linear):
        plain, skewed = fit(rows), fit(dataclasses.replace(rows, weight=weight))
        ones = [
            np.asarray(part.network.apply(part.params, part.state, rows.inputs)[0]).argmax(-1).mean()
            for part in (plain, skewed)
        ]
        assert ones[1] < 0.5 * ones[0]


def test_a_blend_is_the_same_whatever_the_number_of_threads(monkeypatch):
    _, rows, _ = begun("multiclass")
    found = []
    for cores in (1, 3):
        monkeypatch.setattr("danlu.tasks.parts.idle_cores", lambda cores=cores: cores)
        found.append(boosting(rows))
    jax.tree.map(np.testing.assert_array_equal, found[0].state, found[1].state)


def test_a_signal_to_stop_keeps_the_network(monkeypatch):
    learned, rows, numbers = begun("binary")
    interrupted = lambda rows, stop: signal.raise_signal(signal.SIGINT) or linear(rows, stop=stop)  # noqa: E731
    monkeypatch.setattr("danlu.tasks.blend.PARTS", (interrupted, boosting))
    found = blended(learned, rows, numbers)
    assert found.model is learned.model
    assert found.fitted.stopped_by == signal.SIGINT
    assert "Ctrl-C" in found.notes[0]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"imbalance": Imbalance(focal_gamma=2.0)}, "focal loss"),
        ({"validation": None, "folds": None}, "no rows were held out"),
        ({"few": True}, "only 12 rows were held out"),
    ],
)
def test_where_there_can_be_no_blend_it_is_said_or_refused(changes, why, monkeypatch):
    encoder, target, inputs, labels = table("binary")
    part = lambda low, high: ({k: v[low:high] for k, v in inputs.items()}, labels[low:high])  # noqa: E731
    held = None if "validation" in changes else part(-12 if changes.pop("few", False) else -60, ROWS)
    plan = plan_for(encoder, target, 60, members=1, width=4, depth=1, epochs=1)
    settings = {"encoder": encoder, "target": target, "plan": plan, "validation": held, "display": "none", **changes}
    learned = learn(part(0, 60), **settings)
    assert learned.model.shares == {"network": 1.0}
    assert why in learned.notes[0]
    monkeypatch.setattr(Recipe, "fit", None)  # it is refused before anything is trained
    with pytest.raises(ConfigError, match=why):
        learn(part(0, 60), kind="blend", **settings)


@pytest.mark.parametrize(
    ("answers", "imbalance", "held"),
    [
        ("isotonic", "none", 1),
        ("none", "f1", 1),
        ("temperature", "none", None),
        ("isotonic", "none", None),
        ("none", "f1", None),
    ],
)
def test_what_cannot_be_fitted_to_the_held_out_rows_is_refused_before_training(answers, imbalance, held, monkeypatch):
    monkeypatch.setattr(Recipe, "fit", None)
    encoder, target, inputs, labels = table("binary")
    rows = ({k: v[:60] for k, v in inputs.items()}, labels[:60])
    plan = plan_for(encoder, target, 60, members=1, width=4, depth=1, epochs=1)
    settings = {"encoder": encoder, "target": target, "plan": plan, "display": "none"}
    settings["validation"] = None if held is None else (*rows[:1], np.full(60, held))
    with pytest.raises(ConfigError, match="are all 'yes'" if held else "there are none"):
        learn(rows, answers=Answers(calibrate=answers), imbalance=Imbalance(threshold=imbalance), **settings)
