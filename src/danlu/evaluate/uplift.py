"""What a campaign changes, and whether people are put in a good order for it: Qini and uplift curves with intervals.

A row is a person with the treatment ``W`` (1: was treated), the outcome ``Y``, and the propensity ``e`` of being treated; the uplift is
``τ(x) = E[Y | x, W = 1] − E[Y | x, W = 0]``. Nobody is seen both treated and not: an order of people is judged by the groups at its top.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from danlu.errors import DataError
from danlu.evaluate.evidence import Evidence
from danlu.evaluate.families import MEAN
from danlu.evaluate.intervals import Interval
from danlu.evaluate.logged import Logged
from danlu.evaluate.measures import Measure, register
from danlu.evaluate.ranking import dot

__all__ = ["TOPS", "UPLIFT_MEASURES", "Campaign", "Gains", "effect_scores"]

TOPS = {"uplift_10": 0.1, "uplift_30": 0.3}
UPLIFT_MEASURES = register(
    Measure("qini", "Qini coefficient", True, MEAN),
    Measure("qini_share", "Qini, share of the best order's", True, MEAN),
    Measure("auuc", "AUUC", True, MEAN),
    Measure("uplift_10", "uplift of the top 10 %", True, MEAN),
    Measure("uplift_30", "uplift of the top 30 %", True, MEAN),
    Measure("ate", "average effect of the treatment", True, MEAN),
    Measure("value", "mean outcome if followed, less cost", True, MEAN),
)
_BAND = 100  # parts of the rows that are left out for the band round a curve


class Gains:
    """People in the order of a score; made once, then measured for many weights of the rows.

    With ``v = 1/e`` of the treated and ``1/(1 − e)`` of the others, and sums over those of the share ``φ`` with the highest scores::

        Qini curve    q(φ) = (Σ_T v·Y − Σ_C v·Y · Σ_T v / Σ_C v) / Σ_T v of all
        uplift curve  g(φ) = φ·(Σ_T v·Y / Σ_T v − Σ_C v·Y / Σ_C v)

    Where everyone had the same chance to be treated, ``v`` drops out: these are Radcliffe's, a treated person and a person. Both end at
    the effect on all, ``q(1) = g(1)``; an order by chance is the straight line to it. People of equal score are on a line.

    Args:
        score: higher for people who are to be treated first, ``(rows,)``.
        treated: whether each was, ``(rows,)`` bool.
        outcome: ``(rows,)``.
        propensity: of being treated, ``(rows,)``.

    Reference: Radcliffe (2007), "Using control groups to target on predicted lift"; Devriendt, Guns & Verbeke (2020), "Learning to rank
    for uplift modeling", arXiv:2002.05897, for the two curves; the weights are Horvitz & Thompson's (1952).

    Example:
        >>> gains = Gains(np.array([4.0, 3, 2, 1]), np.array([True, False, True, False]), np.array([1.0, 0, 0, 0]), np.full(4, 0.5))
        >>> gains.curves(np.ones(4))[1].tolist(), gains.qini(np.ones(4))
        ([0.0, 0.5, 0.5, 0.5, 0.5], 0.1875)
    """

    def __init__(self, score: np.ndarray, treated: np.ndarray, outcome: np.ndarray, propensity: np.ndarray) -> None:
        self.order = np.argsort(-score, kind="stable")
        ranked, of = score[self.order], self.order
        self.last = np.flatnonzero(np.concatenate([ranked[1:] != ranked[:-1], [True]]))
        one, other = np.where(treated, 1 / propensity, 0.0)[of], np.where(treated, 0.0, 1 / (1 - propensity))[of]
        # Σ 1, Σ_T v, Σ_T v·Y, Σ_C v, Σ_C v·Y: what each person adds, (5, rows)
        self._adds = np.stack([np.ones(len(of)), one, one * outcome[of], other, other * outcome[of]])

    def sums(self, weights: np.ndarray) -> np.ndarray:
        """``Σ 1, Σ_T v, Σ_T v·Y, Σ_C v, Σ_C v·Y`` from the top down to each score, beginning with 0, ``(5, scores + 1)``."""
        found = np.cumsum(self._adds * weights[self.order], axis=1)[:, self.last]
        return np.concatenate([np.zeros((5, 1)), found], axis=1)

    def curves(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``φ``, ``q`` and ``g``, ``(scores + 1,)`` each."""
        return _curves(self.sums(weights))

    def qini(self, weights: np.ndarray) -> float:
        """The area between the Qini curve and the line of an order by chance."""
        return _qini(self.sums(weights))

    def top(self, share: float, weights: np.ndarray) -> float:
        """The effect on this share of people with the highest scores; NaN where none of them was treated, or all were."""
        return _top(self.sums(weights), share)


