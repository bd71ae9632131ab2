"""Gymnasium's environments within compiled programs, danlu's as Gymnasium's, and wrong ones named."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from danlu.blueprint import from_json, to_json
from danlu.errors import ConfigError, MissingExtraError, TrainingError
from danlu.rl import environments as worlds
from danlu.rl.check_env import check_env, faults
from danlu.rl.environment import Envs
from danlu.rl.external import External, close_all, external, raise_if_broken
from danlu.rl.registry import is_environment, make, registered
from danlu.rl.spaces import Box, DictSpace, Discrete, MultiDiscrete
from danlu.rl.to_gymnasium import to_gymnasium
from danlu.rl.wrappers import FrameStack, ScaleReward

gymnasium = pytest.importorskip("gymnasium")
spaces = gymnasium.spaces
KEY = jax.random.key(0)


class Odd(gymnasium.Env):
    """Counts to ``end``; everything it shows and gets is a number that a test can foretell."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 1}  # noqa: RUF012

    def __init__(self, end: int = 3, fault: str = "", start: int = 0, render_mode: str | None = None) -> None:
        self.end, self.fault, self.render_mode, self.episode = end, fault, render_mode, 0
        self.observation_space = spaces.Dict(
            {
                "picture": spaces.Box(0, 255, (2, 3, 1), np.uint8),
                "arm": spaces.Dict({"speed": spaces.Box(-9.0, 9.0, (2,)), "on": spaces.MultiBinary(2)}),
                "place": spaces.Discrete(50, start=start),
                "pair": spaces.Tuple((spaces.Discrete(9), spaces.MultiDiscrete([50, 7]))),
            }
        )
        self.action_space = spaces.Discrete(3, start=5)

    def _seen(self) -> Any:
        n = self.count
        return {
            "picture": np.full((2, 3, 1), n, np.uint8),
            "arm": {"speed": np.float32([n, -n]), "on": np.int8([n % 2, 1])},
            "place": self.observation_space["place"].start + n,
            "pair": (self.episode, np.int64([n, 6])),
        }

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.count, self.episode = 0, self.episode + 1
        if self.fault == "reset":
            raise ValueError("the door is locked")
        return self._seen(), {}

    def step(self, action: Any) -> Any:
        assert 5 <= action <= 7, f"the action is {action}"
        self.count += 1
        if self.fault == "raise" and self.count == 2:
            raise ZeroDivisionError("no way on")
        reward = float("nan") if self.fault == "nan" else float(action)
        return self._seen(), reward, self.count == self.end, False, {}

    def render(self) -> np.ndarray:
        if self.fault == "render":
            raise gymnasium.error.DependencyNotInstalled("pygame is not installed")
        return np.full((4, 4, 3), self.count, np.uint8)


@pytest.fixture(autouse=True)
def odd() -> Any:
    gymnasium.register("danlu/Odd-v0", entry_point=Odd, max_episode_steps=5)
    yield
    close_all()
    gymnasium.registry.pop("danlu/Odd-v0")


def play(env: External, actions: Any, count: int) -> tuple[Envs, Envs, Any]:
    """Begin, and take the steps in one scan of one program."""

    @jax.jit
    def run(key: jax.Array, actions: jax.Array) -> Any:
        start = env.begin(key, count)
        return start, *jax.lax.scan(lambda envs, action: env.advance(envs, action, key), start, actions)

    return jax.block_until_ready(run(KEY, jnp.asarray(actions)))


