"""The target to numbers and back, in the words of the data it came from."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import LabelEncoder

from danlu.data import TargetEncoder, drop_missing_target
from danlu.errors import ArtifactError, DataError, SchemaError


@pytest.mark.parametrize(
    ("values", "task", "kind", "classes"),
    [
        (["b", "a", "b"] * 9, "binary", "text", ("a", "b")),
        ([2, 1, 1] * 9, "binary", "integer", ("1", "2")),
        ([0.5, 1.5] * 9, "binary", "float", ("0.5", "1.5")),
        ([True, False] * 9, "binary", "boolean", ("false", "true")),
        ([3, 1, 2] * 9, "multiclass", "integer", ("1", "2", "3")),
    ],
)
def test_classes_there_and_back(values: list, task: str, kind: str, classes: tuple[str, ...]) -> None:
    series = pl.Series("y", values)
    encoder = TargetEncoder.fit(series)
    assert (encoder.task, encoder.kind, encoder.classes, encoder.units) == (task, kind, classes, len(classes))
    codes = encoder.transform(series)
    assert codes.dtype == np.int32
    np.testing.assert_array_equal(codes, LabelEncoder().fit_transform(values))
    assert encoder.inverse(codes).tolist() == values
    again = TargetEncoder.from_json(json.loads(json.dumps(encoder.to_json())))
    assert again == encoder


@given(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=20).filter(lambda v: len(set(v)) > 2))
def test_quantities_there_and_back(values: list[float]) -> None:
    encoder = TargetEncoder.fit(pl.Series("y", values), task="regression")
    assert encoder.mean == pytest.approx(np.mean(values), rel=1e-9, abs=1e-9)
    z = encoder.transform(pl.Series(values))
    assert z.dtype == np.float32
    np.testing.assert_allclose(
        encoder.inverse(z), values, rtol=1e-5, atol=1e-5 * encoder.std + 1e-6 * np.abs(values).max()
    )


@pytest.mark.parametrize(
    ("trained", "new", "codes"),
    [
        ([0, 1] * 9, ["1", " 0 ", "1.0"], [1, 0, 1]),
        ([0, 1] * 9, [1.0, 0.0], [1, 0]),
        ([True, False] * 9, ["True", "no", "1"], [1, 0, 1]),
        (["True", "False", "False"] * 9, [True, False], [1, 0]),
        (["1", "2", "2"] * 9, [2, 1], [1, 0]),
        (["a", "b"] * 9, [" a", "b "], [0, 1]),
    ],
)
def test_labels_in_another_type(trained: list, new: list, codes: list[int]) -> None:
    assert TargetEncoder.fit(pl.Series("y", trained)).transform(pl.Series("y", new)).tolist() == codes


@pytest.mark.parametrize(
    ("trained", "new", "message"),
    [
        (
            ["no", "yes"] * 9,
            ["yes", "yess"],
            r"holds labels that are not classes of the model: 'yess' \(first in row 2\)",
        ),
        (["no", "yes"] * 9, ["yes", None], "has 1 missing values, the first in row 2"),
        (["no", "yes"] * 9, ["Yes"], "differ from the classes by their case"),
        ([0.5, 1.5, 2.5] * 9, ["1.5", "much"], "holds 'much' in row 2; expected a number"),
        ([0.5, 1.5, 2.5] * 9, [1.5, float("inf")], "holds inf in row 2; expected a number"),
        ([0.5, 1.5, 2.5] * 9, [1.5, 1e300], r"holds 1e\+300 in row 2; expected a number nearer to those of training"),
    ],
)
def test_labels_that_do_not_fit(trained: list, new: list, message: str) -> None:
    encoder = TargetEncoder.fit(pl.Series("y", trained))
    with pytest.raises(SchemaError, match=message) as caught:
        encoder.transform(pl.Series("y", new, strict=False))
    assert "the target 'y'" in str(caught.value)


def test_another_spelling_is_read_and_told() -> None:
    encoder = TargetEncoder.fit(pl.Series("income", ["<=50K", ">50K"] * 9))
    fixed, notices = encoder.normalise(pl.Series("income", ["<=50K.", ">50k."]))
    assert encoder.transform(fixed).tolist() == [0, 1]
    assert notices == ("labels of income were matched by another spelling: '<=50K.' as '<=50K', '>50k.' as '>50K'",)
    untouched = pl.Series("income", ["<=50K.", "unknown"])
    assert encoder.normalise(untouched) == (untouched, ())
    twins = TargetEncoder.fit(pl.Series("y", ["a", "A"] * 9))
    assert twins.normalise(pl.Series("y", ["a."]))[1] == ()


def test_fitting_to_what_cannot_be() -> None:
    with pytest.raises(DataError, match="'y' has 1 missing values"):
        TargetEncoder.fit(pl.Series("y", [1, 0, 1, None]))
    with pytest.raises(DataError, match="infinite"):
        TargetEncoder.fit(pl.Series("y", [1.0, float("inf"), 2.0]), task="regression")
    with pytest.raises(DataError, match="the same value in every row"):
        TargetEncoder.fit(pl.Series("y", ["a", "a"]))


@pytest.mark.parametrize(
    "change",
    [
        {"classes": None},
        {"task": "magic"},
        {"task": ["binary"]},
        {"extra": 1},
        {"kind": "colour"},
        {"classes": []},
        {"classes": [1, 2]},
        {"classes": ["a", "a"]},
        {"classes": ["a", "b", "c"]},
        {"kind": "integer"},
        {"name": 3},
    ],
)
def test_damaged_targets_are_refused(change: dict) -> None:
    data = TargetEncoder.fit(pl.Series("y", ["a", "b"] * 9)).to_json()
    with pytest.raises(ArtifactError, match="the saved target"):
        TargetEncoder.from_json({**data, **change})


@pytest.mark.parametrize(
    "change", [{"mean": "1"}, {"std": 0}, {"std": float("nan")}, {"mean": None}, {"classes": ["a"]}]
)
def test_damaged_quantities_are_refused(change: dict) -> None:
    data = TargetEncoder.fit(pl.Series("y", [1.5, 2.5, 7.0])).to_json()
    with pytest.raises(ArtifactError, match="the saved target"):
        TargetEncoder.from_json({**data, **change})


def test_rows_without_a_target_are_left_out() -> None:
    frame = pl.DataFrame({"x": [1, 2, 3], "y": ["a", " ", None]})
    kept, notices = drop_missing_target(frame, "y")
    assert kept["x"].to_list() == [1]
    assert notices == ("2 of 3 rows have no value for the target y and were left out",)
    assert drop_missing_target(kept, "y") == (kept, ())


def test_quantities_whose_squares_are_beyond_any_number_are_refused() -> None:
    with pytest.raises(DataError, match="values up to 4e"):
        TargetEncoder.fit(pl.Series("y", [1e300, 2.5e300, 4e300, 3.5]))
