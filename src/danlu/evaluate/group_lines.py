"""What rows tell of groups, as lines of a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from danlu.evaluate.fairness import CRITERIA, Fairness, Gap, Group
from danlu.evaluate.group_thresholds import TradeOff
from danlu.evaluate.intervals import Interval, figure
from danlu.prose import WIDTH, padded, short, wide, wrapped

__all__ = ["RATES", "fairness_lines", "fairness_of", "gap_words", "rate_figure", "trade_lines"]

RATES: Mapping[str, str] = {
    "accuracy": "accuracy",
    "base": "share in truth",
    "selected": "selection rate",
    "true_positive": "true-positive rate",
    "false_positive": "false-positive rate",
    "precision": "precision",
    "bias": "bias",
    "mean": "mean prediction",
    "truth": "mean truth",
    "absolute_error": "mean absolute error",
}
"""How the rates of a group are printed."""
_SHOWN = {
    "binary": (("base", "selected", "accuracy"), ("true_positive", "false_positive", "precision"), ("bias",)),
    "multiclass": (("accuracy",),),
    "regression": (("truth", "mean"), ("bias", "absolute_error")),
}
_MOST = 12  # groups that are shown


def rate_figure(rate: Interval, *, percent: bool) -> str:
    """A rate with its interval, short: shares in percent.

    >>> rate_figure(Interval(0.25, 0.24, 0.263), percent=True), rate_figure(Interval(-1.5, -2.0, -1.25), percent=False)
    ('25.0 (24.0–26.3)', '−1.5 (−2 to −1.25)')
    """
    values = (rate.value, rate.low, rate.high)
    shown = [f"{100 * value:.1f}".replace("-", "−") if percent else figure(value, 3) for value in values]
    if not rate.known:
        return shown[0]
    return f"{shown[0]} ({shown[1]}{' to ' if '−' in shown[1] else '–'}{shown[2]})"


def gap_words(gap: Gap, task: str, *, classes: int = 2) -> str:
    """A gap in a sentence: the difference, the ratio, and which groups are the furthest apart."""
    label = next(each.label for each in CRITERIA[task] if each.name == gap.criterion)
    share = task != "regression"
    parts = [f"difference {gap.difference.brief}"]
    if gap.ratio is not None and np.isfinite(gap.ratio.value):
        parts.append(f"ratio {gap.ratio.brief}")
    of = f" of {gap.of!r}" if gap.of and classes > 1 else ""
    high, low = (f"{100 * value:.1f} %" if share else figure(value, 3) for value in gap.values)
    if share:
        high, low = high.replace("-", "−"), low.replace("-", "−")
    chance = "" if gap.told else "; it may be chance"
    return f"{label}: {', '.join(parts)}; {RATES[gap.rate]}{of}: {gap.high} {high}, {gap.low} {low}{chance}"


def fairness_lines(found: Fairness) -> list[str]:
    """A table of the groups with their rates and intervals, then how far they are apart by each criterion, in 80 columns."""
    of = found.classes[0] if found.task == "binary" and found.classes else ""
    head = f"By {found.column}" + (f": rates of {of!r}" if of else "")
    lines = [f"{head}{', in percent' if found.task != 'regression' else ''}, with 95 % intervals"]
    judged = [each for each in found.groups if each.judged] or list(found.groups)
    shown = sorted(judged, key=lambda each: -each.rows)[:_MOST] if len(judged) > _MOST else judged
    for names in _SHOWN[found.task]:
        lines += _table(shown, names, of, percent=found.task != "regression")
    if len(shown) < len(judged):
        rest = len(judged) - len(shown)
        lines.append(f"  and {rest} smaller group{'' if rest == 1 else 's'}")
    lines += [
        wrapped(f"  {gap_words(gap, found.task, classes=len(found.classes))}", indent="    ") for gap in found.gaps
    ]
    return lines + [wrapped(f"  note: {note}", indent="    ") for note in found.notes]


def trade_lines(found: TradeOff) -> list[str]:
    """What thresholds of the groups cost, a line for each difference that was allowed, in 80 columns."""
    lines = [
        wrapped(f"With a threshold for each group of {found.column}, chosen on rows not learnt from, these rows give:")
    ]
    rows = [("allowed", "accuracy", f"difference by {found.label}")]
    for each in found.points:
        allowed = "the model as it is" if each.allowed is None else f"at most {figure(each.allowed, 3)}"
        rows.append((allowed, each.accuracy.brief, each.gap.brief))
    widths = [max(map(wide, column)) for column in zip(*rows, strict=True)]
    return lines + [
        "  " + "  ".join(padded(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _table(groups: Sequence[Group], names: Sequence[str], of: str, *, percent: bool) -> list[str]:
    """A line a group, with some of its rates; the names of the groups give way where there is no room."""
    heads = ["rows", *(RATES[name] for name in names)]
    rows = []
    for each in groups:
        rates = [each.rates.get(of if name in each.rates.get(of, {}) else "", {}).get(name) for name in names]
        cells = ["–" if rate is None else rate_figure(rate, percent=percent) for rate in rates]
        rows.append([f"{each.rows:,}", *cells])
    widths = [max(map(wide, column)) for column in zip(heads, *rows, strict=True)]
    room = max(WIDTH - 2 - sum(widths) - 2 * len(widths), 8)
    named = [short(each.name, room) for each in groups]
    first = max(map(wide, named))
    lines = []
    for name, cells in zip(["", *named], [heads, *rows], strict=True):
        shown = "".join(f"  {padded(cell, width, right=True)}" for cell, width in zip(cells, widths, strict=True))
        lines.append(f"  {padded(name, first)}{shown}")
    return lines


def fairness_of(data: Mapping[str, Any]) -> Fairness:
    """The inverse of :meth:`Fairness.as_dict <danlu.evaluate.fairness.Fairness.as_dict>`."""

    def interval(found: Mapping[str, Any] | None) -> Any:
        if found is None:
            return None
        values = [float("nan") if each is None else float(each) for each in (found["value"], *found["interval"])]
        return Interval(*values)

    groups = tuple(
        Group(
            each["name"],
            each["rows"],
            {of: {name: interval(rate) for name, rate in own.items()} for of, own in each["rates"].items()},
            {name: interval(score) for name, score in each["scores"].items()},
            each["compared"],
        )
        for each in data["groups"]
    )
    gaps = tuple(
        Gap(
            **{
                **each,
                "difference": interval(each["difference"]),
                "ratio": interval(each["ratio"]),
                "values": tuple(each["values"]),
            }
        )
        for each in data["gaps"]
    )
    classes, notes = tuple(data["classes"]), tuple(data["notes"])
    return Fairness(data["column"], data["task"], groups, gaps, data["smallest"], classes, notes)
