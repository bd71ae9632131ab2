"""A board game against an opponent, as an environment of one agent."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import setting
from danlu.errors import unknown_name
from danlu.rl.environment import Environment, Envs, Outcome
from danlu.rl.games.board import GAMES, Game
from danlu.rl.games.players import MCTS, Player, RandomPlayer
from danlu.rl.spaces import Box, DictSpace, Discrete

__all__ = ["Match", "MatchState", "make_match"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class MatchState:
    """A position in which it is the agent's turn (or the game is over), and which player the agent is: 0 began, 1 came second; int32."""

    position: Any
    me: jax.Array


class Match(Environment):
    """A game against an opponent that is part of the environment, for any agent.

    Who begins is tossed up. A step is the agent's move and the opponent's reply. The game terminates with 1 for a win, −1 for a loss (an
    illegal move is one) and 0 for a draw; all other steps bring 0.

    Args:
        max_steps: the agent's moves after which a game is truncated.
        game: which one.
        opponent: who replies.

    Observation: ``{"board": (rows, columns, planes) float32, as the player to move sees it, "legal": (actions,) float32, 1 for a move that
    may be made}``.

    Example:
        >>> match = Match(game=Game("tic-tac-toe"))
        >>> state, seen = match.reset(jax.random.key(0))
        >>> int(seen["legal"].sum()) == 9 - int(state.me)
        True
    """

    max_steps: int = setting(default=512, minimum=1, integer=True)
    game: Game = Game("tic-tac-toe")
    opponent: Player = RandomPlayer()

    @property
    def id(self) -> str:  # type: ignore[override]
        """The game's name."""
        return self.game.name

    @property
    def observation_space(self) -> DictSpace:
        board, legal = Box(0.0, 1.0, self.game.board_shape), Box(0.0, 1.0, (self.game.actions,))
        return DictSpace((("board", board), ("legal", legal)))

    @property
    def action_space(self) -> Discrete:
        return Discrete(self.game.actions)

    def reset(self, key: jax.Array) -> tuple[MatchState, dict[str, jax.Array]]:
        side_key, reply_key = jax.random.split(key)
        me = jax.random.bernoulli(side_key).astype(jnp.int32)
        position = self.game.begin()
        replied = self._reply(position, reply_key)
        position = jax.tree.map(lambda old, new: jnp.where(me == 1, new, old), position, replied)
        state = MatchState(position, me)
        return state, self.seen(state)

    def step(self, state: MatchState, action: jax.Array, key: jax.Array) -> tuple[MatchState, Outcome]:
        moved = self.game.step(state.position, jnp.clip(action, 0, self.game.actions - 1))
        after = MatchState(self._reply(moved, key), state.me)
        reward, over = self.game.result(after.position, state.me), self.game.ended(after.position)
        return after, Outcome(self.seen(after), reward, over)

    def draw(self, envs: Envs, key: jax.Array) -> jax.Array:
        """Legal moves."""
        return RandomPlayer().choose(self.game, envs.state.position, key)

    def frame(self, state: MatchState) -> np.ndarray:
        return self.game.frame(state.position)

    def _reply(self, position: Any, key: jax.Array) -> Any:
        """The position after the opponent's move; one in which the game is over stays as it is."""
        batch = jax.tree.map(lambda leaf: leaf[None], position)
        return self.game.step(position, self.opponent.choose(self.game, batch, key)[0])

    def seen(self, state: MatchState) -> dict[str, jax.Array]:
        """What the player to move sees."""
        board, legal = self.game.observation(state.position), self.game.legal(state.position)
        return {"board": board.astype(jnp.float32), "legal": legal.astype(jnp.float32)}


def make_match(name: str, *, opponent: str = "auto", simulations: int = 100, max_steps: int = 512) -> Match:
    """The environment of a game's name.

    Args:
        name: see :class:`~danlu.rl.games.board.Game`; ``_`` is as good as ``-``.
        opponent: whom the agent is measured against: ``"random"``, ``"mcts"``, or ``"auto"``: random for tic-tac-toe, MCTS otherwise.
        simulations: of MCTS.
        max_steps: the agent's moves after which a game is truncated.

    Raises:
        ConfigError: an unknown game or opponent.

    Example:
        >>> make_match("connect_four").opponent
        MCTS(simulations=100, exploration=1.25)
    """
    known = str(name).lower().replace("_", "-")
    if known not in GAMES:
        raise unknown_name("game", str(name), GAMES)
    if opponent == "auto":
        opponent = "random" if known == "tic-tac-toe" else "mcts"
    if opponent not in ("random", "mcts"):
        raise unknown_name("opponent", opponent, ("auto", "mcts", "random"))
    player: Player = RandomPlayer() if opponent == "random" else MCTS(simulations)
    return Match(max_steps, Game(known), player)
