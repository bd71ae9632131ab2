"""Rows without segments: tables whose columns are spread as those of given rows, but in which nothing stands apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from danlu.data import TableEncoder

__all__ = ["one_hill", "without_segments"]

_FEW = 10  # values up to which a number is drawn as a category is


def without_segments(encoder: TableEncoder, encoded: Mapping[str, Any]) -> Callable[[np.random.Generator, int], Any]:
    """What draws rows without segments that are otherwise like given ones.

    - Numbers are joined by a normal copula of the same rank correlations, and each has one hill (:func:`one_hill`): a long tail and an
      oblong cloud stay, two hills become one.
    - A category, a number of at most 10 values, and a gap come as often as they do, whatever the other columns say. So a column of two
      values has two groups here too, while columns of categories that belong together do not.
    - The parts of a date stay together. Words come one by one.

    Args:
        encoder: of the columns.
        encoded: the rows, as it encodes them.

    Returns:
        A function of a generator and how many rows to draw.

    Reference: the null of SigClust (Liu, Hayes, Nobel & Marron 2008), with the copula of Nelsen, "An introduction to copulas" (2006),
    in place of a normal distribution.
    """
    from scipy.special import ndtr

    given = {name: np.asarray(values) for name, values in encoded.items()}
    rows = len(next(iter(given.values())))
    places = {name: _by_source(sources) for name, sources in encoder.sources.items()}
    numbers = given.get("numeric", np.zeros((rows, 0), np.float32))
    flags = numbers.shape[1] - (0 if encoder.scaler is None else int(encoder.scaler.indicators.sum()))
    joined = [group for group in places.get("numeric", []) if len(np.unique(numbers[:, group[0]])) > _FEW]
    values = []
    for group in joined:
        gap = numbers[:, group[group >= flags]].any(axis=1)
        known = numbers[np.flatnonzero(~gap)][:, group]
        known = known[np.argsort(known[:, 0], kind="stable")]
        if (group < flags).sum() == 1:  # a number, not the parts of a date
            known[:, 0] = one_hill(known[:, 0])
        values.append(known)
    root = _root(np.array([_scores(numbers[:, group[0]]) for group in joined]).reshape(len(joined), rows))

    def draw(rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        drawn = {name: np.empty((count, each.shape[1]), each.dtype) for name, each in given.items()}
        for name, groups in places.items():
            for group in groups if name != "text" else np.arange(drawn[name].shape[1])[:, None]:
                drawn[name][:, group] = given[name][np.resize(rng.permutation(rows), count)][:, group]
        latent = rng.normal(size=(count, len(joined))) @ root  # (count, numbers)
        for group, known, z in zip(joined, values, latent.T, strict=True):
            place = np.minimum((ndtr(z) * len(known)).astype(int), len(known) - 1)
            whole = ~drawn["numeric"][:, group[group >= flags]].any(axis=1)
            drawn["numeric"][np.ix_(whole, group)] = known[place[whole]]
        return drawn

    return draw


def one_hill(values: np.ndarray) -> np.ndarray:
    """Sorted numbers, moved as little as makes their histogram rise to one hill and fall again where it clearly has more.

    The histogram has about ``2·n^⅓`` bars. It is fitted by a rise up to a bar and a fall after it, the best such by squares; in each bar
    the numbers are as they were. Where the bars are no farther from that than chance takes them, nothing is moved: 3 standard deviations
    of ``Σ (bar − fit)²/(fit + 1)``, the bars being counts.

    Args:
        values: sorted ``(rows,)``.

    Example:
        >>> apart = np.sort(np.r_[np.linspace(-1, 1, 50), np.linspace(9, 11, 50)])
        >>> bool(((one_hill(apart) > 2) & (one_hill(apart) < 8)).sum() > 10), bool((one_hill(np.arange(50.0)) == np.arange(50.0)).all())
        (True, True)
    """
    from sklearn.isotonic import isotonic_regression

    low, high = float(values[0]), float(values[-1])
    if not low < high:
        return values
    bars = max(4, round(2 * len(values) ** (1 / 3)))
    edges = np.linspace(low, high, bars + 1)
    height = np.histogram(values, edges)[0].astype(float)
    best, fitted = np.inf, height
    for top in range(bars):
        rise = isotonic_regression(height[: top + 1])
        fall = isotonic_regression(height[top + 1 :], increasing=False) if top + 1 < bars else np.zeros(0)
        shape = np.concatenate([rise, fall])
        loss = float(np.square(shape - height).sum())
        if loss < best:
            best, fitted = loss, shape
    if (np.square(height - fitted) / (fitted + 1)).sum() < bars + 3 * np.sqrt(2 * bars):
        return values
    # numbers of each bar, at its share of all; where a bar had none, evenly in it
    ends = np.rint(np.cumsum(fitted) * len(values) / fitted.sum()).astype(int)
    starts, own = np.concatenate([[0], ends[:-1]]), np.concatenate([[0], np.cumsum(height)]).astype(int)
    moved = np.empty(len(values), values.dtype)
    for bar in range(bars):
        here = values[own[bar] : own[bar + 1]]
        count = ends[bar] - starts[bar]
        at = (np.arange(count) + 0.5) / max(count, 1)
        even = edges[bar] + at * (edges[bar + 1] - edges[bar])
        moved[starts[bar] : ends[bar]] = here[(at * len(here)).astype(int)] if len(here) else even
    return moved


def _by_source(sources: np.ndarray) -> list[np.ndarray]:
    """The places of each column of the table."""
    return [np.flatnonzero(sources == source) for source in dict.fromkeys(sources.tolist())]


def _scores(values: np.ndarray) -> np.ndarray:
    """Normal scores of ranks, equal values the mean of theirs."""
    from scipy.special import ndtri
    from scipy.stats import rankdata

    return np.asarray(ndtri(rankdata(values) / (len(values) + 1)))


def _root(scores: np.ndarray) -> np.ndarray:
    """A matrix that gives independent normal numbers the correlations of ``(numbers, rows)``."""
    from scipy.linalg import sqrtm

    if not len(scores):
        return np.zeros((0, 0))
    return np.asarray(sqrtm(np.atleast_2d(np.corrcoef(scores))).real)
