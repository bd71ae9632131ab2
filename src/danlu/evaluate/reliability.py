"""Statistics of several runs: the interquartile mean and related measures over runs and tasks, each with its interval.

A learner that depends on chance has a distribution of scores, and a mean of five runs says little about it. The measures here are those
of Agarwal et al., "Deep reinforcement learning at the edge of the statistical precipice" (2021). Scores are a matrix ``(runs, tasks)``;
with one task a vector will do. With several tasks they should be normalised (0 a random agent, 1 a good one), or the task with the
largest numbers decides.

Intervals are of the percentile bootstrap, stratified: within each task the runs are drawn anew with replacement. They tell what other
*runs* would change, not other tasks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from danlu.errors import ConfigError, DataError
from danlu.evaluate.intervals import Interval

__all__ = [
    "Band",
    "interquartile_mean",
    "learning_curve",
    "optimality_gap",
    "performance_profile",
    "probability_of_improvement",
    "run_intervals",
]

_AT_ONCE = 4_000_000  # numbers drawn in one go, for the memory's sake


@dataclasses.dataclass(frozen=True)
class Band:
    """A curve and the interval at each of its points.

    Attributes:
        at: where, ``(points,)``: steps of a learning curve, thresholds of a profile.
        value, low, high: ``(points,)``.
    """

    at: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def interquartile_mean(scores: Any) -> float:
    """The mean of the middle half of all scores, runs and tasks together; of n scores, ``⌊n/4⌋`` are left out at either end.

    It is less moved by a single run than the mean, and says more about all of them than the median.

    Args:
        scores: ``(runs, tasks)`` or ``(runs,)``.

    Raises:
        DataError: no scores, or one that is not finite.

    Example:
        >>> interquartile_mean([0.0, 2.0, 4.0, 500.0])
        3.0
    """
    return float(_iqm(_matrix(scores)))


def optimality_gap(scores: Any, *, target: float = 1.0) -> float:
    """How far runs fall short of ``target`` on the mean, where scores above it do not count: ``mean(max(target − score, 0))``.

    Args:
        scores: ``(runs, tasks)`` or ``(runs,)``.
        target: the score from which a task counts as solved.

    Raises:
        DataError: no scores, or one that is not finite.

    Example:
        >>> optimality_gap([0.5, 1.0, 9.0, 0.75])
        0.1875
    """
    return float(_gap(target)(_matrix(scores)))


def probability_of_improvement(
    ours: Any, theirs: Any, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """How likely a run of ours is better than one of theirs on a task drawn at random: the mean over tasks of ``P(X > Y) + ½·P(X = Y)``.

    Args:
        ours, theirs: ``(runs, tasks)``, or ``(runs,)`` for one task; the numbers of runs may differ.
        level, resamples, seed: see :func:`run_intervals`; runs of both are drawn anew.

    Returns:
        The probability with its interval; ½ says they are alike.

    Raises:
        DataError: see :func:`run_intervals`; different tasks.

    Reference:
        Agarwal et al. (2021), section 4.3: the Mann-Whitney U statistic over the product of the numbers of runs.

    Example:
        >>> probability_of_improvement([3.0, 2.0], [1.0, 2.0]).value
        0.875
    """
    first, second = _runs(ours), _runs(theirs)
    if first.shape[1] != second.shape[1]:
        raise DataError(f"the scores are of {first.shape[1]} and of {second.shape[1]} tasks; expected the same tasks")

    def better(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """``(…, runs, tasks)`` each, to ``(…)``."""
        of_run = [np.sign(x[..., i, None, :] - y).mean(axis=(-2, -1)) for i in range(x.shape[-2])]
        return np.asarray((np.mean(of_run, axis=0) + 1) / 2)

    rng, size = _check(level, resamples, seed), max(first.size, second.size)
    pairs = zip(_redraw(first, resamples, rng, size=size), _redraw(second, resamples, rng, size=size), strict=True)
    drawn = np.concatenate([better(*pair) for pair in pairs])
    return Interval(float(better(first, second)), *_ends(drawn, level))


def run_intervals(
    scores: Any, *, target: float = 1.0, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> dict[str, Interval]:
    """The measures over runs with their intervals.

    Args:
        scores: ``(runs, tasks)``, or ``(runs,)`` for one task; at least 2 runs.
        target: see :func:`optimality_gap`.
        level: the share of the resamples inside the interval, in (0, 1).
        resamples: >= 10.
        seed: the same seed gives the same intervals.

    Returns:
        ``iqm`` (:func:`interquartile_mean`), ``mean``, ``median`` (of the tasks' means: with one task it is the mean) and
        ``optimality_gap``.

    Raises:
        DataError: scores that are not such a matrix, not finite, or of one run.
        ConfigError: level or resamples out of range.

    Reference:
        Agarwal et al. (2021), sections 4.1 (stratified bootstrap) and 4.3.

    Example:
        >>> intervals = run_intervals(np.linspace(400, 500, 11), target=500)
        >>> str(intervals["iqm"]), str(intervals["optimality_gap"])
        ('450 (427.1 to 472.9)', '50 (31.82 to 69.09)')
    """
    matrix, rng = _runs(scores), _check(level, resamples, seed)
    measures = _measures(target)
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in measures}
    for chunk in _redraw(matrix, resamples, rng):
        for name, measure in measures.items():
            drawn[name].append(measure(chunk))
    return {
        name: Interval(float(measure(matrix)), *_ends(np.concatenate(drawn[name]), level))
        for name, measure in measures.items()
    }


def performance_profile(
    scores: Any, thresholds: Any, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Band:
    """The share of runs, over all tasks, that score more than each threshold.

    Args:
        scores: ``(runs, tasks)``, or ``(runs,)`` for one task; at least 2 runs.
        thresholds: ``(points,)``.
        level, resamples, seed: see :func:`run_intervals`.

    Raises:
        DataError, ConfigError: see :func:`run_intervals`.

    Reference:
        Agarwal et al. (2021), section 4.2, eq. 1 (run-score distributions).

    Example:
        >>> performance_profile([1.0, 2.0, 3.0, 4.0], [0, 2, 3.5]).value.tolist()
        [1.0, 0.5, 0.25]
    """
    matrix, rng = _runs(scores), _check(level, resamples, seed)
    at = np.asarray(thresholds, np.float64).ravel()

    def shares(x: np.ndarray) -> np.ndarray:
        return np.stack([(x > threshold).mean(axis=(-2, -1)) for threshold in at], axis=-1)

    drawn = np.concatenate([shares(chunk) for chunk in _redraw(matrix, resamples, rng)])
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return Band(at, shares(matrix), low, high)


def learning_curve(steps: Any, curves: Any, *, level: float = 0.95, resamples: int = 2000, seed: int = 0) -> Band:
    """The interquartile mean over runs at each point of their learning curves, with its interval.

    Whole runs are drawn anew, so the band of a point and of the next are of the same resamples.

    Args:
        steps: where the curves were measured, ``(points,)``, the same for all.
        curves: ``(runs, points)``, or ``(runs, tasks, points)``.
        level, resamples, seed: see :func:`run_intervals`.

    Raises:
        DataError, ConfigError: see :func:`run_intervals`; curves of another length.

    Example:
        >>> curve = learning_curve([100, 200], [[1.0, 5.0], [2.0, 6.0], [3.0, 7.0], [4.0, 9.0]])
        >>> curve.at.tolist(), curve.value.tolist()
        ([100.0, 200.0], [2.5, 6.5])
    """
    at, array = np.asarray(steps, np.float64).ravel(), _array(curves)
    if array.ndim == 2:
        array = array[:, None]
    if array.ndim != 3 or array.shape[2] != len(at):
        raise DataError(
            f"the curves have the shape {np.shape(curves)} for {len(at)} steps; expected (runs, {len(at)}) or (runs, tasks, {len(at)})",
            hint="measure all runs at the same steps, or interpolate",
        )
    points = [_runs(array[..., i]) for i in range(len(at))]
    drawn, value = [], []
    for matrix in points:
        rng = _check(level, resamples, seed)  # from the same seed: the same runs at each point
        drawn.append(np.concatenate([_iqm(chunk) for chunk in _redraw(matrix, resamples, rng)]))
        value.append(_iqm(matrix))
    low, high = np.quantile(np.array(drawn), [(1 - level) / 2, (1 + level) / 2], axis=1)
    return Band(at, np.array(value), low, high)


def _measures(target: float) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """The measures by name: functions of ``(…, runs, tasks)`` to ``(…)``."""
    return {
        "iqm": _iqm,
        "mean": lambda x: x.mean(axis=(-2, -1)),
        "median": lambda x: np.median(x.mean(axis=-2), axis=-1),
        "optimality_gap": _gap(target),
    }


def _iqm(x: np.ndarray) -> np.ndarray:
    flat = np.sort(x.reshape((*x.shape[:-2], -1)), axis=-1)
    cut = flat.shape[-1] // 4
    return np.asarray(flat[..., cut : flat.shape[-1] - cut].mean(axis=-1))


def _gap(target: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: np.asarray(np.maximum(target - x, 0.0).mean(axis=(-2, -1)))


def _redraw(
    matrix: np.ndarray, resamples: int, rng: np.random.Generator, *, size: int | None = None
) -> Iterator[np.ndarray]:
    """Each task's runs with replacement: ``(some, runs, tasks)`` at a time, ``resamples`` in all; a larger ``size`` has fewer at once."""
    runs, tasks = matrix.shape
    some = max(1, _AT_ONCE // (size or matrix.size))
    for start in range(0, resamples, some):
        places = rng.integers(runs, size=(min(some, resamples - start), runs, tasks))
        yield np.take_along_axis(matrix[None], places, axis=1)


def _ends(drawn: np.ndarray, level: float) -> tuple[float, float]:
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _check(level: float, resamples: int, seed: int) -> np.random.Generator:
    if not 0 < level < 1:
        raise ConfigError(f"level is {level}; expected a share above 0 and below 1")
    if resamples < 10:
        raise ConfigError(f"resamples is {resamples}; expected at least 10")
    return np.random.default_rng(seed)


def _array(scores: Any) -> np.ndarray:
    try:
        array = np.asarray(scores, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"the scores are not an array of numbers: {error}; expected (runs, tasks)") from error
    if not array.size or not np.isfinite(array).all():
        what = "are empty" if not array.size else f"hold {int((~np.isfinite(array)).sum())} that are not finite"
        raise DataError(f"the scores of the runs {what}; expected a number for each run and task")
    return array


def _matrix(scores: Any) -> np.ndarray:
    array = _array(scores)
    if array.ndim not in (1, 2):
        raise DataError(f"the scores have the shape {array.shape}; expected (runs, tasks), or (runs,) for one task")
    return array.reshape(len(array), -1)


def _runs(scores: Any) -> np.ndarray:
    matrix = _matrix(scores)
    if len(matrix) < 2:
        raise DataError("there is one run; an interval needs at least 2", hint="train with more seeds: 10 are usual")
    return matrix
