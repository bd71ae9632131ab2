"""Shapley values: what each column of a row adds to a model's answer, against rows that stand for what it knew before."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from danlu.errors import ConfigError, DataError

__all__ = ["MOST_EXACT", "Shapley", "coalition_values", "shapley_values"]

MOST_EXACT = 12
"""Columns up to which all their coalitions are looked at."""

Score = Callable[[Any], np.ndarray]
_BLOCK = 1 << 15  # mixed rows that are in memory at once
_FEWEST = 8  # background rows that are kept, however many columns there are


@dataclasses.dataclass(frozen=True, eq=False)
class Shapley:
    """What each column adds to the score of one row.

    Attributes:
        values: ``(columns,)``, in the unit of the score; they add up to ``answer − base``.
        errors: the standard error of each, ``(columns,)``; 0 where it is exact.
        base: the mean score of the background rows.
        answer: the score of the row.
        background: how many background rows there were.
        scored: how many different rows the model was asked for.
        is_exact: whether every coalition was looked at.
        coalitions: how many rows that takes, of all background rows; some of them may be equal.
    """

    values: np.ndarray
    errors: np.ndarray
    base: float
    answer: float
    background: int
    scored: int
    is_exact: bool
    coalitions: float

    @property
    def gap(self) -> float:
        """``Σ values − (answer − base)``: 0, but for rounding."""
        return float(self.values.sum() - (self.answer - self.base))


def shapley_values(
    score: Score,
    row: Any,
    background: Any,
    groups: Any = None,
    *,
    exact: bool | None = None,
    most: int = MOST_EXACT,
    evaluations: int = 4096,
    seed: int = 0,
) -> Shapley:
    """``φ_i = mean over b of Σ_S |S|!(d−|S|−1)!/d! · [f(x_(S∪i), b) − f(x_S, b)]``: interventional Shapley values.

    ``f(x_S, b)`` is the score of a row that has the columns ``S`` of the row ``x`` and all others of a background row ``b``. Columns in
    which ``x`` and ``b`` are equal add nothing, so for each ``b`` only the ``d`` others are players: ``2^d`` rows give its exact values.
    Where that is too much, the columns of ``b`` are replaced one by one in random orders, each order and its reverse (antithetic), and
    the mean of what each column changed has a standard error. Either way the values add up to ``f(x) − mean f(b)``.

    Args:
        score: rows to one number each, ``(rows,)``; rows are trees of arrays as ``row``.
        row: one row: an array ``(1, columns)``, or a tree of arrays.
        background: rows to compare with, of the same form, ``(rows, …)``.
        groups: of each array, whose part its columns are: the number of a player, from 0; ``-1`` is no one's and stays as in the row. None:
            each column of one array is a player.
        exact: True looks at all coalitions, whatever that takes; False samples; None samples where all would take more than
            ``4 · evaluations`` rows, and even then not against background rows in which few columns differ.
        most: columns that differ, up to which values may be exact.
        evaluations: about how many rows are scored otherwise.
        seed: decides the orders.

    Raises:
        ConfigError: exact values of more than ``most`` columns.
        DataError: no background, a row of another form, or scores that are not one number a row.

    Reference:
        Shapley (1953); Štrumbelj & Kononenko, "Explaining prediction models and individual predictions with feature contributions" (2014),
        for the sampling; Janzing, Minorics & Blöbaum, "Feature relevance quantification in explainable AI" (2020), for why
        interventional; Mitchell et al., "Sampling permutations for Shapley value estimation" (2022), for antithetic orders.

    Example:
        >>> found = shapley_values(lambda x: x[:, 0] * x[:, 1] + x[:, 2], np.array([[2.0, 4.0, 1.0]]), np.zeros((1, 3)))
        >>> found.values.tolist(), found.base, found.answer, found.is_exact
        ([4.0, 4.0, 1.0], 0.0, 9.0, True)
    """
    game = _Game.of(score, row, background, groups)
    differ = game.differ.sum(axis=1)
    costs = 2.0**differ
    if exact and differ.max(initial=0) > most:
        raise ConfigError(
            f"exact Shapley values were asked for, and {int(differ.max())} columns of the row differ from a background row; "
            f"expected at most {most}",
            hint="leave exact out: the values are then sampled, with their standard errors",
        )
    whole = exact is not False and differ.max(initial=0) <= most and (exact or costs.sum() <= 4 * evaluations)
    pairs = 0
    if not whole:
        kept = max(min(len(differ), int(evaluations // (4 * (differ.mean() + 1)))), min(len(differ), _FEWEST))
        game = game.take(np.linspace(0, len(differ) - 1, kept).round().astype(int))
        differ = game.differ.sum(axis=1)
        pairs = max(2, int(evaluations // (2 * (differ + 1).sum())))
    rng = np.random.default_rng(seed)
    few = 0 if exact is False else most
    walks = [_walk(np.flatnonzero(mine), pairs, few, rng) for mine in game.differ]
    values, scored = game.values([walk.masks for walk in walks])
    found = np.zeros(game.differ.shape)
    spread = np.zeros(game.differ.shape)
    for place, (own, walk) in enumerate(zip(values, walks, strict=True)):
        players = np.flatnonzero(game.differ[place])
        found[place, players], spread[place, players] = walk.read(own)
    base = float(np.mean([own[0] for own in values]))
    errors = np.sqrt(spread.sum(axis=0)) / len(found)
    is_exact = all(walk.is_whole for walk in walks)
    return Shapley(
        found.mean(axis=0), errors, base, float(values[0][-1]), len(found), scored, is_exact, float(costs.sum())
    )


def coalition_values(score: Score, row: Any, background: Any, groups: Any = None) -> Callable[[np.ndarray], np.ndarray]:
    """The function from coalitions ``(coalitions, columns)``, True for the columns of the row, to the mean score over the background.

    Arguments as of :func:`shapley_values`, whose values are those of this game.

    Example:
        >>> value = coalition_values(lambda x: x.sum(axis=1), np.array([[1.0, 2.0]]), np.array([[0.0, 0.0], [10.0, 0.0]]))
        >>> value(np.array([[False, False], [True, False]])).tolist()
        [5.0, 1.0]
    """
    game = _Game.of(score, row, background, groups)

    def value(present: np.ndarray) -> np.ndarray:
        asked = [np.asarray(present, bool)[:, mine] for mine in game.differ]
        return np.mean(game.values(asked)[0], axis=0)

    return value


@dataclasses.dataclass(frozen=True, eq=False)
class _Walk:
    """Coalitions ``(coalitions, players)``, nobody first and everybody last; how the Shapley values and the squares of their standard
    errors follow from their scores; and whether they are all that there are."""

    masks: np.ndarray
    read: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    is_whole: bool


def _walk(players: np.ndarray, pairs: int, few: int, rng: np.random.Generator) -> _Walk:
    """All coalitions of the players, or those of ``pairs`` orders and their reverses; up to ``few`` players what is less work."""
    d = len(players)
    if not pairs or d < 2 or (d <= few and 2**d <= 2 * pairs * (d + 1)):
        masks = (np.arange(2**d)[:, None] >> np.arange(d)) & 1 == 1
        return _Walk(masks, lambda values: (_coefficients(d) @ values, np.zeros(d)), True)
    orders = np.stack([rng.permutation(d) for _ in range(pairs)])
    both = np.concatenate([orders, orders[:, ::-1]])  # (2 · pairs, d)
    rank = np.argsort(both, axis=1)  # when each player comes
    masks = (rank[:, None, :] < np.arange(d + 1)[None, :, None]).reshape(-1, d)  # (orders, d + 1 steps, d)

    def read(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        steps = np.diff(values.reshape(2 * pairs, d + 1), axis=1)
        own = np.take_along_axis(steps, rank, axis=1)  # (orders, d): what each player changed
        mean = (own[:pairs] + own[pairs:]) / 2
        return mean.mean(axis=0), mean.var(axis=0, ddof=1) / pairs

    return _Walk(masks, read, False)


@functools.lru_cache(maxsize=32)
def _coefficients(d: int) -> np.ndarray:
    """``(d, 2^d)``: by how much the score of each coalition counts in the value of each player."""
    inside = (np.arange(2**d)[None] >> np.arange(d)[:, None]) & 1 == 1
    size = inside.sum(axis=0) if d else np.zeros(1, int)
    weight = np.array([math.factorial(s) * math.factorial(d - s - 1) / math.factorial(d) for s in range(d)] or [0.0])
    joined, left = weight[np.maximum(size - 1, 0)], weight[np.minimum(size, max(d - 1, 0))]
    return np.where(inside, joined, -left)


@dataclasses.dataclass(frozen=True, eq=False)
class _Game:
    """A row, the rows to compare with, and which player each column belongs to."""

    score: Score
    row: Any
    background: Any
    groups: Any
    differ: np.ndarray  # (background, players)

    @classmethod
    def of(cls, score: Score, row: Any, background: Any, groups: Any) -> _Game:
        row, background = (jax.tree.map(np.asarray, each) for each in (row, background))
        if groups is None:
            groups = jax.tree.map(lambda leaf: np.arange(leaf.shape[-1]), row)
        groups = jax.tree.map(np.asarray, groups)
        leaves = [jax.tree.leaves(each) for each in (row, background, groups)]
        count = len(leaves[1][0]) if leaves[1] else 0
        if not count:
            raise DataError("there are no background rows; expected at least one row to compare with")
        for one, many, whose in zip(*leaves, strict=True):
            if one.shape[0] != 1 or one.shape[1:] != many.shape[1:] or one.shape[1:] != whose.shape:
                raise DataError(
                    f"the row has the shape {one.shape}, the background {many.shape} and the groups {whose.shape}; expected "
                    "(1, …), (rows, …) and (…)"
                )
        players = 1 + max(int(whose.max(initial=-1)) for whose in leaves[2])
        differ = np.zeros((count, players), bool)
        for one, many, whose in zip(*leaves, strict=True):
            unlike = (one != many).reshape(count, -1)  # (rows, numbers of a row)
            for player in range(players):
                differ[:, player] |= unlike[:, whose.ravel() == player].any(axis=1)
        return cls(score, row, background, groups, differ)

    def take(self, rows: np.ndarray) -> _Game:
        """The game against some of the background rows."""
        kept = jax.tree.map(lambda leaf: leaf[rows], self.background)
        return dataclasses.replace(self, background=kept, differ=self.differ[rows])

    def values(self, coalitions: list[np.ndarray]) -> tuple[list[np.ndarray], int]:
        """The score of each coalition against each background row; and how many different rows that took."""
        sizes = [len(masks) for masks in coalitions]
        scores, scored = [], 0
        for masks, index in self._blocks(coalitions, sizes):
            mixed = jax.tree.map(lambda *leaves: _mixed(masks, index, *leaves), self.row, self.background, self.groups)  # noqa: B023
            distinct, back = _distinct(mixed)
            found = np.asarray(self.score(distinct), np.float64)
            count = len(jax.tree.leaves(distinct)[0])
            if found.shape != (count,):
                raise DataError(f"the scores of {count} rows have the shape {found.shape}; expected one number a row")
            scores.append(found[back])
            scored += count
        return np.split(np.concatenate(scores), np.cumsum(sizes)[:-1]), scored

    def _blocks(self, coalitions: list[np.ndarray], sizes: list[int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Masks over all players ``(rows, players)`` and the background row of each, in blocks."""
        index = np.repeat(np.arange(len(sizes)), sizes)
        first = np.concatenate([[0], np.cumsum(sizes)])
        for low in range(0, len(index), _BLOCK):
            own = index[low : low + _BLOCK]
            masks = np.zeros((len(own), self.differ.shape[1]), bool)
            for place in np.unique(own):
                rows = np.flatnonzero(own == place)
                begun = low + rows[0] - first[place]
                masks[np.ix_(rows, np.flatnonzero(self.differ[place]))] = coalitions[place][begun : begun + len(rows)]
            yield masks, own


def _mixed(masks: np.ndarray, index: np.ndarray, one: np.ndarray, many: np.ndarray, whose: np.ndarray) -> np.ndarray:
    """Rows that have the columns of their coalition from the row and the others from their background row."""
    return np.where(masks[:, whose] | (whose < 0), one, many[index])


def _distinct(rows: Any) -> tuple[Any, np.ndarray]:
    """The rows, each once, and which of them each row is."""
    leaves = jax.tree.leaves(rows)
    flat = [np.ascontiguousarray(leaf).reshape(len(leaf), -1).view(np.uint8) for leaf in leaves]  # (rows, bytes)
    bytes_ = np.ascontiguousarray(np.concatenate(flat, axis=1))
    keys = bytes_.view(np.dtype((np.void, bytes_.shape[1]))).ravel()
    _, first, back = np.unique(keys, return_index=True, return_inverse=True)
    return jax.tree.map(lambda leaf: leaf[first], rows), back.ravel()
