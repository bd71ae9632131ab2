"""Board games: rules seen the same from both sides, searches that see wins and threats, self-play with the right signs, exact players."""

from __future__ import annotations

import functools
import random
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("pgx")
pytest.importorskip("mctx")

from danlu.blueprint import from_json, to_json
from danlu.engine import LambdaCallback
from danlu.errors import ConfigError
from danlu.rl import PPO, fit
from danlu.rl.environments import CartPole
from danlu.rl.games import (
    MCTS,
    AlphaZero,
    Game,
    Gumbel,
    Match,
    Minimax,
    RandomPlayer,
    Solver,
    contest,
    game_recipe,
    is_game,
    make_match,
    never_loses,
    train_game,
)
from danlu.rl.games.arena import Record, compiled, minimax_player, optimal_moves, wilson
from danlu.rl.games.minimax import heuristic, legal_columns, play_column, positions_of, wins
from danlu.rl.games.players import play_match
from danlu.rl.games.search import PUCT
from danlu.rl.games.selfplay import SelfPlay, Turned, known_outcomes
from danlu.rl.replay import Replay

TOE, FOUR = Game("tic-tac-toe"), Game("connect-four")
LINES = [
    [(row + i * down, column + i * right) for i in range(4)]
    for row in range(6)
    for column in range(7)
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1))
    if 0 <= row + 3 * down < 6 and 0 <= column + 3 * right < 7
]


def after(game: Game, moves: Any) -> Any:
    """The position after these moves."""
    position = game.begin()
    for move in moves:
        position = step_of(game)(position, move)
    return position


@functools.lru_cache(maxsize=4)
def step_of(game: Game) -> Any:
    return jax.jit(game.step)


def batch(*positions: Any) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *positions)


def ignorant(positions: Any, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """An evaluation that knows nothing of tic-tac-toe."""
    count = positions.current_player.shape[0]
    return jnp.zeros((count, 9)), jnp.zeros(count)


# Positions of tic-tac-toe in which there is one right move: a win in one, for X and for O, and a loss in one, likewise.
URGENT = {(0, 3, 1, 4): 2, (8, 0, 7, 1, 5): 2, (4, 0, 8): None, (0, 4, 8, 2): 6, (4, 0, 2): 6, (0, 4, 1): 2}


@pytest.mark.parametrize("search", [Gumbel(200), PUCT(200)], ids=["gumbel", "puct"])
def test_a_search_that_knows_nothing_finds_a_win_in_one_and_prevents_a_loss_in_one(search: Any) -> None:
    wanted = {moves: right for moves, right in URGENT.items() if right is not None}
    positions = batch(*(after(TOE, moves) for moves in wanted))
    found = jax.jit(functools.partial(search.find, TOE, ignorant))(positions, jax.random.key(0))
    assert found.action.tolist() == list(wanted.values())
    legal = np.asarray(jax.vmap(TOE.legal)(positions))
    weights = np.asarray(found.weights)
    assert (weights[~legal] == 0).all()
    assert weights.argmax(axis=1).tolist() == list(wanted.values())
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)


def test_a_game_shows_who_won_and_stays_as_it_ended() -> None:
    position = after(TOE, (0, 3, 1, 4, 2))
    assert bool(TOE.ended(position))
    assert [float(TOE.result(position, player)) for player in (0, 1)] == [1, -1]
    later = after(TOE, (0, 3, 1, 4, 2, 8, 8))
    assert [float(TOE.result(later, player)) for player in (0, 1)] == [1, -1]
    assert TOE.text(later) == "X X X\nO O .\n. . ."
    wrong = after(TOE, (0, 0))  # who makes an illegal move has lost
    assert float(TOE.result(wrong, 1)) == -1
    assert TOE.frame(position).shape[2] == 3


