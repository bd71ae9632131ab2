"""A user who comes with what it had: found among the users that a trained recommender could have learnt, without training."""

from __future__ import annotations

from typing import Any

import numpy as np

from danlu.errors import ConfigError
from danlu.recommend.encoder import RecommendEncoder
from danlu.recommend.networks import Matcher
from danlu.recommend.rank import Scores, item_vectors, scorer, user_vectors

__all__ = ["newcomer", "ranked_newcomer", "rated_newcomer"]

_LEAST = 1e-6  # of the variance of users' vectors


def newcomer(
    network: Matcher, params: Any, state: Any, encoder: RecommendEncoder, had: np.ndarray, ratings: np.ndarray | None
) -> Scores:
    """What a user thinks of each item who had these.

    A network that reads sequences reads this one. Of the others the user's vector is found that is likeliest, given what it had and how the
    vectors of the known users lie: :func:`rated_newcomer`, :func:`ranked_newcomer`.

    Args:
        had: numbers of items in order, one or more.
        ratings: beside them; None where items are ranked.

    Raises:
        ConfigError: a network on pairs, of which there is no such form.
    """
    if network.reads_history:
        history = np.zeros((1, encoder.length), np.int32)
        last = had[-encoder.length :]
        history[0, encoder.length - len(last) :] = last
        return scorer(network, params, state, encoder, {"user": np.zeros(1, np.int32), "history": history})
    if network.hidden:
        raise ConfigError(
            "--history is what a new user had, and recommend.model=neural knows users by number alone",
            hint="the models factors, svd++, towers and sequence answer it",
        )
    items, users = (made(network, params, state, encoder) for made in (item_vectors, user_vectors))
    offset = float(state["offset"])
    mean, root = _spread(users[1:])
    if ratings is None:
        own = ranked_newcomer(items[1:], had - 1, mean, root)
    else:
        known = np.repeat(np.arange(len(users)), np.diff(encoder.starts))
        said = offset + users[known, -1] + items[encoder.had, -1] + (users[known, :-1] * items[encoder.had, :-1]).sum(1)
        noise = float(np.square(said - np.asarray(encoder.ratings)).mean()) if len(known) else 1.0
        own = rated_newcomer(items[had], ratings - offset, mean, root, max(noise, _LEAST))
    scores = offset + own[-1] + items[:, -1] + items[:, :-1] @ own[:-1]
    return lambda users: np.repeat(scores[None], len(users), axis=0)


def rated_newcomer(
    items: np.ndarray, ratings: np.ndarray, mean: np.ndarray, root: np.ndarray, noise: float
) -> np.ndarray:
    """The vector and bias ``v = [p, b]`` of a user by its ratings ``r_j ~ N(p·q_j + b + b_j, noise)``, where ``v ~ N(mean, root·rootᵀ)``::

        v = mean + S·Aᵀ·(A·S·Aᵀ + noise·1)⁻¹·(r − b_j − A·mean),    A = [q_j, 1],  S = root·rootᵀ

    Args:
        items: vectors and biases of the items ``(had, dim + 1)``.
        ratings: beside them, less the offset.

    Reference: Rasmussen & Williams, "Gaussian processes for machine learning" (2006), section 2.1.

    Example:
        >>> rated_newcomer(np.array([[1.0, 0.0]]), np.array([2.0]), np.zeros(2), np.diag([1.0, 1e-3]), 1e-9).round(2).tolist()
        [2.0, 0.0]
    """
    a = np.concatenate([items[:, :-1], np.ones((len(items), 1))], axis=1)
    s = root @ root.T
    left = a @ s @ a.T + noise * np.eye(len(items))
    found: np.ndarray = mean + s @ a.T @ np.linalg.solve(left, ratings - items[:, -1] - a @ mean)
    return found


def ranked_newcomer(items: np.ndarray, had: np.ndarray, mean: np.ndarray, root: np.ndarray) -> np.ndarray:
    """The vector and bias of a user by what it had among all items: the least of a convex function of ``w``, where ``v = mean + root·w``::

        −Σ_j log softmax(p·q + b)_j + ½·|w|²

    Args:
        items: vectors and biases of all items ``(items, dim + 1)``.
        had: the places of those that it had.

    Example:
        >>> items = np.array([[1.0, 0.0], [-1.0, 0.0]])
        >>> bool(ranked_newcomer(items, np.array([0]), np.zeros(2), np.eye(2))[0] > 0.3)
        True
    """
    from scipy.optimize import minimize

    q, bias = items[:, :-1], items[:, -1]
    wanted = np.bincount(had, minlength=len(items))

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        scores = bias + q @ (mean + root @ w)[:-1]
        top = scores.max()
        whole = np.exp(scores - top).sum()
        p = np.exp(scores - top) / whole
        value = len(had) * (top + np.log(whole)) - wanted @ scores + 0.5 * w @ w
        slope = root[:-1].T @ (q.T @ (len(had) * p - wanted)) + w
        return float(value), slope

    found: np.ndarray = mean + root @ minimize(loss, np.zeros(root.shape[1]), jac=True, method="L-BFGS-B").x
    return found


def _spread(users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean of vectors and a root of their covariance."""
    mean = users.mean(axis=0)
    covariance = np.atleast_2d(np.cov(users, rowvar=False, ddof=0)) if len(users) > 1 else np.eye(len(mean))
    return mean, np.linalg.cholesky(covariance + _LEAST * (1 + np.trace(covariance)) * np.eye(len(mean)))
