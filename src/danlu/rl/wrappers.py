"""Environments around environments: the last few observations at once, and rewards of another size."""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import setting
from danlu.errors import ConfigError
from danlu.rl.environment import Environment, Envs, Outcome, Transition
from danlu.rl.spaces import Box, Space

__all__ = ["FrameStack", "FrameStackState", "ScaleReward", "Wrapper"]


class Wrapper(Environment, abc.ABC):
    """An environment around another; name, time limit, spaces and pictures are the inner one's unless overridden.

    Args:
        env: the environment within.
    """

    max_steps: ClassVar[Any]  # type: ignore[misc]  # the one within has it
    env: Environment  # type: ignore[misc]

    @property
    def id(self) -> str | None:  # type: ignore[override]
        """The same as that of the inner environment."""
        return self.env.id

    @property
    def solved(self) -> float | None:  # type: ignore[override]
        """The same as that of the inner environment."""
        return self.env.solved

    @property
    def pure(self) -> bool:  # type: ignore[override]
        """The same as that of the inner environment."""
        return self.env.pure

    @property
    def costs(self) -> tuple[str, ...]:  # type: ignore[override]
        """The same as those of the inner environment."""
        return self.env.costs

    @property  # type: ignore[no-redef]
    def max_steps(self) -> int:
        """The same as that of the inner environment."""
        return self.env.max_steps

    @property
    def observation_space(self) -> Space:
        return self.env.observation_space

    @property
    def action_space(self) -> Space:
        return self.env.action_space

    def reset(self, key: jax.Array) -> tuple[Any, Any]:
        return self.env.reset(key)

    def step(self, state: Any, action: Any, key: jax.Array) -> tuple[Any, Outcome]:
        return self.env.step(state, action, key)

    def begin(self, key: jax.Array, count: int) -> Envs:
        return self.env.begin(key, count)

    def advance(self, envs: Envs, action: Any, key: jax.Array) -> tuple[Envs, Transition]:
        return self.env.advance(envs, action, key)

    def frame(self, state: Any) -> np.ndarray | None:
        return self.env.frame(state)

    def replace(self, **changes: Any) -> Any:
        """A copy with some fields changed; ``max_steps`` is changed in the inner environment."""
        if "max_steps" in changes:
            changes["env"] = changes.get("env", self.env).replace(max_steps=changes.pop("max_steps"))
        return super().replace(**changes)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class FrameStackState:
    """The state of the inner environment, and the last observations, ``(frames, …)``, the newest last."""

    inner: Any
    frames: jax.Array


