"""Plots as SVG text: no window, no global state, readable by everyone whatever they see of colours."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from danlu.evaluate import Interval, Rows, calibration

__all__ = ["calibration_plot", "confusion_plot", "curves_plot", "interval_plot", "ranking_plot", "residual_plot"]

# Okabe & Ito, "Color universal design" (2008).
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#8a8f98"
_MOST_POINTS = 1500
_STYLE: dict[str, Any] = {
    "font.size": 9,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#b6bac2",
    "axes.labelcolor": "#3c4149",
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "xtick.color": "#3c4149",
    "ytick.color": "#3c4149",
    "grid.color": "#e8eaee",
    "axes.grid": True,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "danlu",
}


class _Drawing:
    """A row of axes that becomes SVG text at the end of the ``with`` block."""

    def __init__(self, panels: int, *, width: float = 3.9, height: float = 3.0) -> None:
        self._size, self._panels = (width * panels, height), panels
        self.svg = ""

    def __enter__(self) -> tuple[_Drawing, list[Any]]:
        import matplotlib
        from matplotlib.figure import Figure

        self._context = matplotlib.rc_context(_STYLE)  # type: ignore[arg-type]
        self._context.__enter__()
        self._figure = Figure(figsize=self._size, layout="constrained")
        return self, list(np.atleast_1d(self._figure.subplots(1, self._panels)))

    def __exit__(self, *raised: Any) -> None:
        try:
            if raised[0] is None:
                buffer = io.StringIO()
                with warnings.catch_warnings():  # letters that the layout's font lacks; the browser has them
                    warnings.simplefilter("ignore")
                    self._figure.savefig(buffer, format="svg", metadata={"Date": None})
                text = buffer.getvalue()
                self.svg = text[text.index("<svg") :]
        finally:
            self._context.__exit__(*raised)


def _short(text: Any, width: int = 18) -> str:
    text = str(text).replace("$", r"\$")
    return text if len(text) <= width else text[: width - 1] + "…"


def curves_plot(history: Sequence[Mapping[str, Any]], best_epoch: int | None) -> str:
    """Loss, and the measure watched, over the epochs; the best epoch is marked."""
    rows = [row for row in history if "loss" in row]
    names = [name[4:] for name in (rows[0] if rows else {}) if name.startswith("val_") and name[4:] in rows[0]]
    names = names or [name for name in ("loss",) if rows and name in rows[0]]
    names = sorted(names, key=lambda name: name != "loss")[:2]
    if not names:
        return ""
    epochs = [row["epoch"] + 1 for row in rows]
    with _Drawing(len(names)) as (drawing, panels):
        for axes, name in zip(panels, names, strict=True):
            axes.plot(
                epochs, [row[name] for row in rows], color=BLUE, label="training", marker="." if len(rows) < 3 else ""
            )
            if f"val_{name}" in rows[0]:
                axes.plot(epochs, [row[f"val_{name}"] for row in rows], color=ORANGE, ls="--", label="validation")
            if best_epoch is not None and best_epoch >= 0:
                axes.axvline(best_epoch + 1, color=GREY, lw=1, ls=":", label=f"best (epoch {best_epoch + 1})")
            axes.set_title(name.replace("_", " "))
            axes.set_xlabel("epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
        panels[0].legend()
    return drawing.svg


def confusion_plot(rows: Rows, classes: Sequence[str]) -> str:
    """Counts of true against predicted classes, shaded by the share of the true class; at most 20 classes are named."""
    counts = rows.confusion()
    size = len(counts)
    with _Drawing(1, width=min(3.2 + 0.35 * size, 9), height=min(2.6 + 0.3 * size, 8)) as (drawing, (axes,)):
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axes.grid(visible=False)
        if size <= 20:
            for i in range(size):
                for j in range(size):
                    if counts[i, j] or size <= 6:
                        colour = "white" if shares[i, j] > 0.5 else "#24292f"
                        axes.text(j, i, f"{counts[i, j]:.0f}", ha="center", va="center", color=colour, fontsize=8)
        if size <= 30:
            names = [_short(name, 14) for name in classes]
            axes.set_xticks(range(size), names, rotation=90 if size > 6 else 0)
            axes.set_yticks(range(size), names)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        axes.set_title("Confusion matrix")
    return drawing.svg


def ranking_plot(rows: Rows) -> str:
    """ROC and precision-recall curve of the second of two classes, with the decision threshold."""
    positive, score = rows.truth == 1, rows.prediction[:, 1]
    if positive.all() or not positive.any():
        return ""
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.concatenate([np.diff(score[order]) != 0, [True]]))
    hits, calls = np.cumsum(positive[order])[last], last + 1
    recall, precision = hits / positive.sum(), hits / calls
    alarms = (calls - hits) / (~positive).sum()
    at = int(np.searchsorted(-score[order][last], -rows.threshold, side="right")) - 1
    with _Drawing(2) as (drawing, (left, right)):
        left.plot([0, *alarms], [0, *recall], color=BLUE)
        left.plot([0, 1], [0, 1], color=GREY, lw=1, ls=":")
        right.step([0, *recall], [precision[0], *precision], color=BLUE, where="pre")
        right.axhline(positive.mean(), color=GREY, lw=1, ls=":")
        if at >= 0:
            left.plot(alarms[at], recall[at], "o", color=ORANGE, label=f"threshold {rows.threshold:.2g}")
            right.plot(recall[at], precision[at], "o", color=ORANGE)
            left.legend(loc="lower right")
        left.set(
            title="ROC",
            xlabel="false positive rate",
            ylabel="true positive rate",
            xlim=(-0.02, 1.02),
            ylim=(-0.02, 1.02),
        )
        right.set(
            title="Precision and recall", xlabel="recall", ylabel="precision", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02)
        )
    return drawing.svg


def calibration_plot(rows: Rows) -> str:
    """How often the second of two classes occurs where it is predicted with a given probability."""
    found = calibration(rows.truth, rows.prediction[:, 1])
    with _Drawing(1) as (drawing, (axes,)):
        axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls=":")
        axes.plot(found.predicted, found.observed, color=BLUE, marker="o", ms=4)
        title = f"Calibration (expected error {found.error:.3f})"
        axes.set(
            title=title, xlabel="predicted probability", ylabel="observed share", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02)
        )
    return drawing.svg


def residual_plot(rows: Rows, name: str) -> str:
    """Predicted against true values, and the errors' distribution."""
    chosen = np.arange(len(rows.truth))
    if len(chosen) > _MOST_POINTS:
        chosen = np.random.default_rng(0).choice(len(chosen), _MOST_POINTS, replace=False)
    error = rows.prediction - rows.truth
    with _Drawing(2) as (drawing, (left, right)):
        both = np.concatenate([rows.truth, rows.prediction])
        ends = [both.min(), both.max()]
        left.plot(ends, ends, color=GREY, lw=1, ls=":")
        left.scatter(rows.truth[chosen], rows.prediction[chosen], s=7, alpha=0.4, color=BLUE, linewidths=0)
        left.set(title="Predicted against true", xlabel=f"true {_short(name)}", ylabel="predicted")
        low, high = np.quantile(error, [0.005, 0.995])
        right.hist(np.clip(error, low, high), bins=40, color=BLUE)
        right.axvline(0, color=GREY, lw=1, ls=":")
        right.set(title="Errors (predicted − true)", xlabel=_short(name), ylabel="rows")
    return drawing.svg


def interval_plot(intervals: Mapping[str, Interval], label: str) -> str:
    """One measure of several models with its intervals; the first model is ours."""
    with _Drawing(1, width=5.6, height=0.7 + 0.36 * len(intervals)) as (drawing, (axes,)):
        for place, interval in enumerate(intervals.values()):
            colour = ORANGE if place == 0 else GREY
            if all(map(math.isfinite, (interval.low, interval.high))):
                axes.plot([interval.low, interval.high], [place, place], color=colour, lw=2.5, solid_capstyle="round")
            axes.plot(interval.value, place, "o", color=colour, ms=6)
        axes.set_yticks(range(len(intervals)), [_short(name, 28) for name in intervals])
        axes.set_ylim(len(intervals) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"{label}, with 95 % intervals")
    return drawing.svg
