"""What a model does in general, as HTML: for a notebook, and for a page."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import numpy as np

from danlu.evaluate.intervals import figure
from danlu.report.svg import BLUE, GREY, ORANGE, Panel, short

if TYPE_CHECKING:
    from danlu.explained.overview import Curve, Overview

__all__ = ["overview_body"]

_LINES = 40  # curves of single rows
_MOST = 20
_NAME = 14
_FEW = 8  # values of a number that are shown one by one
_PALE = "#c9d3df"


def overview_body(found: Overview) -> str:
    """The parts of an overview."""
    parts = [_importance(found), _curves(found), _pairs(found), _tree(found)]
    notes = "".join(f'<p class="note">{html.escape(note)}</p>' for note in found.notes)
    body = "".join(f'<div class="why">{part}</div>' for part in parts if part)
    return body + (f'<div class="why">{notes}</div>' if notes else "")


def _importance(found: Overview) -> str:
    shown = list(reversed(found.importance[:_MOST]))
    if not shown:
        return ""
    with Panel("Shuffled, it is worse by", width=5.6, height=0.8 + 0.25 * len(shown)) as (panel, axes):
        places = np.arange(len(shown))
        colors = [ORANGE if each.matters else GREY for each in shown]
        axes.barh(places, [each.drop for each in shown], xerr=[each.spread for each in shown], color=colors, height=0.6)
        axes.set_yticks(places, [short(each.name, 30) for each in shown])
        axes.grid(axis="y", visible=False)
    return (
        f"<h2>What it relies on</h2><p>{html.escape(_said(found.relied_on))}.</p>{panel.svg}"
        '<p class="note">Lines: standard deviation of the shufflings. Grey: not more than chance.</p>'
    )


def _curves(found: Overview) -> str:
    if not found.curves:
        return ""
    panels = "".join(_panel(each) for each in found.curves)
    return (
        f"<h2>How its answers depend on single columns</h2><p>{html.escape(found.depends)}</p>{panels}"
        '<p class="note">Orange: the mean (partial dependence). Blue, dashed: local effects, raised to the same mean. Thin lines: single '
        "rows. Bars below: how many rows have about that value; what is said where there are few is a guess.</p>"
    )


def _panel(each: Curve) -> str:
    points, curves = each.dependence.points, each.dependence.curves
    is_date = points.ordered and not isinstance(points.values[0], int | float)
    few = points.ordered and not is_date and len(points.values) <= _FEW
    by_name = not points.ordered or is_date
    x = np.arange(len(points.values)) if by_name else points.where
    weights = points.rows / max(points.rows.sum(), 1)
    level = float(each.dependence.mean @ weights)
    with Panel(each.column, width=5.6, height=2.6) as (panel, axes):
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


def _pairs(found: Overview) -> str:
    if not found.pairs:
        return ""
    head = '<tr><th>columns</th><th class="n">size</th><th class="n">H</th><th></th></tr>'
    lines = "".join(
        f"<tr><td>{html.escape(short(' × '.join(map(str, each.columns)), 60))}</td>"
        f'<td class="n">{figure(each.size, 3)} ± {figure(each.error, 2)}</td><td class="n">{each.strength:.2f}</td>'
        f"<td>{'' if each.matters else 'may be chance'}</td></tr>"
        for each in found.pairs
    )
    return (
        f"<h2>Columns that act together</h2><p>{html.escape(found.acts_together)}</p>"
        f'<div class="scroll"><table>{head}{lines}</table></div>'
    )


def _tree(found: Overview) -> str:
    tree = found.surrogate
    if tree is None:
        return ""
    lines = "".join(
        f'<div style="padding-left: {1.4 * rule.depth:.1f}em">{html.escape(found.rule(rule))}</div>'
        for rule in tree.rules
    )
    return f"<h2>A small tree in its place</h2><p>{html.escape(_said(found.in_its_place, '; '))}.</p>{lines}"


def _said(text: str, after: str = ": ") -> str:
    """A sentence without what the heading above it says."""
    rest = text.partition(after)[2]
    return rest[:1].upper() + rest[1:]
