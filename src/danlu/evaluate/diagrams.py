"""The numbers of a report's diagrams as plain data: confusion, calibration, ROC, precision and recall, errors."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from danlu.evaluate.decomposition import BINS
from danlu.evaluate.residuals import residuals
from danlu.evaluate.rows import Rows
from danlu.evaluate.threshold import calibration

__all__ = ["along", "diagrams"]

_POINTS = 400  # of a curve


def diagrams(rows: Rows) -> dict[str, Any]:
    """What the diagrams of a test show.

    Args:
        rows: of the test, with their predictions.

    Returns:
        Of classes ``"confusion"`` (counts, a row a true class) and ``"calibration"`` (of each bin the mean probability, the share that came
        true, and how many rows); of two of them also ``"roc"`` and ``"precision_recall"``, thinned to some 400 points. Of a quantity
        ``"errors"``.

    Example:
        >>> found = diagrams(Rows("binary", np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])))
        >>> found["confusion"], found["roc"]["recall"]
        ([[1, 0], [1, 1]], [0.5, 1.0, 1.0])
    """
    if rows.task == "regression":
        return {"errors": dataclasses.asdict(residuals(rows))}
    of = calibration(*rows.event, bins=BINS)
    found: dict[str, Any] = {
        "confusion": rows.confusion().round().astype(int).tolist(),
        "calibration": {
            "predicted": _rounded(of.predicted),
            "observed": _rounded(of.observed),
            "rows": of.count.tolist(),
            "error": of.error,
        },
    }
    positive = rows.truth == 1
    if rows.task == "binary" and positive.any() and not positive.all():
        ranking = rows.rankings[0]
        alarms, recall, precision = ranking.curves()
        seen, other = along(alarms, recall, _POINTS), along(recall, precision, _POINTS)
        found["roc"] = {
            "threshold": _rounded(ranking.score[seen]),
            "false_positive_rate": _rounded(alarms[seen]),
            "recall": _rounded(recall[seen]),
        }
        found["precision_recall"] = {
            "threshold": _rounded(ranking.score[other]),
            "recall": _rounded(recall[other]),
            "precision": _rounded(precision[other]),
        }
    return found


def along(x: np.ndarray, y: np.ndarray, most: int) -> np.ndarray:
    """Places on a curve in the unit square, so near to each other that no one sees what is left out."""
    length = np.concatenate([[0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
    cell = np.floor(length / max(length[-1], 1e-12) * most)
    return np.unique(np.concatenate([[0], np.flatnonzero(np.diff(cell)) + 1, [len(x) - 1]]))


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.5g}") for value in values]
