"""The columns of a table in a few words and a small picture each."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl

from danlu.data import Column, Schema
from danlu.data.kinds import as_kind
from danlu.prose import percent

__all__ = ["ColumnSummary", "describe_columns"]

_BINS = 16
_MOST_ROWS = 20_000


@dataclasses.dataclass(frozen=True)
class ColumnSummary:
    """What a report shows of a column.

    Attributes:
        name, kind: the column's.
        role: ``"target"``, ``"not used"`` or ``""``.
        missing: such as ``"12 %"``; empty when no value is missing.
        distinct: how many different values it has.
        values: its range or its levels, or why it is not used.
        histogram: the height of each bar, 0 to 1: of a number in bins of equal width, of classes the most frequent first.
    """

    name: str
    kind: str
    role: str
    missing: str
    distinct: int
    values: str
    histogram: tuple[float, ...] = ()

    @property
    def picture(self) -> str:
        """The histogram as a small inline SVG; empty without one."""
        step = 72 / max(len(self.histogram), 1)
        bars = "".join(
            f'<rect x="{i * step:.1f}" y="{18 - 18 * height:.1f}" width="{max(step - 1, 0.8):.1f}" height="{18 * height:.1f}"/>'
            for i, height in enumerate(self.histogram)
        )
        return (
            f'<svg class="bars" viewBox="0 0 72 18" width="72" height="18" aria-hidden="true">{bars}</svg>'
            if bars
            else ""
        )


def describe_columns(schema: Schema, frame: pl.DataFrame | None = None) -> tuple[ColumnSummary, ...]:
    """A summary of every column of ``schema``; with rows, such as those of the test, also the distribution of their values.

    Args:
        schema: the columns.
        frame: rows to draw the histograms from, at most the first 20,000; columns that it lacks get none.

    Example:
        >>> from danlu.data import infer_schema
        >>> frame = pl.DataFrame({"age": [20, 30, 31, 60], "y": ["no", "yes", "no", "no"]})
        >>> age, y = describe_columns(infer_schema(frame, target="y"), frame)
        >>> age.values, y.values, [round(height, 2) for height in y.histogram]
        ('20 … 60', 'no, yes', [1.0, 0.33])
    """
    rows = None if frame is None else frame.head(_MOST_ROWS)
    return tuple(_summary(column, schema, rows) for column in schema.columns)


def _summary(column: Column, schema: Schema, frame: pl.DataFrame | None) -> ColumnSummary:
    role = "target" if column.name == schema.target else "" if column.used else "not used"
    missing = percent(column.missing / max(schema.rows, 1)) if column.missing else ""
    histogram: tuple[float, ...] = ()
    if frame is not None and column.name in frame.columns and role != "not used":
        histogram = _histogram(column, frame[column.name])
    return ColumnSummary(column.name, column.kind, role, missing, column.distinct, _values(column, role), histogram)


def _values(column: Column, role: str) -> str:
    if role == "not used" and column.reason:
        return column.reason
    if column.extent:
        return column.extent
    levels = column.categories[:5] if column.kind == "categorical" else column.examples[:3]
    more = "" if column.distinct <= len(levels) else ", …"
    return ", ".join(level if len(level) <= 40 else level[:39] + "…" for level in levels) + more


def _histogram(column: Column, values: pl.Series) -> tuple[float, ...]:
    typed = as_kind(values, column.kind).drop_nulls()
    if column.kind in ("numeric", "datetime"):
        numbers = (typed.dt.timestamp("ms") if column.kind == "datetime" else typed).cast(pl.Float64).to_numpy()
        numbers = numbers[np.isfinite(numbers)]
        if not len(numbers):
            return ()
        low, high = np.quantile(numbers, [0.005, 0.995])  # a few far values must not flatten the picture
        if not high > low:
            low, high = low - 0.5, high + 0.5
        counts = np.histogram(np.clip(numbers, low, high), bins=_BINS, range=(low, high))[0]
    elif column.kind in ("categorical", "boolean"):
        counts = typed.cast(pl.String).value_counts(sort=True)["count"].head(_BINS).to_numpy()
    else:
        return ()
    most = counts.max(initial=0)
    return tuple(float(count) / float(most) for count in counts) if most else ()
