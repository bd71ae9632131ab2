"""The user's own names, which are never translated."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["keep", "kept"]

_KEPT: set[str] = set()
_LONGEST, _MOST = 60, 50_000


def keep(names: Iterable[str]) -> None:
    """Names of columns, categories, classes and runs: a message or a cell that is one of them is the user's, not a word of danlu's.

    Example:
        >>> keep(["value"])
        >>> "value" in kept()
        True
    """
    if len(_KEPT) < _MOST:
        _KEPT.update(name.casefold() for name in names if isinstance(name, str) and len(name) <= _LONGEST)


def kept() -> set[str]:
    """The names that were said to :func:`keep`, in lower-case letters."""
    return _KEPT
