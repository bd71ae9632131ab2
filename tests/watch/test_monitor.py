"""A model in use beside its training: what changed, since when, and the score once the truth is known."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import danlu
from danlu.cli.app import app
from danlu.errors import ConfigError, DataError
from danlu.watch import Watch, profile_of
from danlu.watch.log import read_asked
from danlu.watch.monitor import monitor

GOLDEN = Path(__file__).parents[1] / "trained" / "golden" / "version-3"
RANDOM = np.random.default_rng(0)


def rows(count: int, *, shift: float = 0.0, city: str | None = None) -> pl.DataFrame:
    model = danlu.load(GOLDEN / "table" / "model")
    schema = model.encoder.schema
    low, high = schema["size"].minimum, schema["size"].maximum
    cities = list(schema["city"].categories)
    return pl.DataFrame(
        {
            "city": [city or cities[place] for place in RANDOM.integers(len(cities), size=count)],
            "size": RANDOM.uniform(low, high, count) + shift * (high - low),
            "day": [schema["day"].examples[0]] * count,
        }
    )


@pytest.fixture(scope="module")
def model() -> Any:
    found = danlu.load(GOLDEN / "table" / "model")
    read = found.read(rows(400), say=lambda line: None).rows
    return dataclasses.replace(found, profile=profile_of(found, rows=read, judged=found.encoder.transform(read)))


def log(path: Path, frame: pl.DataFrame, answers: list[Any] | None = None) -> str:
    lines = [
        {"time": f"2026-01-{1 + i * 20 // frame.height:02}T{i % 24:02}:00:00Z", "request": str(i), "inputs": row}
        for i, row in enumerate(frame.to_dicts())
    ]
    for line, answer in zip(lines, answers or [], strict=False):
        line["inputs"][danlu.load(GOLDEN / "table" / "model").head.name] = answer
    path.write_text("\n".join(map(json.dumps, reversed(lines))))
    return str(path)


def test_the_same_kind_of_rows_raises_no_alarm(model: Any, tmp_path: Path) -> None:
    found = monitor(model, log(tmp_path / "log.jsonl", rows(300)))
    assert found.alarms == ()
    assert found.rows == 300
    assert any(each.name.startswith("answer: ") for each in found.drift)
    assert "dates are not compared" in str(found)


def test_a_change_is_named_with_its_beginning(model: Any, tmp_path: Path) -> None:
    both = pl.concat([rows(200), rows(100, shift=2)])
    found = monitor(model, log(tmp_path / "log.jsonl", both), parts=6)
    assert "size" in [each.name for each in found.drift if each.sure]
    assert any("size has changed" in alarm for alarm in found.alarms)
    assert [part.psi > 1 for part in found.parts] == [False] * 4 + [True] * 2
    page = found.page("a watch")
    assert "size has changed" in page
    assert "<svg" in page


def test_a_level_that_was_never_seen_is_a_change(model: Any, tmp_path: Path) -> None:
    frame = rows(100)
    frame = frame.with_columns(city=pl.Series(["Atlantis"] * 60 + frame["city"][60:].to_list()))
    found = monitor(model, log(tmp_path / "log.jsonl", frame))
    assert "a value that was not seen in training in 0 % before, in 60 % now" in found.alarms[0]


def test_true_answers_that_come_later_give_a_score(model: Any, tmp_path: Path) -> None:
    frame, name = rows(200), model.head.name
    classes = model.head.target.classes
    given = model.predict(frame, say=lambda line: None)[name].to_list()
    wrong = [classes[1 - classes.index(answer)] for answer in given]
    better = dataclasses.replace(model, metrics={"roc_auc": 0.9})
    source = log(tmp_path / "log.jsonl", frame)
    pl.DataFrame({"number": range(100, 200), name: given[100:]}).write_csv(tmp_path / "right.csv")
    pl.DataFrame({"request": range(100, 200), name: wrong[100:]}).write_csv(tmp_path / "wrong.csv")
    with pytest.raises(DataError, match="expected 'request'"):
        monitor(better, source, truth=str(tmp_path / "right.csv"))
    found = monitor(better, source, truth=str(tmp_path / "wrong.csv"))
    assert found.known == 100
    assert found.score is not None
    assert found.score.value < 0.1
    assert any("in the test after the training it was 0.9" in alarm for alarm in found.alarms)
    assert found.parts[0].score is None
    assert found.parts[-1].score is not None


def test_a_row_of_several_is_known_by_its_number_under_any_name(model: Any, tmp_path: Path) -> None:
    inputs, name = rows(2).to_dicts(), model.head.name
    (tmp_path / "log.jsonl").write_text(json.dumps({"order": 7, "inputs": inputs}))
    for identifiers, known in ((("7/1", "7/2"), [True, True]), (("7/2", "9"), [False, True])):
        pl.DataFrame({"order": identifiers, name: model.head.target.classes[:2]}).write_csv(tmp_path / "truth.csv")
        found = read_asked(model, str(tmp_path / "log.jsonl"), truth=str(tmp_path / "truth.csv"), key="order")
        assert found.known.tolist() == known


def test_two_answers_to_one_row_are_refused(model: Any, tmp_path: Path) -> None:
    name, truth = model.head.name, tmp_path / "truth.csv"
    pl.DataFrame(
        {"request": ["1", "0", "1"], name: [*model.head.target.classes[:2], model.head.target.classes[1]]}
    ).write_csv(truth)
    with pytest.raises(DataError, match="several answers for 'request' '1'"):
        read_asked(model, log(tmp_path / "log.jsonl", rows(2)), truth=str(truth))


def test_a_true_answer_that_is_no_number_is_named(tmp_path: Path) -> None:
    quantity = danlu.load(GOLDEN / "quantity" / "model")
    record = pl.read_csv(GOLDEN / "quantity" / "asked.csv").row(0, named=True)
    (tmp_path / "log.jsonl").write_text(json.dumps({"inputs": {**record, quantity.head.name: "x1"}}))
    with pytest.raises(DataError, match="the first is 'x1'"):
        read_asked(quantity, str(tmp_path / "log.jsonl"))


def test_a_log_of_several_models_needs_a_name(model: Any, tmp_path: Path) -> None:
    place = Path(log(tmp_path / "log.jsonl", rows(60)))
    own = [{**json.loads(line), "model": "rooms"} for line in place.read_text().splitlines()]
    place.write_text("\n".join(map(json.dumps, [*own, {"model": "other", "inputs": {"x": 1}}])))
    with pytest.raises(ConfigError, match="rows of 2 models: 'other', 'rooms'") as caught:
        monitor(model, str(place))
    assert "--model" in str(caught.value.hint)
    assert monitor(model, str(place), model="rooms").rows == 60
    with pytest.raises(ConfigError, match="did you mean 'rooms'"):
        monitor(model, str(place), model="room")


def test_broken_lines_and_lost_times_are_said(model: Any, tmp_path: Path) -> None:
    place = Path(log(tmp_path / "log.jsonl", rows(60)))
    lines = place.read_text().splitlines()
    untimed = json.loads(lines[0])
    del untimed["time"]
    place.write_text(
        "\n".join([lines[1][30:], *lines[2:30], lines[30][:40], json.dumps(untimed), *lines[31:], lines[1][:9]])
    )
    found = monitor(model, str(place))
    assert found.rows == 58
    assert any("3 lines are no lines of a log and are left out; the first is line 1" in note for note in found.notes)
    assert any("1 of 58 rows have no 'time'" in note for note in found.notes)


def test_a_model_without_a_profile_says_what_to_do(tmp_path: Path) -> None:
    plain = danlu.load(GOLDEN / "table" / "model")
    rows(60).write_csv(tmp_path / "now.csv")
    with pytest.raises(ConfigError, match="without a profile"):
        monitor(plain, str(tmp_path / "now.csv"))
    assert monitor(plain, str(tmp_path / "now.csv"), reference=str(tmp_path / "now.csv")).alarms == ()


def test_the_command_ends_with_status_3_and_tells_a_program(model: Any, tmp_path: Path) -> None:
    folder = model.save(tmp_path / "model")
    source = log(tmp_path / "log.jsonl", rows(100, shift=3))
    told = tmp_path / "told.json"
    done = CliRunner().invoke(
        app, ["monitor", str(folder), source, "-o", str(tmp_path / "w.html"), "--alert", f"tee {told}"]
    )
    assert done.exit_code == 3, done.output
    assert "size" in [each["name"] for each in json.loads(told.read_text())["drift"] if each["drifted"]]
    assert all(len(line) <= 80 for line in done.stdout.splitlines() if not line.startswith("tee"))
    assert "size has changed" in (tmp_path / "w.html").read_text()


@pytest.mark.parametrize(
    "kind", ["image", "text", "sequence", "sound", "series", "quantity", "segmentation", "multilabel"]
)
def test_every_kind_of_data_is_watched(kind: str) -> None:
    trained = danlu.load(GOLDEN / kind / "model")
    [asked] = (GOLDEN / kind).glob("asked*")
    source: Any = np.load(asked) if asked.suffix == ".npy" else str(asked)
    made = trained.read(source, lenient=True, say=lambda line: None).rows
    usual = profile_of(trained, rows=made)
    watch = Watch(trained, usual)
    watch.add(made)
    assert watch.rows() == len(made)
    assert {each.name for each in watch.drift()} == {each.name for each in usual}


@pytest.mark.parametrize("where", ["", "  ", "tee 'a"])
def test_an_alert_that_names_nobody_is_refused_at_once(where: str, model: Any, tmp_path: Path) -> None:
    rows(60).write_csv(tmp_path / "now.csv")
    done = CliRunner().invoke(
        app, ["monitor", str(GOLDEN / "table" / "model"), str(tmp_path / "now.csv"), "--alert", where]
    )
    assert isinstance(done.exception, ConfigError)
    assert "--alert is" in str(done.exception)
