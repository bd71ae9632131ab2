"""A mutation: one change of the product that a row of ``danlu verify`` must notice."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Mutation", "of"]


class Mutation(NamedTuple):
    """One change of the product.

    Attributes:
        name: what it is called.
        file: the file, beneath the package.
        old: the text that is replaced; it stands there exactly once, and need not be a whole line.
        new: what takes its place.
        rows: names or wildcards of rows of ``danlu verify``; one of them must fail by comparing, not by raising.
    """

    name: str
    file: str
    old: str
    new: str
    rows: tuple[str, ...]


def of(file: str, *changes: tuple[str, str, str, str]) -> list[Mutation]:
    """Mutations of one file: ``(name, old, new, rows)`` each, the rows with spaces between them."""
    return [Mutation(name, file, old, new, tuple(rows.split())) for name, old, new, rows in changes]