def test_spaces_cross_over() -> None:
    env = external("danlu/Odd-v0", start=10)
    assert env.observation_space == DictSpace(
        (
            ("arm/on", Box(0.0, 1.0, (2,))),
            ("arm/speed", Box(-9.0, 9.0, (2,))),
            ("pair/0", Discrete(9)),
            ("pair/1", MultiDiscrete((50, 7))),
            ("picture", Box(0.0, 255.0, (2, 3, 1), "uint8")),
            ("place", Discrete(50)),
        )
    )
    assert env.action_space == Discrete(3)
    assert (env.id, env.max_steps, env.solved, env.pure) == ("danlu/Odd-v0", 5, None, False)
    assert from_json(to_json(env)) == env
    assert hash(from_json(to_json(env))) == hash(env)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_episodes_end_and_begin_within_a_scan(workers: int) -> None:
    """Ends at 3, or at 5 just when time is up, which is no cut then; the last observation is the old episode's, the next the new one's."""
    for length in (3, 5):
        env = external("danlu/Odd-v0", end=length, start=10, workers=workers)
        actions = np.tile([0, 2, 9], (7, 1))  # 9 is clipped to 2
        start, last, steps = play(env, actions, 3)
        assert start.observation["place"].tolist() == [0, 0, 0]
        for t in range(7):
            n, episode = t % length + 1, t // length + 1
            seen = jax.tree.map(lambda array, t=t: np.asarray(array[t]), steps.next_observation)
            assert seen["place"].tolist() == [n] * 3
            assert seen["place"].dtype == np.int32
            assert seen["pair/0"].tolist() == [episode] * 3
            assert seen["pair/1"].tolist() == [[n, 6]] * 3
            assert seen["arm/speed"].tolist() == [[n, -n]] * 3
            assert seen["arm/on"].tolist() == [[n % 2, 1]] * 3
            assert (seen["picture"] == n).all()
            assert seen["picture"].dtype == np.uint8
            before = t % length
            assert (np.asarray(steps.observation["picture"][t]) == before).all()
            assert steps.observation["place"][t].tolist() == [before] * 3
            over = n == length
            assert steps.terminated[t].tolist() == [over] * 3
            assert not steps.truncated[t].any()
            assert steps.reward[t].tolist() == [5, 7, 7]
            assert steps.steps[t].tolist() == [n] * 3
            assert steps.score[t].tolist() == [5 * n, 7 * n, 7 * n]
        assert last.steps.tolist() == [7 % length] * 3
        picture = env.frame(jax.tree.map(lambda array: array[1], last.state))
        assert picture is not None
        assert (picture == 7 % length).all()
        raise_if_broken(env)
        env.close()
        assert env.frame(jax.tree.map(lambda array: array[1], last.state)) is None


def test_it_is_gymnasiums_own_and_the_seed_decides() -> None:
    """The same actions, in a loop over Gymnasium from the same seeds."""
    env = external("CartPole-v1", max_steps=15)
    actions = np.random.default_rng(0).integers(2, size=(60, 2)).astype(np.int32)
    start, _, steps = play(env, actions, 2)
    again = play(env, actions, 2)[2]
    np.testing.assert_array_equal(steps.next_observation, again.next_observation)
    seed = int(jax.random.bits(KEY, (), jnp.uint32))
    cuts = 0
    for i in range(2):
        other = gymnasium.make("CartPole-v1", max_episode_steps=15)
        seen = other.reset(seed=(seed + i) % 2**31)[0]
        np.testing.assert_array_equal(start.observation[i], seen)
        for t in range(60):
            np.testing.assert_array_equal(steps.observation[t, i], seen)
            seen, reward, terminated, truncated, _ = other.step(int(actions[t, i]))
            np.testing.assert_array_equal(steps.next_observation[t, i], seen)
            got = (float(steps.reward[t, i]), bool(steps.terminated[t, i]), bool(steps.truncated[t, i]))
            assert got == (reward, terminated, truncated and not terminated)
            cuts += truncated
            if terminated or truncated:
                seen = other.reset()[0]
    assert cuts


def test_two_places_in_a_program_do_not_disturb_each_other() -> None:
    """Evaluation begins environments of its own in the midst of training; begun anew, the old ones are gone, and it is said."""
    env = external("danlu/Odd-v0", end=99)

    @jax.jit
    def run(key: jax.Array) -> Any:
        train = env.begin(key, 2)
        train, _ = env.advance(train, jnp.int32([0, 0]), key)
        evaluate = env.begin(key, 1)
        evaluate, _ = env.advance(evaluate, jnp.int32([0]), key)
        train, _ = env.advance(train, jnp.int32([0, 0]), key)
        return train, evaluate

    train, evaluate = run(KEY)
    assert train.observation["place"].tolist() == [2, 2]
    assert evaluate.observation["place"].tolist() == [1]
    run(KEY)
    env.advance(train, jnp.int32([0, 0]), KEY)
    with pytest.raises(TrainingError, match="reset elsewhere"):
        raise_if_broken(env)
    raise_if_broken(env)


