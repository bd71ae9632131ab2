"""Schedules: a hyper-parameter as a function of the step count.

A schedule is a frozen dataclass that is also a pytree: its numbers are leaves. It lives *inside* the optimizer's state,
so two cosine schedules of different length or peak are one compiled program, and each member of a population can have
its own. ``schedule(count)`` is the value for the update that follows ``count`` finished updates (0 for the first).

Every formula is elementwise in its leaves and in ``count``: a schedule whose leaves carry a leading population axis
can be called with a vector of counts.
"""

from __future__ import annotations

import abc
import dataclasses
import numbers
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import GetAttrKey, register_pytree_with_keys

from danlu.blueprint import setting, validate
from danlu.errors import ConfigError, unknown_name

__all__ = [
    "Constant",
    "Cosine",
    "Exponential",
    "Function",
    "OneCycle",
    "ReduceOnPlateau",
    "Schedule",
    "Step",
    "WarmUp",
    "as_schedule",
    "get_schedule",
]

S = TypeVar("S", bound="Schedule")
Number = Any  # a Python number or a scalar array; a vector when vmapped


def is_array(value: Any) -> bool:
    """Whether ``value`` is an array (traced or not), whose range cannot be checked before tracing."""
    return isinstance(value, jax.Array | np.ndarray)


def as_array(value: Any) -> jax.Array:
    """``value`` as an int32 or float32 array without a weak type (a weak type would compile the step twice)."""
    array = jnp.asarray(value)
    return array.astype(jnp.int32 if jnp.issubdtype(array.dtype, jnp.integer) else jnp.float32)


@dataclass_transform(frozen_default=True, field_specifiers=(setting, dataclasses.field))
class Schedule(abc.ABC):
    """A value that depends on the number of finished updates.

    A subclass becomes a frozen dataclass and a pytree by itself; the fields named in ``STATIC`` are part of the tree's
    structure, all others are leaves. Ranges are checked on construction, except for arrays.
    """

    STATIC: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclasses.dataclass(frozen=True, eq=False)(cls)
        names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
        data = tuple(name for name in names if name not in cls.STATIC)

        def flatten(schedule: Any) -> tuple[list[Any], tuple[Any, ...]]:
            leaves = [(GetAttrKey(name), getattr(schedule, name)) for name in data]
            return leaves, tuple(getattr(schedule, name) for name in cls.STATIC)

        def unflatten(static: tuple[Any, ...], leaves: Any) -> Any:
            # Not through __init__: JAX rebuilds trees with placeholders in place of numbers.
            schedule = object.__new__(cls)
            for name, value in zip((*data, *cls.STATIC), (*leaves, *static), strict=True):
                object.__setattr__(schedule, name, value)
            return schedule

        register_pytree_with_keys(cls, flatten, unflatten)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if "rules" in field.metadata and not is_array(value):
                validate(type(self).__name__, field.name, value, field.metadata["rules"])

    @abc.abstractmethod
    def __call__(self, count: Number) -> jax.Array:
        """The value after ``count`` finished updates."""

    def observe(self: S, value: Number) -> S:
        """The schedule after an epoch whose validation value was ``value``; most schedules ignore it."""
        return self


class Constant(Schedule):
    """Always ``value``.

    Example:
        >>> float(Constant(0.5)(100))
        0.5
    """

    value: Number = setting(minimum=0)

    def __call__(self, count: Number) -> jax.Array:
        return jnp.asarray(self.value, jnp.float32)


class Step(Schedule):
    """Multiplied by ``factor`` every ``every`` updates: ``initial · factor^⌊count / every⌋``.

    Args:
        initial: the first value, >= 0.
        every: updates between two drops, >= 1.
        factor: what each drop multiplies by, in (0, 1].

    Example:
        >>> [float(Step(1.0, 10, 0.5)(count)) for count in (0, 9, 10, 25)]
        [1.0, 1.0, 0.5, 0.25]
    """

    initial: Number = setting(minimum=0)
    every: Number = setting(minimum=1, integer=True)
    factor: Number = setting(default=0.1, above=0, maximum=1)

    def __call__(self, count: Number) -> jax.Array:
        drops = jnp.asarray(count // self.every, jnp.float32)
        return jnp.asarray(self.initial * self.factor**drops, jnp.float32)


class Exponential(Schedule):
    """Smooth decay by ``factor`` in ``steps`` updates: ``initial · factor^(count / steps)``.

    Args:
        initial: the first value, >= 0.
        steps: updates in which the value is multiplied by ``factor`` once, >= 1.
        factor: in (0, 1].

    Example:
        >>> [round(float(Exponential(1.0, 10, 0.25)(count)), 6) for count in (0, 5, 10)]
        [1.0, 0.5, 0.25]
    """

    initial: Number = setting(minimum=0)
    steps: Number = setting(minimum=1, integer=True)
    factor: Number = setting(default=0.1, above=0, maximum=1)

    def __call__(self, count: Number) -> jax.Array:
        return jnp.asarray(self.initial * self.factor ** _ratio(count, self.steps), jnp.float32)


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
        return _anneal(self.peak, self.final, _ratio(count, self.steps))


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
        peak = self.schedule(jnp.zeros_like(count))
        rising = self.initial + (peak - self.initial) * _ratio(count, self.steps)
        after = self.schedule(jnp.maximum(count - self.steps, 0))
        return jnp.where(count < self.steps, rising, after)

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
        done = _ratio(count, self.steps)
        rising = _anneal(initial, self.peak, done / self.warmup)
        falling = _anneal(self.peak, initial / self.final_divisor, (done - self.warmup) / (1 - self.warmup))
        return jnp.where(done < self.warmup, rising, falling)


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
        return jnp.asarray(self.value, jnp.float32)

    def observe(self, value: Number) -> ReduceOnPlateau:
        """The schedule after an epoch whose validation value was ``value``."""
        seen = jnp.asarray(value, jnp.float32)
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
        return jnp.asarray(self.function(count), jnp.float32)


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


_SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "cosine": Cosine,
    "exponential": Exponential,
    "one_cycle": OneCycle,
    "reduce_on_plateau": ReduceOnPlateau,
    "step": Step,
    "warm_up": WarmUp,
}


def get_schedule(name: str, **settings: Any) -> Schedule:
    """The schedule of that name with these settings.

    Raises:
        ConfigError: unknown name or setting, a missing setting, or a value out of range.

    Example:
        >>> get_schedule("cosine", peak=0.1, steps=100)
        Cosine(peak=0.1, steps=100, final=0.0)
    """
    if name not in _SCHEDULES:
        raise unknown_name("schedule", name, _SCHEDULES)
    cls = _SCHEDULES[name]
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in settings:
        if key not in fields:
            raise unknown_name(f"setting of the schedule {name!r}", key, fields)
    missing = [key for key, field in fields.items() if field.default is dataclasses.MISSING and key not in settings]
    if missing:
        raise ConfigError(f"the schedule {name!r} lacks {', '.join(missing)}", hint=f"give {missing[0]}=…")
    return cls(**settings)


def _ratio(count: Number, steps: Number) -> jax.Array:
    return jnp.asarray(count, jnp.float32) / steps


def _anneal(start: Number, end: Number, done: jax.Array) -> jax.Array:
    """Half a cosine from ``start`` at ``done = 0`` to ``end`` at ``done = 1``, constant outside."""
    weight = (1 + jnp.cos(jnp.pi * jnp.clip(done, 0, 1))) / 2
    return jnp.asarray(start * weight + end * (1 - weight), jnp.float32)  # exact at both ends
