"""A server and its owners in one process: equal to the simulation, masked or not, and whoever is lost for a while."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import polars as pl
import pytest

from danlu import nn
from danlu.errors import ArtifactError, ConfigError, DataError, SchemaError, TrainingError
from danlu.federated import Method, fit_clients
from danlu.federated.flower import Connections, _quiet
from danlu.federated.real import Lesson, Local, Owner, Server
from danlu.federated.real.local import flat
from danlu.federated.real.messages import pack, unpack
from danlu.federated.real.server import Model
from danlu.federated.real.tables import TableRows, agree
from danlu.pipeline.config import config_from
from danlu.pipeline.remote import serve_rounds
from danlu.tasks import Recipe

ROUNDS = 3


def frame(seed: int, rows: int = 40) -> pl.DataFrame:
    draw = np.random.default_rng(seed)
    x, gap = draw.normal(50, 10, rows), draw.random(rows) < 0.1
    colour = draw.choice(["red", "green", "blue"], rows)
    y = np.where(x / 10 - 5 + (colour == "red") + draw.normal(size=rows) > 0, "yes", "no")
    return pl.DataFrame({"x": pl.Series(x).set(pl.Series(gap), None), "colour": colour, "y": y})


class Network(nn.Layer):
    """The smallest network of a table's arrays: one product for the numbers."""

    def init(self, key: Any, in_shape: Any) -> Any:
        return {"kernel": jax.random.normal(key, (in_shape["numeric"][0], 2)) / 3}, {}, (2,)

    def apply(self, params: Any, state: Any, x: Any, *, train: bool = False, key: Any = None) -> Any:
        return x["numeric"] @ params["kernel"], state


LESSON = Lesson(
    Recipe(Network(), "categorical_cross_entropy", batch_size=8),
    rounds=ROUNDS,
    optimizer="sgd",
    learning_rate=0.1,
    schedule="constant",
)


class Room:
    """Owners in this process. ``lost`` says before each message whether an owner is there to hear it."""

    def __init__(
        self,
        frames: dict[str, pl.DataFrame],
        lost: Callable[[str, dict], bool] = lambda name, fields: False,
        **how: Any,
    ):
        self.frames, self.lost, self.how = frames, lost, how
        self.owners = {name: self.opened(name) for name in frames}
        self.heard: list[tuple[str, bytes, bytes]] = []

    def opened(self, name: str) -> Owner:
        return Owner(
            name, lambda asked: TableRows(self.frames[name], asked["target"]), say=lambda line: None, **self.how
        )

    def present(self) -> Sequence[str]:
        return list(self.owners)

    def ask(self, messages: dict[str, bytes]) -> dict[str, bytes]:
        answers = {}
        for name, message in messages.items():
            if self.lost(name, unpack(message)[0]):
                self.owners.pop(name, None)
            if name in self.owners:
                answers[name] = self.owners[name].answer(message)
                self.heard.append((name, message, answers[name]))
        return answers


def served(room: Room, method: str = "fedavg", **how: Any) -> tuple[Server, Model, Model]:
    """A server, the model that it began with, and what became of it."""
    server = Server(room, len(room.frames), say=lambda line: None, **{"wait": 0.5, **how})
    server.gather()
    encoder, target, sample = server.encoder(server.agree("y"))
    lesson = LESSON.replace(method=Method(method))
    begun = Model.begun(lesson, encoder, target, sample)
    return server, begun, server.train(begun)


def simulated(room: Room, begun: Model, method: str) -> Any:
    """The same by ``fit_clients``, from the rows that the owners learnt from."""
    data = [owner._data["train"] for owner in room.owners.values()]
    x, y = np.concatenate([x["numeric"] for x, _ in data]), np.concatenate([y for _, y in data])
    ends = np.cumsum([len(y) for _, y in data])
    return fit_clients(
        begun.lesson.recipe.model,
        ({"numeric": x}, y),
        np.split(np.arange(ends[-1]), ends[:-1]),
        loss=begun.lesson.recipe.loss,
        rounds=ROUNDS,
        method=method,
        learning_rate=0.1,
        batch_size=8,
        display="none",
    )


