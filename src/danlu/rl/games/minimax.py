"""Connect Four on bitboards, on the host, in plain Python: its rules, minimax with alpha-beta pruning, an exact solver of late positions.

A position is two whole numbers of 49 bits: ``own`` has the men of the player to move and ``both`` all men. A column is seven bits,
the lowest cell first; the seventh is always empty and keeps lines from running over into the next column.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from danlu.blueprint import Blueprint, setting
from danlu.errors import ConfigError

__all__ = ["Minimax", "Solver", "heuristic", "legal_columns", "play_column", "positions_of", "wins"]

COLUMNS, ROWS, HEIGHT = 7, 6, 7
_BOTTOM = sum(1 << HEIGHT * column for column in range(COLUMNS))
_FULL = _BOTTOM * ((1 << ROWS) - 1)
_COLUMN = tuple(((1 << ROWS) - 1) << HEIGHT * column for column in range(COLUMNS))
_TOP = tuple(1 << (HEIGHT * column + ROWS - 1) for column in range(COLUMNS))
_CENTRE_FIRST = (3, 2, 4, 1, 5, 0, 6)
_WAYS = (1, HEIGHT, HEIGHT - 1, HEIGHT + 1)  # a line goes up, across, down and up the diagonals
_WIN = 10**6

Position = tuple[int, int]


def positions_of(observations: Any) -> list[Position]:
    """Boards as :meth:`~danlu.rl.games.board.Game.observation` shows them, ``(batch, 6, 7, 2)``, as pairs ``(own, both)``.

    Example:
        >>> board = np.zeros((1, 6, 7, 2), bool)
        >>> board[0, 5, 0, 1] = True  # the other has played the first column
        >>> positions_of(board)
        [(0, 1)]
    """
    boards = np.asarray(observations, bool)[:, ::-1].transpose(0, 3, 2, 1)  # batch, player, column, row from below
    padded = np.pad(boards, ((0, 0), (0, 0), (0, 0), (0, 1))).reshape(len(boards), 2, -1)
    weights = [1 << bit for bit in range(COLUMNS * HEIGHT)]
    found = []
    for pair in padded:
        own, other = (sum(weights[bit] for bit in np.flatnonzero(men)) for men in pair)
        found.append((own, own | other))
    return found


def legal_columns(both: int) -> list[int]:
    """The columns that are not full, the middle first."""
    return [column for column in _CENTRE_FIRST if not both & _TOP[column]]


def play_column(own: int, both: int, column: int) -> Position:
    """The position after a man in a column, seen by the other player, whose turn it is."""
    return own ^ both, both | (both + (1 << HEIGHT * column)) & _COLUMN[column]


def wins(men: int) -> bool:
    """Whether four of these men are in a row."""
    for way in _WAYS:
        pairs = men & (men >> way)
        if pairs & (pairs >> 2 * way):
            return True
    return False


def heuristic(own: int, both: int) -> int:
    """``1000·Σ 0.1^(3 − n)`` over the lines of four cells in which the other player has no man and who is to move has n, less the same
    with the players changed round.

    Reference: the heuristic of the minimax baseline of AlphaZero.jl (Laurent, 2020), ``games/connect-four/game.jl``, times 1000.
    """
    other = own ^ both
    return _promise(own, other) - _promise(other, own)


def _promise(men: int, against: int) -> int:
    free = _FULL & ~against
    total = 0
    for way in _WAYS:
        two = free & (free >> way)
        lines = two & (two >> 2 * way)  # the lowest cells of the lines without a man of the other's
        if not lines:
            continue
        a, b, c, d = men, men >> way, men >> 2 * way, men >> 3 * way
        low, low_carry, high, high_carry = a ^ b, a & b, c ^ d, c & d
        odd = low ^ high
        twos = (
            low_carry ^ high_carry ^ (low & high)
        )  # the second bit of the sum; four men are a win and were seen before
        three, two_men, one = lines & odd & twos, lines & ~odd & twos, lines & odd & ~twos
        none = lines & ~odd & ~twos
        total += 1000 * three.bit_count() + 100 * two_men.bit_count() + 10 * one.bit_count() + none.bit_count()
    return total


class Minimax(Blueprint):
    """A player of Connect Four that looks ``depth`` moves ahead and rates the positions there by :func:`heuristic`.

    A win counts more than anything, an early one more than a late one. Of several best moves one is drawn.

    Args:
        depth: moves of both players together.

    Reference: Knuth & Moore (1975), "An analysis of alpha-beta pruning".

    Example:
        >>> both = own = 0
        >>> for column in (3, 0, 3, 0, 3):
        ...     own, both = play_column(own, both, column)
        >>> sorted(Minimax(2).best(own, both))  # the other has three in a column
        [3]
    """

    depth: int = setting(default=5, minimum=1, integer=True)

    def best(self, own: int, both: int) -> list[int]:
        """The best columns; more than one if they are equally good."""
        value, found = -2 * _WIN, []
        for column in legal_columns(both):
            now = self._of_move(own, both, column, self.depth, value - 1, 2 * _WIN)
            if now > value:
                value, found = now, [column]
            elif now == value:
                found.append(column)
        return found

    def choose(self, observations: Any, rng: np.random.Generator) -> np.ndarray:
        """A column for each of a batch of boards; see :func:`positions_of`."""
        return np.array([rng.choice(self.best(*position)) for position in positions_of(observations)], np.int32)

    def _of_move(self, own: int, both: int, column: int, depth: int, alpha: int, beta: int) -> int:
        other, after = play_column(own, both, column)
        if wins(other ^ after):
            return _WIN + depth
        if depth == 1 or after == _FULL:
            return 0 if after == _FULL else -heuristic(other, after)
        value = -2 * _WIN
        for reply in legal_columns(after):
            value = max(value, self._of_move(other, after, reply, depth - 1, max(-beta, value), -alpha))
            if value >= -alpha:
                break
        return -value


class Solver:
    """The true value of late positions of Connect Four: who wins if both play on without a mistake.

    Depth-first with alpha-beta pruning over the three values 1 (won), 0 and −1, a table of what was seen, and moves that lose at once left
    out. A Python object, for it remembers what it solved.

    Args:
        most_empty: it refuses positions with more empty cells; 14 take milliseconds to seconds.

    Reference: Pons, "Solving Connect 4: how to build a perfect AI" (2015-2019), parts 2-7.

    Example:
        >>> own = both = 0
        >>> for column in map(int, "111666311642231255235564356305"):
        ...     own, both = play_column(own, both, column)
        >>> Solver().values(own, both)  # one column holds the draw
        {3: -1, 2: -1, 4: 0, 0: -1}
    """

    def __init__(self, most_empty: int = 14) -> None:
        self.most_empty = most_empty
        self.table: dict[Position, tuple[int, int]] = {}

    def value(self, own: int, both: int) -> int:
        """1, 0 or −1 for the player to move, in a position in which nobody has won."""
        empty = ROWS * COLUMNS - both.bit_count()
        if empty > self.most_empty:
            raise ConfigError(f"the position has {empty} empty cells; expected at most {self.most_empty}")
        return self._solve(own, both, -1, 1)

    def values(self, own: int, both: int) -> dict[int, int]:
        """The value of each legal column for the player to move."""
        found = {}
        for column in legal_columns(both):
            other, after = play_column(own, both, column)
            found[column] = 1 if wins(other ^ after) else -self.value(other, after)
        return found

    def best(self, own: int, both: int) -> list[int]:
        """The columns that keep the value of the position."""
        values = self.values(own, both)
        return sorted(column for column, value in values.items() if value == max(values.values()))

    def _solve(self, own: int, both: int, alpha: int, beta: int) -> int:
        if both == _FULL:
            return 0
        playable = (both + _BOTTOM) & _FULL & ~both
        if playable & _winning(own, both):
            return 1
        threats = playable & _winning(own ^ both, both)
        if threats:
            if threats & (threats - 1):
                return -1
            playable = threats
        if (both | playable) == _FULL and not playable & (playable - 1):
            return 0  # the last cell, and it wins for nobody
        low, high = self.table.get((own, both), (-1, 1))
        alpha, beta = max(alpha, low), min(beta, high)
        if alpha >= beta:
            return low if low >= beta else high
        value = -1
        for column in _CENTRE_FIRST:
            cell = playable & _COLUMN[column]
            if cell:
                value = max(value, -self._solve(own ^ both, both | cell, -beta, -max(alpha, value)))
                if value >= beta:
                    break
        low, high = (value if value > alpha else low), (value if value < beta else high)
        self.table[own, both] = (low, high)
        return value


def _winning(men: int, both: int) -> int:
    """The empty cells that would complete four in a row of these men."""
    found = (men << 1) & (men << 2) & (men << 3)
    for way in _WAYS[1:]:
        pairs = (men << way) & (men << 2 * way)
        found |= pairs & ((men << 3 * way) | (men >> way))
        pairs = (men >> way) & (men >> 2 * way)
        found |= pairs & ((men >> 3 * way) | (men << way))
    return found & _FULL & ~both
