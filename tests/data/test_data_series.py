"""Series: read, repaired out loud, scaled by their past, and cut into windows that never look ahead."""

from __future__ import annotations

import datetime
import json

import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
from hypothesis import given

from danlu.data.series import (
    Calendar,
    Origins,
    SeriesEncoder,
    WindowStream,
    autocorrelation,
    cut_by_time,
    find_season,
    read_series,
)
from danlu.errors import ArtifactError, DataError, SchemaError

START = datetime.datetime(2024, 1, 1)
HOUR = datetime.timedelta(hours=1)


def hours(count, values=None):
    values = np.arange(count, dtype=float) if values is None else values
    return pl.DataFrame({"time": [START + HOUR * i for i in range(count)], "y": values})


def plain(table, context, horizon):
    """An encoder that scales nothing."""
    names, shape = tuple(each.name for each in table.series), (len(table.series), len(table.columns.values))
    return SeriesEncoder(table.columns, table.calendar, names, np.zeros(shape), np.ones(shape), context, horizon)


def moments(*texts):
    return pl.Series(texts).str.to_datetime()


@pytest.mark.parametrize(
    ("times", "kind", "text", "after"),
    [
        (["2024-01-01 00:00", "2024-01-01 00:15", "2024-01-01 00:45"], "time", "15 minutes", "2024-01-01 01:00:00"),
        (["2024-01-05", "2024-01-12", "2024-01-19"], "time", "1 week", "2024-01-26 00:00:00"),
        (["2024-01-01", "2024-02-01", "2024-04-01"], "month", "1 month", "2024-05-01 00:00:00"),
        (["2023-11-30", "2023-12-31", "2024-01-31"], "month", "1 month", "2024-02-29 00:00:00"),
        (["2019-07-01", "2020-07-01", "2021-07-01"], "month", "1 year", "2022-07-01 00:00:00"),
        (
            ["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05", "2024-01-08", "2024-01-09"],
            "weekday",
            "1 working day",
            "2024-01-10 00:00:00",
        ),
    ],
)
def test_calendar_finds_the_steps_and_what_comes_next(times, kind, text, after):
    series = pl.Series(times).str.to_datetime(format="%Y-%m-%d %H:%M" if ":" in times[0] else "%Y-%m-%d")
    calendar = Calendar.fit([series], "t")
    assert (calendar.kind, str(calendar)) == (kind, text)
    numbers = calendar.numbers(series, "t")
    assert calendar.times(numbers).to_list() == series.to_list()
    assert str(calendar.times(numbers[-1:] + 1)[0]) == after
    assert Calendar.from_json(json.loads(json.dumps(calendar.to_json()))) == calendar


def test_calendar_refuses_uneven_steps_and_other_steps():
    uneven = moments("2024-01-01 00:00:00", "2024-01-01 01:00:00", "2024-01-01 02:00:00", "2024-01-01 02:20:00")
    with pytest.raises(
        DataError, match="1 of 3 are not multiples of the most common one, 1 hour; the first is from 2024-01-01 02"
    ):
        Calendar.fit([uneven], "t")
    calendar = Calendar.fit([uneven[:3]], "t")
    with pytest.raises(SchemaError, match="not on the steps of 1 hour"):
        calendar.numbers(moments("2024-01-01 05:30:00"), "t")
    with pytest.raises(SchemaError, match="not on the steps"):
        calendar.numbers(pl.Series([1, 2]), "t")
    with pytest.raises(ArtifactError):
        Calendar.from_json({"kind": "time", "step": 0, "origin": 0, "within": 0})


def test_rows_are_sorted_and_gaps_filled_with_what_came_before():
    frame = hours(40).with_row_index().filter(~pl.col("index").is_in([10, 11])).drop("index")
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=3)
    table = read_series(pl.concat([shuffled, shuffled[:2]]), ["y"])
    values = table.series[0].values[:, 0]
    np.testing.assert_array_equal(values[8:14], [8, 9, 9, 9, 12, 13])
    assert np.flatnonzero(table.series[0].filled).tolist() == [10, 11]
    said = " | ".join(table.notices)
    assert "2 rows are repeated" in said
    assert "were sorted" in said
    assert "2 of 40 steps of 1 hour lack" in said
    windows = plain(table, 3, 2).windows(table)
    assert not set(windows.index[:, 1]) & {9, 10, 11}, "nothing is measured on what was never seen"
    assert {8, 12} <= set(windows.index[:, 1])


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        (hours(5).drop("time"), {}, "needs one time column, and the data has none"),
        (hours(5).with_columns(u=pl.col("time")), {}, "the data has 2: time, u"),
        (hours(5), {"columns": ["z"]}, "unknown column 'z'"),
        (hours(5), {"time": "y"}, "holds Float64; expected date-times"),
        (hours(5).with_columns(t=pl.lit("noon")), {"time": "t"}, "holds texts such as 'noon'; expected date-times"),
        (hours(5).with_columns(s=pl.lit("a")), {"columns": ["s"]}, "a series is made of numbers"),
        (hours(5), {"known": ["y"]}, "named for two purposes"),
        (pl.concat([hours(5), hours(5, np.ones(5))]), {}, "occurs more than once, with different values"),
        (hours(40)[::4].vstack(hours(3, np.zeros(3))[1:]), {}, "steps of 1 hour are missing|multiples"),
        (hours(5, [None] * 5).cast({"y": pl.Float64}), {}, "no value of 'y'"),
        (hours(5, [1.0, np.inf, 1, 1, 1]), {}, "infinite"),
    ],
)
def test_what_cannot_be_read_is_one_message(frame, options, message):
    columns = options.pop("columns", ["y"])
    with pytest.raises(DataError, match=message):
        read_series(frame, columns, **options)