FRAMES = {"a": frame(0), "b": frame(1), "c": frame(2)}


@pytest.mark.parametrize(
    "method", ["fedavg", *(pytest.param(name, marks=pytest.mark.slow) for name in ("fedprox", "fedadam", "scaffold"))]
)
def test_it_equals_the_simulation(method: str) -> None:
    room = Room(FRAMES)
    _, begun, ended = served(room, method)
    expected = simulated(room, begun, method)
    np.testing.assert_allclose(ended.params["kernel"], expected.params["kernel"], rtol=1e-5, atol=1e-6)
    assert np.abs(ended.params["kernel"] - begun.params["kernel"]).max() > 0.05
    for ours, theirs in zip(ended.history, expected.history, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-5)
    assert ended.rows == {"train": 84, "validation": 18, "test": 18}
    assert set(ended.test) == {"loss"}


def test_masked_it_is_the_same_and_no_answer_holds_an_open_vector() -> None:
    pytest.importorskip("cryptography")
    (_, _, plain), (_, _, masked) = served(Room(FRAMES)), served(room := Room(FRAMES, secure=True), secure=True)
    np.testing.assert_allclose(masked.params["kernel"], plain.params["kernel"], atol=1e-6)
    assert masked.history[-1]["val_loss"] == pytest.approx(plain.history[-1]["val_loss"], abs=1e-6)
    vectors = [arrays["vector"] for _, _, answer in room.heard if "vector" in (arrays := unpack(answer)[1])]
    assert len(vectors) == 3 * (3 + 2 * ROUNDS + 1)
    assert {vector.dtype.name for vector in vectors} == {"uint64"}
    assert all("weight" not in unpack(answer)[0] for _, _, answer in room.heard)


@pytest.mark.parametrize("stage", ["train", "keys", "parts", "reveal"])
def test_a_round_goes_on_without_an_owner_that_is_lost_and_with_it_when_it_is_back(stage: str) -> None:
    """Lost in the second round, back before the third: it is told anew what is learnt, and draws what it would have drawn."""
    pytest.importorskip("cryptography")
    times = iter(range(100))

    def lost(name: str, fields: dict) -> bool:
        at = 4 if stage in ("keys", "parts", "reveal") else 1  # three means of statistics, and the first round's two
        return name == "b" and fields["ask"] == stage and next(times) == (at + 1 if stage != "train" else at)

    said: list[str] = []
    room = Room(FRAMES, lost)

    class Returning(Server):
        def _here(self) -> list[str]:
            here = super()._here()
            if len(here) < 3 and "b" in self._lost:
                room.owners["b"] = room.opened("b")  # started again by its user, with nothing of before
            return here

    server = Returning(room, 3, secure=stage != "train", wait=5, say=said.append)
    server.gather()
    encoder, target, sample = server.encoder(server.agree("y"))
    ended = server.train(Model.begun(LESSON, encoder, target, sample))
    assert any("the owner b is lost" in line for line in said)
    assert any("the owner b is back" in line for line in said)
    counts = [row["clients"] for row in ended.history]
    assert counts[-1] == 3
    assert np.isfinite(ended.params["kernel"]).all()


def test_too_few_owners_are_said() -> None:
    with pytest.raises(TrainingError, match=r"2 of 3 owners came within 0\.1 s: a, b"):
        Server(Room({name: FRAMES[name] for name in "ab"}), 3, wait=0.1, say=lambda line: None).gather()
    room = Room(FRAMES, lambda name, fields: name in "ab" and fields["ask"] == "train")
    with pytest.raises(TrainingError, match=r"round 1: 1 of \d owners answered; expected at least 2"):
        served(room)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (FRAMES["b"].rename({"x": "z"}), "the owner a has the column 'x', and b has none of that name"),
        (FRAMES["b"].with_columns(more=pl.Series(range(40))), "the owner b has the column 'more', and a has none"),
        (
            FRAMES["b"].with_columns(x=FRAMES["b"]["colour"]),
            "the column 'x' is numeric with the owner a and categorical with b",
        ),
        (
            FRAMES["b"].with_columns(y=FRAMES["b"]["x"].fill_null(1.5)),
            "'y' holds classes with the owner a and a quantity with b",
        ),
        (FRAMES["b"].drop("y"), "the owner b says: unknown target column 'y'"),
        (FRAMES["b"].head(0), "the owner b says: "),
    ],
)
def test_tables_that_do_not_go_together_name_the_owner_and_the_column(changed: pl.DataFrame, message: str) -> None:
    server = Server(Room({**FRAMES, "b": changed}), 3, say=lambda line: None)
    server.gather()
    with pytest.raises((SchemaError, DataError), match=message.replace("(", r"\(")):
        server.agree("y")