def _curves(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    people, treated, gained, others, had = sums
    share, mean = people / people[-1], _ratio(had, others)
    return share, (gained - mean * treated) / max(treated[-1], 1e-300), share * (_ratio(gained, treated) - mean)


def _qini(sums: np.ndarray) -> float:
    share, qini, _ = _curves(sums)
    return float(np.trapezoid(qini, share)) - float(qini[-1]) / 2


def _top(sums: np.ndarray, share: float) -> float:
    of = sums[0] / sums[0, -1]
    treated, gained, others, had = (float(np.interp(share, of, each)) for each in sums[1:])
    return gained / treated - had / others if treated > 0 and others > 0 else float("nan")


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def effect_scores(
    treated: np.ndarray, outcome: np.ndarray, propensity: np.ndarray, values: np.ndarray | None = None
) -> np.ndarray:
    """A number for each person whose expectation, given what the person is like, is the effect of the treatment, ``(rows,)``.

    With the treatment ``W`` and its propensity ``e`` the transformed outcome is ``Y·(W − e)/(e·(1 − e))``. With a model ``q`` of the
    outcome the doubly robust score, ``q₁ − q₀ + (Y − q_W)·(W − e)/(e·(1 − e))``, has the same expectation if either is right, and less
    noise if the model is any good.

    Args:
        treated: ``W``, bool.
        propensity: ``e``.
        values: ``q`` without and with the treatment, ``(rows, 2)``; None is the transformed outcome.

    Reference: Jaskowski & Jaroszewicz (2012), "Uplift modeling for clinical trial data"; Athey & Imbens (2016), "Recursive partitioning
    for heterogeneous causal effects", PNAS 113; Kennedy (2023), "Towards optimal doubly robust estimation of heterogeneous causal
    effects", EJS 17.

    >>> effect_scores(np.array([True, False]), np.array([1.0, 1.0]), np.array([0.25, 0.25])).tolist()
    [4.0, -1.3333333333333333]
    """
    model = np.zeros((len(outcome), 2)) if values is None else values
    side = (treated - propensity) / (propensity * (1 - propensity))
    return model[:, 1] - model[:, 0] + side * (outcome - np.where(treated, model[:, 1], model[:, 0]))


@dataclasses.dataclass(frozen=True, eq=False)
class Campaign(Evidence):
    """People of a campaign, with what a model foretells of them and whom it would treat.

    ``qini`` is the area between the Qini curve and the line of an order by chance, in the outcome's unit a treated person, ``auuc`` the
    area under the uplift curve, ``uplift_10`` and ``uplift_30`` the effect on those at the top; see :class:`Gains`. ``qini_share`` is the
    Qini coefficient over that of the order which knows each outcome (of outcomes of 0 and 1): chance is a part of that, and no model
    comes near 1. ``ate`` is the doubly robust average effect, and ``value`` what a person would bring if those whom the model would
    treat were, less what that costs; see :class:`~danlu.evaluate.logged.Logged`.

    Attributes:
        treated: whether each person was, ``(rows,)`` bool.
        outcome: ``(rows,)``.
        propensity: of being treated, between 0 and 1, ``(rows,)``.
        values: what a model foretells of the outcome without and with the treatment, ``(rows, 2)``.
        prediction: the order: the uplift that is foretold, or another score, ``(rows,)``.
        treat: whom it would treat, as a share of 0 to 1 for each, ``(rows,)``.
        cost: of treating one person, in the outcome's unit.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, treated = rng.random(4000), rng.random(4000) < 0.5
        >>> outcome = (rng.random(4000) < 0.2 + 0.3 * x * treated) * 1.0
        >>> found = Campaign(treated, outcome, np.full(4000, 0.5), np.zeros((4000, 2)), x, (x > 0.5) * 1.0)
        >>> found.measures()["qini"] > 0.01, bool(abs(found.measures()["ate"] - 0.15) < 0.04)
        (True, True)
    """

    treated: np.ndarray
    outcome: np.ndarray
    propensity: np.ndarray
    values: np.ndarray
    prediction: np.ndarray
    treat: np.ndarray
    cost: float = 0.0

    primary: ClassVar[str] = "qini"
    noun: ClassVar[str] = "persons"
    unlike: ClassVar[str] = "the two orders are of different people; expected the same ones in the same order"

    def __post_init__(self) -> None:
        parts = (self.treated, self.outcome, self.propensity, self.values, self.prediction, self.treat)
        if len({len(each) for each in parts}) > 1:
            raise DataError(
                "a campaign has one treatment, outcome, propensity and score a person; the parts are of different lengths"
            )
        if not ((self.propensity > 0) & (self.propensity < 1)).all():
            raise DataError("propensities of a campaign are 0 or 1; expected each person to have had a chance of both")

    def __len__(self) -> int:
        return len(self.outcome)

    @functools.cached_property
    def gains(self) -> Gains:
        """The people in their order."""
        return Gains(self.prediction, self.treated, self.outcome, self.propensity)

    @functools.cached_property
    def _best(self) -> Gains:
        """The order that knows each outcome: treated who bought first, others who bought last."""
        score = np.where(self.treated, 1.0, -1.0) * self.outcome
        return Gains(score, self.treated, self.outcome, self.propensity)

    @functools.cached_property
    def logged(self) -> Logged:
        """The same people as a log of two actions, under the decisions; rewards are outcomes less costs."""
        done = self.treated.astype(np.int64)
        of_done = np.where(self.treated, self.propensity, 1 - self.propensity)
        return Logged(
            done,
            self.outcome - self.cost * done,
            of_done,
            self.values - np.array([0.0, self.cost]),
            np.stack([1 - self.treat, self.treat], axis=1),
        )

    @functools.cached_property
    def _effects(self) -> np.ndarray:
        """The doubly robust score of each person's uplift, ``(rows,)``."""
        return effect_scores(self.treated, self.outcome, self.propensity, self.values)

    @functools.cached_property
    def yes_or_no(self) -> bool:
        """Whether all outcomes are 0 or 1."""
        return bool(np.isin(self.outcome, (0.0, 1.0)).all())

    def measures(self, weights: np.ndarray | None = None, names: Sequence[str] | None = None) -> Mapping[str, float]:
        by = np.ones(len(self)) if weights is None else weights
        wanted = UPLIFT_MEASURES if names is None else names
        if not ((by[self.treated] > 0).any() and (by[~self.treated] > 0).any()):
            return dict.fromkeys(wanted, float("nan"))
        sums = self.gains.sums(by) if {*wanted} - {"ate", "value"} else None
        return {name: self._measure(name, by, sums) for name in wanted}

    def _measure(self, name: str, by: np.ndarray, sums: Any) -> float:
        if name == "ate":
            return dot(by, self._effects) / float(by.sum())
        if name == "value":
            return self.logged.measures(by, ("dr_value",))["dr_value"]
        if name in TOPS:
            return _top(sums, TOPS[name])
        if name == "auuc":
            share, _, uplift = _curves(sums)
            return float(np.trapezoid(uplift, share))
        own = _qini(sums)
        if name == "qini":
            return own
        best = self._best.qini(by) if self.yes_or_no else 0.0
        return own / best if best > 0 else float("nan")

    def curve(self, shares: np.ndarray, *, seed: int = 0) -> list[Interval]:
        """The Qini curve at these shares, each with the interval of the jackknife."""
        part = np.random.default_rng(seed).permutation(len(self)) % min(_BAND, len(self))

        def at(weights: np.ndarray) -> np.ndarray:
            share, qini, _ = self.gains.curves(weights)
            return np.interp(shares, share, qini)

        whole = at(np.ones(len(self)))
        without = np.stack([at((part != each) * 1.0) for each in range(int(part.max()) + 1)])
        reach = 1.96 * np.sqrt((len(without) - 1) * without.var(axis=0))
        return [
            Interval(*each)
            for each in zip(whole.tolist(), (whole - reach).tolist(), (whole + reach).tolist(), strict=True)
        ]

    def _take(self, rows: np.ndarray) -> Self:
        names = ("treated", "outcome", "propensity", "values", "prediction", "treat")
        return dataclasses.replace(self, **{name: getattr(self, name)[rows] for name in names})

    def _same(self, other: Self) -> bool:
        return np.array_equal(self.treated, other.treated) and np.array_equal(self.outcome, other.outcome)

    def ordered(self, score: np.ndarray | float, treat: np.ndarray | float) -> Self:
        """The same people in another order and with other decisions; one number is that of all."""
        every = np.ones(len(self))
        return dataclasses.replace(self, prediction=score * every, treat=treat * every)

    @property
    def constant(self) -> bool:
        return bool((self.prediction == self.prediction[:1]).all())

    def support(self, name: str) -> float:
        """The people of both groups as if of one size, ``4·a·b/(a + b)``, which Student's interval has as degrees of freedom;
        for the value the effective ones."""
        if name == "value":
            return self.logged.effective_rows
        top = self.treated[self.gains.order[: max(int(TOPS.get(name, 1.0) * len(self)), 1)]]
        treated = int(top.sum())
        return 4 * treated * (len(top) - treated) / len(top)

    def left_out(self) -> Mapping[str, str]:
        return {} if self.yes_or_no else {"qini_share": "outcomes are not of 0 and 1 alone"}
