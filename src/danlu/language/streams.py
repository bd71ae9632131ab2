"""Streams that speak the reader's language."""

from __future__ import annotations

from typing import Any

from danlu.language.catalogue import said

__all__ = ["Translated"]


class Translated:
    """A text stream that translates what is written to it, a message a call.

    What is data, not a message, is written to ``plain``.

    Args:
        plain: the stream.
    """

    def __init__(self, plain: Any) -> None:
        self.plain = plain

    def write(self, text: str) -> int:
        """Write a message."""
        return int(self.plain.write(said(text) if text.strip() else text))

    def writelines(self, lines: Any) -> None:
        """Write several messages."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plain, name)

    def __iter__(self) -> Any:
        return iter(self.plain)
