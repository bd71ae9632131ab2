"""The settings of fairness: which columns name the groups that a model is judged by, and whether the model sees them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from danlu.blueprint import Blueprint, setting

__all__ = ["Fair"]


class Fair(Blueprint):
    """Groups of rows that a model is judged by.

    Args:
        sensitive: the columns that name the groups, such as ``("sex", "race")``; with several, the rows are also judged by all of them
            together.
        limits: of numbers, such as ``{"age": [25, 45, 65]}``: where a group ends and the next one begins; by default numbers are divided
            into four groups of about the same size.
        as_input: whether the model sees these columns; by default it does not.
        smallest: rows that a group needs to be compared with others.
    """

    sensitive: tuple[str, ...] = ()
    limits: Mapping[str, tuple[float, ...]] = dataclasses.field(default_factory=dict, hash=False)
    as_input: bool = False
    smallest: int = setting(default=30, minimum=2, integer=True)
