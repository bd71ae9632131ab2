"""Any schedule, again and again."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

from danlu.blueprint import setting
from danlu.optim.schedules.base import Number, Schedule, as_array
from danlu.optim.schedules.constant import as_schedule

__all__ = ["Restarts"]


class Restarts(Schedule):
    """A schedule that begins anew every ``steps`` updates: ``schedule(count mod steps)``.

    Of ``Cosine(peak, steps)`` it is cosine annealing with warm restarts, by which one training passes through several networks that are
    each good (see :class:`~danlu.engine.FitOptions`, ``snapshots``).

    Args:
        schedule: a schedule, a number or a function of the count.
        steps: updates of a cycle, >= 1.

    Reference:
        Loshchilov & Hutter, "SGDR: stochastic gradient descent with warm restarts" (2017), eq. 5, with cycles of one length
        (``T_mult = 1``); Huang et al., "Snapshot ensembles" (2017), eq. 2.

    Example:
        >>> from danlu.optim import Cosine
        >>> [round(float(Restarts(Cosine(1.0, 4), 4)(count)), 6) for count in (0, 2, 3, 4, 6)]
        [1.0, 0.5, 0.146447, 1.0, 0.5]
    """

    schedule: Any
    steps: Number = setting(minimum=1, integer=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "schedule", as_schedule(self.schedule))
        super().__post_init__()

    def __call__(self, count: Number) -> jax.Array:
        # A cycle longer than 32 bits can count has no second one; its length is then a floating number.
        found: jax.Array = self.schedule(as_array(count) % as_array(self.steps))
        return found

    def observe(self, value: Number) -> Restarts:
        """Passed on to the schedule that is repeated."""
        return dataclasses.replace(self, schedule=self.schedule.observe(value))
