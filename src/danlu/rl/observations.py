"""The encoder of an agent's model: each row is an observation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np

from danlu.blueprint import from_json, to_json
from danlu.data.fields import Field, values_of
from danlu.errors import ArtifactError, SchemaError
from danlu.rl.spaces import Box, DictSpace, Space

__all__ = ["KIND", "Observations", "assembled", "parts"]

KIND = "agent"  # of a saved model


@dataclasses.dataclass(frozen=True)
class Observations:
    """Observations of a space, unchanged: there is nothing to fit.

    Attributes:
        space: of one observation.
        in_shape: of one row for the agent's network, which may take more than what is seen.

    Example:
        >>> seen = Observations(Box(-1.0, 1.0, (2,)), (2,))
        >>> [field.name for field in seen.fields], seen.rows([{"observation": [0.5, 0.25]}], print).tolist()
        (['observation'], [[0.5, 0.25]])
    """

    space: Space
    in_shape: Any

    @property
    def fields(self) -> tuple[Field, ...]:
        return tuple(Field(name, "array", space.shape) for name, space in parts(self.space))

    def rows(self, records: Sequence[Mapping[str, Any]], say: Callable[[str], None]) -> Any:
        """The observations of records.

        Raises:
            SchemaError: values that are not an observation of the space.
        """
        found = (
            _values(records, field, space) for field, (_, space) in zip(self.fields, parts(self.space), strict=True)
        )
        return assembled(self.space, found)

    def transform(self, rows: Any) -> Any:
        """Observations as the agent takes them: they are arrays already."""
        return rows

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The spaces as plain data, and arrays (none), for the artifact."""
        return {"kind": KIND, "space": to_json(self.space), "in_shape": to_json(self.in_shape)}, {}

    @classmethod
    def from_state(cls, data: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        space = from_json(data.get("space"))
        if not isinstance(space, Space):
            raise ArtifactError(f"the saved agent sees {str(data.get('space'))[:60]}; expected a space")
        return cls(space, from_json(data.get("in_shape")))


def parts(space: Space, name: str = "") -> Iterator[tuple[str, Space]]:
    """The spaces of arrays in a space, by names such as ``"observation"`` or ``"arm/angle"``."""
    if isinstance(space, DictSpace):
        for part, inner in space.entries:
            yield from parts(inner, f"{name}/{part}" if name else part)
    else:
        yield name or "observation", space


def assembled(space: Space, leaves: Iterator[np.ndarray]) -> Any:
    """An observation of a space from its arrays, in the sequence of :func:`parts`."""
    if isinstance(space, DictSpace):
        return {name: assembled(inner, leaves) for name, inner in space.entries}
    return next(leaves)


def _values(records: Sequence[Mapping[str, Any]], field: Field, space: Space) -> np.ndarray:
    """The values of one space; whole numbers must be in it, others may be farther than an episode ever went."""
    found = values_of(records, field)
    values: np.ndarray = found.astype(space.dtype)
    if values.dtype.kind != "f":
        for number, (given, value) in enumerate(zip(found, values, strict=True), 1):
            if not (given == value).all() or not space.contains(value):
                raise SchemaError(
                    f"{field.name!r} of record {number} is {str(records[number - 1][field.name])[:60]}; expected {_told(space)}"
                )
    return values


def _told(space: Any) -> str:
    return f"whole numbers {space.low} to {space.high}" if isinstance(space, Box) else f"a value of {space}"