def test_a_run_whose_environments_are_gone_begins_new_episodes() -> None:
    """As after a kill: one step that brings nothing and cuts the episodes, and then as ever."""
    env = external("danlu/Odd-v0", end=99)
    envs = play(env, np.zeros((2, 2), np.int32), 2)[1]
    env.close()
    advance = jax.jit(env.advance)
    envs, step = advance(envs, jnp.int32([0, 0]), KEY)
    assert (step.truncated.tolist(), step.terminated.tolist(), step.reward.tolist()) == (
        [True] * 2,
        [False] * 2,
        [0, 0],
    )
    assert (step.steps.tolist(), envs.steps.tolist()) == ([3, 3], [0, 0])
    assert np.asarray(step.next_observation["picture"]).max() == 0
    envs, step = advance(envs, jnp.int32([1, 2]), KEY)
    assert step.reward.tolist() == [6, 7]
    assert envs.observation["place"].tolist() == [1, 1]
    raise_if_broken(env)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("raise", "Odd-v0 could not take a step: ZeroDivisionError: no way on .line .* of .*test_rl_external.py"),
        ("reset", "Odd-v0 could not begin an episode: ValueError: the door is locked"),
        ("nan", "the reward of a step is nan"),
    ],
)
def test_an_error_on_the_host_is_one_clear_error(fault: str, message: str) -> None:
    env = external("danlu/Odd-v0", end=99, fault=fault)
    steps = play(env, np.zeros((4, 1), np.int32), 1)[2]
    assert steps.reward[-1].tolist() == [0]
    with pytest.raises(TrainingError, match=message):
        raise_if_broken(FrameStack(external("CartPole-v1"), 2)) or raise_if_broken(ScaleReward(env))


def test_one_that_cannot_draw_itself_says_so_once() -> None:
    env = external("danlu/Odd-v0", fault="render")
    state = jax.tree.map(lambda array: array[0], env.begin(KEY, 1).state)
    with pytest.warns(UserWarning, match="Odd-v0 cannot draw itself: DependencyNotInstalled: pygame"):
        assert env.frame(state) is None
    assert env.frame(state) is None


@pytest.mark.slow
def test_an_error_or_a_death_in_a_worker_is_one_clear_error() -> None:
    env = external("danlu/Odd-v0", end=99, fault="raise", workers=1)
    play(env, np.zeros((4, 1), np.int32), 1)
    with pytest.raises(TrainingError, match="ZeroDivisionError: no way on"):
        raise_if_broken()
    env = external("danlu/Odd-v0", end=99, workers=1)
    envs = play(env, np.zeros((1, 1), np.int32), 1)[1]
    from danlu.rl.external import _CREWS

    _CREWS[env].children[0].kill()
    _CREWS[env].children[0].join()
    env.advance(envs, jnp.int32([0]), KEY)
    with pytest.raises(TrainingError, match="worker process ended"):
        raise_if_broken(env)


