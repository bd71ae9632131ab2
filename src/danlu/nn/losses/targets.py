"""Checks that targets are in a loss's domain, on whole arrays on the host before training.

A loss cannot ask while it runs: there a target is a traced number, and a wrong one ends as a strange loss (the cross-entropy of a target
of 255 goes to minus infinity) or as NaN. Losses and metrics carry one of these as ``check_targets(outputs, targets)``, with the shapes
of the outputs and arrays of targets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from danlu.errors import DataError

__all__ = ["check_binary", "check_classes", "check_classes_or_binary", "measure"]

F = TypeVar("F", bound=Callable[..., Any])


def measure(direction: str, check: Callable[[str, Any, Any], None] | None = None) -> Callable[[F], F]:
    """A metric that says which of its values are better (``"min"`` or ``"max"``), and what targets it is defined for."""

    def declared(function: F) -> F:
        function.direction = direction  # type: ignore[attr-defined]
        if check is not None:
            name = function.__name__
            function.check_targets = lambda outputs, targets: check(name, outputs, targets)  # type: ignore[attr-defined]
        return function

    return declared


def _number(value: Any) -> str:
    return f"{float(value):g}".replace("-", "−")


def check_binary(owner: str, outputs: Any, targets: Any) -> None:
    """Refuse targets below 0 or above 1.

    >>> check_binary("BinaryCrossEntropy", None, np.array([-1, 1]))
    Traceback (most recent call last):
    danlu.errors.DataError: BinaryCrossEntropy received targets from −1 to 1; expected 0 and 1, or probabilities between them
    Hint: (targets + 1) / 2 makes 0 and 1 of −1 and 1
    """
    y = np.asarray(targets)
    if not y.size:
        return
    low, high = y.min(), y.max()
    if low >= 0 and high <= 1:
        return
    hints: dict[tuple[float, float], str] = {
        (-1, 1): "(targets + 1) / 2 makes 0 and 1 of −1 and 1",
        (1, 2): "targets - 1 makes 0 and 1 of 1 and 2",
        (0, 255): "targets / 255 makes 0 to 1 of 0 to 255",
    }
    hint = "several classes need categorical_cross_entropy and an output for each; quantities need mse"
    raise DataError(
        f"{owner} received targets from {_number(low)} to {_number(high)}; expected 0 and 1, or probabilities between them",
        hint=hints.get((float(low), float(high)), hint),
    )


def check_classes(owner: str, outputs: Any, targets: Any, *, ignored: int | None = None) -> None:
    """Refuse class numbers outside the outputs' last axis, and invalid probabilities.

    Args:
        ignored: a number outside that stands for targets that are ignored.
    """
    y, classes = np.asarray(targets), outputs.shape[-1]
    if not y.size:
        return
    if y.ndim > 1 and y.shape[1:] == outputs.shape[1:]:
        return _check_probabilities(owner, y, classes)
    if y.dtype.kind not in "iub":
        if y.ndim == 2 and y.shape[1] == classes:
            _check_probabilities(owner, y, classes)
        return  # class numbers of another type are refused by the loss itself
    numbers = y if ignored is None else y[y != ignored]
    if not numbers.size or (numbers.min() >= 0 and numbers.max() < classes):
        return
    low, high = int(numbers.min()), int(numbers.max())
    hint = f"the last layer needs {high + 1} outputs"
    if low == 1 and high == classes:
        hint = "classes are numbered from 0: pass targets - 1"
    elif low < 0:
        hint = "number the classes from 0; danlu.Classifier and danlu.train do that automatically"
    elif high - low < classes and low > 0:
        hint = f"classes are numbered from 0: pass targets - {low}; or the last layer needs {high + 1} outputs"
    but = "" if ignored is None else f", or {_number(ignored)} for targets that are ignored"
    raise DataError(
        f"{owner} received class numbers from {_number(low)} to {high} for {classes} outputs; expected 0 to {classes - 1}{but}",
        hint=hint,
    )


def _check_probabilities(owner: str, y: np.ndarray, classes: int) -> None:
    total = y.sum(axis=-1, dtype=np.float64)
    if y.min() >= 0 and np.all(np.abs(total - 1) <= 1e-2):
        return
    wrong = (
        f"with a negative one, {_number(y.min())}"
        if y.min() < 0
        else f"that add up to {_number(total[np.abs(total - 1) > 1e-2][0])}"
    )
    raise DataError(
        f"{owner} received a row of {classes} probabilities {wrong}; expected numbers >= 0 that add up to 1, or class numbers",
        hint="several true-or-false labels per row need binary_cross_entropy",
    )


def check_classes_or_binary(owner: str, outputs: Any, targets: Any) -> None:
    """:func:`check_binary` for one output, :func:`check_classes` for several."""
    one = len(outputs.shape) == 1 or outputs.shape[-1] == 1
    (check_binary if one else check_classes)(owner, outputs, targets)
