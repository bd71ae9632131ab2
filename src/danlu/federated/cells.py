"""Answers for rows that clients hold out, as counts in fixed cells: what calibration, a threshold and intervals are fitted to.

A client counts its rows in cells that are the same for all, and the counts are added, in a secure sum too, which is exact. Of two classes
with the probability ``p`` of the second, a cell is the true class and ``ln p/(1 − p)`` in steps of 0.02 from −12 to 12. Of a quantity it is
the standardised answer in steps of ½ from −4 to 4, and the size of its error, in standard deviations, in steps of 2 % from 10⁻⁴ to 10⁴.
Rows in the middles of the cells, as many as were counted, then stand for the clients': a probability is off by at most 0.0025, an error by
1 %, where it is within the ends.

Reference:
    Cormode & Markov (2023), Federated calibration and evaluation of binary classifiers, section 4 (histograms of scores).
"""

from __future__ import annotations

import numpy as np

from danlu.errors import ConfigError

__all__ = ["cells_of", "rows_of_cells"]

_LOGITS = np.linspace(-12, 12, 1201)
_ANSWERS = np.linspace(-4, 4, 17)
_ERRORS = np.geomspace(1e-4, 1e4, 931)


def cells_of(task: str, answers: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """How many rows are in each cell, int64.

    Args:
        task: ``"binary"`` or ``"regression"``.
        answers: probabilities ``(rows, 2)``; of a quantity standardised values ``(rows,)``.
        truth: class codes, or standardised values, ``(rows,)``.

    Raises:
        ConfigError: another task.

    Example:
        >>> counts = cells_of("binary", np.array([[0.3, 0.7], [0.9, 0.1], [0.31, 0.69]]), np.array([1, 0, 1]))
        >>> answers, truth = rows_of_cells("binary", counts)
        >>> answers[:, 1].round(2).tolist(), truth.tolist()
        ([0.1, 0.69, 0.7], [0, 1, 1])
    """
    answers, truth = np.asarray(answers, np.float64), np.asarray(truth)
    if task == "binary":
        with np.errstate(divide="ignore"):
            logits = np.log(answers[:, 1]) - np.log(answers[:, 0])
        first, second, size = truth.astype(np.int64), np.searchsorted(_LOGITS, logits), len(_LOGITS) + 1
        length = 2 * size
    elif task == "regression":
        first, size = np.searchsorted(_ANSWERS, answers), len(_ERRORS) + 1
        second, length = np.searchsorted(_ERRORS, np.abs(truth - answers)), (len(_ANSWERS) + 1) * size
    else:
        raise ConfigError(
            f"the task is {task!r}; expected 'binary' or 'regression', whose answers are counted in cells"
        )
    return np.bincount(first * size + second, minlength=length)


def rows_of_cells(task: str, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Answers and truth in the middles of the cells, as many as were counted; see :func:`cells_of`."""
    middles = _middles(_LOGITS) if task == "binary" else np.exp(_middles(np.log(_ERRORS)))
    first, second = np.divmod(np.repeat(np.arange(len(counts)), np.asarray(counts, np.int64)), len(middles))
    if task == "binary":
        probability = 1 / (1 + np.exp(-middles[second]))
        return np.stack([1 - probability, probability], axis=1), first  # (rows, 2), (rows,)
    answers = _middles(_ANSWERS)[first]
    return answers, answers + middles[second]


def _middles(edges: np.ndarray) -> np.ndarray:
    """Of the cells between edges, and the ends of the two that are open."""
    return np.concatenate([edges[:1], (edges[1:] + edges[:-1]) / 2, edges[-1:]])
