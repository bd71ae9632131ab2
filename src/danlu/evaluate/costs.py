"""What mistakes cost, and the decision that costs least."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from danlu.errors import ConfigError, nearest

__all__ = ["cost_matrix", "cost_threshold", "least_cost"]


def cost_matrix(given: Mapping[str, float], classes: Sequence[str]) -> np.ndarray:
    """The cost of each answer (axis 1) where each class (axis 0) is true; a right answer costs 0.

    Args:
        given: costs by name: ``"TRUE>PREDICTED"`` for one mistake, ``"TRUE"`` for every mistake on rows of this class; of two classes
            also ``"fn"`` and ``"fp"``, of which the second class is the positive one. What is not named costs 1.
        classes: their names, in the order of their codes.

    Raises:
        ConfigError: a name that is not a class or a pair of classes, a negative cost, or mistakes that cost nothing at all.

    Example:
        >>> cost_matrix({"fn": 5}, ["no", "yes"]).tolist()
        [[0.0, 1.0], [5.0, 0.0]]
        >>> cost_matrix({"cat": 2, "dog>cat": 9}, ["cat", "dog", "owl"]).tolist()
        [[0.0, 2.0, 2.0], [9.0, 0.0, 1.0], [1.0, 1.0, 0.0]]
    """
    codes = {name: code for code, name in enumerate(classes)}
    found = np.ones((len(classes), len(classes)))
    for name in sorted(given, key=lambda name: name not in codes):  # a class first, then its exceptions
        cost = float(given[name])
        if not 0 <= cost < float("inf"):
            raise ConfigError(f"the cost of {name!r} is {cost:g}; expected 0 or more")
        found[_place(name, codes)] = cost
    np.fill_diagonal(found, 0.0)
    if not found.any():
        raise ConfigError("every mistake costs 0; expected a cost above 0")
    return found


def _place(name: str, codes: Mapping[str, int]) -> Any:
    if name in codes:
        return codes[name]
    if len(codes) == 2 and name.lower() in ("fn", "fp"):
        return (1, 0) if name.lower() == "fn" else (0, 1)
    cuts = [place for place, letter in enumerate(name) if letter == ">"]
    for pair in ((name[:cut].strip(), name[cut + 1 :].strip()) for cut in cuts):
        if pair[0] in codes and pair[1] in codes and pair[0] != pair[1]:
            return codes[pair[0]], codes[pair[1]]
    shown = ", ".join(map(repr, list(codes)[:6]))
    own = "'fn', 'fp', " if len(codes) == 2 else ""
    close = nearest(name, codes)
    raise ConfigError(
        f"there is no mistake {name!r}; expected {own}a class (every mistake on its rows) or TRUE>PREDICTED; the classes are {shown}",
        hint=None if close is None else f"did you mean {close!r}?",
    )


def cost_threshold(costs: np.ndarray) -> float:
    """The probability of the second of two classes from which predicting it costs least: ``fp / (fp + fn)``.

    Predicting the second costs ``(1 − p)·fp`` and the first ``p·fn`` in the mean.

    Reference: Elkan, "The foundations of cost-sensitive learning" (2001), section 2.2; the probabilities must be right.

    Example:
        >>> cost_threshold(cost_matrix({"fn": 4}, ["no", "yes"]))
        0.2
    """
    return float(costs[0, 1] / (costs[0, 1] + costs[1, 0]))


def least_cost(probability: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """The answer with the least expected cost ``Σ_k p_k · costs[k, answer]``, ``(rows,)``; of equal ones the first."""
    return (np.asarray(probability) @ costs).argmin(axis=1)
