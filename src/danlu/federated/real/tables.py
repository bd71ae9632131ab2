"""Tables of several owners: one schema and one encoder for all, from sums and names alone.

Nobody's rows are looked at together, so what :meth:`TableEncoder.fit` takes from rows comes from what owners say of theirs:

- names and kinds of columns, which must be the same for all; the levels of categories that have at least ``LEAST`` rows with one owner;
  the classes of the target; a power of two above each column's largest value, for the digits of sums;
- the mean and then the variance of each numeric column, and its share of gaps, as means over all owners' rows;
- a histogram over all owners' rows in fixed bins, for the quantiles that a network's bins are set by.

The means go through a secure sum where one is asked for. No smallest, largest or example value leaves an owner. Columns of texts are left
out: their words would have to leave. The number in place of a gap is the mean, and not the median.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from danlu.data import Schema, TableEncoder, TargetEncoder, drop_missing_target, infer_schema, infer_task, read_table
from danlu.data.dates import DATE_PARTS, useful_parts
from danlu.data.format import Format
from danlu.data.infer import natural_key
from danlu.data.kinds import as_text
from danlu.data.levels import LevelCoder
from danlu.data.scaling import NumericScaler
from danlu.data.schema import Column
from danlu.errors import DataError, SchemaError, unknown_name
from danlu.federated.real.messages import ToldError

__all__ = ["LEAST", "Agreed", "TableRows", "agree", "encoder_of"]

LEAST = 3
"""The fewest rows of one owner by which a level is named."""
_EDGES = np.concatenate([[-np.inf], np.linspace(-4, 4, 129), [np.inf]])  # of the histograms, in standard deviations
_GRID = np.linspace(0, 1, 257)
_PARTS = {"time": 17, "year": 12}  # days since 1970 are below 2^17; the others are waves


@dataclasses.dataclass(frozen=True)
class Agreed:
    """What all owners agree on before numbers are looked at.

    Attributes:
        schema: of all; it holds no value of a row but the names of categories.
        dates: the parts of each date-time column.
        levels: the names of each categorical column's levels, and whether it has gaps.
        exponents: of the numeric columns, date parts and, for a quantity, the target: each is below ``2^exponent``.
        task, classes: of the target; ``kind`` is that of its values.
    """

    schema: Schema
    dates: tuple[tuple[str, tuple[str, ...]], ...]
    levels: tuple[tuple[str, tuple[str, ...], bool], ...]
    exponents: tuple[int, ...]
    task: str
    classes: tuple[str, ...]
    kind: str

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {**dataclasses.asdict(self), "schema": self.schema.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Agreed:
        """The inverse of :meth:`to_json`."""
        return cls(
            Schema.from_json(data["schema"]),
            tuple((name, tuple(parts)) for name, parts in data["dates"]),
            tuple((name, tuple(levels), bool(gaps)) for name, levels, gaps in data["levels"]),
            tuple(data["exponents"]),
            data["task"],
            tuple(data["classes"]),
            data["kind"],
        )

    @property
    def plain(self) -> TableEncoder:
        """An encoder that reads numbers as they are."""
        return TableEncoder(self.schema, self.dates, None, (), ())


class TableRows:
    """One owner's table, and what is said of it.

    Args:
        source: a file or a frame.
        target: the column to predict.
        drop: columns that are not used.
        kinds: the kinds of columns, where they are not to be found out.
    """

    def __init__(
        self, source: Any, target: str, *, drop: Sequence[str] = (), kinds: Mapping[str, str] | None = None
    ) -> None:
        table = read_table(source, kinds=dict(kinds or {}))
        if target not in table.names:
            raise unknown_name("target column", target, table.names, error=ToldError)  # the names are told anyway
        self.frame, _ = drop_missing_target(table.frame, target, table.met.get(target, ()))
        if not self.frame.height:
            raise DataError(
                f"{_named(source)} has no rows with a value for {target!r}",
                hint="an owner takes part with its own rows",
            )
        self.target = target
        self.schema = infer_schema(self.frame, target=target, kinds=kinds, drop=tuple(drop), formats=table.formats)
        self.frame = self.frame.with_columns(
            column.read(self.frame[column.name]).alias(column.name) for column in self.schema.features
        )
        self._labels: np.ndarray | None = None

    def describe(self) -> dict[str, Any]:
        """What is said of the table before anything is agreed on: names, kinds, frequent levels, magnitudes, the task."""
        columns = []
        for column in self.schema.columns:
            if column.name == self.target:
                continue
            said: dict[str, Any] = {
                "name": column.name,
                "kind": column.kind,
                "used": column.used,
                "reason": column.reason,
            }
            if column.used:
                values = self.frame[column.name]
                said |= {"format": column.format.to_json(), "gaps": values.null_count() > 0, "whole": column.whole}
                said |= {"merged": column.merged}
                if column.kind == "categorical":
                    said["levels"] = list(LevelCoder.fit(values, min_count=LEAST).levels) if _frequent(values) else []
                elif column.kind == "datetime":
                    said["parts"] = list(useful_parts(values))
            columns.append(said)
        return {
            "rows": self.frame.height,
            "columns": columns,
            "target": self._described(),
            "exponents": self._exponents(),
        }

    def _described(self) -> dict[str, Any]:
        labels = self.frame[self.target]
        counts = labels.value_counts(name="rows")
        if labels.dtype.is_float() and counts.height < 3:  # two classes, or a quantity, whose values are not told
            counts = counts.filter(pl.col("rows") >= LEAST)
        if counts.height < 2:  # the others have the rest
            return {"task": "", "classes": as_text(counts[self.target]).to_list(), "kind": _kind(labels)}
        found = infer_task(labels)
        return {"task": found.task, "classes": list(found.classes), "kind": _kind(labels)}

    def _exponents(self) -> dict[str, int]:
        named = {c.name: self.frame[c.name].cast(pl.Float64) for c in self.schema.of_kind("numeric")}
        if self.frame[self.target].dtype.is_numeric():
            named[self.target] = self.frame[self.target].cast(pl.Float64)
        return {name: _exponent(values.to_numpy()) for name, values in named.items()}

    def numbers(self, agreed: Agreed) -> np.ndarray:
        """``(rows, columns)`` of the numeric columns, the parts of dates and, for a quantity, the target; NaN in gaps."""
        found = agreed.plain.numbers(self.frame)
        if agreed.task != "regression":
            return found
        return np.column_stack([found, self.frame[self.target].cast(pl.Float64).to_numpy()])

    def _told(self, agreed: Agreed, rows: np.ndarray) -> np.ndarray:
        """The numbers that means are taken of: a column with fewer than ``LEAST`` values has none, since its mean would tell them."""
        found = self.numbers(agreed)[rows]
        found[:, np.isfinite(found).sum(axis=0) < LEAST] = np.nan
        return found

    def means(self, agreed: Agreed, rows: np.ndarray) -> np.ndarray:
        """For each column the share of rows with a value, and the mean of ``value/2^exponent``, 0 in gaps."""
        values = self._told(agreed, rows) / 2.0 ** np.asarray(agreed.exponents)
        return np.concatenate([np.isfinite(values).mean(axis=0), np.nan_to_num(values).mean(axis=0)])

    def squares(self, agreed: Agreed, rows: np.ndarray, centre: np.ndarray) -> np.ndarray:
        """For each column the mean of ``((value − centre)/2^exponent)²``, 0 in gaps."""
        values = (self._told(agreed, rows) - centre) / 2.0 ** np.asarray(agreed.exponents)
        return np.nan_to_num(values**2).mean(axis=0)

    def shares(self, agreed: Agreed, rows: np.ndarray, centre: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """For each column the share of rows in each bin of ``(value − centre)·scale``, one column after the other."""
        scaled = (self._told(agreed, rows) - centre) * scale
        counts = [np.histogram(column[np.isfinite(column)], _EDGES)[0] for column in scaled.T]
        return np.concatenate([*counts, []]) / max(len(rows), 1)

    def encoded(self, encoder: TableEncoder, target: TargetEncoder) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The rows as arrays, by what was agreed on."""
        return encoder.transform(self.frame), target.transform(target.normalise(self.frame[self.target])[0])


