"""The plots of a report, as SVG text: readable with colour blindness and on a phone."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from danlu.evaluate import Interval, Rows, calibration
from danlu.evaluate.decomposition import BINS
from danlu.evaluate.diagrams import along
from danlu.evaluate.intervals import binomial, figure
from danlu.prose import percent
from danlu.report.svg import BLUE, GREY, INK, ORANGE, Panel, short

__all__ = [
    "calibration_plot",
    "confusion_plot",
    "curves_plot",
    "interval_plot",
    "ranking_plot",
    "rate_plot",
    "residual_plot",
]

_MOST_POINTS = 1500
_MOST_VERTICES = 400
_TOLD = 300  # points of a scatter that are told one by one
_SHARE = (-0.02, 1.02)
_MEMBERS = 20  # networks whose curves are drawn one by one
_TALLEST = 0.25  # of the bars of counts


def curves_plot(history: Sequence[Mapping[str, Any]], best_epoch: int | None) -> list[str]:
    """Loss, the measure watched, and learning rate over the epochs; the best epoch (from 0) is marked.

    Returns:
        A panel each; none for an empty history.
    """
    rows = [row for row in history if isinstance(row.get("loss"), int | float)]
    if not rows:
        return []
    measures = sorted(
        name[4:]
        for name in rows[0]
        if name.startswith("val_") and name not in ("val_loss", "val_") and not name.endswith("_each")
    )
    names = [
        "loss",
        *[name for name in measures if name in rows[0]][:1],
        *["learning_rate"] * ("learning_rate" in rows[0]),
    ]
    first = {
        0,
        *[place for place, name in enumerate(names) if f"val_{name}" in rows[0]][:1],
    }  # to show each of the lines
    return [_curve(rows, name, best_epoch, legend=place in first) for place, name in enumerate(names)]


def _curve(rows: Sequence[Mapping[str, Any]], name: str, best_epoch: int | None, *, legend: bool) -> str:
    epochs = [row["epoch"] + 1 for row in rows]
    mark = "o" if len(rows) < 3 else ""

    def values(column: str) -> list[float]:
        return [math.nan if row.get(column) is None else float(row[column]) for row in rows]

    with Panel(name.replace("_", " ").capitalize()) as (panel, axes):
        for column, said, colour, style in ((name, "training", BLUE, "-"), (f"val_{name}", "validation", ORANGE, "--")):
            if column not in rows[0]:
                continue
            for own in _each(rows, column):
                panel.series(
                    "each network", *axes.plot(epochs, own, color=colour, ls=style, lw=0.7, alpha=0.4, label="_")
                )
            lines = axes.plot(epochs, values(column), color=colour, ls=style, label=said, marker=mark, ms=4)
            if f"val_{name}" in rows[0]:
                panel.series(said, *lines)
            panel.tips(epochs, values(column), f"{said}, epoch")
        if best_epoch is not None and best_epoch >= 0:
            axes.axvline(best_epoch + 1, color=GREY, lw=1, ls=":", label=f"best (epoch {best_epoch + 1})")
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        if legend:
            axes.legend(fontsize=8)
    return panel.svg


def _each(rows: Sequence[Mapping[str, Any]], column: str) -> list[list[float]]:
    """The column of each member of a population, where the history has it."""
    told = [row.get(f"{column}_each") or [] for row in rows]
    if {len(each) for each in told} != {len(told[0])} or not 1 < len(told[0]) <= _MEMBERS:
        return []
    return np.asarray(told, np.float64).T.tolist()


def confusion_plot(rows: Rows, classes: Sequence[str]) -> str:
    """Counts of true against predicted classes, shaded by the share of the true class; up to 20 classes with numbers."""
    counts = rows.confusion()
    size = len(counts)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    longest = max((len(short(name, 14)) for name in classes), default=1)
    width = 3.35 if size <= 4 else min(2.0 + 0.07 * longest + 0.36 * size, 10.4)
    height = 2.7 if size <= 4 else min(1.6 + 0.07 * longest + 0.26 * size, 9.0)
    with Panel("Confusion matrix", width=width, height=height) as (panel, axes):
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        if size <= 20:
            for i, j in np.ndindex(size, size):
                if counts[i, j] or size <= 6:
                    colour = "white" if shares[i, j] > 0.5 else INK
                    text = f"{counts[i, j]:,.0f}" + (f"\n{percent(shares[i, j])}" if size <= 3 else "")
                    axes.text(j, i, text, ha="center", va="center", color=colour, fontsize=8)
        if size <= 40:
            names = [short(name, 14) for name in classes] if len(classes) == size else range(size)
            small = 8 if size <= 20 else 7
            turned = size > 6 or (size > 3 and longest > 6)
            axes.set_xticks(range(size), names, rotation=90 if turned else 0, fontsize=small)
            axes.set_yticks(range(size), names, fontsize=small)
        axes.set(xlabel="predicted class", ylabel="true class")
    return panel.svg


def ranking_plot(rows: Rows) -> list[str]:
    """ROC and precision-recall curve of the second of two classes, with the decision threshold; none without both."""
    positive = rows.truth == 1
    if rows.task != "binary" or positive.all() or not positive.any():
        return []
    ranking = rows.rankings[0]
    alarms, recall, precision = ranking.curves()
    at = int(np.searchsorted(-ranking.score, -np.mean(rows.threshold), side="right")) - 1
    mark = {"marker": "o", "color": ORANGE, "ls": "", "zorder": 3}
    label = f"threshold {np.mean(rows.threshold):.2g}"
    seen = along(alarms, recall, _MOST_VERTICES)
    with Panel("ROC curve") as (left, axes):
        axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls=":")
        axes.plot([0, *alarms[seen]], [0, *recall[seen]], color=BLUE)
        if at >= 0:
            axes.plot(alarms[at], recall[at], label=label, **mark)
            axes.legend(loc="lower right", fontsize=8)
        some = _some(seen)
        told = [
            f"threshold {score:.3g}: of the class {percent(up, 1)} found, of the others {percent(across, 1)} taken for it"
            for score, up, across in zip(ranking.score[some], recall[some], alarms[some], strict=True)
        ]
        left.told(alarms[some].tolist(), recall[some].tolist(), told)
        axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=_SHARE, ylim=_SHARE)
    seen = along(recall, precision, _MOST_VERTICES)
    with Panel("Precision and recall") as (right, axes):
        axes.axhline(positive.mean(), color=GREY, lw=1, ls=":")
        axes.step([0, *recall[seen]], [precision[0], *precision[seen]], color=BLUE, where="pre")
        if at >= 0:
            axes.plot(recall[at], precision[at], label=label, **mark)
        axes.set(xlabel="recall", ylabel="precision", xlim=_SHARE, ylim=_SHARE)
        some = _some(seen)
        told = [
            f"threshold {score:.3g}: of the class {percent(across, 1)} found, {percent(up, 1)} of what is taken for it is right"
            for score, up, across in zip(ranking.score[some], precision[some], recall[some], strict=True)
        ]
        right.told(recall[some].tolist(), precision[some].tolist(), told)
    return [left.svg, right.svg]


def _some(places: np.ndarray) -> np.ndarray:
    """At most 80 of some places."""
    return places[:: -(-len(places) // 80)]


def calibration_plot(rows: Rows) -> str:
    """How often an event occurs where it is predicted with a given probability, above the number of rows in each bin.

    The event is the second of two classes; of several classes, that the most probable one is the true one. A line from each point
    spans the shares that the bin's true one may be (95 %, binomial).
    """
    if rows.task == "binary":
        across, up = "predicted probability", "observed share"
    else:
        across, up = "probability of the most probable class", "share that is right"
    found = calibration(*rows.event, bins=BINS)
    low, high = binomial(found.observed * found.count, found.count, 0.95)
    with Panel(f"Calibration (ECE {found.error:.3f})") as (panel, axes):
        centres = (np.minimum((found.predicted * BINS).astype(int), BINS - 1) + 0.5) / BINS
        tall = _TALLEST * found.count / found.count.max()
        axes.bar(centres, tall, width=0.9 / BINS, color=GREY, alpha=0.35)
        for centre, height, count in zip(centres, tall, found.count, strict=True):
            axes.text(centre, height + 0.01, short_count(int(count)), ha="center", va="bottom", fontsize=6, color=INK)
        axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls=":")
        axes.vlines(found.predicted, low, high, color=BLUE, lw=1, alpha=0.6)
        axes.plot(found.predicted, found.observed, color=BLUE, lw=1, marker="o", ms=4)
        told = [
            f"{count:,} rows with a probability of {percent(said, 1)} on average: {percent(true, 1)} came true "
            f"({percent(start, 1)} to {percent(end, 1)})"
            for count, said, true, start, end in zip(
                found.count, found.predicted, found.observed, low, high, strict=True
            )
        ]
        panel.told(found.predicted.tolist(), found.observed.tolist(), told)
        axes.set(xlabel=f"{across}\n(bars: how many rows)", ylabel=up, xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))
    return panel.svg


def short_count(count: int) -> str:
    """A number of rows in at most four letters.

    >>> short_count(950), short_count(12_300), short_count(4_500_000)
    ('950', '12k', '4.5M')
    """
    if count < 1000:
        return str(count)
    small = count / 1000 if count < 999_500 else count / 1e6
    return (
        f"{small:.0f}{'k' if count < 999_500 else 'M'}"
        if small >= 9.95
        else f"{small:.1f}{'k' if count < 999_500 else 'M'}"
    )


def residual_plot(rows: Rows, name: str) -> list[str]:
    """Predicted against true values, errors against predictions, and the errors' distribution.

    At most 1,500 points are drawn; the distribution counts every row, those beyond 99 % in its outermost bars.
    """
    chosen = np.arange(len(rows))
    if len(chosen) > _MOST_POINTS:
        chosen = np.random.default_rng(0).choice(len(chosen), _MOST_POINTS, replace=False)
    dots = {"s": 7, "alpha": 0.35, "color": BLUE, "linewidths": 0}
    truth, prediction, error = rows.truth[chosen], rows.prediction[chosen], rows.error
    with Panel("Predicted against true") as (first, axes):
        ends = [min(truth.min(), prediction.min()), max(truth.max(), prediction.max())]
        axes.plot(ends, ends, color=GREY, lw=1, ls=":")
        shown = axes.scatter(truth, prediction, **dots)
        if len(chosen) <= _TOLD:
            first.says(
                shown, [f"true {figure(t)}, predicted {figure(p)}" for t, p in zip(truth, prediction, strict=True)]
            )
        axes.set(xlabel=f"true {short(name, 30)}", ylabel="predicted")
    with Panel("Error against prediction") as (second, axes):
        axes.axhline(0, color=GREY, lw=1, ls=":")
        axes.scatter(prediction, error[chosen], **dots)
        axes.set(xlabel=f"predicted {short(name, 26)}", ylabel="predicted − true")
    low, high = np.quantile(error, [0.005, 0.995])
    with Panel("Distribution of the errors") as (third, axes):
        axes.hist(np.clip(error, low, high), bins=40 if high > low else 1, color=BLUE)
        axes.axvline(0, color=INK, lw=1, ls=":")
        axes.set(xlabel="predicted − true\n(the outer bars include all values beyond them)", ylabel="rows")
    return [first.svg, second.svg, third.svg]


def interval_plot(intervals: Mapping[str, Interval], label: str) -> str:
    """One measure of several models with its intervals; the first model is ours.

    A model far from the others (the most common class, say) is an arrow at the edge, so that the others can be told apart.
    """
    low, high = _window(list(intervals.values()))
    with Panel(f"{label}, with 95 % intervals", width=4.4, height=0.95 + 0.33 * len(intervals)) as (panel, axes):
        for place, interval in enumerate(intervals.values()):
            colour = ORANGE if place == 0 else GREY
            if not low <= interval.value <= high:
                end, sign, side = (low, "◂", "left") if interval.value < low else (high, "▸", "right")
                shown = figure(interval.value, 3)
                text = f"{sign} {shown}" if side == "left" else f"{shown} {sign}"
                axes.text(end, place, text, ha=side, va="center", color="#59636e", fontsize=8)
                continue
            if all(map(math.isfinite, (interval.low, interval.high))):
                axes.plot([interval.low, interval.high], [place, place], color=colour, lw=2.5, solid_capstyle="round")
            axes.plot(interval.value, place, "o", color=colour, ms=6)
        panel.told(
            [min(max(each.value, low), high) for each in intervals.values()],
            list(range(len(intervals))),
            [f"{name}: {figure(each.value)} ({each.between})" for name, each in intervals.items()],
            size=10,
        )
        axes.set_yticks(range(len(intervals)), [textwrap.fill(short(name, 44), 24) for name in intervals])
        axes.set(xlim=(low, high), ylim=(len(intervals) - 0.5, -0.5))
        axes.locator_params(axis="x", nbins=4)  # beside long names there is room for few
        axes.grid(visible=False, axis="y")
    return panel.svg


def rate_plot(rates: Mapping[str, Interval], label: str) -> str:
    """A rate of several groups with its intervals."""
    with Panel(label, height=0.8 + 0.27 * len(rates)) as (panel, axes):
        for place, rate in enumerate(rates.values()):
            if rate.known:
                axes.plot([rate.low, rate.high], [place, place], color=BLUE, lw=2.5, solid_capstyle="round", alpha=0.5)
            axes.plot(rate.value, place, "o", color=BLUE, ms=5)
        axes.set_yticks(range(len(rates)), [short(name, 20) for name in rates])
        axes.set_ylim(len(rates) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
    return panel.svg


def _window(intervals: Sequence[Interval]) -> tuple[float, float]:
    """The stretch to show: all intervals, but those far from ours when there are nearer ones."""

    def ends(of: Interval) -> tuple[float, float]:
        return (of.low, of.high) if math.isfinite(of.low) and math.isfinite(of.high) else (of.value, of.value)

    (low, high), *others = [ends(each) for each in intervals]
    if not any(each.known for each in intervals):  # nothing says what is far
        low, high = min(low, *(pair[0] for pair in others)), max(high, *(pair[1] for pair in others))
    others.sort(key=lambda pair: max(low - pair[1], pair[0] - high))
    for place, (start, end) in enumerate(others):
        far = max(low - end, start - high)
        if place and far > 2.5 * max(high - low, 1e-12):
            break
        low, high = min(low, start), max(high, end)
    room = max(0.06 * (high - low), 0.001 * abs(high)) if high > low else 0.05 * abs(high) or 0.05
    return low - room, high + room
