"""The settings of fairness: which columns name the groups that a model is judged by, and what is done to bring them closer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from danlu.blueprint import Blueprint, setting
from danlu.errors import ConfigError
from danlu.evaluate.group_thresholds import MITIGATED

__all__ = ["Fair", "reweighed"]


class Fair(Blueprint):
    """Groups of rows that a model is judged by, and what is done to bring them closer to each other.

    Args:
        sensitive: the columns that name the groups, such as ``("sex", "race")``; with several, the rows are also judged by all of them
            together.
        limits: of numbers, such as ``{"age": [25, 45, 65]}``: where a group ends and the next one begins; by default numbers are divided
            into four groups of about the same size.
        as_input: whether the model sees these columns; by default it does not.
        smallest: rows that a group needs to be compared with others.
        mitigate: ``"reweigh"`` weighs the training rows so that class and group are independent, ``"penalty"`` adds the distance of the
            groups to what training makes small, ``"thresholds"`` decides between two classes by a threshold for each group; all of
            them by the groups of all sensitive columns together.
        criterion: what the penalty and the thresholds bring closer: ``"demographic_parity"``, ``"equal_opportunity"`` (of two classes) or
            ``"equalized_odds"``.
        gap: the largest difference between groups that thresholds leave on the rows that they are chosen on.
        strength: of the penalty, beside the loss.
    """

    sensitive: tuple[str, ...] = ()
    limits: Mapping[str, tuple[float, ...]] = dataclasses.field(default_factory=dict, hash=False)
    as_input: bool = False
    smallest: int = setting(default=30, minimum=2, integer=True)
    mitigate: str = setting(default="none", choices=("none", "reweigh", "penalty", "thresholds"))
    criterion: str = setting(default="demographic_parity", choices=MITIGATED)
    gap: float = setting(default=0.02, minimum=0, below=1)
    strength: float = setting(default=3.0, above=0)

    def check(self, task: str, *, decided: str = "", crossed: bool = False, streams: bool = False) -> None:
        """Refuse settings that do not fit the task or others.

        Args:
            decided: another setting that chooses the threshold, if there is one.
            crossed: whether the model is tested by folds.

        Raises:
            ConfigError: a way that the task has not, or two ways that choose one threshold.
        """
        name = f"fairness.mitigate={self.mitigate}"
        if self.mitigate == "thresholds":
            if task != "binary":
                raise ConfigError(
                    f"{name} is for two classes; this target is another",
                    hint="fairness.mitigate=penalty is for every target",
                )
            if decided:
                raise ConfigError(f"{name} and {decided} both choose the threshold; expected one of them")
            if crossed:
                raise ConfigError(
                    f"{name} is for one training, not for evaluate.folds: the models of the folds have thresholds of their own",
                    hint="leave out the folds, or use fairness.mitigate=reweigh",
                )
        if self.mitigate == "reweigh" and task == "regression":
            raise ConfigError(f"{name} is for classes; this target is a quantity", hint="fairness.mitigate=penalty")
        if self.mitigate == "penalty" and self.criterion != "demographic_parity" and task == "regression":
            raise ConfigError(f"fairness.criterion={self.criterion} is for classes; this target is a quantity")
        if self.mitigate == "penalty" and self.criterion == "equal_opportunity" and task != "binary":
            raise ConfigError("fairness.criterion=equal_opportunity is for two classes; use equalized_odds")


def reweighed(labels: np.ndarray, codes: np.ndarray, known: tuple[np.ndarray, np.ndarray] | None = None) -> np.ndarray:
    """The weights with which class and group are independent: ``P(group)·P(class)/P(group, class)``, ``(rows,)``.

    Args:
        labels: codes of the classes, ``(rows,)``.
        codes: of the groups, ``(rows,)``.
        known: labels and codes of other rows, which the shares are of; None are these.

    Reference: Kamiran & Calders, "Data preprocessing techniques for classification without discrimination" (2012), section 3.

    Example:
        >>> reweighed(np.array([1, 1, 1, 0]), np.array([0, 0, 1, 1])).tolist()
        [0.75, 0.75, 1.5, 0.5]
    """
    of = (labels, codes) if known is None else known
    shape = (max(int(of[0].max()), int(labels.max())) + 1, max(int(of[1].max()), int(codes.max())) + 1)
    counts = np.zeros(shape)
    np.add.at(counts, of, 1.0)
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0, keepdims=True) / counts.sum()
    weight = np.divide(expected, counts, out=np.ones(shape), where=counts > 0)
    return weight[labels, codes]
