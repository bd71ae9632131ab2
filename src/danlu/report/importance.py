"""The report's part on the columns that a model of a table relies on."""

from __future__ import annotations

import html
from collections.abc import Sequence

from danlu.evaluate import MEASURES, Importance
from danlu.evaluate.intervals import figure
from danlu.report.words import in_parts

__all__ = ["importance_section"]

_MOST = 40
_WIDTH, _HEIGHT = 160, 14


def importance_section(found: Sequence[Importance]) -> tuple[str, str]:
    """The title and the HTML of a table with one bar per column, the most important first; groups of related columns are among them."""
    shown = list(found)[:_MOST]
    largest = max((each.drop + each.spread for each in shown), default=0.0)
    lines = "".join(
        f'<tr{"" if each.matters else " class=unused"}><td class="name" translate="no">{in_parts(each.name)}</td>'
        f'<td class="n">{figure(each.drop, 3)}</td><td class="n">± {figure(each.spread, 2)}</td><td>{_bar(each, largest)}</td></tr>'
        for each in shown
    )
    first = shown[0]
    label = html.escape(MEASURES[first.metric].label)
    more = f" The {len(found) - len(shown):,} other columns cost less." if len(found) > len(shown) else ""
    note = (
        f"How much worse {label} gets on {first.rows:,} test rows when a column's values are shuffled: the mean of {first.repeats} "
        f"shufflings, ± their standard deviation. Grey: not more than chance.{more} It shows what this model relies "
        "on, not what could be "
        "learnt without the column, nor the effect of changing it."
    )
    related = [", ".join(each.columns) for each in found if len(each.columns) > 1]
    if related:
        note += (
            f" Columns with much the same information ({'; '.join(related)}) can each look worthless, because the other one replaces it: "
            "judge them together."
        )
    head = f'<tr><th>column</th><th class="n">{label} worse by</th><th class="n"></th><th></th></tr>'
    return (
        "What it relies on",
        f'<div class="scroll long"><table>{head}{lines}</table></div><p class="note">{html.escape(note)}</p>',
    )


def _bar(each: Importance, largest: float) -> str:
    width = _WIDTH * max(each.drop, 0.0) / largest if largest > 0 else 0.0
    low, high = (
        _WIDTH * min(max(end, 0.0), largest) / largest if largest > 0 else 0.0
        for end in (each.drop - each.spread, each.drop + each.spread)
    )
    middle = _HEIGHT / 2
    return (
        f'<svg class="bars" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" aria-hidden="true">'
        f'<rect x="0" y="2" width="{width:.1f}" height="{_HEIGHT - 4}"/>'
        f'<path d="M{low:.1f} {middle}H{high:.1f}" stroke="#24292f" stroke-width="1.5"/></svg>'
    )
