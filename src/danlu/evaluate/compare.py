"""Which of two models is better, and whether there are enough test rows to tell."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from danlu.errors import DataError, unknown_name
from danlu.evaluate.evidence import Evidence
from danlu.evaluate.intervals import Interval, difference
from danlu.evaluate.measures import MEASURES, Measure
from danlu.evaluate.rows import Rows

__all__ = ["Comparison", "compare", "conclusion", "counted", "told"]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two models on the same test rows.

    Attributes:
        metric: what they are compared by.
        ours, theirs: its values.
        difference: how much better ours is (positive: better), with a 95 % interval.
        verdict: ``"better"``, ``"worse"`` or ``"undecided"``.
        sentence: all of this in words.
        label: what the other model is called.
        constant: whether the other model answers the same for all rows.
        few: why the test rows cannot tell anything, where that is so.
        yardstick: whether the other one is no model to use instead, such as an expert that knows what the model does not see.
        kept: what the other model is called where it can be asked, as in ``danlu predict --with``.
        instead: what else to do where it is better; without that and ``kept``, it is said to use it.
    """

    metric: str
    ours: float
    theirs: float
    difference: Interval
    verdict: str
    sentence: str
    label: str = ""
    constant: bool = False
    few: str = ""
    kept: str = ""
    yardstick: bool = False
    instead: str = ""


