"""The pictures of a translation: some sentences with their references, and what a translation attends to."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np
import polars as pl

from danlu.report.svg import Panel

__all__ = ["attention_plot", "translation_tables"]

_SHOWN = 6


def attention_plot(
    weights: np.ndarray,
    source: Sequence[str],
    target: Sequence[str],
    *,
    title: str = "The source of each word",
) -> str:
    """A map of attention weights, as SVG.

    Args:
        weights: ``(target tokens, source tokens)``.
        source, target: the tokens, as text.
        title: above the map.
    """
    size = 0.24
    width, height = 1.5 + size * len(source), 1.2 + size * len(target)
    with Panel(title, width=max(width, 3.7), height=max(height, 2.4)) as (panel, axes):
        axes.imshow(weights, cmap="Blues", vmin=0, vmax=max(float(weights.max()), 0.5), aspect="auto")
        axes.grid(visible=False)
        axes.set_xticks(range(len(source)), source, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
        axes.set_yticks(range(len(target)), target, fontsize=8)
    return panel.svg


def translation_tables(predictions: pl.DataFrame) -> list[tuple[str, str]]:
    """Sections of a report, titles and HTML: some of each quality by chrF, and the worst.

    Args:
        predictions: columns ``source``, ``translation``, ``reference`` and ``chrf``.
    """
    ordered = predictions.sort("chrf", maintain_order=True)
    places = np.unique(np.linspace(0, len(ordered) - 1, _SHOWN + 2).round().astype(int)[1:-1])
    note = "<p class='note'>Evenly spaced by their chrF, from low to high.</p>"
    worst = _table(ordered.head(_SHOWN))
    return [("Translations", _table(ordered[places.tolist()]) + note), ("The worst translations", worst)]


def _table(rows: pl.DataFrame) -> str:
    names = ("source", "reference", "translation")
    head = "".join(f"<th>{name}</th>" for name in names) + "<th class='n'>chrF</th>"
    lines = [
        "<tr>" + "".join(f"<td class='cell' translate='no'>{html.escape(row[name])}</td>" for name in names)
        + f"<td class='n'>{row['chrf']:.0f}</td></tr>"
        for row in rows.iter_rows(named=True)
    ]  # fmt: skip
    return f"<div class='scroll'><table><tr>{head}</tr>{''.join(lines)}</table></div>"
