"""Reads labelled sequences from a long table with one row per step, an npz file or arrays, or a ``.ts`` file."""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from danlu.data.format import Format, read_columns
from danlu.data.intake import open_npz, read_npz
from danlu.data.read import read_table
from danlu.data.sequences.ts import read_ts
from danlu.errors import DataError, unknown_name

__all__ = ["SequenceSet", "is_sequence_source", "read_sequences", "shown_name"]


@dataclasses.dataclass(frozen=True, eq=False)
class SequenceSet:
    """Sequences with their labels.

    Attributes:
        values: of each sequence, ``(steps, columns)`` float64, NaN where a value is missing.
        columns: the names of the columns.
        labels: the label of each sequence, or None.
        names: of the sequences, where they have any.
        notices: what the user should know.
        formats: of a table: how the texts of the columns that are used are written.
        numbers: of the sequences in the source, from 0, where some were left out; else None.
    """

    values: list[np.ndarray]
    columns: tuple[str, ...]
    labels: pl.Series | None = None
    names: pl.Series | None = None
    notices: tuple[str, ...] = ()
    formats: Mapping[str, Format] = dataclasses.field(default_factory=dict)
    numbers: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, numbers: np.ndarray) -> SequenceSet:
        """Some of the sequences, by their numbers ``(n,)``."""
        picked = {name: getattr(self, name) for name in ("labels", "names")}
        picked = {name: None if column is None else column.gather(numbers) for name, column in picked.items()}
        own = None if self.numbers is None else self.numbers[numbers]
        return dataclasses.replace(self, values=[self.values[row] for row in numbers], numbers=own, **picked)


def is_sequence_source(source: Any) -> bool:
    """Whether a source appears to hold labelled sequences.

    It does if it is a ``.ts`` file, or has ``x`` of three axes of numbers that are not pixels (a dict of arrays, or an npz file; with
    ``length`` it does in any case). A long table does when the user names its series.

    Example:
        >>> is_sequence_source({"x": np.zeros((5, 8, 2)), "y": np.zeros(5)}), is_sequence_source("table.csv")
        (True, False)
    """
    if isinstance(source, Mapping):
        x = source.get("x")
        return isinstance(x, np.ndarray) and x.ndim == 3
    if not isinstance(source, str | Path):
        return False
    path = Path(source)
    if path.suffix == ".npz":
        shape, kind = _header(path, "x")
        return len(shape) == 3 and ("length" in _members(path) or (kind == "f" and _no_pixels(path)))
    return path.suffix == ".ts"


