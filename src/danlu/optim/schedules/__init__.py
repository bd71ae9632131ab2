"""Schedules: a hyper-parameter as a function of the step count.

A schedule is a frozen dataclass that is also a pytree: its numbers are leaves. It lives *inside* the optimizer's state,
so two cosine schedules of different length or peak are one compiled program, and each member of a population can have
its own. ``schedule(count)`` is the value for the update that follows ``count`` finished updates (0 for the first).

Every formula is elementwise in its leaves and in ``count``: a schedule whose leaves carry a leading population axis
can be called with a vector of counts.
"""

from danlu.optim.schedules.base import Schedule
from danlu.optim.schedules.constant import Constant, Function, as_schedule
from danlu.optim.schedules.decay import Cosine, Exponential, Step
from danlu.optim.schedules.plateau import ReduceOnPlateau
from danlu.optim.schedules.registry import SCHEDULES, get_schedule
from danlu.optim.schedules.restarts import Restarts
from danlu.optim.schedules.warmup import OneCycle, WarmUp

__all__ = [
    "SCHEDULES",
    "Constant",
    "Cosine",
    "Exponential",
    "Function",
    "OneCycle",
    "ReduceOnPlateau",
    "Restarts",
    "Schedule",
    "Step",
    "WarmUp",
    "as_schedule",
    "get_schedule",
]
