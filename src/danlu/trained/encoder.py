"""Encoders turn rows as they were read into a network's inputs: the second of the four parts of a trained model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np

from danlu.data.fields import Field

__all__ = ["Encoder"]


@runtime_checkable
class Encoder(Protocol):
    """An encoder, fitted to training rows; see :mod:`danlu.data` for those of each kind of data."""

    @property
    def in_shape(self) -> Any:
        """The shape of one encoded row, what a network's ``init`` takes."""
        ...

    @property
    def fields(self) -> tuple[Field, ...]:
        """The schema: what one row is made of."""
        ...

    def rows(self, records: Sequence[Mapping[str, Any]], say: Callable[[str], None]) -> Any:
        """Records of plain data as rows that :meth:`transform` takes.

        Args:
            say: called with each notice, such as a number far outside the range of the training data.

        Raises:
            SchemaError: a field is missing, or a value does not fit.
        """
        ...

    def transform(self, rows: Any) -> Any:
        """Arrays with a leading row axis; a row's arrays do not depend on the other rows."""
        ...

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The encoder as plain data (with its ``"kind"``) and arrays."""
        ...

    @classmethod
    def from_state(cls, data: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        """The inverse of :meth:`state`.

        Raises:
            ArtifactError: it is damaged.
        """
        ...
