"""The rows of Parquet files, a few of them in memory at a time, under one set of column types."""

from __future__ import annotations

import bisect
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from danlu.data.folders import files_in
from danlu.data.format import Format
from danlu.data.infer import canonical, typed_format
from danlu.data.missing import Marks, marks_beside_usual
from danlu.data.spelling import clean_names
from danlu.errors import ArtifactError, DataError, first_line, unknown_name
from danlu.files import near_file

__all__ = ["ParquetRows", "formats_in", "write_piece"]

_KEY = "danlu.formats"


def write_piece(frame: pl.DataFrame, path: Path, formats: Mapping[str, Format]) -> None:
    """Write rows to a Parquet file, together with the formats of the texts that they come from."""
    kept = {name: written.to_json() for name, written in formats.items()}
    frame.write_parquet(path, metadata={_KEY: json.dumps(kept, ensure_ascii=False)})


def formats_in(path: str | Path) -> dict[str, Format]:
    """The formats that :func:`write_piece` stored in a Parquet file; empty for other programs' files."""
    try:
        kept = json.loads(pl.read_parquet_metadata(path).get(_KEY, "{}"))
        return {str(name): Format.from_json(body) for name, body in kept.items()}
    except (pl.exceptions.PolarsError, OSError, ValueError, AttributeError, ArtifactError):
        return {}


