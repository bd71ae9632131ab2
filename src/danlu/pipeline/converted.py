"""Large text files: written to Parquet once, in danlu's cache folder, and streamed from there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from danlu.data import to_parquet
from danlu.data.parquet import holds_parquet
from danlu.files import alone, cache_folder
from danlu.memory import in_words
from danlu.pipeline.config import DataConfig
from danlu.stages import stage

__all__ = ["TYPED", "as_parquet", "is_plain_text", "is_streamed"]

TYPED = (
    *(".parquet", ".pq", ".arrow", ".feather", ".ipc"),
    *(".json", ".jsonl", ".ndjson", ".xlsx", ".xls", ".xlsb", ".ods", ".npz"),
)
"""The endings of files whose columns have types of their own."""
_PACKED = (".gz", ".bz2", ".xz", ".zip")
_KEPT = 7 * 24 * 3600.0  # seconds that a copy is kept after its last use
_FORM = 1  # of the copies; another number makes them anew


def is_plain_text(path: Path) -> bool:
    """Whether a file is delimited text by its name, and not compressed.

    >>> is_plain_text(Path("rows.csv")), is_plain_text(Path("rows.csv.gz")), is_plain_text(Path("rows.parquet"))
    (True, False, False)
    """
    return path.suffix.lower() not in (*TYPED, *_PACKED)


def as_parquet(path: Path, data: DataConfig) -> tuple[Path, tuple[str, ...]]:
    """The Parquet copy of a text file, and notices; it is made if there is none of this file with these settings.

    A run that is resumed finds it again. Copies that were not used for a week are removed.

    Raises:
        DataError: the file cannot be read, or there is no room for the copy.
    """
    about = path.stat()
    reading = {
        **{name: value for name, value in data.form().items() if value is not None},
        "missing": data.marks(),
        "kinds": dict(data.kinds),
        "dates": data.dates,
    }
    identity = [_FORM, str(path.resolve()), about.st_size, about.st_mtime_ns, reading]
    name = hashlib.sha256(json.dumps(identity, default=list, sort_keys=True).encode()).hexdigest()[:24]
    folder = _folder()
    copy, notices = folder / name, folder / f"{name}.json"
    _forget(folder)
    if not _there(copy):
        folder.mkdir(parents=True, exist_ok=True)
        with stage(f"writing {path.name} to Parquet"), alone(folder / f"{name}.lock"):
            if not _there(copy):  # by a process that began before
                shutil.rmtree(copy, ignore_errors=True)
                notices.write_text(json.dumps(to_parquet(path, copy, **reading)))
    os.utime(notices)
    size = sum(part.stat().st_size for part in copy.iterdir())
    told = (
        f"{path} ({in_words(about.st_size)}) is read in pieces, from a Parquet copy of {in_words(size)} in {folder}; "
        "it is removed after a week without use"
    )
    return copy, (told, *json.loads(notices.read_text()))


def _there(copy: Path) -> bool:
    return copy.is_dir() and copy.with_suffix(".json").is_file()


def _folder() -> Path:
    kept = cache_folder()
    if kept is not None:
        return kept.parent / "tables"
    return Path(tempfile.gettempdir()) / f"danlu-tables-{os.getuid() if hasattr(os, 'getuid') else 0}"


def _forget(folder: Path) -> None:
    for notices in folder.glob("*.json"):
        if time.time() - notices.stat().st_mtime > _KEPT:
            notices.unlink(missing_ok=True)  # first: a copy without it is made anew, should this end half-way
            shutil.rmtree(notices.with_suffix(""), ignore_errors=True)


def is_streamed(data: DataConfig, source: Any) -> bool:
    """Whether to read as a stream: as the user says, or when the file would fill a good part of the memory."""
    if data.stream is not None or not isinstance(source, str):
        return bool(data.stream)
    path = Path(source)
    if holds_parquet(path):
        return True
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 8 * 2**30
    divided = path.suffix in (".parquet", ".pq") or is_plain_text(path)
    return divided and path.is_file() and path.stat().st_size > memory / 16
