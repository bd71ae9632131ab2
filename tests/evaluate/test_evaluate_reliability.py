"""Statistics over runs: by hand, against scipy and rliable, and the intervals' coverage."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from danlu.errors import ConfigError, DataError
from danlu.evaluate import reliability
from danlu.evaluate.reliability import (
    interquartile_mean,
    learning_curve,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
    run_intervals,
)


def scores(count: int = 7, tasks: int = 3, seed: int = 0) -> np.ndarray:
    """Of three tasks, the last without spread, with ties."""
    drawn = np.random.default_rng(seed).normal(1.0, 0.5, (count, tasks)).round(1)
    drawn[:, -1] = 0.5
    return drawn


@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (5, 2), (7, 3), (10, 1)])
def test_the_interquartile_mean_is_scipys_trimmed_mean(shape: tuple[int, int]) -> None:
    stats = pytest.importorskip("scipy.stats")
    matrix = np.random.default_rng(0).normal(size=shape)
    assert interquartile_mean(matrix) == pytest.approx(stats.trim_mean(matrix, 0.25, axis=None))
    assert interquartile_mean(matrix[:, 0]) == pytest.approx(stats.trim_mean(matrix[:, 0], 0.25))


def test_by_hand() -> None:
    matrix = np.array([[0.0, 10.0], [1.0, 20.0], [2.0, 60.0]])
    found = run_intervals(matrix, target=2.0)
    assert found["iqm"].value == (1 + 2 + 10 + 20) / 4
    assert found["mean"].value == (1 + 30) / 2
    assert found["median"].value == (1 + 30) / 2
    assert found["optimality_gap"].value == optimality_gap(matrix, target=2.0) == (2 + 1 + 0 + 0 + 0 + 0) / 6
    # Task 1: 1 > 0, 1 = 1, 0 = 0, 0 < 1: ¼·(1 + ½ + ½ + 0); task 2: always better.
    assert probability_of_improvement([[1.0, 9.0], [0.0, 9.0]], [[0.0, 1.0], [1.0, 1.0]]).value == (0.5 + 1) / 2


def test_resamples_stay_within_their_task() -> None:
    """A task without spread keeps its value in every resample; with tasks of no spread there is no interval at all."""
    still = run_intervals(np.tile([1.0, 5.0, 9.0], (4, 1)))
    assert {(each.low, each.high) for each in still.values()} == {(0.0, 0.0), (5.0, 5.0)}
    found = run_intervals(scores())["mean"]
    again = run_intervals(scores())["mean"]
    other = run_intervals(scores(), seed=1)["mean"]
    assert found == again
    assert found.low != other.low
    assert found.low < found.value < found.high
    assert run_intervals(scores(), level=0.5)["mean"].low > found.low


def test_chunks_change_nothing_but_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run_intervals(scores()), probability_of_improvement(scores(), scores(4, seed=1))
    monkeypatch.setattr(reliability, "_AT_ONCE", 200)
    assert run_intervals(scores()) == whole[0]
    parts = probability_of_improvement(scores(), scores(4, seed=1))
    assert parts.value == whole[1].value
    assert parts.low == pytest.approx(whole[1].low, abs=0.05)


def test_the_interval_covers_as_often_as_it_says() -> None:
    """Of 300 sets of 20 normal runs, the 90 % interval of the mean holds the true one in 83 to 93 %: percentile intervals are short."""
    rng = np.random.default_rng(0)
    found = [run_intervals(rng.normal(size=20), level=0.9, resamples=300)["mean"] for _ in range(300)]
    assert 0.83 < np.mean([each.low <= 0 <= each.high for each in found]) < 0.93


def test_profiles_and_curves() -> None:
    matrix = scores()
    profile = performance_profile(matrix, [-9.0, 0.5, 1.0, 9.0])
    assert profile.value.tolist() == [1.0, *((matrix > t).mean() for t in (0.5, 1.0)), 0.0]
    assert ((profile.low <= profile.value) & (profile.value <= profile.high)).all()
    assert profile.low[0] == 1
    curves = np.random.default_rng(1).normal(size=(9, 4))
    curve = learning_curve([1, 2, 3, 4], curves)
    points = [run_intervals(curves[:, i])["iqm"] for i in range(4)]
    assert curve.value.tolist() == [each.value for each in points]
    assert curve.low.tolist() == pytest.approx([each.low for each in points])
    several = learning_curve([1, 2], np.stack([matrix, matrix + 1], axis=2))
    assert several.value[1] == pytest.approx(several.value[0] + 1)
    assert several.high[1] == pytest.approx(several.high[0] + 1)  # the same resamples


def test_rliable_says_the_same(golden: Any) -> None:
    matrix, other, taus = scores(10), scores(8, seed=1), np.array([0.0, 0.5, 1.0])

    def theirs(library: Any) -> dict[str, Any]:
        from rliable import metrics

        def middle(x: Any) -> Any:
            return np.array([metrics.aggregate_iqm(x)])

        _, ends = library.get_interval_estimates({"a": matrix}, middle, reps=5000)
        profile, _ = library.create_performance_profile({"a": matrix}, taus, reps=10)
        return {
            "iqm": metrics.aggregate_iqm(matrix),
            "median": metrics.aggregate_median(matrix),
            "mean": metrics.aggregate_mean(matrix),
            "optimality_gap": metrics.aggregate_optimality_gap(matrix),
            "better": metrics.probability_of_improvement(matrix, other),
            "ends": ends["a"][:, 0],
            "profile": profile["a"],
        }

    expected = golden("rliable.library", theirs)
    found = run_intervals(matrix, resamples=5000)
    for name in ("iqm", "median", "mean", "optimality_gap"):
        assert found[name].value == pytest.approx(float(expected[name]))
    assert [found["iqm"].low, found["iqm"].high] == pytest.approx(expected["ends"].tolist(), abs=0.02)
    assert probability_of_improvement(matrix, other).value == pytest.approx(float(expected["better"]))
    assert performance_profile(matrix, taus).value.tolist() == pytest.approx(expected["profile"].tolist())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1.0, np.nan], "hold 1 that are not finite"),
        ([], "are empty"),
        ([5.0], "there is one run"),
        (np.zeros((2, 2, 2)), r"the shape \(2, 2, 2\)"),
        (["a", "b"], "not an array of numbers"),
        ([[1.0], [1.0, 2.0]], "not an array of numbers"),
    ],
)
def test_scores_that_are_none(given: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        run_intervals(given)


def test_other_mistakes() -> None:
    with pytest.raises(DataError, match="of 3 and of 2 tasks"):
        probability_of_improvement(scores(), scores(tasks=2))
    with pytest.raises(DataError, match="for 3 steps"):
        learning_curve([1, 2, 3], np.zeros((4, 2)))
    with pytest.raises(ConfigError, match=r"level is 95"):
        run_intervals(scores(), level=95)
    with pytest.raises(ConfigError, match="expected at least 10"):
        performance_profile(scores(), [0.0], resamples=3)
