"""Schedules without a warm-up: in steps, exponentially, along half a cosine."""

from __future__ import annotations

import jax

from danlu.blueprint import setting
from danlu.optim.schedules.base import Number, Schedule, anneal, as_array, ratio, real

__all__ = ["Cosine", "Exponential", "Step"]


class Step(Schedule):
    """Multiplied by ``factor`` every ``every`` updates: ``initial · factor^⌊count / every⌋``.

    Args:
        initial: the first value, >= 0.
        every: updates between two drops, >= 1.
        factor: what each drop multiplies by, > 0; above 1 it is a rise.

    Example:
        >>> [float(Step(1.0, 10, 0.5)(count)) for count in (0, 9, 10, 25)]
        [1.0, 1.0, 0.5, 0.25]
    """

    initial: Number = setting(minimum=0)
    every: Number = setting(minimum=1, integer=True)
    factor: Number = setting(default=0.1, above=0)

    def __call__(self, count: Number) -> jax.Array:
        drops = real(as_array(count) // as_array(self.every))
        return real(self.initial * real(self.factor) ** drops)


class Exponential(Schedule):
    """Smooth decay, or growth, by ``factor`` in ``steps`` updates: ``initial · factor^(count / steps)``.

    Args:
        initial: the first value, >= 0.
        steps: updates in which the value is multiplied by ``factor`` once, >= 1.
        factor: > 0; above 1 the value grows, as in a search for the largest rate that still learns (Smith 2017, section 3.3).

    Example:
        >>> [round(float(Exponential(1.0, 10, 0.25)(count)), 6) for count in (0, 5, 10)]
        [1.0, 0.5, 0.25]
    """

    initial: Number = setting(minimum=0)
    steps: Number = setting(minimum=1, integer=True)
    factor: Number = setting(default=0.1, above=0)

    def __call__(self, count: Number) -> jax.Array:
        return real(self.initial * real(self.factor) ** ratio(count, self.steps))


class Cosine(Schedule):
    """Half a cosine from ``peak`` to ``final``: ``final + (peak - final)·(1 + cos(π·min(count/steps, 1)))/2``.

    Args:
        peak: the first value, >= 0.
        steps: updates until ``final`` is reached, >= 1; it stays there.
        final: the last value, >= 0.

    Reference:
        Loshchilov & Hutter, "SGDR: stochastic gradient descent with warm restarts" (2017), eq. 5, without restarts.

    Example:
        >>> [round(float(Cosine(1.0, 10)(count)), 6) for count in (0, 5, 10, 99)]
        [1.0, 0.5, 0.0, 0.0]
    """

    peak: Number = setting(minimum=0)
    steps: Number = setting(minimum=1, integer=True)
    final: Number = setting(default=0.0, minimum=0)

    def __call__(self, count: Number) -> jax.Array:
        return anneal(self.peak, self.final, ratio(count, self.steps))