@pytest.mark.parametrize("game", [TOE, FOUR], ids=["tic-tac-toe", "connect-four"])
def test_a_turned_game_is_the_same_game(game: Game) -> None:
    """Turned moves lead to the turned board, in each of the ways."""
    rng, moves, position = np.random.default_rng(3), [], game.begin()
    for _ in range(5):
        moves.append(int(rng.choice(np.flatnonzero(np.asarray(game.legal(position))))))
        position = step_of(game)(position, moves[-1])
    board = np.asarray(game.observation(position)).reshape(-1, game.board_shape[-1])
    cells, ways = game.symmetries
    for cell, way in zip(cells, ways, strict=True):
        turned = after(game, [int(np.flatnonzero(way == move)[0]) for move in moves])
        assert (np.asarray(game.observation(turned)).reshape(board.shape) == board[cell]).all()
        assert (np.asarray(game.legal(turned)) == np.asarray(game.legal(position))[way]).all()


def test_rows_are_turned_with_their_policies() -> None:
    board = np.zeros((64, 6, 7, 2), bool)
    board[:, 5, 0, 0] = True
    policy = np.tile(np.eye(7, dtype=np.float32)[0], (64, 1))
    rows = {"x": jnp.asarray(board), "y": {"policy": jnp.asarray(policy), "legal": jnp.asarray(policy > 0)}}
    turned = Turned(FOUR)(jax.random.key(0), rows)
    column = np.asarray(turned["x"])[:, 5, :, 0].argmax(axis=1)
    assert set(column.tolist()) == {0, 6}
    assert (np.asarray(turned["y"]["policy"]).argmax(axis=1) == column).all()


def test_outcomes_go_back_to_the_players_who_moved() -> None:
    """Two games in one lane, the second cut, the third under way; the ring has been written over once."""
    names = ("result", "estimate", "ended", "cut", "random")
    kinds = {"result": jnp.float32, "estimate": jnp.float32}
    replay = Replay.of({name: jnp.zeros(1, kinds.get(name, bool)) for name in names}, capacity=8)
    steps: list[dict[str, float]] = [{"result": 1, "ended": 1}]  # forgotten
    steps += [{}, {"random": 1}, {"result": 1, "ended": 1}]  # won by who moved last: +, −, +
    steps += [{}, {"estimate": 0.5, "cut": 1}]  # cut where the mover hoped for 0.5: −0.5, 0.5
    steps += [{"result": 0, "ended": 1}, {"estimate": 9}, {"estimate": 9}]
    for step in steps:
        replay = replay.add({name: jnp.array([step.get(name, 0)], kinds.get(name, bool)) for name in names})
    outcome, known = known_outcomes(replay)
    order = [(int(replay.position) + i) % 8 for i in range(8)]
    assert [float(outcome[slot, 0]) for slot in order] == [1, -1, 1, -0.5, 0.5, 0, 0, 0]
    assert [bool(known[slot, 0]) for slot in order] == [True, False, True, True, True, True, False, False]


def test_self_play_makes_legal_moves_and_its_results_are_the_games_and_nobody_resigns_unless_it_is_safe() -> None:
    """Rows are replayed by the rules: each board is followed by the next, and the results are those of the ends."""
    play = SelfPlay(TOE, Gumbel(4), openings=2, resign=-0.5, played_out=0.25)

    @jax.jit
    def run(envs: Any, memory: Any, key: jax.Array, hope: Any) -> Any:
        def evaluate(positions: Any, key: jax.Array) -> tuple[jax.Array, jax.Array]:
            return ignorant(positions, key)[0], jnp.where(positions.current_player == 0, hope, -hope)

        return play.play(evaluate, envs, memory, key, 24)

    begun, memory = play.begin(8), play.memory(8, 24, jax.random.key(1))
    envs, memory, sums = run(begun, memory, jax.random.key(0), 0.0)
    rows = jax.tree.map(np.asarray, memory["replay"].rows)
    outcome, known = (np.asarray(each) for each in known_outcomes(memory["replay"]))
    games = first = 0
    for lane in range(8):
        board = np.zeros((3, 3, 2), bool)
        number = start = 0
        for time in range(24):
            row = {name: rows[name][time, lane] for name in rows}
            assert (row["board"] == board).all()
            assert (row["legal"] == ~board.any(axis=-1).ravel()).all()
            assert (row["policy"][~row["legal"]] == 0).all()
            number += 1
            if row["ended"]:
                games += 1
                won = row["result"] if number % 2 else -row["result"]
                first += won
                for back in range(start, time + 1):
                    sign = 1 if (back - start) % 2 == 0 else -1
                    assert outcome[back, lane] == sign * won
                    assert known[back, lane] == (not rows["random"][back, lane])
                board, number, start = np.zeros((3, 3, 2), bool), 0, time + 1
            elif time + 1 < 24:
                new = rows["board"][time + 1, lane][..., ::-1] & ~board
                assert new.sum() == 1
                assert row["legal"][new.any(axis=-1).ravel()].all()
                board = rows["board"][time + 1, lane]
        assert not known[start:, lane].any()
    assert (float(sums["episodes"]), float(sums["score"]), float(sums["resigned"])) == (games, first, 0)
    assert 0 < rows["random"].mean() < 0.5

    for wrong, some in ((0.0, True), (50.0, False)):  # of 99 games that would have been given up, so many were not lost
        known_games = memory | {"would": jnp.float32(99), "wrong": jnp.float32(wrong)}
        _, after_it, sums = run(envs, known_games, jax.random.key(2), -0.9)  # who began sees no hope
        assert (float(sums["resigned"]) > 0) == some
        # nobody loses by a legal move of its own, so the rows whose mover lost are those of who resigned
        assert (np.asarray(after_it["replay"].rows["result"]) == -1).sum() == float(sums["resigned"])


