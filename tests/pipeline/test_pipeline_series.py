"""A table with a time column to a trained, saved, loaded and judged forecaster."""

import dataclasses
import datetime
import json
import re
import shutil

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import danlu
from danlu.artifact.artifact import sealed
from danlu.cli.app import app
from danlu.data.series import read_series
from danlu.errors import ArtifactError, ConfigError, DataError, SchemaError
from danlu.evaluate import Interval
from danlu.evaluate.forecast import coverage_verdict
from danlu.pipeline import config_from, resume
from danlu.pipeline.once import prepare
from danlu.report.forecasts import coming_of, window_plot

SETTINGS = {
    "forecast": {"columns": ["load"], "horizon": 6, "context": 24, "known": ["warm"]},
    "trainer": {"epochs": 2, "batch_size": 32},
}
QUIET = {"display": "none"}


def table(rows=400, seed=0):
    """A daily rhythm, a warm spell's effect that only the known column tells, and noise."""
    rng, t = np.random.default_rng(seed), np.arange(rows)
    warm = (rng.random(rows) < 0.3).astype(float)
    load = 50 + 8 * np.sin(2 * np.pi * t / 12) + 10 * warm + rng.normal(0, 0.5, rows)
    time = [datetime.datetime(2024, 3, 1) + datetime.timedelta(hours=int(i)) for i in t]
    return pl.DataFrame({"time": time, "load": load, "warm": warm, "note": ["-"] * rows})


def ahead(frame, steps):
    """The frame with the last values of the load taken away: they are what is asked for."""
    last = pl.int_range(pl.len()) >= pl.len() - steps
    return frame.with_columns(pl.when(~last).then("load").alias("load"))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "load.csv"
    table().write_csv(path)
    return path


@pytest.fixture(scope="module")
def trained(source, tmp_path_factory):
    said = []
    settings = SETTINGS | {"trainer": {"epochs": 12, "batch_size": 16, "learning_rate": 0.05}}
    result = danlu.train(str(source), runs=tmp_path_factory.mktemp("runs"), say=said.append, **QUIET, **settings)
    return result, said


def test_a_file_is_learnt_and_judged(trained):
    result, said = trained
    assert result.rows == {"train": 260, "validation": 60, "test": 80}
    assert any(
        "forecast: load, 6 steps of 1 hour ahead from the last 24; a season of 12 steps" in line for line in said
    )
    others = result.judgement.others
    assert list(others) == ["the last value", "the last season", "ridge regression"]
    assert result.scores["mse"] < 0.3 * others["ridge regression"]["mse"].value, (
        "the known column tells what ridge cannot"
    )
    assert 0.6 < result.scores["coverage"] <= 1
    results = result.run.read_json("results.json")
    assert set(results["test"]) == {"mse", "scaled_mae", "mase", "smape", "pinball", "crps", "coverage"}
    frame = pl.read_csv(result.run.predictions_path)
    assert frame.columns == ["time", "truth", "forecast", "low", "high"]
    assert (frame["low"] <= frame["high"]).all()
    assert frame.height % 6 == 0
    assert results["notes"] == [coverage_verdict(result.judgement.scores["coverage"], 0.8)]
    report = re.sub(r"</?span[^>]*>", "", result.run.report_path.read_text(encoding="utf-8"))
    for part in (
        "load: the worst",
        "→ 0.8",
        "append rows with their warm",
        "The 80 % interval contained",
        "Coverage of the interval by step",
        "How far ahead",
        "ridge regression",
    ):
        assert part in report
    assert "http" not in report.split("</style>")[1].replace("http://www.w3.org", "")


def test_what_comes_next_is_drawn_over_its_dates(trained):
    model = trained[0].model
    new = ahead(table(100, seed=5), 6)
    encoder = model.encoder
    (drawn,) = coming_of(model, read_series(new, encoder.columns, calendar=encoder.calendar))
    found = model.predict(new)
    np.testing.assert_allclose(drawn.prediction, found["forecast"])
    np.testing.assert_allclose(drawn.band, found.select("low", "high").to_numpy())
    assert drawn.times[-6:].tolist() == found["time"].to_numpy().tolist()
    np.testing.assert_allclose(drawn.past, new["load"].drop_nulls()[-len(drawn.past) :])
    assert "2024-Mar" in window_plot(drawn)
    two = pl.concat([new.with_columns(site=pl.lit(name)) for name in ("north", "south")])
    several = read_series(two, dataclasses.replace(encoder.columns, series="site"), calendar=encoder.calendar)
    named = dataclasses.replace(
        encoder, names=("north", "south"), **{k: np.repeat(getattr(encoder, k), 2, 0) for k in ("mean", "scale")}
    )
    many = dataclasses.replace(model, encoder=named)
    assert [each.title for each in coming_of(many, several)] == ["load, north", "load, south"]


