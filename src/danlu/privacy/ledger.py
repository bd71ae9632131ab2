"""The ledger: every noisy look at private rows, and the ε that they amount to at a δ.

A mechanism adds Gaussian noise to a sum in which no row (or client) counts for more than ``C``. Its *noise multiplier* is ``z = σ / C``.
Where each row takes part with probability ``q`` alone, by a draw of its own (Poisson sampling), it hides more. Two sets of rows are
neighbours when one has one row more; a ledger of ε at δ says of every set ``S`` of outcomes, and of both directions:

    P[outcome of D in S]  ≤  e^ε · P[outcome of D' in S] + δ

How ``z``, ``q`` and the number of steps become ε is not computed here but by Google's ``dp-accounting``: by privacy loss distributions
(``"pld"``, tight) or by Rényi divergences (``"rdp"``, an older bound, for comparison with papers).

Reference:
    Dwork & Roth, "The algorithmic foundations of differential privacy" (2014); Abadi et al., "Deep learning with differential privacy"
    (2016); Koskela et al., "Computing tight differential privacy guarantees using FFT" (2020); Mironov, "Rényi differential privacy"
    (2017).
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
from collections.abc import Iterator
from typing import Any

from danlu.blueprint import Blueprint, setting
from danlu.errors import ArtifactError, ConfigError, DanluError, MissingExtraError, shorten, unknown_name

__all__ = ["ACCOUNTANTS", "NOTHING", "Ledger", "Mechanism", "accounting", "together"]

ACCOUNTANTS = ("pld", "rdp")
"""How ε is counted: by privacy loss distributions, or by Rényi divergences."""


def accounting() -> Any:
    """The library that counts.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import dp_accounting
        import dp_accounting.pld
        import dp_accounting.rdp
    except ImportError as error:
        raise MissingExtraError(
            "counting privacy needs dp-accounting, which is not installed", hint="pip install 'danlu[private]'"
        ) from error
    return dp_accounting


def together(*noises: float) -> float:
    """The noise multiplier of several sums over the same rows, each with noise of its own: ``(Σ_i z_i⁻²)^(−½)``.

    A row moves the vector of all the sums, each divided by its σ, by at most ``√Σ z_i⁻²``: one Gaussian mechanism. So adaptive clipping's
    count of clipped rows is paid for, whose sensitivity is ½ about its middle (Andrew et al. 2021, theorem 1).

    >>> together(1.0), round(together(1.0, 1.0), 4), together(1.0, 0.0)
    (1.0, 0.7071, 0.0)
    """
    return 0.0 if min(noises) == 0 else sum(z**-2 for z in noises) ** -0.5


class Mechanism(Blueprint):
    """Looks at the rows of one kind.

    Args:
        what: what was looked at, in words.
        noise: the noise multiplier ``z = σ / C``; 0 is no noise, and no privacy.
        steps: how often.
        sampling: the probability ``q`` of each row to take part in a step; 1 is all rows.
        failure: a probability with which it may tell that a row was there; it is taken from δ.
    """

    what: str
    noise: float = setting(minimum=0)
    steps: int = setting(default=1, minimum=0, integer=True)
    sampling: float = setting(default=1.0, above=0, maximum=1)
    failure: float = setting(default=0.0, minimum=0, below=1)

    @property
    def event(self) -> Any:
        """It in the words of ``dp-accounting``."""
        counts = accounting()
        event = counts.GaussianDpEvent(self.noise)
        if self.sampling < 1:
            event = counts.PoissonSampledDpEvent(self.sampling, event)
        return counts.SelfComposedDpEvent(event, self.steps)


