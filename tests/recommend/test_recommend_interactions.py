"""Pairs of users and items: what is cleaned, and that no part knows the future."""

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.errors import DataError
from danlu.recommend.features import Features
from danlu.recommend.interactions import Interactions, Named, divide, interactions_of
from danlu.recommend.learn import pieces_of


def test_columns_are_named() -> None:
    assert Named.of("u:i::t") == Named("u", "i", "", "t")
    for wrong in ("u", "u:", "u:i:r:t:x", "u:u", ":i"):
        with pytest.raises(DataError, match="two to four different columns"):
            Named.of(wrong)


def test_a_pair_counts_once_and_ids_stay_texts() -> None:
    frame = pl.DataFrame(
        {
            "u": ["007", "007", "7", "007", None, "8"],
            "i": ["a", "a", "a", "b", "a", " "],
            "r": [1.0, 5.0, 3.0, 4.0, 2.0, 2.0],
            "t": [20.0, 10.0, 5.0, 6.0, 7.0, 8.0],
        }
    )
    once, said = interactions_of(frame, Named("u", "i", "r", "t"))
    assert once.select("user", "item", "rating").rows() == [("007", "a", 1.0), ("7", "a", 3.0), ("007", "b", 4.0)]
    assert said[0] == "2 rows lack 'u' or 'i' and are left out"
    nan = interactions_of(frame.with_columns(r=pl.Series([float("nan"), *frame["r"][1:]])), Named("u", "i", "r"))
    assert nan[1][0] == "3 rows lack 'u' or 'i' or 'r' and are left out"
    assert "1 pairs" in said[1]
    assert said[1].endswith("of 1 with different ratings the last")
    mean, said = interactions_of(frame.drop("t"), Named("u", "i", "r"))
    assert mean["rating"][0] == 3.0
    assert said[1].endswith("the mean")
    words = frame.with_columns(r=pl.Series(["1.0", "2.0", "good", "1.0", "1.0", "1.0"]))
    with pytest.raises(DataError, match=r"are no numbers, such as \['good'\]"):
        interactions_of(words, Named("u", "i", "r"))
    with pytest.raises(DataError, match="neither numbers nor dates"):
        interactions_of(frame.with_columns(t=pl.lit("soon")), Named("u", "i", "r", "t"))
    dates = pl.DataFrame({"u": ["1"], "i": ["2"], "t": ["2024-01-02"]}).with_columns(pl.col("t").str.to_datetime())
    assert interactions_of(dates, Named("u", "i", "", "t"))[0]["time"][0] == 1704153600.0


def some(seed: int, users: int = 9, items: int = 12) -> Interactions:
    rng = np.random.default_rng(seed)
    pairs = np.array([(u, i) for u in range(users) for i in rng.choice(items, rng.integers(1, 9), replace=False)])
    return Interactions(pairs[:, 0], pairs[:, 1], time=rng.integers(0, 50, len(pairs)).astype(float))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_nothing_is_learnt_from_the_future(seed: int) -> None:
    pairs = some(seed)
    assert pairs.time is not None
    part, _ = divide(pairs, "time", validation=0.2, test=0.2, seed=0, rated=False)
    for earlier, later in ((0, 1), (1, 2)):
        assert pairs.time[part == earlier].max() < pairs.time[part == later].min()
    part, _ = divide(pairs, "last", validation=0.2, test=0.2, seed=0, rated=False)
    for user in np.unique(pairs.user):
        own, when = part[pairs.user == user], pairs.time[pairs.user == user]
        assert sorted(own[own > 0]) == ([1, 2] if len(own) >= 3 else [])
        if len(own) >= 3:
            assert when[own == 2] >= when[own == 1] >= when[own == 0].max()


def test_parts_that_cannot_be_are_refused() -> None:
    pairs = Interactions(np.array([0, 0, 1]), np.array([0, 1, 0]))
    with pytest.raises(DataError, match="leave none to"):
        divide(pairs, "last", validation=0.2, test=0.2, seed=0, rated=False)
    with pytest.raises(DataError, match="no column of times"):
        divide(pairs, "time", validation=0.2, test=0.2, seed=0, rated=False)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6))
def test_pieces_of_histories_hold_every_step_once(seed: int, length: int) -> None:
    pairs = some(seed).in_order()
    pairs = Interactions(pairs.user, pairs.item + 1)
    steps = {(int(a), int(b)) for piece in pieces_of(pairs, length) for a, b in itertools.pairwise(piece) if a}
    wanted = [
        (int(a), int(b))
        for user in np.unique(pairs.user)
        for a, b in zip(pairs.item[pairs.user == user], pairs.item[pairs.user == user][1:], strict=False)
    ]
    assert steps == set(wanted)
    assert sum(int((piece[:-1] > 0).sum()) for piece in pieces_of(pairs, length)) == len(wanted)


def test_features_are_numbers_and_places() -> None:
    made = Features.fit(pl.DataFrame({"age": [20.0, None, 40.0], "job": ["cook", "none", "cook"]}))
    assert made.width == 4
    found = made.transform(pl.DataFrame({"age": [None, 50.0], "job": ["pilot", "none"]}))
    assert found.tolist() == [[0, 1, 0, 0], [2, 0, 0, 1]]
    assert made.transform(pl.DataFrame({"age": [30]})).tolist() == [[0, 0, 0, 0]]
    assert Features.from_state(made.state()) == made