@pytest.mark.parametrize(
    ("low", "high", "word"), [(0.7, 0.79, "too narrow"), (0.79, 0.81, "as it should"), (0.81, 1.0, "wider than")]
)
def test_coverage_is_judged_by_nearness_to_its_level(low, high, word):
    assert word in coverage_verdict(Interval(0.8, low, high), 0.8)


def test_the_loaded_model_forecasts_what_comes_after_the_last_row(trained):
    result, _ = trained
    model = danlu.load(result.run.path)
    assert "forecast of load, 6 steps of 1 hour" in repr(model)
    new = table(100, seed=5)
    found = model.predict(ahead(new, 6))
    assert found.columns == ["time", "forecast", "low", "high"]
    assert found["time"].to_list() == new["time"][-6:].to_list()
    np.testing.assert_allclose(found["forecast"], new["load"][-6:], atol=4)
    assert_frame_equal(found, result.model.predict(ahead(new, 6)))
    warmer = ahead(new, 6).with_columns(warm=pl.when(pl.col("load").is_null()).then(1.0).otherwise("warm"))
    assert (model.predict(warmer)["forecast"] >= found["forecast"] - 1e-6).all()
    judged = model.evaluate(new)
    assert judged.scores["mse"].value < judged.others["the last season"]["mse"].value
    assert "71 forecasts, from each step" in str(judged)


def test_an_interval_of_any_level_follows_the_rows_since_the_training(trained, source):
    model = danlu.load(trained[0].run.path)
    new = ahead(table(500, seed=0), 6)
    wide, usual = (model.predict_interval(new, level=level, say=said.append) for level, said in ((0.95, []), (0.8, [])))
    assert_frame_equal(usual, model.predict(new))
    assert_frame_equal(wide["time", "forecast"], usual["time", "forecast"])
    assert (wide["low"] < usual["low"]).all()
    assert (wide["high"] > usual["high"]).all()
    assert model.asking(interval=0.95).respond(records(new))[0]["low"] == wide["low"].to_list()
    judged = model.asking(interval=0.95).evaluate(str(source))
    assert judged.evidence.levels == pytest.approx((0.025, 0.5, 0.975))
    assert judged.notes[0].startswith("The 95 % interval contained")
    rows = model.read(new).rows  # the factor is that of the validation part where no row came after it
    assert not np.array_equal(model.answer_rows(rows)[..., 1:], fixed(model).answer_rows(rows)[..., 1:])
    early = model.read(ahead(table(200, seed=0), 6)).rows
    np.testing.assert_array_equal(model.answer_rows(early), fixed(model).answer_rows(early))
    said = []
    model.asking(interval=0.999, say=said.append)
    assert "too few for an interval of 99.9 %" in said[0]
    with pytest.raises(ConfigError, match="gives no set of classes"):
        model.asking(sets=0.9)
    with pytest.raises(ConfigError, match="share above 0 and below 1"):
        model.asking(interval=80)
    with pytest.raises(ConfigError, match="older danlu and has intervals of 80 % only"):
        fixed(model, scores=None, counts=None).asking(interval=0.9)


def fixed(model, **changes):
    return dataclasses.replace(model, head=dataclasses.replace(model.head, since=None, **changes))


def records(frame):
    columns = {name: frame[name].to_list() for name in ("load", "warm")}
    return [{"time": frame["time"].cast(pl.String).to_list(), **columns}]


