"""The part of a report about rows that were made up: some of them, and column by column how they lie beside test rows."""

from __future__ import annotations

import html
from typing import Any

import numpy as np
import polars as pl

from danlu.evaluate.drawn import DrawnRows
from danlu.report.samples import decimals

__all__ = ["made_sections"]

_BARS = 20
_WIDE, _HIGH = 120, 28
_MOST = 60  # columns that are shown


def made_sections(rows: pl.DataFrame, encoder: Any, evidence: DrawnRows | None) -> list[tuple[str, str]]:
    """The sections.

    Args:
        rows: some made-up ones.
        encoder: of the rows, a :class:`~danlu.data.rows.RowEncoder`.
        evidence: the test; None without one.
    """
    head = "".join(f"<th>{html.escape(name)}</th>" for name in rows.columns)
    body = "".join(
        "<tr>"
        + "".join(f"<td translate='no'>{html.escape('' if value is None else str(value))}</td>" for value in row)
        + "</tr>"
        for row in rows.iter_rows()
    )
    note = "<p class='note'>Nobody's: drawn with the seed 0; danlu sample makes more.</p>"
    found = [("Rows that it makes", f"<div class='scroll'><table><tr>{head}</tr>{body}</table></div>{note}")]
    if evidence is None:
        return found
    lines = []
    names = [column.name for column in encoder.schema.features]
    gaps = [_gap(evidence.cells[:, j], evidence.drawn[:, j]) for j in range(len(names))]
    for j in sorted(range(len(names)), key=lambda each: -gaps[each])[:_MOST]:
        kind = "number" if encoder.cells[j].is_number else "category"
        bars = _bars(evidence.cells[:, j], evidence.drawn[:, j])
        lines.append(
            f"<tr><td translate='no'>{html.escape(names[j])}</td><td>{kind}</td><td class='n'>{decimals(gaps[j])}</td><td>{bars}</td></tr>"
        )
    top = "<tr><th>column</th><th>kind</th><th class='n'>total variation</th><th>shares</th></tr>"
    table = f"<div class='scroll'><table>{top}{''.join(lines)}</table></div>"
    legend = (
        "<p class='note'>The worst first. Dark: made-up rows, light: test rows, in cells that hold about as many training rows each, or by "
        "category. Chance alone makes the total variation more than 0: compare it with that of real rows above.</p>"
    )
    return [*found, ("Column by column", table + legend)]


def _gap(one: np.ndarray, other: np.ndarray) -> float:
    size = int(max(one.max(), other.max())) + 1
    left, right = (np.bincount(each, minlength=size) / len(each) for each in (one, other))
    return float(np.abs(left - right).sum() / 2)


def _bars(real: np.ndarray, made: np.ndarray) -> str:
    """Two rows of bars, one in front of the other."""
    size = int(max(real.max(), made.max())) + 1
    counts = [np.bincount(each, minlength=size) / len(each) for each in (real, made)]
    kept = np.sort(np.argsort(-counts[0], kind="stable")[:_BARS])
    top, width = max(float(each[kept].max()) for each in counts) or 1.0, _WIDE / len(kept)
    shapes = []
    for each, colour, share in ((counts[0], "currentColor", 0.25), (counts[1], "currentColor", 0.8)):
        thick = width * (0.9 if share < 0.5 else 0.4)
        for place, value in enumerate(each[kept]):
            height = _HIGH * float(value) / top
            shapes.append(
                f"<rect x='{place * width + (width - thick) / 2:.1f}' y='{_HIGH - height:.1f}' width='{thick:.1f}' height='{height:.1f}' "
                f"fill='{colour}' fill-opacity='{share}'/>"
            )
    return f"<svg width='{_WIDE}' height='{_HIGH}' viewBox='0 0 {_WIDE} {_HIGH}' role='img' aria-label='shares'>{''.join(shapes)}</svg>"
