"""The rows of Parquet files, a few of them in memory at a time, under one set of column types."""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

import polars as pl

from danlu.data.folders import files_in, files_like, is_pattern
from danlu.data.format import Format
from danlu.data.infer import canonical, typed_format, words_of
from danlu.data.missing import Marks, marks_beside_usual
from danlu.data.remote import brought
from danlu.data.spelling import clean_names
from danlu.errors import ArtifactError, DataError, first_line, unknown_name
from danlu.files import near_file

__all__ = ["ParquetRows", "formats_in", "holds_parquet", "write_piece"]

_KEY = "danlu.formats"
_ENDINGS = (".parquet", ".pq")
_UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)  # of some damage its reader panics
_RESTORE = "put a whole copy of the file there; a run goes on from its last checkpoint: danlu train --resume RUN"


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
            as ``"part-*.parquet"`` or ``"2024/**/*.parquet"``, a URL of one of these (see :mod:`danlu.data.remote`), or several. A folder
            such as ``year=2024`` gives the rows below it a column ``year``.
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
        files, self._marks = _files(source), dict[str, Format]()
        self.paths, hives = tuple(path for path, _ in files), [_hive_of(path, root) for path, root in files]
        starts, types, notices = [0], dict[str, pl.DataType](), dict[str, None]()
        self._own = dict[str, dict[str, str]]()  # by path: the name in the file of each column
        self._hive = dict[str, dict[str, str | None]]()  # by path: the values that its folders say
        numbers = _numbers(hives)
        for path, hive in zip(self.paths, hives, strict=True):
            length, in_file = _length_and_types(path)
            self._hive[path] = {name: value for name, value in hive.items() if name not in in_file}
            in_file |= {name: numbers.get(name, pl.String()) for name in self._hive[path]}
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
            scan = pl.scan_parquet(path, glob=False, hive_partitioning=False).slice(offset, count)
            scan = scan.with_columns(pl.lit(value).alias(name) for name, value in self._hive[path].items())
            frame = scan.select(pl.col(self._own[path][name]).alias(name) for name in names).collect()
        except FileNotFoundError as error:
            raise DataError(f"{path} has gone since it was opened", hint=_RESTORE) from error
        except _UNREADABLE as error:
            where = f"rows {offset + 1:,} to {offset + count:,} of {path}{_groups(path, offset, count)}"
            raise DataError(f"{where} cannot be read: {first_line(error)}", hint=_RESTORE) from error
        if frame.height != count:
            raise DataError(f"{path} has changed since it was opened", hint="do not change a file in use")
        typed = canonical(frame, source=path).with_columns(pl.col(name).cast(self.types[name]) for name in names)
        return pl.DataFrame([self._marks[column.name].read(column, "text") for column in typed.get_columns()])

    def __repr__(self) -> str:
        return f"ParquetRows({self.name!r}: {self.rows:,} rows, {len(self.types)} columns)"


def _hive_of(path: str, root: Path) -> dict[str, str | None]:
    """The columns that the names of a file's folders say, such as ``year=2024``."""
    folders = (part.partition("=") for part in Path(path).relative_to(root).parts[:-1])
    found = {name: unquote(value) for name, mark, value in folders if name and mark}
    return {name: None if value == "__HIVE_DEFAULT_PARTITION__" else value for name, value in found.items()}


def _numbers(hives: Iterable[Mapping[str, str | None]]) -> dict[str, pl.DataType]:
    """The columns of folders all of whose values are whole numbers."""
    values: dict[str, list[str]] = {}
    for hive in hives:
        for name, value in hive.items():
            values.setdefault(name, []).extend([] if value is None else [value])
    number = re.compile("0|-?[1-9][0-9]{0,17}")  # 007 is a code, which a number would lose the zeros of
    return {name: pl.Int64() for name, each in values.items() if all(number.fullmatch(value) for value in each)}