def test_new_data_that_does_not_fit_is_one_message(trained):
    model, new = trained[0].model, ahead(table(60), 6)
    with pytest.raises(
        SchemaError, match=r"(?s)'load' is missing.*'Load'.*column 'warm': 'yes' .row 1. is not a number"
    ):
        model.predict(new.rename({"load": "Load"}).with_columns(warm=pl.lit("yes")))
    with pytest.raises(SchemaError, match="10 steps of 1 hour; a forecast is made from the last 24"):
        model.predict(new[-16:])
    with pytest.raises(SchemaError, match="hold 2 steps after the last value of load; expected 6, with warm"):
        model.predict(new[:-4])
    with pytest.raises(SchemaError, match="not on the steps of 1 hour"):
        model.predict(new.with_columns(pl.col("time") + datetime.timedelta(minutes=30)))
    with pytest.raises(SchemaError, match="30 steps with values"):
        model.evaluate(new[:25])


def test_a_killed_run_goes_on_to_the_same_weights(trained, tmp_path):
    whole, _ = trained
    assert (whole.run.path / "checkpoints" / "refit").is_dir()
    begun = tmp_path / "begun"
    shutil.copytree(whole.run.path, begun)
    for lost in (
        "checkpoints",
        "checkpoints/refit",
        "artifact",
    ):  # killed at the start, at the second training, at the end
        shutil.rmtree(begun / "artifact")
        shutil.rmtree(begun / lost, ignore_errors=True)
        again = resume(begun, say=lambda line: None, **QUIET)
        for one, other in zip(whole.model.params, again.model.params, strict=True):
            for name in one:
                np.testing.assert_array_equal(one[name], other[name])
        assert again.scores == whole.scores


def test_a_damaged_artifact_is_refused(trained, tmp_path):
    folder = tmp_path / "artifact"
    shutil.copytree(trained[0].run.artifact_path, folder)
    document = json.loads((folder / "model.json").read_text())
    document["encoder"]["horizon"] = 7
    (folder / "model.json").write_text(json.dumps(sealed(document)))
    with pytest.raises(ArtifactError, match="widths of the intervals"):
        danlu.load(folder)


def test_several_series_and_columns(tmp_path):
    frames = [
        table(150, seed).with_columns(shop=pl.lit(name), twice=2 * pl.col("load")) for seed, name in enumerate("ab")
    ]
    result = danlu.train(
        pl.concat(frames), runs=tmp_path, say=lambda line: None, evaluate={"report": False}, **QUIET,
        **SETTINGS | {"forecast": {"columns": "all", "horizon": 3, "context": 12, "series": "shop", "observed": ["warm"]}},
    )  # fmt: skip
    found = result.model.predict(pl.concat(frames)[:, ::-1])
    assert found.columns == ["shop", "time", "column", "forecast", "low", "high"]
    assert found.height == 2 * 2 * 3
    assert set(found["column"]) == {"load", "twice"}
    strange = frames[0].with_columns(shop=pl.lit("c"))
    with pytest.raises(SchemaError, match="1 series were not in the training data: 'c'"):
        result.model.predict(strange)
    said = []
    assert result.model.predict(strange, lenient=True, say=said.append)["shop"].unique().to_list() == ["c"]
    assert any("scaled by their own rows" in line for line in said)
    of_strange = result.model.evaluate(strange, lenient=True, say=said.append).scores
    of_known = result.model.evaluate(frames[0], say=said.append).scores
    assert of_strange["mase"].value == pytest.approx(of_known["mase"].value, rel=0.2)
    record = {name: frames[0][name].to_list() for name in ("load", "twice", "warm")}
    record |= {"time": [str(each) for each in frames[0]["time"]], "shop": "a"}
    (reply,) = result.model.respond([record])
    assert list(reply) == ["shop", "time", "forecast", "low", "high"]
    ours = found.filter((pl.col("shop") == "a") & (pl.col("column") == "twice"))
    assert reply["low"]["twice"] == ours["low"].to_list()
    assert reply["time"] == [str(each) for each in ours["time"]]
    pl.concat(frames).write_csv(tmp_path / "shops.csv")
    with pytest.raises(ConfigError, match="no columns can be kept"):
        result.model.answers(str(tmp_path / "shops.csv"), keep="all")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"forecast": {"columns": ["lod"]}}, "did you mean 'load'"),
        ({"forecast": {"columns": ["load"], "horizon": 90, "context": 24}}, "validation part has 90 steps"),
        ({"forecast": {"columns": ["load"], "horizon": 300}}, "too few to learn to forecast 300"),
        ({"forecast": {"columns": ["load"]}, "split": {"method": "random"}}, "split by time"),
        ({"forecast": {"columns": ["load"]}, "trainer": {"loss": "huber"}}, "mse or mae"),
        ({"forecast": {"columns": ["load"]}, "model": {"depth": 2}}, "model.depth is not used for forecasts"),
        ({"forecast": {"columns": ["load"], "horizn": 3}}, "did you mean forecast.horizon=3"),
    ],
)
def test_what_cannot_be_done_is_one_message(source, tmp_path, settings, message):
    with pytest.raises((ConfigError, DataError), match=message):
        danlu.train(str(source), runs=tmp_path, say=lambda line: None, **QUIET, **settings)
    assert not list(tmp_path.iterdir()), "no run is begun"


