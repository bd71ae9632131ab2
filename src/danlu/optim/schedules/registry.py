"""Schedules by name, for configuration files and the command line."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from danlu.errors import ConfigError, unknown_name
from danlu.optim.schedules.base import Schedule
from danlu.optim.schedules.constant import Constant
from danlu.optim.schedules.decay import Cosine, Exponential, Step
from danlu.optim.schedules.plateau import ReduceOnPlateau
from danlu.optim.schedules.restarts import Restarts
from danlu.optim.schedules.warmup import OneCycle, WarmUp

__all__ = ["SCHEDULES", "get_schedule"]

SCHEDULES: Mapping[str, type[Schedule]] = MappingProxyType(
    {
        "constant": Constant,
        "cosine": Cosine,
        "exponential": Exponential,
        "one_cycle": OneCycle,
        "reduce_on_plateau": ReduceOnPlateau,
        "restarts": Restarts,
        "step": Step,
        "warm_up": WarmUp,
    }
)
"""Every schedule that plain data can describe, by its name."""


def get_schedule(name: str, **settings: Any) -> Schedule:
    """The schedule of that name with these settings.

    Raises:
        ConfigError: unknown name or setting, a missing setting, or a value out of range.

    Example:
        >>> get_schedule("cosine", peak=0.1, steps=100)
        Cosine(peak=0.1, steps=100, final=0.0)
    """
    if name not in SCHEDULES:
        raise unknown_name("schedule", name, SCHEDULES)
    cls = SCHEDULES[name]
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in settings:
        if key not in fields:
            raise unknown_name(f"setting of the schedule {name!r}", key, fields)
    missing = [key for key, field in fields.items() if field.default is dataclasses.MISSING and key not in settings]
    if missing:
        raise ConfigError(f"the schedule {name!r} lacks {', '.join(missing)}", hint=f"give {missing[0]}=…")
    return cls(**settings)
