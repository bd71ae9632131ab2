"""Checks an environment before anything is trained in it."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from danlu.errors import ConfigError, DanluError
from danlu.rl.environment import Environment
from danlu.rl.external import External
from danlu.rl.gym_make import gymnasium_for
from danlu.rl.gym_spaces import action_space, observation_space
from danlu.rl.workers import describe

__all__ = ["check_env", "faults"]


def check_env(env: Any, *, steps: int = 200, seed: int = 0) -> None:
    """Refuse an environment that does not follow Gymnasium's interface, and name everything that is wrong.

    Args:
        env: a name, one of Gymnasium's environments, or one of danlu's.
        steps: how many random steps are tried.
        seed: of the episodes and actions.

    Raises:
        ConfigError: what :func:`faults` finds, one line each.

    Example:
        >>> check_env("CartPole-v1")
    """
    found = faults(env, steps=steps, seed=seed)
    if found:
        name = env if isinstance(env, str) else getattr(env, "id", None) or _name(env)
        lines = "".join(f"\n  - {fault}" for fault in found)
        raise ConfigError(
            f"{name} does not follow Gymnasium's interface:{lines}",
            hint="https://gymnasium.farama.org/api/env says what reset and step return",
        )


def faults(env: Any, *, steps: int = 200, seed: int = 0) -> list[str]:
    """What is wrong with an environment, one sentence each; empty if nothing is.

    Args:
        env, steps, seed: as for :func:`check_env`.
    """
    gymnasium_for("check_env")
    mine = not hasattr(env, "step") or isinstance(env, Environment)
    try:
        env = _opened(env)
    except DanluError as error:
        return [error.message]
    try:
        return _spaces(env) or _episodes(env, steps, seed)
    finally:
        if mine:
            env.close()


def _opened(env: Any) -> Any:
    from danlu.rl.registry import make

    if isinstance(env, str):
        env = make(env)
    if isinstance(env, External):
        return env.build()
    if isinstance(env, Environment):
        from danlu.rl.to_gymnasium import to_gymnasium

        return to_gymnasium(env)
    if not (hasattr(env, "reset") and hasattr(env, "step")):
        raise ConfigError(f"it is a {type(env).__name__}, which has no reset and step")
    return env


def _spaces(env: Any) -> list[str]:
    from gymnasium import Space

    found = []
    for kind, translate in (("observation_space", observation_space), ("action_space", action_space)):
        try:
            space = getattr(env, kind, None)
        except Exception as error:
            found.append(f"its {kind} cannot be read: {describe(error)}")
            continue
        if not isinstance(space, Space):
            what = "is missing" if space is None else f"is a {type(space).__name__}"
            found.append(f"its {kind} {what}; expected one of gymnasium.spaces")
            continue
        try:
            translate(space, _name(env))
        except DanluError as error:
            found.append(error.message)
    return found


def _episodes(env: Any, steps: int, seed: int) -> list[str]:
    """Random episodes; goes on after a wrong value, and stops where going on has no sense."""
    found: dict[str, str] = {}
    env.action_space.seed(seed)
    if not _reset(env, seed, found):
        return list(found.values())
    for number in range(steps):
        try:
            brought = env.step(env.action_space.sample())
        except Exception as error:
            when = "the first step after reset" if number == 0 else f"step {number + 1}"
            found["step"] = f"{when} raised {describe(error)}"
            break
        if not isinstance(brought, tuple) or len(brought) != 5:
            got = f"{len(brought)} values" if isinstance(brought, tuple) else f"a {type(brought).__name__}"
            old = "; that is the interface of the old gym" if isinstance(brought, tuple) and len(brought) == 4 else ""
            found["step"] = f"step returned {got}{old}; expected (observation, reward, terminated, truncated, info)"
            break
        observation, reward, terminated, truncated, info = brought
        _observation(env.observation_space, observation, "the observation from step", found)
        fault = _reward(reward)
        if fault:
            found.setdefault("reward", fault)
        for name, flag in (("terminated", terminated), ("truncated", truncated)):
            if not isinstance(flag, bool | np.bool_):
                found.setdefault(name, f"{name} is {flag!r}, a {type(flag).__name__}; expected True or False")
        if not isinstance(info, dict):
            found.setdefault("info", f"the info from step is a {type(info).__name__}; expected a dict")
        if (terminated or truncated) and not _reset(env, None, found):
            break
    return list(found.values())


def _reset(env: Any, seed: int | None, found: dict[str, str]) -> bool:
    try:
        begun = env.reset(seed=seed)
    except TypeError as error:
        if "seed" not in str(error):
            found["reset"] = f"reset raised {describe(error)}"
        else:
            found["reset"] = f"reset does not take a seed ({error}); expected reset(*, seed=None, options=None)"
        return False
    except Exception as error:
        found["reset"] = f"reset raised {describe(error)}"
        return False
    if not isinstance(begun, tuple) or len(begun) != 2 or not isinstance(begun[1], dict):
        got = f"a tuple of {len(begun)}" if isinstance(begun, tuple) else f"a {type(begun).__name__}"
        found["reset"] = f"reset returned {got}; expected (observation, info) with a dict as info"
        return False
    _observation(env.observation_space, begun[0], "the observation from reset", found)
    return True


def _reward(reward: Any) -> str | None:
    number = isinstance(reward, numbers.Real | np.number | np.bool_) or (
        isinstance(reward, np.ndarray) and reward.shape == ()
    )
    if not number:
        return f"the reward is {reward!r}, a {type(reward).__name__}; expected a number"
    return None if np.isfinite(float(reward)) else f"the reward is {float(reward)}; expected a finite number"


def _observation(space: Any, value: Any, what: str, found: dict[str, str]) -> None:
    fault = _outside(space, value, what)
    if fault:
        found.setdefault(what, fault)


def _outside(space: Any, value: Any, what: str) -> str | None:
    """What is wrong with a value of a space, or None."""
    from gymnasium import spaces

    if isinstance(space, spaces.Dict):
        if not isinstance(value, dict) or set(value) != set(space.spaces):
            got = f"has the names {sorted(value)}" if isinstance(value, dict) else f"is a {type(value).__name__}"
            return f"{what} {got}; its space says a dict with {sorted(space.spaces)}"
        inner = (_outside(part, value[name], f"{name!r} of {what}") for name, part in space.spaces.items())
        return next((fault for fault in inner if fault), None)
    if isinstance(space, spaces.Tuple):
        if not isinstance(value, tuple) or len(value) != len(space.spaces):
            return f"{what} is {value!r}; its space says a tuple of {len(space.spaces)}"
        inner = (
            _outside(part, item, f"part {i} of {what}") for i, (part, item) in enumerate(zip(space, value, strict=True))
        )
        return next((fault for fault in inner if fault), None)
    if isinstance(space, spaces.Discrete):
        return None if space.contains(value) else f"{what} is {value!r}; its space is {space}"
    if not isinstance(value, np.ndarray):
        return f"{what} is a {type(value).__name__}; expected a NumPy array of the shape {space.shape}"
    if value.shape != space.shape:
        return f"{what} has the shape {value.shape}; its space says {space.shape}"
    if not np.can_cast(value.dtype, space.dtype):
        return f"{what} has the type {value.dtype}; its space says {space.dtype}"
    if value.dtype.kind == "f" and np.isnan(value).any():
        return f"{what} has NaN in it"
    if isinstance(space, spaces.Box) and not space.contains(value):
        wrong = np.argmax((value < space.low) | (value > space.high))
        low, high, got = (np.ravel(array)[wrong] for array in (space.low, space.high, value))
        return f"{what} is {got} at place {wrong}, out of its space's bounds {low} to {high}"
    return None if space.contains(value) else f"{what} is {value!r}, which is not in its space {space}"


def _name(env: Any) -> str:
    spec = getattr(env, "spec", None)
    return getattr(spec, "id", None) or type(getattr(env, "unwrapped", env)).__name__