def grid(own: int, both: int) -> list[list[int]]:
    """A bitboard as rows from below: 1 own, −1 the other's, 0 empty."""
    bits = [[7 * column + row for column in range(7)] for row in range(6)]
    return [[(1 if own >> b & 1 else -1) if both >> b & 1 else 0 for b in line] for line in bits]


def slow_wins(men: int) -> bool:
    cells = grid(men, men)
    return any(all(cells[row][column] == 1 for row, column in line) for line in LINES)


def slow_heuristic(own: int, both: int) -> int:
    cells, total = grid(own, both), 0
    for line in LINES:
        found = [cells[row][column] for row, column in line]
        total += 0 if -1 in found else 10 ** found.count(1)
        total -= 0 if 1 in found else 10 ** found.count(-1)
    return total


def slow_values(own: int, both: int, depth: int) -> dict[int, int]:
    """What each column is worth, all of the tree walked through."""
    values = {}
    for column in legal_columns(both):
        other, now = play_column(own, both, column)
        if slow_wins(other ^ now):
            values[column] = 10**6 + depth
        elif now.bit_count() == 42:
            values[column] = 0
        else:
            deeper = depth > 1
            values[column] = -(
                max(slow_values(other, now, depth - 1).values()) if deeper else slow_heuristic(other, now)
            )
    return values


def some_position(rng: random.Random, men: int) -> tuple[int, int]:
    while True:
        own = both = 0
        for _ in range(men):
            own, both = play_column(own, both, rng.choice(legal_columns(both)))
            if wins(own ^ both):
                break
        else:
            return own, both


def test_minimax_is_the_whole_tree_walked_through() -> None:
    rng = random.Random(0)
    for men in (0, 4, 9, 12, 15, 18, 21, 24, 26, 28, 31, 36) * 6:
        own, both = some_position(rng, men)
        assert heuristic(own, both) == slow_heuristic(own, both)
        depth = rng.choice((1, 2, 3))
        values = slow_values(own, both, depth)
        assert sorted(Minimax(depth).best(own, both)) == sorted(
            c for c, v in values.items() if v == max(values.values())
        )


@functools.cache
def exact(own: int, both: int) -> int:
    """What a position is worth, by the rules alone."""
    values = [0] if both.bit_count() == 42 else []
    for column in legal_columns(both):
        other, now = play_column(own, both, column)
        values.append(1 if wins(other ^ now) else -exact(other, now))
    return max(values)


