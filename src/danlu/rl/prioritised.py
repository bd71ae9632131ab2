"""Prioritised replay: entries with a large TD error are drawn more often, with a smaller weight.

Drawing by priority asks for sums over the whole memory after every change. They are kept in a tree whose nodes have eight children: a
memory of a million entries has seven levels, and drawing or changing an entry reads eight numbers in each. A node is always summed anew
from its children, so rounding does not pile up however often it changes.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting, validate
from danlu.errors import ConfigError
from danlu.rl.replay import Replay

__all__ = ["Drawn", "Prioritised", "SumTree"]

FAN = 8


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SumTree:
    """Numbers >= 0, to draw indices in proportion to them.

    Attributes:
        levels: the numbers, then the sums of each eight of them, and so on up to eight sums; each padded with zeros to whole nodes.

    Example:
        >>> tree = SumTree.of(100).set(jnp.array([3, 50, 99]), jnp.array([1.0, 2.0, 4.0]))
        >>> float(tree.total), tree.find(jnp.array([0.5, 1.5, 2.999, 3.5])).tolist()
        (7.0, [3, 50, 50, 99])
    """

    levels: tuple[jax.Array, ...]

    @classmethod
    def of(cls, count: int) -> SumTree:
        """``count`` zeros."""
        levels: list[jax.Array] = []
        while not levels or count > 1:
            nodes = -(-count // FAN)
            levels.append(jnp.zeros((nodes, FAN), jnp.float32))
            count = nodes
        return cls(tuple(levels))

    @property
    def total(self) -> jax.Array:
        """The sum of all numbers, ``()``."""
        return self.levels[-1].sum()

    def get(self, indices: jax.Array) -> jax.Array:
        """The numbers at ``indices``, of the shape of ``indices``."""
        return self.levels[0][indices // FAN, indices % FAN]

    def set(self, indices: jax.Array, values: jax.Array) -> SumTree:
        """The tree with new numbers at ``indices``; for a repeated index, one of its values is used."""
        levels = []
        for level in self.levels:
            nodes = indices // FAN
            changed = level.at[nodes, indices % FAN].set(values)
            levels.append(changed)
            indices, values = nodes, changed[nodes].sum(-1)
        return SumTree(tuple(levels))

    def find(self, heights: jax.Array) -> jax.Array:
        """Where the running sum passes each of ``heights``, in [0, total), of their shape; never at a zero, unless all are."""
        node = jnp.zeros(heights.shape, jnp.int32)
        for level in reversed(self.levels):
            children = level[node]
            sums = jnp.cumsum(children, -1)
            # A height beyond the last sum, by rounding, belongs to the last child that is not zero.
            heights = jnp.minimum(heights, jnp.nextafter(jnp.where(children > 0, sums, 0.0).max(-1), -1.0))
            child = jnp.argmax((children > 0) & (sums > heights[..., None]), -1)
            before = sums - children
            heights = jnp.maximum(heights - jnp.take_along_axis(before, child[..., None], -1)[..., 0], 0.0)
            node = node * FAN + child.astype(jnp.int32)
        return node


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Drawn:
    """A batch from a prioritised replay.

    Attributes:
        indices: numbers of the entries, for :meth:`Prioritised.update`, ``(batch,)``.
        rows: the transitions ``(batch, …)``; windows ``(batch, steps, …)`` when the replay was made for more than one step.
        weights: importance weights ``(batch,)``, the largest 1.
    """

    indices: jax.Array
    rows: Any
    weights: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Prioritised:
    """A :class:`Replay` whose entries are drawn in proportion to ``(|TD error| + ε)^α``; made by :meth:`of`.

    Attributes:
        replay: the memory.
        tree: ``(|δ| + ε)^α`` of each entry.
        largest: the largest of these so far, which new entries get, so that each is drawn soon.
        alpha, epsilon: α and ε.
        steps: the steps of the windows that are drawn, 1 for single transitions. An entry can be drawn when its window is complete.

    Reference:
        Schaul et al., "Prioritized experience replay" (2016), section 3.3 (proportional) and algorithm 1. The weights are divided by the
        largest of the *batch*.

    Example:
        >>> replay = Prioritised.of({"reward": jnp.zeros(1)}, capacity=3, alpha=1.0, epsilon=0.0)
        >>> for step in range(3):
        ...     replay = replay.add({"reward": jnp.array([float(step)])})
        >>> replay = replay.update(jnp.arange(3), jnp.array([0.0, -3.0, 1.0]))
        >>> drawn = replay.sample(jax.random.key(0), 4, beta=1.0)
        >>> drawn.rows["reward"].tolist(), [round(float(weight), 4) for weight in drawn.weights]
        ([1.0, 1.0, 1.0, 2.0], [0.3333, 0.3333, 0.3333, 1.0])
    """

    replay: Replay
    tree: SumTree
    largest: jax.Array
    alpha: jax.Array
    epsilon: jax.Array
    steps: int = dataclasses.field(metadata={"static": True})

    @classmethod
    def of(
        cls, example: Any, *, capacity: int, steps: int = 1, alpha: float = 0.6, epsilon: float = 1e-6
    ) -> Prioritised:
        """An empty one.

        Args:
            example, capacity: see :meth:`Replay.of`.
            steps: the length of the windows to draw, >= 1.
            alpha: α >= 0, how much priority counts; 0 is uniform.
            epsilon: ε >= 0, so that an entry without an error can be drawn again.

        Raises:
            ConfigError, DataError: see :meth:`Replay.of`; a value out of range.
        """
        rules = setting(minimum=0).metadata["rules"]
        for name, value in (("alpha", alpha), ("epsilon", epsilon)):
            if not isinstance(value, jax.Array):
                validate("Prioritised", name, value, rules)
        replay = Replay.of(example, capacity=capacity)
        if not 1 <= steps <= replay.slots:
            raise ConfigError(f"Prioritised.steps is {steps}; expected 1 to {replay.slots}, the steps that it holds")
        one = jnp.float32(1)
        return cls(replay, SumTree.of(replay.capacity), one, jnp.float32(alpha), jnp.float32(epsilon), steps)

    @property
    def size(self) -> jax.Array:
        """How many transitions are in it, ``()``."""
        return self.replay.size

    def add(self, step: Any) -> Prioritised:
        """The replay with one more step of every environment; new entries get the largest priority.

        Raises:
            DataError: see :meth:`Replay.add`.
        """
        slots, environments = self.replay.slots, self.replay.environments
        each = jnp.arange(environments, dtype=jnp.int32)
        written = self.replay.position * environments + each
        tree, ready = self.tree, jnp.where(self.replay.filled + 1 >= self.steps, self.largest, 0.0)
        if self.steps > 1:  # the window that began here is gone, and the new one is not complete
            tree = tree.set(written, jnp.zeros(environments))
        begun = (self.replay.position - (self.steps - 1)) % slots * environments + each
        tree = tree.set(begun, jnp.broadcast_to(ready, environments))
        return dataclasses.replace(self, replay=self.replay.add(step), tree=tree)

    def sample(self, key: jax.Array, batch: int, *, beta: float | jax.Array) -> Drawn:
        """``batch`` entries, one from each of as many equal parts of the total priority.

        ``P(i) = p_i / Σ p`` and ``w_i = (N·P(i))^−β / max_j (N·P(j))^−β``, which is ``(min_j p_j / p_i)^β``.

        Args:
            batch: how many.
            beta: β, in [0, 1]: how much of the bias is corrected; usually 0.4 rising to 1.
        """
        places = (jnp.arange(batch) + jax.random.uniform(key, (batch,))) / batch
        indices = jnp.minimum(self.tree.find(places * self.tree.total), self.replay.capacity - 1)
        rows = self.replay.take(indices) if self.steps == 1 else self.replay.take_windows(indices, self.steps)
        priority = self.tree.get(indices)
        return Drawn(indices, rows, (priority.min() / priority) ** beta)

    def update(self, indices: jax.Array, errors: jax.Array) -> Prioritised:
        """The replay with the drawn entries' priorities updated from their new TD errors.

        Args:
            indices, errors: ``(batch,)``; the sign of an error does not matter. An entry that can no longer be drawn stays so.
        """
        priority = (jnp.abs(errors) + self.epsilon) ** self.alpha
        tree = self.tree.set(indices, jnp.where(self.tree.get(indices) > 0, priority, 0.0))
        return dataclasses.replace(self, tree=tree, largest=jnp.maximum(self.largest, priority.max()))
