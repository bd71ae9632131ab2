"""The part of a report about segments: a map of the rows, what each segment is like, and how their number was chosen."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np

from danlu.report.samples import decimals
from danlu.report.svg import Panel

__all__ = ["segment_sections"]

_POINTS = 1500
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8a8f98", "#000000")


def segment_sections(
    told: Sequence[Any], codes: np.ndarray, labels: np.ndarray, tried: np.ndarray, said: str
) -> list[tuple[str, str]]:
    """The sections.

    Args:
        told: each segment in words, as :class:`~danlu.segments.Described` has it.
        codes: of training rows ``(rows, codes)``.
        labels: their segments.
        tried: each number that was tried, its prediction strength, and the chance of rows without segments ``(numbers, 3)``.
        said: how many there are, and why.
    """
    note = f"<p>{html.escape(said)}</p>"
    return [
        ("Segments", note + _table(told)),
        ("Map", _map(codes, labels, len(told))),
        ("How many segments", _tried(tried)),
    ]


def _table(told: Sequence[Any]) -> str:
    target = any(each.target for each in told)
    head = "<tr><th>segment</th><th class='n'>rows</th><th>differs from all others</th><th>rule</th>"
    head += "<th>target</th></tr>" if target else "</tr>"
    lines = []
    for each in told:
        cells = ["<br>".join(map(html.escape, each.differs)) or "–", html.escape(each.ruled) or "–"]
        cells += [html.escape(each.target)] if target else []
        rest = "".join(f"<td translate='no'>{cell}</td>" for cell in cells)
        lines.append(f"<tr><td>{each.number}</td><td class='n'>{each.share:.1%}</td>{rest}</tr>")
    legend = (
        "<p class='note'>Means and shares of training rows, with intervals of 95 %. A rule is made from training rows, and how often "
        "it is right is counted on validation rows. A target is not used to divide rows.</p>"
    )
    return f"<div class='scroll'><table>{head}{''.join(lines)}</table></div>{legend}"


def _map(codes: np.ndarray, labels: np.ndarray, count: int) -> str:
    """The rows in the two directions in which their codes are spread the most."""
    centred = codes - codes.mean(axis=0)
    _, size, directions = np.linalg.svd(centred, full_matrices=False)
    flat = centred @ directions[:2].T
    if flat.shape[1] == 1:
        flat = np.column_stack([flat, np.zeros(len(flat))])
    shown = np.random.default_rng(0).permutation(len(flat))[:_POINTS]
    with Panel("rows by their codes") as (panel, axes):
        for each in range(count):
            own = shown[labels[shown] == each]
            axes.scatter(
                *flat[own].T, s=6, alpha=0.6, linewidths=0, color=_COLOURS[each % len(_COLOURS)], label=f"{each + 1}"
            )
        axes.set(xlabel="first direction of the codes", ylabel="second")
        if count > 1:
            axes.legend(title="segment", fontsize=7, markerscale=2)
    share = float(np.square(size[:2]).sum() / max(np.square(size).sum(), 1e-12))
    note = (
        f"<p class='note'>These two directions hold {share:.0%} of the spread of the codes; segments that lie over each other here "
        "may be apart in others.</p>"
    )
    return panel.svg + note


def _tried(tried: np.ndarray) -> str:
    head = "<tr><th class='n'>segments</th><th class='n'>prediction strength</th><th class='n'>chance without segments</th></tr>"
    lines = [
        f"<tr><td class='n'>{int(k)}</td><td class='n'>{decimals(strength)}</td>"
        f"<td class='n'>{'–' if chance < 0 else decimals(chance)}</td></tr>"
        for k, strength, chance in tried
    ]
    legend = (
        "<p class='note'>Prediction strength: of the pairs of rows that one half of the rows puts together, the share that the other "
        "half puts together too, in the segment where that is least; 0.8 or more is expected. The chance that rows without "
        "segments, whose columns are spread alike, divide as clearly is asked of numbers that have it, from the largest on, until "
        "one is at most 0.01.</p>"
    )
    return f"<div class='scroll'><table>{head}{''.join(lines)}</table></div>{legend}"
