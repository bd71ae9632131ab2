"""Makes Gymnasium's environments, and reads their properties."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from danlu.errors import ConfigError, MissingExtraError
from danlu.rl.allow import check_allowed
from danlu.rl.gym_spaces import action_space, observation_space
from danlu.rl.spaces import Space

__all__ = ["Known", "build", "gymnasium_for", "known_ids", "look_up", "plain"]


def known_ids() -> frozenset[str]:
    """The names that Gymnasium knows.

    Raises:
        MissingExtraError: it is not installed.
    """
    return frozenset(gymnasium_for("another environment than danlu's own").registry)


@dataclasses.dataclass(frozen=True)
class Known:
    """The properties of a Gymnasium environment, found by making it once.

    Attributes:
        observation, action: its spaces, in danlu's terms.
        limit: its time limit in steps, or None.
        solved: its reward threshold, or None.
        draws: whether it can draw itself.
        spec: Gymnasium's own, by which another process can make it too.
    """

    observation: Space
    action: Space
    limit: int | None
    solved: float | None
    draws: bool
    spec: Any


@functools.lru_cache
def look_up(name: str, parameters: tuple[tuple[str, Any], ...]) -> Known:
    """Make an environment once and look at it.

    Raises:
        MissingExtraError: Gymnasium, or what the environment needs beside it, is not installed.
        UntrustedError: it would import what the user has not named.
        ConfigError: Gymnasium cannot make it, or danlu does not know its kinds of observations or actions.
    """
    check_allowed(name, parameters, gymnasium_for(name).registry)
    env = build(name, parameters, None, False)
    try:
        return Known(
            observation_space(env.observation_space, name),
            action_space(env.action_space, name),
            env.spec.max_episode_steps,
            env.spec.reward_threshold,
            "rgb_array" in env.metadata.get("render_modes", ()),
            env.spec,
        )
    finally:
        env.close()


def build(name: Any, parameters: tuple[tuple[str, Any], ...], max_steps: int | None, draws: bool) -> Any:
    """One environment, with its own time limit or ``max_steps``; with rendering if ``draws``.

    Args:
        name: Gymnasium's name, or its spec.
    """
    gymnasium = gymnasium_for(name)
    options: dict[str, Any] = {**dict(parameters), **({"render_mode": "rgb_array"} if draws else {})}
    if max_steps is not None:
        options["max_episode_steps"] = max_steps
    try:
        return gymnasium.make(name, disable_env_checker=True, **options)
    except (gymnasium.error.DependencyNotInstalled, ImportError) as error:
        if (
            "box2d" in str(error).lower()
        ):  # which the extra holds; Gymnasium's own advice is of when it had to be compiled
            raise MissingExtraError(
                f"{name} needs the package Box2D, which is not installed", hint='pip install "danlu[rl]"'
            ) from error
        raise MissingExtraError(f"{name} needs a package that is not installed: {error}") from error
    except Exception as error:
        raise ConfigError(f"Gymnasium cannot make {name!r}: {error}") from error


def gymnasium_for(what: str) -> Any:
    """The module gymnasium, which ``what`` needs.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import gymnasium
    except ImportError as error:
        raise MissingExtraError(
            f"{what} needs the package gymnasium, which is not installed", hint='pip install "danlu[rl]"'
        ) from error
    return gymnasium


def plain(name: str, key: str, value: Any) -> Any:
    """A parameter's value as a blueprint holds it."""
    if isinstance(value, list | tuple):
        return tuple(plain(name, key, item) for item in value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ConfigError(f"the parameter {key} of {name} is {value!r}; expected a number, a text, or a tuple of these")
