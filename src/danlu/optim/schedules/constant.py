"""Constant values and plain functions as schedules."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any

import jax

from danlu.blueprint import setting
from danlu.errors import ConfigError
from danlu.optim.schedules.base import Number, Schedule, is_array, real

__all__ = ["Constant", "Function", "as_schedule"]


class Constant(Schedule):
    """Always ``value``.

    Example:
        >>> float(Constant(0.5)(100))
        0.5
    """

    value: Number = setting(minimum=0)

    def __call__(self, count: Number) -> jax.Array:
        return real(self.value)


class Function(Schedule):
    """A plain function of the count, such as one of optax's schedules.

    Two are one compiled program only if they are one and the same function.

    Example:
        >>> float(Function(lambda count: 1.0 / (1 + count))(3))
        0.25
    """

    STATIC = ("function",)

    function: Callable[[Any], Any]

    def __call__(self, count: Number) -> jax.Array:
        return real(self.function(count))


def as_schedule(value: Any) -> Schedule:
    """``value`` as a schedule: a number becomes :class:`Constant`, a function of the count :class:`Function`.

    Raises:
        ConfigError: it is none of these.
    """
    if isinstance(value, Schedule):
        return value
    if is_array(value) or (isinstance(value, numbers.Real) and not isinstance(value, bool)):
        return Constant(value)
    if callable(value):
        return Function(value)
    raise ConfigError(f"the schedule is {value!r}; expected a number, a schedule or a function of the step count")
