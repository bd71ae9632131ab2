"""The schedule that reacts to the validation value."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.optim.schedules.base import Number, Schedule, as_array, real

__all__ = ["ReduceOnPlateau"]


class ReduceOnPlateau(Schedule):
    """Multiplied by ``factor`` each time that ``patience`` epochs in a row brought no improvement.

    The count plays no part; :func:`danlu.optim.observe` is called with the validation value at the end of each epoch.
    A value improves when it is below ``best - threshold`` (``mode="min"``) or above ``best + threshold`` (``"max"``).
    NaN never does.

    Args:
        value: the value now, >= 0.
        factor: what a reduction multiplies by, in (0, 1].
        patience: epochs without improvement that cause a reduction, >= 1.
        threshold: the smallest change that counts, >= 0, in the validation value's own unit.
        minimum: the value is never reduced below this, >= 0.
        mode: "min" when a smaller validation value is better (a loss), "max" when a larger one is (an accuracy).
        best: the best validation value so far (None: none yet).
        waited: epochs since the last improvement or reduction.

    Reference:
        Keras's ``ReduceLROnPlateau`` (PyTorch's counts one more bad epoch for the same ``patience``).

    Example:
        >>> schedule = ReduceOnPlateau(1.0, factor=0.5, patience=2)
        >>> for loss in (3.0, 2.0, 2.0, 2.0):
        ...     schedule = schedule.observe(loss)
        >>> float(schedule(0))
        0.5
    """

    STATIC = ("mode",)

    value: Number = setting(minimum=0)
    factor: Number = setting(default=0.1, above=0, maximum=1)
    patience: Number = setting(default=10, minimum=1, integer=True)
    threshold: Number = setting(default=1e-4, minimum=0)
    minimum: Number = setting(default=0.0, minimum=0)
    mode: str = setting(default="min", choices=("min", "max"))
    waited: Number = setting(default=0, minimum=0, integer=True)
    best: Any = dataclasses.field(default=None)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.best is None:
            object.__setattr__(self, "best", float("inf") if self.mode == "min" else float("-inf"))

    def __call__(self, count: Number) -> jax.Array:
        return real(self.value)

    def observe(self, value: Number) -> ReduceOnPlateau:
        """The schedule after an epoch whose validation value was ``value``."""
        seen = real(value)
        improved = seen < self.best - self.threshold if self.mode == "min" else seen > self.best + self.threshold
        waited = as_array(jnp.where(improved, 0, self.waited + 1))
        reduce = waited >= self.patience
        lower = jnp.minimum(jnp.maximum(self.value * self.factor, self.minimum), self.value)
        return dataclasses.replace(
            self,
            value=as_array(jnp.where(reduce, lower, self.value)),
            best=as_array(jnp.where(improved, seen, self.best)),
            waited=jnp.where(reduce, 0, waited),
        )