def agree(said: Mapping[str, Mapping[str, Any]], target: str) -> tuple[Agreed, list[str]]:
    """What owners agree on by what they said, and notes.

    Args:
        said: :meth:`TableRows.describe` of each, by the owners' names.
        target: the column to predict.

    Raises:
        SchemaError: an owner's column that is missing, more, or of another kind; or another task.
    """
    first, notes = next(iter(said)), []
    by_name = {owner: {column["name"]: column for column in each["columns"]} for owner, each in said.items()}
    for owner, said_of in by_name.items():
        missing = [name for name in by_name[first] if name not in said_of]
        more = [name for name in said_of if name not in by_name[first]]
        for name, has, lacks in [(name, first, owner) for name in missing[:1]] + [
            (name, owner, first) for name in more[:1]
        ]:
            raise SchemaError(
                f"the owner {has} has the column {name!r}, and {lacks} has none of that name; expected the same columns of all owners",
                hint=f"rename it, or leave it out everywhere: data.drop={name}",
            )
    columns: list[Column] = []
    levels: list[tuple[str, tuple[str, ...], bool]] = []
    dates: list[tuple[str, tuple[str, ...]]] = []
    numeric: list[str] = []
    for name in by_name[first]:
        owners = {owner: each[name] for owner, each in by_name.items()}
        used = {owner: column for owner, column in owners.items() if column["used"]}
        left = [column["kind"] for column in owners.values() if not column["used"] and column["kind"] == "identifier"]
        if not used or left:
            continue
        one = next(iter(used))
        for owner, column in used.items():
            if column["kind"] != used[one]["kind"]:
                raise SchemaError(
                    f"the column {name!r} is {used[one]['kind']} with the owner {one} and {column['kind']} with {owner}; "
                    "expected one kind with all owners",
                    hint=f'say which: data.kinds={{"{name}": "{used[one]["kind"]}"}}, or correct the values',
                )
        kind = used[one]["kind"]
        if kind == "text":
            notes.append(f"column {name!r} holds texts and is left out: their words would leave the owners")
            continue
        formats = [column["format"] for column in used.values()]
        found = tuple(
            sorted({level for column in used.values() for level in column.get("levels", ())}, key=natural_key)
        )
        gaps = any(column["gaps"] for column in used.values())
        if kind == "boolean":
            found = ("false", "true")
        if kind in ("categorical", "boolean"):
            levels.append((name, found, gaps))
        elif kind == "datetime":
            parts = {part for column in used.values() for part in column["parts"]}
            dates.append((name, tuple(part for part in DATE_PARTS if part in parts)))
        else:
            numeric.append(name)
        columns.append(
            Column(
                name,
                kind,
                missing=0,
                distinct=len(found),
                whole=all(column["whole"] for column in used.values()),
                categories=found if kind == "categorical" else (),
                merged=any(column["merged"] for column in used.values()),
                format=Format.from_json(formats[0]) if all(each == formats[0] for each in formats) else Format(),
            )
        )
    if not columns:
        raise SchemaError(
            "no column is left that all owners have and a model can use; expected at least one beside the target",
            hint="columns of texts are left out, since their words would leave the owners" if notes else None,
        )
    task, classes, kind = _task({owner: each["target"] for owner, each in said.items()}, target)
    rows = sum(each["rows"] for each in said.values())
    exponents = [max(each["exponents"].get(name, 0) for each in said.values()) for name in numeric]
    exponents += [_PARTS.get(part, 1) for _, parts in dates for part in parts]
    if task == "regression":
        exponents.append(max(each["exponents"].get(target, 0) for each in said.values()))
    of_target = Column(
        target, "numeric" if task == "regression" else "categorical", 0, len(classes), categories=classes
    )
    schema = Schema((*columns, of_target), target, rows)
    return Agreed(schema, tuple(dates), tuple(levels), tuple(exponents), task, classes, kind), notes


