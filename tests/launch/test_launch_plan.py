"""``danlu launch`` in one process: where a process finds its place, what processes agree on, and what the launcher does when one fails."""

from __future__ import annotations

import itertools
import math
import re
import shlex
import signal
from collections import deque
from pathlib import Path
from typing import Any

import pytest
import typer

from danlu import processes
from danlu.cli.app import app
from danlu.errors import ConfigError, LostError, TrainingError
from danlu.launch import Job, Place, find, launch, launcher

DEPLOY = Path(__file__).parents[2] / "deploy"
TRAIN = ("train", "titanic.csv", "--target", "Survived")


class Store:
    """JAX's coordinator, as far as processes ask it: a dict that all of them see."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    def key_value_set(self, key: str, value: str, allow_overwrite: bool = False) -> None:
        if key in self.kept and not allow_overwrite:
            raise RuntimeError(f"ALREADY_EXISTS: {key}")
        self.kept[key] = value

    def blocking_key_value_get(self, key: str, milliseconds: int) -> str:
        if key not in self.kept:
            raise RuntimeError(f"UNAVAILABLE: {key}: process 0 has gone")
        return self.kept[key]

    key_value_try_get = lambda self, key: self.kept[key]  # noqa: E731

    def key_value_delete(self, folder: str) -> None:
        self.kept = {key: value for key, value in self.kept.items() if not key.startswith(folder)}


@pytest.fixture(autouse=True)
def by_itself() -> Any:
    yield
    processes.leave()


def test_the_others_take_the_word_of_process_0() -> None:
    store, rounds = Store(), 3 * 256
    for start in range(0, rounds, 64):  # the others are never far behind
        for rank in (0, 1):
            if start == 0:
                processes.enter(rank, 2, store)
                groups = {**locals().get("groups", {}), rank: processes._group}
            processes._group = groups[rank]
            said = [processes.agree([rank, number, 0.1]) for number in range(start, start + 64)]
            assert said == [[0, number, 0.1] for number in range(start, start + 64)]
    assert len(store.kept) < 2 * 256 + 8, "what all have heard is forgotten"


def test_a_process_whose_first_has_gone_says_so() -> None:
    processes.enter(1, 2, Store())
    with pytest.raises(LostError, match="process 1 has lost another process of the training"):
        processes.agree(1)


def test_processes_with_different_data_are_told_apart_in_one_message() -> None:
    store, messages = Store(), []
    for rank in (0, 1, 2):
        processes.enter(rank, 3, store)
        with pytest.raises((ConfigError, LostError)) as error:
            processes.same("the data", {"source": "b" if rank == 1 else "a", "test": "c"})
        messages.append(str(error.value))
    store.kept = {key: value for key, value in store.kept.items() if "/same/" in key}
    assert messages[2].startswith(
        "the processes of a training differ: the data (source) is 'b' in process 1, and 'a' in process 0"
    )


def test_what_one_process_does_alone_asks_no_other() -> None:
    processes.enter(1, 2, Store())
    with processes.alone():
        assert (processes.agree("own"), processes.count(), processes.is_first()) == ("own", 1, True)
    assert (processes.count(), processes.rank()) == (2, 1)


SLURM = {
    "SLURM_JOB_ID": "70000",
    "SLURM_STEP_NODELIST": "node[07-09]",
    "SLURM_NTASKS": "4",
    "SLURM_STEP_NUM_TASKS": "4",
}
OPEN_MPI = {"OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1:34911", "OMPI_COMM_WORLD_SIZE": "4"}


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({}, None),
        (
            {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"},
            None,
        ),  # the batch script itself, without srun
        ({**SLURM, "SLURM_PROCID": "3", "SLURM_LOCALID": "1"}, Place("node07:61808", 4, 3, "Slurm", 1)),
        (
            {**OPEN_MPI, "OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "0"},
            Place("10.96.0.1:62624", 4, 2, "Open MPI", 0),
        ),
        (
            {"DANLU_COORDINATOR": "a:1", "DANLU_PROCESSES": "2", "DANLU_RANK": "1", "DANLU_LAUNCHED": "1", **SLURM},
            Place("a:1", 2, 1, "danlu launch"),
        ),
    ],
)
def test_a_process_finds_its_place(
    variables: dict[str, str], place: Place | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert find() == place


class Scripted:
    """A process whose fate is known: by attempt and rank its exit status and what it told, after some looks; None never ends."""

    fates: dict[tuple[int, int], tuple[int | None, dict[str, Any]]]
    started: list[Scripted]
    asked: list[tuple[int, int]]

    def __init__(self, rank: int, command: Any, variables: dict[str, str], *, cores: Any) -> None:
        self.rank, self.command, self.variables, self.cores = rank, command, variables, cores
        self.attempt = sum(each.rank == rank for each in self.started)
        self.fate, told = self.fates.get((self.attempt, rank), (0, {}))
        self.facts = {"run": str(variables.get("run", "runs/titanic")), **told}
        self.status: int | None = None
        self.pid, self.at, self.log, self.spoken = (
            1000 + rank,
            "engine/training.py:1 (run)",
            deque[str](),
            told.get("spoken", 0),
        )
        self.heard = self.moved = launcher.time.monotonic()
        self.looks = 0
        self.started.append(self)

    def look(self, show: Any) -> None:
        self.looks += 1
        now = launcher.time.monotonic()
        if "silent" not in self.facts:
            self.heard = now
        if "stuck" not in self.facts:
            self.moved = now
        if self.looks > 2 and self.status is None:
            self.status = self.fate

    def ask(self, number: int) -> None:
        self.asked.append((self.rank, number))
        self.fate, self.looks = 128 + number, 9

    def end(self) -> None:
        self.status = -9

    def close(self) -> None:
        pass


@pytest.fixture
def fates(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What becomes of the processes, by attempt and rank; time goes a second a look."""
    Scripted.fates, Scripted.started, Scripted.asked = {}, [], []
    clock = itertools.count()
    monkeypatch.setattr(launcher, "Child", Scripted)
    monkeypatch.setattr(launcher.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(launcher.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(launcher, "_PAUSED", 1e9)
    return Scripted.fates


def run(**how: Any) -> tuple[int, list[str]]:
    said: list[str] = []
    return launch(Job(**{"command": TRAIN, "processes": 2, **how}), say=said.append), said


def test_all_end_well(fates: Any) -> None:
    assert run() == (0, [])
    first, second = Scripted.started
    assert first.variables["DANLU_COORDINATOR"] == second.variables["DANLU_COORDINATOR"]
    assert [each.variables["DANLU_RANK"] for each in Scripted.started] == ["0", "1"]
    assert not set(first.cores) & set(second.cores)


def test_one_is_killed_and_all_start_again_from_the_run(fates: Any) -> None:
    fates[0, 1] = -9, {}
    fates[0, 0] = None, {}
    status, said = run()
    assert status == 0
    assert said == [
        "launch: process 1 was killed by SIGKILL; all processes start again from the beginning (restart 1 of 3)"
    ]
    assert Scripted.started[0].status == -9, "the other one is ended"
    assert [each.command for each in Scripted.started[2:]] == [("train", "--resume", "runs/titanic")] * 2


def test_restarts_are_bounded(fates: Any) -> None:
    fates.update({(attempt, 1): (1, {}) for attempt in range(9)})
    with pytest.raises(TrainingError, match="process 1 ended with status 1; restarts that were left: 0 of 2") as error:
        run(restarts=2)
    assert "danlu train --resume runs/titanic" in str(error.value)
    assert len(Scripted.started) == 6


@pytest.mark.parametrize(
    ("told", "how", "message"),
    [
        (
            {"silent": True},
            {},
            "process 1 (pid 1001) has said nothing for 20 s: it is stopped or the machine stands still",
        ),
        (
            {"stuck": True, "spoken": 7},
            {"timeout": 40},
            "no process has come further for 40 s (--timeout): process 1 is behind",
        ),
    ],
)
def test_a_process_that_hangs_is_found(fates: Any, told: dict[str, Any], how: dict[str, Any], message: str) -> None:
    fates[0, 0], fates[0, 1] = (None, {"stuck": True, "spoken": 8}), (None, told)
    status, said = run(**how)
    assert status == 0
    assert message in said[0]


def test_an_error_that_would_come_again_is_the_end_and_said_once(fates: Any) -> None:
    fates[0, 0] = fates[0, 1] = 1, {"refused": "danlu: there is no file"}
    assert run() == (1, [])
    fates[1, 0], fates[1, 1] = (None, {}), (1, {"refused": "danlu: of process 1 alone"})
    assert run() == (1, ["[1] danlu: of process 1 alone"])


def test_the_others_that_die_of_an_error_are_no_failure(fates: Any) -> None:
    fates[0, 0], fates[0, 1] = (1, {"refused": "danlu: no"}), (-6, {})
    assert run() == (1, [])


def test_elastic_goes_on_with_one_fewer(fates: Any) -> None:
    fates[0, 2] = -9, {}
    status, said = run(processes=3, elastic=True)
    assert status == 0
    assert "with 2 processes (restart 1 of 3)" in said[0]
    assert [each.variables["DANLU_PROCESSES"] for each in Scripted.started] == ["3"] * 3 + ["2"] * 2


def test_a_signal_goes_to_process_0_and_is_the_status(fates: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fates[0, 0] = fates[0, 1] = None, {}

    def asked(self: Any, asked: Any) -> Any:
        asked.number = signal.SIGTERM
        return watch(self, asked)

    watch = launcher._Crew.watch
    monkeypatch.setattr(launcher._Crew, "watch", asked)
    assert run() == (143, [])
    assert Scripted.asked == [(0, signal.SIGTERM)]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"processes": 0}, "--processes is 0; expected a whole number >= 1"),
        ({"restarts": -1}, "--restarts is -1"),
        ({"timeout": 0.0}, "--timeout is 0; expected seconds > 0"),
        ({"timeout": math.nan}, "--timeout is nan; expected seconds > 0"),
        ({"rank": 1}, "expected --coordinator host:port with it"),
        ({"rank": 2, "coordinator": "a:1"}, "this is process 2 of 2 (--rank); expected a number from 0 to 1"),
        ({"coordinator": "node-1"}, "the coordinator is 'node-1'; expected host:port"),
        ({"rank": 0, "coordinator": "a:1", "elastic": True}, "--elastic goes on with one process fewer"),
        ({"command": ("tune", "a.csv")}, "received 'tune a.csv' to launch; expected a training"),
    ],
)
def test_what_cannot_be_launched_is_refused(how: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        Job(**{"command": TRAIN, "processes": 2, **how})


def commands(text: str) -> list[list[str]]:
    """The commands of danlu in a script, as words."""
    return [shlex.split(found.rstrip(")\\")) for found in re.findall(r"danlu (train[^\n]*)", text) if "--" in found]


def test_the_manifests_are_whole_and_their_options_exist() -> None:
    yaml = pytest.importorskip("yaml")
    manifest = yaml.safe_load((DEPLOY / "jobset.yaml").read_text())
    job = manifest["spec"]["replicatedJobs"][0]
    spec = job["template"]["spec"]
    container = spec["template"]["spec"]["containers"][0]
    variables = {each["name"]: each["value"] for each in container["env"]}
    assert int(variables["DANLU_PROCESSES"]) == spec["completions"] == spec["parallelism"]
    name = manifest["metadata"]["name"]
    host, port = variables["DANLU_COORDINATOR"].split(":")
    assert (
        host == f"{name}-{job['name']}-0-0.{name}"
    )  # JobSet's names: set, job, number of the job, number of the pod; the service
    assert int(port) == container["ports"][0]["containerPort"]
    assert find({**variables, "JOB_COMPLETION_INDEX": "1"}) == Place(f"{host}:{port}", 2, 1, "DANLU_PROCESSES")

    train = typer.main.get_command(app).commands["train"]  # type: ignore[attr-defined]
    known = {option for each in train.params for option in each.opts}
    found = [*commands(container["args"][0]), *commands((DEPLOY / "slurm.sh").read_text())]
    assert len(found) == 4
    for words in found:
        assert {word for word in words if word.startswith("--")} <= known, words


def test_elastic_has_a_lower_bound(fates: Any) -> None:
    fates.update({(attempt, 0): (1, {}) for attempt in range(3)})
    status, said = run(processes=3, elastic=True, least=2)
    assert status == 0
    assert ["with 2 processes" in line for line in said] == [True] * 3
    for how, message in (({"least": 2}, "without --elastic"), ({"least": 4, "elastic": True}, "4 of 2 processes")):
        with pytest.raises(ConfigError, match=message):
            run(**how)
