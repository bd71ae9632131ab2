"""Shapley values over sets, against closed forms and against all orders."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from danlu.errors import ConfigError
from danlu.evaluate import Rows
from danlu.evaluate.modalities import shapley_of_sets, share_of_score


def test_shares_are_the_mean_over_all_orders_and_add_up() -> None:
    rng = np.random.default_rng(0)
    sets = [frozenset(s) for n in range(5) for s in itertools.combinations(range(4), n)]
    value = dict(zip(sets, rng.normal(size=len(sets)).tolist(), strict=True))
    gained = np.zeros(4)
    orders = list(itertools.permutations(range(4)))
    for order in orders:
        for place, player in enumerate(order):
            gained[player] += value[frozenset(order[: place + 1])] - value[frozenset(order[:place])]
    found = shapley_of_sets(value, 4)
    np.testing.assert_allclose(found, gained / len(orders), atol=1e-12)
    np.testing.assert_allclose(sum(found), value[sets[-1]] - value[sets[0]], atol=1e-12)


def test_of_a_xor_each_of_two_has_half_and_a_third_that_says_nothing_has_none() -> None:
    rng = np.random.default_rng(0)
    facts = rng.integers(0, 2, (400, 2))
    truth = facts[:, 0] ^ facts[:, 1]

    def answered(some: list[int]) -> Rows:
        sure = truth if {0, 1} <= set(some) else np.full(400, 0.5)
        return Rows("binary", truth, np.stack([1 - sure, sure], axis=1).astype(float))

    photo, note, size = share_of_score(answered, ("photo", "note", "size"))
    assert (photo.metric, photo.share, note.share, size.share) == ("roc_auc", 0.25, 0.25, 0.0)
    assert (photo.alone, photo.without, size.without) == (0.5, 0.5, 1.0)
    assert photo.comparison.verdict == "better"
    assert "itself without photo" in photo.comparison.sentence
    with pytest.raises(ConfigError, match="9 modalities have 512 subsets"):
        share_of_score(answered, tuple("abcdefghi"))
