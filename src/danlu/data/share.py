"""A chunk read by several processes: each reads its neighbours of the chunk's rows, and together they have every row once."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["Chunked", "Portion", "whole"]

Portion = Callable[[int], slice]
"""``portion(rows) -> slice``: which of a chunk's ``rows`` rows are wanted; ``slice(start, stop)`` without a step."""


def whole(rows: int) -> slice:
    """All rows of a chunk.

    >>> whole(7)
    slice(0, 7, None)
    """
    return slice(0, rows)


class Chunked(abc.ABC):
    """A stream of chunks whose rows are read only where they are wanted.

    A subclass says how the portion of a chunk is read; to read a chunk whole is the same with :func:`whole`. So a process that is to learn
    from a part of each batch opens, decodes and keeps only that part, and what it has does not depend on how many others there are.
    """

    @abc.abstractmethod
    def portions(self, epoch: int, start: int, portion: Portion) -> Iterator[tuple[int, dict[str, Any]]]:
        """Of each chunk of ``epoch`` from number ``start`` on: how many rows it has, and those of them that ``portion`` names.

        The rows are dicts ``{"x", "y", "weight"}`` of NumPy arrays; the same arguments give the same rows.
        """

    def chunks(self, epoch: int, start: int) -> Iterator[dict[str, Any]]:
        """The chunks of ``epoch`` from number ``start`` on; the same arguments give the same chunks."""
        return (chunk for _, chunk in self.portions(epoch, start, whole))
