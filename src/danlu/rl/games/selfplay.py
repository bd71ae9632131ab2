"""Games that a player plays against itself, and their replay memory."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import Blueprint, setting
from danlu.rl.agent import Sums
from danlu.rl.environment import Envs
from danlu.rl.games.board import Game
from danlu.rl.games.players import RandomPlayer
from danlu.rl.games.search import Evaluate, Search
from danlu.rl.replay import Replay

__all__ = ["SelfPlay", "Turned", "known_outcomes"]

Memory = dict[str, Any]


class SelfPlay(Blueprint):
    """Many games side by side, each move of both players found by search; a game that ends is followed by the next.

    A row is remembered for each move: the board, the search's policy and value, and how the game went on. Games go on from one iteration
    to the next, and a row counts once its game has ended (:func:`known_outcomes`), so no move is played in vain.

    Args:
        game: what is played.
        search: how moves are found.
        max_moves: after so many a game is cut: its last position is then worth what the search said.
        openings: each game begins with 0 to so many moves (drawn evenly) that are played at random, for the sake of variety. They are not
            learnt from.
        resign: a player whose search says less gives up; None never. Nobody does before at least 16 games have shown that it is safe.
        played_out: the share of games in which nobody resigns, which show it.
        false_positives: nobody resigns while more of those games were, in spite of it, not lost.

    Reference: Silver et al. (2017), "Mastering the game of Go without human knowledge", methods, "Self-play".
    """

    game: Game
    search: Search
    max_moves: int = setting(default=512, minimum=1, integer=True)
    openings: int = setting(default=0, minimum=0, integer=True)
    resign: float | None = setting(default=None, above=-1, below=0, optional=True)
    played_out: float = setting(default=0.1, above=0, maximum=1)
    false_positives: float = setting(default=0.05, minimum=0, maximum=1)

    def begin(self, count: int) -> Envs:
        """``count`` games before their first move. Their score is the result for who began."""
        position = self._blank(count)
        board = jax.vmap(self.game.observation)(position)
        return Envs(position, board, jnp.zeros(count, jnp.int32), jnp.zeros(count))

    def memory(self, count: int, capacity: int, key: jax.Array) -> Memory:
        """An empty memory of ``capacity`` moves in each of ``count`` games.

        It is ``{"replay": the rows, "out": which of the games under way are played out whatever happens, "opening": how many of their first
        moves are random, "quitter": who would have resigned in them (−1: nobody yet), "would", "wrong": how many would have, and how many
        of them did not lose, lately}``.
        """
        flags, numbers = jnp.zeros(count, bool), jnp.zeros(count)
        example = {
            "board": jnp.zeros((count, *self.game.board_shape), bool if self.game.binary else jnp.float32),
            "policy": jnp.zeros((count, self.game.actions)),
            "legal": jnp.zeros((count, self.game.actions), bool),
            "estimate": numbers,
            "result": numbers,
            "ended": flags,
            "cut": flags,
            "random": flags,
        }
        out_key, opening_key = jax.random.split(key)
        return {
            "replay": Replay.of(example, capacity=capacity * count),
            "out": self._played_out(out_key, count),
            "opening": self._opening(opening_key, count),
            "quitter": jnp.full(count, -1, jnp.int32),
            "would": jnp.zeros(()),
            "wrong": jnp.zeros(()),
        }

    def play(
        self, evaluate: Evaluate, envs: Envs, memory: Memory, key: jax.Array, moves: int
    ) -> tuple[Envs, Memory, Sums]:
        """``moves`` more in each game.

        Returns:
            The games, the memory, and the sums of the games that ended: ``{"episodes", "score", "length", "draws", "resigned",
            "misjudged"}``; the last is an estimate of how many would wrongly be given up if all were.
        """
        memory = {**memory, "would": 0.98 * memory["would"], "wrong": 0.98 * memory["wrong"]}

        def move(carry: Any, key: jax.Array) -> Any:
            envs, memory = carry
            return self._move(evaluate, envs, memory, key)

        (envs, memory), sums = jax.lax.scan(move, (envs, memory), jax.random.split(key, moves))
        return envs, memory, jax.tree.map(lambda each: each.sum(axis=0), sums)

    def _move(self, evaluate: Evaluate, envs: Envs, memory: Memory, key: jax.Array) -> tuple[tuple[Envs, Memory], Sums]:
        search_key, random_key, out_key, opening_key = jax.random.split(key, 4)
        game, before, count = self.game, envs.state, envs.steps.shape[0]
        found = self.search.find(game, evaluate, before, search_key, noise=True)
        mover = jax.vmap(game.player)(before)
        at_random = envs.steps < memory["opening"]
        action = jnp.where(at_random, RandomPlayer().choose(game, before, random_key), found.action)
        after = jax.vmap(game.step)(before, action)
        hopeless = jnp.zeros(count, bool) if self.resign is None else (found.value < self.resign) & ~at_random
        safe = (memory["would"] >= 16) & (memory["wrong"] <= self.false_positives * memory["would"])
        gives_up = hopeless & safe & ~memory["out"]
        over = jax.vmap(game.ended)(after)
        steps = envs.steps + 1
        ended = over | gives_up
        cut = (steps >= self.max_moves) & ~ended
        result = jnp.where(gives_up, -1.0, jnp.where(over, jax.vmap(game.result)(after, mover), 0.0))
        row = {
            "board": envs.observation,
            "policy": found.weights,
            "legal": jax.vmap(game.legal)(before),
            "estimate": found.value,
            "result": result,
            "ended": ended,
            "cut": cut,
            "random": at_random,
        }
        quitter = jnp.where((memory["quitter"] < 0) & hopeless, mover, memory["quitter"])
        judged = over & (quitter >= 0) & (memory["out"] | ~safe)
        wrong = judged & (jnp.where(quitter == mover, result, -result) > -1)
        done = ended | cut
        memory = {
            "replay": memory["replay"].add(row),
            "out": jnp.where(done, self._played_out(out_key, count), memory["out"]),
            "opening": jnp.where(done, self._opening(opening_key, count), memory["opening"]),
            "quitter": jnp.where(done, -1, quitter),
            "would": memory["would"] + judged.sum(),
            "wrong": memory["wrong"] + wrong.sum(),
        }
        blank = self._blank(count)
        position = jax.tree.map(lambda old, new: jnp.where(_along(done, old), new, old), after, blank)
        envs = Envs(position, jax.vmap(game.observation)(position), jnp.where(done, 0, steps), envs.score)
        first = jnp.where(mover == 0, result, -result)
        share = jnp.where(safe, self.played_out, 1.0)
        sums = {
            "episodes": done.sum(),
            "score": (done * first).sum(),
            "length": (done * steps).sum(),
            "draws": (done & (result == 0)).sum(),
            "resigned": gives_up.sum(),
            "misjudged": wrong.sum() / share,
        }
        return (envs, memory), {name: value.astype(jnp.float32) for name, value in sums.items()}

    def _played_out(self, key: jax.Array, count: int) -> jax.Array:
        return jax.random.bernoulli(key, self.played_out, (count,))

    def _opening(self, key: jax.Array, count: int) -> jax.Array:
        return jax.random.randint(key, (count,), 0, self.openings + 1)

    def _blank(self, count: int) -> Any:
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (count, *leaf.shape)), self.game.begin())


def known_outcomes(replay: Replay) -> tuple[jax.Array, jax.Array]:
    """The result of each row's game for the player to move, and whether it is known yet: ``(slots, environments)`` each.

    Of a move that was played at random it is never known: it says nothing of how good the position was.

    From the last row of a game its result goes back in time and changes its sign at each move, for the players take turns. A game that was
    cut is worth what the search said of its last position.

    Example:
        >>> no = jnp.zeros((4, 1), bool)
        >>> rows = {"result": jnp.float32([[0], [0], [1], [0]]), "estimate": jnp.zeros((4, 1))}
        >>> rows |= {"ended": no.at[2].set(True), "cut": no, "random": no}
        >>> outcome, known = known_outcomes(Replay.full(rows))
        >>> outcome[:, 0].tolist(), known[:, 0].tolist()
        ([1.0, -1.0, 1.0, 0.0], [True, True, True, False])
    """
    names = ("result", "estimate", "ended", "cut")
    rows = {name: jnp.roll(replay.rows[name], -replay.position, axis=0) for name in names}  # oldest first

    def back(carry: Any, row: Any) -> Any:
        outcome, known = carry
        last = row["ended"] | row["cut"]
        outcome = jnp.where(row["ended"], row["result"], jnp.where(row["cut"], row["estimate"], -outcome))
        outcome, known = jnp.where(last | known, outcome, 0.0), last | known
        return (outcome, known), (outcome, known)

    shape = replay.rows["result"].shape[1:]
    _, found = jax.lax.scan(back, (jnp.zeros(shape), jnp.zeros(shape, bool)), rows, reverse=True)
    outcome, known = jax.tree.map(lambda leaf: jnp.roll(leaf, replay.position, axis=0), found)
    written = jnp.arange(replay.slots) < replay.filled
    return outcome, known & written[:, None] & ~replay.rows["random"]


class Turned(Blueprint):
    """Each row of a batch with its board rotated and mirrored at random, as the game allows.

    ``Turned(game)(key, batch)``: see :class:`~danlu.engine.step.Program`, ``augment``.
    """

    game: Game

    def __call__(self, key: jax.Array, batch: dict[str, Any]) -> dict[str, Any]:
        cells, moves = (jnp.asarray(table) for table in self.game.symmetries)
        board = batch["x"]
        way = jax.random.randint(key, (board.shape[0],), 0, cells.shape[0])
        flat = board.reshape(board.shape[0], -1, board.shape[-1])  # (batch, cells, planes)
        turned = jnp.take_along_axis(flat, cells[way][:, :, None], axis=1).reshape(board.shape)
        y = batch["y"]
        policy, legal = (jnp.take_along_axis(y[name], moves[way], axis=1) for name in ("policy", "legal"))
        return {**batch, "x": turned, "y": {**y, "policy": policy, "legal": legal}}


def _along(flags: jax.Array, like: jax.Array) -> jax.Array:
    return flags.reshape(flags.shape + (1,) * (like.ndim - flags.ndim))  # (games, 1, …), as many axes as like
