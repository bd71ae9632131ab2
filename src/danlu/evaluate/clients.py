"""The test of a shared model at each of its clients: how good it is for whom, and how far apart that is."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from danlu.evaluate.evidence import Evidence
from danlu.evaluate.intervals import Interval, figure, intervals
from danlu.evaluate.measures import MEASURES
from danlu.prose import padded, short, wide, wrapped

__all__ = ["ClientScore", "ClientScores", "client_lines", "client_scores"]

_TOLD = 8
_SHARE = 0.1  # of the clients, the worst of which are told together
_WIDEST = 30


@dataclasses.dataclass(frozen=True)
class ClientScore:
    """A client's part of the test.

    Attributes:
        name: of the client.
        rows: test rows.
        learnt: rows that it learns from.
        score: of the shared model on the client's test rows.
        own: of the client's own version of the model.
    """

    name: str
    rows: int
    learnt: int
    score: Interval
    own: Interval | None = None

    @property
    def known(self) -> bool:
        """Whether there is a score."""
        return bool(np.isfinite(self.score.value))


@dataclasses.dataclass(frozen=True, eq=False)
class ClientScores:
    """What a test tells of clients.

    Attributes:
        metric: what is compared.
        clients: with the worst first; those whose rows have no score come last.
        models: the variables of each client's own version, where it has one.
    """

    metric: str
    clients: tuple[ClientScore, ...]
    models: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def values(self) -> np.ndarray:
        """The scores of the clients that have one, the worst first."""
        return np.array([each.score.value for each in self.clients if each.known])

    @property
    def mean(self) -> float:
        """The mean over the clients, each counted alike."""
        return float(self.values.mean()) if self.values.size else float("nan")

    @property
    def spread(self) -> float:
        """The standard deviation over the clients."""
        return float(self.values.std()) if self.values.size else float("nan")

    @property
    def worst_tenth(self) -> float:
        """The mean over the worst tenth of the clients, one at least."""
        count = max(1, round(_SHARE * self.values.size))
        return float(self.values[:count].mean()) if self.values.size else float("nan")

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for ``results.json``."""
        each = [
            {
                "client": one.name,
                "rows": one.rows,
                "learnt": one.learnt,
                "score": one.score.value,
                "interval": [one.score.low, one.score.high],
                **({} if one.own is None else {"own": one.own.value, "own_interval": [one.own.low, one.own.high]}),
            }
            for one in self.clients
        ]
        told = {"mean": self.mean, "spread": self.spread, "worst_tenth": self.worst_tenth}
        return {"metric": self.metric, **told, "clients": each}


def client_scores(
    evidence: Evidence,
    names: Sequence[str],
    codes: np.ndarray,
    learnt: np.ndarray,
    *,
    theirs: Evidence | None = None,
    models: Mapping[str, Any] | None = None,
) -> ClientScores:
    """The scores of a test at each client.

    Args:
        evidence: of all clients' test rows.
        names: of the clients.
        codes: the client of each row, ``(rows,)``; −1 of none.
        learnt: how many rows each learns from, ``(clients,)``.
        theirs: the same rows as each client's own version of the model answers them.
        models: the variables of each version.

    Example:
        >>> from danlu.evaluate import Rows
        >>> rows = Rows("regression", np.arange(6.0), np.array([0.0, 1, 2, 4, 5, 6]))
        >>> found = client_scores(rows, ("a", "b"), np.array([0, 0, 0, 1, 1, 1]), np.array([9, 9]))
        >>> [(each.name, each.score.value) for each in found.clients], found.worst_tenth
        ([('b', 1.0), ('a', 0.0)], 1.0)
    """
    metric = _metric(evidence)

    def score(of: Evidence | None, rows: np.ndarray) -> Interval:
        if of is None or not rows.size:
            return Interval(float("nan"))
        return intervals(of.take(rows), (metric,)).get(metric, Interval(float("nan")))

    found = []
    for number, name in enumerate(names):
        rows = np.flatnonzero(codes == number)
        own = None if theirs is None else score(theirs, rows)
        found.append(ClientScore(name, rows.size, int(learnt[number]), score(evidence, rows), own))
    larger = MEASURES[metric].higher_is_better
    found.sort(key=lambda each: (not each.known, each.score.value if larger else -each.score.value, each.name))
    return ClientScores(metric, tuple(found), models or {})


def _metric(evidence: Evidence) -> str:
    """What clients are compared by: a share of right answers is one of few rows too, where a ranking is none."""
    measures = evidence.measures(None, None)
    return "accuracy" if "accuracy" in measures else evidence.primary


def client_lines(found: ClientScores) -> list[str]:
    """The worst clients, one per line below a header, and how far apart the clients are."""
    shown = found.clients[:_TOLD]
    label = MEASURES[found.metric].label
    width = max(12, min(_WIDEST, max(wide(each.name) for each in shown)))
    own = [padded("own version", 14, right=True)] if shown[0].own is not None else []
    lines = [padded("client", width) + padded("rows", 8, right=True) + padded(label, 12, right=True) + "".join(own)]
    for each in shown:
        value, theirs = (
            figure(score.value) if each.known and score is not None else "–" for score in (each.score, each.own)
        )
        told = "" if each.own is None else padded(theirs, 14, right=True)
        line = padded(short(each.name, _WIDEST), width) + padded(f"{each.rows:,}", 8, right=True)
        lines.append(line + padded(value, 12, right=True) + told)
    if len(found.clients) > _TOLD:
        lines.append(f"  … and {len(found.clients) - _TOLD} more clients, for whom it is better")
    if found.values.size > 1:
        lines.append(
            wrapped(
                f"over {found.values.size} clients: mean {figure(found.mean)}, standard deviation {figure(found.spread, 3)}, worst tenth "
                f"{figure(found.worst_tenth)}"
            )
        )
    return lines
