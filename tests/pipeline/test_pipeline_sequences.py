"""Sequences from a long table, arrays or .ts files to a trained, saved, loaded and judged model."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest

import danlu
from danlu.artifact.artifact import sealed
from danlu.data.sequences import is_sequence_source
from danlu.errors import ArtifactError, ConfigError, DataError, SchemaError
from danlu.evaluate.summaries import summaries

SMALL: dict[str, Any] = {
    "trainer": {"epochs": 10, "patience": 10, "batch_size": 16, "learning_rate": 0.02},
    "model": {"width": 6, "depth": 1},
}
QUIET: dict[str, Any] = {"display": "none", "say": lambda line: None}


def pulses(count: int, seed: int = 0) -> pl.DataFrame:
    """Sequences, told apart by which column is struck first."""
    rng, rows = np.random.default_rng(seed), []
    for number in range(count):
        steps = int(rng.integers(6, 13))
        values = rng.normal(0, 0.2, (steps, 2))
        early, late = np.sort(rng.choice(steps, 2, replace=False))
        values[(early, late), (number % 2, 1 - number % 2)] += 4
        label = ("left", "right")[number % 2]
        rows += [{"id": f"n{number}", "step": t, "a": a, "b": b, "first": label} for t, (a, b) in enumerate(values)]
    return pl.DataFrame(rows)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    said: list[str] = []
    folder = tmp_path_factory.mktemp("sequences")
    frame = pulses(110).with_columns(a=pl.when(pl.int_range(pl.len()) % 97 == 1).then(None).otherwise(pl.col("a")))
    frame.sample(fraction=1.0, shuffle=True, seed=1).write_csv(folder / "pulses.csv")
    data = {"series": "id", "time": "step"}
    source = str(folder / "pulses.csv")
    result = danlu.train(source, target="first", data=data, runs=folder, display="none", say=said.append, **SMALL)
    return result, said


def test_what_came_first_is_learnt_and_judged_beside_summaries(trained: Any) -> None:
    result, said = trained
    assert result.scores["accuracy"] > 0.9
    assert sum(result.rows.values()) == 110  # whole sequences are divided, never their rows
    assert any("values are missing" in line for line in said)
    others = result.judgement.others
    assert set(others) == {
        "the most common class",
        "logistic regression of summaries",
        "HistGradientBoosting of summaries",
    }
    assert "of summaries" in result.run.report_path.read_text(encoding="utf-8")


def test_the_loaded_model_predicts_in_any_order_of_rows_and_columns(trained: Any) -> None:
    result, said = trained
    model, fresh = danlu.load(result.run.path), pulses(20, seed=1)
    found = model.predict(fresh)
    assert found.columns == ["id", "first", "probability left", "probability right"]
    truth = fresh.group_by("id", maintain_order=True).first()
    assert (found["first"] == truth["first"]).mean() > 0.9
    mixed = model.predict(fresh.select("b", "id", "a", "step").sample(fraction=1.0, shuffle=True, seed=2))
    assert mixed.sort("id").equals(found.sort("id"))
    one = model.predict_values(fresh.filter(pl.col("id") == "n3"))
    np.testing.assert_array_equal(one[0], found[3, 2:].row(0))
    assert model.evaluate(fresh).scores["accuracy"].value > 0.9
    longer = fresh.drop("first").with_columns(id=pl.lit("one"), step=pl.int_range(pl.len()))
    assert model.predict(longer, say=said.append).height == 1
    assert "longer than the" in said[-1]


def test_what_does_not_fit_is_one_message(trained: Any) -> None:
    model = danlu.load(trained[0].run.path)
    with pytest.raises(SchemaError, match="lack the column 'b'; they have: a"):
        model.predict(pulses(3).drop("b"))
    with pytest.raises(SchemaError, match="unknown column 'id'"):
        model.predict({"a": [1.0], "b": [2.0]})
    with pytest.raises(SchemaError, match="1 of 2 sequences have no values, the first is 'y'"):
        model.predict({"id": ["x", "y"], "step": [0, 0], "a": [1.0, None], "b": [1.0, None]})
    with pytest.raises(SchemaError, match="lacks the target 'first'"):
        model.evaluate(pulses(3).drop("first"))
    path = trained[0].run.artifact_path / "model.json"
    whole = path.read_text(encoding="utf-8")
    for change in ({"steps": 0}, {"columns": ["a"]}, {"every": "2"}):
        document = json.loads(whole)
        document["encoder"].update(change)
        path.write_text(json.dumps(sealed(document)), encoding="utf-8")
        with pytest.raises(ArtifactError, match="damaged"):
            danlu.load(trained[0].run.path)
    path.write_text(whole, encoding="utf-8")


def test_settings_and_sources_that_cannot_be_are_one_message(tmp_path: Any) -> None:
    frame, data = pulses(12), {"series": "id"}

    def refused(error: type[Exception], match: str, source: Any = frame, **given: Any) -> None:
        settings = {"target": "first", "data": data, **given}
        with pytest.raises(error, match=match):
            danlu.train(source, runs=tmp_path, **QUIET, **settings)

    refused(DataError, "did you mean 'id'", data={"series": "idd"})
    refused(DataError, "no column 'last'", target="last")
    refused(DataError, "'n0' have .* values of 'step'", target="step")
    refused(ConfigError, "name its column: --target", target="")
    refused(ConfigError, "sequences are split at random", split={"method": "time"})
    refused(DataError, "infinite values of 'a'", frame.with_columns(a=pl.lit(float("inf"))))
    refused(DataError, "no numeric column", frame.drop("a", "b", "step"))
    arrays = {"x": np.zeros((4, 5, 2)), "y": np.zeros(3)}
    for name, array in (("pixels", np.ones((4, 5, 2))), ("waves", np.full((4, 5, 2), -1.0))):
        np.savez(tmp_path / f"{name}.npz", x=array, y=np.zeros(4))
    assert not is_sequence_source(tmp_path / "pixels.npz")
    assert is_sequence_source(tmp_path / "waves.npz")
    refused(DataError, r"y of the dict has the shape \(3,\)", arrays, target="", data={})


def test_summaries_by_hand() -> None:
    rng = np.random.default_rng(0)
    x, mask = rng.normal(size=(3, 6, 2)), np.arange(6) < np.array([[6], [4], [1]])
    found = summaries(x, mask)
    for row, length in enumerate((6, 4, 1)):
        part = x[row, :length]
        slope = np.polyfit(np.arange(length), part, 1)[0] if length > 1 else np.zeros(2)
        parts = (part.mean(0), part.std(0), part.min(0), part.max(0), part[0], part[-1], slope, [length])
        np.testing.assert_allclose(found[row], np.concatenate(parts), atol=1e-9)


@pytest.mark.slow
def test_arrays_ts_files_quantities_and_long_sequences(tmp_path: Any) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 30, 1)).cumsum(axis=1)
    length, said = rng.integers(10, 31, 80), []
    np.savez(tmp_path / "walks.npz", x=x, y=x[np.arange(80), length - 1, 0] + 0.001 * np.arange(80), length=length)
    options = {**SMALL, "data": {"steps": 10}, "runs": tmp_path, "display": "none", "say": said.append}
    result = danlu.train(str(tmp_path / "walks.npz"), **options)
    assert result.scores["r2"] > 0.5
    assert any("3 neighbouring ones are averaged" in line for line in said)
    assert danlu.load(result.run.path).predict(x[:5]).height == 5
    lines = [",".join(f"{v:.3f}" for v in row[:20, 0]) + f":{'up' if row[19, 0] > 0 else 'down'}" for row in x]
    (tmp_path / "walks.ts").write_text("\n".join(["@problemName w", "@classLabel true up down", "@data", *lines]))
    options["data"] = {}
    assert danlu.train(str(tmp_path / "walks.ts"), **options).scores["accuracy"] > 0.7


def test_the_steps_of_mistakes_add_up_to_the_score(trained: Any) -> None:
    from danlu.report.sequences import sequence_section, step_attribution

    predictor = trained[0].model
    inputs = predictor.encoder.transform([np.array([[0.1, 4.0], [4.0, 0.0]]), np.zeros((5, 2))])
    values, gap = step_attribution(predictor, inputs, np.array([0, 1]))
    assert gap < 0.01
    assert not values[~inputs["mask"]].any()
    title, page = sequence_section(
        predictor, inputs, np.array([0, 1]), [("n<1>", "left, taken for right"), ("n2", "x")]
    )
    assert title == "The largest mistakes"
    assert page.count("<svg") == 2
    assert "n<1>" not in page
