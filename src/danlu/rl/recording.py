"""One episode in detail: its pictures, and the agent's observations, actions and estimates at each step."""

from __future__ import annotations

import dataclasses
import functools
import io
from pathlib import Path
from typing import Any

import jax
import numpy as np

from danlu.errors import ConfigError
from danlu.files import write_atomic
from danlu.rl.agent import Agent
from danlu.rl.environment import Environment, Envs

__all__ = ["RecordedEpisode", "decide", "record_episode"]

_COLOURS = 64  # of a GIF


@dataclasses.dataclass(frozen=True)
class RecordedEpisode:
    """One episode.

    Attributes:
        frames: pictures ``(height, width, 3)`` uint8: of the state before each step, and of the last one; none of an environment without
            pictures.
        observations: what was seen before each step, a tree of arrays ``(steps, …)``.
        actions: what was done, as the environment took it.
        rewards: what each step brought, ``(steps,)``.
        outputs: what the agent said before each step, by name, ``(steps, …)``; see :meth:`~danlu.rl.Agent.describe`.
        terminated: whether the world ended it, and not the limit of time.
    """

    frames: list[np.ndarray]
    observations: Any
    actions: np.ndarray
    rewards: np.ndarray
    outputs: dict[str, np.ndarray]
    terminated: bool

    @property
    def score(self) -> float:
        """The sum of the rewards."""
        return float(self.rewards.sum(dtype=np.float64))

    def gif(self, *, every: int = 1, milliseconds: int = 40) -> bytes:
        """The episode as an animated GIF that plays again and again.

        Args:
            every: shows each ``every``-th picture, and the last.
            milliseconds: how long each is shown.

        Raises:
            ConfigError: there are no pictures.
        """
        from PIL import Image

        if not self.frames:
            raise ConfigError("this environment cannot draw itself, so there is no film of the episode")
        shown = [*self.frames[:-1][::every], self.frames[-1]]
        first, *rest = [Image.fromarray(each).quantize(_COLOURS) for each in shown]
        file = io.BytesIO()
        durations = [milliseconds] * (len(shown) - 1) + [1000]
        first.save(file, "GIF", save_all=True, append_images=rest, duration=durations, loop=0, optimize=False)
        return file.getvalue()

    def write_gif(self, path: str | Path, **how: Any) -> None:
        """Write :meth:`gif` to a file.

        Raises:
            ConfigError: there are no pictures, or the file cannot be written.
        """
        write_atomic(path, self.gif(**how), error=ConfigError)


@functools.partial(jax.jit, static_argnums=(0, 1), static_argnames=("greedy",))
def decide(agent: Agent, env: Environment, params: Any, state: Any, envs: Envs, key: Any, *, greedy: bool) -> Any:
    """An action in each of some environments, and what the agent says of what is seen there: ``(action, outputs by name)``."""
    action = agent.choose(env, params, state, envs, None if greedy else key)
    return action, agent.describe(env, params, state, envs.observation)


@functools.partial(jax.jit, static_argnums=0)
def _advance(env: Environment, envs: Any, action: Any, key: Any) -> Any:
    return env.advance(envs, action, key)


@functools.partial(jax.jit, static_argnums=0)
def _last_state(env: Environment, state: Any, action: Any, key: Any) -> Any:
    """The state that an episode ended in, which ``advance`` has left for a new beginning; of a batch of one."""
    step_key, _ = jax.random.split(key)
    return jax.vmap(env.step)(state, action, jax.random.split(step_key, 1))[0]


def record_episode(
    agent: Agent, env: Environment, params: Any, state: Any, *, seed: int = 0, greedy: bool = True, pictures: int = 400
) -> RecordedEpisode:
    """Let an agent play one episode, and record all of it.

    Args:
        params, state: the variables of its network.
        seed: decides the beginning and all chance.
        greedy: whether it takes its likeliest action.
        pictures: the most that are drawn; of a longer episode each second, third, … step is.
    """
    key = jax.random.key(seed)
    envs = env.begin(jax.random.fold_in(key, 0), 1)
    every = 1 if pictures else 0
    frames: list[np.ndarray] = []

    def draw(state: Any) -> None:
        picture = env.frame(jax.tree.map(lambda leaf: np.asarray(leaf)[0], state)) if pictures else None
        if picture is not None:
            frames.append(picture)

    seen, actions, rewards, outputs = [], [], [], []
    transition: Any = None
    for number in range(env.max_steps):
        if every and number % every == 0:
            if len(frames) == pictures:  # a long episode: every second picture is enough so far
                frames, every = frames[::2], 2 * every
            if number % every == 0:
                draw(envs.state)
        act_key, env_key = jax.random.split(jax.random.fold_in(key, number + 1))
        action, told = decide(agent, env, params, state, envs, act_key, greedy=greedy)
        before = envs.state
        envs, transition = _advance(env, envs, action, env_key)
        seen.append(jax.tree.map(lambda leaf: np.asarray(leaf)[0], transition.observation))
        actions.append(np.asarray(action["action"] if isinstance(action, dict) and "action" in action else action)[0])
        rewards.append(float(transition.reward[0]))
        outputs.append({name: np.asarray(value)[0] for name, value in told.items()})
        if bool(transition.ended[0]):
            if every and env.pure:
                draw(_last_state(env, before, action, env_key))
            break
    return RecordedEpisode(
        frames=frames,
        observations=jax.tree.map(lambda *leaves: np.stack(leaves), *seen),
        actions=np.stack(actions),
        rewards=np.array(rewards, np.float32),
        outputs={name: np.stack([each[name] for each in outputs]) for name in outputs[0]},
        terminated=bool(transition.terminated[0]),
    )