class Ledger(Blueprint):
    """What was spent: a list of mechanisms, each on the outcome of those before.

    Args:
        mechanisms: what looked at the rows.
        unit: what is protected: a ``"row"``, or a ``"client"`` with all its rows.

    Example:
        >>> ledger = Ledger().with_steps("means", noise=20.0) + Ledger().with_steps("training", noise=1.0, sampling=0.02, steps=500)
        >>> ledger.epsilon(1e-5, by="rdp") > ledger.without("means").epsilon(1e-5, by="rdp")
        True
        >>> Ledger.read(ledger.record()) == ledger
        True
    """

    mechanisms: tuple[Mechanism, ...] = ()
    unit: str = setting(default="row", choices=("row", "client"))

    def with_steps(
        self, what: str, *, noise: float, steps: int = 1, sampling: float = 1.0, failure: float = 0.0
    ) -> Ledger:
        """The ledger after further looks; of the same mechanism as the last one they are counted with it."""
        new = Mechanism(what=what, noise=noise, steps=steps, sampling=sampling, failure=failure)
        *before, last = self.mechanisms or (None,)
        if last is not None and last.replace(steps=steps) == new and not failure:
            return self.replace(mechanisms=(*before, last.replace(steps=last.steps + steps)))
        return self.replace(mechanisms=(*self.mechanisms, new))

    def without(self, what: str) -> Ledger:
        """The ledger without the mechanisms of this name."""
        return self.replace(mechanisms=tuple(each for each in self.mechanisms if each.what != what))

    def __add__(self, other: Ledger) -> Ledger:
        """Both, one after the other, on the same rows.

        Raises:
            ConfigError: one protects rows and the other clients.
        """
        if self.unit != other.unit and self.mechanisms and other.mechanisms:
            raise ConfigError(
                f"one ledger protects each {self.unit} and the other each {other.unit}; expected the same"
            )
        unit = self.unit if self.mechanisms else other.unit
        return Ledger(mechanisms=(*self.mechanisms, *other.mechanisms), unit=unit)

    @property
    def failure(self) -> float:
        """The part of δ that mechanisms may fail with."""
        return math.fsum(each.failure * each.steps for each in self.mechanisms)

    def epsilon(self, delta: float, *, by: str = "pld") -> float:
        """ε at ``delta``; infinite where something was looked at without noise, or where ``delta`` is all taken.

        Args:
            delta: the probability of failing that is allowed, above 0 and below 1.
            by: one of :data:`ACCOUNTANTS`.

        Raises:
            ConfigError: another δ or accountant.
        """
        _check_delta(delta)
        left = delta - self.failure
        return math.inf if left <= 0 else _epsilon(self.replace(unit="row"), left, by)

    def record(self) -> dict[str, Any]:
        """Plain data, for a file."""
        found = [
            {name: getattr(each, name) for name in ("what", "noise", "steps", "sampling", "failure")}
            for each in self.mechanisms
        ]
        return {"unit": self.unit, "mechanisms": found}

    @classmethod
    def read(cls, record: Any) -> Ledger:
        """What :meth:`record` gave.

        Raises:
            ArtifactError: something else.
        """
        try:
            return cls(mechanisms=tuple(Mechanism(**each) for each in record["mechanisms"]), unit=record["unit"])
        except (DanluError, KeyError, TypeError) as error:
            raise ArtifactError(f"the ledger of privacy is damaged: {shorten(record)}") from error

    def lines(self) -> list[str]:
        """Each mechanism in words."""
        return [_said(each) for each in self.mechanisms]


@functools.lru_cache(maxsize=256)
def _epsilon(ledger: Ledger, delta: float, by: str) -> float:
    if by not in ACCOUNTANTS:
        raise unknown_name("accountant", by, ACCOUNTANTS)
    counts, looked = accounting(), [each for each in ledger.mechanisms if each.steps]
    if not looked:
        return 0.0
    counter = counts.rdp.RdpAccountant()
    if by == "pld":
        rough = _epsilon(ledger, delta, "rdp")
        if rough == math.inf:
            return rough
        # Losses are rounded up to multiples of this: a bound at any width, and of a large ε a fine one would take minutes.
        counter = counts.pld.PLDAccountant(value_discretization_interval=1e-4 * 10 ** sum(rough > e for e in (25, 250)))
    with _quiet():
        for each in looked:
            counter.compose(each.event)
        return float(counter.get_epsilon(delta))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the accountant's remarks on orders of Rényi that it leaves out, which make a bound no less true."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


NOTHING = Ledger()
"""The ledger of what was not looked at."""


def _check_delta(delta: float) -> None:
    if isinstance(delta, bool) or not isinstance(delta, int | float) or not 0 < delta < 1:
        raise ConfigError(f"delta is {delta!r}; expected a number above 0 and below 1", hint="such as 1e-5")


def _said(each: Mechanism) -> str:
    times = f"{each.steps:,} times" if each.steps != 1 else "once"
    rows = "all rows" if each.sampling == 1 else f"{each.sampling:.3g} of the rows, drawn anew each time"
    fails = f"; it may fail with probability {each.failure:.2g}" if each.failure else ""
    return f"{each.what}: {times}, {rows}, noise {each.noise:.4g} times what one may add{fails}"