class ParquetRows:
    """The rows of one or several Parquet files, read by their number.

    Rows come as :func:`danlu.data.read_table` gives them: every column in one of danlu's five types, blank texts as
    missing. The files must have the same columns; a column of whole numbers in one file and of decimals in another has
    decimals, and a column without a value in one file takes its type from the others.

    Args:
        source: a Parquet file, a folder (every ``*.parquet`` and ``*.pq`` file in it and below, by name), a pattern such
            as ``"part-*.parquet"``, or several of these.
        columns: the columns to keep, in that order; None keeps all.
        missing: texts and numbers that stand for a missing value, for all columns or by column; a blank text always does.

    Raises:
        DataError: no file, a file that is not Parquet or is damaged, columns that differ between files, no rows.

    Example:
        >>> rows = ParquetRows("table.parquet")  # doctest: +SKIP
        >>> rows.read(1_000_000, 5).height  # doctest: +SKIP
        5
    """

    def __init__(
        self,
        source: str | Path | Sequence[str | Path],
        *,
        columns: Sequence[str] | None = None,
        missing: Marks = (),
    ) -> None:
        self.paths, self._marks = _files(source), dict[str, Format]()
        starts, types, notices = [0], dict[str, pl.DataType](), dict[str, None]()
        self._own = dict[str, dict[str, str]]()  # by path: the name in the file of each column
        for path in self.paths:
            length, in_file = _length_and_types(path)
            said: list[str] = []
            names = clean_names(list(in_file), said)
            notices |= dict.fromkeys(said)
            self._own[path] = dict(zip(names, in_file, strict=True))
            found = dict(zip(names, in_file.values(), strict=True))
            if path == self.paths[0]:
                types = found
            else:
                _merge(types, found, path, self.paths[0])
            starts.append(starts[-1] + length)
        for name in columns or ():
            if name not in types:
                raise unknown_name(f"column of {self.paths[0]}:", name, types, error=DataError)
        self.types = {name: types[name] for name in columns} if columns is not None else types
        for name in missing if isinstance(missing, Mapping) else ():
            if name not in self.types:
                raise unknown_name("column", name, self.types, error=DataError)
        kept = formats_in(self.paths[0])
        self.formats = {}
        for name, dtype in self.types.items():
            marks = marks_beside_usual(missing, name)
            written = kept.get(name) or typed_format(pl.Series(name, [], dtype=dtype))
            self.formats[name] = dataclasses.replace(written, codes=(*written.codes, *marks[1]))
            self._marks[name] = Format(missing=marks[0], codes=marks[1])
        self._starts, self.notices = starts, tuple(notices)
        if not self.rows or not self.types:
            raise DataError(
                f"{self.name} has {self.rows} rows and {len(self.types)} columns; expected at least one of each"
            )

    @property
    def rows(self) -> int:
        """How many rows all files have."""
        return self._starts[-1]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(self.types)

    @property
    def name(self) -> str:
        """A description of the files."""
        more = len(self.paths) - 1
        return self.paths[0] + (f" and {more} more file{'s' * (more > 1)}" if more else "")

    def read(self, start: int, length: int, *, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Rows ``start`` to ``start + length`` (fewer at the end). Only the pages that hold them are decoded.

        Raises:
            DataError: a damaged file, or one that was changed since.
        """
        names = list(self.types if columns is None else columns)
        stop = min(start + length, self.rows)
        pieces: list[pl.DataFrame] = []
        while start < stop or not pieces:
            file = min(bisect.bisect_right(self._starts, start), len(self.paths)) - 1
            count = min(stop, self._starts[file + 1]) - start
            pieces.append(self._read_file(self.paths[file], start - self._starts[file], count, names))
            start += count
        return pieces[0] if len(pieces) == 1 else pl.concat(pieces)

    def _read_file(self, path: str, offset: int, count: int, names: list[str]) -> pl.DataFrame:
        try:
            wanted = (pl.col(self._own[path][name]).alias(name) for name in names)
            frame = pl.scan_parquet(path, glob=False).slice(offset, count).select(wanted).collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise _damaged(path, error) from error
        if frame.height != count:
            raise DataError(f"{path} has changed since it was opened", hint="do not change a file in use")
        typed = canonical(frame, source=path).with_columns(pl.col(name).cast(self.types[name]) for name in names)
        return pl.DataFrame([self._marks[column.name].read(column, "text") for column in typed.get_columns()])

    def __repr__(self) -> str:
        return f"ParquetRows({self.name!r}: {self.rows:,} rows, {len(self.types)} columns)"


def _files(source: str | Path | Sequence[str | Path]) -> tuple[str, ...]:
    given = [source] if isinstance(source, str | Path) else list(source)
    files: list[str] = []
    for path in map(Path, given):
        if path.is_dir():
            inside = (file for file in files_in(path) if file.suffix in (".parquet", ".pq"))
            files += sorted(str(file) for file in inside if not file.name.startswith("_"))
        elif path.is_file():
            files.append(str(path))
        elif any(mark in path.name for mark in "*?["):
            files += sorted(str(file) for file in path.parent.glob(path.name))
        else:
            raise DataError(f"there is no file {path}", hint=near_file(path))
    if not files:
        raise DataError(
            f"there is no Parquet file in {', '.join(map(str, given)) or 'an empty list'}",
            hint="files in a folder are found by their ending, .parquet or .pq",
        )
    return tuple(files)


def _length_and_types(path: str) -> tuple[int, dict[str, pl.DataType]]:
    try:
        scan = pl.scan_parquet(path, glob=False)
        schema, length = scan.collect_schema(), int(scan.select(pl.len()).collect().item())
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _damaged(path, error) from error
    # An empty frame of a Null column tells that nothing is known of its type.
    empty = canonical(pl.DataFrame(schema=schema), source=path)
    return length, {name: pl.Null() if schema[name] == pl.Null else dtype for name, dtype in empty.schema.items()}


def _merge(types: dict[str, pl.DataType], found: dict[str, pl.DataType], path: str, first: str) -> None:
    """Take the column types of one more file into ``types``."""
    lacking, extra = [name for name in types if name not in found], [name for name in found if name not in types]
    if lacking or extra:
        what = [f"lacks {', '.join(map(repr, lacking[:5]))}"] if lacking else []
        what += [f"also has {', '.join(map(repr, extra[:5]))}"] if extra else []
        raise DataError(
            f"{path} does not have the columns of {first}: it {' and '.join(what)}",
            hint="stream files of one table only, or name the columns that all have with columns=[...]",
        )
    for name, dtype in found.items():
        known = types[name]
        if known == dtype or dtype == pl.Null:
            continue
        if known == pl.Null or {known, dtype} == {pl.Int64(), pl.Float64()}:
            types[name] = dtype if known == pl.Null else pl.Float64()
            continue
        raise DataError(
            f"column {name!r} holds {dtype} in {path} and {known} in {first}",
            hint="write the files with one type for each column",
        )


def _damaged(path: str, error: Exception) -> DataError:
    return DataError(
        f"{path} cannot be read as Parquet: {first_line(error)}",
        hint="the file is damaged, or of another format; write delimited text to Parquet first with "
        "danlu.data.to_parquet(source, target)",
    )
