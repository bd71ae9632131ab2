"""Off-policy estimates: what rows can tell, and how often the intervals hold."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from danlu.errors import DataError
from danlu.evaluate import intervals
from danlu.evaluate.logged import ABSENT, DEPENDS, Logged, sure_interval


def drawn(rng: np.random.Generator, rows: int, least: float = 0.1) -> tuple[Logged, float]:
    """A log of three actions with rewards of 0 and 1, under a policy, and the policy's value."""
    logging, policy = rng.dirichlet(np.ones(3)) * (1 - 3 * least) + least, rng.dirichlet(np.ones(3))
    means = rng.random(3)
    action = rng.choice(3, rows, p=logging)
    reward = (rng.random(rows) < means[action]).astype(float)
    model = np.tile(rng.random(3), (rows, 1))
    return Logged(action, reward, logging[action], model, np.tile(policy, (rows, 1))), float(policy @ means)


def test_intervals_hold_the_truth() -> None:
    rng, held = np.random.default_rng(0), {"dr_value": 0, "snips_value": 0, "ips_value": 0, "sure": 0}
    for _ in range(30):
        log, truth = drawn(rng, 100)
        found = {**intervals(log), "sure": sure_interval(log, 0.0, 1.0)}
        for name in held:
            held[name] += found[name].low <= truth <= found[name].high
    assert min(held.values()) >= 25  # of 95 % in 30 tries, fewer once in 300
    assert held["sure"] >= 28


def test_no_overlap_no_value() -> None:
    log = Logged(np.zeros(40, int), np.ones(40), np.full(40, 0.5), np.full((40, 2), 0.3), np.tile([0.0, 1.0], (40, 1)))
    assert log.effective_rows == 0
    assert set(log.scores()) == {"dm_value"}
    assert log.overlap_z == -np.inf


def test_few_effective_rows_widen_the_interval() -> None:
    rng = np.random.default_rng(1)
    action, reward = np.array([1] * 3 + [0] * 97), rng.random(100)
    log = Logged(action, reward, np.full(100, 0.5), np.zeros((100, 2)), np.tile([0.0, 1.0], (100, 1)))
    many = Logged(1 - action, reward, np.full(100, 0.5), np.zeros((100, 2)), np.tile([0.0, 1.0], (100, 1)))
    width = [each.scores()["snips_value"].high - each.scores()["snips_value"].low for each in (log, many)]
    assert width[0] > 4 * width[1]


def test_the_logging_policy_is_worth_its_rewards() -> None:
    log, _ = drawn(np.random.default_rng(2), 50)
    own = log.following(None)
    assert all(value == pytest.approx(log.reward.mean()) for value in own.measures().values())
    assert own.effective_rows == 50


def test_unknown_actions_have_no_weight() -> None:
    log, _ = drawn(np.random.default_rng(3), 30)
    action = np.where(np.arange(30) < 5, -1, log.action)
    strange = Logged(action, log.reward, log.propensity, log.values, log.policy)
    assert (strange.weights[:5] == 0).all()
    assert strange.measures()["ips_value"] == pytest.approx((log.weights * log.reward)[5:].sum() / 30)


def test_propensities_of_zero_are_refused() -> None:
    with pytest.raises(DataError, match="propensities of a log are 0"):
        Logged(np.zeros(2, int), np.ones(2), np.array([0.5, 0.0]), np.zeros((2, 2)), None)


def test_a_page_of_one_place_is_a_row() -> None:
    log, _ = drawn(np.random.default_rng(4), 80)
    one = {name: getattr(log, name)[:, None] for name in ("action", "reward", "propensity", "values", "policy")}
    for depends in DEPENDS:
        page = Logged(**one, depends=depends)
        assert page.scores() == log.scores()
        assert sure_interval(page, 0.0, 1.0) == sure_interval(log, 0.0, 1.0)
        assert (page.effective_rows, page.overlap_z) == (log.effective_rows, log.overlap_z)


def pages(rng: np.random.Generator, depends: str = "place", rows: int = 150) -> tuple[Logged, float]:
    """Pages of two of three items, the second place looked at less, the items of each place drawn in turn; and the policy's value."""
    logging, worth = rng.dirichlet(np.ones(3)) * 0.7 + 0.1, rng.random(3)
    first = rng.choice(3, rows, p=logging)
    left = np.where(np.eye(3, dtype=bool)[first], 0.0, logging)
    left /= left.sum(1, keepdims=True)
    second = (rng.random((rows, 1)) > left.cumsum(1)).sum(1).clip(max=2)
    action = np.stack([first, second], axis=1)
    likely = np.stack([worth[first], 0.5 * worth[second]], axis=1)
    at_second = np.array(
        [sum(logging[b] * logging[a] / (1 - logging[b]) for b in range(3) if b != a) for a in range(3)]
    )
    below = at_second[second] if depends == "place" else left[np.arange(rows), second]
    order = np.argsort(-worth)[:2]
    policy, model = np.tile(np.eye(3)[order], (rows, 1, 1)), np.tile(rng.random((2, 3)), (rows, 1, 1))
    reward = (rng.random(action.shape) < likely).astype(float)
    log = Logged(action, reward, np.stack([logging[first], below], axis=1), model, policy, depends)
    return log, float(worth[order] @ [1, 0.5])


@pytest.mark.parametrize("depends", ["place", "above"])
def test_intervals_of_pages_hold_the_truth(depends: str) -> None:
    rng, held = np.random.default_rng(5), {"dr_value": 0, "ips_value": 0, "sure": 0}
    for _ in range(30):
        log, truth = pages(rng, depends)
        found = {**intervals(log, ("dr_value", "ips_value")), "sure": sure_interval(log, 0.0, 1.0)}
        for name in held:
            held[name] += found[name].low <= truth <= found[name].high
    assert min(held.values()) >= 25


def test_a_place_that_is_not_there_brings_nothing_under_any_policy() -> None:
    log, _ = pages(np.random.default_rng(6), rows=40)
    gone = np.arange(40)[:, None] + np.array([[0, 1]]) >= 40  # the last page has one place
    short = dataclasses.replace(log, action=np.where(gone, ABSENT, log.action), reward=np.where(gone, 0.0, log.reward))
    assert short.by_place[-1, 1] == 1
    for name, each in short.terms_by_place.items():
        assert each[-1, 1] == 0, name
    np.testing.assert_array_equal(short.terms_by_place["dr_value"][:-1], log.terms_by_place["dr_value"][:-1])
    assert sure_interval(short, 0.2, 1.0).known  # rewards are counted from 0


def test_pages_that_do_not_fit_together_are_refused() -> None:
    log, _ = pages(np.random.default_rng(7), rows=10)
    with pytest.raises(DataError, match="expected one of place, above, page"):
        dataclasses.replace(log, depends="clicks")
    with pytest.raises(DataError, match="different lengths"):
        dataclasses.replace(log, reward=log.reward[:, 0])
