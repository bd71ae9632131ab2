"""Rows that are made up near those of a table, for a teacher to answer: it knows more than its training rows show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["made_up"]

_CANDIDATES = 2048  # rows among which a neighbour is looked for, drawn anew each time
_FEW = 20  # values of a column up to which it is one of names, which are not changed a little
_PIECE = 256  # rows whose distances are in memory at a time


def made_up(
    inputs: Mapping[str, np.ndarray], times: int, *, swapped: float = 0.5, sharpness: float = 2.0, seed: int = 0
) -> dict[str, np.ndarray]:
    """``times`` new encoded rows for each row: a row with a part of its values from one of its neighbours.

    With the probability ``swapped`` a value is the neighbour's: of a column of names as it is, of a quantity drawn from
    ``N(b, (|a − b|/s)²)``, where ``a`` is the row's own, ``b`` the neighbour's and ``s`` the ``sharpness``. So columns that hang
    together do so in the new rows as well, which shuffled columns would not.

    Args:
        inputs: ``{"numeric", "categorical", "text"}`` of a table, as encoded; texts are taken over whole.

    Returns:
        The same arrays for ``times`` · rows rows: those made from all rows once, then once more.

    Reference: MUNGE, algorithm 1 of Bucila, Caruana & Niculescu-Mizil, "Model compression" (KDD 2006), with one new row for each pair.

    Example:
        >>> rows = {"numeric": np.array([[0.0], [1.0], [10.0]], np.float32)}
        >>> made_up(rows, 2)["numeric"].shape
        (6, 1)
    """
    random = np.random.default_rng(seed)
    found = [_once(inputs, swapped, sharpness, random) for _ in range(times)]
    return {name: np.concatenate([each[name] for each in found]) for name in inputs}


def _once(
    inputs: Mapping[str, np.ndarray], swapped: float, sharpness: float, random: np.random.Generator
) -> dict[str, Any]:
    rows = len(next(iter(inputs.values())))
    chosen = random.permutation(rows)[:_CANDIDATES]
    other = _nearest(inputs, chosen)
    made: dict[str, np.ndarray] = {}
    for name, values in inputs.items():
        theirs = values[other]
        if name == "text":
            made[name] = np.where(random.random((rows, 1)) < swapped, theirs, values)
            continue
        taken = theirs
        if name == "numeric":
            named = np.array([len(np.unique(column)) <= _FEW for column in values[chosen].T], bool)
            noise = random.normal(size=values.shape) * np.abs(values - theirs) / sharpness
            taken = (theirs + np.where(named[None], 0, noise)).astype(values.dtype)
        made[name] = np.where(random.random(values.shape) < swapped, taken, values)
    return made


def _nearest(inputs: Mapping[str, np.ndarray], chosen: np.ndarray) -> np.ndarray:
    """The nearest of the chosen rows to each row, itself left out: by the squares of the differences, 1 for another category."""
    parts = [np.asarray(inputs[name], np.float32) for name in ("numeric", "text") if name in inputs]
    rows = len(next(iter(inputs.values())))
    plain = np.concatenate(parts, axis=1) if parts else np.zeros((rows, 0), np.float32)
    codes = inputs.get("categorical", np.zeros((rows, 0), np.int32))
    square = (plain**2).sum(axis=1)
    found = np.empty(rows, np.int64)
    for begin in range(0, rows, _PIECE):
        own = slice(begin, begin + _PIECE)
        apart = square[own, None] - 2 * plain[own] @ plain[chosen].T + square[None, chosen]
        for column in range(codes.shape[1]):
            apart += codes[own, column, None] != codes[None, chosen, column]
        apart[np.arange(begin, begin + len(apart))[:, None] == chosen[None]] = np.inf
        found[own] = chosen[apart.argmin(axis=1)]
    return found
