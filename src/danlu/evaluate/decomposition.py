"""What a Brier score consists of, and how far probabilities are from the shares that were observed: sums over bins."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from danlu.errors import ConfigError
from danlu.prose import percent

if TYPE_CHECKING:
    from danlu.evaluate.rows import Rows

__all__ = ["BINS", "Binned", "Decomposition", "decomposition", "error_by_chance", "gaps", "reliability", "resolution"]

BINS = 10
"""Bins of equal width, of each event: ``[0, 0.1), [0.1, 0.2), …, [0.9, 1]``."""
_LEAST = 1e-12  # a share of the rows: what is less is none, rounded


class Binned:
    """Probabilities of events in :data:`BINS` bins of equal width, beside whether each event happened.

    Args:
        happened: whether, ``(rows, events)``.
        probability: ``(rows, events)``.
    """

    def __init__(self, happened: np.ndarray, probability: np.ndarray) -> None:
        self.rows, self.events = probability.shape
        bins = np.minimum((np.clip(probability, 0.0, 1.0) * BINS).astype(np.int64), BINS - 1)
        self._cell = bins + BINS * np.arange(self.events)
        self._happened, self._probability, self._gap = happened.astype(np.bool_), probability, happened - probability
        self._last: tuple[np.ndarray | None, np.ndarray] = (None, np.zeros(0))

    def sums(self, weights: np.ndarray) -> np.ndarray:
        """Of each event's bins, as shares of all rows: the rows, observed minus predicted, observed; ``(3, events, bins)``."""
        if self._last[0] is not weights:  # three measures ask for the same weights in turn
            by = weights[:, None]
            found = [self._by_cell(by * each) for each in (np.ones_like(self._gap), self._gap, self._happened)]
            self._last = weights, np.array(found) / weights.sum()
        return self._last[1]

    def without(self, part: np.ndarray) -> np.ndarray:
        """:meth:`sums` of the rows without those of each part, ``(3, parts, events, bins)``."""
        parts = int(part.max()) + 1
        place = part[:, None] * (self.events * BINS)
        found = [self._by_cell(each, place, parts) for each in (np.ones_like(self._gap), self._gap, self._happened)]
        left = self.rows - np.bincount(part, minlength=parts)
        return np.array([each.sum(axis=0) - each for each in found]) / np.maximum(left, 1)[:, None, None]

    def chance(self) -> np.ndarray:
        """The variance of each bin's gap where the probabilities are right: ``Σ p·(1 − p) / n²``, ``(events, bins)``."""
        return self._by_cell(self._probability * (1 - self._probability)) / self.rows**2

    def _by_cell(self, values: np.ndarray, place: Any = 0, parts: int = 0) -> np.ndarray:
        cells = self.events * BINS
        found = np.bincount((self._cell + place).ravel(), values.ravel(), minlength=cells * max(parts, 1))
        return found.reshape((parts, self.events, BINS) if parts else (self.events, BINS))


def gaps(sums: np.ndarray) -> np.ndarray:
    """``Σ w·(y − p) / Σ w`` of each bin: the calibration error is the sum of their sizes."""
    return np.asarray(sums[1])


def reliability(sums: np.ndarray) -> np.ndarray:
    """``√(n_k/n) · (observed − predicted)`` of each bin: the sum of the squares is Murphy's reliability."""
    return _over_root(sums[1], sums[0])


def resolution(sums: np.ndarray) -> np.ndarray:
    """``√(n_k/n) · (observed − observed of all)`` of each bin: the sum of the squares is Murphy's resolution."""
    share, _, observed = sums
    return _over_root(observed - share * observed.sum(axis=-1, keepdims=True), share)


def _over_root(values: np.ndarray, share: np.ndarray) -> np.ndarray:
    known = share > _LEAST
    return np.divide(values, np.sqrt(np.where(known, share, 1.0)), out=np.zeros_like(values), where=known)


@dataclasses.dataclass(frozen=True)
class Decomposition:
    """The parts of a Brier score: ``brier = reliability − resolution + uncertainty + within``.

    Attributes:
        brier: the score.
        reliability: how far the probabilities are from the shares observed, squared; 0 is best.
        resolution: how far the bins differ in what happens; more is better, up to ``uncertainty``.
        uncertainty: the score of always answering the share of each class: of the rows, not of the model.
        within: what is left since the probabilities of a bin differ.
        bins: how many bins of equal width each class has.
    """

    brier: float
    reliability: float
    resolution: float
    uncertainty: float
    within: float
    bins: int = BINS

    def __str__(self) -> str:
        from danlu.evaluate.intervals import figure

        shown = (self.brier, self.uncertainty, self.resolution, self.reliability, abs(self.within))
        brier, uncertainty, resolution, reliability, within = (figure(each, 3) for each in shown)
        gained = percent(self.resolution / self.uncertainty) if self.uncertainty > 0 else "0 %"
        return (
            f"Brier score {brier} = uncertainty {uncertainty} − resolution {resolution} + reliability {reliability} "
            f"{'−' if self.within < 0 else '+'} {within} within bins. Always answering the shares of the classes would score "
            f"{uncertainty}; {gained} of that is gained by telling rows apart, and {reliability} is lost because probabilities are not "
            "the shares observed."
        )


def decomposition(rows: Rows) -> Decomposition:
    """The parts of the Brier score of probabilities, with :data:`BINS` bins of equal width for each class.

    ``Σ n_k/n · (o_k − p_k)²`` (reliability) ``− Σ n_k/n · (o_k − o)²`` (resolution) ``+ o·(1 − o)`` (uncertainty), with the mean
    probability ``p_k`` and the share observed ``o_k`` of bin ``k`` and the share ``o`` of all rows. The sum is the Brier score where
    all probabilities of a bin are equal; what is left otherwise is ``within``. Of several classes each part is the sum over the
    classes, as the score is.

    Raises:
        ConfigError: rows of a quantity.

    Reference:
        Murphy, "A new vector partition of the probability score" (1973), Journal of Applied Meteorology 12; Stephenson, Coelho &
        Jolliffe, "Two extra components in the Brier score decomposition" (2008), Weather and Forecasting 23, for what is within bins.

    Example:
        >>> from danlu.evaluate import Rows
        >>> p = np.array([0.15, 0.15, 0.75, 0.75])
        >>> found = decomposition(Rows("binary", np.array([0, 0, 1, 0]), np.stack([1 - p, p], 1)))
        >>> round(found.reliability, 4), round(found.resolution, 4), found.uncertainty, round(found.within, 4)
        (0.0425, 0.0625, 0.1875, 0.0)
    """
    if rows.task == "regression":
        raise ConfigError("a quantity has no Brier score; expected rows of classes with probabilities")
    sums = rows.binned.sums(np.ones(len(rows)))
    lost, gained = (float((each(sums) ** 2).sum()) for each in (reliability, resolution))
    share = sums[2].sum(axis=1)
    uncertainty, brier = float((share * (1 - share)).sum()), float(rows.distance.mean())
    return Decomposition(brier, lost, gained, uncertainty, brier - lost + gained - uncertainty)


def error_by_chance(rows: Rows) -> float:
    """The calibration error that probabilities exactly right would show on so many rows, on average.

    ``Σ_k √(2/π · Σ p·(1 − p)) / n``, the sum within a bin: the mean size of a normal number of the bin's variance.

    Example:
        >>> from danlu.evaluate import Rows
        >>> round(error_by_chance(Rows("binary", np.arange(100) % 2, np.full((100, 2), 0.5))), 4)
        0.0399
    """
    return float(np.sqrt(2 / np.pi * rows.binned_event.chance()).sum())