def test_several_series_and_rows_of_the_future():
    one = hours(6).with_columns(shop=pl.lit("a"), price=pl.Series([1.0, 2, 3, 4, 5, 6]))
    one = one.with_columns(y=pl.when(pl.col("time") < START + 4 * HOUR).then("y"))
    two = hours(5).with_columns(shop=pl.lit("b"), price=pl.lit(7.0))
    table = read_series(pl.concat([two, one], how="diagonal"), ["y"], known=["price"], series="shop")
    assert [(each.name, each.steps, len(each.values)) for each in table.series] == [("a", 4, 6), ("b", 5, 5)]
    np.testing.assert_array_equal(table.series[0].values[:, 1], [1, 2, 3, 4, 5, 6])
    assert len(table) == 9
    assert len(read_series(one, ["y"]).series[0].values) == 4


def test_parts_are_in_order_and_contexts_look_back():
    table = read_series(hours(100), ["y"])
    first, second = cut_by_time(table, 0.2, 0.3)
    assert (first, second) == (50, 70)
    encoder = plain(table, 8, 4)
    train = encoder.windows(table, stop=first)
    validation = encoder.windows(table, first, second)
    test = encoder.windows(table, second)
    assert train.outputs().max() == 49
    assert (validation.outputs().min(), validation.outputs().max()) == (50, 69)
    assert (test.outputs().min(), test.outputs().max()) == (70, 99)
    assert validation.inputs().min() == 42
    assert [len(each) for each in (train, validation, test)] == [39, 17, 27]
    assert cut_by_time(table, 0.2, 0.0) == (80, 100)


def test_encoder_is_fitted_to_the_past_of_each_series():
    frames = [
        hours(20, np.arange(20.0) * factor).with_columns(s=pl.lit(name)) for name, factor in (("a", 1), ("b", 50))
    ]
    table = read_series(pl.concat(frames), ["y"], series="s")
    encoder = SeriesEncoder.fit(table, 10, context=4, horizon=2)
    np.testing.assert_allclose(encoder.mean[:, 0], [4.5, 225])
    np.testing.assert_allclose(encoder.scale[:, 0], np.arange(10).std() * np.array([1, 50]))
    windows = encoder.transform(Origins(table, np.array([[0, 4], [1, 4]])))
    scaled = windows.values
    np.testing.assert_allclose(scaled[0], scaled[1], rtol=1e-6)
    back = windows.inverse(np.stack([each[:2] for each in scaled]))
    np.testing.assert_allclose(back[:, :, 0], [[0, 1], [0, 50]], atol=1e-5)
    data, arrays = encoder.state()
    again = SeriesEncoder.from_state(json.loads(json.dumps(data)), arrays)
    assert again.columns == encoder.columns
    np.testing.assert_array_equal(again.windows(table).values[1], scaled[1])
    with pytest.raises(SchemaError, match="unknown series 'c'"):
        encoder.place("c")
    with pytest.raises(ArtifactError, match="shape"):
        SeriesEncoder.from_state(data, {**arrays, "mean": encoder.mean[:1]})