def test_command_line(source, tmp_path, capsys):
    options = ["--forecast", "load", "--horizon", "4", "--runs", str(tmp_path), "--name", "run", "--display", "none"]
    more = ["forecast.context=12", "trainer.epochs=1", "evaluate.report=false"]
    app(["train", str(source), *more, *options], standalone_mode=False)
    assert "MASE" in capsys.readouterr().out
    app(["predict", str(tmp_path / "run"), str(source)], standalone_mode=False)
    lines = capsys.readouterr().out.strip().split("\n")
    assert lines[0] == "time,forecast,low,high"
    assert len(lines) == 5
    app(["predict", str(tmp_path / "run"), str(source), "--interval", "0.5"], standalone_mode=False)
    narrow = capsys.readouterr().out.strip().split("\n")
    ends = [[float(each) for each in line.split(",")[2:]] for line in (narrow[1], lines[1])]
    assert ends[1][0] < ends[0][0] < ends[0][1] < ends[1][1]


def test_folds_roll_their_origin_over_a_growing_past(source):
    def prepared(number):
        config = config_from({**SETTINGS, "data": {"source": str(source)}, "evaluate": {"folds": 3, "fold": number}})
        return prepare(config, str(source), say=lambda line: None)[1]

    parts = [prepared(number) for number in (1, 2, 3)]
    assert [each.rows for each in parts] == [
        {"train": 70, "validation": 30, "test": 100},
        {"train": 155, "validation": 45, "test": 100},
        {"train": 240, "validation": 60, "test": 100},
    ]
    for number, each in enumerate(parts, 1):
        starts, horizon = each.test.moments, 6
        assert (starts.min(), starts.max() + horizon) == (100 * number, 100 * (number + 1))
        assert each.validation.moments.max() + horizon <= starts.min()
    settings = {**SETTINGS, "forecast": {**SETTINGS["forecast"], "horizon": 90, "context": None}}
    config = config_from({**settings, "data": {"source": str(source)}, "evaluate": {"folds": 3, "fold": 1}})
    with pytest.raises(DataError, match=r"too few to learn to forecast(.|\n)*Hint: use fewer folds"):
        prepare(config, str(source), say=lambda line: None)
    with pytest.raises(ConfigError, match="folds by time are not drawn"):
        danlu.cross_validate(str(source), folds=3, repeats=2, **QUIET, **SETTINGS)


def test_forecasts_of_several_folds_are_judged_as_one(trained):
    whole = trained[0].judgement.evidence
    half = len(whole) // 2
    one, other = whole.take(np.arange(half)), whole.take(np.arange(half, len(whole)))
    assert one.joined([other]).scores() == whole.scores()
    with pytest.raises(DataError, match="of different horizons"):
        one.joined([dataclasses.replace(other, levels=(), bands=None)])


@pytest.mark.slow
def test_every_block_but_the_first_is_tested_by_a_model_of_what_came_before(source, tmp_path):
    found = danlu.cross_validate(str(source), folds=2, runs=tmp_path, say=lambda line: None, **QUIET, **SETTINGS)
    assert found.predictions.columns == ["fold", "time", "truth", "forecast", "low", "high"]
    assert len(found.judgement.evidence) == sum(len(each.judgement.evidence) for each in found.folds)
    assert "windows, in 2 folds" in str(found)
    assert found.model.network == found.folds[-1].model.network
    assert "The search" not in found.run.report_path.read_text()
