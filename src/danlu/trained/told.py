"""What was fitted to the rows that were not learnt from, in words."""

from __future__ import annotations

from typing import Any

import numpy as np

from danlu.evaluate.calibrate import Calibrated
from danlu.evaluate.intervals import figure
from danlu.trained.scores import Asked, Scores

__all__ = ["about_calibration", "about_costs", "about_scores"]


def about_costs(head: Any, probability: np.ndarray, truth: np.ndarray, weight: np.ndarray | None = None) -> str:
    """What the decision by costs comes to on held-out rows, in words."""
    costs, rows = np.asarray(head.costs), np.arange(len(truth))

    def spent(chosen: np.ndarray) -> str:
        return figure(float(np.average(costs[truth[rows], chosen], weights=weight)))

    likeliest = probability.argmax(axis=1)
    two = head.task != "multiclass"
    how = f"{head.target.classes[1]!r} from a probability of {head.threshold:.3g} on" if two else "the cheapest class"
    return (
        f"{how}, by the costs: {spent(head.decide(probability))} a row in the mean; the likeliest class would cost "
        f"{spent(likeliest)} ({_rows(len(truth))})"
    )


def about_calibration(found: Calibrated, asked: str, shifted: str) -> str:
    """What was done to the probabilities, in words; empty where nothing was asked for."""
    if asked == "none":
        return ""
    if shifted and found.how == "none":
        return (
            f"not calibrated, because {shifted} shifts them on purpose (answers.calibrate=temperature calibrates them)"
        )
    if found.how == "none":
        if not np.isfinite([found.before, found.after]).all():
            return f"not calibrated: there are only {_rows(found.rows)}, or these are of one class"
        return (
            f"left as they are: calibration would not help (log loss of {_rows(found.rows)}: {figure(found.before)}; "
            f"{figure(found.after)} with it)"
        )
    known = np.isfinite(found.after)
    gain = f": log loss {figure(found.after)}, {figure(found.before)} without" if known else ""
    if found.knots is not None:
        ties = "rows with nearly the same probability now share one, which may change the ROC-AUC a little"
        return f"calibrated (isotonic regression){gain} ({_rows(found.rows)}); {ties}"
    return f"calibrated (temperature {found.temperature:.3g}){gain} ({_rows(found.rows)})"


def about_scores(scores: Scores, level: float, classes: int = 0) -> tuple[tuple[str, str], ...]:
    """What intervals or sets come to, in words."""
    asked, of = Asked(level), f"chosen on {_rows(len(scores))}"
    sure = f"{100 * level:g} %"
    if not classes:
        reach = scores.reach(asked, [0.0] if scores.spread is None else scores.spread[0])
        if not np.isfinite(reach).all():
            return (("intervals", f"there are too few rows for {sure}: only {_rows(len(scores))}"),)
        much = f"the prediction ± {figure(reach.min())}"
        if scores.spread is not None:
            much += f" to ± {figure(reach.max())}, depending on the prediction"
        return (("intervals", f"{much} holds the true value in {sure} of all cases; {of}"),)
    limit = scores.limits(asked, classes)[0]
    if not np.isfinite(limit):
        return (("sets", f"there are too few rows for {sure}: only {_rows(len(scores))}"),)
    least = figure(max(1 - limit, 0), 3)
    much = f"the classes with a probability of {least} or more hold the true one in {sure} of all cases"
    return (("sets", f"{much}; {of}"),)


def _rows(count: int) -> str:
    return f"{count:,} rows not learnt from"
