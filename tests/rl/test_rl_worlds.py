"""GridWorld, Bandit, Catch and Breakout: worked by hand, against a book, and against the rules written another way."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu.blueprint import from_json, to_json
from danlu.errors import ConfigError
from danlu.rl import environments as worlds
from danlu.rl.environment import Environment
from danlu.verify.cases.environments import BreakoutByRule

KEY = jax.random.key(0)
ALL: list[Environment] = [
    worlds.CartPole(),
    worlds.MountainCar(),
    worlds.MountainCarContinuous(),
    worlds.Acrobot(),
    worlds.Pendulum(),
    worlds.GridWorld(),
    worlds.Bandit(),
    worlds.Catch(),
    worlds.Breakout(),
    worlds.Driving(),
]


@pytest.mark.parametrize("env", ALL, ids=[str(env.id) for env in ALL])
def test_contract(env: Environment) -> None:
    """In the space, of the declared types, of stable shapes; one program; a picture; and it survives JSON."""
    assert from_json(to_json(env)) == env
    assert hash(from_json(to_json(env))) == hash(env)
    programs: list[int] = []

    @jax.jit
    def run(key: jax.Array) -> Any:
        programs.append(1)
        start = env.begin(key, 3)

        def move(envs: Any, key: jax.Array) -> Any:
            action = jax.vmap(env.action_space.sample)(jax.random.split(key, 3))
            return env.advance(envs, action, key)

        return start, *jax.lax.scan(move, start, jax.random.split(key, 20))

    start, end, steps = run(KEY)
    again = run(KEY)[1]
    run(jax.random.key(1))
    assert len(programs) == 1
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), again, end)), "the same key, the same episodes"
    assert jax.tree.map(jnp.shape, start) == jax.tree.map(jnp.shape, end)
    assert jax.tree.map(jnp.result_type, start) == jax.tree.map(jnp.result_type, end)
    for seen in (*np.asarray(steps.next_observation).reshape(-1, *env.observation_space.shape), start.observation[0]):
        assert np.asarray(seen).dtype == env.observation_space.dtype
        assert env.observation_space.contains(np.asarray(seen))
    assert (steps.reward.dtype, steps.terminated.dtype) == (jnp.float32, jnp.bool_)
    picture = env.frame(jax.tree.map(lambda array: np.asarray(array)[0], end.state))
    assert picture is not None
    assert picture.dtype == np.uint8
    assert picture.shape[2:] == (3,)
    assert 120 <= max(picture.shape) <= 300
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 2


def test_grid_world_is_worth_what_the_book_says() -> None:
    """Value iteration on steps sampled from every cell gives the utilities of Russell & Norvig, figure 17.3."""
    world = worlds.GridWorld()
    cells, actions = jnp.repeat(jnp.arange(12), 4), jnp.tile(jnp.arange(4), 12)
    sample = jax.vmap(jax.vmap(world.step, (0, 0, None)), (None, None, 0))
    after, outcome = jax.jit(sample)(worlds.GridWorldState(cells), actions, jax.random.split(KEY, 4000))
    arrival, reward, done = (np.asarray(a) for a in (after.cell, outcome.reward, outcome.terminated))
    values = np.zeros(12)
    for _ in range(60):
        values = (reward + ~done * values[arrival]).mean(axis=0).reshape(12, 4).max(axis=1)
    # the cells of goal, pit and wall are none to stand in
    book = {0: 0.812, 1: 0.868, 2: 0.918, 4: 0.762, 6: 0.660, 8: 0.705, 9: 0.655, 10: 0.611, 11: 0.388}
    for cell, value in book.items():
        assert values[cell] == pytest.approx(value, abs=0.02)


def test_grid_world_by_hand() -> None:
    world = worlds.GridWorld(rows=("SG", "#X", "S."), slip=0.0, step_reward=-1.0, goal_reward=5.0, pit_reward=-7.0)
    step = jax.jit(lambda cell, action: world.step(worlds.GridWorldState(cell), action, KEY))
    #            from, action: to, reward, terminated
    for row in [
        (0, 0, 0, -1, False),  # the edge
        (0, 1, 1, 4, True),  # the goal
        (0, 2, 0, -1, False),  # a wall
        (4, 0, 4, -1, False),  # the wall from below
        (4, 1, 5, -1, False),
        (5, 0, 3, -8, True),  # the pit
        (5, 3, 4, -1, False),
    ]:
        state, outcome = step(*map(jnp.int32, row[:2]))
        assert (int(state.cell), float(outcome.reward), bool(outcome.terminated)) == row[2:]
        assert int(outcome.observation.argmax()) == row[2]
        assert float(outcome.observation.sum()) == 1
    cells = jax.jit(jax.vmap(lambda key: world.reset(key)[0].cell))(jax.random.split(KEY, 100))
    assert 30 < int((cells == 0).sum()) < 70
    assert set(cells.tolist()) == {0, 4}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: worlds.GridWorld(rows=("SG", "S")), "one length"),
        (lambda: worlds.GridWorld(rows=("SY",)), "one length"),
        (lambda: worlds.GridWorld(rows=("..",)), "lacks S, G"),
        (lambda: worlds.GridWorld(slip=1.5), "slip is 1.5"),
        (lambda: worlds.Bandit(arms=3, means=(1.0,)), "1 numbers for 3 arms"),
        (lambda: worlds.Bandit(arms=1, kind="bernoulli", means=(2.0,)), "probabilities"),
        (lambda: worlds.CartPole(gravity=-1.0), "gravity is -1.0"),
        (lambda: worlds.Catch(rows=1), "rows is 1"),
    ],
)
def test_bad_parameters_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_bandits_pay_what_they_say() -> None:
    for kind, means, deviation in (("gaussian", (-1.0, 2.0), 1.0), ("bernoulli", (0.2, 0.9), None)):
        world = worlds.Bandit(arms=2, kind=kind, means=means, horizon=3)
        start = world.reset(KEY)[0]
        pull = jax.jit(jax.vmap(lambda arm, key, do=world.step, start=start: do(start, arm, key)[1].reward, (None, 0)))
        for arm in (0, 1):
            rewards = np.asarray(pull(jnp.int32(arm), jax.random.split(KEY, 4000)))
            assert rewards.mean() == pytest.approx(means[arm], abs=0.06)
            expected = deviation if deviation else np.sqrt(means[arm] * (1 - means[arm]))
            assert rewards.std() == pytest.approx(expected, abs=0.04)
            assert kind == "gaussian" or set(rewards.tolist()) == {0.0, 1.0}


def test_a_bandit_remembers_by_hand() -> None:
    world = worlds.Bandit(arms=2, horizon=3)
    (state, seen), means = jax.jit(
        lambda: (world.reset(KEY), jax.vmap(world.reset)(jax.random.split(KEY, 2000))[0].means)
    )()
    assert seen.tolist() == [0, 0, 0, 0]
    assert float(np.std(means)) == pytest.approx(1, abs=0.05)
    assert float(np.mean(means)) == pytest.approx(0, abs=0.05)
    step = jax.jit(world.step)
    paid: list[float] = []
    for pull, arm in enumerate((1, 1, 0)):
        state, outcome = step(state, arm, jax.random.key(pull))
        paid.append(float(outcome.reward))
        assert bool(outcome.terminated) == (pull == 2)
    np.testing.assert_allclose(outcome.observation, [paid[2], (paid[0] + paid[1]) / 2, 1 / 3, 2 / 3], rtol=1e-6)


def test_catch_by_hand() -> None:
    world = worlds.Catch()
    step = jax.jit(world.step)
    state = worlds.CatchState(jnp.int32(0), jnp.int32(0), jnp.int32(2))
    for move in range(1, 10):
        state, outcome = step(state, 0 if move < 9 else 2, KEY)  # to the edge, held there, and one back
        paddle = max(2 - move, 0) if move < 9 else 1
        board = np.zeros((10, 5))
        board[move, 0] = board[9, paddle] = 1
        np.testing.assert_array_equal(outcome.observation, board)
        assert (float(outcome.reward), bool(outcome.terminated)) == ((-1, True) if move == 9 else (0, False))
    columns = jax.jit(jax.vmap(lambda key: world.reset(key)[0].column))(jax.random.split(KEY, 500))
    assert np.bincount(np.asarray(columns), minlength=5).min() > 70


def test_breakout_is_the_rules() -> None:
    """3,000 steps by a player who mostly follows the ball and sometimes errs, from full walls and from the last few bricks."""
    world = worlds.Breakout(sticky=0.0)
    reset, step = jax.jit(world.reset), jax.jit(world.step)
    rng = np.random.default_rng(0)
    state: Any = None
    cleared = episodes = broken = 0
    for move in range(3000):
        if state is None:
            state, seen = reset(jax.random.key(move))
            game = BreakoutByRule(from_left=int(state.column) == 0)
            np.testing.assert_array_equal(seen, game.seen())
            if episodes % 2:
                game.bricks = set(rng.choice(sorted(game.FULL, key=abs), 2, replace=False).tolist())
                state = worlds.BreakoutState(**{**vars(state), "bricks": jnp.asarray(game.seen()[..., 3] > 0)})
        ahead = game.ball.real + game.way.real
        action = 0 if ahead == game.paddle else 1 if ahead < game.paddle else 2
        if rng.random() < 0.03:
            action = int(rng.integers(3))
        state, outcome = step(state, jnp.int32(action), KEY)
        reward, over = game.act(action)
        np.testing.assert_array_equal(outcome.observation, game.seen())
        assert (float(outcome.reward), bool(outcome.terminated)) == (reward, over)
        broken, cleared, episodes = broken + reward, cleared + (not game.bricks), episodes + over
        state = None if over else state
    assert min(broken // 30, cleared, episodes // 3) >= 3, "the comparison must see walls come back, and balls lost"


def test_a_sticky_action_is_the_last_one() -> None:
    world = worlds.Breakout(sticky=0.25)
    start = jax.jit(world.reset)(KEY)[0]
    moved = worlds.BreakoutState(**{**vars(start), "last_action": jnp.int32(1)})
    many = jax.jit(jax.vmap(lambda key: world.step(moved, jnp.int32(2), key)[0].paddle))
    paddle = np.asarray(many(jax.random.split(KEY, 2000)))
    assert set(paddle.tolist()) == {3, 5}
    assert float((paddle == 3).mean()) == pytest.approx(0.25, abs=0.03)
