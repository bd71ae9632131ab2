"""Schedules that rise first: a linear warm-up before any other, and one cycle up and down."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.optim.schedules.base import Number, Schedule, anneal, as_array, ratio
from danlu.optim.schedules.constant import as_schedule

__all__ = ["OneCycle", "WarmUp"]


class WarmUp(Schedule):
    """A straight line from ``initial`` to the schedule's first value, then the schedule from its start.

    ``initial + (schedule(0) - initial)·count/steps`` while ``count < steps``, then ``schedule(count - steps)``.

    Args:
        schedule: what follows the warm-up: a schedule, a number or a function of the count.
        steps: updates that the warm-up takes, >= 1.
        initial: the first value, >= 0. At 0 the first update changes nothing.

    Reference:
        Goyal et al., "Accurate, large minibatch SGD" (2017), section 2.2 (gradual warm-up).

    Example:
        >>> [float(WarmUp(1.0, 4)(count)) for count in (0, 1, 4, 9)]
        [0.0, 0.25, 1.0, 1.0]
    """

    schedule: Any
    steps: Number = setting(minimum=1, integer=True)
    initial: Number = setting(default=0.0, minimum=0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "schedule", as_schedule(self.schedule))
        super().__post_init__()

    def __call__(self, count: Number) -> jax.Array:
        count, steps = as_array(count), as_array(self.steps)
        peak = self.schedule(jnp.zeros_like(count))
        rising = self.initial + (peak - self.initial) * ratio(count, steps)
        after = self.schedule(jnp.maximum(count - steps, 0))
        return jnp.where(count < steps, rising, after)

    def observe(self, value: Number) -> WarmUp:
        """Passed on to the schedule that follows."""
        return dataclasses.replace(self, schedule=self.schedule.observe(value))


class OneCycle(Schedule):
    """Up from ``peak / initial_divisor`` to ``peak``, then down to ``peak / (initial_divisor · final_divisor)``.

    Both halves are half cosines; the rise takes ``warmup · steps`` updates.

    Args:
        peak: the largest value, >= 0.
        steps: updates of the whole cycle, >= 1; the value stays at the end's afterwards.
        warmup: the share of the cycle that rises, in (0, 1).
        initial_divisor: peak over first value, >= 1.
        final_divisor: first value over last value, >= 1.

    Reference:
        Smith & Topin, "Super-convergence" (2018), with the cosine form and the defaults of PyTorch's ``OneCycleLR``;
        the peak comes at update ``warmup · steps`` (as in optax), one later than in PyTorch. Momentum is not cycled.

    Example:
        >>> [round(float(OneCycle(1.0, 10, 0.5)(count)), 6) for count in (0, 5, 10)]
        [0.04, 1.0, 4e-06]
    """

    peak: Number = setting(minimum=0)
    steps: Number = setting(minimum=1, integer=True)
    warmup: Number = setting(default=0.3, above=0, below=1)
    initial_divisor: Number = setting(default=25.0, minimum=1)
    final_divisor: Number = setting(default=1e4, minimum=1)

    def __call__(self, count: Number) -> jax.Array:
        initial = self.peak / self.initial_divisor
        done = ratio(count, self.steps)
        rising = anneal(initial, self.peak, done / self.warmup)
        falling = anneal(self.peak, initial / self.final_divisor, (done - self.warmup) / (1 - self.warmup))
        return jnp.where(done < self.warmup, rising, falling)
