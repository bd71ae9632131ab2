"""A danlu environment as one of Gymnasium's, for any library with that interface."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from danlu.errors import ConfigError
from danlu.rl.environment import Environment
from danlu.rl.gym_make import gymnasium_for
from danlu.rl.spaces import Box, DictSpace, Discrete, MultiDiscrete, Slate, Space

__all__ = ["to_gymnasium"]


def to_gymnasium(environment: Environment, *, render_mode: str | None = "rgb_array") -> Any:
    """``environment`` as a ``gymnasium.Env``: it passes Gymnasium's checker, is seeded by ``reset(seed=…)``, and is truncated at
    ``max_steps``.

    Each step is a compiled program of its own, called from Python: right for people and for other libraries' agents, and slow beside
    ``environment.advance``.

    Args:
        environment: one made of pure functions (of a wrapped one of Gymnasium's, take Gymnasium's own).
        render_mode: ``"rgb_array"`` draws by ``environment.frame``; None draws nothing.

    Raises:
        ConfigError: an environment that lives on the host, or another ``render_mode``.
        MissingExtraError: Gymnasium is not installed.

    Example:
        >>> from danlu.rl.environments import Catch
        >>> env = to_gymnasium(Catch())
        >>> observation, _ = env.reset(seed=0)
        >>> observation, reward, terminated, truncated, _ = env.step(1)
        >>> observation.shape, reward, terminated, truncated
        ((10, 5), 0.0, False, False)
    """
    gymnasium = gymnasium_for("to_gymnasium")
    if not environment.pure:
        raise ConfigError(f"{environment.id} lives on the host already; use gymnasium.make")
    if render_mode not in (None, "rgb_array"):
        raise ConfigError(f"render_mode is {render_mode!r}; expected 'rgb_array' or None")
    reset, step, max_steps = jax.jit(environment.reset), jax.jit(environment.step), environment.max_steps

    class Compiled(gymnasium.Env):  # type: ignore[name-defined]
        """Gymnasium's interface around ``environment``."""

        metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012

        def __init__(self) -> None:
            self.environment = environment
            self.observation_space = _theirs(environment.observation_space)
            self.action_space = _theirs(environment.action_space)
            self.render_mode = render_mode
            self.state: Any = None
            self.steps = 0

        def reset(
            self, *, seed: int | None = None, options: dict[str, Any] | None = None
        ) -> tuple[Any, dict[str, Any]]:
            super().reset(seed=seed)
            self.key = jax.random.key(int(self.np_random.integers(2**31)))
            self.steps = 0
            self.state, observation = reset(jax.random.fold_in(self.key, 0))
            return jax.tree.map(_seen, observation), {}

        def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            if self.state is None:
                raise gymnasium.error.ResetNeeded("call reset before step")
            self.steps += 1
            key = jax.random.fold_in(self.key, self.steps)
            self.state, outcome = step(self.state, np.asarray(action), key)
            terminated = bool(outcome.terminated)
            truncated = self.steps >= max_steps and not terminated
            info = {} if outcome.cost is None else _costs(environment, outcome.cost)
            return jax.tree.map(_seen, outcome.observation), float(outcome.reward), terminated, truncated, info

        def render(self) -> np.ndarray | None:
            if self.render_mode is None or self.state is None:
                return None
            return environment.frame(self.state)

    return Compiled()


def _costs(environment: Environment, cost: Any) -> dict[str, float]:
    """``"cost"``, as libraries of constrained learning read it, and each kind's own."""
    each = {f"cost_{kind}": float(value) for kind, value in zip(environment.costs, cost, strict=True)}
    return {"cost": sum(each.values()), **each}


def _seen(value: Any) -> Any:
    array = np.array(value)
    return array if array.shape or array.dtype.kind == "f" else array[()]


def _theirs(space: Space) -> Any:
    """Gymnasium's space of the same values."""
    from gymnasium import spaces

    if isinstance(space, Discrete):
        return spaces.Discrete(space.n, dtype=np.int32)
    if isinstance(space, MultiDiscrete):
        return spaces.MultiDiscrete(np.array(space.sizes), dtype=np.int32)
    if isinstance(space, Slate):  # Gymnasium has none of different ones
        return spaces.MultiDiscrete(np.full(space.k, space.n), dtype=np.int32)
    if isinstance(space, DictSpace):
        return spaces.Dict({name: _theirs(inner) for name, inner in space.entries})
    if isinstance(space, Box):
        low, high = space.low_array.astype(space.dtype), space.high_array.astype(space.dtype)
        return spaces.Box(low, high, dtype=space.dtype)
    raise ConfigError(f"Gymnasium has no counterpart of {type(space).__name__}")
