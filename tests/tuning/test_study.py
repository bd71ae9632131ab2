"""The search without networks: what is tried, what stops, and that a killed search goes on as if it had not been."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from danlu.errors import ArtifactError, ConfigError
from danlu.pipeline.space import Choice, Place, Span
from danlu.tuning import presence, storage
from danlu.tuning import search as searching
from danlu.tuning.contest import rungs_of
from danlu.tuning.presence import Presence
from danlu.tuning.search import Limits, search
from danlu.tuning.study import Study, Told

SPACE: dict[str, Place] = {
    "trainer.learning_rate": Span(1e-3, 1e-1, log=True),
    "model.width": Choice((8, 16, 32)),
    "model.dropout": Span(0.0, 0.5),
}
FIRST = {"trainer.learning_rate": 0.01, "model.width": 12, "model.dropout": 0.1}


def study_at(path: Path, **changes: Any) -> Study:
    given: dict[str, Any] = {
        "facts": {"data": "a"},
        "space": SPACE,
        "structure": ["model.width"],
        "first": FIRST,
        "higher": False,
        "seed": 0,
        "size": 4,
    }
    return Study(path, **{**given, **changes})


class Fake:
    """Trials that are as good as their settings say; a rate above 0.09 diverges."""

    rungs = (1, 3, 9)
    unit = "epochs"
    die_at = -1
    calls = 0

    def __init__(self, configs: Sequence[Any]) -> None:
        self.configs = list(configs)

    def go(self, epochs: int, progress: Callable[[float], None]) -> list[float]:
        type(self).calls += 1
        if type(self).calls == self.die_at:
            raise KeyboardInterrupt
        return [self.score(config, epochs) for config in self.configs]

    @staticmethod
    def score(values: Any, epochs: int) -> float:
        rate = values["trainer.learning_rate"]
        if rate > 0.09:
            return math.nan
        return abs(math.log10(rate) + 1.7) + values["model.dropout"] / epochs + values["model.width"] / 1000

    def keep(self, places: Sequence[int]) -> None:
        self.configs = [self.configs[place] for place in places]


def run(study: Study, trials: int, contest: type[Fake] = Fake) -> list[Told]:
    search(study, contest, dict, Limits(trials), lambda: None)  # type: ignore[arg-type]
    return study.told()


def without_time(told: Sequence[Told]) -> list[Told]:
    return [dataclasses.replace(each, seconds=0.0) for each in told]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[Told]:
    return run(study_at(tmp_path_factory.mktemp("whole") / "study.log"), 18)


def test_the_first_trial_is_the_recipe_and_a_batch_has_one_structure(whole: list[Told]) -> None:
    assert whole[0].values == {"trainer.learning_rate": 0.01, "model.width": 8, "model.dropout": 0.1}
    assert len(whole) == 18
    for batch in {each.batch for each in whole}:
        assert len({each.values["model.width"] for each in whole if each.batch == batch}) == 1
    assert len({each.values["trainer.learning_rate"] for each in whole}) == 18


def test_the_better_third_of_a_batch_goes_on(whole: list[Told]) -> None:
    for batch in (0, 4, 8, 12):
        own = [each for each in whole if each.batch == batch]
        after = {rung: [each for each in own if rung in each.scores] for rung in Fake.rungs}
        finite = sum(each.values["trainer.learning_rate"] <= 0.09 for each in own)
        assert [len(after[rung]) for rung in Fake.rungs] == [finite, min(finite, 2), min(finite, 1)]
        best = min((each for each in own if each.scores), key=lambda each: each.scores[1])
        assert 3 in best.scores
        assert all(
            each.state == ("diverged" if not each.scores else "complete" if 9 in each.scores else "stopped")
            for each in own
        )


def test_what_is_found_is_better_than_the_first(tmp_path: Path, whole: list[Told]) -> None:
    study = study_at(tmp_path / "study.log")
    run(study, 18)
    best = study.best()
    assert best is not None
    assert best.state == "complete"
    assert best.score == min(each.score for each in whole if each.state == "complete" and each.score is not None)
    assert best.score < Fake.score(FIRST, 9)
    shares = study.importances()
    assert next(iter(shares)) == "trainer.learning_rate"
    assert sum(shares.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("name", "die_at"), [("study.log", 2), ("study.log", 7), pytest.param("study.db", 7, marks=pytest.mark.slow)]
)
def test_a_search_that_dies_in_training_goes_on_with_the_same_trials(
    tmp_path: Path, whole: list[Told], name: str, die_at: int
) -> None:
    dying = type("Dying", (Fake,), {"die_at": die_at, "calls": 0})
    with pytest.raises(KeyboardInterrupt):
        run(study_at(tmp_path / name), 18, dying)
    assert without_time(run(study_at(tmp_path / name), 18)) == without_time(whole)


def test_a_last_batch_that_is_not_full_goes_on_as_well(tmp_path: Path, whole: list[Told]) -> None:
    dying = type("Dying", (Fake,), {"die_at": 4, "calls": 0})
    with pytest.raises(KeyboardInterrupt):
        run(study_at(tmp_path / "study.log"), 6, dying)
    found = run(study_at(tmp_path / "study.log"), 6)
    assert without_time(found[:4]) == without_time(whole[:4])
    assert without_time(found) == without_time(run(study_at(tmp_path / "whole.log"), 6))


@pytest.mark.parametrize("die_at", range(13, 26, 3))
def test_a_search_that_dies_while_it_asks_goes_on_with_the_same_trials(
    tmp_path: Path, whole: list[Told], die_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from optuna.storages import JournalStorage

    calls = 0
    real = JournalStorage.set_trial_param

    def dying(self: Any, *args: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == die_at:
            raise KeyboardInterrupt
        real(self, *args)

    monkeypatch.setattr(JournalStorage, "set_trial_param", dying)
    with pytest.raises(KeyboardInterrupt):
        run(study_at(tmp_path / "study.log"), 18)
    monkeypatch.undo()
    assert without_time(run(study_at(tmp_path / "study.log"), 18)) == without_time(whole)


def test_a_search_that_dies_while_it_tells_goes_on_with_the_same_trials(
    tmp_path: Path, whole: list[Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, told = Study.tell, []

    def dying(self: Study, trial: Any, *args: Any, **how: Any) -> None:
        told.append(trial.number)
        if len(told) == 6:
            raise KeyboardInterrupt
        real(self, trial, *args, **how)

    monkeypatch.setattr(Study, "tell", dying)
    with pytest.raises(KeyboardInterrupt):
        run(study_at(tmp_path / "study.log"), 18)
    monkeypatch.undo()
    assert without_time(run(study_at(tmp_path / "study.log"), 18)) == without_time(whole)


def test_a_half_written_line_of_a_journal_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "study.log"
    before = run(study_at(path), 4)
    with open(path, "ab") as file:
        file.write(b'{"op_code":4,"wor')
    assert without_time(run(study_at(path), 4)) == without_time(before)


def test_processes_share_a_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "study.log"
    monkeypatch.setattr(Presence, "dead", lambda self, owner, known: False)  # these two are of one process
    one, other = study_at(path), study_at(path)
    mine, others = one.batch(10), other.batch(10)
    rest = one.batch(10)
    assert [len(each) for each in (mine, others, rest)] == [4, 4, 2]
    assert sorted(each.number for each in (*mine, *others, *rest)) == list(range(10))
    assert other.batch(10) == []


def test_a_new_trial_is_not_taken_for_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "study.log"
    one, other = study_at(path), study_at(path)
    one._asked(None, 4)  # and before it says anything more, another process, as this one is from now on, looks:
    monkeypatch.setattr(presence.os, "getpid", lambda: 2**22 + 1)
    assert [each.number for each in other.batch(8)] == [1, 2, 3, 4]


def test_what_a_dead_process_left_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "study.log"
    left = study_at(path).batch(8)
    monkeypatch.setattr(
        presence.os, "getpid", lambda: 2**22 + 1
    )  # another process; that of the first study is this one, alive
    assert [each.number for each in study_at(path).batch(8)] == [4, 5, 6, 7]
    monkeypatch.setattr(presence, "alive", lambda process: False)
    assert study_at(path).batch(8) == left


def test_one_of_all_that_want_to_takes_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "study.log"
    killed, *others = [study_at(path) for _ in range(4)]
    gone = {killed.presence.owner}
    left = killed.batch(4)
    monkeypatch.setattr(Presence, "dead", lambda self, owner, known: owner in gone)
    monkeypatch.setattr(Study, "_whole", lambda self, batch, begun, *rest: [each.number for each in begun])
    assert [each.batch(4) for each in others] == [[each.number for each in left], [], []]
    assert [each.batch(4) for each in others] == [[each.number for each in left], [], []]  # it has not begun yet
    gone.add(others[0].presence.owner)  # it dies in between: the next one in the order of the claims has it
    assert [each.batch(4) for each in others[1:]] == [[each.number for each in left], []]


def test_silence_is_watched_by_the_clock_of_who_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = study_at(tmp_path / "study.log"), study_at(tmp_path / "study.log")
    now, host = 0.0, "another"
    monkeypatch.setattr(presence.time, "monotonic", lambda: now)
    monkeypatch.setattr(presence.socket, "gethostname", lambda: host)

    def dead() -> bool:
        nonlocal host
        one.presence.sign_of_life() if signs else None
        host = "this"
        try:
            return other.presence.dead(one.presence.owner, other._study.user_attrs)
        finally:
            host = "another"

    signs = True
    assert not dead()
    now = 100.0
    assert not dead()
    signs = False
    now = 219.0
    assert not dead()
    now = 221.0
    assert dead()
    signs = True  # the network was away
    assert not dead()
    signs = False
    one.presence.sign_of_life(leaving=True)
    assert dead()


def test_who_is_done_waits_and_takes_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = study_at(tmp_path / "study.log"), study_at(tmp_path / "study.log")
    one.batch(6)
    gone: list[str] = []
    monkeypatch.setattr(Presence, "dead", lambda self, owner, known: owner in gone)
    monkeypatch.setattr(searching.time, "sleep", lambda seconds: gone.append(one.presence.owner))
    assert [each.state for each in run(other, 6)].count("running") == 0
    assert len(other.told()) == 6
    assert gone == [one.presence.owner]


def test_a_drive_without_locks_keeps_a_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: list[Told]
) -> None:
    def none(*how: Any) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(storage.fcntl, "flock", none)
    assert without_time(run(study_at(tmp_path / "study.log"), 4)) == without_time(whole[:4])
    assert not (tmp_path / "study.log.lock").exists()


def test_a_storage_of_another_search_is_refused(tmp_path: Path) -> None:
    study_at(tmp_path / "study.log")
    for changes in ({"facts": {"data": "b"}}, {"seed": 1}, {"space": {"model.width": Choice((1, 2))}}):
        with pytest.raises(ConfigError, match=r"holds a search (with|of other data)"):
            study_at(tmp_path / "study.log", **changes)
    (tmp_path / "text.log").write_text("not a journal\n")
    with pytest.raises(ArtifactError, match="cannot open the study"):
        study_at(tmp_path / "text.log")
    with pytest.raises(ArtifactError, match="cannot keep the study"):
        study_at(tmp_path / "none" / "study.log")


def test_rungs() -> None:
    assert rungs_of(81, 3) == (9, 27, 81)
    assert rungs_of(1, 3) == (1,)


KILLED = """
import sys
import danlu.tuning
table = {"x": [float(i % 9) for i in range(80)], "y": ["low" if i % 9 < 4 else "high" for i in range(80)]}
how = {"display": "none", "say": lambda line: print(line, flush=True)}
if sys.argv[2] == "resume":
    danlu.tuning.resume(sys.argv[1] + "/run", source=table, **how)
