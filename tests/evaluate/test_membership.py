"""Attacks on who was in a training: their scores by SciPy, their proofs on mechanisms whose ε is known, and what is said."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from danlu.errors import ConfigError
from danlu.evaluate.lira import (
    Moments,
    auc,
    best_threshold,
    confidence,
    epsilon_of_guesses,
    epsilon_of_rates,
    exact_share,
    found_at,
)
from danlu.evaluate.membership import Stated, by_canaries, by_shadows

RNG = np.random.default_rng(17)


def test_confidence_is_the_logit_of_the_true_class():
    p = RNG.dirichlet([1, 1, 1], size=50)
    y = RNG.integers(0, 3, 50)
    own = p[np.arange(50), y]
    np.testing.assert_allclose(confidence(y, p), np.log(own / (1 - own)), rtol=1e-6)
    assert np.isfinite(confidence(np.array([0]), np.array([[1.0, 0.0]]))).all()
    assert confidence(np.zeros(2), np.array([0.1, 1.0]))[0] > confidence(np.zeros(2), np.array([0.1, 1.0]))[1]


def test_scores_are_the_ratio_of_two_gaussians_each_of_its_own_shadows():
    values, member = RNG.normal(size=(64, 5)), np.arange(64)[:, None] % 2 == np.arange(5) % 2
    own = RNG.normal(size=5)
    online, offline = (Moments(values, member).scores(own, mode) for mode in ("online", "offline"))
    for row in range(5):
        inside, out = values[member[:, row], row], values[~member[:, row], row]
        ratio = stats.norm.logpdf(own[row], inside.mean(), inside.std(ddof=1)) - stats.norm.logpdf(
            own[row], out.mean(), out.std(ddof=1)
        )
        assert online[row] == pytest.approx(ratio)
        assert offline[row] == pytest.approx((own[row] - out.mean()) / out.std(ddof=1))
    rest = Moments(values[1:], member[1:]).scores(values[0])
    np.testing.assert_allclose(Moments(values, member).scores(values[0], without=0), rest, rtol=1e-9)


def test_few_shadows_share_one_spread():
    values, member = RNG.normal(size=(8, 400)), np.repeat([True, False], 4)[:, None] & np.ones(400, bool)
    own = np.zeros(400)
    spread = (own - values[4:].mean(axis=0)) / Moments(values, member).scores(own, "offline")
    assert np.ptp(spread) < 1e-9
    assert spread[0] == pytest.approx(1.0, abs=0.1)


def test_shares_and_areas_are_those_of_scipy():
    found = exact_share(7, 50)
    told = stats.binomtest(7, 50).proportion_ci(0.95, "exact")
    assert (found.low, found.high) == pytest.approx((told.low, told.high))
    inside, out = RNG.normal(1, 1, 300), RNG.normal(0, 1, 200)
    area = stats.mannwhitneyu(inside, out).statistic / 300 / 200
    assert auc(inside, out).value == pytest.approx(area)
    draws = [auc(RNG.normal(1, 1, 80), RNG.normal(0, 1, 60)) for _ in range(200)]
    truth = stats.norm.cdf(1 / math.sqrt(2))
    assert np.mean([each.low < truth < each.high for each in draws]) > 0.9
    assert found_at(inside, out, 0.001) is None, "200 others cannot tell a share of 1 in 1,000"
    at = found_at(inside, out, 0.01)
    assert at is not None
    assert at.value == pytest.approx((inside > np.sort(out)[-3]).mean())


def answered(rows: int, epsilon: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Randomised response: who was there, and for each a truth that is told with probability ``e^ε/(1 + e^ε)``; ε is exactly that."""
    member = rng.random(rows) < 0.5
    return member, member ^ (rng.random(rows) >= 1 / (1 + math.exp(-epsilon)))


def test_a_proof_stays_below_the_true_epsilon_and_comes_near_it():
    rates, guesses = [], []
    for number in range(60):
        member, told = answered(2000, 1.0, np.random.default_rng(number))
        rates.append(
            epsilon_of_rates(int(told[member].sum()), int(member.sum()), int(told[~member].sum()), int((~member).sum()))
        )
        guesses.append(epsilon_of_guesses(int((told == member).sum()), 2000, 2000))
    for proved in map(np.array, (rates, guesses)):
        assert (proved > 1).mean() <= 0.1
        assert np.median(proved) > 0.8


def test_guesses_that_are_all_right_prove_the_closed_form():
    p = 0.05 ** (1 / 100)
    assert epsilon_of_guesses(100, 100, 100) == pytest.approx(math.log(p / (1 - p)), rel=1e-6)
    assert epsilon_of_guesses(100, 100, 100, delta=1e-3) < epsilon_of_guesses(100, 100, 100)
    assert epsilon_of_guesses(0, 0, 10) == 0
    with pytest.raises(ConfigError, match="11 right of 10 guesses"):
        epsilon_of_guesses(11, 10, 20)


def gaussian(noise: float, rows: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Scores of a Gaussian mechanism: each row adds 1 to a number of its own, which is told with noise."""
    member = np.arange(rows) < rows // 2
    return member + noise * RNG.normal(size=rows), member


def test_a_statement_is_kept_with_its_noise_and_found_to_be_false_without():
    # of noise 1 and one look, the true epsilon at delta 1e-5 is 4.38 (Balle & Wang 2018)
    stated = Stated(4.38, 1e-5)
    for noise, broken in ((1.0, False), (0.05, True)):
        (own, member), (others, theirs) = gaussian(noise), gaussian(noise)
        found = by_shadows(own, member, (others[theirs], others[~theirs]), delta=1e-5, stated=stated, shadows=8)
        assert found.epsilon > 0.5
        assert found.broken is broken
        assert ("FALSE" in str(found)) is broken
        assert found.as_dict()["epsilon"]["broken"] is broken
        canaries = by_canaries(own, member, delta=1e-5, stated=stated)
        assert canaries.broken is broken
    assert max(map(len, str(found).split("\n"))) <= 80


def test_scores_that_tell_nothing_prove_nothing():
    own, member = RNG.normal(size=1000), np.arange(1000) < 500
    found = by_shadows(own, member, (own[::2], own[1::2]), delta=0.0, shadows=4)
    assert found.epsilon < 0.3
    assert found.auc.low < 0.5 < found.auc.high
    assert by_canaries(own, member, delta=0.0).epsilon < 0.3
    assert "proves" in found.verdict
    assert best_threshold(own + 10, own - 10) > own.min() - 10


def test_a_quantile_limit_is_chosen_where_it_proves_most():
    inside, out = np.arange(1000.0), np.arange(1000.0) - 900
    inside[:50] = -2000.0  # so nobody can be said not to have been there
    limit = best_threshold(inside, out)
    assert limit == pytest.approx(100, abs=10)
