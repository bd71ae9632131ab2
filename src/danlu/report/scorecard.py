"""The part of a report about a scorecard: its points as a picture and as a table."""

from __future__ import annotations

import html
import math

from danlu.evaluate.intervals import figure
from danlu.prose import percent
from danlu.report.svg import BLUE, Panel, short
from danlu.report.words import in_parts
from danlu.trained.points import PointsCard

__all__ = ["card_section"]

_SHOWN = 14  # columns in the picture


def card_section(card: PointsCard) -> tuple[str, str]:
    """The title and the HTML: how many points each column can give, and every bin with its points."""
    second = card.model.head.target.classes[1]
    head = "".join(
        f'<th class="n">{html.escape(name)}</th>'
        for name in ("points", "rows", f"of them {short(second, 16)}", "weight of evidence")
    )
    lines = []
    for column in card.columns:
        lines.append(
            f'<tr><th class="name" translate="no">{in_parts(column.name)}</th>'
            f'<td colspan="4">information value {figure(column.information, 3)}</td></tr>'
        )
        for each in column.bins:
            share = "–" if math.isnan(each.share) else percent(each.share)
            cells = (f"<b>{figure(each.points, 6)}</b>", f"{each.rows:,.0f}", share, figure(each.evidence, 3))
            rest = "".join(f'<td class="n">{cell}</td>' for cell in cells)
            lines.append(f'<tr><td class="name" translate="no">{in_parts(each.label)}</td>{rest}</tr>')
    note = (
        "Rows are training rows. The weight of evidence is the logarithm of how much more of the first class than of the second is in "
        "a bin, both as shares of all; an information value below 0.02 says nothing and above 0.3 much. The points are the model: their "
        "sum is the score of a row."
    )
    return (
        "Scorecard",
        f"<p>{html.escape(card.told)}</p>{_picture(card)}"
        f'<div class="scroll long"><table><tr><th>bin</th>{head}</tr>{"".join(lines)}</table></div>'
        f'<p class="note">{html.escape(note)}</p>',
    )


def _picture(card: PointsCard) -> str:
    """The points of each column's bins on a line, larger dots for more rows."""
    shown = card.columns[:_SHOWN]
    most = max(each.rows for column in shown for each in column.bins)
    with Panel("points by column") as (panel, axes):
        for place, column in enumerate(shown):
            bins = [each for each in column.bins if each.rows]
            points = [each.points for each in bins]
            axes.plot([min(points), max(points)], [place, place], color="#c9ccd2", linewidth=2, zorder=1)
            sizes = [8 + 60 * each.rows / most for each in bins]
            axes.scatter(points, [place] * len(points), s=sizes, color=BLUE, alpha=0.75, linewidths=0, zorder=2)
        axes.set_yticks(range(len(shown)), [short(each.name, 16) for each in shown], fontsize=7)
        axes.invert_yaxis()
        axes.set(xlabel="points (larger: more rows)")
    return str(panel.svg)
