"""The budget: how much ε may be spent, and the noise that keeps to it."""

from __future__ import annotations

from collections.abc import Callable

from danlu.blueprint import Blueprint, setting
from danlu.errors import ConfigError
from danlu.privacy.ledger import ACCOUNTANTS, Ledger, accounting

__all__ = ["MOST_NOISE", "Budget", "default_delta"]

MOST_NOISE = 1e4
"""The largest noise multiplier that is looked for."""
_LEAST_NOISE = 0.05
_CLOSE = 1e-3  # how near the noise comes to the least that keeps to the budget, in parts of it


def default_delta(rows: int) -> float:
    """The δ of ``rows`` rows where none is said: ``rows^−1.1``, below 1/rows, at which publishing one row whole would pass.

    >>> f"{default_delta(60000):.2g}"
    '5.5e-06'
    """
    return max(rows, 2) ** -1.1


class Budget(Blueprint):
    """At most ``epsilon`` at ``delta``.

    Args:
        epsilon: the largest ε.
        delta: its δ.
        by: how ε is counted; one of :data:`~danlu.privacy.ledger.ACCOUNTANTS`.
    """

    epsilon: float = setting(above=0)
    delta: float = setting(above=0, below=1)
    by: str = setting(default="pld", choices=ACCOUNTANTS)

    def check_rows(self, rows: int, unit: str = "row") -> None:
        """Refuse a δ that promises nothing.

        Raises:
            ConfigError: δ is 1/rows or more.
        """
        if self.delta * rows >= 1:
            raise ConfigError(
                f"delta is {self.delta:g} for {rows:,} {unit}s; expected less than 1/{rows:,} = {1 / rows:.2g}, since a program that "
                f"published one {unit} at random would keep to such a delta",
                hint=f"delta={default_delta(rows):.2g}, or leave it out",
            )

    def spent(self, ledger: Ledger) -> float:
        """The ε of a ledger at this budget's δ."""
        return ledger.epsilon(self.delta, by=self.by)

    def noise(self, plan: Callable[[float], Ledger]) -> float:
        """The least noise multiplier ``z`` with which ``plan(z)`` keeps to the budget.

        Args:
            plan: the whole ledger of a training with noise ``z``; its ε must fall as ``z`` grows.

        Raises:
            ConfigError: no noise is enough; the message says what the least ε is.
        """
        least = self.spent(plan(MOST_NOISE))
        if least > self.epsilon:
            raise ConfigError(
                f"epsilon is {self.epsilon:g} at delta {self.delta:.2g}, and {least:.3g} is spent before any training, whatever the noise",
                hint=f"an epsilon above {least:.3g}, or spend less on statistics",
            )
        if self.by == "rdp":
            return self._least(plan, _LEAST_NOISE, self._enough(plan))
        above = self.replace(by="rdp").noise(plan)  # a looser bound, found in a moment
        below = above
        while below > _LEAST_NOISE and self.spent(plan(below)) <= self.epsilon:
            above, below = below, max(0.9 * below, _LEAST_NOISE)
        return above if below == above else self._least(plan, below, above)

    def _enough(self, plan: Callable[[float], Ledger]) -> float:
        """A noise multiplier that keeps to the budget, not far above the least."""
        noise = 2 * _LEAST_NOISE
        while self.spent(plan(noise)) > self.epsilon and noise < MOST_NOISE:
            noise *= 2
        return min(noise, MOST_NOISE)

    def _least(self, plan: Callable[[float], Ledger], low: float, high: float) -> float:
        """The least between ``low``, which may be too little, and ``high``, which is enough."""
        if self.spent(plan(low)) <= self.epsilon:
            return low
        counts = accounting()
        found = counts.calibrate_dp_mechanism(
            lambda: _Counted(self),
            plan,
            self.epsilon,
            self.delta,
            counts.ExplicitBracketInterval(low, high),
            tol=_CLOSE * low,
        )
        return float(found)


class _Counted:
    """A ledger as an accountant of ``dp-accounting``, which it looks for the noise with."""

    def __init__(self, budget: Budget) -> None:
        self.budget, self.ledger = budget, accounting().NoOpDpEvent()

    def compose(self, ledger: Ledger) -> _Counted:
        """Count the ledger."""
        self.counted = ledger
        return self

    def get_epsilon(self, delta: float) -> float:
        """Its ε."""
        return self.budget.spent(self.counted)
