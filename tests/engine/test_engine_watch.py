"""The doctor beside a training: what is wrong is said while it goes on, nothing is said of sound ones, and it keeps to its time."""

import itertools

import numpy as np
import pytest
from test_engine_doctor import CE, MLP, SICK, WELL, X, Y, begun, dead, go

import danlu
from danlu.engine import Callback, diagnose, watch
from danlu.engine.sample import Sample
from danlu.engine.sources import Piece


class Heard(Callback):
    """What is said, and after which update."""

    def __init__(self):
        self.said = []

    def on_finding(self, finding):
        self.said.append((finding.kind, int(np.max(self.training.state.step))))


@pytest.fixture
def eager(monkeypatch):
    """A watch that looks at every chance and has all the time; what is trained is heard."""
    heard = Heard()
    monkeypatch.setattr(watch, "_EVERY", 0.0)
    monkeypatch.setattr(watch, "_SHARE", 1e9)
    monkeypatch.setattr(watch, "_LEAST", (20, 0.0))
    real = danlu.engine.training.Training.__init__

    def listened(self, *args, callbacks=(), **how):
        real(self, *args, callbacks=[*callbacks, heard], **how)

    monkeypatch.setattr("danlu.engine.training.Training.__init__", listened)
    return heard


SAID = (
    "rate_too_high",
    "rate_too_low",
    "dead_units",
    "vanishing_gradients",
    "zero_weights",
    "unscaled_inputs",
    "unscaled_targets",
    "no_gradient",
    "loss_scale",
    "overfitting",
    "leakage",
)
SOON = ("rate_too_high", "dead_units")


@pytest.mark.parametrize(
    "kind", [kind if kind in SOON else pytest.param(kind, marks=pytest.mark.slow) for kind in SAID]
)
def test_a_sick_training_is_told_of_while_it_goes_on(kind, eager):
    fitted = SICK[kind]()
    assert [each for each, _ in eager.said].count(kind) == 1, eager.said
    assert {each for each, _ in eager.said} == {kind}
    steps = int(np.max(fitted.train_state.step))
    assert eager.said[0][1] < steps


@pytest.mark.parametrize(
    "name", [name if name == "Adam" else pytest.param(name, marks=pytest.mark.slow) for name in WELL]
)
def test_a_sound_training_is_never_accused(name, eager):
    WELL[name]()
    assert not eager.said


def test_it_is_said_on_the_terminal_at_once(eager, capsys):
    go(MLP, X, Y, initial=begun(dead), display="plain")
    lines = "".join(capsys.readouterr()).splitlines()
    (place,) = [i for i, line in enumerate(lines) if line.startswith("health in epoch")]
    assert any(line.startswith("epoch 12/12") for line in lines[place:])


class Clock:
    """A clock that each look moves on."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


def test_looks_take_no_more_than_their_share(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(watch, "time", clock)
    looks = []

    def found(self, training):
        looks.append(clock.now)
        clock.now += 0.5
        return []

    monkeypatch.setattr(watch.Watch, "_found", found)
    monkeypatch.setattr(watch.Watch, "_loss", lambda self, training: None)
    own = watch.Watch()
    own.begin()
    for _ in range(40_000):
        clock.now += 0.01
        own.look(None)
    assert len(looks) > 10
    assert own.spent == pytest.approx(0.5 * len(looks))
    assert own.spent <= 0.015 * clock.now


@pytest.mark.parametrize(
    ("elapsed", "part", "expected"), [(10.0, 0.0, False), (140.0, 0.0, True), (10.0, 0.05, True), (10.0, 0.5, False)]
)
def test_an_exam_is_made_where_the_whole_training_can_afford_it(elapsed, part, expected, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(watch, "time", clock)
    own = watch.Watch()
    own.begin()
    own._first, clock.now = 2.0, elapsed  # an exam is taken to cost what the first steps took
    assert own._affords(part) is expected
    own._exam, own.spent = 0.1, 0.015 * elapsed / (part or 1.0) - 0.05
    assert not own._affords(part)
    own.spent -= 0.1
    assert own._affords(part)


class Stream:
    """A table in chunks of 100 rows."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def chunks(self, epoch, start):
        for i in range(start, len(self.y) // 100):
            rows = slice(100 * i, 100 * (i + 1))
            yield {"x": self.x[rows], "y": self.y[rows], "weight": np.ones(100, np.float32)}


def batches(x, y):
    return [(x[i : i + 40], y[i : i + 40]) for i in range(0, len(y), 40)]


@pytest.mark.parametrize("source", [Stream, batches])
def test_a_stream_and_batches_are_diagnosed_as_arrays_are(source):
    settings = {"loss": CE, "epochs": 12, "display": "none"}
    own = settings if source is batches else {**settings, "batch_size": 40}
    arrays = danlu.fit(MLP, (X, Y), learning_rate=1e-7, batch_size=40, **settings)
    other = danlu.fit(MLP, source(X, Y), learning_rate=1e-7, **own)
    assert arrays.health.kinds == other.health.kinds == ("rate_too_low",)
    assert other.clues.constant == pytest.approx(arrays.clues.constant)
    assert len(other.clues.batch["weight"]) == 256
    assert not danlu.fit(MLP, source(X, Y), learning_rate=1e-3, **own).health.kinds


def test_the_rows_of_a_sorted_table_are_not_of_one_class():
    order = np.argsort(Y, kind="stable")
    fitted = go(MLP, X[order], Y[order], epochs=1)
    assert 0.3 < fitted.clues.batch["y"].mean() < 0.7
    assert diagnose(fitted).kinds == ()


def test_no_more_is_kept_of_a_stream_than_is_looked_at():
    sample, rows = Sample(), 2**16
    for number in range(4):
        chunk = {"x": np.full((rows, 1), number), "y": np.zeros(rows, np.int32), "weight": np.ones(rows, np.float32)}
        sample.add(Piece(chunk, np.arange(rows), 1, rows))
    assert sample.full
    assert len(sample.rows["y"]) == 256
    assert sum(len(y) for y, _ in sample._targets) == 2**17
    small = Sample()
    for _ in itertools.repeat(None, 100):
        small.add(Piece({"x": np.ones((2, 1)), "y": np.ones(2), "weight": np.ones(2)}, np.arange(2), 1, 2))
    assert small.full
    assert len(small.rows["y"]) == 128


def test_of_sentences_of_several_widths_those_of_the_first_are_kept():
    sample = Sample()
    for width in (3, 5, 3):
        chunk = {"x": np.ones((2, width)), "y": np.full((2, width), width), "weight": np.ones(2)}
        sample.add(Piece(chunk, np.arange(2), 1, 2))
    assert sample.rows["y"].shape == (4, 3)
    assert [y.shape for y, _ in sample._targets] == [(2, 3), (2, 3)]
