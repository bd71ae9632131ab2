"""More rounds of training while there is time: what joins the blend, what a resumed run keeps, and when it ends."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import danlu
from danlu.errors import ConfigError
from danlu.nn.blend import Blend
from danlu.tasks import recipe
from danlu.tasks.blend import Candidate
from danlu.tasks.parts import Part
from danlu.tasks.rounds import Budget, prolonged, varied

RNG = np.random.default_rng(0)
X = RNG.normal(size=(160, 3))
Y = np.where(X[:, 0] * X[:, 1] + X[:, 2] > 0, "yes", "no")
TABLE = {**{f"x{j}": X[:, j] for j in range(3)}, "y": Y}
SMALL = {"model": {"members": 5, "width": 8, "depth": 1}, "evaluate": {"baselines": False, "importance": False}}


def trained(folder, minutes, say=lambda line: None):
    trainer = {"epochs": 2, "minutes": minutes}
    return danlu.train(TABLE, target="y", runs=folder, name="run", display="none", say=say, trainer=trainer, **SMALL)


def test_the_first_round_changes_the_seeds_only_and_later_ones_the_settings():
    plan = recipe("binary", 500, numeric=4)
    assert varied(plan, 1, 0)[0] == plan
    found = {varied(plan, number, 0)[0] for number in range(2, 12)}
    assert len(found) > 5
    assert all(each.folds == plan.folds and each.epochs == plan.epochs for each in found)
    assert varied(plan, 3, 0)[0] == varied(plan, 3, 0)[0]


class Clock:
    """Time that passes only when something is trained."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def rounds(monkeypatch):
    """A library whose networks get better, on a clock that goes on by 10 seconds a training."""
    clock, learned, began = Clock(), trained_once(), []
    monkeypatch.setattr("danlu.tasks.journal.time", clock)
    truth = np.arange(40) % 2
    base = Candidate(learned["part"], np.tile([[0.5, 0.5]], (40, 1)))

    def better(number):
        sure = 0.5 + 0.04 * min(number, 10)
        return np.where(np.arange(2)[None] == truth[:, None], sure, 1 - sure)

    def network(number):
        clock.now += 10
        began.append(number)
        return learned["learned"], Candidate(learned["part"], better(number)), f"settings {number}"

    def trees(number):
        clock.now += 10
        began.append(number)
        even = Candidate(learned["part"], np.tile([[0.5, 0.5]], (40, 1)))
        return clock.record or learned["learned"], None if clock.lacks_trees else even, "trees"

    def run(minutes, folder=None, *, record=None, lacks_trees=False, slower=0.0):
        clock.now, clock.record, clock.lacks_trees = 20.0 + slower, record, lacks_trees
        return prolonged(
            learned["learned"], [base], Budget(minutes, folder), network=network, trees=trees,
            answers=lambda part, number: better(number), truth=truth, weight=None, begun=0.0,
        )  # fmt: skip

    return run, began


ONCE: dict = {}


def trained_once():
    if not ONCE:
        from danlu.data import TableEncoder, TargetEncoder, infer_schema, read_table
        from danlu.tasks import learn, plan_for

        frame = read_table(TABLE).frame
        target = TargetEncoder.fit(frame["y"], task="binary")
        encoder = TableEncoder.fit(frame, infer_schema(frame, target="y"))
        plan = plan_for(encoder, target, 160, members=2, width=8, depth=1, epochs=1)
        data = encoder.transform(frame), target.transform(frame["y"])
        held = tuple(part[:40] if not isinstance(part, dict) else {k: v[:40] for k, v in part.items()} for part in data)
        learned = learn(
            data, encoder=encoder, target=target, plan=plan, validation=held, kind="network", display="none"
        )
        history = [{**row, "seconds": 5.0} for row in learned.fitted.history]  # whatever it took here
        learned = dataclasses.replace(learned, fitted=dataclasses.replace(learned.fitted, history=history))
        model = learned.model
        ONCE.update(learned=learned, part=Part("network", model.network, model.params, model.state))
    return ONCE


def test_rounds_go_on_while_another_one_would_end_in_time(rounds):
    run, began = rounds
    whole = run(1.0)
    assert began == [1, 2, 3]  # at 20, 30 and 40 s; the one that begins at 50 s would end at 61 with the caution
    assert isinstance(whole.model.network, Blend)
    assert any("with network 3 (settings 2)" in note for note in whole.notes)
    assert not any("trees" in note for note in whole.notes)  # which made nothing better
    assert sum("lower than with the default's parts (95 % interval" in note for note in whole.notes) == 1


