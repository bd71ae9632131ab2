"""The report's part on a campaign: the Qini curve, what was foretold beside what was seen, and how alike the groups are."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from danlu.auditing.balance import Balance
from danlu.evaluate.intervals import figure, intervals
from danlu.evaluate.judgement import Judgement
from danlu.evaluate.uplift import Campaign
from danlu.report.importance import importance_section
from danlu.report.svg import BLUE, GREEN, GREY, ORANGE, Panel
from danlu.report.words import in_parts

__all__ = ["uplift_sections"]

_SHARES = np.linspace(0, 1, 41)
_PARTS = 5  # of the people, by what is foretold
_FEWEST = 40  # people of a part
_SHOWN = 12
_COLOURS = (ORANGE, GREEN)


def uplift_sections(judgement: Judgement | None, balance: Balance, outcome: str) -> list[tuple[str, str]]:
    """The titles and the HTML of the sections.

    Args:
        judgement: the test, where there is one.
        balance: of the training rows.
        outcome: what the outcome is called.
    """
    found = []
    if judgement is not None and isinstance(judgement.evidence, Campaign):
        orders = {
            each.label: each.evidence for each in judgement.simple if each.metric is None and not each.evidence.constant
        }
        found.append(
            (
                "Whom the treatment changes",
                _curves(judgement.evidence, orders, outcome) + _parts(judgement.evidence, outcome),
            )
        )
        if judgement.importance:
            found.append(importance_section(judgement.importance))
    return [*found, ("How alike the groups were", _balance(balance))]


def _curves(ours: Campaign, others: Any, outcome: str) -> str:
    points, share = ours.curve(_SHARES), 100 * _SHARES
    with Panel("Qini curve") as (panel, axes):
        low, high = ([getattr(each, end) for each in points] for end in ("low", "high"))
        axes.fill_between(share, low, high, color=BLUE, alpha=0.15, linewidth=0)
        axes.plot(share, [each.value for each in points], color=BLUE, label="the model")
        for colour, (label, each) in zip(_COLOURS, others.items(), strict=False):
            of, qini, _ = each.gains.curves(np.ones(len(each)))
            axes.plot(share, np.interp(_SHARES, of, qini), color=colour, linewidth=1.2, label=label)
        axes.plot([0, 100], [0, points[-1].value], color=GREY, linestyle="--", linewidth=1, label="by chance")
        axes.set(xlabel="% of people treated, by their uplift", ylabel=f"gain of {outcome} a person")
        axes.legend(fontsize=7, loc="upper left")
        panel.tips(share.tolist(), [each.value for each in points], "% treated, gain")
    note = (
        "What the treatment brings if so many people are treated, those with the highest uplift first, a treated person; the band is of "
        "95 % at each point. Where the curve falls, people are treated whom the treatment does harm."
    )
    return f'<div class="panels">{panel.svg}</div><p class="note">{note}</p>'


def _parts(ours: Campaign, outcome: str) -> str:
    """A table with a line for each part of the people by what is foretold."""
    count = int(min(_PARTS, len(ours) // _FEWEST))
    if count < 2:
        return ""
    order = np.argsort(-ours.prediction, kind="stable")
    lines = []
    for place, rows in enumerate(np.array_split(order, count)):
        part = ours.take(np.sort(rows))
        seen = intervals(part, ("ate",)).get("ate")
        cells = (figure(float(part.prediction.mean()), 3), "–" if seen is None else seen.brief, f"{len(part):,}")
        numbers = "".join(f'<td class="n">{each}</td>' for each in cells)
        lines.append(f"<tr><td>{100 * place // count} to {100 * (place + 1) // count} %</td>{numbers}</tr>")
    names = ("uplift foretold", "uplift seen", "people")
    head = "<tr><th>people by uplift</th>" + "".join(f'<th class="n">{name}</th>' for name in names) + "</tr>"
    note = f"Of {outcome}, doubly robust, with intervals of 95 %: where both columns agree, the uplift can be compared with a cost."
    return f'<div class="scroll"><table>{head}{"".join(lines)}</table></div><p class="note">{html.escape(note)}</p>'


def _balance(balance: Balance) -> str:
    lines = []
    shown: Sequence[tuple[str, float]] = balance.differences[:_SHOWN]
    for name, value in shown:
        text = figure(value, 2) if math.isfinite(value) else "∞"
        lines.append(f'<tr><td class="name" translate="no">{in_parts(name)}</td><td class="n">{text}</td></tr>')
    more = len(balance.differences) - len(shown)
    rest = f" {more:,} more columns differ less." if more > 0 else ""
    verdict = "not more than chance" if balance.by_chance else "more than chance: the treatment was not given by chance"
    note = (
        f"From the columns together it can be told who was treated with a ROC-AUC of {balance.auc.brief}: {verdict}. Up to 0.1 counts as "
        f"small.{rest}"
    )
    head = '<tr><th>column</th><th class="n">standardised difference</th></tr>'
    return f'<div class="scroll"><table>{head}{"".join(lines)}</table></div><p class="note">{html.escape(note)}</p>'
