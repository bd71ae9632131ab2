"""The report's part on what a compressed model costs and what it is worth, beside the one that it was made of."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Sequence

from danlu.evaluate.intervals import Interval, figure
from danlu.report.svg import BLUE, GREY, ORANGE, Panel

__all__ = ["Point", "receipts_section"]

_WIDTH, _HEIGHT = 4.6, 3.4


@dataclasses.dataclass(frozen=True)
class Point:
    """A model in the plot.

    Attributes:
        name: what was done.
        bytes: on disk.
        score: on the test rows, with its interval.
        time: milliseconds of one row, with the quartiles; None where it was not measured beside the others.
        here: whether it is of this run, and not of another compression of the same model.
    """

    name: str
    bytes: int
    score: Interval
    time: Interval | None = None
    here: bool = True


def receipts_section(
    names: Sequence[str],
    lines: Sequence[tuple[str, Sequence[str]]],
    changes: Sequence[str],
    notes: Sequence[str],
    points: Sequence[Point],
    *,
    label: str,
    higher: bool,
    timed: str,
) -> tuple[str, str]:
    """The title and the HTML: what changed, the table, and how size and time go with the score.

    Args:
        names: of the stages, the model before first.
        lines: what was measured, with its values by stage.
        changes: what the last stage is beside the first, in sentences.
        notes: how it was measured.
        points: of the plots; empty without test rows.
        label: of the measure.
        higher: whether a higher value of it is better.
        timed: what answered in ``time``, such as ``"onnxruntime"``.
    """
    said = "".join(f"<li>{html.escape(each)}</li>" for each in changes)
    head = "".join(
        f"<th class='n' translate='no'>{place}: {html.escape(name)}</th>" for place, name in enumerate(names, 1)
    )
    body = "".join(
        f"<tr><td>{html.escape(what)}</td>"
        + "".join(f"<td class='n'>{html.escape(value)}</td>" for value in values)
        + "</tr>"
        for what, values in lines
    )
    figures = ""
    if points:
        better = "higher" if higher else "lower"
        panels = [_panel(f"Size and {label}", points, label, timed="")]
        if sum(point.time is not None for point in points) > 1:
            panels.append(_panel(f"Time of one row and {label}", points, label, timed=timed))
        figures = f"<div class='figures'>{''.join(f'<div>{panel}</div>' for panel in panels)}</div>"
        figures += (
            f"<p class='note'>Further left is smaller or quicker, {better} is better. Upright lines: 95 % intervals of the score on "
            "the test rows; where two overlap, the paired comparison above can tell more. Lines across: the middle half of the times. "
            "A model that is worse on both sides than another one is not worth keeping. Grey: other compressions of the same model.</p>"
        )
    told = "".join(f"<p class='note'>{html.escape(note)}</p>" for note in notes)
    return (
        "What it costs, before and after",
        f"<ul>{said}</ul>{figures}<div class='scroll'><table class='measures'><tr><th></th>{head}</tr>{body}</table></div>{told}",
    )


def _panel(title: str, points: Sequence[Point], label: str, *, timed: str) -> str:
    """Score against size, or against time where ``timed`` says in what."""
    shown = [point for point in points if not timed or point.time is not None]
    with Panel(title, width=_WIDTH, height=_HEIGHT) as (panel, axes):
        places = []
        for number, point in enumerate(shown):
            x = point.time.value if timed and point.time is not None else point.bytes / 1000
            places.append(x)
            colour = GREY if not point.here else BLUE if number == 0 else ORANGE
            if point.score.known:
                axes.plot([x, x], [point.score.low, point.score.high], color=colour, lw=2, alpha=0.5)
            if timed and point.time is not None:
                axes.plot([point.time.low, point.time.high], [point.score.value] * 2, color=colour, lw=2, alpha=0.5)
            axes.plot(x, point.score.value, "o", color=colour, ms=6)
            if point.here:
                name = str(number + 1) if number else f"1, {point.name}"
                where = {"xytext": (5, 6), "textcoords": "offset points"}
                axes.annotate(name, (x, point.score.value), **where, fontsize=9, color=colour)
        axes.set_xscale("log")
        low, high = min(places), max(places)
        axes.set_xlim(low / 1.6, high * 2)
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

        axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5), numticks=8))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(f"ms in {timed}" if timed else "kB on disk")
        axes.set_ylabel(label)
        panel.told(
            places,
            [point.score.value for point in shown],
            [
                f"{point.name}: {x:.3g} {'ms' if timed else 'kB'}, {label} {_ends(point.score)}"
                for point, x in zip(shown, places, strict=True)
            ],
            size=10,
        )
    return panel.svg


def _ends(score: Interval) -> str:
    return (
        f"{figure(score.value)} ({figure(score.low, 3)} to {figure(score.high, 3)})"
        if score.known
        else figure(score.value)
    )