class FrameStack(Wrapper):  # type: ignore[misc]
    """Shows the last ``frames`` observations, the oldest first; at the start of an episode, its first one repeated.

    They are joined along the last axis: ``(d,)`` becomes ``(frames · d,)``, and pictures ``(h, w, c)`` become ``(h, w, frames · c)``. A
    board ``(h, w)`` becomes ``(h, w, frames)``.

    Args:
        env: an environment whose observations are boxes of one axis or more.
        frames: how many.

    Reference: Mnih et al. (2015), "Human-level control through deep reinforcement learning", methods.

    Example:
        >>> from danlu.rl.environments import Catch
        >>> world = FrameStack(Catch(), 3)
        >>> state, observation = world.reset(jax.random.key(0))
        >>> observation.shape, world.id
        ((10, 5, 3), 'danlu/Catch-v0')
    """

    frames: int = setting(default=4, minimum=1, integer=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        space = self.env.observation_space
        if not isinstance(space, Box) or not space.shape:
            raise ConfigError(f"FrameStack.env shows {space}; expected a Box of one axis or more")

    @property
    def observation_space(self) -> Box:
        inner = self.env.observation_space
        if not isinstance(inner, Box):
            raise ConfigError(f"FrameStack.env shows {inner}; expected a Box")

        def bound(value: float | tuple[float, ...], array: np.ndarray) -> float | tuple[float, ...]:
            if not isinstance(value, tuple):
                return value
            return tuple(np.ravel(self._joined(np.stack([array] * self.frames), np)).tolist())

        low, high = bound(inner.low, inner.low_array), bound(inner.high, inner.high_array)
        shape = self._joined(np.empty((self.frames, *inner.shape)), np).shape
        return Box(low, high, shape, inner.kind)

    def reset(self, key: jax.Array) -> tuple[FrameStackState, jax.Array]:
        inner, observation = self.env.reset(key)
        frames = jnp.stack([observation] * self.frames)
        return FrameStackState(inner, frames), self._joined(frames)

    def step(self, state: FrameStackState, action: Any, key: jax.Array) -> tuple[FrameStackState, Outcome]:
        inner, outcome = self.env.step(state.inner, action, key)
        frames = jnp.concatenate([state.frames[1:], outcome.observation[None]])
        return FrameStackState(inner, frames), dataclasses.replace(outcome, observation=self._joined(frames))

    def begin(self, key: jax.Array, count: int) -> Envs:
        inner = self.env.begin(key, count)
        frames = jnp.stack([inner.observation] * self.frames, axis=1)
        state = FrameStackState(inner.state, frames)
        return dataclasses.replace(inner, state=state, observation=jax.vmap(self._joined)(frames))

    def advance(self, envs: Envs, action: Any, key: jax.Array) -> tuple[Envs, Transition]:
        frames = envs.state.frames
        before = dataclasses.replace(envs, state=envs.state.inner, observation=frames[:, -1])
        inner, transition = self.env.advance(before, action, key)
        after = jnp.concatenate([frames[:, 1:], transition.next_observation[:, None]], axis=1)
        fresh = jnp.stack([inner.observation] * self.frames, axis=1)
        # (environments, 1, …), as many axes as after
        ended = transition.ended.reshape(-1, *(1 for _ in after.shape[1:]))
        now = jnp.where(ended, fresh, after)
        join = jax.vmap(self._joined)
        transition = dataclasses.replace(transition, observation=envs.observation, next_observation=join(after))
        return dataclasses.replace(inner, state=FrameStackState(inner.state, now), observation=join(now)), transition

    def frame(self, state: FrameStackState) -> np.ndarray | None:
        return self.env.frame(state.inner)

    def _joined(self, frames: Any, of: Any = jnp) -> Any:
        """One observation of several, ``(frames, …)``."""
        if frames.ndim == 3:
            return of.moveaxis(frames, 0, -1)
        return of.concatenate(list(frames), axis=-1)


class ScaleReward(Wrapper):  # type: ignore[misc]
    """Rewards times ``scale``, and then no larger than ``clip`` either way. Scores stay those of the inner environment.

    Args:
        env: the environment within.
        scale: the factor.
        clip: the largest size of a scaled reward, or None.

    Example:
        >>> from danlu.rl.environments import CartPole
        >>> world = ScaleReward(CartPole(), scale=0.1)
        >>> envs, transition = world.advance(world.begin(jax.random.key(0), 1), jnp.int32([0]), jax.random.key(1))
        >>> round(float(transition.reward[0]), 3), float(transition.score[0])
        (0.1, 1.0)
    """

    scale: float = setting(default=1.0)
    clip: float | None = setting(default=None, above=0, optional=True)

    def step(self, state: Any, action: Any, key: jax.Array) -> tuple[Any, Outcome]:
        state, outcome = self.env.step(state, action, key)
        return state, dataclasses.replace(outcome, reward=self._changed(outcome.reward))

    def advance(self, envs: Envs, action: Any, key: jax.Array) -> tuple[Envs, Transition]:
        envs, transition = self.env.advance(envs, action, key)
        return envs, dataclasses.replace(transition, reward=self._changed(transition.reward))

    def _changed(self, reward: jax.Array) -> jax.Array:
        scaled = self.scale * reward
        return scaled if self.clip is None else jnp.clip(scaled, -self.clip, self.clip)
