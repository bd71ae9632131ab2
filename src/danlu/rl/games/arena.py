"""Matches between players of any kind, and the evidence for who is better."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.errors import ConfigError
from danlu.rl.games.board import Game
from danlu.rl.games.minimax import Minimax, Solver, positions_of
from danlu.rl.games.players import Choose

__all__ = ["Entrant", "Optimal", "Record", "compiled", "contest", "minimax_player", "optimal_moves", "wilson"]

Entrant = Callable[[Any, np.ndarray, np.random.Generator], np.ndarray]
"""``(positions, running, rng) -> actions``: a move for each of a batch of positions; where a game is not running, any number."""


def wilson(successes: float, trials: int, *, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's interval for a share: 95 % unless ``z`` says otherwise.

    ``(p + z²/2n ± z·√(p(1 − p)/n + z²/4n²)) / (1 + z²/n)``.

    Reference: Wilson (1927), "Probable inference, the law of succession, and statistical inference", JASA 22.

    Example:
        >>> [round(end, 4) for end in wilson(8, 10)]
        [0.4902, 0.9433]
    """
    if trials < 1:
        return 0.0, 1.0
    share = successes / trials
    middle = share + z * z / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max((middle - half) / scale, 0.0), min((middle + half) / scale, 1.0)


@dataclasses.dataclass(frozen=True, eq=False)
class Record:
    """The games of a match, from one player's view.

    Attributes:
        results: 1 won, 0 a draw, −1 lost, ``(games,)``.
        began: whether the player made the first move of the game.
        boards, actions: what it saw at each of its moves, and what it played.
        ends: the boards at the ends of the games, ``(games, …)``.
    """

    results: np.ndarray
    began: np.ndarray
    boards: np.ndarray
    actions: np.ndarray
    ends: np.ndarray

    @property
    def different(self) -> int:
        """How many different games there were: players without randomness repeat themselves."""
        # (games, numbers of a board + 1)
        games = np.concatenate([self.ends.reshape(len(self.ends), -1), self.began[:, None]], axis=1)
        return len(np.unique(games, axis=0))

    def wins(self, *, began: bool | None = None) -> tuple[int, int, int]:
        """``(won, drawn, lost)``, of all games or of those that the player began (or did not)."""
        results = self.results if began is None else self.results[self.began == began]
        return int((results > 0).sum()), int((results == 0).sum()), int((results < 0).sum())

    def summary(self) -> dict[str, Any]:
        """Games, results and the share won with its interval, in all and by who began."""

        def of(began: bool | None) -> dict[str, Any]:
            won, drawn, lost = self.wins(began=began)
            low, high = wilson(won, won + drawn + lost)
            share = won / max(won + drawn + lost, 1)
            return {"won": won, "drawn": drawn, "lost": lost, "share_won": share, "low": low, "high": high}

        return {"all": of(None), "first": of(True), "second": of(False)}


