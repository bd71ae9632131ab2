"""A copy of a training's state now and then, from which a step that went wrong is taken again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from danlu.engine.autopsy import Cause, autopsy
from danlu.engine.loop import run_steps
from danlu.engine.order import gather
from danlu.engine.state import TrainState, owned
from danlu.memory import available_memory
from danlu.paths import is_key

__all__ = ["Anchor", "Before"]

_PART = 20  # of the free memory a copy may take one part of so many
_EVERY = 50  # times as long as a copy takes it is the last one: 2 % of the time


class Before(NamedTuple):
    """A step that is about to be taken: the state before it, its batch, and the numbers of the batch's rows in the data."""

    state: TrainState
    batch: dict[str, Any]
    rows: np.ndarray

    def numbers(self, places: Sequence[int]) -> list[int]:
        """The numbers in the data of rows of the batch."""
        return [int(self.rows[place]) for place in places]


class Anchor:
    """The state of a training some time ago, in the host's memory."""

    def __init__(self) -> None:
        self._kept: tuple[Any, tuple[int, int, int]] | None = None
        self._due = 0.0
        self._most: float | None = None

    def keep(self, state: TrainState, place: tuple[int, int, int]) -> None:
        """Copy the state, if it is time to and there is room.

        Args:
            place: the epoch, the piece and the step in it that the state is before.
        """
        begun = time.monotonic()
        if begun < self._due:
            return
        if self._most is None:
            size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
            self._most = size if size <= available_memory() / _PART else 0
        if self._most == 0:
            return
        self._kept = jax.tree.map(_on_host, state), place
        self._due = time.monotonic() + max(1.0, _EVERY * (time.monotonic() - begun))

    def replay(self, training: Any, number: int, member: int | None = None) -> Before | None:
        """What was before step ``number``, by taking the steps up to it again; None where no copy is old enough."""
        if self._kept is None:
            return None
        kept, (epoch, first, start) = self._kept
        state = owned(jax.tree.map(_back, kept, is_leaf=lambda leaf: isinstance(leaf, _Key)))
        program, left = training.program, number - int(np.asarray(state.step).reshape(-1)[member or 0])
        if left < 0 or program.devices > 1:
            return None
        while epoch <= training.epoch:
            for piece in training.source.pieces(epoch, first):
                count = min(left, piece.steps - start)
                state, _ = run_steps(
                    program, state, program.zero_sums(), piece.chunk, piece.order, start, start + count
                )
                left, start = left - count, start + count
                if start < piece.steps:
                    return _before(state, piece, start, member)
                start = 0
            epoch, first = epoch + 1, 0
        return None

    def cause(self, training: Any, bad: int, member: int | None = None) -> tuple[Cause, Before, Before] | None:
        """Why the loss was not finite at step ``bad``: the first bad operation of the step before it, or else of that one.

        Returns:
            The cause, what was before the step that has it, and what was before step ``bad - 1``; None where it cannot be said.
        """
        program = training.program if member is None else getattr(training.program, "program", None)
        if not hasattr(program, "objective"):
            return None
        first: Before | None = None
        for number in (bad - 1, bad) if bad else (bad,):
            before = self.replay(training, number, member)
            if before is None:
                return None
            first = first or before
            found = autopsy(program, before.state, before.batch)
            if found is not None:
                return found, before, first
        return None


def _before(state: TrainState, piece: Any, index: int, member: int | None) -> Before:
    order = piece.order if member is None else piece.order[member]
    own = state if member is None else jax.tree.map(lambda leaf: leaf[member], state)
    batch, mask = gather(piece.chunk, jnp.asarray(order), index, piece.batch_size)
    entries = np.asarray(order)[index * piece.batch_size : (index + 1) * piece.batch_size]
    rows = np.where(entries >= 0, entries, ~entries)
    return Before(own, {**batch, "weight": batch["weight"] * mask}, rows)


class _Key(NamedTuple):
    """A key's numbers, and how they are drawn from."""

    data: np.ndarray
    impl: str


def _on_host(leaf: Any) -> Any:
    """A copy of an array or a key that no donation can take."""
    return _Key(np.array(jax.random.key_data(leaf)), str(jax.random.key_impl(leaf))) if is_key(leaf) else np.array(leaf)


def _back(leaf: Any) -> Any:
    return jax.random.wrap_key_data(jnp.asarray(leaf.data), impl=leaf.impl) if isinstance(leaf, _Key) else leaf
