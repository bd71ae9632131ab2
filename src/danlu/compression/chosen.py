"""The techniques that the options of ``danlu compress`` stand for, in the order in which they are done."""

from __future__ import annotations

from danlu.compression.technique import Technique
from danlu.compression.techniques import Distil, Magnitude
from danlu.errors import ConfigError

__all__ = ["chosen"]


def chosen(*, distil: str | None = None, prune: float | None = None, epochs: int | None = None) -> list[Technique]:
    """The techniques of the options; see ``danlu compress --help``.

    Raises:
        ConfigError: none, or a value that stands for nothing.
    """
    found: list[Technique] = []
    if distil is not None:
        found.append(Distil(distil, epochs=epochs))
    if prune is not None:
        found.append(Magnitude(prune, epochs=epochs))
    if not found:
        raise ConfigError("danlu compress needs to be told what to do", hint="danlu compress RUN --prune 0.8")
    return found
