"""The report's part on what a model is worth when its inputs are worse."""

from __future__ import annotations

import html

import numpy as np

from danlu.evaluate.intervals import Interval, figure
from danlu.evaluate.measures import MEASURES
from danlu.evaluate.stress import Stress
from danlu.report.svg import BLUE, GREY, ORANGE, Panel, short

__all__ = ["stress_section"]


def stress_section(found: Stress, source: str) -> tuple[str, str]:
    """The title and the HTML of a picture and a table of all changes.

    Args:
        found: the test under changes.
        source: the name of the file whose rows were tested.
    """
    label = MEASURES[found.measure].label
    surely = sum(each.told for each in found.rows)
    said = (
        f"<p>{found.tested:,} rows of <span translate='no'>{html.escape(source)}</span> were answered as they are, and again under "
        f"{len(found.rows)} changes; {surely} of these surely make it worse. As they are, {html.escape(label)} is {_ends(found.clean)}.</p>"
    )
    lines = "".join(
        f"<tr{'' if each.told else ' class=unused'}><td>{html.escape(each.change)}</td><td class='n'>{figure(each.score.value, 3)}</td>"
        f"<td class='n'>{_ends(each.worse)}</td></tr>"
        for each in found.rows
    )
    head = f"<tr><th>change</th><th class='n'>{html.escape(label)}</th><th class='n'>worse by</th></tr>"
    note = (
        "<p class='note'>In brackets: 95 % intervals from the same rows. Grey: the rows do not tell that it is worse. Rows that the model "
        "learnt from are left out.</p>"
    )
    return (
        "When inputs are worse",
        f"{said}<div class='sides'><div>{_picture(found, label)}</div><div class='scroll'><table>{head}{lines}</table></div></div>{note}",
    )


def _picture(found: Stress, label: str) -> str:
    """How much worse each change makes it."""
    with Panel(f"{label} worse by", width=4.6, height=0.7 + 0.24 * len(found.rows)) as (panel, axes):
        axes.axvline(0, color=GREY, lw=0.8)
        for place, each in enumerate(found.rows):
            colour = ORANGE if each.told else BLUE if each.worse.value < 0 else GREY
            if each.worse.known:
                axes.plot([each.worse.low, each.worse.high], [place, place], color=colour, lw=2, alpha=0.5)
            axes.plot(each.worse.value, place, "o", color=colour, ms=5)
        panel.told(
            [each.worse.value for each in found.rows],
            list(range(len(found.rows))),
            [f"{each.change}: {figure(each.score.value, 3)}, worse by {each.worse.brief}" for each in found.rows],
            size=10,
        )
        axes.set_yticks(np.arange(len(found.rows)), [short(each.change, 32) for each in found.rows])
        axes.set_ylim(len(found.rows) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
    return panel.svg


def _ends(found: Interval) -> str:
    return html.escape(found.brief)