def compare(
    ours: Evidence,
    theirs: Evidence | np.ndarray,
    label: str,
    *,
    name: str = "the network",
    metric: str | None = None,
    constant: bool | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Compare two models on the same test, by the interval of their difference.

    The verdict is ``"better"`` or ``"worse"`` when the 95 % interval of the difference leaves 0 out. It speaks of these two
    trained models, not of other runs with other training rows or seeds.

    Args:
        ours: the evidence of our model, of any kind.
        theirs: the evidence of the other one, of the same rows. Of :class:`~danlu.evaluate.Rows` its prediction will do (decided at
            ½ when there are two classes).
        label: what the other one is called, such as ``"logistic regression"``.
        name: what ours is called.
        metric: default: the evidence's :attr:`~danlu.evaluate.Evidence.primary`.
        constant: whether the other one answers the same for all rows: what a model must beat to have learnt anything, and the
            sentence says so. None goes by :attr:`~danlu.evaluate.Evidence.constant`.
        level: of the interval: more than 95 % where several comparisons are to hold together.
        seed: see :func:`~danlu.evaluate.intervals`.

    Raises:
        ConfigError: a metric that the evidence does not have.
        DataError: a prediction for other rows, or of another kind.

    Example:
        >>> truth = np.arange(50.0)
        >>> print(compare(Rows("regression", truth, truth + 1), truth - 3, "ridge regression").sentence)
        The network is better than ridge regression: RMSE 1 is 2 lower than 3.
    """
    if not isinstance(theirs, Evidence):
        if not isinstance(ours, Rows):
            raise DataError(
                f"{type(ours).__name__} cannot be compared with a prediction; expected evidence of the same kind"
            )
        theirs = ours.with_prediction(theirs)
    ours.check_same(theirs)
    if metric is not None and metric not in (known := ours.measures()):
        raise unknown_name("metric", metric, known)
    measure = MEASURES[metric or ours.primary]
    own, other = (each.measures(None, (measure.name,))[measure.name] for each in (ours, theirs))
    ends = difference(ours, theirs, measure.name, level=level, seed=seed)
    few = "" if np.isfinite(ends).all() else _too_few(len(ours), ours.noun)
    constant = theirs.constant if constant is None else constant
    raw = Interval(own - other, *ends)
    return told(measure, own, other, raw, label, name=name, constant=constant, few=few, level=level)


def told(
    measure: Measure,
    own: float,
    other: float,
    raw: Interval,
    label: str,
    *,
    name: str,
    constant: bool = False,
    few: str = "",
    level: float = 0.95,
) -> Comparison:
    """The verdict and the words of a difference ``raw`` of two models' values ``own`` and ``other``; see :func:`compare`."""
    better = raw if measure.higher_is_better else Interval(-raw.value, -raw.high, -raw.low)
    verdict = "undecided" if few else "better" if better.low > 0 else "worse" if better.high < 0 else "undecided"
    sentence = _sentence(name, label, measure, [own, other], raw, verdict, constant, few, level)
    return Comparison(measure.name, own, other, better, verdict, sentence, label, constant, few)


def counted(count: int, things: str) -> str:
    """So many things.

    >>> counted(1, "test rows"), counted(2000, "test rows"), counted(1, "blocks of text"), counted(1, "test classes")
    ('1 test row', '2,000 test rows', '1 block of text', '1 test class')
    """
    return "1 " + re.sub(r"(?<=ss)es\b|s\b", "", things, count=1) if count == 1 else f"{count:,} {things}"


def _too_few(count: int, noun: str) -> str:
    """Why nothing can be told."""
    return f"{counted(count, noun)} {'is' if count == 1 else 'are'} too few to tell"


def _sentence(
    name: str,
    label: str,
    metric: Measure,
    values: list[float],
    raw: Interval,
    verdict: str,
    constant: bool,
    few: str,
    level: float,
) -> str:
    start = name[:1].upper() + name[1:]
    ours, theirs = _apart(*values)
    gap = _digits(abs(raw.value))
    way = "higher" if raw.value > 0 else "lower"
    figures = f"{metric.label} {ours} is {gap} {way} than {theirs}"
    if raw.value == 0 or ours == theirs:
        figures = f"{metric.label} {ours} for both"
    of = f"{100 * level:.3g} % interval"
    between = f"{of} of the difference {_digits(raw.low)} to {_digits(raw.high)}"
    doubt = f" ({between})" if raw.low < raw.high else ""
    if few:
        return f"{start} compared with {label}: {figures}; {few}."
    if constant and verdict != "better":
        return (
            f"{start} is not better than {_always(label)}: {figures}{doubt}. "
            "These test rows do not show that it has learnt anything."
        )
    if verdict == "better":
        return f"{start} is better than {label}: {figures}{doubt}."
    if verdict == "worse":
        back = "lower" if raw.value > 0 else "higher"
        gain = f"{of} of the difference {_digits(-raw.high)} to {_digits(-raw.low)}"
        figures = f"{metric.label} {theirs} is {gap} {back} than {ours}"
        return f"{_upper(label)} is better than {name}: {figures} ({gain})."
    return f"These test rows show no clear difference between {name} and {label}: {figures}{doubt}."


def _always(label: str) -> str:
    """What gives one answer for all rows: an answer (``the mean``), or a model that has learnt no more than one."""
    answer = label.startswith(("the ", "one "))
    return f"always answering {label}" if answer else f"{label}, which answers the same for every row"


def _upper(label: str) -> str:
    return label[:1].upper() + label[1:]


def _digits(value: float) -> str:
    """Two significant digits, with a true minus sign."""
    return f"{value + 0.0:.2g}".replace("-", "−", 1) if abs(value) < 100 else f"{value:,.0f}".replace("-", "−", 1)


def _apart(one: float, other: float) -> tuple[str, str]:
    """Both numbers with enough digits to differ."""
    for digits in range(3, 8):
        texts = _plain(one, digits), _plain(other, digits)
        if texts[0] != texts[1]:
            return texts
    return _plain(one, 3), _plain(other, 3)


def _plain(value: float, digits: int) -> str:
    """So many significant digits, or more of a large number, with a true minus sign."""
    text = f"{abs(value):.{digits}g}"
    return "−" * (value < 0) + (f"{abs(value):,.0f}" if "e+" in text else text)


def conclusion(
    comparisons: Sequence[Comparison], *, name: str = "the network", tested: str = "test rows"
) -> tuple[str, str]:
    """The conclusion from several comparisons of one model: a verdict as in :class:`Comparison`, and a sentence.

    Args:
        name: what the model is called.
        tested: what it was tested on.

    Example:
        >>> rows = Rows("regression", np.arange(50.0), np.arange(50.0) + 1)
        >>> conclusion([compare(rows, rows.truth - 3, "ridge regression"), compare(rows, rows.truth, "the formula")])
        ('worse', 'The formula is better than the network on these test rows by RMSE: use it.')
    """
    start = _upper(name)
    if not comparisons:
        return "undecided", f"{start} was not compared with another model."
    by = {each.metric: [other for other in comparisons if other.metric == each.metric] for each in comparisons}
    if len(by) > 1:  # such as an order of people and what is decided by it: one sentence for each
        told = [conclusion(each, name=name, tested=tested) for each in by.values()]
        verdicts = [verdict for verdict, _ in told]
        worst = next(each for each in ("worse", "undecided", "better") if each in verdicts)
        return worst, " ".join(sentence for _, sentence in told)
    worse = [each for each in comparisons if each.verdict == "worse" and not each.constant]
    level = [each.label for each in comparisons if each.verdict == "undecided" and not each.constant]
    if comparisons[0].few:
        return "undecided", f"{_upper(comparisons[0].few)} {name} from the baselines."
    measured = f"by {MEASURES[comparisons[0].metric].label}"
    if any(each.constant and each.verdict != "better" for each in comparisons):
        return (
            "worse",
            f"{start} is not better than one answer for all rows: these {tested} do not show that it has learnt anything.",
        )
    if worse:
        usable = [each for each in worse if not each.yardstick]
        best = min(usable or worse, key=lambda each: each.difference.value)
        also = " are" if len(worse) > 1 else " is"
        use = best.instead or (f"use {best.label}" if len(worse) > 1 else "use it")
        if not usable:
            use = "it may know more than what is seen, and is a measure of what can be reached"
        if best.kept:
            use += f" (danlu predict RUN FILE --with {best.kept})"
        return (
            "worse",
            f"{_upper(_listed([each.label for each in worse]))}{also} better than {name} on these {tested} {measured}: {use}.",
        )
    if level:
        return (
            "undecided",
            f"{_upper(measured)}, these {tested} show no clear difference between {name} and {_listed(level)}.",
        )
    others = _listed([each.label for each in comparisons])
    return "better", f"{start} is better than {others} on these {tested} {measured}."


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
