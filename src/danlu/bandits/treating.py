"""The head that says what a treatment changes for a person and whom to treat, and the test of that on a campaign."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl

from danlu.bandits.head import likely, worth_of
from danlu.blueprint import setting
from danlu.errors import ArtifactError
from danlu.evaluate import Evidence
from danlu.evaluate.intervals import figure
from danlu.evaluate.judgement import Simple
from danlu.evaluate.uplift import Campaign
from danlu.prose import percent
from danlu.trained import Head
from danlu.trained.head import out_shape_of

__all__ = ["Treating"]

_FEW = 100  # people at the top, as if both groups were of one size, below which it is said
_THIN = 0.1  # of the people with hardly a chance of one of both


class Treating(Head):
    """What the treatment changes for each person: the uplift, the outcome without and with it, and whether to treat.

    The network's outputs are ``{"value"}``, ``(batch, members, 2)``, behind which stand the logits of being treated where propensities
    are estimated, and of learners that foretell the uplift itself ``{"uplift"}``, ``(batch, members, 1)``. The answers are ``{"value":
    (rows, 2), "uplift": (rows,)}`` and ``"logging"``, ``(rows, 2)``. Treated is whose uplift is above the cost and, with a budget, above
    that of all but this share of the people who were learnt from.

    Args:
        actions: the values of those who were not treated and who were.
        treatment, outcome: the columns.
        wanted: the outcome's value that counts as 1; empty where outcomes are numbers.
        share: whether outcomes are 0 or 1, so that the values are logits.
        mean, std: what the values of other outcomes are scaled back by.
        effect_mean, effect_std: the same of the uplift.
        treated: the share of the treated in the people who were learnt from.
        estimated: whether propensities are.
        clip: how near to 0 and 1 an estimated propensity comes.
        cost: of treating one person, in the outcome's unit.
        budget: the share of people who can be treated; None is all.
        least: the uplift above which the budget lies; None without one.
    """

    kind = "uplift"
    apart = False
    task = "uplift"
    instead = "danlu evaluate says what the order and the decisions are worth, with intervals"

    actions: tuple[str, ...]
    treatment: str
    outcome: str
    wanted: str = ""
    share: bool = False
    mean: float = 0.0
    std: float = setting(default=1.0, above=0)
    effect_mean: float = 0.0
    effect_std: float = setting(default=1.0, above=0)
    treated: float = setting(default=0.5, above=0, below=1)
    estimated: bool = False
    clip: float = setting(default=0.05, above=0, below=0.5)
    cost: float = 0.0
    budget: float | None = setting(default=None, above=0, maximum=1, optional=True)
    least: float | None = setting(default=None, optional=True)

    @property
    def name(self) -> str:
        return "uplift"

    @property
    def scale(self) -> float | None:
        return 0.25 if self.share else self.std

    def __call__(self, outputs: Any) -> Any:
        worth = worth_of(outputs["value"][..., :2], self.share, self.mean, self.std)
        uplift = worth[:, 1] - worth[:, 0]
        if "uplift" in outputs:
            uplift = outputs["uplift"][..., 0].mean(axis=1) * self.effect_std + self.effect_mean
        found = {"value": worth, "uplift": uplift}
        if self.estimated:
            found["logging"] = likely(outputs["value"][..., 2:])
        return found

    def marks(self, truth: Any) -> np.ndarray:
        return np.stack([np.asarray(truth["action"], np.float64), np.asarray(truth["reward"], np.float64)], axis=1)

    def decide(self, uplift: np.ndarray) -> np.ndarray:
        """Whom to treat, ``(rows,)`` bool."""
        return np.asarray(uplift > self.limit)

    @property
    def limit(self) -> float:
        """The uplift above which people are treated."""
        return self.cost if self.least is None else max(self.cost, self.least)

    def with_budget(self, uplift: np.ndarray) -> Treating:
        """The head that knows where the budget lies, by the uplift of people ``(rows,)``."""
        least = None if self.budget is None else float(np.quantile(uplift, 1 - self.budget))
        return dataclasses.replace(self, least=least)

    def frame(self, answers: Any, rows: Any = None) -> pl.DataFrame:
        uplift, values = np.asarray(answers["uplift"], np.float64), np.asarray(answers["value"], np.float64)
        return pl.DataFrame({
            "uplift": uplift,
            "treat": np.where(self.decide(uplift), "yes", "no"),
            f"expected {self.outcome} untreated": values[:, 0],
            f"expected {self.outcome} treated": values[:, 1],
        })  # fmt: skip

    def propensity(self, answers: Any) -> np.ndarray:
        """Of being treated, ``(rows,)``."""
        if not self.estimated:
            return np.full(len(answers["uplift"]), self.treated)
        return np.clip(np.asarray(answers["logging"], np.float64)[:, 1], self.clip, 1 - self.clip)

    def evidence(self, answers: Any, truth: Any) -> Campaign:
        uplift = np.asarray(answers["uplift"], np.float64)
        return Campaign(
            np.asarray(truth["action"]) == 1,
            np.asarray(truth["reward"], np.float64),
            self.propensity(answers),
            np.asarray(answers["value"], np.float64),
            uplift,
            self.decide(uplift) * 1.0,
            self.cost,
        )

    def notes(self, evidence: Evidence) -> tuple[str, ...]:
        """Whom it treats and why, and what these people cannot tell."""
        if not isinstance(evidence, Campaign):
            return ()
        why = [f"the uplift is above the cost of {figure(self.cost)}" if self.cost else "the uplift is above 0"]
        if self.budget is not None:
            why.append(f"among the {percent(self.budget)} of the people who were learnt from with the highest")
        found = [
            f"it would treat {percent(float(evidence.treat.mean()))} of these people: those where {' and '.join(why)}"
        ]
        if evidence.support("uplift_10") < _FEW:
            found.append("of the top 10 % there are few people of one group: more people would tell more of the order")
        if self.estimated:
            edge = float(((evidence.propensity <= self.clip) | (evidence.propensity >= 1 - self.clip)).mean())
            found.append(
                "who was treated can be foretold from the columns, so it was not by chance: each person is weighed by the estimated "
                "propensity; what the treatment was decided by and no column shows can make all these figures wrong"
            )
            if edge > _THIN:
                found.append(
                    f"{percent(edge)} of the people had a chance of less than {percent(self.clip)} of one of both: of them hardly "
                    "anything is known"
                )
        return tuple(found)

    def simple(self, inputs: Any, evidence: Any) -> Iterable[Simple]:
        """A response model, and nobody, everybody or anybody treated."""
        if not isinstance(evidence, Campaign):
            return
        share = float(evidence.treat.mean())
        response = evidence.values @ np.array([1 - self.treated, self.treated])
        least = np.quantile(response, 1 - share) if share else np.inf
        yield Simple(
            "a response model",
            evidence.ordered(response, (response >= least) * 1.0),
            constant=False,
            notes=("it puts those first whose outcome is expected to be highest, treated or not",),
        )
        yield Simple("an order by chance", evidence.ordered(0.0, share), constant=True)
        yield Simple("treating nobody", evidence.ordered(0.0, 0.0), constant=False, metric="value")
        yield Simple("treating everybody", evidence.ordered(0.0, 1.0), constant=False, metric="value")
        if 0 < share < 1:
            yield Simple("treating as many by chance", evidence.ordered(0.0, share), constant=False, metric="value")

    def beside(self, answers: Any, truth: Any, rows: Any = None) -> pl.DataFrame:
        found = self.evidence(answers, truth)
        return self.frame(answers, rows).with_columns(
            pl.Series(f"given {self.treatment}", [self.actions[int(each)] for each in found.treated]),
            pl.Series(f"seen {self.outcome}", found.outcome),
            pl.Series("propensity", found.propensity),
        )

    def check(self, network: Any, encoder: Any) -> None:
        shapes = out_shape_of(network, encoder)
        wanted = {"value": 4 if self.estimated else 2, "uplift": 1}
        if not isinstance(shapes, dict) or not {"value"} <= set(shapes) <= set(wanted) or len(self.actions) != 2:
            raise ArtifactError("the saved model is damaged: its network has no values without and with the treatment")
        if any(len(shape) != 2 or shape[-1] != wanted[name] for name, shape in shapes.items()):
            raise ArtifactError(f"the saved network's outputs have the shapes {shapes}; expected {wanted} numbers")
