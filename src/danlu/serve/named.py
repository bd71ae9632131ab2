"""The names of models, as the command line gives them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from danlu.artifact.artifact import is_saved
from danlu.artifact.run import no_run
from danlu.errors import ConfigError, unknown_name

__all__ = ["canaries_of", "models_of"]

_NAME = re.compile(r"[\w-][\w.-]{0,79}")
_NOT_ONE = ("artifact", "model")  # folders whose name says nothing: that of the run does


def models_of(given: Sequence[str]) -> dict[str, Path]:
    """The folders by the names of their models: ``NAME=RUN``, or ``RUN``, which is called as its folder.

    Raises:
        ConfigError: a name twice, or one that cannot stand in an address.
        ArtifactError: a folder that is not there.

    Example:
        >>> import tempfile
        >>> place = tempfile.mkdtemp()
        >>> models_of([f"rooms={place}"]) == {"rooms": Path(place)}
        True
    """
    found: dict[str, Path] = {}
    for each in given:
        name, place = _parted(each)
        if not place.exists() and not is_saved(place):
            raise no_run(place)
        if name is None:
            own = place.resolve()
            name = (
                re.sub(r"[^\w.-]+", "-", own.parent.name if own.name in _NOT_ONE else own.name).strip("-.") or "model"
            )
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"{name!r} cannot be the name of a model; expected letters, digits, - and _, such as rooms=runs/NAME"
            )
        if name in found:
            raise ConfigError(f"two models are called {name!r}", hint=f"name them: first={found[name]} second={place}")
        found[name] = place
    return found


def canaries_of(given: Sequence[str], models: Mapping[str, Path]) -> dict[str, tuple[Path, float]]:
    """The canaries by the names of their models: ``NAME=RUN:SHARE``, or ``RUN:SHARE`` where there is one model.

    Raises:
        ConfigError: no share between 0 and 1, a model that there is not, or two for one.
        ArtifactError: a folder that is not there.
    """
    found: dict[str, tuple[Path, float]] = {}
    for each in given:
        whole, _, text = each.rpartition(":")
        try:
            share = float(text)
        except ValueError:
            share = -1.0
        if not whole or not 0 < share < 1:
            raise ConfigError(
                f"--canary is {each!r}; expected a run and its share between 0 and 1, such as runs/new:0.1"
            )
        name, place = _parted(whole)
        if name is None:
            if len(models) > 1:
                raise ConfigError(
                    f"--canary {each} names no model; expected one of: {', '.join(models)}",
                    hint=f"--canary NAME={each}",
                )
            name = next(iter(models))
        if name not in models:
            raise unknown_name("model of a canary", name, models)
        if name in found:
            raise ConfigError(f"{name!r} has two canaries; expected one")
        if not place.exists():
            raise no_run(place)
        found[name] = (place, share)
    return found


def _parted(text: str) -> tuple[str | None, Path]:
    name, equals, place = text.partition("=")
    return (name, Path(place)) if equals and not Path(text).exists() else (None, Path(text))
