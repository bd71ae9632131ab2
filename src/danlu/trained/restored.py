"""Fitted values as they were saved, checked."""

from __future__ import annotations

from typing import Any

import numpy as np

from danlu.data import TargetEncoder
from danlu.errors import ArtifactError
from danlu.evaluate.metrics import metrics_of

__all__ = ["restored_costs", "restored_knots", "restored_measure", "restored_rate"]


def restored_knots(knots: np.ndarray | None) -> np.ndarray | None:
    """The knots of a calibration, or None.

    Raises:
        ArtifactError: they are no growing function of probabilities.
    """
    if knots is None:
        return None
    found = np.asarray(knots, np.float64)
    fits = found.ndim == 2 and len(found) == 2 and found.size and np.isfinite(found).all()
    if not fits or (np.diff(found) < 0).any() or found.min() < 0 or found.max() > 1:
        raise ArtifactError("the saved calibration is not an increasing function of probabilities")
    return found


def restored_costs(given: Any, target: TargetEncoder) -> tuple[tuple[float, ...], ...] | None:
    """The costs of mistakes, or None.

    Raises:
        ArtifactError: they do not fit the classes of the target.
    """
    if given is None:
        return None
    try:
        found = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.shape != (target.units,) * 2 or not (np.isfinite(found).all() and (found >= 0).all() and found.any()):
        raise ArtifactError(f"the saved costs do not fit {target.units} classes")
    return tuple(map(tuple, found.tolist()))


def restored_rate(saved: Any, target: TargetEncoder) -> float | None:
    """The alert rate that was saved; None without one."""
    if saved is None or (type(saved) is float and 0 < saved < 1 and target.task == "binary"):
        return saved
    raise ArtifactError(
        f"the saved alert rate is {str(saved)[:40]!r}; expected a share above 0 and below 1, of two classes"
    )


def restored_measure(saved: Any, target: TargetEncoder) -> str:
    """The measure that models are compared by, as it was saved; empty without one."""
    if saved is None or (isinstance(saved, str) and saved in [each.name for each in metrics_of(target.task)]):
        return saved or ""
    raise ArtifactError(f"the saved measure to compare by is {str(saved)[:40]!r}, which the task has not")
