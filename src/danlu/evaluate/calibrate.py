"""Probabilities that mean what they say: temperature scaling, and isotonic regression where rows allow.

Both are monotone, so they keep the order of the rows within a class (isotonic regression makes ties). Whether they help is judged by
cross-fitting: each part of the held-out rows is calibrated by what was fitted to the others, and a calibration is kept only if the log
loss of these is lower than without by more than its standard error.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from danlu.errors import DataError, unknown_name

__all__ = ["CALIBRATIONS", "Calibrated", "calibrated", "fit_isotonic", "fit_temperature", "interpolated", "scaled"]

CALIBRATIONS = ("auto", "temperature", "isotonic", "none")
_RANGE = (0.05, 20.0)  # temperatures that are tried
_LEAST = 1e-4  # nats that a calibration must save to be worth a sentence
_FEWEST = 20  # rows below which nothing is calibrated unless it is asked for
_MANY = 10_000  # rows from which isotonic regression is tried
_PARTS = 5  # of the rows, for cross-fitting
_TINY = float(np.finfo(np.float64).eps)


@dataclasses.dataclass(frozen=True, eq=False)
class Calibrated:
    """A calibration, and what it is worth.

    Attributes:
        how: ``"temperature"``, ``"isotonic"`` or ``"none"``.
        temperature: for the first.
        knots: for the second: probabilities of the second class and what they become, ``(2, knots)``.
        rows: how many it was fitted to.
        before, after: the mean log loss of these rows (nats) without, and cross-fitted.
    """

    how: str
    temperature: float | None = None
    knots: np.ndarray | None = None
    rows: int = 0
    before: float = float("nan")
    after: float = float("nan")


def scaled(probability: Any, temperature: Any) -> Any:
    """Probabilities ``(…, classes)`` at a temperature: ``p_k^(1/T) / Σ_j p_j^(1/T)``; above 1 they are less sure. NumPy or JAX.

    Example:
        >>> scaled(np.array([[0.8, 0.2]]), 2.0).round(3).tolist()
        [[0.667, 0.333]]
    """
    xp = probability.__array_namespace__()
    logs = xp.log(xp.maximum(probability, xp.finfo(probability.dtype).tiny)) / temperature
    powers = xp.exp(logs - logs.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def interpolated(probability: Any, knots: Any) -> Any:
    """Probabilities of two classes ``(…, 2)``, where that of the second is carried from ``knots[0]`` to ``knots[1]``. NumPy or JAX."""
    xp = probability.__array_namespace__()
    second = xp.interp(probability[..., 1], knots[0], knots[1])
    return xp.stack([1 - second, second], axis=-1)


def fit_temperature(probability: np.ndarray, truth: np.ndarray, weight: np.ndarray | None = None) -> float:
    """The temperature of the lowest log loss, between 0.05 and 20.

    With ``β = 1/T`` the log loss ``Σ_i w_i (ln Σ_k p_ik^β − β Σ_k q_ik ln p_ik)`` is convex, and the root of its derivative is found. The
    truth ``q`` is smoothed as by one row more that is of no class: ``q_ik = (n·[k = y_i] + 1/K) / (n + 1)``; without it, rows that are
    all predicted rightly would want to be infinitely sure.

    Args:
        probability: ``(rows, classes)``.
        truth: class codes ``(rows,)``.
        weight: ``(rows,)``; None is 1 each.

    Raises:
        DataError: no rows.

    Reference:
        Guo, Pleiss, Sun & Weinberger, "On calibration of modern neural networks" (2017), arXiv:1706.04599; there the logits of one
        network are divided, here the logarithms of the mean probabilities. Smoothing: Platt (1999), section 2.2, for ``K`` classes.

    Example:
        >>> sure = np.tile([[0.01, 0.99]], (100, 1))
        >>> round(fit_temperature(sure, np.arange(100) % 10 > 0), 2)  # 99 % sure and right in 90 % of the rows
        2.13
    """
    from scipy.optimize import brentq

    probability, truth = np.asarray(probability, np.float64), np.asarray(truth, np.int64)
    rows = len(probability)
    if not rows:
        raise DataError("a temperature is fitted to held-out rows, and there are none")
    by = np.ones(rows) if weight is None else np.asarray(weight, np.float64)
    logs = np.log(np.maximum(probability, np.finfo(np.float64).tiny))
    count = by.sum()
    wanted = (count * logs[np.arange(rows), truth] + logs.mean(axis=1)) / (count + 1)

    def slope(beta: float) -> float:
        """The derivative of the mean log loss by β."""
        return float(by @ ((scaled(probability, 1 / beta) * logs).sum(axis=1) - wanted) / count)

    low, high = 1 / _RANGE[1], 1 / _RANGE[0]
    if slope(low) >= 0:
        return _RANGE[1]
    return _RANGE[0] if slope(high) <= 0 else float(1 / brentq(slope, low, high, xtol=1e-12))


def fit_isotonic(probability: np.ndarray, truth: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """The knots ``(2, knots)`` of the growing function of the second class's probability with the least squared error.

    Its values are kept from 0 and 1 by ``1/(n + 2)``, since one row that is otherwise would cost infinitely much.

    Reference: Zadrozny & Elkan, "Transforming classifier scores into accurate multiclass probability estimates" (2002).
    """
    from sklearn.isotonic import IsotonicRegression

    second, right = np.asarray(probability, np.float64)[:, 1], np.asarray(truth, np.float64)
    found = IsotonicRegression(out_of_bounds="clip").fit(second, right, sample_weight=weight)
    least = 1 / (len(second) + 2)
    return np.stack([found.X_thresholds_, np.clip(found.y_thresholds_, least, 1 - least)]).astype(np.float64)


def calibrated(
    probability: np.ndarray,
    truth: np.ndarray,
    *,
    how: str = "auto",
    weight: np.ndarray | None = None,
    folds: np.ndarray | None = None,
) -> Calibrated:
    """The calibration that held-out rows ask for.

    Args:
        probability: ``(rows, classes)``, for rows that were not learnt from.
        truth: class codes ``(rows,)``.
        how: ``"auto"`` takes the temperature, or with two classes and 10,000 rows or more isotonic regression, whichever has the lower
            cross-fitted log loss, if that is lower than without by more than its standard error; the other names are taken without asking.
        weight: ``(rows,)``; None is 1 each.
        folds: the part of each row for cross-fitting, ``(rows,)``; None deals the rows out to five.

    Raises:
        ConfigError: an unknown name.
        DataError: isotonic regression of other than two classes, or of rows of one class.

    Example:
        >>> sure = np.tile([[0.01, 0.99]], (100, 1))
        >>> found = calibrated(sure, np.arange(100) % 10 > 0)
        >>> found.how, round(found.before, 2), round(found.after, 2)
        ('temperature', 0.47, 0.34)
    """
    if how not in CALIBRATIONS:
        raise unknown_name("calibration", how, CALIBRATIONS)
    probability, truth = np.asarray(probability, np.float64), np.asarray(truth, np.int64)
    rows, classes = probability.shape
    alone = how == "auto" and (rows < _FEWEST or len(np.unique(truth)) < 2)
    if how == "none" or alone or not rows:
        return Calibrated("none", rows=rows)
    if how == "isotonic" and (classes != 2 or len(np.unique(truth)) < 2):
        raise DataError(f"isotonic calibration needs rows of two classes; these are of {len(np.unique(truth))}")
    by = np.ones(rows) if weight is None else np.asarray(weight, np.float64)
    tried = ("temperature", *(("isotonic",) if classes == 2 and rows >= _MANY else ())) if how == "auto" else (how,)
    part = _dealt(rows) if folds is None else np.unique(folds, return_inverse=True)[1]
    plain = _losses(probability, truth)
    crossed = {name: _crossed(name, probability, truth, by, part) for name in tried}
    before, after = _mean(plain, by), {name: _mean(losses, by) for name, losses in crossed.items()}
    best = min(after, key=lambda name: after[name])
    if how == "auto" and not _saves(plain - crossed[best], by):
        return Calibrated("none", rows=rows, before=before, after=after[best])
    if best == "isotonic":
        knots = fit_isotonic(probability, truth, by)
        return Calibrated(best, None, knots, rows, before, after[best])
    return Calibrated(best, fit_temperature(probability, truth, by), None, rows, before, after[best])


def _dealt(rows: int) -> np.ndarray:
    return np.random.default_rng(0).permutation(rows) % _PARTS


def _losses(probability: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.asarray(-np.log(np.clip(probability[np.arange(len(truth)), truth], _TINY, 1)))


def _mean(values: np.ndarray, by: np.ndarray) -> float:
    return float(by @ values / by.sum())


def _saves(gains: np.ndarray, by: np.ndarray) -> bool:
    """Whether the rows gain anything worth a sentence in the mean, and more than chance explains: a standard error.

    Of folds this matters most: their mean is less sure than each of them, and a temperature fitted to single ones is a little too high.
    """
    gain = _mean(gains, by)
    if not np.isfinite(gain):
        return False
    error = float(np.sqrt((by**2 * (gains - gain) ** 2).sum()) / by.sum())
    return gain > max(_LEAST, error)


def _crossed(how: str, probability: np.ndarray, truth: np.ndarray, by: np.ndarray, part: np.ndarray) -> np.ndarray:
    """The rows' losses where each part of them is calibrated by what was fitted to the others; of one part they are unknown."""
    if part.max() == 0:
        return np.full(len(truth), np.inf)
    found = np.empty_like(probability)
    for number in range(int(part.max()) + 1):
        own, others = part == number, part != number
        if how == "temperature":
            found[own] = scaled(probability[own], fit_temperature(probability[others], truth[others], by[others]))
        else:
            knots = fit_isotonic(probability[others], truth[others], by[others])
            found[own] = interpolated(probability[own], knots)
    return _losses(found, truth)