@given(
    place=st.integers(0, 79),
    known=st.booleans(),
    missing=st.sets(st.integers(2, 76), max_size=5),
    seed=st.integers(0, 9),
)
def test_no_window_sees_what_comes_after_its_origin(place, known, missing, seed):
    """Another value at any step, gaps or not, changes no input of a window that begins at or before it, and no scale before."""
    rng = np.random.default_rng(seed)
    frame = hours(80, rng.normal(size=80)).with_columns(x=rng.normal(size=80))
    changed = frame.with_row_index().with_columns(
        pl.when(pl.col("index") == place).then(99.0).otherwise(pl.col(name)).alias(name) for name in ("y", "x")
    )
    columns = {"known": ["x"]} if known else {"observed": ["x"]}
    seen = []
    for each in (frame, changed.drop("index")):
        rows = [row for row in range(80) if row not in missing]
        table = read_series(each[rows], ["y"], **columns)
        encoder = SeriesEncoder.fit(table, 30, context=6, horizon=3)
        windows = encoder.windows(table)
        inputs = windows.inputs()
        seen.append((windows.index[:, 1], inputs["past"] if known else inputs))
    (origins, before), (others, after) = seen
    np.testing.assert_array_equal(origins, others)
    same = origins <= place if place >= 30 else np.zeros(len(origins), bool)
    np.testing.assert_array_equal(before[same], after[same])
    if place >= 30 and place not in missing:
        touched = (origins > place) & (origins - 6 <= place)
        assert all((before[i] != after[i]).any() for i in np.flatnonzero(touched)), (
            "the change does reach later windows"
        )


def test_windows_are_cut_as_a_loop_would_and_streamed():
    rng = np.random.default_rng(0)
    frames = [hours(n, rng.normal(size=n)).with_columns(s=pl.lit(str(n)), x=rng.normal(size=n)) for n in (12, 30)]
    table = read_series(pl.concat(frames), ["y"], series="s", known=["x"])
    values = tuple(each.values.astype(np.float32) for each in table.series)
    windows = plain(table, 5, 2).windows(table)
    inputs, outputs = windows.arrays()
    assert len(windows) == (12 - 6) + (30 - 6)
    for row, (number, origin) in enumerate(windows.index):
        np.testing.assert_array_equal(inputs["past"][row], values[number][origin - 5 : origin, :1])
        np.testing.assert_array_equal(inputs["known"][row], values[number][origin - 5 : origin + 2, 1:])
        np.testing.assert_array_equal(outputs[row], values[number][origin : origin + 2, :1])
    stream = WindowStream(windows, seed=1, rows=7)
    chunks = list(stream.chunks(0, 0))
    np.testing.assert_array_equal(np.sort(np.concatenate([c["y"][:, 0, 0] for c in chunks])), np.sort(outputs[:, 0, 0]))
    np.testing.assert_array_equal(next(stream.chunks(0, 2))["y"], chunks[2]["y"])
    assert not np.array_equal(next(stream.chunks(1, 0))["y"], chunks[0]["y"])


def test_season_is_found_or_none():
    rng = np.random.default_rng(1)
    t = np.arange(600)
    assert find_season([np.sin(2 * np.pi * t / 24) + 0.3 * rng.normal(size=600)]) == 24
    assert find_season([0.05 * t + (t % 7 == 0)]) == 7
    assert find_season([rng.normal(size=600)]) == 1
    assert find_season([np.cumsum(rng.normal(size=600))]) == 1
    assert find_season([np.ones(600)]) == 1
    walk = np.cumsum(rng.normal(size=4000))
    assert find_season([walk]) == 1
    assert find_season([walk + 2 * np.sin(2 * np.pi * np.arange(4000) / 24)]) == 24, "under slow ups and downs"
    x = rng.normal(size=50)
    line = np.polyval(np.polyfit(np.arange(50), x, 1), np.arange(50))
    direct = [np.sum((x - line)[: 50 - k] * (x - line)[k:]) / np.sum((x - line) ** 2) for k in range(4)]
    np.testing.assert_allclose(autocorrelation(x, 3), direct, atol=1e-12)


STEPS = [datetime.datetime(2015, 1, 31) + datetime.timedelta(days=n) for n in range(60)]


