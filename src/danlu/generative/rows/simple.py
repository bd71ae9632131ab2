"""Simple ways to make rows, beside which every model of rows is tested: neighbours mixed, a Gaussian, a mixture of Gaussians, real rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from danlu.data.rows import RowEncoder
from danlu.generative.rows.bench import Encoded

__all__ = ["neighbours_mixed", "normal_rows", "real_rows"]

_NEIGHBOURS = 5
_KNOWN = 20_000  # rows among which neighbours are looked for
_MIXTURES = (1, 2, 4, 8, 16)


def neighbours_mixed(train: Encoded, points: np.ndarray, numbers: np.ndarray, count: int, *, seed: int = 0) -> Encoded:
    """Rows between a training row and one of its 5 nearest, as SMOTE makes them: numbers in between, each category from one of the two.

    Args:
        train: encoded training rows.
        points: the rows as points, among which neighbours are found, ``(rows, …)``.
        numbers: which columns are numbers.
        count: how many rows.

    Reference: Chawla et al., "SMOTE" (2002), section 4.2. Here every row is a start, not those of the rare class alone, as Kotelnikov et
    al. (2023) use it. In between is meant of the shares below a value, so that the cells of both rows are seen.
    """
    from sklearn.neighbors import NearestNeighbors

    rng = np.random.default_rng(seed)
    kept = rng.permutation(len(points))[:_KNOWN]
    near = min(_NEIGHBOURS + 1, len(kept))
    start = kept[rng.integers(0, len(kept), count)]
    unique, back = np.unique(start, return_inverse=True)
    found = NearestNeighbors(n_neighbors=near).fit(points[kept]).kneighbors(points[unique], return_distance=False)
    other = kept[found[back, rng.integers(min(1, near - 1), near, count)]]
    part = rng.random((count, 1))
    cell, place = train["cell"].astype(np.float64), train["place"].astype(np.float64)
    whole = (cell + place)[start] + part * ((cell + place)[other] - (cell + place)[start])
    mixed = np.floor(whole)
    named = np.where(rng.random(train["cell"][start].shape) < 0.5, train["cell"][start], train["cell"][other])
    return {
        "cell": np.where(numbers, mixed, named).astype(np.int32),
        "place": np.where(numbers, whole - mixed, 0.5).astype(np.float32),
    }


def real_rows(train: Encoded, count: int, *, seed: int = 0) -> Encoded:
    """Training rows as they are: what the best that a model can make would be like, and the worst copies."""
    chosen = np.random.default_rng(seed).permutation(len(train["cell"]))
    return {name: train[name][np.resize(chosen, count)] for name in ("cell", "place")}


def normal_rows(
    encoder: RowEncoder, train: Encoded, judged: Encoded, test: Encoded, count: int, *, mixture: bool, seed: int = 0
) -> tuple[str, Encoded, np.ndarray]:
    """A Gaussian, or the mixture of Gaussians that the validation rows are likeliest in, of a table of numbers.

    Args:
        train, judged, test: encoded rows without missing values.
        mixture: whether it is a mixture.

    Returns:
        What it is called, the rows it draws, and ``−log p`` of the test rows.
    """
    from sklearn.mixture import GaussianMixture

    known, held, asked = (_values(encoder, rows) for rows in (train, judged, test))
    mean, scale = known.mean(axis=0), np.maximum(known.std(axis=0), 1e-12)

    def scaled(values: np.ndarray) -> np.ndarray:
        return (values - mean) / scale

    def fitted(parts: int) -> Any:
        return GaussianMixture(parts, random_state=seed, reg_covar=1e-5).fit(scaled(known))

    sizes = [size for size in _MIXTURES if 5 * size <= len(known)] if mixture else [1]
    model = max((fitted(size) for size in sizes), key=lambda each: float(each.score(scaled(held))))
    values = model.sample(count)[0] * scale + mean
    values = values[np.random.default_rng(seed).permutation(count)]
    columns = [cells.encode(values[:, j]) for j, cells in enumerate(encoder.cells)]
    drawn = {name: np.stack([each[part] for each in columns], axis=1) for part, name in enumerate(("cell", "place"))}
    label = f"a mixture of {model.n_components} Gaussians" if mixture else "a Gaussian"
    return label, drawn, np.log(scale).sum() - model.score_samples(scaled(asked))


def _values(encoder: RowEncoder, rows: Encoded) -> np.ndarray:
    return np.stack(
        [cells.decode(rows["cell"][:, j], rows["place"][:, j]) for j, cells in enumerate(encoder.cells)], axis=1
    )
