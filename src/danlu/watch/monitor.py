"""``danlu monitor``: whether a model still meets what it was trained on, and still answers as well."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import numpy as np
import polars as pl

from danlu.errors import ConfigError
from danlu.evaluate import PRIMARY
from danlu.evaluate.histograms import Drift
from danlu.evaluate.intervals import Interval, figure
from danlu.evaluate.measures import MEASURES
from danlu.trained import Say, Trained
from danlu.trained.read import warn
from danlu.watch.log import Asked, read_asked
from danlu.watch.profile import Watch, profile_of, told
from danlu.watch.traits import of_answers, of_rows

__all__ = ["Monitored", "Part", "monitor"]

_FEWEST = 50  # rows of a part


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of the rows, in the order of time.

    Attributes:
        label: when it begins.
        rows: how many there are.
        psi, of: the largest PSI in it, and of what.
        score: the primary measure on the rows whose truth is known; None where there are none.
        known: of how many rows it is known.
    """

    label: str
    rows: int
    psi: float
    of: str
    score: Interval | None
    known: int


@dataclasses.dataclass(frozen=True, eq=False)
class Monitored:
    """What was found.

    Attributes:
        rows: how many rows were read.
        drift: of everything that is watched, the surest and largest first.
        parts: the rows in order of time.
        measure: the primary measure, and its value in the test after the training (``expected``; NaN where it is not known).
        score: the measure on all rows whose truth is known (``known`` of them), or None.
        alarms: what should be looked at, in words; empty where nothing is wrong.
        notes: what else is to be known.
    """

    rows: int
    drift: list[Drift]
    parts: tuple[Part, ...]
    measure: str
    expected: float
    score: Interval | None
    known: int
    alarms: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def label(self) -> str:
        """What the measure is called."""
        return _label(self.measure)

    @property
    def summary(self) -> str:
        """The drift in a sentence."""
        return told(self.drift, self.rows)

    def as_dict(self) -> dict[str, Any]:
        """It as plain data, for an alert."""

        def score(found: Interval | None) -> Any:
            return None if found is None else {name: _plain(getattr(found, name)) for name in ("value", "low", "high")}

        parts = [{**dataclasses.asdict(part), "score": score(part.score)} for part in self.parts]
        return {
            "rows": self.rows,
            "alarms": list(self.alarms),
            "notes": list(self.notes),
            "drift": [each.as_dict() for each in self.drift],
            "measure": self.measure,
            "expected": _plain(self.expected),
            "score": score(self.score),
            "known": self.known,
            "parts": parts,
        }

    def page(self, title: str) -> str:
        """It as an HTML page that needs nothing but a browser."""
        from danlu.watch.page import page

        return page(title, self)

    def __str__(self) -> str:
        from danlu.watch.lines import lines

        return "\n".join(lines(self))


def monitor(
    trained: Trained,
    source: str,
    *,
    reference: str | None = None,
    truth: str | None = None,
    key: str = "request",
    model: str | None = None,
    parts: int = 10,
    say: Say = warn,
) -> Monitored:
    """Compare what a model is asked, and answers, with its training; where the truth is known by now, its score with that of its test.

    Every number, level, length and brightness is counted in the bins of the training's; see :func:`danlu.evaluate.histograms.drifts`
    for what is a change. The
    model answers all rows anew.

    Args:
        trained: the model.
        source: a log of ``danlu serve --log-inputs``, or any data that the model predicts, in the order of time.
        reference: data that it is compared with instead of the training's.
        truth: a table of true answers that came later: the column ``key`` (the log's) and the target.
        key: the column of the log and of ``truth`` that names a row.
        model: the name that the model is asked by, where the log has several models.
        parts: how many parts of equal size, in order of time, are looked at by themselves at most.

    Raises:
        ConfigError: a model that keeps no profile of its training, without a reference.
        DataError: data that does not fit.

    Example:
        >>> import tempfile, danlu, polars as pl
        >>> rows = {"x": [float(i) for i in range(100)], "y": ["low", "high"] * 50}
        >>> model = danlu.train(rows, target="y", runs=tempfile.mkdtemp(), display="none", say=lambda line: None,
        ...                     model={"members": 2, "width": 8}, trainer={"epochs": 1}).model
        >>> path = tempfile.mkdtemp() + "/now.csv"
        >>> pl.DataFrame({"x": [50.0 + i / 2 for i in range(200)]}).write_csv(path)
        >>> found = monitor(model, path)
        >>> found.rows, found.drift[0].name
        (200, 'x')
    """
    if type(parts) is not int or not 1 <= parts <= 100:
        raise ConfigError(f"parts is {parts}; expected a whole number from 1 to 100")
    usual = None
    if reference is not None:
        rows = trained.read(reference, lenient=True, say=say).rows
        usual = profile_of(trained, rows=rows, judged=trained.encoder.transform(rows), shown=rows)
    watch = Watch(trained, usual)
    asked = read_asked(trained, source, truth=truth, key=key, model=model, say=say)
    answers = trained.answer_rows(asked.rows)
    traits = [*of_rows(trained, asked.rows), *of_answers(trained, answers, asked.rows)]
    watch.count(traits)
    evidence = _evidence(trained, asked)
    found, last = [], []
    for label, places in _cut(asked, parts):
        own = Watch(trained, tuple(watch.usual.values()))
        own.count([each[places] for each in traits])
        last = own.drift()
        most = max(last, key=lambda each: each.psi)
        score, known = _score(trained, asked, evidence, places)
        found.append(Part(label, len(places), most.psi, most.name, score, known))
    alarms = [
        f"{each.name} has changed: {each.said} (PSI {figure(each.psi, 2)})" for each in watch.drift() if each.sure
    ]
    if len(found) > 1:
        known_by_now = {each.name for each in watch.drift() if each.sure}
        alarms += [
            f"from {found[-1].label} on, {each.name} has changed: {each.said} (PSI {figure(each.psi, 2)})"
            for each in last
            if each.sure and each.name not in known_by_now
        ]
    return _told(trained, watch, asked, tuple(found), _score(trained, asked, evidence, np.arange(len(asked))), alarms)


