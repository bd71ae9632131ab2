"""Columns of a table whose cells name pictures or recordings."""

from __future__ import annotations

import base64
import functools
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from danlu.data.images.pixels import SUFFIXES, open_image
from danlu.data.kinds import MEDIA
from danlu.data.sounds.read import Sound, decoded
from danlu.data.threads import ordered
from danlu.errors import DataError

__all__ = ["INSIDE", "files_named", "found_media", "located", "names_media", "opened", "without_folders", "written_as"]

_ENDINGS = {"image": SUFFIXES, "sound": (".wav",)}
_MIME = {"image": "image", "sound": "audio"}
INSIDE = "data:"
"""Begins a cell that holds a file itself."""
_SAMPLE = 500  # cells that are looked at
_HEAD = 1 << 16  # bytes of a text file
_NAMED = 5
_SHOWN = 60  # letters of a cell
_LIKELY = re.compile(
    rb"(?i)data:(?:image|audio)/|\.(?:%s)\b"
    % b"|".join(each[1:].encode() for ends in _ENDINGS.values() for each in ends)
)


def names_media(source: Any) -> bool:
    """Whether a table may have cells that name pictures or recordings, from its beginning; cheap, and never raises."""
    try:
        if isinstance(source, str | Path):
            path = Path(source)
            if not path.is_file() or path.suffix.lower() in SUFFIXES:
                return False
            if path.suffix.lower() in (".parquet", ".pq"):
                return bool(found_media(pl.read_parquet(path, n_rows=_SAMPLE), path.parent))
            with open(path, "rb") as file:
                head = file.read(_HEAD)
            if not _LIKELY.search(head):
                return False
            from danlu.data.read import read_table

            return bool(found_media(read_table(path, typed=False).frame, path.parent))
        if isinstance(source, Mapping | pl.DataFrame):
            frame = source if isinstance(source, pl.DataFrame) else pl.DataFrame(source, strict=False)
            return bool(found_media(frame, Path()))
    except Exception:  # what cannot be read is told of where it is read
        return False
    return False


def found_media(frame: pl.DataFrame, folder: Path) -> dict[str, tuple[str, str]]:
    """The columns that name files: of most values the ending is that of a picture (or a recording), and such a file is there.

    Args:
        frame: a table.
        folder: that paths which are not absolute begin at.

    Returns:
        By their names, the kind and the evidence for it.
    """
    found = {}
    for values in frame.get_columns():
        if values.dtype != pl.String:
            continue
        present = values.drop_nulls()
        sample = present.head(_SAMPLE).to_list()
        if kind := written_as(values):
            there = sum(_is_there(_path(folder, each.strip())) for each in sample)
            if there >= 0.5 * len(sample):
                some = f" of the first {len(sample):,}" if len(present) > len(sample) else f" of {len(sample):,}"
                found[values.name] = (
                    kind,
                    f"{there:,}{some} values name a {'picture' if kind == 'image' else 'recording'} that is there",
                )
    return found


def written_as(values: pl.Series) -> str | None:
    """``"image"`` or ``"sound"`` if most values are written as names of such files, whether or not these are there.

    Example:
        >>> written_as(pl.Series(["a.jpg", "https://example.org/b.png"])), written_as(pl.Series(["a", "b.wav"]))
        ('image', None)
    """
    sample = values.drop_nulls().head(_SAMPLE).to_list() if values.dtype == pl.String else []
    for kind, endings in _ENDINGS.items():
        inside = f"data:{_MIME[kind]}/"
        count = sum(each.strip().lower().endswith(endings) or each.startswith(inside) for each in sample)
        if sample and count >= 0.8 * len(sample):
            return kind
    return None


