"""The weights of models in a blend, chosen on answers for rows that none of them learnt from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from danlu.errors import DataError

__all__ = ["certainty", "gain_of", "greedy_weights", "loss_of"]

_LEAST = 1e-7  # a probability of 0 for what came would end every comparison


def loss_of(answers: np.ndarray, truth: np.ndarray, weight: np.ndarray | None = None) -> float:
    """The mean log-loss of probabilities ``(rows, classes)`` for codes, or the mean squared error of values ``(rows,)``.

    Example:
        >>> round(loss_of(np.array([[0.5, 0.5], [0.2, 0.8]]), np.array([0, 1])), 4), loss_of(np.array([1.0]), np.array([3.0]))
        (0.4581, 4.0)
    """
    return float(np.average(_losses(_told(answers, truth), classes=answers.ndim == 2), weights=weight))


def gain_of(
    before: np.ndarray, after: np.ndarray, truth: np.ndarray, weight: np.ndarray | None = None
) -> tuple[float, float, float]:
    """By how much :func:`loss_of` is lower (of values: its root), and the 95 % interval of that, from the same rows one by one.

    Example:
        >>> sure = np.tile([[0.1, 0.9]], (50, 1))
        >>> [round(each, 2) for each in gain_of(sure, sure, np.ones(50, int))]
        [0.0, 0.0, 0.0]
    """
    classes = before.ndim == 2
    losses = [_losses(_told(each, truth), classes=classes) for each in (before, after)]
    by = np.ones(len(truth)) if weight is None else np.asarray(weight, np.float64)
    by = by / by.sum()
    lower = losses[0] - losses[1]
    mean = float(by @ lower)
    error = float(np.sqrt((by**2) @ (lower - mean) ** 2))
    scale = 1.0 if classes else max(float(sum(np.sqrt(by @ each) for each in losses)), 1e-300)
    return mean / scale, (mean - 1.96 * error) / scale, (mean + 1.96 * error) / scale


def greedy_weights(
    answers: Sequence[np.ndarray],
    truth: np.ndarray,
    *,
    weight: np.ndarray | None = None,
    rounds: int = 40,
    draws: int = 1,
    seed: int = 0,
) -> np.ndarray:
    """The weights of models in the mean of their answers, at least 0 and 1 together, by forward selection with replacement.

    It starts with the best single model and adds, again and again, the model with which the mean of all that were added has
    the lowest loss; a model may be added more than once, also where that lowers nothing yet: a small share of another takes
    several of the first. A model's weight is its share of all that were added when the loss was lowest.

    Args:
        answers: of each model for the same rows: probabilities ``(rows, classes)``, or values ``(rows,)``.
        truth: class codes, or values.
        weight: of each row.
        rounds: how often a model is added, at most.
        draws: how often it is done, each time on as many rows drawn from these with replacement; the weights are then the means.
            With few rows, one selection is decided by single rows. 1 takes the rows as they are.
        seed: of these draws.

    Reference:
        Caruana, Niculescu-Mizil, Crew & Ksikes, "Ensemble selection from libraries of models" (ICML 2004), sections 2.1 to 2.3; there,
        models are drawn to make it steadier, and here rows.

    Example:
        >>> low, high = np.array([0.0, 1.0, 2.0]), np.array([2.0, 3.0, 4.0])
        >>> greedy_weights([low, high], np.array([1.0, 2.0, 3.0])).tolist()
        [0.5, 0.5]
    """
    if not answers or rounds < 1 or draws < 1:
        raise DataError(
            f"greedy_weights received {len(answers)} models, {rounds} rounds and {draws} draws; expected 1 or more of each"
        )
    classes = answers[0].ndim == 2
    told = np.stack([_told(each, truth) for each in answers])
    own = np.ones(len(truth)) if weight is None else np.asarray(weight, np.float64)
    if draws == 1:
        return _selected(told, own, rounds, classes)
    found: list[np.ndarray] = []
    rng = np.random.default_rng(seed)
    while len(found) < draws:
        drawn = own * np.bincount(rng.integers(0, len(own), len(own)), minlength=len(own))
        if drawn.sum() > 0:
            found.append(_selected(told, drawn, rounds, classes))
    return np.asarray(np.mean(found, axis=0))


def certainty(first: np.ndarray, other: np.ndarray, truth: np.ndarray, weight: np.ndarray | None = None) -> float:
    """How sure it is that the second answers are better than the first: 0 where it may be chance, 1 where it is not.

    ``(z − 1)/2`` within 0 and 1, with ``z`` the mean difference of the rows' losses over its standard error.

    Args:
        first, other: answers for the same rows: probabilities ``(rows, classes)``, or values ``(rows,)``.
        truth: class codes, or values.
        weight: of each row.

    Example:
        >>> truth = np.array([0.0, 1.0, 2.0, 3.0])
        >>> certainty(truth + 1, truth, truth), certainty(truth, truth + 1, truth)
        (1.0, 0.0)
    """
    before, after = (_losses(_told(each, truth), classes=first.ndim == 2) for each in (first, other))
    shares = np.ones(len(truth)) if weight is None else np.asarray(weight, np.float64)
    shares = shares / shares.sum()
    gain = before - after
    mean = float(gain @ shares)
    error = float(np.sqrt(shares**2 @ (gain - mean) ** 2))
    if not error > 0:
        return float(mean > 0)
    return float(np.clip((mean / error - 1) / 2, 0, 1))


def _selected(told: np.ndarray, weight: np.ndarray, rounds: int, classes: bool) -> np.ndarray:
    added, shares = np.zeros(len(told)), np.zeros(len(told))
    total, best = np.zeros(told.shape[1]), np.inf
    for count in range(1, rounds + 1):
        losses = _losses((total + told) / count, classes=classes) @ weight / weight.sum()
        chosen = int(np.argmin(losses))
        added[chosen] += 1
        total = total + told[chosen]
        if losses[chosen] < best - 1e-12:
            best, shares = losses[chosen], added / count
    return shares


def _told(answers: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """What the loss of a mean needs of an answer, and is a mean itself: the probability of what came, or the error."""
    answers = np.asarray(answers, np.float64)
    return answers[np.arange(len(truth)), truth] if answers.ndim == 2 else answers - truth


def _losses(told: np.ndarray, *, classes: bool) -> np.ndarray:
    return np.asarray(-np.log(np.maximum(told, _LEAST)) if classes else told**2)