def holds_parquet(source: str | Path) -> bool:
    """Whether a name is that of Parquet in several files: a folder that has some, or a pattern of such files."""
    path = Path(source)
    if path.is_dir():
        return any(file.suffix in _ENDINGS for file in files_in(path))
    return path.suffix in _ENDINGS and is_pattern(path)


def _files(source: str | Path | Sequence[str | Path]) -> tuple[tuple[str, Path], ...]:
    """The files, each with the folder below which those that it is in may say more columns."""
    given = [brought(each) for each in ([source] if isinstance(source, str | Path) else source)]
    files: list[tuple[str, Path]] = []
    for path in map(Path, given):
        if path.is_dir():
            inside = (file for file in files_in(path) if file.suffix in _ENDINGS)
            files += [(file, path) for file in sorted(str(file) for file in inside if not file.name.startswith("_"))]
        elif path.is_file():
            files.append((str(path), path.parent))
        elif is_pattern(path):
            root = next(above for above in path.parents if not any(mark in str(above) for mark in "*?["))
            files += [(str(file), root) for file in files_like(path)]
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
        scan = pl.scan_parquet(path, glob=False, hive_partitioning=False)
        schema, length = scan.collect_schema(), int(scan.select(pl.len()).collect().item())
    except _UNREADABLE as error:
        raise _damaged(path, error) from error
    # An empty frame of a Null column tells that nothing is known of its type.
    empty = canonical(pl.DataFrame(schema=schema), source=path)
    types = {name: pl.Null() if schema[name] == pl.Null else dtype for name, dtype in empty.schema.items()}
    unsigned = [name for name, dtype in schema.items() if dtype == pl.UInt64]
    if unsigned:
        try:
            largest = scan.select(pl.col(unsigned).max()).collect()
        except _UNREADABLE as error:
            raise _damaged(path, error) from error
        types |= dict(canonical(largest, source=path).schema.items())
    return length, types


def _merge(types: dict[str, pl.DataType], found: dict[str, pl.DataType], path: str, first: str) -> None:
    """Take the column types of one more file into ``types``."""
    lacking, extra = [name for name in types if name not in found], [name for name in found if name not in types]
    if lacking or extra:
        what = [f"lacks {', '.join(map(repr, lacking[:5]))}"] if lacking else []
        what += [f"also has {', '.join(map(repr, extra[:5]))}"] if extra else []
        raise DataError(
            f"{path} does not have the columns of {first}: it {' and '.join(what)}",
            hint="give files of one table only (in Python, columns=[...] takes those that all have)",
        )
    for name, dtype in found.items():
        known = types[name]
        if known == dtype or dtype == pl.Null:
            continue
        if known == pl.Null or {known, dtype} == {pl.Int64(), pl.Float64()}:
            types[name] = dtype if known == pl.Null else pl.Float64()
            continue
        raise DataError(
            f"column {name!r} holds {words_of(dtype)} in {path} and {words_of(known)} in {first}",
            hint="write the files with one type for each column",
        )


def _groups(path: str, offset: int, count: int) -> str:
    """Which row groups of a damaged file hold some rows, in words; empty where that cannot be said."""
    try:
        import pyarrow.parquet as pq

        about = pq.ParquetFile(path).metadata
        ends = list(itertools.accumulate(about.row_group(number).num_rows for number in range(about.num_row_groups)))
        bad = []
        for number in range(bisect.bisect_right(ends, offset), bisect.bisect_left(ends, offset + count) + 1):
            try:
                pq.ParquetFile(path).read_row_group(number)
            except Exception:  # whatever it says, it is this one
                bad.append(str(number))
        return f" (row group {', '.join(bad)})" if bad else ""
    except Exception:  # no pyarrow, or the file's end is damaged too
        return ""


def _damaged(path: str, error: BaseException) -> DataError:
    return DataError(
        f"{path} cannot be read as Parquet: {first_line(error)}",
        hint="the file is damaged, or of another format; write delimited text to Parquet first with "
        "danlu.data.to_parquet(source, target)",
    )