def compiled(choose: Choose) -> Entrant:
    """A player for a match from a function that compiles, such as :meth:`AlphaZero.player`'s."""
    quick = jax.jit(choose)

    def entrant(positions: Any, running: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return np.asarray(quick(positions, jax.random.key(int(rng.integers(2**31)))))

    return entrant


def minimax_player(game: Game, player: Minimax) -> Entrant:
    """A player for a match of Connect Four, by minimax.

    Raises:
        ConfigError: another game.
    """
    if game.name != "connect-four":
        raise ConfigError(f"minimax plays connect-four; received {game.name}")

    def entrant(positions: Any, running: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        actions = np.zeros(len(running), np.int32)
        boards = np.asarray(game.observation(positions))
        actions[running] = player.choose(boards[running], rng)
        return actions

    return entrant


def contest(game: Game, one: Entrant, other: Entrant, *, games: int = 100, opening: int = 2, seed: int = 0) -> Record:
    """A match: every opening is played twice, once with each of the players to move after it.

    Args:
        one, other: who plays; the record is of ``one``.
        games: in all, an even number.
        opening: random moves at the beginning of each game, so that players without chance do not play the same game again and again.
        seed: of the openings and of all that the players draw.

    Example:
        >>> from danlu.rl.games import MCTS, RandomPlayer
        >>> game = Game("connect-four")
        >>> chance = compiled(lambda positions, key: RandomPlayer().choose(game, positions, key))
        >>> record = contest(game, minimax_player(game, Minimax(2)), chance, games=6, opening=0)
        >>> sum(record.wins()), sum(record.wins(began=True))
        (6, 3)
    """
    if games < 2 or games % 2:
        raise ConfigError(f"contest received games={games}; expected an even number, 2 or more")
    rng, half = np.random.default_rng(seed), games // 2
    step = jax.jit(jax.vmap(game.step))
    blank = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (half, *leaf.shape)), game.begin())
    position = blank
    for _ in range(opening):
        position = step(position, _any_safe(game, step, position, rng))
    tables = [position, position]  # in the first `one` is to move now, in the second `other`
    starts = [opening % 2 == 0, opening % 2 == 1]
    boards, actions = [], []
    turn = 0
    while not all(np.asarray(jax.vmap(game.ended)(table)).all() for table in tables):
        for number in (0, 1):
            table = tables[number]
            running = ~np.asarray(jax.vmap(game.ended)(table))
            if not running.any():
                continue
            mine = (turn + number) % 2 == 0
            played = (one if mine else other)(table, running, rng)
            if mine:
                boards.append(np.asarray(game.observation(table))[running])
                actions.append(played[running])
            tables[number] = step(table, jnp.asarray(played, jnp.int32))
        turn += 1
    results = [
        np.asarray(jax.vmap(game.result, in_axes=(0, None))(table, 0 if began else 1))
        for table, began in zip(tables, starts, strict=True)
    ]
    began = np.repeat(starts, half)
    ends = np.concatenate([np.asarray(game.observation(table)) for table in tables])
    return Record(np.concatenate(results), began, np.concatenate(boards), np.concatenate(actions), ends)


@dataclasses.dataclass(frozen=True)
class Optimal:
    """How many moves kept the value of the position.

    Attributes:
        moves, optimal: positions judged, and moves among them that an exact solver agrees with.
        hard, hard_optimal: of these the positions in which some legal move gives something away.
    """

    moves: int
    optimal: int
    hard: int
    hard_optimal: int


def optimal_moves(boards: np.ndarray, actions: np.ndarray, solver: Solver, *, most: int | None = None) -> Optimal:
    """Moves of Connect Four rated by an exact solver, in positions that it can solve; the others are ignored.

    Args:
        boards, actions: as of a :class:`Record`.
        most: positions to judge, the first ones; None: all.
    """
    seen: set[tuple[int, int, int]] = set()
    counts = [0, 0, 0, 0]
    for (own, both), action in zip(positions_of(boards), actions, strict=True):
        if 42 - both.bit_count() > solver.most_empty or (own, both, int(action)) in seen:
            continue
        if most is not None and counts[0] >= most:
            break
        seen.add((own, both, int(action)))
        values = solver.values(own, both)
        right, hard = values[int(action)] == max(values.values()), len(set(values.values())) > 1
        counts = [a + b for a, b in zip(counts, (1, right, hard, hard and right), strict=True)]
    return Optimal(*counts)


def _any_safe(game: Game, step: Any, position: Any, rng: np.random.Generator) -> jax.Array:
    """Legal moves drawn evenly; one that would end the game is drawn again, a few times."""
    legal = np.asarray(jax.vmap(game.legal)(position))
    for _ in range(16):
        actions = np.array([rng.choice(np.flatnonzero(row)) for row in legal], np.int32)
        if not np.asarray(jax.vmap(game.ended)(step(position, jnp.asarray(actions)))).any():
            break
    return jnp.asarray(actions)
