"""What keeps an agent from learning, as its record and its weights say it: rules, causes before what follows from them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from danlu.engine.case import Case
from danlu.engine.causes import changed_rate, hardly_moved, higher_rate, lower_rate, told_rate
from danlu.engine.health import Finding

__all__ = ["ACTING"]

_GREW = 3.0
_EPISODES = 4  # epochs with a return below which nothing can be said


def _rose(case: Case, by: float = 0.1) -> bool:
    """Whether the return of later epochs is better than that of the first ones, by a share of its size and of its spread."""
    returns = case.returns
    part = max(1, returns.size // 4)
    first, best = float(np.mean(returns[:part])), float(np.max(returns[part:], initial=-np.inf))
    return best > first + by * max(abs(first), float(np.ptp(returns)))


def _no_reward(case: Case) -> Finding | None:
    every = np.concatenate([case.returns, case.column("return")])
    every = every[np.isfinite(every)]
    if case.returns.size < _EPISODES or np.ptp(every) > 0:
        return None
    return Finding(
        "no_reward",
        "every episode has the same return",
        f"it is {every[0]:.4g} in each of {case.returns.size} evaluations and in training, so no action was ever better than another",
        "a reward that says when it gets nearer, more exploration, or many more steps",
    )


def _rate_too_low(case: Case) -> Finding | None:
    way = case.moved
    if _rose(case, by=0.5) or not hardly_moved(case):
        return None
    higher = higher_rate(case)
    return Finding(
        "rate_too_low",
        "the learning rate is too low",
        f"all {case.steps:,} updates together moved the weights by {100 * way:.2g} % of their size; the mean return went from "
        f"{case.returns[0]:.4g} to {case.returns[-1]:.4g}",
        told_rate(higher, "a higher learning rate, such as {rate}, or more steps"),
        *changed_rate(higher),
    )


def _rate_too_high(case: Case) -> Finding | None:
    if _rose(case) or not case.grown > _GREW:
        return None
    lower = lower_rate(case, max(case.grown, 10))
    return Finding(
        "rate_too_high",
        "the learning rate is too high",
        f"the weights have grown {case.grown:.3g} times as large in {case.steps:,} updates, and the mean return went from "
        f"{case.returns[0]:.4g} to {case.returns[-1]:.4g}",
        told_rate(lower, "a lower learning rate, such as {rate}, or clipping the gradient"),
        *changed_rate(lower),
    )


def _policy_collapse(case: Case) -> Finding | None:
    entropy = case.column("entropy")
    if entropy.size < _EPISODES or not entropy[0] > 0 or entropy[-1] > 0.02 * entropy[0] or _rose(case):
        return None
    return Finding(
        "policy_collapse",
        "the policy has stopped trying anything else before it learnt",
        f"its entropy fell from {entropy[0]:.3g} to {entropy[-1]:.2g} nats, and the mean return from {case.returns[0]:.4g} is never better "
        f"than {case.returns.max():.4g}",
        "a lower learning rate, or a larger weight of the entropy",
        *changed_rate(lower_rate(case, 10)),
    )


ACTING: tuple[Callable[[Case], Finding | None], ...] = (_no_reward, _rate_too_high, _rate_too_low, _policy_collapse)
"""The rules."""
