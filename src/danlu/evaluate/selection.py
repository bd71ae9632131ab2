"""The weights of models in a blend, chosen on answers for rows that none of them learnt from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from danlu.errors import DataError

__all__ = ["greedy_weights", "loss_of"]

_LEAST = 1e-7  # a probability of 0 for what came would end every comparison


def loss_of(answers: np.ndarray, truth: np.ndarray, weight: np.ndarray | None = None) -> float:
    """The mean log-loss of probabilities ``(rows, classes)`` for codes, or the mean squared error of values ``(rows,)``.

    Example:
        >>> round(loss_of(np.array([[0.5, 0.5], [0.2, 0.8]]), np.array([0, 1])), 4), loss_of(np.array([1.0]), np.array([3.0]))
        (0.4581, 4.0)
    """
    if answers.ndim == 2:
        each = -np.log(np.maximum(answers[np.arange(len(truth)), truth], _LEAST))
    else:
        each = (answers - truth) ** 2
    return float(np.average(each, weights=weight))


def greedy_weights(
    answers: Sequence[np.ndarray], truth: np.ndarray, *, weight: np.ndarray | None = None, rounds: int = 40
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

    Reference:
        Caruana, Niculescu-Mizil, Crew & Ksikes, "Ensemble selection from libraries of models" (ICML 2004), sections 2.1 and 2.2.

    Example:
        >>> low, high = np.array([0.0, 1.0, 2.0]), np.array([2.0, 3.0, 4.0])
        >>> greedy_weights([low, high], np.array([1.0, 2.0, 3.0])).tolist()
        [0.5, 0.5]
    """
    if not answers or rounds < 1:
        raise DataError(
            f"greedy_weights received {len(answers)} models and {rounds} rounds; expected 1 or more of each"
        )
    added, shares = np.zeros(len(answers)), np.zeros(len(answers))
    total = np.zeros_like(np.asarray(answers[0], np.float64))
    best = np.inf
    for count in range(1, rounds + 1):
        losses = [loss_of((total + each) / count, truth, weight) for each in answers]
        chosen = int(np.argmin(losses))
        added[chosen] += 1
        total = total + answers[chosen]
        if losses[chosen] < best - 1e-12:
            best, shares = losses[chosen], added / count
    return shares
