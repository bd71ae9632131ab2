"""Players without learning: random moves, and tree search that rates a position by a random game from it to the end."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import Blueprint, setting
from danlu.rl.games.board import Game
from danlu.rl.games.search import PUCT

__all__ = ["MCTS", "Choose", "Player", "RandomPlayer", "play_match", "play_out"]

Choose = Callable[[Any, jax.Array], jax.Array]
"""``(positions, key) -> actions`` for a batch of positions; compiles."""


class Player(Blueprint, abc.ABC):
    """A player; base of the players that are not agents."""

    @abc.abstractmethod
    def choose(self, game: Game, positions: Any, key: jax.Array) -> jax.Array:
        """A legal move in each of a batch of positions, int32."""


class RandomPlayer(Player):
    """Any legal move, each as likely as the other.

    Example:
        >>> game = Game("connect-four")
        >>> positions = jax.tree.map(lambda leaf: leaf[None], game.begin())
        >>> 0 <= int(RandomPlayer().choose(game, positions, jax.random.key(0))[0]) < 7
        True
    """

    def choose(self, game: Game, positions: Any, key: jax.Array) -> jax.Array:
        legal = jax.vmap(game.legal)(positions)
        return jax.random.categorical(key, jnp.where(legal, 0.0, -jnp.inf)).astype(jnp.int32)


class MCTS(Player):
    """Plain Monte-Carlo tree search: no network, a uniform policy, and the result of one random game as the value of a position.

    Args:
        simulations: of a move.
        exploration: see :class:`~danlu.rl.games.search.PUCT`.

    Reference: Kocsis & Szepesvári (2006), "Bandit based Monte-Carlo planning"; the rule by which it descends is PUCT with an even policy
    instead of UCB1, so that the baseline differs from AlphaZero in the network alone.

    Example:
        >>> game = Game("tic-tac-toe")
        >>> position = game.begin()
        >>> for square in (0, 3, 1, 4):  # X can complete the first row, O the second
        ...     position = game.step(position, square)
        >>> positions = jax.tree.map(lambda leaf: leaf[None], position)
        >>> MCTS(64).choose(game, positions, jax.random.key(0)).tolist()
        [2]
    """

    simulations: int = setting(default=64, minimum=1, integer=True)
    exploration: float = setting(default=1.25, above=0)

    def choose(self, game: Game, positions: Any, key: jax.Array) -> jax.Array:
        def evaluate(positions: Any, key: jax.Array) -> tuple[jax.Array, jax.Array]:
            count = jax.vmap(game.player)(positions).shape[0]
            return jnp.zeros((count, game.actions)), play_out(game, positions, key)

        return PUCT(self.simulations, self.exploration).find(game, evaluate, positions, key).action


def play_out(game: Game, positions: Any, key: jax.Array) -> jax.Array:
    """The results of one random game from each of a batch of positions, for the players to move."""
    movers = jax.vmap(game.player)(positions)

    def going(carry: Any) -> jax.Array:
        return ~jax.vmap(game.ended)(carry[0]).all()

    def move(carry: Any) -> Any:
        positions, key = carry
        key, now = jax.random.split(key)
        return jax.vmap(game.step)(positions, RandomPlayer().choose(game, positions, now)), key

    ends, _ = jax.lax.while_loop(going, move, (positions, key))
    return jax.vmap(game.result)(ends, movers)


def play_match(
    game: Game,
    choose: Callable[[Any, Any, jax.Array], jax.Array],
    variables: Any,
    key: jax.Array,
    *,
    games: int,
    max_moves: int,
) -> jax.Array:
    """Two players who differ in their variables alone play ``games`` games in which the one begins, and as many in which the other does.

    Args:
        choose: ``(variables, positions, key) -> actions``.
        variables: of both, on a leading axis.
        max_moves: a game that is not over after so many counts as a draw.

    Returns:
        The results for the first of the players, ``(2, games)``: of the games that it began, and of the others.
    """
    blank = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (2, games, *leaf.shape)), game.begin())

    def going(carry: Any) -> jax.Array:
        moves, boards = carry
        return (moves < max_moves) & ~jax.vmap(jax.vmap(game.ended))(boards).all()

    def move(carry: Any) -> Any:
        moves, boards = carry

        def at_table(number_and_board: Any) -> Any:
            number, board = number_and_board
            own = jax.tree.map(lambda leaf: leaf[(moves + number) % 2], variables)
            now = jax.random.fold_in(jax.random.fold_in(key, moves), number)
            return jax.vmap(game.step)(board, choose(own, board, now))

        return moves + 1, jax.lax.map(at_table, (jnp.arange(2), boards))

    _, boards = jax.lax.while_loop(going, move, (jnp.int32(0), blank))
    return jax.vmap(jax.vmap(game.result, in_axes=(0, None)))(boards, jnp.arange(2))
