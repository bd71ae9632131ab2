"""The report's part on the clients of federated learning: how good the shared model is at each of them."""

from __future__ import annotations

import html

from danlu.evaluate.clients import ClientScore, ClientScores
from danlu.evaluate.intervals import Interval, figure
from danlu.evaluate.measures import MEASURES
from danlu.report.plots import rate_plot

__all__ = ["clients_section"]

_MOST = 40  # clients that are listed
_DRAWN = 24


def clients_section(found: ClientScores) -> tuple[str, str]:
    """The title and the HTML of what a test tells of the clients."""
    label, several = MEASURES[found.metric].label, found.values.size > 1
    own = any(each.own is not None for each in found.clients)
    facts = [
        f"Over {found.values.size} clients, each counted alike, {label} is {figure(found.mean)} (standard deviation "
        f"{figure(found.spread, 3)}); at the worst tenth of them it is {figure(found.worst_tenth)}."
    ] * several
    told = "".join(f"<p>{html.escape(each)}</p>" for each in facts)
    shown = [each for each in found.clients[:_DRAWN] if each.known]
    plot = rate_plot({each.name: each.score for each in shown}, label[:1].upper() + label[1:]) if several else ""
    figures = f"<div class='figures'><div>{plot}</div></div>" if plot else ""
    heads = ["learnt from", "test rows", label] + ["own version"] * own
    head = "".join(f"<th class='n'>{html.escape(each)}</th>" for each in heads)
    lines = "".join(_line(each, own=own) for each in found.clients[:_MOST])
    table = f"<div class='scroll'><table class='measures'><tr><th>client</th>{head}</tr>{lines}</table></div>"
    left = len(found.clients) - _MOST
    more = f" {left} more clients, for whom it is better, are in results.json." if left > 0 else ""
    note = f"<p class='note'>The worst clients first. In brackets: 95 % intervals.{more}</p>"
    return "The clients", told + figures + table + note


def _line(each: ClientScore, *, own: bool) -> str:
    cells = [f"{each.learnt:,}", f"{each.rows:,}", _shown(each.score)] + [_shown(each.own)] * own
    told = "".join(f"<td class='n'>{cell}</td>" for cell in cells)
    few = "" if each.known else " class='unused'"
    return f"<tr{few}><td class='cell' translate='no'>{html.escape(each.name)}</td>{told}</tr>"


def _shown(score: Interval | None) -> str:
    if score is None or score.value != score.value:
        return "–"
    ends = f"<br><small>({html.escape(score.between)})</small>" if score.known else ""
    return f"{figure(score.value)}{ends}"