def test_names() -> None:
    assert registered() == tuple(sorted(registered()))
    assert make("CartPole-v1", gravity=1.0) == worlds.CartPole(gravity=1.0)
    assert {type(make(name)).__name__ for name in registered()} >= {
        "Acrobot",
        "Bandit",
        "Breakout",
        "Catch",
        "GridWorld",
    }
    assert make("gymnasium:CartPole-v1").name == "gymnasium:CartPole-v1"
    assert make("FrozenLake-v1", is_slippery=False).parameters == (("is_slippery", False),)
    assert make("Blackjack-v1").max_steps == 27_000
    for name, answer in {
        "CartPole-v1": True,
        "FrozenLake-v1": True,
        "MinAtar/Breakout-v1": True,
        "CartPole-v9": True,
        "data.csv": False,
        "CartPole": False,
        "data/run-v2": False,
        "": False,
    }.items():
        assert is_environment(name) is answer
    assert not is_environment(None)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("CartPole-v9", {}, "unknown environment 'CartPole-v9'.*\n.*did you mean 'CartPole-v"),
        ("cartpole", {}, "did you mean 'CartPole-v1'"),
        ("FrozenLake-v7", {}, "did you mean 'FrozenLake"),
        ("CartPole-v1", {"gravty": 1}, "unknown parameter of CartPole-v1 'gravty'.*\n.*did you mean 'gravity'"),
        ("FrozenLake-v1", {"colour": 1}, "cannot make 'FrozenLake-v1'.*colour"),
        ("FrozenLake-v1", {"desc": object()}, "the parameter desc of FrozenLake-v1"),
        (3, {}, "got a int"),
    ],
)
def test_wrong_names_are_refused(name: Any, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(name, **parameters)


def test_what_an_environment_needs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(**_: Any) -> None:
        raise gymnasium.error.DependencyNotInstalled("Box2D is not installed")

    gymnasium.register("danlu/Lacking-v0", entry_point=lacking)
    with pytest.raises(MissingExtraError, match=r"Box2D(.|\n)*danlu\[rl\]"):
        make("danlu/Lacking-v0")
    gymnasium.registry.pop("danlu/Lacking-v0")


@pytest.mark.parametrize("env", [worlds.CartPole(), worlds.Pendulum(), worlds.Catch()], ids=lambda env: str(env.id))
def test_gymnasiums_checker_passes(env: Any) -> None:
    from gymnasium.utils.env_checker import check_env as theirs

    other = to_gymnasium(env)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such as that actions are not in ±1
        theirs(other, skip_render_check=False)
    assert faults(other, steps=20) == []
    first = other.reset(seed=3)[0]
    np.testing.assert_array_equal(first, other.reset(seed=3)[0])
    picture = other.render()
    assert picture is not None
    assert picture.ndim == 3


def test_a_danlu_environment_as_gymnasiums_is_cut_in_time() -> None:
    other = to_gymnasium(worlds.Pendulum(max_steps=3))
    other.reset(seed=0)
    assert [other.step(np.float32([0.0]))[2:4] for _ in range(3)] == [(False, False), (False, False), (False, True)]
    with pytest.raises(ConfigError, match="lives on the host"):
        to_gymnasium(external("CartPole-v1"))


class Wrong(gymnasium.Env):
    """An environment with one fault at a time."""

    def __init__(self, **changes: Any) -> None:
        self.changes = changes
        self.observation_space = changes.get("space", spaces.Box(-1.0, 1.0, (2,)))
        self.action_space = changes.get("actions", spaces.Discrete(2))

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return self.changes.get("reset", (np.zeros(2, np.float32), {}))

    def step(self, action: Any) -> Any:
        if "raises" in self.changes:
            raise self.changes["raises"]
        usual = {
            "observation": np.zeros(2, np.float32),
            "reward": 1.0,
            "terminated": False,
            "truncated": False,
            "info": {},
        }
        return self.changes.get("step", tuple({**usual, **self.changes}[name] for name in usual))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, None),
        ({"observation": np.float32([0.0, 3.0])}, "is 3.0 at place 1, out of its space's bounds -1.0 to 1.0"),
        ({"observation": np.zeros(2)}, "from step has the type float64; its space says float32"),
        ({"observation": np.zeros((2, 1), np.float32)}, r"has the shape (2, 1); its space says (2,)"),
        ({"observation": np.float32([0, np.nan])}, "has NaN in it"),
        ({"observation": [0.0, 0.0]}, "is a list; expected a NumPy array"),
        ({"reset": (np.float32([9, 9]), {})}, "the observation from reset is 9.0 at place 0"),
        ({"reset": np.zeros(2, np.float32)}, "reset returned a ndarray; expected (observation, info)"),
        ({"reward": float("nan")}, "the reward is nan; expected a finite number"),
        ({"reward": "much"}, "the reward is 'much', a str; expected a number"),
        ({"terminated": 0.0}, "terminated is 0.0, a float; expected True or False"),
        ({"truncated": None}, "truncated is None, a NoneType; expected True or False"),
        ({"info": 1}, "the info from step is a int; expected a dict"),
        (
            {"step": (np.zeros(2, np.float32), 1.0, False, {})},
            "step returned 4 values; that is the interface of the old gym",
        ),
        (
            {"raises": gymnasium.error.ResetNeeded("reset me")},
            "the first step after reset raised ResetNeeded: reset me",
        ),
        ({"space": None}, "its observation_space is missing"),
        ({"space": (2,)}, "its observation_space is a tuple; expected one of gymnasium.spaces"),
        ({"space": spaces.Text(3)}, "its observation is in a Text space; expected Box"),
        ({"actions": spaces.Tuple((spaces.Discrete(2),))}, "the action space of Wrong is Tuple"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], message: str | None) -> None:
    found = faults(Wrong(**changes), steps=5)
    assert len(found) == (message is not None)
    if message is not None:
        assert message in found[0]
        with pytest.raises(ConfigError, match="Wrong does not follow Gymnasium's interface:\n  - "):
            check_env(Wrong(**changes), steps=5)


