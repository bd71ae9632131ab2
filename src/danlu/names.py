"""Registries: things by name, also by the names that other libraries give them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

from danlu.errors import ConfigError, unknown_name

__all__ = ["Names"]

V = TypeVar("V")


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


class Names(Mapping[str, V], Generic[V]):
    """Things by name. Case, spaces, ``_`` and ``-`` are ignored in look-ups.

    Args:
        kind: what they are, for messages.
        known: by their own names.
        same: names that mean exactly the same elsewhere, ``{"mean_squared_error": "mse"}``.
        answers: what to say to names that mean something near it, ``{"auc": "…"}``.
        hint: what to say to any other name that is not like a known one.

    Example:
        >>> losses = Names("loss", {"mse": 1}, same={"mean_squared_error": "mse"}, answers={"nll": "take mse"})
        >>> losses.own("MeanSquaredError"), losses.find("MSE")
        ('mse', 1)
        >>> losses.own("nll")
        Traceback (most recent call last):
        danlu.errors.ConfigError: unknown loss 'nll'; expected one of: mse
        Hint: take mse
    """

    def __init__(
        self,
        kind: str,
        known: Mapping[str, V],
        *,
        same: Mapping[str, str] | None = None,
        answers: Mapping[str, str] | None = None,
        hint: str | None = None,
    ) -> None:
        self.kind, self.hint, self._known = kind, hint, dict(known)
        self._answers = {_plain(name): answer for name, answer in (answers or {}).items()}
        self._own = {_plain(name): name for name in self._known}
        self._own |= {_plain(name): own for name, own in (same or {}).items()}

    def own(self, name: Any, kind: str | None = None) -> str:
        """danlu's name for the thing that any library calls ``name``.

        Raises:
            ConfigError: there is nothing of that name; what was probably meant is offered.
        """
        if isinstance(name, str):
            if name in self._known:
                return name
            if _plain(name) in self._own:
                return self._own[_plain(name)]
        error = unknown_name(kind or self.kind, name, self._known)
        answer = self._answers.get(_plain(str(name)), error.hint or self.hint)
        raise ConfigError(error.message, hint=answer)

    def find(self, name: Any) -> V:
        """The thing called ``name``; errors as of :meth:`own`."""
        return self._known[self.own(name)]

    def __getitem__(self, name: str) -> V:
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def __repr__(self) -> str:
        return f"Names({self.kind!r}, {sorted(self._known)})"
