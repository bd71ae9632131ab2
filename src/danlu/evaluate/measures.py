"""What is measured, for people: the label of each measure and which way is better. Each kind of evidence registers its own measures."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

from danlu.evaluate.families import Family

__all__ = ["MEASURES", "Measure", "register"]


@dataclasses.dataclass(frozen=True)
class Measure:
    """A measure as it is shown.

    Attributes:
        name: its key in results.
        label: how it is printed.
        higher_is_better: its direction.
        family: what kind of number it is, from which its interval follows.
    """

    name: str
    label: str
    higher_is_better: bool
    family: Family


_REGISTERED: dict[str, Measure] = {}

MEASURES: Mapping[str, Measure] = MappingProxyType(_REGISTERED)
"""Every measure by its name: what the modules that define measures have registered."""


def register(*measures: Measure) -> tuple[str, ...]:
    """Make measures known by their names, which are returned.

    Raises:
        ValueError: a name that another measure has.
    """
    for measure in measures:
        if _REGISTERED.setdefault(measure.name, measure) is not measure:
            raise ValueError(f"there are two measures {measure.name!r}; expected another name")
    return tuple(measure.name for measure in measures)
