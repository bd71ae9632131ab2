"""Episodes: batches that are small tasks, each of a few classes with a few examples to learn from and a few to answer.

An episode of ``ways`` classes has ``shots`` examples of each, its *support*, and ``queries`` more of each, which are to be told by them. An
episode is nothing but an order of rows, so it needs no source of its own: :func:`episodes` is a sampler, which the epoch's order is drawn
by from (seed, epoch), and a batch of the program is one episode or several, one class after the other, support before queries.

Reference: Vinyals et al., "Matching networks for one shot learning" (2016), section 2.2.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import Blueprint, setting
from danlu.engine.order import Sampler
from danlu.errors import DataError
from danlu.nn.layer import Layer

__all__ = ["Changed", "Episode", "episodes", "fitting_ways"]


class Episode(Blueprint):
    """The form of an episode.

    Args:
        ways: classes.
        shots: examples of each class that are learnt from.
        queries: examples of each class that are to be answered.

    Example:
        >>> episode = Episode(5, 1, 3)
        >>> episode.size, episode.divided(np.zeros((40, 8))).shape
        (20, (2, 5, 4, 8))
    """

    ways: int = setting(minimum=1, integer=True)
    shots: int = setting(minimum=1, integer=True)
    queries: int = setting(minimum=1, integer=True)

    @property
    def each(self) -> int:
        """Examples of one class."""
        return self.shots + self.queries

    @property
    def size(self) -> int:
        """Rows of one episode."""
        return self.ways * self.each

    def divided(self, rows: Any) -> Any:
        """A batch's rows ``(episodes·size, …)`` as ``(episodes, ways, shots + queries, …)``, without rows that fill no episode."""
        whole = rows[: len(rows) // self.size * self.size]
        return whole.reshape(-1, self.ways, self.each, *rows.shape[1:])  # (episodes, ways, shots + queries, ...)

    def of_rows(self, values: jax.Array, rows: int) -> jax.Array:
        """One value a row ``(rows,)`` of values of queries ``(episodes, ways, queries)``, whose mean over episodes is theirs."""
        own = jnp.pad(values * (self.each / self.queries), ((0, 0), (0, 0), (self.shots, 0)))
        return jnp.pad(own.reshape(-1), (0, rows - own.size))  # (episodes * size,) to (rows,)


def episodes(
    codes: np.ndarray, episode: Episode, count: int, *, groups: np.ndarray | None = None, rows: np.ndarray | None = None
) -> Sampler:
    """A sampler of ``count`` episodes an epoch: classes are drawn without repetition, and so are the rows of each.

    Args:
        codes: the class of each row, ``(rows,)``.
        episode: their form.
        count: of an epoch.
        groups: the group of each class by its code, such as its alphabet; the classes of an episode are then of one group, drawn by how
            many classes it has. None: they are of all.
        rows: the rows that are drawn from; None is all.

    Raises:
        DataError: no group has enough classes, or a class has too few rows.

    Example:
        >>> draw = episodes(np.repeat(np.arange(6), 4), Episode(3, 1, 2), 10)
        >>> order = draw(0, np.random.default_rng(0))
        >>> len(order), np.unique(np.repeat(np.arange(6), 4)[order[:9]]).size
        (90, 3)
    """
    rows = np.arange(len(codes)) if rows is None else np.asarray(rows)
    known, place, counts = np.unique(codes[rows], return_inverse=True, return_counts=True)
    if len(counts) and counts.min() < episode.each:
        raise DataError(
            f"a class has {counts.min()} rows; expected {episode.each} or more: {episode.shots} shots and {episode.queries} queries"
        )
    table = np.full((len(known), counts.max(initial=0)), -1)  # the rows of each class
    table[place, _rank(place)] = rows
    of = np.zeros(len(known), int) if groups is None else np.asarray(groups)[known]
    pools = [each for group in np.unique(of) if len(each := np.flatnonzero(of == group)) >= episode.ways]
    if not pools:
        there = (
            f"{len(known)} classes"
            if groups is None
            else f"at most {np.bincount(of).max(initial=0)} classes in a group"
        )
        raise DataError(f"there are {there}; expected {episode.ways} or more, the ways of an episode")
    shares = np.array([len(pool) for pool in pools]) / sum(map(len, pools))

    def sample(epoch: int, rng: np.random.Generator) -> np.ndarray:
        drawn = rng.choice(len(pools), size=count, p=shares)
        classes = np.stack([rng.permutation(pools[pool])[: episode.ways] for pool in drawn])
        found = table[classes]  # (count, ways, most rows of a class)
        keys = np.where(found >= 0, rng.random(found.shape), 2.0)
        chosen = np.argsort(keys, axis=-1, kind="stable")[..., : episode.each]
        order: np.ndarray = np.take_along_axis(found, chosen, axis=-1).ravel()  # (count * size,)
        return order

    return sample


def fitting_ways(sizes: np.ndarray, most: int) -> int:
    """The most ways, up to ``most``, for which at least half of all classes are in groups with so many.

    Args:
        sizes: how many classes each group has.

    >>> fitting_ways(np.array([40, 24, 22, 22]), 20), fitting_ways(np.array([9, 6, 6, 5, 1]), 20)
    (20, 6)
    """
    sizes = np.asarray(sizes)
    half = sizes.sum() / 2
    found = max((size for size in sizes if sizes[sizes >= size].sum() >= half), default=0)
    return int(min(found, most))


def _rank(place: np.ndarray) -> np.ndarray:
    """The number of each row among those of its class.

    >>> _rank(np.array([1, 0, 1, 1])).tolist()
    [0, 0, 1, 2]
    """
    order = np.argsort(place, kind="stable")
    first = np.searchsorted(place[order], place[order])
    rank = np.empty(len(place), int)
    rank[order] = np.arange(len(place)) - first
    return rank


class Changed(Blueprint):
    """Random changes of a batch of episodes of pictures, inside the compiled step: ``changed(key, batch) -> batch``.

    Args:
        episode: their form.
        layers: changes of single pictures with values in −1 … 1, such as :class:`~danlu.nn.RandomAffine`.
        turns: whether the pictures of a class in an episode are turned together by a quarter, a half or three quarters, or not: a
            turned character is another character. The class of a row then becomes ``code + classes · turn``.
        classes: how many classes are trained on.

    Reference: Santoro et al., "Meta-learning with memory-augmented neural networks" (2016), section 4.1, for the turns.
    """

    episode: Episode
    layers: tuple[Layer, ...] = ()
    turns: bool = False
    classes: int = 0

    def __call__(self, key: jax.Array, batch: dict[str, Any]) -> dict[str, Any]:
        x, y = batch["x"], batch["y"]
        turn_key, own = jax.random.split(key)
        if self.turns:
            turn = jax.random.randint(turn_key, (x.shape[0] // self.episode.each,), 0, 4)
            turn = jnp.repeat(turn, self.episode.each)  # (batch,), the same for the rows of a class
            x = jax.vmap(_turned)(x, turn)
            y = y + self.classes * turn
        x = x.astype(jnp.float32) / 127.5 - 1
        for number, layer in enumerate(self.layers):
            x, _ = layer.apply({}, {}, x, train=True, key=jax.random.fold_in(own, number))
        return {**batch, "x": (x + 1) * 127.5, "y": y}


def _turned(image: jax.Array, turn: jax.Array) -> jax.Array:
    """A square image ``(side, side, channels)`` turned by so many quarters."""
    return jax.lax.switch(turn, [lambda x, k=k: jnp.rot90(x, k) for k in range(4)], image)
