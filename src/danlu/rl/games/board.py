"""Two-player board games as pure functions of a position: pgx's, behind one small interface."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import Blueprint, setting
from danlu.errors import MissingExtraError
from danlu.rl.environments.drawing import BLUE, GOLD, INK, MUTED, RED, Canvas

__all__ = ["GAMES", "Game", "is_game"]

GAMES = {
    "tic-tac-toe": "tic_tac_toe",
    "connect-four": "connect_four",
    "othello": "othello",
    "go-9x9": "go_9x9",
    "chess": "chess",
}
_CHESSMEN = "PNBRQK"


def is_game(name: Any) -> bool:
    """Whether a name is that of a board game, written with ``-`` or ``_``; never raises, and imports nothing.

    >>> is_game("connect-four"), is_game("Connect_Four"), is_game("CartPole-v1"), is_game(None)
    (True, True, False, False)
    """
    return isinstance(name, str) and name.lower().replace("_", "-") in GAMES


class Game(Blueprint):
    """A board game of two players in turn, zero-sum and with perfect information.

    A *position* is a tree of arrays that only this class looks into; every function below is of one position (``vmap`` is for many) and
    compiles. What depends on who looks, is seen by the player to move. A game that has ended stays as it is, whatever is played.

    Args:
        name: one of ``"tic-tac-toe"``, ``"connect-four"``, ``"othello"``, ``"go-9x9"`` and ``"chess"``.

    Raises:
        MissingExtraError: at the first use, without pgx.

    Reference: Koyamada et al. (2023), "Pgx: hardware-accelerated parallel game simulators for reinforcement learning",
    arXiv:2303.17503; the rules, and when Go and chess are called a draw, are its.

    Example:
        >>> game = Game("tic-tac-toe")
        >>> position = game.begin()
        >>> for square in (4, 0, 2, 6, 8):
        ...     position = game.step(position, square)
        >>> print(game.text(position))
        O . X
        . X .
        O . X
        >>> bool(game.ended(position)), game.legal(position).shape, game.board_shape
        (False, (9,), (3, 3, 2))
        >>> position = game.step(game.step(position, 3), 0)
        >>> float(game.result(position, 1))  # the second player has won
        1.0
    """

    name: str = setting(choices=GAMES)

    @property
    def rules(self) -> Any:
        """pgx's environment."""
        return _rules(GAMES[self.name])

    @property
    def board_shape(self) -> tuple[int, ...]:
        """The shape of a player's view: ``(rows, columns, planes)``."""
        return tuple(self._blank.observation.shape)

    @property
    def binary(self) -> bool:
        """Whether a board is made of zeros and ones."""
        return self._blank.observation.dtype == bool

    @property
    def actions(self) -> int:
        """How many moves there are, legal or not."""
        return int(self._blank.legal_action_mask.shape[0])

    @property
    def symmetries(self) -> tuple[np.ndarray, np.ndarray]:
        """The ways to turn and mirror the board that leave the rules as they are.

        Returns:
            ``(cells, moves)``: of way ``k``, cell ``i`` (counted row by row) of the turned board is cell ``cells[k, i]`` of the board,
            and likewise its moves. The first way leaves all as it is.
        """
        return _symmetries(self.name, self.board_shape, self.actions)

    def begin(self) -> Any:
        """The position before the first move; player 0 is to make it."""
        return jax.tree.map(jnp.asarray, self._blank)

    def step(self, position: Any, action: Any) -> Any:
        """The position after a move of the player whose turn it is. An illegal move loses the game."""
        with jax.numpy_rank_promotion("allow"):
            after = self.rules.step(position, jnp.asarray(action, jnp.int32))
        done = self.ended(position)  # pgx takes the rewards away at the next step
        return jax.tree.map(lambda old, new: jnp.where(done, old, new), position, after)

    def legal(self, position: Any) -> jax.Array:
        """Which moves may be made, ``(actions,)`` bool; all of them once the game has ended."""
        return position.legal_action_mask

    def player(self, position: Any) -> jax.Array:
        """Whose turn it is, ``()``: 0 (who began) or 1."""
        return position.current_player

    def ended(self, position: Any) -> jax.Array:
        """Whether the game is over, ``()``."""
        return position.terminated | position.truncated

    def result(self, position: Any, player: Any) -> jax.Array:
        """A player's result, ``()``: 1 won, −1 lost, 0 a draw or still running."""
        return position.rewards[player]

    def moves(self, position: Any) -> jax.Array:
        """How many moves have been made, ``()``."""
        return position._step_count

    def observation(self, position: Any) -> jax.Array:
        """The board as the player to move sees it: ``board_shape``, bool (chess: float32). Plane 0 is the player's own men (of chess the
        pawns)."""
        return position.observation

    def text(self, position: Any) -> str:
        """The board in letters, on the host: ``X`` began and ``O`` came second; of chess, White's men are capitals."""
        return "\n".join(" ".join(row) for row in self._letters(position))

    def frame(self, position: Any) -> np.ndarray:
        """A picture of a position, on the host, ``(height, width, 3)`` uint8."""
        letters = self._letters(position)
        rows, columns = len(letters), len(letters[0])
        side = max(200 // max(rows, columns), 20)
        canvas = Canvas(side * columns, side * rows, left=0, bottom=0, scale=side)
        four = self.name == "connect-four"
        for row, line in enumerate(letters):
            for column, letter in enumerate(line):
                x, y = column, rows - 1 - row
                canvas.box((x + 0.02, y + 0.02), (x + 0.98, y + 0.98), BLUE if four else (236, 229, 212))
                middle = (x + 0.5, y + 0.5)
                if self.name == "chess":
                    if letter != ".":
                        canvas.text(
                            middle, letter.upper(), RED if letter.isupper() else INK, size=side // 2, anchor="mm"
                        )
                elif four or letter != ".":
                    colours = {"X": RED, "O": GOLD if four else INK, ".": MUTED}
                    canvas.circle(middle, 0.4, colours[letter])
        return canvas.pixels()

    @property
    def _blank(self) -> Any:
        return _blank(GAMES[self.name])

    def _letters(self, position: Any) -> list[list[str]]:
        board, second = np.asarray(self.observation(position)), bool(np.asarray(self.player(position)))
        if self.name == "chess":
            own, other = (board[..., first : first + 6] > 0 for first in (0, 6))
            if second:  # Black sees the board from Black's side
                own, other = other[::-1], own[::-1]
            white, black = own, other
            return [
                [_chessman(white[row, column], black[row, column]) for column in range(board.shape[1])]
                for row in range(board.shape[0])
            ]
        own, other = board[..., 0], board[..., 1]
        first_men, second_men = (other, own) if second else (own, other)
        return [
            ["X" if x else "O" if o else "." for x, o in zip(line, other_line, strict=True)]
            for line, other_line in zip(first_men, second_men, strict=True)
        ]


def _chessman(white: np.ndarray, black: np.ndarray) -> str:
    if white.any():
        return _CHESSMEN[int(white.argmax())]
    return _CHESSMEN[int(black.argmax())].lower() if black.any() else "."


@functools.lru_cache(maxsize=8)
def _rules(name: str) -> Any:
    """pgx's environment; its modules hold arrays, which must not be made while something is traced."""
    try:
        with jax.ensure_compile_time_eval(), jax.numpy_rank_promotion("allow"):
            import pgx

            return pgx.make(name)
    except ImportError:
        raise MissingExtraError(
            "board games need pgx, which is not installed", hint='pip install "danlu[rl]"'
        ) from None


@functools.lru_cache(maxsize=8)
def _blank(name: str) -> Any:
    """The position before the first move, as NumPy's arrays. pgx draws who is player 0; here player 0 begins."""
    rules = _rules(name)
    with jax.ensure_compile_time_eval(), jax.numpy_rank_promotion("allow"):
        for seed in range(64):
            position = rules.init(jax.random.key(seed))
            if int(position.current_player) == 0:
                return jax.tree.map(np.asarray, position)
    raise AssertionError("pgx never let player 0 begin")  # pragma: no cover


@functools.lru_cache(maxsize=8)
def _symmetries(name: str, shape: tuple[int, ...], actions: int) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = shape[:2]
    cells = np.arange(rows * columns).reshape(rows, columns)
    if name == "connect-four":
        turned = [cells, cells[:, ::-1]]
        moves = [np.arange(columns), np.arange(columns)[::-1]]
    elif name == "chess":
        turned, moves = [cells], [np.arange(actions)]
    else:  # squares; a move names a cell, and the one beyond the last passes
        turned = [np.rot90(side, k) for side in (cells, cells[:, ::-1]) for k in range(4)]
        passes = np.arange(rows * columns, actions)
        moves = [np.concatenate([board.ravel(), passes]) for board in turned]
    return np.stack([board.ravel() for board in turned]), np.stack(moves).astype(np.int64)
