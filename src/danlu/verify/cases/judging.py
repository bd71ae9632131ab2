"""What is concluded from the measures: verdicts, rows that belong together, classes without rows, the worth of columns."""

from __future__ import annotations

import math

import numpy as np

from danlu.evaluate import Rows, compare, intervals, permutation_importance
from danlu.evaluate.forecast import Forecasts, naive_forecast
from danlu.evaluate.metrics import METRICS
from danlu.verify.case import Check, case
from danlu.verify.cases.measures import chances
from danlu.verify.oracles import draw

__all__: list[str] = []


@case("metric.absent_classes")
def absent(check: Check) -> None:
    """Means over classes leave out the classes that no row is of, and is predicted as; a test of one class has no ranking."""
    truth, p = chances(3)
    narrow, wide = Rows("multiclass", truth, p), Rows("multiclass", truth, np.hstack([p, np.zeros((len(p), 2))]))
    one = np.ones(len(p))
    for name in ("balanced_accuracy", "precision", "recall", "f1", "roc_auc", "mcc"):
        check(METRICS[name].compute(wide, one), METRICS[name].compute(narrow, one), oracle="closed form")
    alone = Rows("binary", np.ones(4, int), np.tile([0.2, 0.8], (4, 1)))
    for name in ("roc_auc", "average_precision"):
        check(math.isnan(METRICS[name].compute(alone, np.ones(4))), True, oracle="closed form")


@case("metric.verdicts")
def verdicts(check: Check) -> None:
    """Better is higher of an accuracy and lower of an error; what chance may bring is undecided, whoever has the better value."""
    truth = draw(60)
    near, far = truth + 0.1 * draw(60, seed=1), truth + draw(60, seed=2)
    other = truth + 0.1 * draw(60, seed=3)
    for ours, theirs, expected in (
        (near, far, "better"),
        (far, near, "worse"),
        (near, other, "undecided"),
        (other, near, "undecided"),
    ):
        check(compare(Rows("regression", truth, ours), theirs, "x").verdict == expected, True, oracle="closed form")
    labels = np.arange(60) % 2
    sure, unsure = np.eye(2)[labels] * 0.8 + 0.1, np.full((60, 2), 0.5) + 0.3 * draw(60)[:, None] * [[1, -1]] / 9
    for ours, theirs, expected in ((sure, unsure, "better"), (unsure, sure, "worse")):
        for metric in ("roc_auc", "log_loss"):
            found = compare(Rows("binary", labels, ours), theirs, "x", metric=metric)
            check(found.verdict == expected, True, oracle="closed form")


@case("metric.grouped_rows")
def grouped(check: Check) -> None:
    """Ten copies of each row, told to belong together, say what the rows said, no more; of the difference of two models too."""
    truth, error = draw(40), draw(40, seed=1)
    once = Rows("regression", truth, truth + error)
    groups = np.repeat(np.arange(40), 10)
    copies = Rows("regression", np.repeat(truth, 10), np.repeat(truth + error, 10), groups=groups)
    one, many = intervals(once, ["mae"])["mae"], intervals(copies, ["mae"])["mae"]
    check(many.low, one.low, oracle="closed form")
    free = intervals(Rows("regression", copies.truth, copies.prediction), ["mae"])["mae"]
    check(free.high - free.low < 0.5 * (many.high - many.low), True, oracle="closed form")
    other = truth + 1.2 * draw(40, seed=2)
    alone, together = compare(once, other, "x").difference, compare(copies, np.repeat(other, 10), "x").difference
    check([together.low, together.high], [alone.low, alone.high], oracle="closed form", floor=0.1)
    check(copies.support("rmse"), 40.0, oracle="closed form")
    of_other = [
        intervals(rows, ["mae"])["mae"].low
        for rows in (once.with_prediction(other), copies.with_prediction(np.repeat(other, 10)))
    ]
    check(of_other[1], of_other[0], oracle="closed form")


@case("metric.importance")
def importance(check: Check) -> None:
    """What a model relies on costs it something, of errors and of hits; what it does not look at costs nothing."""
    import polars as pl

    frame = pl.DataFrame({"x": draw(50), "noise": draw(50, seed=1)})
    x = frame["x"].to_numpy()
    found = permutation_importance(lambda rows: rows["x"].to_numpy(), frame, Rows("regression", x, x), frame.columns)
    check(
        [each.columns[0] == name for each, name in zip(found, frame.columns, strict=True)],
        [True, True],
        oracle="closed form",
    )
    check(0.5 * math.sqrt(2) < found[0].drop / x.std() < 1.5 * math.sqrt(2), True, oracle="closed form")
    check(found[1].drop, 0.0, oracle="closed form")

    def chance(rows: pl.DataFrame) -> np.ndarray:
        p = 1 / (1 + np.exp(-rows["x"].to_numpy()))
        return np.stack([1 - p, p], axis=1)

    sorted_out = permutation_importance(
        chance, frame, Rows("binary", (x > 0).astype(int), chance(frame)), frame.columns
    )
    check(0.25 < sorted_out[0].drop < 0.75, True, oracle="closed form")  # from an area of 1 to one of ½


@case("metric.windows_together")
def windows(check: Check) -> None:
    """The naive forecast repeats the last season; windows that share steps are of one stretch of time."""
    past = draw(3, 9, 2)
    expected = np.stack([past[:, 9 - 4 + h % 4] for h in range(6)], axis=1)
    check(naive_forecast(past, 6, 4), expected, oracle="closed form")
    truth = draw(400, 5, 1)
    found = Forecasts(truth, truth + 1, np.ones((400, 1)), np.ones((400, 1)), np.arange(400)).together
    sizes = np.bincount(found)
    check([bool((np.diff(found) >= 0).all()), sizes.min() >= 10, len(sizes) >= 20], [True] * 3, oracle="closed form")