else:
    danlu.tuning.tune(table, target="y", trials=9, batch=3, runs=sys.argv[1], name="run",
        model={"kind": "network", "width": 8, "depth": 1, "members": 2},
        trainer={"epochs": 9}, split={"folds": 2}, evaluate={"baselines": False, "report": False, "importance": False}, **how)
"""


@pytest.mark.slow
def test_a_search_that_is_killed_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    def started(folder: str, how: str) -> subprocess.Popen[str]:
        (tmp_path / folder).mkdir(exist_ok=True)
        command = [sys.executable, "-c", KILLED, str(tmp_path / folder), how]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ))

    whole = started("whole", "start")
    whole.communicate()
    assert whole.returncode == 0
    killed = started("killed", "start")
    assert killed.stdout is not None
    for line in killed.stdout:
        if line.startswith("3 trials"):
            break
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    killed.stdout.close()
    again = started("killed", "resume")
    said, _ = again.communicate()
    assert again.returncode == 0, said

    def kept(folder: str) -> Any:
        run = tmp_path / folder / "run"
        rows = [json.loads(line) for line in (run / "trials.jsonl").read_text().splitlines()]
        weights = (run / "artifact" / "weights.safetensors").read_bytes()
        return [{**row, "seconds": 0} for row in rows], json.loads((run / "tune.json").read_text())["found"], weights

    assert kept("killed") == kept("whole")


SHARING = """
import json, math, sys, time
sys.path.insert(0, sys.argv[1])
from test_study import Fake, study_at
from danlu.tuning.search import Limits, search
class Slow(Fake):
    def go(self, epochs, progress):
        print("training", *(round(c["trainer.learning_rate"], 6) for c in self.configs), flush=True)
        time.sleep(0.2)
        return super().go(epochs, progress)