def test_a_signal_while_trees_grow_ends_the_training_and_keeps_the_rounds_before(rounds):
    run, began = rounds
    own = trained_once()["learned"]
    told = dataclasses.replace(own.fitted, stopped_because="stopped by Ctrl-C", stopped_by=2)
    whole = run(3.0, record=dataclasses.replace(own, fitted=told), lacks_trees=True)
    assert began == [1, 2, 3]
    assert whole.fitted.stopped_by == 2
    assert whole.fitted.stopped_because == "stopped by Ctrl-C"
    assert any("with network 3" in note for note in whole.notes)


def test_trees_that_cannot_be_fitted_do_not_end_the_rounds(rounds):
    run, began = rounds
    whole = run(1.5, lacks_trees=True)
    assert began == [1, 2, 3, 4, 5, 6]
    assert whole.fitted.stopped_by is None


def test_of_many_rounds_the_first_and_the_last_are_told(rounds):
    run, _ = rounds
    notes = [note for note in run(3.0).notes if "log loss" in note or "more rounds" in note]
    assert len(notes) == 6
    assert "with network 2" in notes[1]
    assert notes[3] == "… and 3 more rounds that made it better …"


def test_no_time_for_more_is_said(rounds):
    run, began = rounds
    assert any("the default took 0.3 minutes; there was no time" in note for note in run(0.2).notes)
    assert any("no further round would have ended within 0.34" in note for note in run(0.34).notes)
    assert began == []


def test_finished_rounds_are_kept_for_a_resumed_run(rounds, tmp_path):
    run, began = rounds
    run(0.8, tmp_path / "rounds")
    assert began == [1, 2]
    seconds = json.loads((tmp_path / "rounds" / "002.json").read_text())["seconds"]
    assert seconds == 40
    again = run(0.5, tmp_path / "rounds")  # less than what is spent already
    assert any("with network 3 (settings 2)" in note for note in again.notes)
    assert not any("no time for more" in note for note in again.notes)
    assert began == [1, 2]
    run(1.5, tmp_path / "rounds")  # 40 seconds are spent already
    assert began == [1, 2, 3, 4, 5, 6], "as without a stop"
    assert len(list((tmp_path / "rounds").glob("0*.json"))) == 7


def test_a_run_that_was_killed_in_a_round_decides_by_its_own_clock(rounds, tmp_path):
    run, began = rounds
    notes, place = run(0.8, tmp_path / "whole").notes, tmp_path / "killed"
    shutil.copytree(tmp_path / "whole", place)
    (place / "end.json").unlink()
    shutil.rmtree(place / "002")
    told = json.loads((place / "002.json").read_text())
    (place / "002.json").write_text(json.dumps({name: told[name] for name in ("name", "begun")}))
    began.clear()
    # The round was begun, so it is done, though a slower start leaves no time for it; then the clock goes on from where it began.
    assert run(0.8, place, slower=100).notes == notes
    assert began == [2]
    began.clear()
    assert run(0.8, place, slower=-19).notes == notes, "what was over is over, though a faster start leaves time"
    assert began == []
    run(1.0, place, lacks_trees=True)
    assert began == [3], "with more minutes it goes on"
    assert run(1.0, place, lacks_trees=True).notes == notes
    assert began == [3], "trees that could not be fitted are not tried again"


def test_a_network_alone_and_a_stream_have_no_rounds(tmp_path):
    with pytest.raises(ConfigError, match=r"trainer.minutes is 1(.|\n)*join a blend, and this model is none"):
        danlu.train(TABLE, target="y", runs=tmp_path, display="none", trainer={"minutes": 1}, model={"kind": "network"})


@pytest.mark.slow
def test_a_table_gets_more_networks_and_a_resumed_run_the_same_answers(tmp_path):
    said: list[str] = []
    begun = time.monotonic()
    result = trained(tmp_path, 1.0, said.append)
    assert time.monotonic() - begun < 120
    parts = list((result.run.path / "rounds").glob("*.json"))
    assert parts
    assert any("rows not learnt from: log loss" in line for line in said)
    loaded = danlu.load(result.run.path)
    assert_array_equal(loaded.predict_values(TABLE), result.model.predict_values(TABLE))


def test_a_gain_is_told_from_nothing_by_the_rows_one_by_one():
    from danlu.evaluate.selection import gain_of
    from danlu.tasks.rounds import _gained

    rng = np.random.default_rng(0)
    held = 0
    for _ in range(200):  # the same model with noise of its own: a gain by chance
        truth = rng.normal(size=150)
        one, two = (truth + rng.normal(0, 1, 150) for _ in range(2))
        value, low, high = gain_of(one, two, truth)
        held += low <= 0 <= high
        assert low < value < high
    assert 180 <= held <= 198
    better = gain_of(truth + rng.normal(0, 1, 150), truth + rng.normal(0, 0.5, 150), truth)
    assert better[1] > 0
    assert better[0] == pytest.approx(0.5, abs=0.15)
    assert "rows cannot tell that from nothing" in _gained((0.01, -0.02, 0.04), 150)
    assert "cannot tell" not in _gained(better, 150)
