"""Board games: outcomes against a walk through the games, the loss against its formula, the solver against all that can be played."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from danlu.rl.games.alphazero import BoardLoss
from danlu.rl.games.minimax import Solver, heuristic, legal_columns, play_column, wins
from danlu.rl.games.selfplay import known_outcomes
from danlu.rl.replay import Replay
from danlu.verify.case import Check, case
from danlu.verify.oracles import draw, finite_difference

__all__: list[str] = []

STEPS, GAMES, SLOTS = 40, 3, 32
LINES = [
    [(row + i * down, column + i * right) for i in range(4)]
    for row in range(6)
    for column in range(7)
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1))
    if row + 3 * down < 6 and 0 <= column + 3 * right < 7
]


@case("rl.game_outcomes")
def verify_game_outcomes(check: Check) -> None:
    """Games that end, or are cut, at any time, in a ring that has been written over."""
    rng = np.random.default_rng(0)
    kind = rng.choice(3, size=(STEPS, GAMES), p=[0.8, 0.15, 0.05])
    result, estimate = rng.integers(-1, 2, (STEPS, GAMES)).astype(np.float64), draw(STEPS, GAMES)
    at_random = rng.random((STEPS, GAMES)) < 0.1
    rows = {"result": result, "estimate": estimate, "ended": kind == 1, "cut": kind == 2, "random": at_random}
    arrays = {n: jnp.asarray(x, bool if x.dtype == bool else jnp.float32) for n, x in rows.items()}
    replay = Replay.of({name: array[0] for name, array in arrays.items()}, capacity=SLOTS * GAMES)
    for step in range(STEPS):
        replay = replay.add({name: array[step] for name, array in arrays.items()})
    outcome, known = known_outcomes(replay)
    expected, certain = np.zeros((SLOTS, GAMES)), np.zeros((SLOTS, GAMES))
    for step in range(STEPS - SLOTS, STEPS):
        for game in range(GAMES):
            last = next((later for later in range(step, STEPS) if kind[later, game]), None)
            if last is not None:
                value = result[last, game] if kind[last, game] == 1 else estimate[last, game]
                expected[step % SLOTS, game] = value * (-1) ** (last - step)
                certain[step % SLOTS, game] = not at_random[step, game]
    check(outcome, expected, oracle="closed form")
    check(known, certain, oracle="closed form")


@case("rl.board_loss")
def verify_board_loss(check: Check) -> None:
    logits, value, outcome = draw(6, 5), np.tanh(draw(6, 1, seed=1)), draw(6, seed=2)
    legal = np.random.default_rng(3).random((6, 5)) < 0.6
    legal[:, 0] = True
    policy = np.where(legal, np.exp(draw(6, 5, seed=4)), 0.0)
    policy /= policy.sum(axis=1, keepdims=True)

    def formula(logits: np.ndarray) -> np.ndarray:
        allowed = np.where(legal, np.exp(logits), 0.0)
        log_prob = np.log(np.where(legal, allowed / allowed.sum(axis=1, keepdims=True), 1.0))
        return -(policy * log_prob).sum(axis=1) + 0.5 * (value[:, 0] - outcome) ** 2

    targets = {"policy": jnp.float32(policy), "legal": jnp.asarray(legal), "outcome": jnp.float32(outcome)}

    def ours(logits: jax.Array) -> jax.Array:
        return BoardLoss(0.5)({"policy": logits, "value": jnp.float32(value)}, targets)

    given = jnp.float32(logits)
    check(ours(given), formula(logits))
    numeric = finite_difference(lambda x: formula(x).sum(), logits)
    check(jax.grad(lambda x: ours(x).sum())(given), numeric, oracle="finite differences", floor=0.01)


@case("rl.connect_four")
def verify_connect_four(check: Check) -> None:
    """The heuristic line by line, and exact values by playing everything that can be played."""

    @functools.cache
    def value(own: int, both: int) -> int:
        found = [0] if both.bit_count() == 42 else []
        for column in legal_columns(both):
            other, after = play_column(own, both, column)
            found.append(1 if wins(other ^ after) else -value(other, after))
        return max(found)

    rng, solver = np.random.default_rng(0), Solver(10)
    ours: list[float] = []
    expected: list[float] = []
    for _ in range(60):
        own = both = 0
        for _ in range(32 + int(rng.integers(8))):
            own, both = play_column(own, both, int(rng.choice(legal_columns(both))))
            if wins(own ^ both):
                break
        men = np.array([[(own >> 7 * c + r & 1) - ((both ^ own) >> 7 * c + r & 1) for c in range(7)] for r in range(6)])
        lines = np.array([[men[cell] for cell in line] for line in LINES])
        mine, yours = ((lines == side).sum(axis=1) for side in (1, -1))
        promise = (10.0 ** mine[(yours == 0) & (mine < 4)]).sum() - (10.0 ** yours[(mine == 0) & (yours < 4)]).sum()
        won = bool((np.abs(lines.sum(axis=1)) == 4).any())
        ours.append(wins(own ^ both))
        expected.append(won)
        if not won:
            ours += [heuristic(own, both), solver.value(own, both)]
            expected += [promise, value(own, both)]
    check(np.array(ours, np.float64), np.array(expected, np.float64), oracle="enumeration")
