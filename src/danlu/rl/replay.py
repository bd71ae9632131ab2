"""Replay memory: the last steps of several environments, as arrays on the device, written and drawn from inside a compiled
loop.

A replay is a ring. ``rows`` has a leading axis of slots in time order and one of environments; each step fills the next slot, and once
all are full the oldest is written over. Nothing else is kept, so a checkpoint saves it and a population has one each (``vmap``).

In a ``scan`` or ``fori_loop`` whose carry holds it, ``add`` writes in place: XLA copies nothing as long as what is read from it is read
after the ``add`` of the same round. A jitted function that takes a replay and returns it should *donate* it (``jax.jit(f,
donate_argnums=…)``), or one copy is made at the door.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from danlu.errors import ConfigError, DataError

__all__ = ["Replay"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Replay:
    """A ring of transitions; made by :meth:`of`.

    Entries have numbers: that of environment ``e`` in slot ``s`` is ``s · environments + e``.

    Attributes:
        rows: a tree of arrays ``(slots, environments, …)``.
        position: the slot that is written next, int32.
        filled: how many slots hold something, int32.

    Reference:
        Lin, "Self-improving reactive agents" (1992); Mnih et al., "Human-level control through deep reinforcement learning" (2015),
        algorithm 1.

    Example:
        >>> replay = Replay.of({"reward": jnp.zeros(2)}, capacity=6)
        >>> for step in range(4):
        ...     replay = replay.add({"reward": jnp.array([step, 10.0 + step])})
        >>> replay.rows["reward"].tolist(), int(replay.position), int(replay.size)
        ([[3.0, 13.0], [1.0, 11.0], [2.0, 12.0]], 1, 6)
        >>> replay.sample(jax.random.key(0), 64)["reward"].shape
        (64,)
        >>> replay.windows(jax.random.key(0), 2, 3)["reward"].tolist()
        [[11.0, 12.0, 13.0], [1.0, 2.0, 3.0]]
    """

    rows: Any
    position: jax.Array
    filled: jax.Array

    @classmethod
    def of(cls, example: Any, *, capacity: int) -> Replay:
        """An empty replay for steps like ``example``.

        Args:
            example: one step as :meth:`add` will get it: a tree of arrays, or of ``jax.ShapeDtypeStruct``, with a leading axis of
            environments. capacity: how many transitions it holds; rounded down to whole steps of all environments.

        Raises:
            DataError: arrays without one leading axis of environments.
            ConfigError: a capacity below one step.
        """
        shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(example)]
        environments = {shape[0] if shape else None for shape in shapes}
        if len(environments) != 1 or None in environments:
            raise DataError(
                f"the arrays of a step have the shapes {shapes}; expected a leading axis of environments, equally long in all"
            )
        (count,) = environments
        if capacity < count:  # type: ignore[operator]
            raise ConfigError(
                f"the capacity is {capacity}; one step of {count} environments does not fit",
                hint=f"take at least {count}, usually many times as much",
            )
        slots = capacity // count  # type: ignore[operator]
        rows = jax.tree.map(lambda leaf: jnp.zeros((slots, *leaf.shape), leaf.dtype), example)
        return cls(rows, jnp.int32(0), jnp.int32(0))

    @classmethod
    def full(cls, rows: Any) -> Replay:
        """A full replay of given rows: arrays ``(time, environments, …)``, such as a recorded data set."""
        slots = jax.tree.leaves(rows)[0].shape[0]
        return cls(jax.tree.map(jnp.asarray, rows), jnp.int32(0), jnp.int32(slots))

    @property
    def slots(self) -> int:
        """How many steps it holds."""
        return int(jax.tree.leaves(self.rows)[0].shape[0])

    @property
    def environments(self) -> int:
        """How many environments each step is of."""
        return int(jax.tree.leaves(self.rows)[0].shape[1])

    @property
    def capacity(self) -> int:
        """How many transitions it holds when full."""
        return self.slots * self.environments

    @property
    def size(self) -> jax.Array:
        """How many transitions are in it, ``()``."""
        return self.filled * self.environments

    def add(self, step: Any) -> Replay:
        """The replay with one more step of every environment; once full, it replaces the oldest.

        Raises:
            DataError: not the structure, shapes or dtypes that it was made for.
        """
        given, expected = str(jax.tree.structure(step)), str(jax.tree.structure(self.rows))
        if given != expected:
            raise DataError(f"the step is a {given}; this replay holds {expected}")

        def write(array: jax.Array, new: jax.Array) -> jax.Array:
            if jnp.shape(new) != array.shape[1:] or jnp.result_type(new) != array.dtype:
                raise DataError(
                    f"a step holds {jnp.result_type(new)}{list(jnp.shape(new))}; "
                    f"this replay expects {array.dtype}{list(array.shape[1:])}"
                )
            return jax.lax.dynamic_update_index_in_dim(array, new, self.position, axis=0)

        rows = jax.tree.map(write, self.rows, step)
        return Replay(rows, (self.position + 1) % self.slots, jnp.minimum(self.filled + 1, self.slots))

    def draw(self, key: jax.Array, batch: int, n: int = 1) -> jax.Array:
        """Numbers of entries, drawn uniformly with replacement, each followed by n − 1 later ones of its environment.

        Args:
            batch: how many.
            n: what :meth:`take_windows` will be asked for; needs ``filled >= n``, which is the caller's to see to.

        Returns:
            ``(batch,)`` int32.

        Raises:
            ConfigError: n is more than it can ever hold.
        """
        if not 1 <= n <= self.slots:
            raise ConfigError(f"a window of {n} steps is asked of a replay of {self.slots}; expected 1 to {self.slots}")
        starts = jnp.maximum(self.filled - n + 1, 1)
        drawn = jax.random.randint(key, (batch,), 0, starts * self.environments)
        oldest = self.position - self.filled
        return (drawn + oldest * self.environments) % self.capacity

    def take(self, indices: jax.Array) -> Any:
        """The entries of these numbers ``(batch,)``: a tree of arrays ``(batch, …)``."""
        return jax.tree.map(
            lambda array: jnp.take(array.reshape((-1, *array.shape[2:])), indices, axis=0, mode="clip"), self.rows
        )

    def take_windows(self, indices: jax.Array, n: int) -> Any:
        """These entries and the n − 1 that follow each in its environment: a tree of arrays ``(batch, n, …)``."""
        ahead = self.environments * jnp.arange(n, dtype=jnp.int32)
        return self.take((indices[:, None] + ahead[None, :]) % self.capacity)

    def sample(self, key: jax.Array, batch: int) -> Any:
        """``batch`` transitions, drawn uniformly with replacement from what is there (at least one step): ``(batch, …)``."""
        return self.take(self.draw(key, batch))

    def windows(self, key: jax.Array, batch: int, n: int) -> Any:
        """``batch`` windows of n consecutive steps of one environment: ``(batch, n, …)``.

        They are drawn uniformly from all that are there (``filled >= n`` is the caller's to see to) and never run over the write
        position. They may run over the end of an episode: :func:`danlu.rl.returns.n_step_returns` stops there, a recurrent agent begins
        anew there."""
        return self.take_windows(self.draw(key, batch, n), n)

    def in_time_order(self) -> Any:
        """Its transitions, oldest first: arrays ``(filled, environments, …)``. It cannot be compiled: the size depends on the content."""
        first = int(self.position) - int(self.filled)
        order = (first + jnp.arange(int(self.filled))) % self.slots
        return jax.tree.map(lambda array: array[order], self.rows)
