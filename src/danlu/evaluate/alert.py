"""How many rows can be looked at: the threshold that alerts no larger share of them, and what it finds.

Who looks for fraud looks at so many cases a day, whatever the probabilities are. The threshold is then a quantile of the probabilities of
rows that were not learnt from, and a model is as good as the share of all cases that is among those it alerts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from danlu.errors import ConfigError
from danlu.evaluate.costs import cost_threshold
from danlu.evaluate.intervals import Interval, binomial, figure, intervals
from danlu.evaluate.threshold import between

if TYPE_CHECKING:
    from danlu.evaluate.rows import Rows

__all__ = ["Alert", "alert_note", "alert_threshold", "alert_words", "check_alert_rate"]


@dataclasses.dataclass(frozen=True)
class Alert:
    """A threshold by the share of rows that is alerted.

    Attributes:
        threshold: the probability of the second class from which a row is alerted; above all of them where none is.
        share: of the weight of the rows that is alerted, at most the rate.
        rows: how many rows these are.
        tied: rows that share the next probability, more than fit: they are not alerted; 0 where nothing is left over by a tie.
        with_tied: the share if they were.
    """

    threshold: float
    share: float
    rows: int
    tied: int = 0
    with_tied: float = 0.0


def check_alert_rate(rate: float, rows: int) -> None:
    """Refuse a rate that is less than one row of those by which the threshold is chosen.

    Raises:
        ConfigError: it is.
    """
    if rate * rows < 1 - 1e-9:
        raise ConfigError(
            f"answers.alert_rate is {rate:g}, less than one of the {rows:,} rows that are held out to choose its threshold on; "
            f"expected {1 / rows:.3g} or more",
            hint="hold more rows out (split.validation), give more rows, or alert more",
        )


def alert_threshold(probability: np.ndarray, rate: float, weight: np.ndarray | None = None) -> Alert:
    """The lowest threshold that alerts at most the share ``rate`` of the rows.

    Rows of equal probability are alerted together or not at all: a threshold cannot tell them apart.

    Args:
        probability: of the second class, ``(rows,)``.
        rate: above 0 and below 1.
        weight: how often each row counts, ``(rows,)``; None is once.

    Example:
        >>> alert_threshold(np.array([0.875, 0.75, 0.25, 0.125, 0.0]), 0.4)
        Alert(threshold=0.5, share=0.4, rows=2, tied=0, with_tied=0.0)
        >>> alert_threshold(np.array([0.875, 0.75, 0.75, 0.125, 0.0]), 0.4)
        Alert(threshold=0.8125, share=0.2, rows=1, tied=2, with_tied=0.6)
    """
    probability = np.asarray(probability, np.float64)
    order = np.argsort(-probability, kind="stable")
    ranked = probability[order]
    by = np.ones(len(ranked)) if weight is None else np.asarray(weight, np.float64)[order]
    ends = (
        np.flatnonzero(np.concatenate([ranked[1:] != ranked[:-1], [True]])) + 1
    )  # rows alerted with each distinct value
    shares = np.cumsum(by)[ends - 1] / by.sum()
    count = int(np.searchsorted(shares, rate + 1e-12, side="right"))  # distinct probabilities that are alerted
    rows, share = (int(ends[count - 1]), float(shares[count - 1])) if count else (0, 0.0)
    tied = int(ends[count] - rows) if count < len(ends) else 0
    found = Alert(between(ranked, rows), share, rows)
    return dataclasses.replace(found, tied=tied, with_tied=float(shares[count])) if tied > 1 else found


def alert_words(found: Alert, rate: float, rows: int, name: str, costs: Sequence[Sequence[float]] | None = None) -> str:
    """The chosen threshold in words.

    Args:
        rate: what was asked for.
        rows: on how many the threshold was chosen.
        name: the class that is looked for.
        costs: of mistakes, by the true and the predicted class, where there are any.
    """
    low, high = (float(end) for end in binomial(found.rows, rows, 0.95))
    if not found.rows:
        return (
            f"no row is alerted: the {found.tied:,} rows with the highest probability share it and are "
            f"{_percent(found.with_tied)} of all, more than the alert rate of {_percent(rate)}"
        )
    said = (
        f"{name!r} from a probability of {found.threshold:.3g}, so that at most {_percent(rate)} of the rows are alerted: "
        f"{found.rows:,} of {rows:,} not learnt from; of new rows {_percent(low)} to {_percent(high)}"
    )
    if found.tied:
        said += (
            f". The {found.tied:,} rows that come next share one probability and are not alerted, since they would make it "
            f"{_percent(found.with_tied)}"
        )
    if costs is not None:
        said += f"; the costs are only counted: by themselves they would say {cost_threshold(np.asarray(costs)):.3g}"
    return said


def alert_note(evidence: Rows, rate: float, name: str) -> str:
    """What came out on test rows: the share that was alerted, and what the ranking alone finds at the rate itself."""
    found = intervals(evidence, ("alert_rate", "recall_at_rate"))
    came, recall = found.get("alert_rate"), found.get("recall_at_rate")
    if came is None:
        return ""
    of = f"{round(came.value * len(evidence)):,} of {len(evidence):,} rows"
    said = f"alerted: {of}, {_shown(came)}; asked for: at most {_percent(rate)}"
    if came.known and came.low > rate:
        said += "; that is more than chance: these rows differ from those that the threshold was chosen on"
    if recall is None:
        return said
    lift = Interval(*(each / rate for each in (recall.value, recall.low, recall.high)))
    return f"{said}; the {_percent(rate)} that rank highest hold {_shown(recall)} of {name!r}, a lift of {lift.brief}"


def _shown(share: Interval) -> str:
    ends = f" ({_percent(share.low)} to {_percent(share.high)})" if share.known else ""
    return f"{_percent(share.value)}{ends}"


def _percent(share: float) -> str:
    return f"{figure(100 * share, 3)} %"
