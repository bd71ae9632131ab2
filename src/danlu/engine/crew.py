"""The members of a population that still learn: those that have stopped are taken out of the compiled program."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np

__all__ = ["crew_of", "put_back", "taken"]


def crew_of(active: Any, group: int = 1) -> np.ndarray | None:
    """The members that a step is taken with; None is all of them.

    Programs are compiled for half of the members, a quarter, and so on, and the smallest one that holds all that are active is used; its
    other places go to the first members that have stopped, which rest there. The choice depends on nothing but ``active``, so a
    resumed training makes the same one.

    Args:
        active: whether each member still learns, ``(members,)``.
        group: so many members after each other are one model, and stop together.

    Example:
        >>> crew_of([True, False, True, False, False, False, True, False]).tolist()
        [0, 1, 2, 6]
        >>> crew_of([True, True, True, False]) is None
        True
    """
    models: np.ndarray = np.asarray(active).reshape(-1, group).max(axis=1)
    size = len(models)
    while size > 1 and (size + 1) // 2 >= models.sum():
        size = (size + 1) // 2
    if size == len(models):
        return None
    first = np.sort(np.argsort(~models, kind="stable")[:size])
    return (first[:, None] * group + np.arange(group)).ravel()


@jax.jit
def taken(tree: Any, crew: Any) -> Any:
    """The part of some members, of a tree of arrays with a leading axis of members."""
    return jax.tree.map(lambda leaf: leaf[crew], tree)


@functools.partial(jax.jit, donate_argnames=("tree",))
def put_back(tree: Any, crew: Any, part: Any) -> Any:
    """The tree with the part of some members renewed."""
    return jax.tree.map(lambda leaf, own: leaf.at[crew].set(own), tree, part)