def test_the_solver_is_right() -> None:
    rng, solver = random.Random(1), Solver(14)
    for men in (28, 30, 31, 32, 33, 34, 36, 38, 40, 41) * 10:
        own, both = some_position(rng, men)
        assert wins(own) == slow_wins(own)
        values = solver.values(own, both)
        for column, value in values.items():
            other, now = play_column(own, both, column)
            assert value == (1 if wins(other ^ now) else -exact(other, now))
        assert solver.best(own, both) == sorted(c for c, value in values.items() if value == max(values.values()))
        assert solver.value(own, both) == exact(own, both)
    with pytest.raises(ConfigError, match="at most 14"):
        solver.value(0, 0)


def test_bitboards_are_pgx_s_boards() -> None:
    rng, position, own, both = np.random.default_rng(0), FOUR.begin(), 0, 0
    while not bool(FOUR.ended(position)):
        column = int(rng.choice(legal_columns(both)))
        position = step_of(FOUR)(position, column)
        own, both = play_column(own, both, column)
        assert positions_of(np.asarray(FOUR.observation(position))[None]) == [(own, both)]
        assert (wins(own ^ both) or both.bit_count() == 42) == bool(FOUR.ended(position))


def test_a_match_of_minimax_and_chance() -> None:
    chance = compiled(lambda positions, key: RandomPlayer().choose(FOUR, positions, key))
    record = contest(FOUR, minimax_player(FOUR, Minimax(2)), chance, games=8, opening=1)
    assert record.wins()[0] >= 7
    assert (record.began.sum(), len(record.actions)) == (4, len(record.boards))
    own, both = some_position(random.Random(5), 34)
    board = np.zeros((2, 6, 7, 2), bool)
    for row, line in enumerate(grid(own, both)):
        for column, man in enumerate(line):
            board[:, 5 - row, column] = (man == 1, man == -1)
    values = Solver().values(own, both)
    worst, best = min(values, key=values.__getitem__), max(values, key=values.__getitem__)
    for actions, right in (([worst, best], 1), ([best, best], 1), ([worst, worst], 0)):  # the same move counts once
        judged, moves = optimal_moves(board, np.array(actions), Solver()), len(set(actions))
        assert (judged.moves, judged.optimal, judged.hard, judged.hard_optimal) == (moves, right, moves, right)
    with pytest.raises(ConfigError, match="even number"):
        contest(FOUR, chance, chance, games=3)


def test_shares_have_wilson_s_interval() -> None:
    assert [round(end, 4) for end in wilson(81, 263)] == [0.2553, 0.3662]  # Newcombe (1998), table I
    record = Record(np.array([1, 1, 0, -1]), np.array([True, True, False, False]), *np.zeros((2, 0)), np.zeros((4, 2)))
    assert record.different == 2
    assert record.summary()["first"]["share_won"] == 1
    assert record.wins(began=False) == (0, 1, 1)


def test_never_loses_finds_the_line_in_which_a_player_loses() -> None:
    line = never_loses(TOE, lambda positions: jnp.argmax(jax.vmap(TOE.legal)(positions), axis=-1))
    assert line is not None
    position = after(TOE, line)
    assert bool(TOE.ended(position))
    loser = len(line) % 2  # who did not make the last move
    assert float(TOE.result(position, loser)) == -1
    with pytest.raises(ConfigError, match="small game"):
        never_loses(TOE, lambda positions: jnp.argmax(jax.vmap(TOE.legal)(positions), axis=-1), most=3)


SMALL = {
    "environments": 8,
    "n_steps": 4,
    "memory": 12,
    "simulations": 4,
    "minibatches": 2,
    "batch_size": 16,
    "hidden": (16,),
}


