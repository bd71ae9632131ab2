"""What a policy would have earned, from a log of what another one did: off-policy evaluation with intervals.

A row of a log is a context ``x``, the action ``a`` that was taken in it, the reward ``r`` that it brought, and the propensity
``p = μ(a | x)`` with which the logging policy took it. The value of another policy ``π`` is ``V = E_x Σ_a π(a | x)·E[r | x, a]``.

A row may also be a page: several places, an action (an item) at each with its own reward and propensity. Its value is the sum over places.
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
from danlu.evaluate.measures import Measure, register
from danlu.evaluate.ranking import dot

__all__ = ["ABSENT", "DEPENDS", "VALUE_MEASURES", "Logged", "sure_interval"]

ABSENT = -2
"""The action at a place that a page does not have: there every policy does the same, which brings 0."""
DEPENDS = ("place", "above", "page")
"""What the reward of a place may depend on; see :class:`Logged`."""

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

    Of pages every array has an axis of places after that of rows, and a value is the sum of those of the places; SNIPS divides at each
    place by the weights of that place. The weight ``w_j`` of place ``j`` follows from what its reward depends on, ``depends``:

    - ``"place"``: on the item there, the place and the context. ``w_j = π(a_j at j | x)/p_j``, with the probability that the item stands
      at this place, whatever stands at others.
    - ``"above"``: on the items above as well (a visitor who found something looks no further). ``w_j = Π_{i ≤ j} π(a_i | x, above)/p_i``,
      with the probabilities given what stands above.
    - ``"page"``: on all items of the page: the product over all places.

    Each is right if those after it are, and far noisier than those before it. A row is what is drawn again for an interval: the places of
    a page stay together.

    Attributes:
        action: what was done, ``(rows,)`` or ``(rows, places)``, from 0; −1 for an action that the policy does not know, and so never
            takes, and :data:`ABSENT` where a page has no such place.
        reward: what it brought, of the same shape; 0 where absent.
        propensity: with which probability it was done, of the same shape, above 0.
        values: ``q``, of rewards, for each action, ``(rows, actions)`` or ``(rows, places, actions)``: by a model that did not learn from
            these rows.
        policy: ``π`` of each action, of the shape of ``values``: that it is at a place, whatever stands at others. None is the logging
            policy itself, of which no model is needed.
        depends: what the reward of a place depends on.
        given: the policy's probability of what was logged, given what stands above, of the shape of ``action``; None takes that of
            ``policy``, as is right where all of it is 0 or 1.

    Reference: Horvitz & Thompson (1952), JASA 47; Swaminathan & Joachims (2015), "The self-normalized estimator for counterfactual
    learning", NeurIPS; Dudík, Langford & Li (2011), "Doubly robust policy evaluation and learning", ICML; for pages Li,
    Abbasi-Yadkori, Kveton, Muthukrishnan, Vinay & Wen (2018), "Offline evaluation of ranking policies with click models", KDD
    (``"place"``); McInerney, Brost, Chandar, Mehrotra & Carterette (2020), "Counterfactual evaluation of slate recommendations with
    sequential reward interactions", KDD (``"above"``).

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
    depends: str = "place"
    given: np.ndarray | None = None

    primary: ClassVar[str] = "dr_value"
    unlike: ClassVar[str] = (
        "the two policies were tested on different rows of a log; expected the same ones in the same order"
    )

    def __post_init__(self) -> None:
        shape = self.action.shape
        parts = (self.reward, self.propensity, *(() if self.given is None else (self.given,)))
        if any(part.shape != shape for part in parts) or self.values.shape[:-1] != shape:
            raise DataError(
                "a log has one action, reward, propensity and row of values each; the parts are of different lengths"
            )
        if self.policy is not None and self.policy.shape != self.values.shape:
            raise DataError(
                f"the policy is of the shape {self.policy.shape}, the values {self.values.shape}; expected the same"
            )
        if not (self.propensity > 0).all():
            raise DataError("propensities of a log are 0 or less; expected what was done to have had a chance")
        if self.depends not in DEPENDS:
            raise DataError(f"depends is {self.depends!r}; expected one of {', '.join(DEPENDS)}")

    def __len__(self) -> int:
        return len(self.reward)

    @property
    def noun(self) -> str:  # type: ignore[override]
        return "rows of the log" if self.places == 1 else "pages of the log"

    @property
    def places(self) -> int:
        """How many places a row has; 1 where it is one decision."""
        return 1 if self.action.ndim == 1 else self.action.shape[1]

    def _placed(self, part: np.ndarray) -> np.ndarray:
        """A part of the rows with an axis of places, ``(rows, places, …)``."""
        return part[:, None] if self.action.ndim == 1 else part

    @functools.cached_property
    def absent(self) -> np.ndarray:
        """Which places pages do not have, ``(rows, places)``."""
        return self._placed(self.action) == ABSENT

    @functools.cached_property
    def by_place(self) -> np.ndarray:
        """``w`` of each place, ``(rows, places)``."""
        if self.policy is None:
            return np.ones(self.absent.shape)
        chance = self._of_action(self.policy) if self.given is None else self._placed(self.given)
        each = np.where(self.absent, 1.0, chance / self._placed(self.propensity))
        if self.depends == "above":
            return each.cumprod(axis=1)
        return np.broadcast_to(each.prod(axis=1, keepdims=True), each.shape) if self.depends == "page" else each

    @functools.cached_property
    def weights(self) -> np.ndarray:
        """``w``, ``(rows,)``; of pages the mean over their places."""
        return np.asarray(self.by_place.mean(axis=1))

    def _of_action(self, of_actions: np.ndarray) -> np.ndarray:
        """The number of what was done, of one for each action; 0 of an unknown action, ``(rows, places)``."""
        action = self._placed(self.action)
        found = np.take_along_axis(self._placed(of_actions), np.maximum(action, 0)[..., None], axis=-1)[..., 0]
        return np.where(action < 0, 0.0, found)

    @functools.cached_property
    def terms_by_place(self) -> Mapping[str, np.ndarray]:
        """What each place adds to each value, ``(rows, places)``; of SNIPS before the division."""
        reward = self._placed(self.reward)
        if self.policy is None:
            return dict.fromkeys(VALUE_MEASURES, reward)
        each = np.einsum("...a,...a->...", self.policy, self.values)  # (rows[, places])
        direct = np.where(self.absent, 0.0, self._placed(each))
        ips = self.by_place * reward
        robust = direct + self.by_place * (reward - self._of_action(self.values))
        return {"dr_value": robust, "snips_value": ips, "ips_value": ips, "dm_value": direct}

    @functools.cached_property
    def _terms(self) -> Mapping[str, np.ndarray]:
        return {name: each.sum(axis=1) for name, each in self.terms_by_place.items()}

    def measures(self, weights: np.ndarray | None = None, names: Sequence[str] | None = None) -> Mapping[str, float]:
        by = np.ones(len(self)) if weights is None else weights
        found = {}
        for name in VALUE_MEASURES if names is None else names:
            if name != "dm_value" and not self.weights.any():  # no row shows anything of the policy
                found[name] = float("nan")
            elif name == "snips_value":
                found[name] = sum(
                    dot(by, earned) / over if (over := dot(by, weight)) else float("nan")
                    for earned, weight in zip(self.terms_by_place[name].T, self.by_place.T, strict=True)
                )
            else:
                over = float(by.sum())
                found[name] = dot(by, self._terms[name]) / over if over else float("nan")
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
        names = (each.name for each in dataclasses.fields(self) if each.name != "depends")
        parts: dict[str, Any] = {name: part[rows] for name in names if (part := getattr(self, name)) is not None}
        return dataclasses.replace(self, **parts)

    def _same(self, other: Self) -> bool:
        return np.array_equal(self.action, other.action) and np.array_equal(self.reward, other.reward)

    def following(self, policy: np.ndarray | None, given: np.ndarray | None = None) -> Self:
        """The same rows under another policy, ``([rows, places,] actions)``; None is the one that logged them."""
        whole = None if policy is None else np.broadcast_to(policy, self.values.shape).astype(np.float64)
        return dataclasses.replace(self, policy=whole, given=given)

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
        low, high: the ends of what a reward can be, at one place.
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
    if log.absent.any():  # which bring 0
        low, high = min(low, 0.0), max(high, 0.0)
    alpha, weight, places = (1 - level) / 2, log.by_place, log.places
    share = (log.reward.reshape(weight.shape) - low) / (high - low)  # (rows, places)
    least, most = (_least_mean((weight * of).sum(axis=1), alpha) for of in (share, 1 - share))
    ends = places * low + (high - low) * min(least, places), places * high - (high - low) * min(most, places)
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
