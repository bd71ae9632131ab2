"""The training rows that are most alike to a row, as the network sees them."""

from __future__ import annotations

import html
from typing import Any

import numpy as np
import polars as pl

from danlu.errors import ConfigError
from danlu.explain import nearest_rows, representation
from danlu.explained.answer import Block
from danlu.explained.gradients import Gradients
from danlu.explained.view import cell, plain_value
from danlu.prose import WIDTH, padded, wide
from danlu.report.svg import short

__all__ = ["Alike", "alike_or_none", "in_html", "in_lines"]

_COUNT = 3
_LEAST = 0.01  # of a blend
_COLUMNS = 6


class Alike:
    """Finds the rows that are most alike, in what the network's last layer receives.

    Args:
        source: the network of the model.
        rows: rows that were learnt from, each column in the type of its kind.
        truth: their true answers, as they were read; None where they are not known.
        noun: what the rows are called.
    """

    def __init__(self, source: Gradients, rows: pl.DataFrame, truth: pl.Series | None, noun: str) -> None:
        self.source, self.rows, self.truth, self.noun = source, rows, truth, noun
        self.known = self.seen(rows)

    def seen(self, rows: pl.DataFrame) -> np.ndarray:
        """What the last layer receives of some rows, ``(rows, features)``."""
        model, parts = self.source.model, []
        encoded = model.encoder.transform(rows)
        size = 512
        for low in range(0, rows.height, size):
            places = np.minimum(np.arange(low, low + size), rows.height - 1)
            part = {name: values[places] for name, values in encoded.items()}
            parts.append(representation(model.network, model.params, model.state, part)[: rows.height - low])
        return np.concatenate(parts)

    def of(self, row: pl.DataFrame, order: list[str]) -> tuple[Block, list[dict[str, Any]]]:
        """The rows that are most alike to one row, as a part of its explanation and as plain data.

        Args:
            order: the columns, those that counted most first.
        """
        places, alike = nearest_rows(self.seen(row), self.known, _COUNT)
        head, cells, data = self.listed(places[0], "alike", [f"{close:.2f}" for close in alike[0]], order)
        data = [{"similarity": round(float(close), 6), **each} for close, each in zip(alike[0], data, strict=True)]
        title = (
            f"The {self.noun} most alike, as {self.source.said or 'the network'} sees them, among {self.rows.height:,}"
        )
        return Block(title, in_lines(head, cells), in_html(head, cells)), data

    def listed(
        self, places: np.ndarray, first: str, said: list[str], order: list[str]
    ) -> tuple[list[str], list[list[str]], list[dict[str, Any]]]:
        """Some of the rows as a table, its head and its cells, and as plain data.

        Args:
            places: of the rows.
            first, said: the first column: its name, and what it says of each row.
            order: the columns, those that counted most first.
        """
        shown, target = order[:_COLUMNS], self.source.model.head.name
        head = [first, *([f"true {target}"] if self.truth is not None else []), *shown]
        cells, data = [], []
        for place, words in zip(places.tolist(), said, strict=True):
            true = [] if self.truth is None else [self.truth[place]]
            values = self.rows.row(place, named=True)
            cells.append([words, *map(cell, true), *(short(cell(values[name]), 14) for name in shown)])
            row = {name: plain_value(value) for name, value in values.items()}
            data.append({**({"true": str(true[0])} if true else {}), "row": row})
        return head, cells, data


def alike_or_none(source: Gradients, rows: pl.DataFrame, truth: pl.Series | None, noun: str) -> Alike | None:
    """An :class:`Alike`, where the network has such a representation, and counts in the answer."""
    if source.share < _LEAST:
        return None
    try:
        return Alike(source, rows, truth, noun)
    except ConfigError:
        return None


def in_lines(head: list[str], cells: list[list[str]]) -> tuple[str, ...]:
    """A table of as many columns as a terminal holds."""
    rows = [[short(name, 14) for name in head], *cells]
    widths = [max(wide(row[place]) for row in rows) for place in range(len(head))]
    while sum(widths) + 2 * len(widths) > WIDTH:
        widths.pop()
    return tuple(
        ("  " + "  ".join(padded(cell, width) for cell, width in zip(row, widths, strict=False))).rstrip()
        for row in rows
    )


def in_html(head: list[str], cells: list[list[str]]) -> str:
    """The same table as HTML."""

    def line(row: list[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) + "</tr>"

    return f"<div class='scroll'><table>{line(head, 'th')}{''.join(line(row, 'td') for row in cells)}</table></div>"
