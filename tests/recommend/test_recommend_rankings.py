"""Rankings: against loops and other libraries, ties, what is left out, and intervals by user."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.errors import DataError
from danlu.evaluate import compare
from danlu.evaluate.recommendation import RANKING_MEASURES, Rankings
from danlu.evaluate.stored import restored, stored
from danlu.recommend import baselines
from danlu.recommend.encoder import RecommendEncoder
from danlu.recommend.interactions import Interactions, Named
from danlu.recommend.rank import first, ranking


def drawn(seed: int, users: int = 12, items: int = 25) -> Rankings:
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(users), rng.integers(1, 5, users))
    ranks = np.concatenate(
        [rng.choice(np.arange(1, items), (owner == user).sum(), replace=False) for user in range(users)]
    )
    return Rankings(ranks.astype(float), owner, rng.integers(-1, items, (users, 10)), rng.uniform(0.1, 1, items))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_measures_are_those_of_a_loop(seed: int) -> None:
    found = drawn(seed)
    sums = dict.fromkeys(RANKING_MEASURES[:5], 0.0)
    for user in range(len(found)):
        ranks = sorted(found.ranks[found.owner == user])
        hits = [rank for rank in ranks if rank <= 10]
        ideal = sum(1 / np.log2(place + 2) for place in range(min(len(ranks), 10)))
        sums["ndcg"] += sum(1 / np.log2(rank + 1) for rank in hits) / ideal
        sums["hit_rate"] += bool(hits)
        sums["reciprocal_rank"] += 1 / ranks[0]
        sums["ranking_precision"] += sum((k + 1) / rank for k, rank in enumerate(hits)) / min(len(ranks), 10)
        sums["recall_at_10"] += len(hits) / len(ranks)
    got = found.measures()
    for name, value in sums.items():
        assert got[name] == pytest.approx(value / len(found), abs=1e-12)


def test_a_weight_of_two_is_a_user_twice() -> None:
    found = drawn(1)
    twice = found.take(np.array([0, 0, 3, 5]))
    weights = np.zeros(len(found))
    weights[[0, 3, 5]] = [2, 1, 1]
    assert twice.measures() == pytest.approx(found.measures(weights))
    assert restored(*stored(found)).measures() == found.measures()
    with pytest.raises(DataError, match="one or more of each user"):
        Rankings(np.ones(1), np.zeros(1, int), np.zeros((2, 10), int), np.ones(3))


def known() -> RecommendEncoder:
    pairs = Interactions(np.array([1, 1, 2]), np.array([1, 2, 2]))
    names = tuple("abc"), tuple("vwxyz")
    return RecommendEncoder(Named("u", "i"), *names, np.zeros(5, int), np.zeros(0, np.int32)).knowing(pairs)


def test_what_a_user_had_is_not_ranked_and_ties_count_against() -> None:
    encoder = known()
    table = np.array([[0, 9, 8, 3, 2, 1.0], [0, 9, 8, 3, 2, 1], [0, 5, 9, 5, 5, 5], [0, 1, 1, 1, 1, 1]])
    found = ranking(
        lambda users: table[users], encoder, np.array([1, 2, 3]), np.array([0, 1, 2, 2]), np.array([4, 3, 5, 0])
    )
    assert found.ranks.tolist() == [2, 4, 5, np.inf]  # 3 before 4; three of the same score before; all the same
    assert found.top[0].tolist()[:4] == [2, 3, 4, -2]
    places, scores = first(lambda users: table[users], encoder, np.array([1]), 4)
    assert places.tolist() == [[3, 4, 5, -1]]
    assert scores[0, :3].tolist() == [3, 2, 1]
    assert first(lambda users: table[users], encoder, np.array([1]), 2, again=True)[0].tolist() == [[1, 2]]


def test_constant_rankings_are_worse_than_good_ones() -> None:
    owner = np.arange(40)
    top = np.tile(np.arange(10), (40, 1))
    good = Rankings(np.ones(40), owner, np.tile(np.arange(40)[:, None], (1, 10)), np.full(50, 0.5))
    assert compare(good, Rankings(np.full(40, 30.0), owner, top, np.full(50, 0.5)), "popularity").verdict == "better"
    low = good.scores()["hit_rate"]
    assert low.value == 1
    assert 0.85 < low.low < 1


def test_neighbours_and_biases_by_hand() -> None:
    had = np.array([[1, 1, 0], [1, 1, 1], [0, 0, 1.0]])
    assert baselines.cosines(had)[0] == pytest.approx([0, 1, 0.5])
    assert baselines.knn(had, 1)[:, 2].tolist() == pytest.approx([0.5, 0.5, 0])
    pairs = Interactions(np.array([0, 0, 1]), np.array([0, 1, 0]), np.array([5.0, 1.0, 3.0]))
    assert baselines.item_means(pairs, 3) == pytest.approx([(8 + 30) / 12, (1 + 30) / 11, 3])
    overall, user, item = baselines.biases(pairs, 2, 2, rounds=1)
    assert (overall, item[0], item[1]) == pytest.approx((3, 2 / 12, -2 / 11))
    assert user[1] == pytest.approx((0 - 2 / 12) / 11)
    asked = Interactions(np.array([1]), np.array([1]))
    assert np.isfinite(baselines.rated_knn(pairs, 2, 2, asked)).all()
