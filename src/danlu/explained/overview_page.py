"""What a model does in general, as HTML: for a notebook, and for a page."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import numpy as np

from danlu.evaluate.intervals import figure
from danlu.explained.drawn import beeswarm, columns_of, dependence, drawable, force
from danlu.report.svg import BLUE, GREY, ORANGE, Panel, short

if TYPE_CHECKING:
    from danlu.explained.overview import Curve, Overview

__all__ = ["importance_bars", "overview_sections"]

Part = tuple[str, str] | None

_LINES = 40  # curves of single rows
_MOST = 20
_NAME = 14
_FEW = 8  # values of a number that are shown one by one
_PALE = "#c9d3df"
_SCATTERED = 4  # columns whose attributions are drawn above their values


def overview_sections(found: Overview) -> list[tuple[str, str]]:
    """The titles and the HTML of the parts of an overview."""
    parts = [_importance(found), _attributions(found), _curves(found), _pairs(found), _tree(found), _rows(found)]
    notes = "".join(f'<p class="note">{html.escape(note[:1].upper() + note[1:])}.</p>' for note in found.notes)
    return [part for part in parts if part] + ([("Before you use this", notes)] if notes else [])


def importance_bars(found: Overview) -> Panel:
    """How much worse the model is when a column is shuffled, a bar each."""
    shown = list(reversed(found.importance[:_MOST]))
    with Panel("Shuffled, it is worse by", width=4.4, height=0.8 + 0.25 * len(shown)) as (panel, axes):
        places = np.arange(len(shown))
        colors = [ORANGE if each.matters else GREY for each in shown]
        axes.barh(places, [each.drop for each in shown], xerr=[each.spread for each in shown], color=colors, height=0.6)
        axes.set_yticks(places, [short(each.name, 30) for each in shown])
        axes.grid(axis="y", visible=False)
        panel.told(
            [each.drop for each in shown], places.tolist(), [f"{each.name}: {each.cost}" for each in shown], size=12
        )
    return panel


def _importance(found: Overview) -> Part:
    if not found.importance:
        return None
    note = '<p class="note">Lines: standard deviation of the shufflings. Grey: not more than chance.</p>'
    return "What it relies on", f"<p>{html.escape(_said(found.relied_on))}.</p>{importance_bars(found).svg}{note}"


def _attributions(found: Overview) -> Part:
    """Many rows explained one by one, and what single columns added."""
    each = found.examples
    if len(each) < 2:
        return None
    said = (
        f"<p>Why {len(each):,} single {html.escape(found.noun)} were answered as they were: a dot for each row and column, by Shapley "
        f"values of {html.escape(found.scored)}. A dot to the right: the value of the column raised the answer of that row.</p>"
    )
    errors = [part.error for one in each for part in one.parts if part.error]
    rough = f" A dot may be off by about ± {figure(float(np.median(errors)), 2)} (standard error)." if errors else ""
    note = (
        f'<p class="note">Each answer is compared with that of {html.escape(each[0].against.removeprefix("on average over "))}.{rough} '
        "The columns are in the order of the mean size of what they add.</p>"
    )
    shown = [name for name in columns_of(each) if drawable(each, name)][:_SCATTERED]
    scatter = "".join(f"<div>{dependence(each, name, by=found.partner(name)).svg}</div>" for name in shown)
    return "What each column adds", f'{said}{beeswarm(each).svg}{note}<div class="figures">{scatter}</div>'


def _rows(found: Overview) -> Part:
    """A row with a low, one with a middling and one with a high answer."""
    each = sorted(found.examples, key=lambda one: one.value)
    if len(each) < 3:
        return None
    chosen = [
        ("the lowest answer", each[0]),
        ("a middling answer", each[len(each) // 2]),
        ("the highest answer", each[-1]),
    ]
    bars = "".join(
        f"<h3>{html.escape(f'{one.row[:1].upper()}{one.row[1:]}: {said}')}</h3>{force(one).svg}" for said, one in chosen
    )
    note = (
        '<p class="note">Orange pushes the answer up, blue pushes it down; they meet at the answer. '
        "For rows of your own, more exactly, and with what would change the answer: <code>danlu explain RUN FILE</code></p>"
    )
    return "Three rows", bars + note


def _curves(found: Overview) -> Part:
    if not found.curves:
        return None
    panels = "".join(f"<div>{_panel(each)}</div>" for each in found.curves)
    return (
        "How its answers depend on single columns",
        f'<p>{html.escape(found.depends[:1].upper() + found.depends[1:])}</p><div class="figures">{panels}</div>'
        '<p class="note">Orange: the mean (partial dependence). Blue, dashed: local effects, raised to the same mean. Thin lines: single '
        "rows. Bars below: how many rows have about that value; what is said where there are few is a guess.</p>",
    )


def _panel(each: Curve) -> str:
    points, curves = each.dependence.points, each.dependence.curves
    is_date = points.ordered and not isinstance(points.values[0], int | float)
    few = points.ordered and not is_date and len(points.values) <= _FEW
    by_name = not points.ordered or is_date
    x = np.arange(len(points.values)) if by_name else points.where
    weights = points.rows / max(points.rows.sum(), 1)
    level = float(each.dependence.mean @ weights)
    with Panel(each.column, width=4.4, height=2.4) as (panel, axes):
        some = np.linspace(0, len(curves) - 1, min(len(curves), _LINES)).round().astype(int)
        for row in some:
            axes.plot(x, curves[row], color=GREY, lw=0.4, alpha=0.5)
        if points.ordered:
            axes.plot(x, each.effects.values + level, color=BLUE, ls="--")
            axes.plot(x, each.dependence.mean, color=ORANGE, lw=2)
        else:
            axes.plot(x + 0.07, each.effects.values + level, color=BLUE, ls="", marker="D", ms=5)
            axes.plot(x - 0.07, each.dependence.mean, color=ORANGE, ls="", marker="o", ms=6)
        axes.margins(y=0.08)
        low, high = axes.get_ylim()
        foot = 0.16 * (high - low)
        edges = np.concatenate([[x[0]], (x[:-1] + x[1:]) / 2, [x[-1]]])
        widths, lefts = np.diff(edges), edges[:-1]
        if by_name or few:
            widths = np.full(len(x), 0.8 * np.diff(x).min())
            lefts = x - widths / 2
        bottom = low - foot
        heights = foot * weights / max(weights.max(), 1e-12)
        axes.bar(lefts, heights, widths, bottom, align="edge", color=_PALE, edgecolor="white", lw=0.4)
        axes.set_yticks([tick for tick in axes.get_yticks() if low <= tick <= high])
        axes.set_ylim(bottom, high)
        if few:
            axes.set_xticks(x)
        if by_name:
            slant = {"rotation": 30, "ha": "right"} if len(x) > 4 else {}
            axes.set_xticks(x, [short(name, _NAME) for name in each.names], **slant)
    missing = each.dependence.missing
    said = (
        ""
        if missing is None
        else f'<p class="note">Missing in {points.missing:,} rows; so, the mean is {figure(missing, 3)}.</p>'
    )
    return panel.svg + said


def _pairs(found: Overview) -> Part:
    if not found.pairs:
        return None
    head = '<tr><th>columns</th><th class="n">size</th><th class="n">H</th><th></th></tr>'
    lines = "".join(
        f'<tr><td translate="no">{html.escape(short(" × ".join(map(str, each.columns)), 60))}</td>'
        f'<td class="n">{figure(each.size, 3)} ± {figure(each.error, 2)}</td><td class="n">{each.strength:.2f}</td>'
        f"<td>{'' if each.matters else 'may be chance'}</td></tr>"
        for each in found.pairs
    )
    return (
        "Columns that act together",
        f'<p>{html.escape(_said(found.acts_together, ", "))}</p><div class="scroll"><table>{head}{lines}</table></div>',
    )


def _tree(found: Overview) -> Part:
    tree = found.surrogate
    if tree is None:
        return None
    lines = "".join(
        f'<div style="padding-left: {1.4 * rule.depth:.1f}em">{html.escape(found.rule(rule))}</div>'
        for rule in tree.rules
    )
    return "A small tree in its place", f"<p>{html.escape(_said(found.in_its_place, '; '))}.</p>{lines}"


def _said(text: str, after: str = ": ") -> str:
    """A sentence without what the heading above it says."""
    rest = text.partition(after)[2]
    return rest[:1].upper() + rest[1:]
