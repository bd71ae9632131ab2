"""Snapshots: the networks at the ends of the cycles of one training, side by side on an axis of their own, as the members of one model.

Reference:
    Huang, Li, Pleiss, Liu, Hopcroft & Weinberger, "Snapshot ensembles: train 1, get M for free" (2017).
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from danlu.engine.loop import Steps
from danlu.engine.options import FitOptions
from danlu.engine.state import TrainState
from danlu.errors import ConfigError
from danlu.nn.ensemble import Ensemble

__all__ = ["Cycles", "first_snapshots", "no_snapshots", "with_snapshot", "with_snapshots"]


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


class Cycles:
    """The networks at the ends of the cycles of a training, as it goes on.

    Attributes:
        kept: room for those of all cycles, filled so far.
    """

    def __init__(self, program: Steps, state: TrainState, options: FitOptions) -> None:
        self._options, self._axis = (
            options,
            0 if program.members is None else 1,
        )  # of a population: after that of the members
        one = no_snapshots(state.learnt, options.snapshots, axis=self._axis)
        self.kept: Any = program.layout(state.params).place(one)

    def keep(self, state: TrainState, epoch: int) -> None:
        """Keep the network, if a cycle ends with this epoch."""
        cycle = self._options.epochs // self._options.snapshots
        if (epoch + 1) % cycle == 0:
            self.kept = with_snapshot(self.kept, state.learnt, jnp.int32(epoch // cycle), axis=self._axis)

    def networks(self, state: TrainState, epoch: int) -> tuple[Any, int]:
        """Those kept before ``epoch`` and how many; before the first cycle has ended, the one that there is."""
        done, kept = epoch * self._options.snapshots // max(self._options.epochs, 1), self.kept
        if done == 0:
            kept, done = with_snapshot(kept, state.learnt, jnp.int32(0), axis=self._axis), 1
        return first_snapshots(kept, done, axis=self._axis), done
