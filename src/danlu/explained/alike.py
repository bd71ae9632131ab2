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
from danlu.explained.view import cell, padded, plain_value, wide
from danlu.prose import WIDTH
from danlu.report.svg import short

__all__ = ["Alike", "alike_or_none"]

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
        self.known = self._seen(rows)

    def _seen(self, rows: pl.DataFrame) -> np.ndarray:
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
        places, alike = nearest_rows(self._seen(row), self.known, _COUNT)
        found = self.rows[places[0].tolist()]
        target = self.source.model.head.name
        shown = order[:_COLUMNS]
        head = ["alike", *([f"true {target}"] if self.truth is not None else []), *shown]
        cells = []
        data = []
        for number, (place, close) in enumerate(zip(places[0].tolist(), alike[0].tolist(), strict=True)):
            true = [] if self.truth is None else [str(self.truth[place])]
            values = found.row(number, named=True)
            cells.append(
                [
                    f"{close:.2f}",
                    *true,
                    *(short(cell(values[name]), 14) for name in shown),
                ]
            )
            data.append(
                {
                    "similarity": round(close, 6),
                    **({"true": true[0]} if true else {}),
                    "row": {k: plain_value(v) for k, v in values.items()},
                }
            )
        title = (
            f"The {self.noun} most alike, as {self.source.said or 'the network'} sees them, among {self.rows.height:,}"
        )
        return Block(title, _table(head, cells), _html(head, cells)), data


def alike_or_none(source: Gradients, rows: pl.DataFrame, truth: pl.Series | None, noun: str) -> Alike | None:
    """An :class:`Alike`, where the network has such a representation, and counts in the answer."""
    if source.share < _LEAST:
        return None
    try:
        return Alike(source, rows, truth, noun)
    except ConfigError:
        return None


def _table(head: list[str], cells: list[list[str]]) -> tuple[str, ...]:
    rows = [[short(name, 14) for name in head], *cells]
    widths = [max(wide(row[place]) for row in rows) for place in range(len(head))]
    while sum(widths) + 2 * len(widths) > WIDTH:
        widths.pop()
    return tuple(
        ("  " + "  ".join(padded(cell, width) for cell, width in zip(row, widths, strict=False))).rstrip()
        for row in rows
    )


def _html(head: list[str], cells: list[list[str]]) -> str:
    def line(row: list[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) + "</tr>"

    return f"<div class='scroll'><table>{line(head, 'th')}{''.join(line(row, 'td') for row in cells)}</table></div>"
