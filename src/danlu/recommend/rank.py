"""Rankings of the whole catalogue: the first items of each user, and where given items stand, in pieces that fit in memory."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from danlu.evaluate.recommendation import DEPTH, Rankings
from danlu.recommend.encoder import RecommendEncoder
from danlu.recommend.networks import Matcher

__all__ = ["Scores", "first", "item_vectors", "ranking", "scorer", "user_vectors"]

Scores = Callable[[np.ndarray], np.ndarray]
"""From numbers of users ``(users,)`` to what each thinks of each number of an item, ``(users, items + 1)``; place 0 means nothing."""

_NUMBERS = 2**24  # scores that are held at once
_ROWS = 4096  # items that a network sees at once


@functools.partial(jax.jit, static_argnums=0)
def _items(network: Matcher, params: Any, state: Any, x: Any) -> jax.Array:
    return network.items(params, state, x)


@functools.partial(jax.jit, static_argnums=0)
def _users(network: Matcher, params: Any, state: Any, x: Any) -> jax.Array:
    return network.users(params, state, x)


@functools.partial(jax.jit, static_argnums=0)
def _scores(network: Matcher, params: Any, state: Any, x: Any, items: Any) -> jax.Array:
    return network.all_items(params, state, network.users(params, state, x), items)


def item_vectors(network: Matcher, params: Any, state: Any, encoder: RecommendEncoder) -> np.ndarray:
    """The vectors of all numbers of items with their biases, ``(items + 1, dim + 1)``."""
    return _vectors(lambda n: _items(network, params, state, encoder.of_item_numbers(n)), len(encoder.items) + 1)


def user_vectors(network: Matcher, params: Any, state: Any, encoder: RecommendEncoder) -> np.ndarray:
    """The vectors of all numbers of users with their biases, ``(users + 1, dim + 1)``."""
    return _vectors(lambda n: _users(network, params, state, encoder.of_user_numbers(n)), len(encoder.users) + 1)


def _vectors(made: Callable[[np.ndarray], jax.Array], count: int) -> np.ndarray:
    size = min(_ROWS, count)
    found = []
    for low in range(0, count, size):
        numbers = np.minimum(np.arange(low, low + size, dtype=np.int32), count - 1)  # of one size: one program
        found.append(np.asarray(made(numbers))[: count - low])
    return np.concatenate(found)


def scorer(
    network: Matcher, params: Any, state: Any, encoder: RecommendEncoder, given: Mapping[str, np.ndarray] | None = None
) -> Scores:
    """The scores of a network.

    Args:
        given: what the network reads of the users, in order, where they are not those that the encoder knows by number.
    """
    items = item_vectors(network, params, state, encoder)

    def scores(users: np.ndarray) -> np.ndarray:
        filled = 1 << max(0, int(len(users) - 1).bit_length())  # few sizes, few programs
        wanted = np.resize(users, filled)
        inputs = (
            encoder.of_user_numbers(wanted.astype(np.int32))
            if given is None
            else {name: values[wanted] for name, values in given.items()}
        )
        return np.asarray(_scores(network, params, state, inputs, items))[: len(users)].astype(np.float64)

    return scores


def _pieces(count: int, items: int) -> Iterator[slice]:
    size = 1 << max(0, min(9, int(_NUMBERS // max(items, 1)).bit_length() - 1))
    for low in range(0, count, size):
        yield slice(low, min(low + size, count))


def _without(scores: np.ndarray, encoder: RecommendEncoder, users: np.ndarray) -> np.ndarray:
    """The scores with −∞ for what is no item and what the user had."""
    scores[:, 0] = -np.inf
    for row, user in enumerate(users):
        scores[row, encoder.had[encoder.starts[user] : encoder.starts[user + 1]]] = -np.inf
    return scores


def _first(scores: np.ndarray, count: int) -> np.ndarray:
    """The places of the highest scores, the highest first and of equal ones the first; −1 where there is none, ``(rows, count)``."""
    width = scores.shape[1]
    found = np.full((len(scores), count), -1)
    taken = min(count, width)
    if taken < width:
        cut = -np.partition(-scores, taken - 1, axis=1)[:, taken - 1]
    else:
        cut = np.full(len(scores), -np.inf)
    for row, (values, least) in enumerate(zip(scores, cut, strict=True)):
        places = np.flatnonzero((values >= least) & (values > -np.inf))
        best = places[np.argsort(-values[places], kind="stable")][:taken]
        found[row, : len(best)] = best
    return found


def first(
    scores: Scores, encoder: RecommendEncoder, users: np.ndarray, count: int, *, again: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The first items of each user and their scores, both ``(users, count)``; −1 and NaN where there are fewer.

    Args:
        users: what ``scores`` takes; where ``again`` is false these are numbers that the encoder knows.
        again: whether items that the user had are among them.
    """
    places, values = np.full((len(users), count), -1), np.full((len(users), count), np.nan)
    for part in _pieces(len(users), len(encoder.items)):
        found = scores(users[part])
        if again:
            found[:, 0] = -np.inf
        else:
            _without(found, encoder, users[part])
        places[part] = _first(found, count)
        own = np.take_along_axis(found, np.maximum(places[part], 0), 1)
        values[part] = np.where(places[part] >= 0, own, np.nan)
    return places, values


def ranking(
    scores: Scores, encoder: RecommendEncoder, users: np.ndarray, owner: np.ndarray, true: np.ndarray
) -> Rankings:
    """Where the true items of users stand among all that they did not have.

    An item ranks behind all of the same score, so that a model which finds all alike gets nothing from it.

    Args:
        users: their numbers, ``(users,)``.
        owner: which of them each true item is of, ``(true items,)``, growing.
        true: the items' numbers, none of which the user had; 0 is one that is not known, whose rank is infinite.
    """
    ranks = np.full(len(true), np.inf)
    top = np.full((len(users), DEPTH), -1)
    for part in _pieces(len(users), len(encoder.items)):
        found = _without(scores(users[part]), encoder, users[part])
        top[part] = _first(found, DEPTH)
        low, high = np.searchsorted(owner, [part.start, part.stop])
        for place in range(low, high):
            if true[place]:
                own = found[owner[place] - part.start]
                ranks[place] = (own >= own[true[place]]).sum()
    return Rankings(ranks, owner, top - 1, encoder.popularity[1:])
