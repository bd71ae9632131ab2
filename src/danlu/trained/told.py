"""What was fitted to the rows that were not learnt from, in words."""

from __future__ import annotations

from typing import Any

import numpy as np

from danlu.evaluate import choose_threshold
from danlu.evaluate.calibrate import Calibrated
from danlu.evaluate.intervals import figure
from danlu.trained.scores import Asked, Scores

__all__ = ["about_calibration", "about_costs", "about_scores"]


def about_costs(head: Any, probability: np.ndarray, truth: np.ndarray) -> str:
    """What the decision by costs comes to on held-out rows, in words."""
    costs, rows = np.asarray(head.costs), np.arange(len(truth))

    def spent(chosen: np.ndarray) -> str:
        return figure(float(costs[truth[rows], chosen].mean()))

    likeliest = probability.argmax(axis=1)
    tested = f"a mean cost of {spent(head.decide(probability))} on {len(truth):,} rows that were not learnt from"
    if head.task == "multiclass":
        return f"the class of the least expected cost: {tested}, {spent(likeliest)} with the likeliest class"
    best = choose_threshold(truth, probability[:, 1], "cost", costs=costs)
    return (
        f"{head.target.classes[1]!r} from a probability of {head.threshold:.3g}, by the costs: {tested}, "
        f"{spent(likeliest)} from 0.5 on; the best there would be {figure(best.score)}, from {best.value:.3g} on"
    )


def about_calibration(found: Calibrated, asked: str, shifted: str) -> str:
    """What was done to the probabilities, in words; empty where nothing was asked for."""
    rows = f"{found.rows:,} rows that were not learnt from"
    if asked == "none":
        return ""
    if shifted and found.how == "none":
        return f"{shifted} shifts them on purpose, so they are not calibrated; answers.calibrate=temperature does it"
    if found.how == "none":
        if not np.isfinite([found.before, found.after]).all():
            return f"not calibrated: there are only {rows}, or these are of one class"
        return f"left as they are: calibrated, the log loss of {rows} would be {figure(found.after)}, and it is {figure(found.before)}"
    gain = (
        ""
        if not np.isfinite(found.after)
        else f", whose log loss it takes from {figure(found.before)} to {figure(found.after)}"
    )
    if found.knots is not None:
        ties = "rows between equal ones have one probability, which may change the ROC-AUC a little"
        return f"isotonic regression ({found.knots.shape[1]} points), fitted to {rows}{gain}; {ties}"
    return f"temperature {found.temperature:.3g}, fitted to {rows}{gain}"


def about_scores(scores: Scores, level: float, crossed: bool, classes: int = 0) -> tuple[tuple[str, str], ...]:
    """What intervals or sets come to, in words."""
    asked, of = Asked(level), f"{len(scores):,} rows that were not learnt from"
    if crossed:
        of = f"{len(scores):,} rows, each answered by a model that did not learn from it"
    sure = f"{100 * level:g} %"
    if not classes:
        reach = scores.reach(asked, [0.0] if scores.spread is None else scores.spread[0])
        much = f"± {figure(reach.min())}" if np.isfinite(reach).all() else "of all numbers"
        if np.isfinite(reach).all() and scores.spread is not None:
            much += f" to ± {figure(reach.max())}, by the value that is predicted"
        return (("intervals", f"of {sure}: {much}, by the errors on {of}"),)
    limit = scores.limits(asked, classes)[0]
    much = (
        f"classes of a probability of {figure(max(1 - limit, 0), 3)} or more" if np.isfinite(limit) else "all classes"
    )
    return (("sets", f"of {sure}: {much}, by the probabilities of the true classes of {of}"),)
