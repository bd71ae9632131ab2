"""Encoding: fitted on training rows, never NaN, unknown is 0, the same after saving; scikit-learn as the oracle."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import numpy as np
import polars as pl
import pytest
from golden_rows import GOLDEN
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import OrdinalEncoder, QuantileTransformer, RobustScaler, StandardScaler

import danlu
from danlu.data import TableEncoder, infer_schema
from danlu.data.dates import DATE_PARTS, date_parts
from danlu.data.levels import LevelCoder, prefixes
from danlu.data.scaling import SCALINGS, NumericScaler
from danlu.data.words import WordPresence, tokens
from danlu.errors import ArtifactError, ConfigError, DataError, SchemaError

DAY = dt.datetime(2024, 1, 1)


def everything(rows: int = 200, *, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    words = ["good", "bad", "room", "food", "staff", "clean", "never", "again"]
    gaps = pl.Series(rng.random(rows) < 0.15)
    return pl.DataFrame(
        {
            "x": rng.normal(50, 9, rows),
            "gap": pl.Series(rng.exponential(3, rows)).set(gaps, None),
            "n": rng.integers(0, 9, rows),
            "city": pl.Series(rng.choice(["Bern", "Oslo", "Rome"], rows)).set(gaps, None),
            "ticket": [f"{'AB'[i % 2]} {i}" if i % 3 else "common" for i in range(rows)],
            "member": pl.Series(rng.random(rows) < 0.5).set(gaps, None),
            "when": [DAY + dt.timedelta(hours=int(h)) for h in rng.integers(0, 20_000, rows)],
            "review": [" ".join(rng.choice(words, 5)) + f" {i}" for i in range(rows)],
            "y": rng.integers(0, 2, rows),
        }
    )


KINDS = {"ticket": "categorical"}


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return everything()


@pytest.fixture(scope="module", params=SCALINGS)
def encoder(request, frame: pl.DataFrame) -> TableEncoder:
    return TableEncoder.fit(frame, infer_schema(frame, target="y", kinds=KINDS), scaling=request.param)


def test_shapes_names_and_types(encoder: TableEncoder, frame: pl.DataFrame) -> None:
    encoded = encoder.transform(frame)
    assert {name: array.dtype.name for name, array in encoded.items()} == {
        "numeric": "float32",
        "categorical": "int32",
        "text": "float32",
    }
    assert {name: array.shape[1:] for name, array in encoded.items()} == encoder.in_shape
    assert encoder.numeric_names[:4] == ("x", "gap", "n", "when:time")
    assert encoder.numeric_names[-1] == "gap:missing"
    assert encoder.categorical_names == ("city", "ticket", "ticket:prefix", "member")
    assert set(encoder.text_names) >= {"review:good", "review:never"}
    assert (encoded["categorical"] < np.asarray(encoder.cardinalities)).all()
    np.testing.assert_array_equal(encoded["numeric"][:, -1], frame["gap"].is_null().to_numpy())


HOSTILE = {
    "x": [float("nan"), float("inf"), -float("inf"), 1e300, -1e300],
    "gap": [None] * 5,
    "n": [None, 2**62, -(2**62), 0, 1],
    "city": [None, "Atlantis", "", " Bern ", "bern"],
    "ticket": [None, "", "🚢", "A 1", "common"],
    "member": [None, True, False, None, True],
    "when": [None, dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31), DAY, DAY],
    "review": [None, "", "好", "good " * 1000, "\0"],
}


def test_never_nan_whatever_comes(encoder: TableEncoder) -> None:
    encoded = encoder.transform(pl.DataFrame(HOSTILE, strict=False))
    for array in encoded.values():
        assert np.isfinite(array).all()
        assert np.abs(array).max() < 1e6


def test_texts_where_numbers_were(encoder: TableEncoder) -> None:
    hostile = {**HOSTILE, "x": ["1", "old", "", "?", "-2.5"], "when": ["2024-01-01", "never", "", "x", None]}
    encoded = encoder.transform(pl.DataFrame(hostile, strict=False))
    assert np.isfinite(encoded["numeric"]).all()


def test_unknown_levels_and_gaps_have_codes(encoder: TableEncoder) -> None:
    codes = encoder.transform(pl.DataFrame(HOSTILE, strict=False))["categorical"]
    city = next(coder for name, form, coder in encoder.levels if (name, form) == ("city", "whole"))
    assert city.levels == ("Bern", "Oslo", "Rome")
    assert codes[:, 0].tolist() == [4, 0, 4, 1, 0]


def test_a_row_does_not_depend_on_the_rows_beside_it(encoder: TableEncoder, frame: pl.DataFrame) -> None:
    whole = encoder.transform(frame)
    for rows in ([17], [5, 3, 5], range(60, 120)):
        part = encoder.transform(frame[list(rows)])
        for name, array in part.items():
            np.testing.assert_array_equal(array, whole[name][list(rows)])


def test_only_the_rows_fitted_to_count(frame: pl.DataFrame) -> None:
    schema = infer_schema(frame, target="y", kinds=KINDS)
    first = TableEncoder.fit(frame[:150], schema)
    spoilt = frame.with_columns(x=pl.when(pl.int_range(pl.len()) < 150).then("x").otherwise(1e9))
    again = TableEncoder.fit(spoilt[:150], schema)
    assert first.state()[0] == again.state()[0]
    np.testing.assert_array_equal(first.transform(frame)["numeric"], again.transform(frame)["numeric"])


def test_state_is_exact_after_json_and_arrays(encoder: TableEncoder, frame: pl.DataFrame) -> None:
    data, arrays = encoder.state()
    again = TableEncoder.from_state(json.loads(json.dumps(data)), {k: v.copy() for k, v in arrays.items()})
    assert again.state()[0] == data
    for name, array in encoder.transform(frame).items():
        np.testing.assert_array_equal(again.transform(frame)[name], array)
    np.testing.assert_array_equal(again.bins(16), encoder.bins(16))


@pytest.mark.parametrize(
    "change",
    [
        lambda data, arrays: data.pop("levels"),
        lambda data, arrays: data.update(levels=[["x"]]),
        lambda data, arrays: data.update(levels=[["city", "whole", {"levels": 3}]]),
        lambda data, arrays: data.update(words=7),
        lambda data, arrays: data.update(dates=[[1, 2]]),
        lambda data, arrays: data.update(scaler={}),
        lambda data, arrays: data.update(scaler=[]),
        lambda data, arrays: arrays.pop("center"),
        lambda data, arrays: arrays.update(center=arrays["center"][:-1]),
        lambda data, arrays: arrays.update(scale=arrays["scale"].reshape(1, -1)),
        lambda data, arrays: arrays.update(indicators=arrays["indicators"].astype(np.float64)),
        lambda data, arrays: data["scaler"].update(scaling="magic"),
        lambda data, arrays: data.update(schema={}),
        lambda data, arrays: data["levels"][0].__setitem__(0, "nowhere"),
        lambda data, arrays: data["levels"][0].__setitem__(1, "suffix"),
        lambda data, arrays: data["dates"][0][1].append("minute"),
        lambda data, arrays: data["words"][0][1].append(3),
        lambda data, arrays: data.update(scaler=None),
    ],
)
def test_damaged_states_are_refused(frame: pl.DataFrame, change) -> None:
    data, arrays = TableEncoder.fit(frame, infer_schema(frame, target="y", kinds=KINDS)).state()
    data, arrays = json.loads(json.dumps(data)), dict(arrays)
    change(data, arrays)
    with pytest.raises(ArtifactError):
        TableEncoder.from_state(data, arrays)


def test_missing_columns_and_bad_options(encoder: TableEncoder, frame: pl.DataFrame) -> None:
    with pytest.raises(SchemaError, match="the data lacks the columns 'x', 'city'"):
        encoder.transform(frame.drop("x", "city"))
    schema = infer_schema(frame, target="y")
    with pytest.raises(ConfigError, match=r"unknown scaling 'standart'.*\nHint: did you mean 'standard'"):
        TableEncoder.fit(frame, schema, scaling="standart")
    with pytest.raises(ConfigError, match="min_count is 0; expected a whole number >= 1"):
        TableEncoder.fit(frame, schema, min_count=0)
    with pytest.raises(DataError, match="no rows to fit to"):
        TableEncoder.fit(frame[:0], schema)


# --- numbers ---


def _values(rows: int = 500) -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.stack([rng.normal(5, 2, rows), rng.exponential(1, rows), rng.integers(0, 4, rows).astype(float)], axis=1)


def test_standard_is_scikit_learns() -> None:
    values = _values()
    expected = StandardScaler().fit_transform(values)
    np.testing.assert_allclose(NumericScaler.fit(values).transform(values), expected, rtol=2e-6, atol=1e-6)


def test_robust_is_scikit_learns_with_a_smooth_clip() -> None:
    values = _values()
    robust = RobustScaler().fit_transform(values)
    expected = robust / np.sqrt(1 + (robust / 3) ** 2)
    found = NumericScaler.fit(values, scaling="robust").transform(values)
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-6)


def test_quantile_is_near_scikit_learns_inside_the_range() -> None:
    values = _values()[:, :2]
    expected = QuantileTransformer(n_quantiles=500, output_distribution="normal").fit_transform(values)
    found = NumericScaler.fit(values, scaling="quantile").transform(values)
    inside = np.abs(expected) < 2
    np.testing.assert_allclose(found[inside], expected[inside], atol=0.03)
    assert np.abs(found).max() < 3.2  # Φ⁻¹ of the mid-rank of 500 values; scikit-learn goes to 5.2


@pytest.mark.parametrize("scaling", SCALINGS)
def test_gaps_take_the_median_and_raise_a_flag(scaling: str) -> None:
    values = np.array([[1.0, 1.0], [2.0, np.nan], [9.0, 3.0], [4.0, 8.0]])
    scaler = NumericScaler.fit(values, scaling=scaling)
    filled = NumericScaler.fit(values, scaling=scaling).transform(np.array([[2.0, 3.0]]))
    found = scaler.transform(values)
    assert scaler.width == 3
    assert found[1, 1] == filled[0, 1]
    assert found[:, 2].tolist() == [0, 1, 0, 0]
    assert scaler.transform(np.array([[np.nan, 1.0]])).shape == (1, 3)


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("column", [[5.0] * 9, [np.nan] * 9, [0.0] * 8 + [1e-300], [1e308, -1e308, 0.0], [0.1] * 9])
def test_columns_that_hardly_vary(scaling: str, column: list[float]) -> None:
    scaler = NumericScaler.fit(np.asarray(column)[:, None], scaling=scaling)
    found = scaler.transform(np.array([[c] for c in [*column, 0.0, 5.1, np.nan]]))
    assert np.isfinite(found).all()
    if len({c for c in column if c == c}) <= 1:
        assert (found[:, 0] == 0).all()


def test_a_column_with_a_few_extreme_values_is_scaled_robustly() -> None:
    values = np.concatenate([np.random.default_rng(0).normal(size=999), [1e9]])[:, None]
    found = NumericScaler.fit(values).transform(values)
    assert 0.5 < found[:-1].std() < 1.5
    assert found[-1, 0] == pytest.approx(3, abs=1e-3)


@pytest.mark.parametrize("scaling", SCALINGS)
@given(st.lists(st.floats(allow_infinity=False, width=64), min_size=1, max_size=30), st.floats())
def test_order_is_kept_and_nothing_overflows(scaling: str, column: list[float], new: float) -> None:
    scaler = NumericScaler.fit(np.asarray(column)[:, None], scaling=scaling)
    known = np.sort([c for c in column if c == c])
    found = scaler.transform(np.asarray([*known, new if np.isfinite(new) else 0.0])[:, None])
    assert np.isfinite(found).all()
    assert (np.diff(found[: len(known), 0]) >= 0).all()


@pytest.mark.parametrize("scaling", SCALINGS)
def test_bins_have_equal_shares(scaling: str) -> None:
    values = np.concatenate([_values(), np.full((500, 1), np.nan)], axis=1)
    values[::2, 3] = 1.0
    scaler = NumericScaler.fit(values, scaling=scaling)
    edges = scaler.bins(8)
    assert edges.shape == (5, 9)
    assert (np.diff(edges, axis=1) >= 0).all()
    counts = np.histogram(scaler.transform(values)[:, 0], edges[0])[0]
    assert counts.min() > 50
    assert edges[2].tolist()[4:] == [edges[2, -1]] * 5  # four levels: what is left of the bins is at the front
    assert edges[-1, 0] == 0
    assert edges[-1, 1] == 1


# --- levels, words, dates ---


def test_levels_are_scikit_learns_ordinals_shifted() -> None:
    values = pl.Series(np.random.default_rng(0).choice(["b", "a", "rare"], 100, p=[0.5, 0.48, 0.02]).tolist())
    coder = LevelCoder.fit(values, min_count=10)
    oracle = OrdinalEncoder(min_frequency=10, handle_unknown="use_encoded_value", unknown_value=-1)
    expected = oracle.fit_transform(values.to_numpy()[:, None])[:, 0] + 1
    expected[expected == len(coder.levels) + 1] = 0  # scikit-learn puts infrequent levels last
    np.testing.assert_array_equal(coder.transform(values), expected)


def test_rare_levels_and_the_most_levels() -> None:
    values = pl.Series(["a"] * 5 + ["b"] * 4 + ["c"] * 3 + ["d", "e", None])
    assert LevelCoder.fit(values).levels == ("a", "b", "c")
    assert LevelCoder.fit(values, max_levels=2).levels == ("a", "b")
    coder = LevelCoder.fit(values)
    assert coder.cardinality == 5
    assert coder.transform(pl.Series(["a", "d", None, "z"])).tolist() == [1, 0, 4, 0]
    assert LevelCoder.fit(values.drop_nulls()).transform(pl.Series(["a", None])).tolist() == [1, 0]
    assert LevelCoder.fit(pl.Series(["x", "y", "x"])).levels == ("x", "y")
    assert LevelCoder.fit(pl.Series([None, None], dtype=pl.String)).cardinality == 2


def test_levels_sort_by_the_numbers_in_them() -> None:
    assert LevelCoder.fit(pl.Series(["a10", "a9", "a1.5"] * 3)).levels == ("a1.5", "a9", "a10")


def test_prefixes() -> None:
    assert prefixes(pl.Series(["S.C./PARIS", "éa1", "8", "", None, "北京"])).to_list() == [
        "S",
        "éa",
        "8",
        None,
        None,
        "北京",
    ]


def test_words() -> None:
    texts = pl.Series(["Good room, isn't it?", "bad ROOM", None, "味道好 ok", "room"])
    assert tokens(texts).to_list()[3] == ["味", "道", "好", "ok"]
    words = WordPresence.fit(texts, min_count=1, max_words=3)
    assert words.words[0] == "room"
    assert len(words.words) == 3
    np.testing.assert_array_equal(words.transform(texts)[:, 0], [1, 1, 0, 0, 1])
    assert words.transform(pl.Series([None, "roomy"], dtype=pl.String)).sum() == 0
    assert WordPresence.fit(pl.Series(["a a a"] * 20)).words == ()


@given(st.lists(st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2100, 1, 1)), min_size=1, max_size=5))
def test_parts_of_a_date(moments: list[dt.datetime]) -> None:
    found = dict(zip(DATE_PARTS, date_parts(pl.Series(moments, dtype=pl.Datetime("us"))).T, strict=True))
    for i, moment in enumerate(moments):
        hour = moment.hour + moment.minute / 60
        assert found["time"][i] == pytest.approx((moment - dt.datetime(1970, 1, 1)).total_seconds() / 86400, abs=1e-6)
        assert found["year"][i] == moment.year
        assert found["month_cos"][i] == pytest.approx(np.cos(2 * np.pi * (moment.month - 1) / 12))
        assert found["weekday_sin"][i] == pytest.approx(np.sin(2 * np.pi * moment.weekday() / 7))
        assert found["hour_sin"][i] == pytest.approx(np.sin(2 * np.pi * hour / 24))


_CITIES = st.sampled_from(["Bern", "Oslo", "Roma", None, ""])
_SIZES = st.one_of(st.none(), st.integers(23, 74), st.floats(23, 74))
_DAYS = st.one_of(st.none(), st.dates(dt.date(2024, 1, 1), dt.date(2024, 10, 1)).map(str))


@given(st.lists(st.fixed_dictionaries({"city": _CITIES, "size": _SIZES, "day": _DAYS}), min_size=1, max_size=6))
@settings(deadline=None, max_examples=25)
def test_what_is_remembered_of_values_is_what_they_are(records: list[dict[str, Any]]) -> None:
    """A row at a time, twice, and all at once, by an encoder that remembers nothing."""
    known, fresh = (danlu.load(GOLDEN / "table" / "model").encoder for _ in range(2))
    whole = fresh.transform(fresh.rows(records, lambda note: None))
    for _ in range(2):
        each = [known.transform(known.rows([record], lambda note: None)) for record in records]
        for name, values in whole.items():
            np.testing.assert_array_equal(np.concatenate([one[name] for one in each]), values)


def test_what_is_doubtful_is_said_each_time() -> None:
    encoder, said = danlu.load(GOLDEN / "table" / "model").encoder, []
    for _ in range(3):
        encoder.rows([{"city": "oslo", "size": 1e9, "day": "1724-05-01"}], said.append)
    assert len(said) == 9
    for _ in range(2):
        with pytest.raises(SchemaError, match="never seen in training: 'Berlin'"):
            encoder.rows([{"city": "Berlin", "size": 40, "day": None}], said.append)