def test_the_encoder_of_sums_is_that_of_the_rows_together() -> None:
    from danlu.data import TableEncoder, infer_schema

    room = Room(FRAMES)
    server = Server(room, 3, say=lambda line: None)
    server.gather()
    encoder, target, sample = server.encoder(server.agree("y", validation=0, test=0))
    together = pl.concat(FRAMES.values())
    expected = TableEncoder.fit(together, infer_schema(together, target="y"))
    assert encoder.numeric_names == expected.numeric_names
    assert encoder.cardinalities == expected.cardinalities
    assert target.classes == ("no", "yes")
    rows = together.filter(pl.col("x").is_not_null())  # in a gap stands the mean, not the median
    ours, theirs = encoder.transform(rows), expected.transform(rows)
    np.testing.assert_allclose(ours["numeric"], theirs["numeric"], atol=1e-4)
    np.testing.assert_array_equal(ours["categorical"], theirs["categorical"])
    quantiles = np.quantile(theirs["numeric"][:, 0], np.linspace(0, 1, 257))
    assert np.abs(sample["numeric"][:, 0] - quantiles)[16:-16].max() < 0.15  # by bins of a sixteenth


def test_an_owner_that_gives_only_masked_vectors_gives_no_other() -> None:
    pytest.importorskip("cryptography")
    with pytest.raises(DataError, match="asks the owner a for an open vector, and it gives only masked ones"):
        served(Room(FRAMES, secure=True))


def test_what_an_owner_does_not_know_is_an_answer() -> None:
    owner = Owner("a", lambda asked: TableRows(FRAMES["a"], "y"), say=lambda line: None)
    assert "asks for 'weights', which this version" in unpack(owner.answer(pack({"ask": "weights"})))[0]["error"]
    assert "no message of danlu's" in unpack(owner.answer(b"GET / HTTP/1.1"))[0]["error"]
    assert "before it was told what" in unpack(owner.answer(pack({"ask": "judge", "part": "test"})))[0]["error"]
    with pytest.raises(ConfigError, match="for simulations"):
        LESSON.replace(method=Method(own=("0",)))


def test_nothing_of_a_row_is_in_what_owners_answer() -> None:
    """Neither a value's text, nor its bytes as float32 or float64, nor a free text; what does leave is what the page lists."""
    draw = np.random.default_rng(9)
    frames = {
        name: each.with_columns(
            note=pl.Series([f"secret {name} {draw.integers(10**9)} said so" for _ in range(each.height)])
        )
        for name, each in FRAMES.items()
    }
    room = Room(frames)
    served(room)
    sent = b"".join(answer for _, _, answer in room.heard)
    for each in frames.values():
        for value in each["x"].drop_nulls().to_list():
            assert str(value).encode() not in sent
            assert np.float64(value).tobytes() not in sent
            assert np.float32(value).tobytes() not in sent
        assert not any(note.encode() in sent for note in each["note"])
    assert b"secret" not in sent
    assert b"green" in sent  # the names of frequent levels do leave


SECRET = "ZZSECRET-4711.25"


def test_what_is_wrong_with_a_table_is_told_to_its_owner_alone() -> None:
    rows = FRAMES["a"].with_columns(colour=pl.lit(SECRET))
    owner = Owner("a", lambda asked: TableRows(rows, "y", kinds={"colour": "numeric"}), say=lambda line: None)
    answer = owner.answer(pack({"ask": "describe"}))
    assert "it cannot answer 'describe' with its table" in unpack(answer)[0]["error"]
    assert b"ZZSECRET" not in answer
    assert b"ZZSECRET" not in owner.answer(pack({"ask": "refused", "why": "the owner a says: it cannot"}))
    assert owner.error is not None
    assert "ZZSECRET" in owner.error.message


