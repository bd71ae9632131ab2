"""The report's part on groups of rows: the rates of each, how far they are apart, and their calibration."""

from __future__ import annotations

import html
from typing import Any

import numpy as np

from danlu.evaluate import Rows, calibration
from danlu.evaluate.fairness import CRITERIA, Fairness
from danlu.evaluate.group_lines import RATES, rate_figure
from danlu.evaluate.group_thresholds import TradeOff
from danlu.evaluate.groups import Groups
from danlu.evaluate.intervals import Interval, figure
from danlu.report.plots import rate_plot
from danlu.report.svg import BLUE, GREEN, GREY, INK, ORANGE, Panel, short

__all__ = ["fairness_section", "trade_section"]

_COLUMNS = {
    "binary": ("base", "selected", "true_positive", "false_positive", "precision", "accuracy", "bias"),
    "multiclass": ("accuracy",),
    "regression": ("truth", "mean", "bias", "absolute_error"),
}
_DRAWN = {
    "binary": ("selected", "true_positive", "false_positive"),
    "multiclass": ("accuracy",),
    "regression": ("mean", "absolute_error"),
}
_LINES = ((BLUE, "-"), (ORANGE, "--"), (GREEN, "-."), (INK, ":"), ("#CC79A7", "-"))
_MOST = 24


def fairness_section(found: Fairness, rows: Any, groups: Groups) -> tuple[str, str]:
    """The title and the HTML of what the rows tell of groups by one column.

    Args:
        found: what is told.
        rows: of the test, with their prediction.
        groups: of these rows.
    """
    of = found.classes[0] if found.task == "binary" and found.classes else ""
    shown = sorted(found.groups, key=lambda each: -each.rows)[:_MOST] if len(found.groups) > _MOST else found.groups
    percent = found.task != "regression"
    names = _COLUMNS[found.task]

    def rate(group: Any, name: str) -> Interval | None:
        own = group.rates.get(of, {})
        value: Interval | None = own[name] if name in own else group.rates.get("", {}).get(name)
        return value

    head = "".join(f"<th class='n'>{RATES[name]}{', %' if percent else ''}</th>" for name in names)
    lines = []
    for each in shown:
        cells = [rate(each, name) for name in names]
        told = "".join(
            f"<td class='n'>{'–' if cell is None else html.escape(rate_figure(cell, percent=percent))}</td>"
            for cell in cells
        )
        few = "" if each.judged else " class='unused'"
        lines.append(
            f"<tr{few}><td class='cell' translate='no'>{html.escape(each.name)}</td><td class='n'>{each.rows:,}</td>{told}</tr>"
        )
    table = (
        "<div class='scroll'><table class='measures'>"
        f"<tr><th translate='no'>{html.escape(found.column)}</th><th class='n'>rows</th>{head}</tr>{''.join(lines)}</table></div>"
    )
    what = f"Rates are of {html.escape(repr(of))}. " if of else ""
    note = f"<p class='note'>{what}In brackets: 95 % intervals.{_notes(found)}</p>"
    drawn = [
        rate_plot(
            {each.name: value for each in shown if each.judged and (value := rate(each, name)) is not None},
            RATES[name].capitalize(),
        )
        for name in _DRAWN[found.task]
        if found.gaps
    ]
    if found.task == "binary" and isinstance(rows, Rows) and found.gaps:
        drawn.append(_calibration(found, rows, groups))
    figures = f"<div class='figures'>{''.join(f'<div>{each}</div>' for each in drawn)}</div>" if drawn else ""
    return f"Fairness by {found.column}", _gaps(found) + figures + "<h3>Each group</h3>" + table + note


def _notes(found: Fairness) -> str:
    return "".join(f" {html.escape(note[:1].upper() + note[1:])}." for note in found.notes)


