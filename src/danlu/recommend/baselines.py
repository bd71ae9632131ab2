"""What a recommender has to beat: means, popularity, neighbours of items, and EASE in closed form."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from danlu.recommend.encoder import RecommendEncoder
from danlu.recommend.interactions import Interactions
from danlu.recommend.rank import Scores

__all__ = [
    "MOST_ITEMS",
    "biases",
    "chosen",
    "cosines",
    "ease",
    "item_means",
    "knn",
    "matrix",
    "popular",
    "rated_knn",
    "user_means",
]

MOST_ITEMS = 12_000
"""Items up to which a matrix of all pairs of items is made."""
_SHRINK = 10.0  # pairs of a mean that count as the overall one


def matrix(pairs: Interactions, users: int, items: int) -> np.ndarray:
    """Who had what, ``(users, items)`` of 0 and 1 in float32; rows and columns 0 are empty."""
    found = np.zeros((users, items), np.float32)
    found[pairs.user, pairs.item] = 1
    return found


def popular(encoder: RecommendEncoder) -> Scores:
    """For everyone the items that most users had."""
    counts = np.bincount(encoder.had, minlength=len(encoder.items) + 1).astype(np.float64)
    return lambda users: np.tile(counts, (len(users), 1))


def ease(had: np.ndarray, strength: float) -> np.ndarray:
    """The item-to-item weights of EASE, ``(items, items)``: the ``B`` of a zero diagonal that makes ``‖X − X·B‖² + λ·‖B‖²`` least.

    With ``P = (XᵀX + λ·I)⁻¹``: ``B_ij = −P_ij/P_jj``, and 0 for ``i = j``.

    Args:
        had: ``X``, ``(users, items)`` of 0 and 1.
        strength: ``λ``, above 0.

    Reference: Steck (2019), "Embarrassingly shallow autoencoders for sparse data", WWW, equation 8.

    Example:
        >>> b = ease(np.array([[1, 1, 0], [1, 1, 0], [0, 1, 1]]), 1.0)
        >>> np.diag(b).tolist(), bool(b[0, 1] > b[0, 2])
        ([0.0, 0.0, 0.0], True)
    """
    import scipy.linalg

    gram = had.T.astype(np.float64) @ had.astype(np.float64)
    gram[np.diag_indices_from(gram)] += strength
    inverse = scipy.linalg.inv(gram, overwrite_a=True, check_finite=False)
    weights = inverse / -np.diag(inverse)[None]
    np.fill_diagonal(weights, 0.0)
    return np.asarray(weights)


def cosines(values: np.ndarray) -> np.ndarray:
    """The cosines of the columns of ``(rows, items)``, ``(items, items)``, 0 on the diagonal and where a column is 0."""
    gram = values.T.astype(np.float64) @ values.astype(np.float64)
    size = np.sqrt(np.diag(gram))
    size[size == 0] = np.inf
    found = gram / size[:, None] / size[None]
    np.fill_diagonal(found, 0.0)
    return np.asarray(found)


def knn(had: np.ndarray, neighbours: int) -> np.ndarray:
    """The weights of item-kNN, ``(items, items)``: of each item (a column) the cosines with its nearest ``neighbours``, else 0.

    Reference: Deshpande & Karypis (2004), "Item-based top-N recommendation algorithms", TOIS 22.
    """
    found = cosines(had)
    if neighbours < len(found):
        cut = -np.partition(-found, neighbours - 1, axis=0)[neighbours - 1]
        found[found < cut[None]] = 0
    return found


def chosen(
    options: Iterable[float], make: Callable[[float], np.ndarray], judge: Callable[[np.ndarray], float]
) -> tuple[float, float]:
    """The option whose weights are judged best, and how good they are."""
    return max(((option, judge(make(option))) for option in options), key=lambda each: each[1])


# Of ratings.


def item_means(pairs: Interactions, items: int) -> np.ndarray:
    """The mean rating of each item, ``(items,)``, a few ratings being drawn to the mean of all."""
    return _means(pairs, pairs.item, items)


def user_means(pairs: Interactions, users: int) -> np.ndarray:
    """The mean rating of each user, ``(users,)``, a few ratings being drawn to the mean of all."""
    return _means(pairs, pairs.user, users)


def _means(pairs: Interactions, who: np.ndarray, count: int) -> np.ndarray:
    rating = np.asarray(pairs.rating)
    total, number = np.bincount(who, rating, count), np.bincount(who, minlength=count)
    found: np.ndarray = (total + _SHRINK * rating.mean()) / (number + _SHRINK)
    return found


def biases(pairs: Interactions, users: int, items: int, *, rounds: int = 10) -> tuple[float, np.ndarray, np.ndarray]:
    """``μ``, ``b_u`` and ``b_i`` of ``r = μ + b_u + b_i`` with the least squares, drawn to 0, by turns.

    Reference: Koren (2010), "Factor in the neighbors", TKDD 4, section 2.1.
    """
    rating = np.asarray(pairs.rating)
    mean = float(rating.mean())
    user, item = np.zeros(users), np.zeros(items)
    counts = [np.bincount(who, minlength=count) for who, count in ((pairs.user, users), (pairs.item, items))]
    for _ in range(rounds):
        item = np.bincount(pairs.item, rating - mean - user[pairs.user], items) / (counts[1] + _SHRINK)
        user = np.bincount(pairs.user, rating - mean - item[pairs.item], users) / (counts[0] + _SHRINK)
    return mean, user, item


def rated_knn(pairs: Interactions, users: int, items: int, asked: Interactions, *, neighbours: int = 40) -> np.ndarray:
    """Ratings of the asked pairs from the user's ratings of the most similar items, ``(asked,)``: the biases, and the weighted mean of
    what is left of ``r − b`` by the cosines of these rests.

    Reference: Koren (2010), equation 3, with the shrunk similarity of section 2.2.
    """
    mean, user, item = biases(pairs, users, items)
    rest = np.zeros((users, items), np.float32)
    rest[pairs.user, pairs.item] = np.asarray(pairs.rating) - mean - user[pairs.user] - item[pairs.item]
    had = matrix(pairs, users, items)
    common = had.T @ had
    near = np.maximum(cosines(rest), 0) * (common / (common + 100))
    found = mean + user[asked.user] + item[asked.item]
    for place, (who, what) in enumerate(zip(asked.user, asked.item, strict=True)):
        own = np.flatnonzero(had[who])
        weights = near[own, what]
        if len(own) > neighbours:
            kept = np.argpartition(-weights, neighbours)[:neighbours]
            own, weights = own[kept], weights[kept]
        if weights.sum() > 0:
            found[place] += weights @ rest[who, own] / weights.sum()
    return found