@pytest.mark.parametrize(
    ("moments", "step"),
    [
        ([f"{month}/1/{year}" for year in range(1980, 1985) for month in range(1, 13)], "1 month"),
        ([f"1/{month}/{year}" for year in range(1980, 1985) for month in range(1, 13)], "1 month"),
        ([f"{day.month}/{day.day}/{day.year}" for day in STEPS], "1 day"),
        ([f"{day:%d/%m/%y}" for day in STEPS], "1 day"),
        ([f"{1949 + n // 12}-{n % 12 + 1:02}" for n in range(60)], "1 month"),
        ([f"{n % 12 + 1:02}/{1949 + n // 12}" for n in range(60)], "1 month"),
        ([f"{1990 + n // 4}Q{n % 4 + 1}" for n in range(60)], "3 months"),
        ([f"Q{n % 4 + 1} {1990 + n // 4}" for n in range(60)], "3 months"),
        ([f"{STEPS[0] + datetime.timedelta(weeks=n):%G-W%V}" for n in range(60)], "1 week"),
        ([f"{STEPS[0] + datetime.timedelta(hours=n):%m/%d/%Y %I:%M %p}" for n in range(60)], "1 hour"),
        ([f"{STEPS[0] + datetime.timedelta(weeks=n):%Y%m%d}" for n in range(60)], "1 week"),
    ],
)
def test_steps_are_found_however_moments_are_written(moments: list[str], step: str, tmp_path) -> None:
    rows = {"t": moments, "y": [f"${n + 1},000.50" for n in range(60)]}
    table = read_series(rows, ["y"])
    assert str(table.calendar) == step
    assert len(table) == 60
    assert not table.series[0].filled.any()
    assert table.series[0].values[1, 0] == 2000.5
    encoder = SeriesEncoder.fit(table, 40, context=2, horizon=1)
    data, arrays = encoder.state()
    formats = SeriesEncoder.from_state(json.loads(json.dumps(data)), arrays).formats
    pl.DataFrame(rows)[:3].write_csv(tmp_path / "few.csv")  # too few rows to tell how they are written
    few = read_series(tmp_path / "few.csv", table.columns, calendar=table.calendar, formats=formats)
    assert few.series[0].start == 0
    assert few.series[0].values[:, 0].tolist() == [1000.5, 2000.5, 3000.5]
    with pytest.raises(SchemaError, match=r"column 'y': '€1' \(row 1\) is not a number as those of training"):
        read_series({**rows, "y": ["€1"] * 60}, table.columns, calendar=table.calendar, formats=formats)


def test_a_record_is_read_as_rows_of_a_table_are():
    frame = hours(30, np.arange(30.0)).with_columns(x=pl.lit(1.0), s=pl.lit("a"))
    table = read_series(frame, ["y"], series="s", known=["x"])
    encoder = SeriesEncoder.fit(table, 20, context=4, horizon=2)
    assert [(each.name, each.kind) for each in encoder.fields] == [
        ("time", "column"), ("s", "category"), ("y", "column"), ("x", "column"),
    ]  # fmt: skip
    record = {
        "time": [str(each) for each in frame["time"].tail(8)], "s": "a", "x": [1] * 8,
        "y": [*frame["y"].tail(8).head(6).to_list(), None, None],
    }  # fmt: skip
    rows = encoder.rows([record, {**record, "y": [0.5 * each if each else None for each in record["y"]]}], print)
    assert rows.index.tolist() == [[0, 6], [1, 6]]
    assert rows.moments.tolist() == [28, 28]
    windows, whole = encoder.transform(rows), encoder.transform(Origins(table, np.array([[0, 28]])))
    np.testing.assert_array_equal(windows.inputs()["past"][0], whole.inputs()["past"][0])
    for changed, message in (
        ({"y": [1.0, None]}, "'y' is a list of 2; expected a list of values, as many as 'time'"),
        ({"y": 3.0}, "'y' is '3.0'; expected a list"),
        ({"y": [*record["y"][:-1], [1]]}, "'y' is .*; expected numbers, and null"),
        ({"y": ["one"] * 8}, "'y': 'one' .row 1. is not a number"),
        ({"x": ["1", *[1.0] * 7]}, "'x' is .*; expected numbers, and null"),
        ({"time": [{}] * 8}, "'time' is .*; expected moments|holds Struct"),
        ({"time": ["soon"] * 8}, "'time': 'soon' .row 1. is not a date-time"),
        ({"s": "b"}, "unknown series 'b'"),
        ({"y": [*record["y"][:3], *[None] * 5]}, "3 steps of 1 hour; a forecast is made from the last 4"),
        ({"y": list(range(8))}, "0 steps after the last value of y; expected 2, with x"),
    ):
        with pytest.raises(SchemaError, match=f"(?s)record 2: .*({message})"):
            encoder.rows([record, {**record, **changed}], print)


def test_a_series_that_was_not_there_is_scaled_by_its_own_rows():
    table = read_series(hours(30, np.arange(30.0)).with_columns(s=pl.lit("a")), ["y"], series="s")
    encoder = SeriesEncoder.fit(table, 30, context=4, horizon=2)
    strange = read_series(hours(30, 7 + 50 * np.arange(30.0)).with_columns(s=pl.lit("b")), ["y"], series="s")
    ours, theirs = encoder.windows(table), encoder.windows(strange)
    assert (ours.places.tolist(), theirs.places.tolist()) == ([0], [-1])
    np.testing.assert_allclose(ours.inputs(), theirs.inputs(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(theirs.inverse(theirs.outputs())[0, :, 0], [207, 257], rtol=1e-6)
    assert [len(each) for each in (ours, ours.thinned(20), ours.thinned(20).thinned(4))] == [25, 9, 2]
    assert ours.thinned(20).thinned(4).noun == "forecasts, from each 15th step"
    assert ours.noun == "forecasts, from each step"
