"""The settings of answers: how probabilities are calibrated, what mistakes cost, and how sure intervals and sets are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from danlu.blueprint import Blueprint, setting
from danlu.data import TargetEncoder
from danlu.errors import ConfigError, unknown_name
from danlu.evaluate.alert import check_alert_rate
from danlu.evaluate.calibrate import CALIBRATIONS
from danlu.evaluate.costs import cost_matrix
from danlu.evaluate.metrics import metrics_of
from danlu.evaluate.usual import DIRECTIONLESS
from danlu.trained import HeldOut, Labels

__all__ = ["Answers", "costs_from"]


class Answers(Blueprint):
    """What is done with a network's outputs, all of it fitted to rows that were not learnt from.

    Args:
        calibrate: ``"auto"`` calibrates the probabilities where that lowers the log loss; ``"temperature"``, ``"isotonic"`` (of two
            classes) and ``"none"`` say how.
        cost: of mistakes, by name: ``{"fn": 5, "fp": 1}`` of two classes, ``{"TRUE": 3}`` of every mistake on rows of a class,
            ``{"TRUE>PREDICTED": 9}`` of one; what is not named costs 1. The answer is then the one that costs least.
        alert_rate: of two classes: the share of rows that can be looked at. The second class is then predicted from the probability
            above which at most this share of the rows lies that were not learnt from; costs are then only counted.
        compare_by: the measure that models are compared by and that is shown first, such as ``"average_precision"`` or ``"gini"``; None
            is ROC-AUC of two classes, accuracy of more, RMSE of a quantity.
        level: how often an interval or a set of classes is to hold the true answer; the test measures how often it does.
    """

    calibrate: str = setting(default="auto", choices=CALIBRATIONS)
    cost: Mapping[str, float] = dataclasses.field(default_factory=dict, hash=False)
    alert_rate: float | None = setting(default=None, above=0, below=1, optional=True)
    compare_by: str | None = None
    level: float = setting(default=0.9, above=0, below=1)

    def check(self, task: str, classes: Sequence[str], imbalance: Any) -> None:
        """Refuse settings that do not fit the task or each other.

        Raises:
            ConfigError: probabilities or costs for a quantity, isotonic regression or an alert rate of several classes, costs
                beside what shifts the probabilities or chooses another threshold, costs of no class.
        """
        if task == "regression" and (self.cost or self.calibrate != "auto"):
            name = "cost" if self.cost else "calibrate"
            raise ConfigError(f"answers.{name} is for classes; this target is a quantity")
        if self.calibrate == "isotonic" and task != "binary":
            raise ConfigError(
                "answers.calibrate=isotonic is for two classes; this target has more",
                hint="answers.calibrate=temperature is for any number",
            )
        self._check_measure(task)
        if self.alert_rate is not None and task != "binary":
            what = "a quantity" if task == "regression" else "of more classes"
            raise ConfigError(
                f"answers.alert_rate is for two classes, of which the second is looked for; this target is {what}",
                hint="leave --alert-rate and --preset out",
            )
        if self.alert_rate is not None and imbalance.threshold != "none":
            raise ConfigError(
                "answers.alert_rate and imbalance.threshold do not go together: both choose the threshold",
                hint="leave one of them out",
            )
        if not self.cost:
            return
        cost_matrix(self.cost, classes)
        for name in ("threshold", "class_weight", "resample"):
            if getattr(imbalance, name) != "none":
                why = "both choose the threshold" if name == "threshold" else "it makes the probabilities no shares"
                raise ConfigError(
                    f"answers.cost and imbalance.{name} do not go together: {why}",
                    hint="costs alone allow for rare classes",
                )

    def _check_measure(self, task: str) -> None:
        """Refuse a measure that the task has not, or that needs another setting."""
        name, needs = self.compare_by, {"recall_at_rate": ("alert_rate", self.alert_rate), "cost": ("cost", self.cost)}
        if name is None:
            return
        known = [each.name for each in metrics_of(task) if each.name not in DIRECTIONLESS]
        if name not in known:
            if task != "binary" and name in {each.name for each in metrics_of("binary")}:
                what = "a quantity" if task == "regression" else "of more classes"
                raise ConfigError(
                    f"answers.compare_by is {name!r}, which is a measure of two classes; this target is {what}, "
                    f"and has: {', '.join(known)}",
                    hint="leave it out; --preset risk and --preset fraud are for two classes, too",
                )
            raise unknown_name("measure", name, known)
        if name in needs and not needs[name][1]:
            raise ConfigError(
                f"answers.compare_by is {name!r}, which needs answers.{needs[name][0]}", hint="set it as well"
            )

    def head(self, target: TargetEncoder) -> Labels:
        """The head for a target, with nothing fitted yet."""
        return Labels(target, alert_rate=self.alert_rate, compare_by=self.compare_by or "").costing(self.cost)

    def check_held(self, held: np.ndarray | None, classes: Sequence[str], imbalance: Any) -> None:
        """Refuse, before anything is trained, what cannot be fitted to the rows that will be held out.

        Args:
            held: the labels of these rows; None where there are none in memory.
            classes: their names.
            imbalance: what is done about rare classes.

        Raises:
            ConfigError: settings that need such rows, or such rows of two classes, and there are none.
        """
        both = {
            "imbalance.threshold": imbalance.threshold != "none",
            "answers.calibrate=isotonic": self.calibrate == "isotonic",
        }
        needing = [name for name, needed in both.items() if needed]
        needing += ["answers.alert_rate"] if self.alert_rate is not None else []
        needing += ["answers.calibrate"] if self.calibrate == "temperature" else []
        if not needing:
            return
        hint = "hold more rows out (split.validation; of an estimator validation_fraction), or leave it out"
        if held is None or not len(held):
            raise ConfigError(
                f"{needing[0]} needs rows in memory that are held out from training; there are none", hint=hint
            )
        if any(both.values()) and len(np.unique(held)) < 2:
            raise ConfigError(
                f"{needing[0]} needs held-out rows of two classes; the {len(held):,} there are all {classes[int(held[0])]!r}",
                hint=hint,
            )
        if self.alert_rate is not None:
            check_alert_rate(self.alert_rate, len(held))

    def fitted(self, head: Labels, held: HeldOut | None, imbalance: Any) -> Labels:
        """The head fitted to rows that were not learnt from.

        Args:
            held: see :meth:`Head.fitted <danlu.trained.Head.fitted>`; None where there are none in memory.
            imbalance: what was done about rare classes.
        """
        if held is None:
            return head
        return head.fitted(
            held,
            threshold=imbalance.threshold,
            calibrate=self.calibrate,
            shifted=imbalance.shifting,
            level=self.level,
        )


def costs_from(text: str) -> dict[str, Any]:
    """The setting for costs as they are typed: ``fn=5,fp=1``.

    Raises:
        ConfigError: it is not of this form.

    Example:
        >>> costs_from("fn=5, fp=1")
        {'answers.cost': {'fn': 5.0, 'fp': 1.0}}
    """
    found: dict[str, float] = {}
    for part in text.split(","):
        name, _, cost = part.rpartition("=")
        try:
            value = float(cost)
        except ValueError:
            value = float("nan")
        if not name.strip() or value != value:
            raise ConfigError(f"--cost is {text!r}; expected costs by name, such as fn=5,fp=1 or 'cat>dog=3'")
        if name.strip() in found:
            raise ConfigError(f"--cost is {text!r}, where {name.strip()!r} has two costs; expected one")
        found[name.strip()] = value
    return {"answers.cost": found}
