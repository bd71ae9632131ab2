"""What a policy would have earned, from a log of what another one did: off-policy evaluation with intervals.

A row of a log is a context ``x``, the action ``a`` that was taken in it, the reward ``r`` that it brought, and the propensity
``p = μ(a | x)`` with which the logging policy took it. The value of another policy ``π`` is ``V = E_x Σ_a π(a | x)·E[r | x, a]``.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import numpy as np

from danlu.errors import DataError
from danlu.evaluate.evidence import Evidence
from danlu.evaluate.families import MEAN
from danlu.evaluate.intervals import Interval
from danlu.evaluate.measures import Measure, register
from danlu.evaluate.ranking import dot

__all__ = ["VALUE_MEASURES", "Logged", "sure_interval"]

VALUE_MEASURES = register(
    Measure("dr_value", "value, doubly robust", True, MEAN),
    Measure("snips_value", "value, SNIPS", True, MEAN),
    Measure("ips_value", "value, IPS", True, MEAN),
    Measure("dm_value", "value, as the model has it", True, MEAN),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Logged(Evidence):
    """Rows of a log, and what a policy would have done in their contexts.

    With ``w = π(a | x)/p``, a model ``q(x, a)`` of the reward, and the mean over rows::

        IPS   = mean(w·r)                                    DM = mean(Σ_a π(a | x)·q(x, a))
        SNIPS = Σ w·r / Σ w                                  DR = DM + mean(w·(r − q(x, a)))

    IPS is right on average whatever the rewards are, where the propensities are right and above 0 wherever π's are; SNIPS is the same
    in the limit with less noise, and does not change when a constant is added to all rewards. DM is as right as its model. DR is right
    if either the propensities or the model are. The intervals are those of means (the jackknife, which of a mean is the influence
    function's, with what heavy tails ask for); see :func:`~danlu.evaluate.intervals`.

    Attributes:
        action: what was done, ``(rows,)``, from 0; negative for an action that the policy does not know, and so never takes.
        reward: what it brought, ``(rows,)``.
        propensity: with which probability it was done, ``(rows,)``, above 0.
        values: ``q``, of rewards, for each action, ``(rows, actions)``: by a model that did not learn from these rows.
        policy: ``π`` of each action, ``(rows, actions)``; None is the logging policy itself, of which no model is needed.

    Reference: Horvitz & Thompson (1952), JASA 47; Swaminathan & Joachims (2015), "The self-normalized estimator for counterfactual
    learning", NeurIPS; Dudík, Langford & Li (2011), "Doubly robust policy evaluation and learning", ICML.

    Example:
        >>> log = Logged(np.array([0, 1, 1]), np.array([1.0, 0.0, 1.0]), np.full(3, 0.5), np.zeros((3, 2)), np.eye(2)[[0, 0, 1]])
        >>> {name: round(value, 3) for name, value in log.measures().items()}
        {'dr_value': 1.333, 'snips_value': 1.0, 'ips_value': 1.333, 'dm_value': 0.0}
    """

    action: np.ndarray
    reward: np.ndarray
    propensity: np.ndarray
    values: np.ndarray
    policy: np.ndarray | None

    primary: ClassVar[str] = "dr_value"
    noun: ClassVar[str] = "rows of the log"
    unlike: ClassVar[str] = (
        "the two policies were tested on different rows of a log; expected the same ones in the same order"
    )

    def __post_init__(self) -> None:
        rows = {len(self.action), len(self.reward), len(self.propensity), len(self.values)}
        if len(rows) > 1 or (self.policy is not None and self.policy.shape != self.values.shape):
            raise DataError(
                "a log has one action, reward, propensity and row of values each; the parts are of different lengths"
            )
        if not (self.propensity > 0).all():
            raise DataError("propensities of a log are 0 or less; expected what was done to have had a chance")

    def __len__(self) -> int:
        return len(self.reward)

    @functools.cached_property
    def weights(self) -> np.ndarray:
        """``w``, ``(rows,)``."""
        return np.ones(len(self)) if self.policy is None else self._of_action(self.policy) / self.propensity

    def _of_action(self, of_actions: np.ndarray) -> np.ndarray:
        """The number of what was done, of one for each action; 0 of an unknown action, ``(rows,)``."""
        known = np.maximum(self.action, 0)
        return np.where(self.action < 0, 0.0, np.take_along_axis(of_actions, known[:, None], axis=1)[:, 0])

    @functools.cached_property
    def _terms(self) -> Mapping[str, np.ndarray]:
        if self.policy is None:
            return dict.fromkeys(VALUE_MEASURES, self.reward)
        direct = np.einsum("ra,ra->r", self.policy, self.values)  # (rows,)
        ips = self.weights * self.reward
        robust = direct + self.weights * (self.reward - self._of_action(self.values))
        return {"dr_value": robust, "snips_value": ips, "ips_value": ips, "dm_value": direct}

    def measures(self, weights: np.ndarray | None = None, names: Sequence[str] | None = None) -> Mapping[str, float]:
        by = np.ones(len(self)) if weights is None else weights
        found = {}
        for name in VALUE_MEASURES if names is None else names:
            over = dot(by, self.weights) if name == "snips_value" else float(by.sum())
            seen = name == "dm_value" or self.weights.any()  # else no row shows anything of the policy
            found[name] = dot(by, self._terms[name]) / over if over and seen else float("nan")
        return found

    def scores(self, *, seed: int = 0) -> dict[str, Interval]:
        """The measures with their intervals; that of IPS reaches over that of SNIPS as well.

        Where few of the heavy weights were drawn, the weights' mean is below 1 and IPS too small, and the rows themselves do not show
        how far.
        """
        found = super().scores(seed=seed)
        if "ips_value" in found and "snips_value" in found:
            own, other = found["ips_value"], found["snips_value"]
            if own.known and other.known:
                found["ips_value"] = Interval(own.value, min(own.low, other.low), max(own.high, other.high))
        return found

    def _take(self, rows: np.ndarray) -> Self:
        parts = {name: getattr(self, name)[rows] for name in ("action", "reward", "propensity", "values")}
        return dataclasses.replace(self, **parts, policy=None if self.policy is None else self.policy[rows])

    def _same(self, other: Self) -> bool:
        return np.array_equal(self.action, other.action) and np.array_equal(self.reward, other.reward)

    def following(self, policy: np.ndarray | None) -> Self:
        """The same rows under another policy, ``(rows, actions)`` or ``(actions,)``; None is the one that logged them."""
        return dataclasses.replace(
            self, policy=None if policy is None else np.broadcast_to(policy, self.values.shape).astype(np.float64)
        )

    @property
    def constant(self) -> bool:
        return self.policy is not None and bool((self.policy == self.policy[:1]).all())

    def support(self, name: str) -> float:
        """The effective rows, of which Student's interval has the degrees of freedom."""
        return float(len(self)) if name == "dm_value" else self.effective_rows

    @property
    def effective_rows(self) -> float:
        """``(Σ w)²/Σ w²``: as many rows of equal weight would tell as much (Kish 1965)."""
        w = self.weights
        return float(w.sum() ** 2 / (w @ w)) if w.any() else 0.0

    @property
    def overlap_z(self) -> float:
        """How many standard errors the mean of the weights is from 1, which it is on average where the propensities are right and
        everything that the policy does was tried; infinite where no row shows it."""
        w = self.weights
        if self.policy is None:
            return 0.0
        error = float(w.std() / np.sqrt(len(w)))
        return float((w.mean() - 1) / error) if error > 0 else (0.0 if np.allclose(w, 1) else -np.inf)


def sure_interval(log: Logged, low: float, high: float, *, level: float = 0.95) -> Interval:
    """IPS with an interval that holds for any weights, however heavy, and any number of rows.

    It needs right propensities and rewards from ``low`` to ``high``, and nothing else. ``X = w·(r − low)`` is never negative, so that for
    the true mean ``m`` the wealth of a gambler who bets on it, ``Π (1 + λ_i·(X_i − m))`` with ``0 ≤ λ_i < 1/m`` decided before row
    ``i``, is a martingale, which exceeds ``1/α`` once in ``1/α`` times (Ville). The lower end is the smallest ``m`` for which it
    did not; the upper end is that of ``high − r``, with the signs turned.

    Args:
        low, high: the ends of what a reward can be.
        level: each end fails in at most half of ``1 − level`` of all logs.

    Raises:
        DataError: rewards that have no range.

    Reference: Waudby-Smith & Ramdas (2024), "Estimating means of bounded random variables by betting", JRSS B 86; Waudby-Smith, Wu,
    Ramdas, Karampatziakis & Mineiro (2022), "Anytime-valid off-policy inference for contextual bandits", arXiv:2210.10768.

    Example:
        >>> reward = np.tile([0.0, 1.0], 200)
        >>> log = Logged(np.zeros(400, int), reward, np.full(400, 0.5), np.zeros((400, 2)), np.tile([0.5, 0.5], (400, 1)))
        >>> log.measures()["ips_value"], sure_interval(log, 0.0, 1.0).between
        (0.5, '0.4325 to 0.5667')
    """
    if not low < high:
        raise DataError(f"rewards from {low:g} to {high:g}; expected a range")
    alpha, share = (1 - level) / 2, (log.reward - low) / (high - low)
    least, most = (_least_mean(log.weights * of, alpha) for of in (share, 1 - share))
    ends = low + (high - low) * min(least, 1.0), high - (high - low) * min(most, 1.0)
    return Interval(log.measures(None, ("ips_value",))["ips_value"], *ends)


def _least_mean(values: np.ndarray, alpha: float) -> float:
    """The lower end of the mean of numbers that are never negative, by bets of a size that their variance so far asks for."""
    rows = len(values)
    before = np.arange(rows) + 1.0
    mean = (np.concatenate([[0.0], np.cumsum(values)[:-1]]) + 0.5) / before  # of the rows before, as all bets are
    gaps = np.cumsum((values - mean) ** 2)
    variance = (np.concatenate([[0.0], gaps[:-1]]) + 0.25) / before
    wanted = np.sqrt(2 * np.log(1 / alpha) / (rows * variance))

    def refuted(m: float) -> bool:
        bets = np.minimum(wanted, 0.75 / m)
        return bool(np.cumsum(np.log1p(bets * (values - m))).max(initial=-np.inf) > np.log(1 / alpha))

    least, most = 0.0, float(values.mean()) if rows else 0.0
    for _ in range(50):
        middle = (least + most) / 2
        if middle <= 0:
            break
        least, most = (middle, most) if refuted(middle) else (least, middle)
    return least
