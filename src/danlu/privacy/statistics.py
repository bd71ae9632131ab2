"""Statistics of private columns: noisy counts, and rows made up from them that tell no more.

A column is looked at by counts of its values: a row is in one cell of each, so with Gaussian noise of deviation ``z`` a look is a
mechanism of noise multiplier ``z``. A column of numbers is looked at three times, each time in the range that the last one left: in
octaves of both signs, in 32 cells, in up to 64. One of names is looked at once; a name that no other row has must not be told, so a count
is told only above ``1 + z·Φ⁻¹(1 − f)``, which a single row passes with probability ``f``.

What follows of the noisy counts costs nothing more. So rows are drawn that have these counts, a column at a time, and whatever is fitted to
rows (means, deviations, quantiles, bins, codes of categories) is fitted to them.

Reference: Dwork & Roth (2014), section 3.2 and 7.2 (stability-based histograms); Korolova et al. (2009), "Releasing search queries and
clicks privately".
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

__all__ = ["NUMERIC_LOOKS", "drawn_names", "drawn_numbers", "made_up"]

NUMERIC_LOOKS = 3
"""How often a column of numbers is looked at whose range is not known."""

_OCTAVES = 2.0 ** np.arange(-20, 41)
_EDGES = np.concatenate([-_OCTAVES[::-1], [0.0], _OCTAVES])
_SURE = 4.0  # deviations of the noise above which there are surely rows


def _counts(values: np.ndarray, edges: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Noisy counts of values in cells; those beyond the ends count in the last cell on their side."""
    inside = np.clip(values, edges[0], edges[-1])
    return np.histogram(inside, edges)[0] + rng.normal(0, noise, len(edges) - 1)


def _sure(counts: np.ndarray, edges: np.ndarray, noise: float) -> tuple[float, float]:
    """The range from the first to the last cell that surely has rows by itself."""
    found = np.flatnonzero(counts > _SURE * max(noise, 0.25))
    first, last = (found[0], found[-1]) if len(found) else [int(np.argmax(counts))] * 2
    return float(edges[first]), float(edges[last + 1])


def _narrowed(counts: np.ndarray, edges: np.ndarray, noise: float) -> tuple[float, float]:
    """The range without the cells at both ends that together cannot be told from empty ones."""
    first, last = (_begin(each, noise) for each in (counts, counts[::-1]))
    return float(edges[first]), float(edges[max(len(counts) - last, first + 1)])


def _begin(counts: np.ndarray, noise: float) -> int:
    """The first cell up to which there are surely rows."""
    so_far, cells = np.cumsum(counts), np.arange(1, len(counts) + 1)
    over = np.flatnonzero(so_far > _SURE / 2 * max(noise, 0.25) * np.sqrt(cells))
    return int(over[0]) if len(over) else int(np.argmax(counts))


def drawn_numbers(
    values: np.ndarray, count: int, *, noise: float, rng: np.random.Generator, ends: tuple[float, float] | None = None
) -> np.ndarray:
    """``count`` numbers with the noisy distribution of ``values``; NaN for a missing one, as often.

    Args:
        noise: deviation of the noise on each count.
        ends: the range, where it is public; one look then instead of three.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> found = drawn_numbers(rng.normal(50, 10, 5000), 1000, noise=5.0, rng=rng)
        >>> bool(abs(found.mean() - 50) < 3), bool(abs(found.std() - 10) < 3)
        (True, True)
    """
    present = values[np.isfinite(values)]
    missing = float(len(values) - len(present))
    if ends is None:
        low, high = _sure(_counts(present, _EDGES, noise, rng), _EDGES, noise)
        edges = np.linspace(low, high, 33)
        low, high = _narrowed(_counts(present, edges, noise, rng), edges, noise)
    else:
        low, high = ends
    cells = int(np.clip(len(values) / (4 * max(noise, 0.25)), 8, 64))  # with rows enough in each to stand out
    edges = np.linspace(low, high if high > low else low + 1, cells + 1)
    counts = _counts(present, edges, noise, rng)
    gaps = missing + rng.normal(0, noise)  # of the same look: a row has a value or none
    weights = np.maximum(counts - noise, 0.0)
    weights = weights if weights.sum() > 0 else np.ones_like(weights)
    gaps = gaps if gaps > _SURE * noise else 0.0
    share = min(gaps / (gaps + weights.sum()), 0.9)
    drawn = made_up(weights, count, rng)
    found = edges[drawn] + rng.random(count) * (edges[1] - edges[0])
    found[: round(share * count)] = np.nan
    return rng.permutation(found)


def drawn_names(
    names: Sequence[Any], count: int, *, noise: float, failure: float, rng: np.random.Generator
) -> list[Any]:
    """``count`` names with the noisy shares of ``names``, of those that are told; None for a missing one.

    Args:
        failure: the probability with which a name that one row alone has may be told.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> sorted(set(drawn_names(["a"] * 300 + ["b"] * 200 + ["only me"], 100, noise=5.0, failure=1e-7, rng=rng)))
        ['a', 'b']
    """
    seen: dict[Any, int] = {}
    for name in names:
        seen[name] = seen.get(name, 0) + 1
    missing = seen.pop(None, 0) + rng.normal(0, noise)
    least = 1 + noise * NormalDist().inv_cdf(1 - failure)
    noisy = {
        name: number + rng.normal(0, noise) for name, number in sorted(seen.items(), key=lambda each: str(each[0]))
    }
    told: dict[Any, float] = {name: number for name, number in noisy.items() if number > least}
    if missing > _SURE * noise or not told:
        told[None] = max(missing, 1.0)
    cells = made_up(np.asarray(list(told.values())), count, rng)
    choices = list(told)
    return [choices[cell] for cell in rng.permutation(cells)]


def made_up(weights: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """``count`` cells in proportion to ``weights``, each with a weight at least three times."""
    some = np.flatnonzero(weights > 0)
    own = np.repeat(some, 3)[:count]
    rest = rng.choice(len(weights), count - len(own), p=weights / weights.sum())
    found: np.ndarray = np.concatenate([own, rest])
    return found
