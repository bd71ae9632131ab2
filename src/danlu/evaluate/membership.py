"""What an attack tells of who was in a training, in figures and in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from danlu.evaluate.intervals import Interval, figure
from danlu.evaluate.lira import auc, best_threshold, epsilon_of_guesses, epsilon_of_rates, found_at
from danlu.prose import padded, percent, short, wide, wrapped

__all__ = ["RATES", "Canaries", "Exposed", "Membership", "Stated", "by_canaries", "by_shadows"]

RATES = (0.001, 0.01)
"""The shares of rows that were not learnt from that may be taken for such."""
_LEVEL = 0.95
_GUESSED = (0.05, 0.125, 0.25, 0.5)  # shares of the canaries about which it is guessed, of each kind


@dataclasses.dataclass(frozen=True)
class Stated:
    """What a run says of its privacy: ``epsilon`` at ``delta``."""

    epsilon: float
    delta: float


@dataclasses.dataclass(frozen=True)
class Exposed:
    """A row that was learnt from and shows.

    Attributes:
        row: its number in the source, from 1; None where it is not known.
        label: its true answer.
        score: of the attack on the run, in natural logarithms: 3 is "20 times as likely with it as without".
        apart: how far apart trainings with and without the row are, in standard deviations.
    """

    row: int | None
    label: str
    score: float
    apart: float


@dataclasses.dataclass(frozen=True)
class _Proof:
    """What attacks have in common.

    Attributes:
        epsilon: that is proved: no training that is private with less lets it do so well.
        delta: at which.
        stated: what the run says of itself, if it says anything.
        notes: what limits what is told.
    """

    epsilon: float
    delta: float
    stated: Stated | None
    notes: tuple[str, ...]

    @property
    def broken(self) -> bool:
        """Whether more is proved than is stated, so that the statement is false."""
        return self.stated is not None and self.epsilon > self.stated.epsilon

    @property
    def verdict(self) -> str:
        """What is proved beside what is stated."""
        proved = f"an epsilon of at least {figure(self.epsilon, 2)}" if self.epsilon > 0 else "none above 0"
        if self.stated is None:
            return f"stated: no privacy; the attack proves {proved} (95 %, delta {self.delta:.2g})"
        said = f"stated epsilon {figure(self.stated.epsilon, 3)} at delta {self.stated.delta:.2g}; the attack proves {proved}"
        if self.broken:
            return f"{said}: THE STATEMENT IS FALSE (with 95 % confidence); something reads the rows that the ledger does not count"
        return f"{said} (95 %)"

    def _facts(self) -> dict[str, Any]:
        stated = None if self.stated is None else dataclasses.asdict(self.stated)
        return {
            "epsilon": {
                "proved": self.epsilon,
                "delta": self.delta,
                "confidence": _LEVEL,
                "stated": stated,
                "broken": self.broken,
            },
            "notes": list(self.notes),
        }

    def _end(self) -> list[str]:
        return [wrapped(self.verdict), *(wrapped(f"note: {note}", indent="  ") for note in self.notes)]


@dataclasses.dataclass(frozen=True)
class Membership(_Proof):
    """What shadow models tell of who was in the training.

    Attributes:
        mode: one of :data:`~danlu.evaluate.lira.MODES`.
        shadows: how many.
        inside, out: how many rows that were learnt from were attacked, and how many others.
        auc: the chance that one of the former has the higher score.
        found: the share of them that is found at each of :data:`RATES`; None where there are too few others to tell.
        curve: shares of others that are taken for such, and of rows that are found, for a picture.
        exposed: the rows that show most.
    """

    mode: str
    shadows: int
    inside: int
    out: int
    auc: Interval
    found: Mapping[float, Interval | None]
    curve: tuple[tuple[float, float], ...]
    exposed: tuple[Exposed, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "by": "shadows",
            "mode": self.mode,
            "shadows": self.shadows,
            "rows": {"inside": self.inside, "out": self.out},
            "auc": _plain(self.auc),
            "found": {f"{rate:g}": _plain(each) for rate, each in self.found.items()},
            "exposed": [dataclasses.asdict(each) for each in self.exposed],
            **self._facts(),
        }

    def __str__(self) -> str:
        rows = [("ROC-AUC (0.5: nothing shows)", self.auc.brief)]
        rows += [
            (f"found, {100 * rate:g} % of the others wrongly", _brief(each, rate)) for rate, each in self.found.items()
        ]
        lines = [
            f"{self.inside:,} rows that it learnt from and {self.out:,} others, attacked with {self.shadows} shadow models"
        ]
        lines += _columns(rows)
        if self.exposed:
            lines += ["", "rows that show most"]
            cells = [("row", "true answer", "score", "apart")]
            cells += [
                (
                    "?" if each.row is None else f"{each.row:,}",
                    short(each.label, 30),
                    f"{each.score:.1f}",
                    f"{each.apart:.1f} sd",
                )
                for each in self.exposed
            ]
            lines += _columns(cells)
        return "\n".join([*lines, "", *self._end()])


@dataclasses.dataclass(frozen=True)
class Canaries(_Proof):
    """What one more training tells, in which some rows with wrong answers took part, each by a coin of its own.

    Attributes:
        rows: of these.
        guesses: about how many of them it was guessed whether they took part.
        correct: how many guesses were right.
    """

    rows: int
    guesses: int
    correct: int

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        facts = {"by": "canaries", "rows": self.rows, "guesses": self.guesses, "correct": self.correct}
        return {**facts, **self._facts()}

    def __str__(self) -> str:
        share = f" ({percent(self.correct / self.guesses)})" if self.guesses else ""
        first = f"{self.rows:,} rows with wrong answers, each in one more training or not by a coin"
        return "\n".join([first, f"  guessed right  {self.correct:,} of {self.guesses:,}{share}", "", *self._end()])


def by_shadows(
    own: np.ndarray,
    member: np.ndarray,
    others: tuple[np.ndarray, np.ndarray],
    *,
    delta: float,
    stated: Stated | None = None,
    mode: str = "online",
    shadows: int,
    exposed: tuple[Exposed, ...] = (),
    notes: tuple[str, ...] = (),
) -> Membership:
    """The figures of an attack.

    Args:
        own: the scores of the run's rows, ``(rows,)``.
        member: which of them it learnt from.
        others: the scores of rows of other models, of those that learnt from them and of those that did not: the limit above which a row
            is taken for one that was learnt from is chosen on these.
        delta: of the ε that is proved.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> member = np.arange(2000) < 1000
        >>> scores = rng.normal(size=2000) + 2 * member
        >>> found = by_shadows(scores, member, (scores[:1000] + 0.1, scores[1000:] - 0.1), delta=0.0, shadows=8)
        >>> found.auc.brief, found.epsilon > 1, found.stated
        ('0.919 (0.907 to 0.93)', True, None)
    """
    inside, out = own[member], own[~member]
    limit = best_threshold(*others, delta)
    counts = int((inside >= limit).sum()), len(inside), int((out >= limit).sum()), len(out)
    every = np.quantile(own, np.linspace(0, 1, 201))
    curve = tuple((float((out >= each).mean()), float((inside >= each).mean())) for each in every)
    return Membership(
        epsilon_of_rates(*counts, delta, _LEVEL),
        delta,
        stated,
        notes,
        mode,
        shadows,
        len(inside),
        len(out),
        auc(inside, out, _LEVEL),
        {rate: found_at(inside, out, rate) for rate in RATES},
        curve,
        exposed,
    )


def by_canaries(
    scores: np.ndarray, member: np.ndarray, *, delta: float, stated: Stated | None = None, notes: tuple[str, ...] = ()
) -> Canaries:
    """The figures of guesses about one training.

    The rows of the highest scores are guessed to have taken part, as many of the lowest not to have. How many there are is tried in four
    ways, and each of the four proofs has a quarter of the risk.

    Args:
        scores: higher where a row seems to have taken part, ``(rows,)``.
        member: which did.

    Example:
        >>> member = np.arange(400) % 2 == 0
        >>> by_canaries(np.where(member, 5.0, 0.0) + np.arange(400) / 400, member, delta=1e-5).epsilon > 3
        True
    """
    order, rows, found = np.argsort(scores, kind="stable"), len(scores), []
    for share in _GUESSED:
        each = max(1, round(share * rows))
        correct = int(member[order[rows - each :]].sum() + (~member[order[:each]]).sum())
        level = 1 - (1 - _LEVEL) / len(_GUESSED)
        guesses = min(2 * each, rows)
        found.append((epsilon_of_guesses(min(correct, guesses), guesses, rows, delta, level), guesses, correct))
    epsilon, guesses, correct = max(found)
    return Canaries(epsilon, delta, stated, notes, rows, guesses, correct)


def _plain(found: Interval | None) -> dict[str, Any] | None:
    return None if found is None else {"value": found.value, "interval": [found.low, found.high]}


def _brief(found: Interval | None, rate: float) -> str:
    return found.brief if found is not None else f"– ({round(1 / rate):,} others or more would tell)"


def _columns(cells: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(wide, column)) for column in zip(*cells, strict=True)]
    return [
        "  " + "  ".join(padded(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    ]