def _members(path: Path) -> set[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy") for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile):
        return set()


def _no_pixels(path: Path) -> bool:
    """Whether ``x`` holds what no grey image does: values below 0, above 255 or missing."""
    try:
        with open_npz(path) as archive:
            x = archive["x"]
    except (OSError, ValueError, KeyError):
        return False
    return not (x.size and float(x.min()) >= 0 and float(x.max()) <= 255)  # NaN is neither


def _header(path: Path, name: str) -> tuple[tuple[int, ...], str]:
    """Shape and kind of an array in an npz file, without reading it."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
            return shape, dtype.kind
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return (), ""


def read_sequences(
    source: Any,
    *,
    series: str | None = None,
    time: str | None = None,
    target: str | None = None,
    drop: Sequence[str] = (),
    delimiter: str | None = None,
    formats: Mapping[str, Format] | None = None,
    **reading: Any,
) -> SequenceSet:
    """Read sequences, with their labels where there are any.

    Args:
        source: one of

            - a long table (a file or frame) with a row a step: the column ``series`` names the sequence that a row belongs to,
              ``target`` its label, the same in all its rows; all other columns of numbers are measured along the sequence,
            - an ``.npz`` file or a dict with ``x`` ``(sequences, time, columns)`` and maybe ``y`` ``(sequences,)`` and ``length``
              ``(sequences,)``, the steps of each that are real (of a ``y`` alone, NaN at the end of ``x`` is no step),
            - an array like ``x``, or a list of arrays ``(time, columns)``,
            - a ``.ts`` file, as of the UEA and UCR archive.
        time: the column that the rows of a sequence are sorted by; None is the only column of date-times, or else the order of
            the rows.
        drop: columns to leave out.
        delimiter: of a table, where it is not found by itself.
        formats: of a table: how the texts of its columns are written; None finds it out.
        reading: of a table: ``header``, ``encoding``, ``missing``, ``kinds`` and ``dates`` as of :func:`danlu.data.read_table`.

    Raises:
        DataError: no such columns, a sequence with two labels, arrays of other shapes, infinite values.

    Example:
        >>> found = read_sequences({"id": [7, 7, 8], "v": [1.0, 2.0, 5.0], "y": ["a", "a", "b"]}, series="id", target="y")
        >>> [values[:, 0].tolist() for values in found.values], found.labels.to_list()
        ([[1.0, 2.0], [5.0]], ['a', 'b'])
    """
    if isinstance(source, np.ndarray) or (isinstance(source, list) and source and not isinstance(source[0], Mapping)):
        return _checked(_from_arrays({"x": source}, "the array", target))
    if isinstance(source, str | Path) and not Path(source).exists():
        raise DataError(f"there is no file or folder {source}")
    if isinstance(source, str | Path) and Path(source).suffix == ".npz":
        hint = "arrays of objects cannot be read: pad sequences to one length, and give their lengths as 'length'"
        arrays = read_npz(Path(source), hint=hint)
        return _checked(_from_arrays(arrays, str(source), target))
    if isinstance(source, str | Path) and Path(source).suffix == ".ts":
        values, labels = read_ts(Path(source))
        columns = tuple(f"column {index + 1}" for index in range(values[0].shape[1]))
        named = None if labels is None else pl.Series(target or "label", labels)
        return _checked(SequenceSet(values, columns, named))
    if isinstance(source, Mapping) and is_sequence_source(source):
        return _checked(_from_arrays(source, "the dict", target))
    return _checked(_from_table(source, series, time, target, drop, formats or {}, delimiter=delimiter, **reading))


def _from_table(
    source: Any,
    series: str | None,
    time: str | None,
    target: str | None,
    drop: Sequence[str],
    formats: Mapping[str, Format],
    **reading: Any,
) -> SequenceSet:
    read = read_table(source, typed=not formats, **reading)
    frame, odd = read_columns(read.frame, formats)
    for name, problem in odd.items():
        if name != target:
            raise DataError(problem, hint="write it as in the training data")
    frame, notices = frame.drop(drop, strict=False), list(read.notices)
    if series is None:
        raise DataError(
            "it is not known which rows form a sequence",
            hint="name the column that identifies the sequence: --series COLUMN",
        )
    for name in filter(None, (series, time)):
        if name not in frame.columns:
            raise unknown_name("column", name, frame.columns, error=DataError)
    if frame[series].null_count():
        raise DataError(
            f"{frame[series].null_count():,} rows have no value of {series!r}, which identifies their sequence; the "
            f"first is row {frame[series].is_null().arg_true()[0] + 1}"
        )
    moments = [
        name for name in frame.columns if frame[name].dtype in (pl.Datetime, pl.Date) and name not in (series, target)
    ]
    time = time or (moments[0] if len(moments) == 1 else None)
    taken = {series, time, target}
    columns = [
        name
        for name, dtype in frame.schema.items()
        if name not in taken and (dtype.is_numeric() or dtype in (pl.Boolean, pl.Null))
    ]
    others = [name for name in frame.columns if name not in taken and name not in columns]
    if not columns:
        raise DataError(f"there is no numeric column besides {', '.join(map(repr, filter(None, taken)))}")
    if others:
        notices.append(f"columns left out because they are not numeric: {', '.join(others)}")
    if time is not None:
        if frame[time].null_count():
            raise DataError(f"{frame[time].null_count():,} rows have no value of the time column {time!r}")
        frame = frame.sort(time, maintain_order=True)
    values, labels, names = [], [], []
    numbers = frame.select(pl.col(columns).cast(pl.Float64))
    for name, rows in _groups(frame, series):
        values.append(numbers[rows].to_numpy().reshape(len(rows), len(columns)))
        names.append(name)
        if target in frame.columns:
            labels.append(_one_label(frame[target].gather(rows), target, series, name))
    found = pl.Series(series, names, dtype=frame[series].dtype)
    label = pl.Series(target, labels, dtype=frame[target].dtype) if target in frame.columns else None
    formats = {name: each for name, each in (formats or read.formats).items() if name in taken or name in columns}
    return SequenceSet(values, tuple(columns), label, found, tuple(notices), formats)


def _groups(frame: pl.DataFrame, series: str) -> list[tuple[Any, np.ndarray]]:
    """The row numbers of each sequence, in the order in which the sequences first come in the file's rows."""
    numbered = frame.select(pl.col(series), pl.int_range(pl.len()).alias("row number"))
    grouped = numbered.group_by(series, maintain_order=True).agg(pl.col("row number"))
    return [(name, np.asarray(rows)) for name, rows in grouped.iter_rows()]


def _one_label(labels: pl.Series, target: str, series: str, name: Any) -> Any:
    levels = labels.drop_nulls().unique(maintain_order=True)
    if len(levels) > 1:
        raise DataError(
            f"the rows of {series} {shown_name(name)} have {len(levels)} values of {target!r}: {levels[0]!r}, {levels[1]!r}"
            f"{', …' if len(levels) > 2 else ''}; expected one label for each sequence",
            hint="to forecast a column along the sequence instead, use --forecast",
        )
    return levels[0] if len(levels) else None


def _from_arrays(arrays: Mapping[str, Any], where: str, target: str | None) -> SequenceSet:
    if "x" not in arrays:
        raise DataError(
            f"{where} holds {', '.join(arrays) or 'nothing'}; expected x, and y and length where there are any"
        )
    x, y, length = (arrays.get(name) for name in ("x", "y", "length"))
    given = [np.asarray(each) for each in x] if isinstance(x, list) else np.asarray(x)
    kinds = {each.dtype.kind for each in given} if isinstance(given, list) else {given.dtype.kind}
    if not kinds <= set("iufb"):
        raise DataError(f"x of {where} holds {'/'.join(sorted(kinds))} values; expected numbers")
    wrong = [each.shape for each in given if each.ndim != 2 or each.shape[1:] != given[0].shape[1:]]
    if wrong or not len(given) or not given[0].shape[1]:
        got = wrong[0] if wrong else np.shape(np.asarray(x))
        raise DataError(f"x of {where} has a sequence of shape {got}; expected (sequences, time, columns)")
    for name, each in (("y", y), ("length", length)):
        if each is not None and np.shape(each) != (len(given),):
            raise DataError(
                f"{name} of {where} has the shape {np.shape(each)}; expected ({len(given)},), one for each sequence"
            )
    if length is None:
        ends = [_real_steps(each) for each in given]
    else:
        ends = np.asarray(length).tolist()
        most = max(len(each) for each in given)
        bad = [end for end in ends if end != int(end) or not 1 <= end <= most]
        if bad:
            raise DataError(f"length of {where} holds {bad[0]}; expected whole numbers from 1 to {most}")
    values = [each[: int(end)].astype(np.float64) for each, end in zip(given, ends, strict=True)]
    columns = tuple(f"column {index + 1}" for index in range(given[0].shape[1]))
    labels = None if y is None else pl.Series(target or "y", np.asarray(y).tolist())
    return SequenceSet(values, columns, labels)


def _real_steps(values: np.ndarray) -> int:
    """Steps up to the last one with a value, at least 1."""
    if values.dtype.kind != "f":
        return len(values)
    some = np.flatnonzero(np.isfinite(values).any(axis=1))
    return int(some[-1]) + 1 if len(some) else 1


def shown_name(name: Any) -> str:
    """The name of a sequence in a message."""
    return repr(name) if isinstance(name, str) else str(name)


def _checked(found: SequenceSet) -> SequenceSet:
    for row, values in enumerate(found.values):
        if np.isinf(values).any():
            column = found.columns[int(np.isinf(values).any(axis=0).argmax())]
            name = f"number {row + 1}" if found.names is None else shown_name(found.names[row])
            raise DataError(f"the sequence {name} holds infinite values of {column!r}; expected finite numbers")
    return found