def encoder_of(
    agreed: Agreed, means: np.ndarray, squares: np.ndarray, shares: np.ndarray
) -> tuple[TableEncoder, TargetEncoder, dict[str, np.ndarray]]:
    """The encoders of all, from the means over all rows; and encoded rows that are distributed as those of all, for the bins of a network.

    Args:
        means, squares, shares: the means over all owners of :class:`TableRows`'s.
    """
    present, centre, scale = scales(agreed, means, squares)
    width = len(centre) - (agreed.task == "regression")
    grid = np.zeros((width, 257), np.float32)
    for j, counts in enumerate(shares.reshape(len(centre), -1)[:width]):  # (columns·bins,) to (columns, bins)
        grid[j] = _quantiles(np.maximum(counts, 0)) if scale[j] > 0 else 0
    parts = [part for _, names in agreed.dates for part in names]
    flagged = np.array([True] * (width - len(parts)) + [part == "time" for part in parts], bool)
    scaler = NumericScaler(
        "standard",
        centre[:width],
        scale[:width],
        np.zeros(width, bool),
        centre[:width],
        (present[:width] < 1 - 1e-9) & flagged,
        np.zeros(0),
        np.zeros(0),
        np.zeros(1, np.int64),
        grid,
    )
    levels = tuple(
        (name, "whole", LevelCoder(found, gaps, agreed.schema[name].merged)) for name, found, gaps in agreed.levels
    )
    encoder = TableEncoder(agreed.schema, agreed.dates, scaler if width else None, levels, ())
    mean, std = (
        (float(centre[-1]), float(1 / scale[-1]) if scale[-1] else 1.0) if agreed.task == "regression" else (0.0, 1.0)
    )
    target = TargetEncoder(str(agreed.schema.target), agreed.task, agreed.classes, agreed.kind, mean, std)
    sample: dict[str, np.ndarray] = {}
    if width:
        gaps = np.zeros((257, scaler.width - width), np.float32)
        sample["numeric"] = np.concatenate([grid.T, gaps], axis=1)
    if levels:
        sample["categorical"] = np.zeros((257, len(levels)), np.int32)
    return encoder, target, sample