def _gaps(found: Fairness) -> str:
    """A table of the criteria, the worst pair of groups named."""
    if not found.gaps:
        return ""
    asks = {each.name: each for each in CRITERIA[found.task]}
    several = len(found.classes) > 1
    lines = []
    for gap in found.gaps:
        high, low = (figure(value, 3) if found.task == "regression" else f"{100 * value:.1f} %" for value in gap.values)
        pair = (
            f"{gap.high} {high}, {gap.low} {low}".replace("-", "−")
            if found.task != "regression"
            else f"{gap.high} {high}, {gap.low} {low}"
        )
        rate = RATES[gap.rate] + (f" of {gap.of!r}" if several and gap.of else "")
        chance = "" if gap.told else " <span class='tag'>may be chance</span>"
        criterion = asks[gap.criterion]
        cells = [_value(gap.difference), "–" if gap.ratio is None else _value(gap.ratio)]
        lines.append(
            f"<tr><td><b>{criterion.label}</b><br><small>{criterion.asks}</small></td>"
            + "".join(f"<td class='n'>{cell}</td>" for cell in cells)
            + f"<td class='cell wide'>{html.escape(rate)}: {html.escape(pair)}{chance}</td></tr>"
        )
    head = "<tr><th></th><th class='n'>difference</th><th class='n'>ratio</th><th>the groups furthest apart</th></tr>"
    note = (
        "<p class='note'>The largest difference and the least ratio of two groups; the intervals allow for having looked at every "
        "pair. No model can meet all of these criteria where the groups differ in truth: choose the one that your case asks for.</p>"
    )
    return f"<div class='scroll'><table>{head}{''.join(lines)}</table></div>{note}"


def _value(found: Interval) -> str:
    if not np.isfinite(found.value):
        return "–"
    ends = f"<br><small>{figure(found.low, 3)} to {figure(found.high, 3)}</small>" if found.known else ""
    return f"{figure(found.value, 3)}{ends}"


def _calibration(found: Fairness, rows: Rows, groups: Groups) -> str:
    """The observed share at each predicted probability, a line a group; the largest groups."""
    judged = {each.name for each in found.groups if each.judged}
    sizes = np.bincount(groups.codes, minlength=len(groups.names))
    order = [int(code) for code in np.argsort(-sizes, kind="stable") if groups.names[int(code)] in judged]
    with Panel("Calibration of each group") as (panel, axes):
        axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls=":")
        for code, (colour, style) in zip(order, _LINES, strict=False):
            own = rows.take(np.flatnonzero(groups.codes == code))
            curve = calibration(*own.event, bins=10)
            enough = curve.count >= 10
            axes.plot(
                curve.predicted[enough], curve.observed[enough], color=colour, ls=style, marker="o", ms=3.5,
                label=short(groups.names[code], 16),
            )  # fmt: skip
        axes.legend(fontsize=7)
        axes.set(xlabel="predicted probability", ylabel="observed share", xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))
    return panel.svg


def trade_section(found: TradeOff) -> tuple[str, str]:
    """The title and the HTML of what it costs to bring groups closer by thresholds of their own: a curve and its table."""
    known = [each for each in found.points if np.isfinite(each.gap.value)]
    with Panel("Accuracy against the difference", width=4.6, height=3.2) as (panel, axes):
        curve = sorted((each for each in known if each.allowed is not None), key=lambda each: each.gap.value)
        axes.plot(
            [each.gap.value for each in curve],
            [each.accuracy.value for each in curve],
            color=BLUE, marker="o", ms=4, label="this model, other thresholds",
        )  # fmt: skip
        for each in known:
            if each.allowed is None:
                axes.errorbar(
                    each.gap.value, each.accuracy.value,
                    xerr=_reach(each.gap), yerr=_reach(each.accuracy),
                    color=ORANGE, marker="s", ms=6, lw=1, label="the model as it is",
                )  # fmt: skip
        axes.set(xlabel=f"difference by {found.label}", ylabel="accuracy")
        axes.legend(fontsize=7, loc="lower right")
    lines = []
    for each in found.points:
        allowed = "the model as it is" if each.allowed is None else f"at most {figure(each.allowed, 3)}"
        lines.append(
            f"<tr><td>{allowed}</td><td class='n'>{_value(each.accuracy)}</td><td class='n'>{_value(each.gap)}</td></tr>"
        )
    head = f"<tr><th>allowed</th><th class='n'>accuracy</th><th class='n'>difference by {found.label}</th></tr>"
    note = (
        "<p class='note'>Thresholds are chosen on rows that were not learnt from, and measured on the test rows. They need to know the "
        "group of each new row, and treat rows of different groups differently: whether that is allowed is a question of law. "
        "fairness.mitigate=thresholds builds them in. The curve is of one trained model: fairness.mitigate=reweigh and =penalty train "
        "another, whose point is not on it; danlu compare puts such runs beside each other.</p>"
    )
    figures = f"<div class='figures'><div>{panel.svg}</div><div class='scroll'><table>{head}{''.join(lines)}</table></div></div>"
    return f"What closer groups cost: {found.column}", figures + note


def _reach(found: Interval) -> Any:
    return [[found.value - found.low], [found.high - found.value]] if found.known else None
