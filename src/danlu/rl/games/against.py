"""A game between a person and a trained agent, move by move."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.errors import ConfigError, SchemaError
from danlu.rl.agent import Agent
from danlu.rl.environment import Envs
from danlu.rl.games.board import Game
from danlu.rl.games.match import Match, MatchState
from danlu.rl.recording import decide

__all__ = ["Turn", "answered"]


@dataclasses.dataclass(frozen=True)
class Turn:
    """A game in which it is the person's turn, or which is over.

    Attributes:
        moves: all that were made, the agent's last one included.
        board: a letter for each cell: ``X`` began, ``O`` came second, ``.`` is free.
        legal: the moves that the person may make.
        ended: whether the game is over.
        result: the person's: 1 won, −1 lost, 0 a draw or still running.
        played: the agent's last move; None before it had one.
        value: the result that the agent expected for itself before it moved; None where it has no such estimate, or did not move.
        leaning: how much it leaned to each move then, before it looked ahead, ``actions`` shares; None as of ``value``.
    """

    moves: tuple[int, ...]
    board: tuple[str, ...]
    legal: tuple[int, ...]
    ended: bool
    result: int
    played: int | None = None
    value: float | None = None
    leaning: tuple[float, ...] | None = None


def answered(
    agent: Agent, env: Match, params: Any, state: Any, moves: Sequence[int], *, agent_begins: bool = False
) -> Turn:
    """The game after some moves and, where it is its turn, the agent's reply: nothing is kept between two calls.

    Args:
        params, state: the variables of the agent's network.
        moves: from the beginning, the agent's too.
        agent_begins: whether the agent made, or makes, the first one.

    Raises:
        SchemaError: a move that is none, or that may not be made.
        ConfigError: no board game.
    """
    if not isinstance(env, Match):
        raise ConfigError(f"{type(env).__name__} is no board game; expected an agent of one, such as connect-four")
    game, me = env.game, 0 if agent_begins else 1
    position = game.begin()
    for number, move in enumerate(moves, 1):
        legal = np.asarray(game.legal(position))
        if bool(game.ended(position)) or not 0 <= move < game.actions or not legal[move]:
            over = " (the game is over)" if bool(game.ended(position)) else ""
            raise SchemaError(f"move {number} is {move}, which may not be made{over}")
        position = _step(game, position, move)
    played = value = leaning = None
    if not bool(game.ended(position)) and int(game.player(position)) == me:
        one = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], MatchState(position, jnp.int32(me)))
        seen = jax.vmap(env.seen)(one)
        envs = Envs(one, seen, jnp.zeros(1, jnp.int32), jnp.zeros(1, jnp.float32))
        action, told = decide(agent, env, params, state, envs, jax.random.key(len(moves)), greedy=True)
        played = int(np.asarray(action)[0])
        if "value" in told:
            value = float(np.clip(np.asarray(told["value"])[0], -1, 1))
        if "probabilities" in told:
            leaning = tuple(np.asarray(told["probabilities"], np.float64)[0].round(4).tolist())
        position = _step(game, position, played)
    ended = bool(game.ended(position))
    return Turn(
        moves=(*map(int, moves), *(() if played is None else (played,))),
        board=tuple(line.replace(" ", "") for line in game.text(position).splitlines()),
        legal=() if ended else tuple(np.flatnonzero(np.asarray(game.legal(position))).tolist()),
        ended=ended,
        result=int(game.result(position, 1 - me)),
        played=played if played is not None or not moves else _last(moves, me),
        value=value,
        leaning=leaning,
    )


@functools.partial(jax.jit, static_argnums=0)
def _step(game: Game, position: Any, move: Any) -> Any:
    return game.step(position, move)


def _last(moves: Sequence[int], me: int) -> int | None:
    """The agent's last move."""
    own = moves[me::2]
    return int(own[-1]) if own else None
