"""Why one answer: what each part of a row added to it, and what stands beside that."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

from danlu.errors import unknown_name
from danlu.explained.drawn import beeswarm, columns_of, dependence, force, waterfall
from danlu.explained.page import page, section
from danlu.explained.view import told
from danlu.explained.written import written
from danlu.report.svg import Panel

__all__ = ["Explained", "Explanations", "Part", "together"]


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of a row, such as a column or a word.

    Attributes:
        name: the column's name, the word, the step.
        value: what the row has there, in words; empty where the name says it.
        added: what it added to the score.
        error: the standard error of that; 0 where it is exact.
        number: the value as a number, of a date its days since 1970; NaN where it has no order, or is missing.
    """

    name: str
    value: str
    added: float
    error: float = 0.0
    number: float = dataclasses.field(default=math.nan, compare=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Explained:
    """Why one row was answered as it was.

    Attributes:
        row: what the row is called, such as ``"row 3"``.
        answer: what the model answers, in words.
        scored: what the parts add up to, such as ``"probability of 'yes'"``.
        value, base: the score of the row, and what it is compared with.
        against: what the base is, in words.
        parts: of the row, in its own order.
        ordered: whether that order says something (words, steps): the page then shows the drawing instead of a waterfall.
        noun: what a part is called.
        method: how it was found, in a sentence.
        gap: by how much the parts miss ``value − base``.
        doubts: why the answer is not to be trusted, such as a value far outside the training range.
        notes: what else the reader must know.
        drawing: HTML beside the parts, such as a picture; it is taken as it is.
        lines: the same for a terminal.
        blocks: further titled parts of it, each with lines of plain text and the same as HTML.
        data: further plain data for :meth:`as_dict`, by name.
    """

    row: str
    answer: str
    scored: str
    value: float
    base: float
    against: str
    parts: tuple[Part, ...]
    method: str
    gap: float
    ordered: bool = False
    noun: str = "column"
    doubts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    drawing: str = ""
    lines: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = ()
    data: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        return told(self)

    def _repr_html_(self) -> str:
        return section(self)

    def figure(self, kind: str = "waterfall") -> Panel:
        """A picture of it, which a notebook shows, and which is written by ``.write("why.png")``; its ``.figure`` is Matplotlib's.

        Args:
            kind: ``"waterfall"``, or ``"force"``, one bar.

        Raises:
            ConfigError: another kind.
        """
        if kind not in ("waterfall", "force"):
            raise unknown_name("picture of one row", kind, ("waterfall", "force"))
        return (waterfall if kind == "waterfall" else force)(self)

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        return {
            "row": self.row,
            "answer": self.answer,
            "score": self.scored,
            "value": self.value,
            "base": self.base,
            "against": self.against,
            "parts": [
                {"name": each.name, "value": each.value, "added": each.added}
                | ({"standard_error": each.error} if each.error else {})
                for each in self.parts
            ],
            "gap": self.gap,
            "method": self.method,
            **self.data,
            "doubts": list(self.doubts),
            "notes": list(self.notes),
        }


@dataclasses.dataclass(frozen=True)
class Block:
    """A titled part of an explanation, as lines for a terminal and as HTML."""

    title: str
    lines: tuple[str, ...]
    html: str


class Explanations(Sequence[Explained]):
    """Explanations of several rows: a sequence of :class:`Explained`, and a page.

    Args:
        each: the explanations.
        title: of the page, such as the run and the file.
    """

    def __init__(self, each: Sequence[Explained], title: str = "") -> None:
        self._each, self.title = tuple(each), title

    def __len__(self) -> int:
        return len(self._each)

    @overload
    def __getitem__(self, place: int) -> Explained: ...
    @overload
    def __getitem__(self, place: slice) -> Explanations: ...
    def __getitem__(self, place: int | slice) -> Explained | Explanations:
        return Explanations(self._each[place], self.title) if isinstance(place, slice) else self._each[place]

    def __iter__(self) -> Iterator[Explained]:
        return iter(self._each)

    def __str__(self) -> str:
        return "\n\n".join(map(str, self._each))

    def __repr__(self) -> str:
        return f"Explanations({len(self)} of {self.title})"

    def _repr_html_(self) -> str:
        return "".join(map(section, self._each))

    def figure(self, kind: str = "beeswarm", *, column: str = "", by: str | None = None) -> Panel:
        """A picture of all rows of a table together; see :meth:`Explained.figure` for what can be done with it.

        Args:
            kind: ``"beeswarm"``, or ``"dependence"`` of one column.
            column: of a dependence; empty is the one that adds most.
            by: of a dependence, the column that colours the dots.

        Raises:
            ConfigError: another kind, a column that there is not, or rows that are not of one table.
        """
        return together(self._each, kind, column=column, by=by)

    def as_dict(self) -> list[dict[str, Any]]:
        """The explanations as plain data."""
        return [each.as_dict() for each in self._each]

    def write(self, path: str | Path) -> Path:
        """Write a page (``.html``), plain data (``.json``) or text (``.txt``), by the ending.

        Raises:
            ConfigError: another ending, or a file that cannot be written.
        """
        return written(path, html=lambda: page(self.title, self._each), data=self.as_dict, text=self.__str__)


def together(each: Sequence[Explained], kind: str, *, column: str = "", by: str | None = None) -> Panel:
    """A picture of several rows; see :meth:`Explanations.figure`."""
    if kind not in ("beeswarm", "dependence"):
        raise unknown_name("picture of several rows", kind, ("beeswarm", "dependence"))
    return beeswarm(each) if kind == "beeswarm" else dependence(each, column or columns_of(each)[0], by=by)
