"""Every error that danlu raises on purpose.

The tree::

    DanluError
    ├── ConfigError        a value, name or option that danlu does not accept   (also a ValueError)
    ├── DataError          a file, frame or array that cannot be used           (also a ValueError)
    │   └── SchemaError    new data that does not fit the data trained on
    ├── TrainingError      training cannot go on (diverged, nothing to train on)
    │   └── LostError      another process of the same training has gone
    ├── CheckpointError    a checkpoint that cannot be written or read
    ├── ArtifactError      a saved model that cannot be written or read
    ├── UntrustedError     a saved model or run that would import code which the user has not named, or that no trusted key has signed
    └── MissingExtraError  an optional dependency is not installed              (also an ImportError)

A message answers three questions: what was received, what was expected, what to do. The last goes into
``hint`` and is printed on a line of its own.
"""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Callable, Iterable

__all__ = [
    "ArtifactError",
    "CheckpointError",
    "ConfigError",
    "DanluError",
    "DataError",
    "LostError",
    "MissingExtraError",
    "SchemaError",
    "TrainingError",
    "UntrustedError",
    "first_line",
    "nearest",
    "shorten",
    "unknown_name",
]


translate: Callable[[str], str] = str
"""Puts a message into the reader's language; :mod:`danlu.language` sets it."""

_shown = reprlib.Repr()
_shown.maxlevel, _shown.maxlong, _shown.maxstring, _shown.maxother = 8, 60, 200, 200
_shown.maxlist = _shown.maxtuple = _shown.maxdict = 20


class DanluError(Exception):
    """Base of every error that danlu raises on purpose.

    Args:
        message: what was received and what was expected.
        hint: what to do about it; shown on its own line.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = message
        self.hint = hint
        super().__init__(message if hint is None else f"{message}\nHint: {hint}")

    def __str__(self) -> str:
        """The message in the reader's language, and the hint below it."""
        return "\n".join(map(translate, [self.message, *([] if self.hint is None else [f"Hint: {self.hint}"])]))

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.hint))


def _rebuild(cls: type[DanluError], message: str, hint: str | None) -> DanluError:
    return cls(message, hint=hint)


class ConfigError(DanluError, ValueError):
    """A value, name or option that danlu does not accept."""


class DataError(DanluError, ValueError):
    """A file, frame or array that cannot be used."""


class SchemaError(DataError):
    """New data that does not fit the schema of the data the model was trained on."""


class TrainingError(DanluError):
    """Training cannot start or cannot go on.

    Attributes:
        stopped_by: the number of the signal that stopped it, or None.
    """

    stopped_by: int | None = None


class LostError(TrainingError):
    """Another process of the same training has gone, and this one cannot go on without it."""


class CheckpointError(DanluError):
    """A checkpoint that cannot be written or read."""


class ArtifactError(DanluError):
    """A saved model that cannot be written or read."""


class UntrustedError(DanluError):
    """A saved model or run that would import code which the user has not named, or that no trusted key has signed."""


class MissingExtraError(DanluError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        DanluError.__init__(self, message, hint=hint)


def nearest(name: str, options: Iterable[str], *, cutoff: float = 0.5) -> str | None:
    """The option most like ``name``, or None when nothing is close.

    >>> nearest("relo", ["relu", "tanh"])
    'relu'
    """
    by_lower = {option.lower(): option for option in options}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[close[0]] if close else None


def shorten(value: object, longest: int = 80) -> str:
    """How a message shows a value: as Python writes it, its end left out where that is long.

    >>> shorten("a" * 200, 10)
    "'aaaaaaaa…"
    """
    text = _shown.repr(value)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def first_line(error: BaseException, longest: int = 200) -> str:
    """The first line of what another library's error says, or the error's kind where it says nothing.

    >>> first_line(ValueError("no file\\n  at line 3")), first_line(NotImplementedError())
    ('no file', 'NotImplementedError')
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:longest]


def unknown_name(
    kind: str, name: object, options: Iterable[str], *, error: type[DanluError] = ConfigError
) -> DanluError:
    """An error for a name that is not among ``options``, offering the nearest one.

    >>> print(unknown_name("activation", "relo", ["relu", "tanh"]))
    unknown activation 'relo'; expected one of: relu, tanh
    Hint: did you mean 'relu'?
    """
    options = sorted(options)
    shown = ", ".join(options[:40]) + (", …" if len(options) > 40 else "")
    close = nearest(str(name), options)
    hint = f"did you mean {close!r}?" if close else None
    return error(f"unknown {kind} {shorten(name)}; expected one of: {shown or '(none)'}", hint=hint)
