"""The schedule contract, and the arithmetic that schedules share."""

from __future__ import annotations

import abc
import dataclasses
import numbers
from typing import Any, ClassVar, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import GetAttrKey, register_pytree_with_keys

from danlu.blueprint import setting, validate

__all__ = ["Schedule", "anneal", "as_array", "is_array", "ratio", "real"]

_LARGEST = 2**31 - 1

S = TypeVar("S", bound="Schedule")
Number = Any  # a Python number or a scalar array; a vector when vmapped


def is_array(value: Any) -> bool:
    """Whether ``value`` is an array (traced or not), whose range cannot be checked before tracing."""
    return isinstance(value, jax.Array | np.ndarray)


def as_array(value: Any) -> jax.Array:
    """``value`` as an int32 or floating array without a weak type (a weak type would compile the step twice).

    A whole number beyond 32 bits becomes a floating one: no count of updates reaches it.
    """
    if isinstance(value, numbers.Integral) and abs(int(value)) > _LARGEST:
        return real(float(value))
    array = jnp.asarray(value)
    return array.astype(jnp.int32) if jnp.issubdtype(array.dtype, jnp.integer) else real(array)


def real(value: Any) -> jax.Array:
    """``value`` as a floating array: float32, or float64 under ``jax_enable_x64``."""
    return jnp.asarray(value, jnp.result_type(float))


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


def ratio(count: Number, steps: Number) -> jax.Array:
    """``count / steps`` as a floating number."""
    return real(count) / real(steps)


def anneal(start: Number, end: Number, done: jax.Array) -> jax.Array:
    """Half a cosine from ``start`` at ``done = 0`` to ``end`` at ``done = 1``, constant outside."""
    weight = (1 + jnp.cos(jnp.pi * jnp.clip(done, 0, 1))) / 2
    return real(start * weight + end * (1 - weight))  # exact at both ends
