"""What is explained of an answer: one number for each row, on the scale that the user chose."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from danlu.errors import ConfigError, unknown_name
from danlu.evaluate.intervals import figure
from danlu.trained import Trained

__all__ = ["SCALES", "Score", "answers_of", "score_of"]

SCALES = ("probability", "log-odds")
_BLOCK = 512  # rows that are answered at once: one shape, so that nothing is compiled anew
_NUMBERS = 1 << 20  # of inputs, at once: of large pictures there are fewer
_LEAST = 1e-9  # of a probability whose odds are taken


@dataclasses.dataclass(frozen=True)
class Score:
    """One number of an answer.

    Attributes:
        name: in words, such as ``"the probability of 'yes'"``.
        of: answers, as the head gives them, to the numbers ``(rows,)``.
        code: of the class that is explained; None of a quantity.
        scale: ``"probability"`` or ``"log-odds"``; empty of a quantity.
        label: the class; None of a quantity.
    """

    name: str
    of: Callable[[Any], np.ndarray]
    code: int | None = None
    scale: str = ""
    label: str | None = None


def score_of(trained: Trained, answers: Any, *, of: str | None, scale: str) -> tuple[Score, str]:
    """What is explained of one row, and its answer in words.

    Args:
        answers: of the one row, as the head gives them.
        of: the class to explain; None is the answered one.
        scale: ``"auto"``, ``"probability"`` or ``"log-odds"``.

    Raises:
        ConfigError: a class or a scale that there is not.
    """
    head, target = trained.head, trained.head.target
    if scale not in ("auto", *SCALES):
        raise unknown_name("scale", scale, ("auto", *SCALES))
    said = trained.head.frame(answers)[head.name][0]
    if trained.task == "regression":
        if of is not None or scale != "auto":
            raise ConfigError(
                f"this model predicts the quantity {target.name!r}; a class and a scale are for models of classes",
                hint="leave out --class and --scale",
            )
        return Score(f"{target.name}", lambda found: np.asarray(found, np.float64)), f"{target.name} = {figure(said)}"
    labels = [str(label) for label in target.labels.tolist()]
    answered = labels.index(str(said))
    code = answered if of is None else _code(of, target.classes)
    chosen = "probability" if scale == "auto" else scale
    shown = (
        f"{target.name} = {target.classes[answered]} (probability {figure(float(np.asarray(answers)[0, answered]), 3)})"
    )

    def value(found: Any) -> np.ndarray:
        p = np.asarray(found, np.float64)[:, code]
        if chosen == "probability":
            return p
        p = np.clip(p, _LEAST, 1 - _LEAST)
        return np.log(p) - np.log1p(-p)

    what = "probability" if chosen == "probability" else "log-odds (the logarithm of p / (1 − p))"
    return Score(
        f"The {what} of {target.name} = {target.classes[code]}", value, code, chosen, target.classes[code]
    ), shown


def _code(name: str, classes: tuple[str, ...]) -> int:
    if str(name) not in classes:
        raise unknown_name("class", name, classes)
    return classes.index(str(name))


def answers_of(trained: Trained, inputs: Any) -> Any:
    """The answers for encoded rows, as ``predict`` gives them, in blocks of one size."""
    leaves = jax.tree.leaves(inputs)
    rows = len(leaves[0])
    size = min(_BLOCK, max(1, _NUMBERS // max(sum(leaf[0].size for leaf in leaves), 1)))
    found = []
    for low in range(0, rows, size):
        part = jax.tree.map(lambda leaf: leaf[low : low + size], inputs)  # noqa: B023
        count = min(size, rows - low)
        padded = jax.tree.map(lambda leaf: leaf[np.minimum(np.arange(size), len(leaf) - 1)], part)
        found.append(np.asarray(trained.answer(padded))[:count])
    return np.concatenate(found)
