"""Splits, folds, copies across parts and resampled orders: rules that hold for every table."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from danlu.data import Split, folds, leakage, oversample, resampler, split_rows, undersample
from danlu.data.twins import equal_rows, keep_together
from danlu.errors import ConfigError, DataError

SHARES = st.sampled_from([0.1, 0.15, 0.2, 0.3])


def _covers(split: Split, rows: int) -> None:
    together = np.concatenate([split.train, split.validation, split.test])
    assert all(part.dtype == np.int32 for part in (split.train, split.validation, split.test))
    np.testing.assert_array_equal(np.sort(together), np.arange(rows))


@given(st.integers(5, 400), SHARES, SHARES, st.integers(0, 2**40))
def test_a_random_split_covers_the_rows_once(rows: int, validation: float, test: float, seed: int) -> None:
    split = split_rows(rows, method="random", validation=validation, test=test, seed=seed)
    _covers(split, rows)
    assert split.sizes[1] == max(1, round(rows * validation))
    assert split.sizes[2] == max(1, round(rows * test))
    again = split_rows(rows, method="random", validation=validation, test=test, seed=seed)
    np.testing.assert_array_equal(again.test, split.test)


def test_another_seed_is_another_split() -> None:
    assert not np.array_equal(split_rows(100, seed=0).test, split_rows(100, seed=1).test)


@given(st.lists(st.sampled_from("aaaabbc"), min_size=20, max_size=150), SHARES, st.integers(0, 99))
def test_a_stratified_split_keeps_the_share_of_each_class(labels: list[str], share: float, seed: int) -> None:
    frame = pl.DataFrame({"y": labels})
    split = split_rows(frame, target="y", validation=share, test=share, seed=seed)
    _covers(split, len(labels))
    values = np.asarray(labels)
    size = len(split.test)
    for name, count in zip(*np.unique(values, return_counts=True), strict=True):
        if count >= 4 and size >= 6:
            # A class of one row is never drawn: the others' shares are those of a row less.
            assert abs((values[split.test] == name).sum() - count * size / len(labels)) <= 1.1


def test_a_quantity_is_stratified_by_tenths() -> None:
    frame = pl.DataFrame({"y": np.random.default_rng(0).lognormal(0, 2, 1000)})
    split = split_rows(frame, target="y")
    tenth = np.argsort(np.argsort(frame["y"].to_numpy())) // 100
    for part in (split.train, split.validation, split.test):
        assert np.ptp(np.bincount(tenth[part], minlength=10)) <= 1
    assert "tenths of y" in str(split)


def test_a_class_of_one_row_is_trained_on() -> None:
    for seed in range(10):
        split = split_rows(pl.DataFrame({"y": ["a"] * 30 + ["b"] * 30 + ["rare"]}), target="y", seed=seed)
        assert 60 in split.train
        _covers(split, 61)


def test_more_classes_than_rows_of_a_part() -> None:
    frame = pl.DataFrame({"y": [str(i // 2) for i in range(60)]})
    _covers(split_rows(frame, target="y", validation=0.1, test=0.1), 60)


@given(
    st.lists(st.integers(0, 12), min_size=12, max_size=150).filter(lambda g: len(set(g)) >= 4),
    SHARES,
    st.integers(0, 99),
)
def test_groups_are_never_in_two_parts(groups: list[int], share: float, seed: int) -> None:
    frame = pl.DataFrame({"g": groups})
    split = split_rows(frame, method="group", column="g", validation=share, test=share, seed=seed)
    _covers(split, len(groups))
    values = np.asarray(groups)
    train, validation, test = (set(values[part]) for part in (split.train, split.validation, split.test))
    assert train
    assert validation
    assert test
    assert not train & validation
    assert not train & test
    assert not validation & test


@given(st.lists(st.integers(0, 50), min_size=8, max_size=100), SHARES)
def test_time_goes_from_training_to_test(days: list[int], share: float) -> None:
    frame = pl.DataFrame({"day": [dt.date(2024, 1, 1) + dt.timedelta(d) for d in days]})
    split = split_rows(frame, method="time", column="day", validation=share, test=share)
    _covers(split, len(days))
    order = np.asarray(days)[np.concatenate([split.train, split.validation, split.test])]
    assert (np.diff(order) >= 0).all()


def test_the_users_own_parts() -> None:
    frame = pl.DataFrame({"part": ["Train", "val", " test ", "dev", "fit"]})
    split = split_rows(frame, method="column", column="part")
    assert (split.train.tolist(), split.validation.tolist(), split.test.tolist()) == ([0, 4], [1, 3], [2])


TABLE = pl.DataFrame({"y": ["a", "b"] * 10, "g": [0, 1] * 10, "t": ["x"] * 20, "n": [None, *range(19)]})


@pytest.mark.parametrize(
    ("source", "options", "error", "message"),
    [
        (TABLE, {"method": "strat"}, ConfigError, "unknown split method 'strat'"),
        (TABLE, {"validation": 1.0}, ConfigError, "validation is 1.0; expected a share"),
        (TABLE, {"validation": 0.5, "test": 0.5}, ConfigError, "leave no rows to train on"),
        (TABLE, {"method": "group"}, ConfigError, "splitting by group needs a column"),
        (TABLE, {"method": "group", "column": "G"}, DataError, "unknown column 'G'"),
        (TABLE, {"method": "group", "column": "g"}, DataError, "has 2 groups; a split needs at least 3"),
        (TABLE, {"method": "time", "column": "t"}, DataError, "holds texts"),
        (TABLE, {"method": "time", "column": "n"}, DataError, "1 missing values"),
        (
            TABLE,
            {"method": "column", "column": "y"},
            DataError,
            "holds 'a' in row 1; expected train, validation or test",
        ),
        (pl.DataFrame({"p": ["test", "val"]}), {"method": "column", "column": "p"}, DataError, "no row as train"),
        (TABLE, {"target": "z"}, DataError, "unknown column 'z'"),
        (2, {}, DataError, "2 rows are too few"),
        (0, {}, DataError, "no rows to split"),
        (9, {"method": "time"}, ConfigError, "needs a frame"),
    ],
)
def test_splits_that_cannot_be(source, options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        split_rows(source, **options)


# --- folds ---


@given(st.integers(4, 120), st.integers(2, 4), st.integers(0, 99), st.booleans())
def test_folds_partition_the_rows(rows: int, k: int, seed: int, stratified: bool) -> None:
    labels = np.random.default_rng(seed).choice(["a", "b", "c"], rows)
    options = {"target": "y", "task": "multiclass"} if stratified else {}
    splits = folds(pl.DataFrame({"y": labels}), k, seed=seed, **options)
    assert len(splits) == k
    np.testing.assert_array_equal(np.sort(np.concatenate([s.test for s in splits])), np.arange(rows))
    assert np.ptp([len(s.test) for s in splits]) <= 1
    for split in splits:
        _covers(split, rows)
        for name in np.unique(labels) if stratified else ():
            assert abs((labels[split.test] == name).sum() - (labels == name).sum() / k) <= 1


def test_folds_keep_groups_together() -> None:
    groups = np.random.default_rng(0).integers(0, 9, 100)
    for split in folds(pl.DataFrame({"g": groups}), 4, group="g"):
        assert not set(groups[split.train]) & set(groups[split.test])
        _covers(split, 100)


@pytest.mark.parametrize(
    ("k", "options", "error", "message"),
    [
        (1, {}, ConfigError, "k is 1; expected a whole number from 2 to the number of rows, 20"),
        (21, {}, ConfigError, "k is 21"),
        (2.5, {}, ConfigError, "k is 2.5"),
        (3, {"group": "g"}, DataError, "has 2 groups; 3 folds need at least 3"),
        (3, {"target": "z"}, DataError, "unknown column 'z'"),
    ],
)
def test_folds_that_cannot_be(k, options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        folds(TABLE, k, **options)


# --- copies ---


def test_copies_of_training_rows_are_counted() -> None:
    frame = pl.DataFrame({"id": range(8), "x": [1, 2, 3, 4, 1, 2, 5, None], "y": [0, 1, 0, 1, 0, 0, 1, 1]})
    split = Split(np.arange(4), np.array([4, 5]), np.array([6, 7]))
    assert leakage(frame, split) == ()
    (notice,) = leakage(frame, split, ignore=("id",))
    assert notice.startswith("1 of 2 validation rows are copies of training rows (50.0 %)")


# --- resampling ---


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(0, 2**40), st.integers(0, 5))
def test_resampled_orders(labels: list[int], seed: int, epoch: int) -> None:
    codes = np.asarray(labels)
    counts = np.bincount(codes)
    counts = counts[counts > 0]
    over, under = oversample(codes, seed, epoch=epoch), undersample(codes, seed, epoch=epoch)
    assert set(np.bincount(codes[over])) - {0} == {counts.max()}
    assert set(np.bincount(codes[under])) - {0} == {counts.min()}
    assert len(set(under.tolist())) == len(under)
    for code in np.unique(codes):
        times = np.bincount(over, minlength=len(codes))[codes == code]
        assert times.min() >= 1
        assert np.ptp(times) <= 1
    np.testing.assert_array_equal(over, oversample(codes, seed, epoch=epoch))


def test_epochs_draw_anew_and_the_trainer_can_replay() -> None:
    labels = np.array([0] * 50 + [1] * 10)
    assert not np.array_equal(undersample(labels, 0, epoch=0), undersample(labels, 0, epoch=1))
    draw = resampler("undersample", labels)
    np.testing.assert_array_equal(draw(3, np.random.default_rng(1)), draw(3, np.random.default_rng(1)))


@pytest.mark.parametrize("labels", [np.zeros((3, 2), int), np.zeros(3), np.zeros(0, int), np.array(["a"])])
def test_what_cannot_be_resampled(labels: np.ndarray) -> None:
    with pytest.raises(DataError, match="expected class codes"):
        oversample(labels, 0)
    with pytest.raises(ConfigError, match="unknown resampling 'smote'"):
        resampler("smote", np.array([0, 1]))


# --- equal rows ---

TWINS = st.lists(st.tuples(st.integers(0, 60), st.sampled_from("ab")), min_size=60, max_size=250)
TWINS = TWINS.filter(lambda rows: len({x for x, _ in rows}) >= 25)


@given(TWINS, SHARES, st.sampled_from(["stratified", "random"]), st.integers(0, 99))
def test_equal_rows_are_in_one_part(rows: list[tuple[int, str]], share: float, method: str, seed: int) -> None:
    frame = pl.DataFrame(rows, schema=["x", "y"], orient="row")
    groups = equal_rows(frame.select("x"))
    options = {"method": method, "target": "y", "validation": share, "test": share, "seed": seed, "together": groups}
    split = split_rows(frame, **options)
    _covers(split, len(rows))
    x, largest = frame["x"].to_numpy(), int(np.bincount(groups).max())
    parts = [set(x[part]) for part in (split.train, split.validation, split.test)]
    assert sum(map(len, parts)) == len(set(x))
    for part in (split.validation, split.test):
        assert abs(len(part) - share * len(rows)) <= largest / 2 + 1
    again = split_rows(frame, **options)
    np.testing.assert_array_equal(again.test, split.test)
    np.testing.assert_array_equal(again.validation, split.validation)


@given(st.integers(100, 400), st.integers(0, 99))
def test_the_share_of_each_class_is_kept_with_twins(rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame({"x": rng.random(rows), "y": rng.choice(["a", "b", "c"], rows, p=[0.6, 0.3, 0.1])})
    frame = pl.concat([frame, frame[rng.integers(0, rows, rows // 3)]])
    split = split_rows(frame, target="y", seed=seed, together=equal_rows(frame.select("x")))
    values = frame["y"].to_numpy()
    for part in (split.train, split.validation, split.test):
        for name in "abc":
            assert abs((values[part] == name).sum() - (values == name).mean() * len(part)) <= 4


@given(TWINS, st.integers(2, 5), st.integers(0, 99), st.booleans())
def test_folds_keep_equal_rows_together(rows: list[tuple[int, str]], k: int, seed: int, stratified: bool) -> None:
    frame = pl.DataFrame(rows, schema=["x", "y"], orient="row")
    groups = equal_rows(frame.select("x"))
    options = {"target": "y", "task": "binary"} if stratified else {}
    splits = folds(frame, k, seed=seed, together=groups, **options)
    np.testing.assert_array_equal(np.sort(np.concatenate([s.test for s in splits])), np.arange(len(rows)))
    for split in splits:
        assert not set(groups[split.train]) & set(groups[split.test])
        assert abs(len(split.test) - len(rows) / k) <= 2 * int(np.bincount(groups).max())


@given(st.integers(20, 200), st.integers(0, 99))
def test_without_twins_the_split_is_as_ever(rows: int, seed: int) -> None:
    frame = pl.DataFrame({"x": range(rows), "y": ["a", "b"] * (rows // 2) + ["a"] * (rows % 2)})
    one, two = (split_rows(frame, target="y", seed=seed, together=each) for each in (None, np.arange(rows)))
    np.testing.assert_array_equal(one.test, two.test)
    assert one.description == two.description


def test_twins_are_told_of_and_those_of_few_different_rows_are_divided() -> None:
    rng = np.random.default_rng(0)
    copies = equal_rows([*range(300), *range(50)])
    groups, (note,) = keep_together(copies, 0.15, 0.2, besides="the target")
    assert groups is copies
    assert note.startswith(
        "29 % of the 350 rows are equal to another one (apart from the target); equal rows stay in one part"
    )
    assert keep_together(equal_rows(range(9)), 0.2) == (None, ())
    few = equal_rows(rng.integers(0, 4, 400).tolist())
    groups, (note,) = keep_together(few, 0.15, 0.2)
    assert groups is None
    assert "they are in several parts, because the largest group of equal ones is 2" in note
    with pytest.raises(DataError, match="2 different rows are too few"):
        split_rows(20, together=np.arange(20) % 2)
