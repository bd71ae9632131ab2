"""Environments by their names: danlu's own compiled ones, and all that Gymnasium knows."""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import os
import re
from collections.abc import Callable
from typing import Any

from danlu.errors import ConfigError, MissingExtraError, nearest, unknown_name
from danlu.rl import environments
from danlu.rl.allow import module_of
from danlu.rl.environment import Environment
from danlu.rl.games.board import GAMES, is_game
from danlu.rl.gym_make import known_ids

__all__ = ["is_environment", "make", "meant_by", "registered"]

_COMPILED: dict[str, type[Environment]] = {
    cls.id: cls
    for cls in vars(environments).values()
    if isinstance(cls, type) and issubclass(cls, Environment) and cls.id is not None
}
_SHORT = {"driving": "danlu/Driving-v0"}
_NAME = re.compile(r"([A-Za-z_][\w.]*:)?([\w-]+/)?[A-Za-z_][\w.-]*-v\d+")
_CAPITAL = re.compile(r"([\w.]+:)?([\w-]+/)?[A-Z][\w.-]*-v\d+")


def registered() -> tuple[str, ...]:
    """The names of the environments that danlu has compiled, sorted.

    Example:
        >>> "CartPole-v1" in registered()
        True
    """
    return tuple(sorted(_COMPILED))


def make(id: str, **parameters: Any) -> Environment:
    """The environment of a name.

    Args:
        id: one of :func:`registered` (``"driving"`` is short for ``"danlu/Driving-v0"``); a board game (``"connect-four"``), which is
            played against an opponent; or a name that Gymnasium knows (``"LunarLander-v3"``), which then runs on the host as
            :class:`~danlu.rl.external.External`. As in Gymnasium, ``"module:Name-v0"`` imports the module that registers it first, and so
            ``"gymnasium:CartPole-v1"`` is Gymnasium's own CartPole.
        **parameters: of the environment, by name.

    Raises:
        ConfigError: an unknown name, an unknown parameter, or a value out of its range.
        MissingExtraError: the name is none of danlu's, and Gymnasium is not installed.

    Example:
        >>> make("CartPole-v1", gravity=1.6).max_steps
        500
    """
    from danlu.rl.external import external

    return _made(id, external, parameters)


def make_allowed(id: str, **parameters: Any) -> Environment:
    """As :func:`make`, of a name that may come from a file: it imports no module that the user has not named."""
    from danlu.rl.external import external_allowed

    return _made(id, external_allowed, parameters)


def _made(id: str, on_the_host: Callable[..., Environment], parameters: dict[str, Any]) -> Environment:
    if not isinstance(id, str):
        raise ConfigError(f"make got a {type(id).__name__}; expected the name of an environment, such as 'CartPole-v1'")
    if is_game(id):
        from danlu.rl.games.match import make_match

        return make_match(id, **_known_parameters(id, make_match, parameters))
    cls = _COMPILED.get(_SHORT.get(id, id))
    if cls is not None:
        return cls(**_known_parameters(id, cls, parameters))
    if not _NAME.fullmatch(id):
        raise _unknown(id)
    if id not in known_ids() and ":" not in id:
        raise _unknown(id)
    return on_the_host(id, **parameters)


def _known_parameters(id: str, made: Any, parameters: dict[str, Any]) -> dict[str, Any]:
    """``parameters``, unless one is none of what ``made`` takes by name."""
    known = [name for name in inspect.signature(made).parameters if name != "name"]
    for name in parameters:
        if name not in known:
            raise unknown_name(f"parameter of {id}", name, known)
    return parameters


def is_environment(name: Any) -> bool:
    """Whether a name is an environment's rather than a file's. Never raises, and is fast for other names.

    Example:
        >>> is_environment("CartPole-v1"), is_environment("data.csv"), is_environment("runs/model-v2")
        (True, False, False)
    """
    if not isinstance(name, str):
        return False
    if name in _COMPILED:
        return True
    if is_game(name) or name in _SHORT:
        return not os.path.exists(name)
    if not _NAME.fullmatch(name) or os.path.exists(name):
        return False
    if _CAPITAL.fullmatch(name):
        return True  # also a slip of the pen: `make` then offers the nearest name
    if importlib.util.find_spec("gymnasium") is None:
        return False
    return name in known_ids()


def modules_in(name: Any) -> tuple[str, ...]:
    """The module in an environment's name, if there is one.

    >>> modules_in("my_package:Walk-v0"), modules_in("CartPole-v1"), modules_in("C:table.csv")
    (('my_package',), (), ())
    """
    module = module_of(name) if is_environment(name) else None
    return (module,) if module else ()


def meant_by(name: str) -> str | None:
    """The environment or game that a misspelt name means, or None.

    >>> meant_by("conect-four"), meant_by("data.csv")
    ('connect-four', None)
    """
    close = difflib.get_close_matches(name, [*registered(), *_SHORT, *GAMES], n=1, cutoff=0.8)
    return close[0] if close else None


def _unknown(name: str) -> ConfigError:
    try:
        others = known_ids()
    except MissingExtraError:
        others = frozenset()
    close = nearest(name, [*registered(), *others])
    also = f", or one of Gymnasium's {len(others)}" if others else ""
    return ConfigError(
        f"unknown environment {name!r}; expected one of: {', '.join(registered())}{also}",
        hint=f"did you mean {close!r}?" if close else None,
    )
