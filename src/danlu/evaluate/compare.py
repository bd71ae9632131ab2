"""Which of two models is better, and whether the test rows can tell."""

from __future__ import annotations

import dataclasses

import numpy as np

from danlu.evaluate.bootstrap import Interval, resampled
from danlu.evaluate.metrics import METRICS, PRIMARY, Rows, scores

__all__ = ["Comparison", "compare"]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two models on the same test rows.

    Attributes:
        metric: what they are compared by.
        ours, theirs: its values.
        difference: how much better ours is (positive: better), with a 95 % interval.
        verdict: ``"better"``, ``"worse"`` or ``"undecided"``.
        sentence: all of this in words.
    """

    metric: str
    ours: float
    theirs: float
    difference: Interval
    verdict: str
    sentence: str


def compare(
    rows: Rows,
    other: np.ndarray,
    label: str,
    *,
    name: str = "the network",
    metric: str | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Compare a prediction with another one for the same rows, by the paired bootstrap of their difference.

    Args:
        rows: the truth and our prediction.
        other: the other prediction, of the same kind (decided at ½ when there are two classes).
        label: what the other one is called.
        name: what ours is called.
        metric: default: the task's :data:`~danlu.evaluate.PRIMARY`, or accuracy where that is not defined.

    Example:
        >>> truth = np.arange(50.0)
        >>> print(compare(Rows("regression", truth, truth + 1), truth - 3, "the mean").sentence)
        The network is better than the mean: RMSE 1 against 3.
    """
    defined = scores(rows)
    chosen = metric or (PRIMARY[rows.task] if PRIMARY[rows.task] in defined else "accuracy")
    theirs = Rows(rows.task, rows.truth, other)
    ours_drawn, theirs_drawn = resampled([rows, theirs], [chosen], resamples=resamples, seed=seed)[:, 0]
    sign = 1.0 if METRICS[chosen].higher_is_better else -1.0
    values = [float(METRICS[chosen].compute(each, np.ones((1, len(rows.truth))))[0]) for each in (rows, theirs)]
    low, high = np.nanquantile(sign * (ours_drawn - theirs_drawn), [0.025, 0.975])
    difference = Interval(sign * (values[0] - values[1]), float(low), float(high))
    verdict = "better" if low > 0 else "worse" if high < 0 else "undecided"
    sentence = _sentence(name, label, METRICS[chosen].label, values, difference, verdict)
    return Comparison(chosen, values[0], values[1], difference, verdict, sentence)


def _sentence(name: str, label: str, metric: str, values: list[float], difference: Interval, verdict: str) -> str:
    ours, theirs = _apart(*values)
    figures = f"{metric} {ours} against {theirs}"
    start = name[:1].upper() + name[1:]
    if verdict == "better":
        return f"{start} is better than {label}: {figures}."
    if verdict == "worse":
        return f"{start} is worse than {label}: {figures}. Use {label} instead."
    ahead = "ahead of" if difference.value > 0 else "behind" if difference.value < 0 else "level with"
    return (
        f"{start} is {ahead} {label} ({figures}), but these test rows cannot tell the two apart: "
        f"the difference may be {difference.low:+.2g} to {difference.high:+.2g}."
    )


def _apart(one: float, other: float) -> tuple[str, str]:
    """Both numbers with enough digits to differ."""
    for digits in range(3, 8):
        texts = f"{one:.{digits}g}", f"{other:.{digits}g}"
        if texts[0] != texts[1]:
            break
    return texts
