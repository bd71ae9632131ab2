"""Language models measured: n-grams against a dictionary's counting, scores and intervals of token losses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from danlu.errors import ConfigError, DataError
from danlu.evaluate import TokenLosses, compare
from danlu.evaluate.ngrams import NGrams

RNG = np.random.default_rng(0)
TRAIN = [[int(t) for t in RNG.integers(0, 5, n)] for n in (30, 7, 2, 12)]
TEST = [[int(t) for t in RNG.integers(0, 6, n)] for n in (20, 5)]


def flat(texts: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([np.asarray(text, int) for text in texts]), np.cumsum([0, *map(len, texts)])


def counted(train: list[list[int]], test: list[list[int]], vocabulary: int, order: int) -> list[float]:
    """Kneser–Ney by its formula, with dictionaries, one token at a time."""
    extra = max(order - 2, 0)
    full = [[text[0]] * extra + text for text in train]
    longest = Counter(tuple(t[j - order + 1 : j + 1]) for t in full for j in range(extra + 1, len(t)))
    counts = {order: longest}
    for n in range(order - 1, 0, -1):
        counts[n] = Counter(gram[1:] for gram in {gram[-(n + 1) :] for gram in longest})

    def probability(token: int, before: list[int]) -> float:
        p = 1 / vocabulary
        for n in range(1, order + 1):
            context = tuple(before[len(before) - n + 1 :]) if n > 1 else ()
            follow = {gram[-1]: count for gram, count in counts[n].items() if gram[:-1] == context}
            once, twice = (sum(count == k for count in counts[n].values()) for k in (1, 2))
            d = once / (once + 2 * twice) if once else 0.5
            if follow:
                total = sum(follow.values())
                p = max(follow.get(token, 0) - d, 0) / total + d * len(follow) / total * p
        return p

    padded = [[text[0]] * extra + text for text in test]
    return [-np.log(probability(t[j], t[:j])) for t in padded for j in range(extra + 1, len(t))]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_ngrams_are_kneser_neys(order: int) -> None:
    model = NGrams(*flat(TRAIN), vocabulary=6, order=order)
    np.testing.assert_allclose(model.losses(*flat(TEST)), counted(TRAIN, TEST, 6, order), rtol=1e-12)


def test_ngram_probabilities_sum_to_one() -> None:
    model = NGrams(*flat(TRAIN), vocabulary=6, order=3)
    for before in ([0, 1], [4, 4], [5, 5], [2]):
        each = [np.exp(-model.losses(*flat([[*before, token]]))[-1]) for token in range(6)]
        assert sum(each) == pytest.approx(1)


def test_ngrams_refuse_what_they_cannot_count() -> None:
    with pytest.raises(ConfigError, match="order is 0"):
        NGrams(*flat(TRAIN), vocabulary=6, order=0)
    with pytest.raises(DataError, match="from 0 to 3"):
        NGrams(*flat(TRAIN), vocabulary=4, order=2)
    with pytest.raises(DataError, match="none to count"):
        NGrams(*flat([[1], [2]]), vocabulary=4, order=2)


def test_scores_of_lines() -> None:
    losses, bounds = RNG.exponential(2.0, 89), np.cumsum([0, 31, 1, 41, 20])
    found = TokenLosses.of(losses, bounds, 178)
    assert found.counts.tolist() == [30, 40, 19]
    np.testing.assert_allclose(found.sums, [losses[:30].sum(), losses[30:70].sum(), losses[70:].sum()])
    scores = found.scores()
    assert scores["token_loss"].value == pytest.approx(losses.mean())
    assert scores["perplexity"].value == pytest.approx(np.exp(losses.mean()))
    assert scores["bits_per_character"].value == pytest.approx(losses.sum() / np.log(2) / 178)
    assert not scores["perplexity"].known, "three lines are too few"
    with pytest.raises(DataError, match="90 losses for 89"):
        TokenLosses.of(np.ones(90), bounds, 178)


def test_a_stream_is_measured_in_blocks() -> None:
    for tokens, size in ((50, 50), (5_000, 100), (30_000, 300), (500_000, 1024)):
        found = TokenLosses.of(np.ones(tokens), np.array([0, tokens + 1]), tokens)
        assert found.counts.sum() == tokens
        assert found.counts[0] == size
    # What is alike within a block makes the interval wider than single tokens would.
    alike = np.repeat(RNG.normal(2, 1, 100), 100)
    blocks = TokenLosses.of(alike, np.array([0, 10_001]), 10_000).scores()["token_loss"]
    assert blocks.high - blocks.low == pytest.approx(2 * 1.96 * alike.std() / 10, rel=0.3)


def test_models_are_compared_token_by_token() -> None:
    bounds = np.array([0, 20_001])
    hard = np.repeat(RNG.normal(2, 1, 200), 100)
    ours, theirs = (TokenLosses.of(hard + RNG.normal(shift, 0.1, 20_000), bounds, 20_000) for shift in (0, 0.05))
    found = compare(ours, theirs, "counting")
    assert (found.verdict, found.metric) == ("better", "token_loss")
    assert found.difference.low < 0.05 < found.difference.high + 0.01
    assert "better than counting" in found.sentence
    assert compare(theirs, ours, "counting").verdict == "worse"
    assert compare(ours, ours, "itself").verdict == "undecided"
    with pytest.raises(DataError, match="different tokens"):
        compare(ours, TokenLosses.of(np.ones(50), np.array([0, 51]), 50), "other")
