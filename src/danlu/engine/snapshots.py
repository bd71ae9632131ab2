"""Snapshots: the networks at the ends of the cycles of one training, side by side on an axis of their own, as the members of one model.

Reference:
    Huang, Li, Pleiss, Liu, Hopcroft & Weinberger, "Snapshot ensembles: train 1, get M for free" (2017).
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from danlu.errors import ConfigError
from danlu.nn.ensemble import Ensemble

__all__ = ["first_snapshots", "no_snapshots", "with_snapshot", "with_snapshots"]


@functools.partial(jax.jit, static_argnames=("count", "axis"))
def no_snapshots(one: Any, count: int, *, axis: int) -> Any:
    """Room for ``count`` copies of the arrays of ``one``, on the axis ``axis``."""
    return jax.tree.map(lambda leaf: jnp.stack([leaf] * count, axis=axis), one)


@functools.partial(jax.jit, static_argnames=("axis",), donate_argnames=("kept",))
def with_snapshot(kept: Any, one: Any, number: Any, *, axis: int) -> Any:
    """``kept`` with the arrays of ``one`` as snapshot ``number``."""
    place = (slice(None),) * axis
    return jax.tree.map(lambda all_, own: all_.at[(*place, number)].set(own), kept, one)


def first_snapshots(kept: Any, count: int, *, axis: int) -> Any:
    """The first ``count`` of those kept."""
    return jax.tree.map(lambda leaf: leaf[(slice(None),) * axis + (slice(count),)], kept)


def with_snapshots(program: Any, count: int, in_shape: Any) -> Any:
    """``program`` of ``count`` snapshots of its network instead of one network; a population's each has so many.

    Raises:
        ConfigError: its network cannot be one of several, or it is of more than a network.
    """
    if not hasattr(program, "with_model"):
        raise ConfigError(
            f"snapshots is {count}, and {type(program).__name__} trains more than one network that learns from rows"
        )
    one = getattr(program, "program", program).model
    several = Ensemble(one, count)
    several.out_shape(in_shape)
    return program.with_model(several)
