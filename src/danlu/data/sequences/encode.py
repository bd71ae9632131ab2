"""Sequences of any length to arrays of one shape, and a mask of their real steps."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from danlu.data.fields import Field
from danlu.data.format import Format
from danlu.errors import ArtifactError, SchemaError

__all__ = ["SequenceEncoder"]

_MOST_STEPS = 256
_LIMIT = 100_000
FARTHEST = 1e6  # standard deviations from the mean: beyond them a network's numbers could become infinite


@dataclasses.dataclass(frozen=True, eq=False)
class SequenceEncoder:
    """``(v − mean)/scale`` of each column, gaps filled, neighbouring steps averaged where sequences are long, and padded.

    Attributes:
        columns: their names.
        mean, scale: ``(columns,)`` float64, of the real steps of the training sequences; the scale of a column that never
            changes is 1.
        steps: of an input; of a longer sequence the last ones are kept.
        every: neighbouring steps that become one, their mean; the same for all sequences, which keeps their pace.
        series, time: the columns of the table that it was fitted to, for reading others.
        formats: how the texts of its columns are written; none in artifacts that had none.

    Example:
        >>> encoder = SequenceEncoder.fit([np.array([[1.0], [3.0]]), np.array([[np.nan], [5.0], [5.0]])], ("v",))
        >>> inputs = encoder.transform([np.array([[3.5], [np.nan]])])
        >>> inputs["x"][0, :, 0].round(2).tolist(), inputs["mask"][0].tolist()
        ([0.0, 0.0, 0.0], [True, True, False])
    """

    columns: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    steps: int
    every: int = 1
    series: str | None = None
    time: str | None = None
    formats: Mapping[str, Format] = dataclasses.field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        values: Sequence[np.ndarray],
        columns: Sequence[str],
        *,
        most: int | None = None,
        series: str | None = None,
        time: str | None = None,
        formats: Mapping[str, Format] | None = None,
    ) -> SequenceEncoder:
        """The encoder for training sequences.

        Args:
            values: of each, ``(steps, columns)``, NaN where missing.
            columns: their names.
            most: steps of an input at most; None is 256. Longer sequences are averaged in time.
            series, time, formats: see :class:`SequenceEncoder`.
        """
        stacked = np.concatenate(list(values))
        known = np.isfinite(stacked)
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, stacked, 0).sum(axis=0) / count
        scale = np.sqrt((np.where(known, stacked - mean, 0) ** 2).sum(axis=0) / count)
        scale = np.where(scale > 1e-12 * np.maximum(np.abs(mean), 1e-300), scale, 1.0)
        longest, most = max(map(len, values)), most or _MOST_STEPS
        every = math.ceil(longest / most)
        return cls(tuple(columns), mean, scale, math.ceil(longest / every), every, series, time, formats or {})

    @property
    def in_shape(self) -> dict[str, tuple[int, ...]]:
        """What a network's ``init`` takes."""
        return {"x": (self.steps, len(self.columns)), "mask": (self.steps,)}

    def transform(self, values: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """``{"x": float32 (sequences, steps, columns), "mask": bool (sequences, steps)}``, 0 after a sequence's end.

        A gap is filled with the value before it; before the first value of a column stands its mean.
        """
        x = np.zeros((len(values), self.steps, len(self.columns)), np.float32)
        mask = np.zeros(x.shape[:2], bool)
        for row, each in enumerate(values):
            kept = self._one(each)[-self.steps :]
            x[row, : len(kept)], mask[row, : len(kept)] = kept, True
        return {"x": x, "mask": mask}

    def _one(self, values: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            scaled = np.clip((values - self.mean) / self.scale, -FARTHEST, FARTHEST)
        known = np.isfinite(scaled)
        places = np.maximum.accumulate(np.where(known, np.arange(len(scaled))[:, None], 0), axis=0)
        filled = np.nan_to_num(np.take_along_axis(scaled, places, axis=0))
        if self.every == 1:
            return filled
        starts = np.arange(0, len(filled), self.every)
        counts = np.diff([*starts, len(filled)])
        averaged: np.ndarray = np.add.reduceat(filled, starts, axis=0) / counts[:, None]
        return averaged

    def inverse(self, x: np.ndarray) -> np.ndarray:
        """Encoded values ``(…, columns)`` in the columns' own units, float64."""
        return np.asarray(x, np.float64) * self.scale + self.mean

    @property
    def fields(self) -> tuple[Field, ...]:
        """One list of numbers per column, one number per step; a gap is null."""
        spread = zip(self.columns, self.mean - 3 * self.scale, self.mean + 3 * self.scale, strict=True)
        return tuple(Field(name, "column", (None,), float(low), float(high)) for name, low, high in spread)

    def rows(self, records: Sequence[Mapping[str, Any]], say: Callable[[str], None]) -> list[np.ndarray]:
        """The sequences of records, ``(steps, columns)`` of each.

        Raises:
            SchemaError: columns of different lengths, or values that are not numbers.
        """
        found = []
        for number, record in enumerate(records, 1):
            try:
                columns = [np.asarray(record[name], np.float64) for name in self.columns]
            except (TypeError, ValueError, OverflowError) as error:
                raise SchemaError(f"record {number} has a value that is not a number: {str(error)[:80]}") from error
            if any(each.ndim != 1 or not len(each) or len(each) != len(columns[0]) for each in columns):
                raise SchemaError(
                    f"the columns of record {number} have the shapes {[each.shape for each in columns]}; expected lists of one length"
                )
            values = np.stack(columns, axis=1)
            if not np.isfinite(values).any():
                raise SchemaError(f"record {number} has no values")
            if np.isinf(values).any():
                name = self.columns[int(np.isinf(values).any(axis=0).argmax())]
                raise SchemaError(
                    f"{name!r} of record {number} holds an infinite value; expected numbers, null for a gap"
                )
            found.append(values)
        for notice in self.cut(found):
            say(notice)
        return found

    def cut(self, rows: Sequence[np.ndarray]) -> tuple[str, ...]:
        """The notice about sequences that are longer than those in training, if there are any."""
        longer, most = sum(len(each) > self.steps * self.every for each in rows), self.steps * self.every
        if not longer:
            return ()
        return (
            f"{longer:,} of {len(rows):,} sequences are longer than the {most:,} steps trained on; the last steps are used",
        )

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Plain data and arrays, for the artifact."""
        plain = {name: getattr(self, name) for name in ("steps", "every", "series", "time")}
        formats = {name: written.to_json() for name, written in self.formats.items()}
        data = {"kind": "sequence", "columns": list(self.columns), **plain, "formats": formats}
        return data, {"mean": self.mean, "scale": self.scale}

    @classmethod
    def from_state(cls, data: Any, arrays: Mapping[str, np.ndarray]) -> SequenceEncoder:
        """The inverse of :meth:`state`.

        Raises:
            ArtifactError: it is damaged.
        """
        read = data if isinstance(data, Mapping) else {}
        columns, sizes, names = (
            read.get("columns"),
            [read.get(name) for name in ("steps", "every")],
            [read.get(name) for name in ("series", "time")],
        )
        saved = read.get("formats", {})
        mean, scale = (arrays.get(name) for name in ("mean", "scale"))
        fine = (
            isinstance(columns, list)
            and isinstance(saved, dict)
            and all(isinstance(name, str) for name in columns)
            and all(type(size) is int and 0 < size <= _LIMIT for size in sizes)
            and all(name is None or isinstance(name, str) for name in names)
            and mean is not None
            and scale is not None
            and mean.shape == scale.shape == (len(columns),)
            and bool(np.isfinite(mean).all() and (scale > 0).all())
        )
        if not fine:
            raise ArtifactError(f"the sequence encoder is damaged: {str(data)[:80]!r}")
        formats = {name: Format.from_json(body) for name, body in saved.items()}
        return cls(tuple(columns), mean, scale, sizes[0], sizes[1], names[0], names[1], formats)  # type: ignore[arg-type]

    def order(self, columns: Sequence[str]) -> list[int]:
        """The positions of the model's columns among those of new data.

        Raises:
            SchemaError: some of them are not there.
        """
        missing = [name for name in self.columns if name not in columns]
        if missing:
            raise SchemaError(
                f"the sequences lack the column{'s' if len(missing) > 1 else ''} {', '.join(map(repr, missing))}; they have: "
                f"{', '.join(columns)}",
                hint="the model was trained on them",
            )
        return [list(columns).index(name) for name in self.columns]
