"""The report's part on the slices on which a model is worst."""

from __future__ import annotations

import html

from danlu.evaluate.intervals import figure
from danlu.evaluate.slices import Slices
from danlu.prose import percent

__all__ = ["slices_section"]


def slices_section(found: Slices) -> tuple[str, str]:
    """The title and the HTML of a table of the worst slices."""
    said = f"<p>{html.escape(found.said[:1].upper() + found.said[1:])}.</p>" if not found.notes else ""
    notes = "".join(f"<p class='note'>{html.escape(note[:1].upper() + note[1:])}.</p>" for note in found.notes)
    if not found.slices:
        return "Where it is worst", said + notes
    several = found.right is not None
    heads = ["rows", found.loss, "elsewhere", "difference"] + ["right"] * several
    lines = []
    for each in found.slices:
        cells = [
            f"{each.rows:,}<br><small>{percent(each.share, 1)}</small>",
            figure(each.loss, 3),
            figure(each.others, 3),
        ]
        ends = f"<br><small>{figure(each.difference.low, 3)} to {figure(each.difference.high, 3)}</small>"
        cells.append(f"{figure(each.difference.value, 3)}{ends if each.difference.known else ''}")
        if each.right is not None:
            ends = f"<br><small>{percent(each.right.low)} to {percent(each.right.high)}</small>"
            cells.append(f"{percent(each.right.value, 1)}{ends if each.right.known else ''}")
        chance = "" if each.worse else " <span class='tag'>may be chance</span>"
        told = "".join(f"<td class='n'>{cell}</td>" for cell in cells)
        lines.append(
            f"<tr{'' if each.worse else ' class=unused'}><td class='values'>{html.escape(each.name)}{chance}</td>{told}</tr>"
        )
    head = "".join(f"<th class='n'>{each}</th>" for each in heads)
    whole = "" if found.right is None else f" Of all rows {percent(found.right, 1)} are right."
    note = (
        "<p class='note'>Slices were found on one half of the rows and judged on the other; no more than half of the rows of one are in "
        f"those found before it. The intervals of the differences hold for all of them together.{whole}</p>"
    )
    table = (
        f"<div class='scroll'><table class='measures'><tr><th>rows where</th>{head}</tr>{''.join(lines)}</table></div>"
    )
    return "Where it is worst", said + table + note + notes
