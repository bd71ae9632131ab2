"""Folds of cross-validation: every row is tested once, groups stay together, and time never looks ahead."""

import datetime

import numpy as np
import polars as pl
import pytest

from danlu.data import Fold
from danlu.errors import ConfigError, DataError

ROWS = 90
DAY = [
    datetime.date(2024, 1, 1) + datetime.timedelta(days=int(i)) for i in np.random.default_rng(0).integers(0, 40, ROWS)
]
FRAME = pl.DataFrame(
    {
        "y": ["yes", "no", "no"] * (ROWS // 3),
        "who": [f"p{number % 17}" for number in range(ROWS)],
        "day": DAY,
        "size": np.random.default_rng(1).normal(size=ROWS),
    }
)


def splits(count, repeat=0, **how):
    return [
        Fold(number, count, repeat).split(FRAME, **{"target": "y", "task": "binary", **how}) for number in range(count)
    ]


def parts(split):
    return [set(part.tolist()) for part in (split.train, split.validation, split.test)]


@pytest.mark.parametrize(
    "how", [{}, {"method": "random"}, {"method": "group", "column": "who"}], ids=["stratified", "random", "group"]
)
def test_every_row_is_tested_once_and_the_parts_share_none(how):
    found = splits(5, **how)
    assert sorted(np.concatenate([each.test for each in found]).tolist()) == list(range(ROWS))
    for split in found:
        train, validation, test = parts(split)
        assert len(train) + len(validation) + len(test) == ROWS == len(train | validation | test)
        assert 0.08 * ROWS < len(validation) < 0.25 * ROWS


def test_classes_are_shared_out_evenly():
    for split in splits(5):
        share = (FRAME["y"].gather(split.test) == "yes").mean()
        assert abs(share - 1 / 3) < 0.1


def test_groups_stay_together():
    for split in splits(4, method="group", column="who"):
        names = [set(FRAME["who"].gather(part)) for part in (split.train, split.validation, split.test)]
        assert sum(map(len, names)) == len(names[0] | names[1] | names[2])


def test_equal_rows_stay_together():
    together = np.arange(ROWS) // 3
    for split in splits(4, together=together):
        groups = [set(together[list(part)].tolist()) for part in parts(split)]
        assert sum(map(len, groups)) == len(groups[0] | groups[1] | groups[2])


def test_time_never_looks_ahead_and_the_windows_grow():
    found, when = splits(4, method="time", column="day"), FRAME["day"].to_numpy()
    for split in found:
        assert when[split.train].max() <= when[split.validation].min()
        assert max(when[split.train].max(), when[split.validation].max()) < when[split.test].min()
    sizes = [len(split.train) + len(split.validation) for split in found]
    assert sizes == sorted(sizes)
    tested = np.concatenate([split.test for split in found])
    assert len(set(tested.tolist())) == len(tested)
    assert set(range(ROWS)) - set(tested.tolist()) == set(parts(found[0])[0] | parts(found[0])[1])


def test_repeats_divide_anew_and_a_seed_divides_alike():
    first, again, other = splits(3), splits(3), splits(3, repeat=1)
    assert all(
        np.array_equal(a.test, b.test) and np.array_equal(a.train, b.train) for a, b in zip(first, again, strict=True)
    )
    assert not any(np.array_equal(a.test, b.test) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"method": "column", "column": "who"}, ConfigError, "folds test every row"),
        ({"method": "time"}, ConfigError, "column of times"),
        ({"method": "group"}, ConfigError, "needs a column"),
        ({"method": "time", "column": "who"}, DataError, "texts"),
    ],
)
def test_what_cannot_be_divided_is_said(how, error, message):
    with pytest.raises(error, match=message):
        splits(3, **how)


def test_too_few_moments_are_said():
    frame = FRAME.with_columns(day=pl.Series([DAY[0]] * 80 + [DAY[1]] * 10))
    with pytest.raises(DataError, match="too few different moments"):
        Fold(0, 4).split(frame, method="time", column="day")