def located(
    frame: pl.DataFrame, kinds: Mapping[str, str], folder: Path, *, what: str = ""
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The table with the whole paths of files that can be read, null where there is none; and notices about those that cannot.

    Args:
        frame: a table.
        kinds: by column, ``"image"`` or ``"sound"``; columns of other kinds are left as they are.
        folder: that paths which are not absolute begin at.
        what: said before each notice.

    Raises:
        DataError: of a column not one file can be read.
    """
    notices, columns = [], []
    for name, kind in kinds.items():
        if kind not in MEDIA or name not in frame.columns:
            continue
        values = frame[name].cast(pl.String).str.strip_chars()
        names = values.drop_nulls().unique(maintain_order=True).to_list()
        paths = {each: _path(folder, each) for each in names if each}
        why = functools.partial(_why_not, kind=kind)
        looked = zip(paths, ordered(why, list(paths.values())), strict=True)
        broken = {each: said for each, said in looked if said}
        if paths and len(broken) == len(paths):
            first, said = next(iter(broken.items()))
            raise DataError(
                f"column {name!r}: not one of the {len(paths):,} files that it names can be read; the first, {_called(first)!r}: {said}",
                hint=f"paths begin at the table's own folder, {folder or '.'}; data.drop leaves the column out",
            )
        if broken:
            shown = ", ".join(f"{_called(each)} ({said})" for each, said in list(broken.items())[:_NAMED])
            more = ", …" if len(broken) > _NAMED else ""
            rows = int(values.is_in(list(broken)).sum())
            notices.append(
                f"{what}column {name}: {len(broken):,} of {len(paths):,} files cannot be read: {shown}{more}; {rows:,} "
                f"{'row is' if rows == 1 else 'rows are'} taken as without a {'picture' if kind == 'image' else 'recording'}"
            )
        whole = {each: path for each, path in paths.items() if each not in broken}
        columns.append(values.replace_strict(list(whole), list(whole.values()), default=None, return_dtype=pl.String))
    return frame.with_columns(columns), tuple(notices)


def _called(cell: str) -> str:
    """A cell for a message: of a long path its end, which tells files apart, and of a file itself its beginning."""
    if len(cell) <= _SHOWN:
        return cell
    return cell[:_SHOWN] if cell.startswith(INSIDE) else f"…{cell[1 - _SHOWN :]}"


def files_named(source: str | Path, names: Sequence[str] | None, kinds: Mapping[str, str]) -> list[Path]:
    """The files that a table's cells name and that are there; none of them is opened.

    Args:
        source: a file.
        names: of the columns that count; None takes all.
        kinds: of single columns, as the user says.
    """
    from danlu.data.read import read_table

    frame, folder = read_table(source, typed=False).frame, Path(source).parent
    media = {name: kind for name, (kind, _) in found_media(frame, folder).items()} | dict(kinds)
    chosen = [name for name in frame.columns if media.get(name) in MEDIA and (names is None or name in names)]
    cells = [
        cell.strip() for name in chosen for cell in frame[name].cast(pl.String).drop_nulls().unique(maintain_order=True)
    ]
    paths = [_path(folder, cell) for cell in cells if not cell.startswith(INSIDE)]
    return [Path(path) for path in paths if _is_there(path)]


def _path(folder: Path, cell: str) -> str:
    """The path of the file that a cell names; a cell that holds a file stays. Windows writes ``photos\\1.jpg``."""
    if cell.startswith(INSIDE):
        return cell
    path = folder / cell
    if "\\" in cell and not path.is_file():
        path = folder / cell.replace("\\", "/")
    return str(path)


def _is_there(cell: str) -> bool:
    return cell.startswith(INSIDE) or Path(cell).is_file()


def _why_not(cell: str, *, kind: str) -> str:
    """Why a cell cannot be read; empty where it can. Nothing of it is kept."""
    if not _is_there(cell):
        return "not there"
    found = opened(cell, kind)
    return found if isinstance(found, str) else ""


def opened(cell: str, kind: str) -> np.ndarray | Sound | str:
    """The picture or the recording that a cell names or holds (``data:…;base64,…``), or why it cannot be read."""
    try:
        inside = base64.b64decode(cell.split(",", 1)[-1], validate=True) if cell.startswith(INSIDE) else None
        if kind == "sound":
            return decoded(inside if inside is not None else Path(cell).read_bytes())
        return open_image(cell if inside is None else io.BytesIO(inside))
    except (DataError, OSError, ValueError) as error:
        return error.message if isinstance(error, DataError) else str(getattr(error, "strerror", None) or error)


def without_folders(frame: pl.DataFrame, names: Iterable[str]) -> pl.DataFrame:
    """The table with the files' names alone, as reports show them."""
    return frame.with_columns(pl.col(name).str.split("/").list.last() for name in names if name in frame.columns)
