"""Proof by enumeration: a player against every line of an opponent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.errors import ConfigError
from danlu.rl.games.board import Game

__all__ = ["never_loses"]

_BATCH = 64


def never_loses(game: Game, choose: Callable[[Any], Any], *, most: int = 100_000) -> list[int] | None:
    """Play every line of play that an opponent can choose against a player, who begins in one half of them and comes second in the other.

    All positions in which it is the player's turn are asked, each once: they are reached ply by ply, and lines that lead to the same
    position are one. So if there is no loss among them, there is none at all, as long as the player always gives the same answer to the
    same position.

    Args:
        game: a small one, such as tic-tac-toe.
        choose: ``positions -> actions``, of a batch of 64 positions; always the same action for the same position.
        most: positions of one ply above which it gives up.

    Returns:
        None if the player never loses; otherwise the moves, from the first one, of a line in which it does.

    Raises:
        ConfigError: a game with too many lines of play.

    Example:
        >>> from danlu.rl.games import MCTS, RandomPlayer
        >>> game = Game("tic-tac-toe")
        >>> first_free = lambda positions: jnp.argmax(jax.vmap(game.legal)(positions), axis=-1)
        >>> line = never_loses(game, first_free)
        >>> line is not None and len(line) >= 5
        True
    """
    step, ask = jax.jit(jax.vmap(game.step)), jax.jit(choose)
    blank = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], game.begin())
    for me in (0, 1):
        positions = blank
        lines: list[list[int]] = [[]]
        turn = 0
        while lines:
            if len(lines) > most:
                raise ConfigError(
                    f"{game.name} has more than {most:,} positions after {turn} moves; expected a small game"
                )
            legal = np.asarray(jax.vmap(game.legal)(positions))
            if turn == me:
                actions = _in_batches(ask, positions)
                parents = np.arange(len(lines))
            else:
                parents, actions = np.nonzero(legal)
            lines = [[*lines[parent], int(action)] for parent, action in zip(parents, actions, strict=True)]
            chosen = jax.tree.map(lambda leaf, rows=parents: leaf[rows], positions)
            positions = _in_batches(lambda batch: step(*batch), (chosen, jnp.asarray(actions, jnp.int32)))
            results = np.asarray(jax.vmap(game.result, in_axes=(0, None))(positions, me))
            if (results < 0).any():
                return lines[int(np.argmin(results))]
            boards = np.asarray(jax.vmap(game.observation)(positions))
            running = np.flatnonzero(~np.asarray(jax.vmap(game.ended)(positions)))
            # of (running, numbers of a board)
            _, first = np.unique(boards[running].reshape(len(running), boards[0].size), axis=0, return_index=True)
            kept = running[np.sort(first)]
            positions, lines = jax.tree.map(lambda leaf, rows=kept: leaf[rows], positions), [lines[row] for row in kept]
            turn = 1 - turn
    return None


def _in_batches(function: Callable[[Any], Any], tree: Any) -> Any:
    """``function`` of a tree of arrays with a leading axis, in batches of one size, the last filled up with its own first row."""
    count = jax.tree.leaves(tree)[0].shape[0]
    parts = []
    for start in range(0, count, _BATCH):
        rows = np.minimum(np.arange(start, start + _BATCH), count - 1)
        parts.append(jax.device_get(function(jax.tree.map(lambda leaf, rows=rows: leaf[rows], tree))))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *parts)
