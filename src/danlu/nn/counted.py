"""How many numbers a network has: its parameters, of which those that became whole numbers are codes in its state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

__all__ = ["codes_of", "numbers"]


def numbers(params: Any, state: Any = ()) -> tuple[int, int]:
    """How many parameters there are, and how many of them are not 0.

    Args:
        state: of a quantised network, whose weights are the codes in it.

    >>> numbers({"kernel": np.array([[0.0, 1.0], [2.0, 0.0]]), "bias": np.zeros(2)})
    (6, 2)
    """
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(params)]
    leaves += [np.asarray(leaf).astype(np.int8) for leaf in codes_of(state)]
    return sum(leaf.size for leaf in leaves), sum(int(np.count_nonzero(leaf)) for leaf in leaves)


def codes_of(state: Any) -> Iterator[Any]:
    """The arrays of codes in a network's state.

    >>> list(codes_of(({"codes": {"kernel": 1}, "state": {}}, {"mean": 2})))
    [1]
    """
    if isinstance(state, Mapping):
        for name, each in state.items():
            yield from jax.tree.leaves(each) if name == "codes" else codes_of(each)
    elif isinstance(state, tuple | list):
        for each in state:
            yield from codes_of(each)