def test_check_env_takes_names() -> None:
    check_env("danlu/Odd-v0", steps=12)
    check_env(external("danlu/Odd-v0", end=2), steps=5)
    assert "unknown environment 'CartPole-v99'" in faults("CartPole-v99")[0]
    assert faults(external("danlu/Odd-v0", fault="reset")) != []
    assert "no reset and step" in faults(object())[0]


def test_actions_of_all_kinds_arrive() -> None:
    from danlu.rl.gym_spaces import action_space, action_writer

    box = spaces.Box(np.float32([-1, 0]), np.float32([1, 5]))
    assert action_space(box, "it") == Box((-1.0, 0.0), (1.0, 5.0), (2,))
    np.testing.assert_array_equal(action_writer(box)(np.float32([[-3, 9]]))[0], [-1, 5])
    several = spaces.MultiDiscrete([3, 4], start=[10, 20])
    assert action_space(several, "it") == MultiDiscrete((3, 4))
    assert action_writer(several)(np.int32([[2, 7]]))[0].tolist() == [12, 23]
    bits = spaces.MultiBinary(3)
    assert action_space(bits, "it") == MultiDiscrete((2, 2, 2))
    assert action_writer(bits)(np.int32([[1, 0, 1]]))[0].tolist() == [1, 0, 1]


def test_frames_are_stacked_over_compiled_and_hosted_alike() -> None:
    """The newest is last, and an episode's first observation stands for what was before it."""
    for inner in (worlds.CartPole(max_steps=4), external("CartPole-v1", max_steps=4)):
        env = FrameStack(inner, 3)
        assert (env.id, env.solved, env.max_steps, env.pure) == ("CartPole-v1", 475.0, 4, inner.pure)
        assert env.replace(max_steps=9).max_steps == 9
        assert from_json(to_json(env)) == env
        assert env.observation_space.shape == (12,)
        start, last, steps = play(env, np.zeros((6, 2), np.int32), 2)
        np.testing.assert_array_equal(start.observation[:, :4], start.observation[:, 8:])
        seen, after = np.asarray(steps.observation), np.asarray(steps.next_observation)
        np.testing.assert_array_equal(after[1:4, :, :8], after[:3, :, 4:])
        np.testing.assert_array_equal(seen[1:4], after[:3])
        assert steps.truncated[3].all()
        assert not np.allclose(seen[4], after[3])
        np.testing.assert_array_equal(seen[4, :, :4], seen[4, :, 8:])
        np.testing.assert_array_equal(after[4, :, :8], np.concatenate([seen[4, :, 8:]] * 2, axis=-1))
        assert last.steps.tolist() == [2, 2]
    state, observation = jax.jit(FrameStack(worlds.Breakout(), 2).reset)(KEY)
    assert observation.shape == (10, 10, 8)
    assert FrameStack(worlds.Breakout(), 2).frame(state) is not None
    with pytest.raises(ConfigError, match="expected a Box"):
        FrameStack(external("FrozenLake-v1"), 2)


def test_rewards_are_scaled_and_scores_are_not() -> None:
    env = ScaleReward(worlds.CartPole(), scale=5.0, clip=2.0)
    steps = play(env, np.zeros((3, 2), np.int32), 2)[2]
    assert steps.reward.tolist() == [[2, 2]] * 3
    assert steps.score[-1].tolist() == [3, 3]