def scales(agreed: Agreed, means: np.ndarray, squares: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The share of rows with a value, the mean and ``1/σ`` of each column; σ is 1 while the squares are not known."""
    unit = 2.0 ** np.asarray(agreed.exponents, np.float64)
    present, sums = np.split(np.asarray(means, np.float64), 2)
    some = np.maximum(present, 1e-12)
    centre = sums / some * unit
    if squares is None:
        return present, centre, np.ones_like(centre)
    deviation = np.sqrt(np.maximum(squares, 0) / some) * unit
    constant = deviation <= np.maximum(1e-12 * np.abs(centre), 2.0**-18 * unit)
    return present, centre, np.where(constant, 0.0, 1 / np.where(constant, 1.0, deviation))


def _task(said: Mapping[str, Mapping[str, Any]], target: str) -> tuple[str, tuple[str, ...], str]:
    first = next(iter(said))
    quantity = {owner: each["task"] == "regression" for owner, each in said.items() if each["task"]}
    for owner, is_quantity in quantity.items():
        if is_quantity != next(iter(quantity.values())):
            one = next(iter(quantity))
            words = ["classes", "a quantity"]
            raise SchemaError(
                f"the target {target!r} holds {words[quantity[one]]} with the owner {one} and {words[is_quantity]} with {owner}; "
                "expected one of them with all owners"
            )
    kinds = {each["kind"] for each in said.values()}
    if any(quantity.values()):
        return "regression", (), "float"
    classes = tuple(sorted({name for each in said.values() for name in each["classes"]}, key=natural_key))
    if len(classes) < 2:
        raise DataError(
            f"the target {target!r} has one class with all owners, {classes[0]!r}; a constant cannot be learnt"
        )
    kind = said[first]["kind"] if len(kinds) == 1 else "text"
    return "binary" if len(classes) == 2 else "multiclass", classes, kind


def _quantiles(counts: np.ndarray) -> np.ndarray:
    """Quantiles by a histogram, even within each bin; the open ends hold their nearest edge."""
    edges = np.clip(_EDGES, -4.5, 4.5)
    below = np.concatenate([[0], np.cumsum(counts)])
    if below[-1] <= 0:
        return np.zeros(257, np.float32)
    # Where bins are empty the share stays the same; of equal shares the last edge counts.
    shares, last = np.unique(below[::-1] / below[-1], return_index=True)
    return np.interp(_GRID, shares, edges[::-1][last]).astype(np.float32)


def _frequent(values: pl.Series) -> bool:
    counts = values.drop_nulls().value_counts(name="rows")["rows"]
    return bool((counts >= LEAST).any())


def _exponent(values: np.ndarray) -> int:
    largest = float(np.abs(values[np.isfinite(values)]).max(initial=0.0))
    return int(np.frexp(largest)[1])


def _kind(labels: pl.Series) -> str:
    return {pl.Int64: "integer", pl.Float64: "float", pl.Boolean: "boolean"}.get(labels.dtype.base_type(), "text")


def _named(source: Any) -> str:
    return Path(source).name if isinstance(source, str | Path) else "the table"