def test_alphazero_learns_is_measured_and_resumes_as_the_same_run(tmp_path: Any) -> None:
    settings = {**SMALL, "gate_every": 4, "gate_games": 4, "gate": 0.0}
    how: dict[str, Any] = {"settings": settings, "display": "none", "episodes": 2, "evaluations": 4}
    whole = train_game("tic-tac-toe", steps=128, **how)
    row = whole.fitted.history[-1]  # type: ignore[union-attr]
    assert {"return", "length", "draws", "resigned", "misjudged", "agreement", "outcome_error", "val_return"} <= set(
        row
    )
    assert row["frames"] == 128
    assert row["step"] == 8
    assert whole.play(episodes=2).returns.shape == (2,)  # as train_game's own example, which is too dear to run
    learnt, kept = jax.tree.leaves(whole.params), jax.tree.leaves(whole.state["kept"])
    assert all((np.asarray(one) == np.asarray(other)).all() for one, other in zip(learnt, kept, strict=True))

    def stop(epoch: int, logs: Any) -> None:
        if epoch == 2:
            raise StopIteration

    options = {**how, "checkpoint": tmp_path, "checkpoint_every": 0.0}
    with pytest.raises(StopIteration):
        train_game("tic-tac-toe", steps=128, callbacks=[LambdaCallback(on_epoch_end=stop)], **options)
    resumed = train_game("tic-tac-toe", steps=128, resume=True, callbacks=[LambdaCallback()], **options)
    for one, other in zip(learnt + kept, jax.tree.leaves((resumed.params, resumed.state["kept"])), strict=True):
        assert (np.asarray(one) == np.asarray(other)).all()
    assert from_json(to_json(whole.agent)) == whole.agent
    assert from_json(to_json(whole.env)) == whole.env


@pytest.mark.slow
def test_a_network_that_does_not_win_its_match_is_not_used() -> None:
    settings = {**SMALL, "gate_every": 1, "gate_games": 16, "gate": 1.0}
    trained = train_game("tic-tac-toe", steps=128, settings=settings, evaluations=1, episodes=2, display="none")
    same = jax.tree.map(lambda a, b: bool((a == b).all()), trained.params, trained.state["kept"])
    assert not any(jax.tree.leaves(same))


def test_a_match_of_two_networks_counts_for_the_first_of_them() -> None:
    """Two players with an order of squares each: whoever begins has a whole row first. One alone on both sides would draw."""
    orders = jnp.array([[0, 1, 2, 3, 4, 5, 6, 7, 8], [3, 4, 5, 0, 1, 2, 6, 7, 8]])

    def choose(order: jax.Array, positions: Any, key: jax.Array) -> jax.Array:
        legal = jax.vmap(TOE.legal)(positions)
        return order[jnp.argmax(legal[:, order], axis=-1)]

    results = play_match(TOE, choose, orders, jax.random.key(0), games=2, max_moves=9)
    assert bool(TOE.ended(after(TOE, [0, 3, 1, 4, 2])))
    assert results.tolist() == [[1, 1], [-1, -1]]


def test_wrong_names_are_named() -> None:
    assert is_game("Tic_Tac_Toe")
    assert not is_game(3)
    with pytest.raises(ConfigError, match="did you mean 'connect-four'"):
        make_match("conect-four")
    with pytest.raises(ConfigError, match="opponent"):
        make_match("chess", opponent="kasparov")
    with pytest.raises(ConfigError, match="setting of AlphaZero"):
        game_recipe(TOE, simulation=3)
    with pytest.raises(ConfigError, match="expected a board game"):
        fit(AlphaZero(), CartPole(), steps=10, display="none")
    with pytest.raises(ConfigError, match="at least as much memory"):
        AlphaZero(memory=2, n_steps=4)


@pytest.mark.slow
def test_tic_tac_toe_is_never_lost_proved_by_enumeration() -> None:
    trained = train_game("tic-tac-toe", evaluations=1, episodes=8, display="none")
    for agent in (trained.agent, trained.agent.replace(play_simulations=1)):
        find = agent.player(trained.env, trained.params, trained.state)
        assert never_loses(TOE, lambda positions, find=find: find(positions, jax.random.key(0))) is None


@pytest.mark.slow
def test_mcts_alone_beats_chance_and_any_agent_can_play_a_match() -> None:
    chance = compiled(lambda positions, key: RandomPlayer().choose(FOUR, positions, key))
    mcts = compiled(lambda positions, key: MCTS(64).choose(FOUR, positions, key))
    assert contest(FOUR, mcts, chance, games=40).wins()[0] >= 38
    trained = fit(PPO(environments=16, n_steps=16), Match(game=TOE), steps=20_000, evaluations=2, display="none")
    assert trained.play(episodes=100).returns.mean() > 0.5