def test_a_value_that_fewer_than_three_rows_have_is_in_no_mean_and_no_class() -> None:
    rare = pl.Series([4711.25, 815.5, *[None] * 38], dtype=pl.Float64)
    room = Room({name: each.with_columns(rare=rare) for name, each in FRAMES.items()})
    server = Server(room, 3, say=lambda line: None)
    server.gather()
    agreed = server.agree("y", validation=0, test=0)
    means = server.mean("means", server.names)
    present, mean = np.split(means.value, 2)
    assert (present[0] > 0.5, present[1], mean[1]) == (True, 0, 0)
    encoder, _, _ = server.encoder(agreed)
    assert encoder.numeric_names[:2] == ("x", "rare")
    one = TableRows(FRAMES["a"].with_columns(y=pl.lit(4711.25)).with_row_index(), "y").describe()["target"]
    assert one == {"task": "", "classes": ["4711.25"], "kind": "float"}  # all rows have it
    values = [4711.25, 815.5, *[815.5] * 38]
    assert TableRows(FRAMES["a"].with_columns(y=pl.Series(values)), "y").describe()["target"]["classes"] == ["815.5"]


def test_an_owner_of_few_rows_does_not_take_part() -> None:
    server = Server(Room({**FRAMES, "b": FRAMES["b"].head(3)}), 3, say=lambda line: None)
    server.gather()
    with pytest.raises(DataError, match="the owner b has 3 rows and would learn from 1; expected at least 3"):
        server.agree("y", validation=0.3, test=0.3)


def test_answers_of_other_lengths_are_said() -> None:
    class Short(Room):
        def ask(self, messages: dict[str, bytes]) -> dict[str, bytes]:
            answers = super().ask(messages)
            fields, arrays = unpack(answers["b"])
            if "vector" in arrays:
                answers["b"] = pack(fields, {"vector": arrays["vector"][:-1]})
            return answers

    server = Server(Short(FRAMES), 3, say=lambda line: None)
    server.gather()
    with pytest.raises(DataError, match="the answers of the owners do not go together"):
        server.encoder(server.agree("y"))


@pytest.mark.slow
def test_a_round_that_is_asked_again_counts_once() -> None:
    room = Room({"a": FRAMES["a"]})
    _, begun, _ = served(room, "scaffold")
    local = Local(begun.lesson, room.owners["a"]._data["train"], 0)
    weights = flat((begun.params, begun.state))
    given = np.concatenate([weights, np.full_like(weights, 0.01)])
    first, again = local.learn(given, 0, 0)[0], local.learn(given, 0, 0)[0]
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(local.learn(given, 1, 1)[0], first)


def test_only_the_fault_of_grpcs_own_thread_is_left_out() -> None:
    heard: list[Any] = []
    hook = _quiet(heard.append)
    for kind, text in (
        (ValueError, "Cannot monitor channel state: Channel closed!"),
        (ValueError, "x"),
        (OSError, "y"),
    ):
        hook(SimpleNamespace(exc_type=kind, exc_value=kind(text)))
    assert [str(failed.exc_value) for failed in heard] == ["x", "y"]


class Wire:
    """Flower's manager and one of its proxies in one: connections of owners, each of which answers or is silent."""

    def __init__(self) -> None:
        self.there: dict[str, Owner | None] = {}

    def all(self) -> dict[str, Any]:
        return {key: (key, owner) for key, owner in self.there.items()}

    def ask(self, proxy: Any, message: bytes, seconds: float) -> bytes | None:
        key, owner = proxy
        if owner is None:  # Flower closes what does not answer in time
            self.there.pop(key, None)
            time.sleep(seconds)
            return None
        return owner.answer(message)


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    found = Wire()
    monkeypatch.setattr("danlu.federated.flower._ask", found.ask)
    monkeypatch.setattr("danlu.federated.flower._HELLO", 0.01)
    return found