def _told(
    trained: Trained,
    watch: Watch,
    asked: Asked,
    parts: tuple[Part, ...],
    scored: tuple[Interval | None, int],
    alarms: list[str],
) -> Monitored:
    measure, (score, known) = _primary(trained), scored
    expected = trained.metrics.get(measure, math.nan)
    expected = float(expected) if isinstance(expected, int | float) else math.nan
    if score is not None and score.known and math.isfinite(expected):
        higher = MEASURES[measure].higher_is_better if measure in MEASURES else True
        if score.high < expected if higher else score.low > expected:
            alarms.append(
                f"{_label(measure)} is {score.brief} on {known:,} rows; in the test after the training it was {figure(expected, 3)}"
            )
    notes = []
    if asked.refused:
        notes.append(
            f"{len(asked.refused):,} rows do not fit the model and are left out; the first: {asked.refused[0]}"
        )
    schema = getattr(trained.encoder, "schema", None)
    if schema is not None and (dates := [column.name for column in schema.of_kind("datetime")]):
        notes.append(f"dates are not compared, since they go on: {', '.join(dates)}")
    return Monitored(
        len(asked), watch.drift(), parts, measure, expected, score, known, tuple(alarms), (*asked.notices, *notes)
    )


def _label(measure: str) -> str:
    return MEASURES[measure].label if measure in MEASURES else measure


def _primary(trained: Trained) -> str:
    return str(PRIMARY.get(trained.task, next(iter(trained.metrics), "")))


def _evidence(trained: Trained, asked: Asked) -> Any:
    """The answers to the rows whose truth is known, with the truth; None where there are none."""
    if asked.truth is None or asked.known.sum() < 2:
        return None
    places = np.flatnonzero(asked.known)
    inputs, truth = (_taken(each, places) for each in (trained.encoder.transform(asked.rows), asked.truth))
    rows = _frame(asked.rows)
    found = trained.head.evidence(trained.head.examined(trained, inputs, truth), truth)
    return trained.head.decided(found, None if rows is None else rows[places])


def _taken(values: Any, places: np.ndarray) -> Any:
    """Some rows of arrays, or of a list."""
    return (
        [values[place] for place in places]
        if isinstance(values, list)
        else jax.tree.map(lambda leaf: leaf[places], values)
    )


def _score(trained: Trained, asked: Asked, evidence: Any, places: np.ndarray) -> tuple[Interval | None, int]:
    """The primary measure on those of some rows whose truth is known, and how many these are."""
    if evidence is None:
        return None, 0
    number = np.cumsum(asked.known) - 1  # of each row among those that are known
    own = number[places[asked.known[places]]]
    if len(own) < 2:
        return None, len(own)
    return evidence.take(own).scores().get(_primary(trained)), len(own)


def _frame(rows: Any) -> pl.DataFrame | None:
    return rows if isinstance(rows, pl.DataFrame) else None


def _cut(asked: Asked, most: int) -> list[tuple[str, np.ndarray]]:
    count = max(1, min(most, len(asked) // _FEWEST))
    found = []
    for places in np.array_split(np.arange(len(asked)), count):
        first = int(places[0])
        found.append((f"row {first + 1:,}" if asked.moments is None else asked.moments[first][:16], places))
    return found


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
