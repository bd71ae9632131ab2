"""How far the members of a model disagree about a row: what it does not know, apart from what is chance in the data."""

from __future__ import annotations

import numpy as np

__all__ = ["spread_of"]


def spread_of(answers: np.ndarray) -> np.ndarray:
    """How far members disagree about each row, ``(rows,)``.

    Of classes it is the mutual information of the answer and the member, ``H(p̄) − mean H(p_m)`` in nats, with the entropy ``H`` and the
    mean ``p̄`` of the members' probabilities ``p_m``: 0 where all say the same, however unsure they are, and at most ``ln classes``. Of a
    quantity it is the members' standard deviation, in the quantity's unit.

    Args:
        answers: probabilities ``(members, rows, classes)``, or values ``(members, rows)``.

    Reference:
        Houlsby, Huszár, Ghahramani & Lengyel, "Bayesian active learning for classification and preference learning" (2011),
        arXiv:1112.5745, eq. 2; Lakshminarayanan, Pritzel & Blundell, "Simple and scalable predictive uncertainty estimation using deep
        ensembles" (NeurIPS 2017).

    Example:
        >>> spread_of(np.array([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.5, 0.5]]])).round(3).tolist()
        [0.693, 0.0]
        >>> spread_of(np.array([[1.0, 4.0], [3.0, 4.0]])).tolist()
        [1.0, 0.0]
    """
    if answers.ndim == 2:
        return np.asarray(answers.std(axis=0))
    return np.maximum(_entropy(answers.mean(axis=0)) - _entropy(answers).mean(axis=0), 0.0)


def _entropy(probability: np.ndarray) -> np.ndarray:
    """``−Σ p ln p`` over the last axis, with ``0 ln 0 = 0``."""
    safe = np.where(probability > 0, probability, 1.0)
    return np.asarray(-(probability * np.log(safe)).sum(axis=-1))