def test_an_owner_takes_its_place_again_from_a_connection_that_only_looks_alive(wire: Wire) -> None:
    said: list[str] = []
    link, open_rows = Connections(wire, said.append, 600.0), lambda asked: TableRows(FRAMES["a"], "y")
    first, second = (Owner("a", open_rows, say=lambda line: None) for _ in range(2))
    wire.there["1"] = first
    assert list(link.present()) == ["a"]
    wire.there["2"] = second
    assert list(link.present()) == ["a"], "two that answer: the second is sent away"
    assert second.refused
    wire.there = {"1": None, "3": Owner("a", open_rows, say=lambda line: None)}
    assert list(link.present()) == [], "missing once, so that it is told all anew"
    assert list(link.present()) == ["a"]
    assert list(link.ask({"a": pack({"ask": "hello"})})) == ["a"]
    assert any("came anew" in line for line in said)


def test_a_connection_that_says_nothing_is_closed_and_said(wire: Wire) -> None:
    said: list[str] = []
    link = Connections(wire, said.append, 600.0)
    wire.there["1"] = None
    begun = time.monotonic()
    assert list(link.present()) == []
    assert time.monotonic() - begun < 1
    assert "nobody said in 0.01 s who it is" in said[0]


def returning(anew: bool, **how: Any) -> tuple[Room, list[str], Callable[[], Model]]:
    """Four rounds of SCAFFOLD in whose second one the owner b is lost, and is back, started anew or not."""

    def lost(name: str, fields: dict) -> bool:
        return name == "b" and fields["ask"] == "train" and fields["round"] == 1

    said: list[str] = []
    room = Room(FRAMES, lost)
    known = room.owners["b"]

    class Returning(Server):
        def _here(self) -> list[str]:
            here = super()._here()
            if "b" in self._lost - self._left and "b" not in room.owners:
                room.owners["b"] = room.opened("b") if anew else known
            return here

    server = Returning(room, 3, say=said.append, **how)
    server.gather()
    encoder, target, sample = server.encoder(server.agree("y"))
    lesson = LESSON.replace(method=Method("scaffold"), rounds=4)
    return room, said, lambda: server.train(Model.begun(lesson, encoder, target, sample))


def test_owners_that_cannot_come_back_are_not_waited_for() -> None:
    _, _, train = returning(True, wait=60, threshold=3)
    begun = time.monotonic()
    with pytest.raises(TrainingError, match="expected at least 3, and b cannot come back"):
        train()
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize("anew", [True, False])
def test_scaffold_goes_on_with_an_owner_that_remembers_and_without_one_that_does_not(anew: bool) -> None:
    room, said, train = returning(anew, wait=5)
    ended = train()
    told = " ".join(said)
    assert ("has lost its control variate" in told, "the owner b is back" in told) == (anew, not anew)
    assert [row["clients"] for row in ended.history] == ([3, 2, 2, 2] if anew else [3, 2, 3, 3])
    assert room.owners["b"].refused == anew


def test_a_run_that_cannot_be_made_is_said_before_owners_come(tmp_path: Path) -> None:
    """Nobody waits for owners, or asks them for means, whose run has no place."""
    config = config_from({"data": {"target": "y"}})
    (tmp_path / "runs" / "kept").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"the run .*kept exists already"):
        serve_rounds(config, "127.0.0.1:1", owners=2, root=tmp_path / "runs", name="kept")
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match=r"cannot make runs in .*: .*file is not a folder"):
        serve_rounds(config, "127.0.0.1:1", owners=2, root=tmp_path / "file" / "runs")


def test_texts_alone_are_no_columns_of_owners() -> None:
    texts = {"name": "note", "kind": "text", "used": True, "reason": ""}
    said = {name: {"rows": 9, "columns": [texts], "target": {}, "exponents": {}} for name in ("north", "south")}
    with pytest.raises(SchemaError, match="no column is left") as caught:
        agree(said, "y")
    assert caught.value.hint == "columns of texts are left out, since their words would leave the owners"