print("ready", flush=True)
sys.stdin.readline()
study = study_at(sys.argv[2])
search(study, Slow, dict, Limits(32), lambda: None)
print("done", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["study.log", "study.db"])
def test_two_processes_share_a_study_and_one_is_killed(tmp_path: Path, name: str) -> None:
    command = [sys.executable, "-c", SHARING, str(Path(__file__).parent), str(tmp_path / name)]
    both = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for each in both:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    for each in both:  # at once
        assert each.stdin is not None
        each.stdin.write("\n")
        each.stdin.flush()
    one, other = both
    begun = [one.stdout.readline() for _ in range(4)]  # type: ignore[union-attr]
    one.send_signal(signal.SIGKILL)  # in the middle of its second batch
    one.communicate()
    said, errors = other.communicate(timeout=120)
    assert other.returncode == 0, errors
    assert said.endswith("done\n"), errors
    assert all(line.startswith("training") for line in begun)
    told = study_at(tmp_path / name).told()
    assert [each.number for each in told] == list(range(32))
    assert all(each.state in ("complete", "stopped", "diverged") for each in told)
    for batch in {each.batch for each in told}:
        own = [each for each in told if each.batch == batch]
        assert len(own) == 4
        assert len({each.values["model.width"] for each in own}) == 1
    left = begun[-1].split()[1:]
    assert f"training {' '.join(left)}" in said  # the batch that was under way is trained by the other
