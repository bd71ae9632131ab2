"""Input that is not a plain file: pipes are read once, devices are refused, and compressed data may not exceed the memory.

A pipe (``-``, ``/dev/stdin``, a FIFO, ``<(…)`` of a shell) can be read once, and a file is opened several times on its way in: for its
format, its fingerprint, its rows. So a pipe is read into a file first, by the first function that receives its name.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import itertools
import lzma
import math
import os
import select
import shutil
import stat
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from danlu.data.remote import brought
from danlu.errors import DanluError, DataError
from danlu.files import is_url, temporary_for
from danlu.memory import available_memory, in_words
from danlu.stages import stage

__all__ = [
    "check_archive",
    "check_named",
    "check_plain",
    "is_pipe",
    "open_npz",
    "read_npz",
    "read_pipe",
    "spool",
    "unpacked",
]

PATIENCE = 10.0
"""Seconds that a FIFO may be without a writer."""

_PIECE = 1 << 20
_UNPACK: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
_ENDINGS = {b"PAR1": ".parquet", b"ARROW1": ".arrow", b"PK\x03\x04": ".xlsx", b"{": ".jsonl", b"[": ".json"}


def is_pipe(source: Any) -> bool:
    """Whether a source can be read only once: ``-`` for standard input, or the name of a pipe.

    >>> is_pipe("-"), is_pipe("table.csv")
    (True, False)
    """
    if not isinstance(source, str | Path):
        return False
    return str(source) == "-" or stat.S_ISFIFO(_mode(Path(source)))


def check_named(source: Any) -> None:
    """Refuse an empty name, which as a path is the current folder.

    Raises:
        DataError: it is empty.
    """
    if isinstance(source, str) and not source.strip():
        raise DataError(
            f"the name of the data is empty ({source!r})", hint="give a file or a folder; . is the current folder"
        )


def check_plain(path: Path) -> None:
    """Refuse an existing path that is not a file, a folder or a pipe.

    Raises:
        DataError: a device, which may never end, or a socket.
    """
    mode = _mode(path)
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):
        raise DataError(
            f"{path} is {'a socket' if stat.S_ISSOCK(mode) else 'a device'}; expected a file, a folder or a pipe"
        )


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return 0


def read_pipe(source: str | Path) -> Iterator[bytes]:
    """The data from a pipe, piece by piece, until its writer closes it.

    Raises:
        DataError: standard input is a terminal, nobody writes to the pipe, or more comes than there is memory for.
    """
    limit, count = available_memory() // 3, 0
    for piece in _standard_input() if str(source) == "-" else _fifo(Path(source)):
        count += len(piece)
        if count > limit:
            raise DataError(
                f"more than {in_words(limit)} came through {_called(source)}; expected data that fits into the free memory",
                hint="write it to a file first; Parquet files may be larger than the memory",
            )
        yield piece


def _standard_input() -> Iterator[bytes]:
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        mode = stat.S_IFCHR
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise DataError(
            "standard input is a terminal or a device; expected a pipe or a file, as in: cat rows.csv | danlu …"
        )
    while piece := os.read(0, _PIECE):
        yield piece


def _fifo(path: Path) -> Iterator[bytes]:
    """Opened so that the lack of a writer is seen: then reading gives nothing, and of a writer who pauses it is an error."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise DataError(f"{path} cannot be opened: {error.strerror}") from error
    begun, met = time.monotonic(), False
    try:
        while True:
            try:
                piece = os.read(handle, _PIECE)
            except BlockingIOError:
                met = True
                select.select([handle], [], [], 1.0)
                continue
            if piece:
                met = True
                yield piece
            elif met:
                return
            elif time.monotonic() - begun > PATIENCE:
                raise DataError(f"nothing was written to the pipe {path} for {PATIENCE:.0f} seconds")
            else:
                time.sleep(0.05)
    finally:
        os.close(handle)


@contextlib.contextmanager
def spool(source: Any, folder: str | Path | None = None) -> Iterator[Any]:
    """The path of a temporary file with the data from the pipe ``source``, or of the copy of what a URL names (see
    :func:`~danlu.data.remote.brought`); any other source is returned unchanged.

    Args:
        folder: where the file is put; None is the folder for temporary files.

    Raises:
        DataError: see :func:`read_pipe`, and where the file cannot be written; ``source`` is empty, a device or a socket.
    """
    check_named(source)
    if is_url(source):
        yield brought(source)
        return
    if not is_pipe(source):
        if isinstance(source, str | Path):
            check_plain(Path(source))
        yield source
        return
    try:
        place = temporary_for(Path(folder or tempfile.gettempdir()) / "pipe")
        place.mkdir(parents=True)
        file = place
    except OSError as error:
        raise DataError(f"what comes through {_called(source)} cannot be kept: {error.strerror or error}") from error
    try:
        with stage("reading the pipe"):
            file = _written(source, place)
        yield file
    except DanluError as error:  # what is wrong is said of the pipe, not of a file that nobody has seen
        message, hint = (text and text.replace(str(file), _called(source)) for text in (error.message, error.hint))
        raise type(error)(message or "", hint=hint) from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _written(source: str | Path, place: Path) -> Path:
    """All that comes through the pipe, in a file of ``place`` whose ending says what it is."""
    pieces = read_pipe(source)
    first = next(pieces, b"")
    if not first:
        raise DataError(f"nothing came through {_called(source)}", hint="did the command before it end with an error?")
    path = Path(source)
    name = (
        "stdin"
        if str(source) in ("-", "/dev/stdin", "/dev/fd/0")
        else "pipe"
        if path.parent.name == "fd"
        else path.stem
    )
    ending = next((ending for magic, ending in _ENDINGS.items() if first.lstrip().startswith(magic)), ".csv")
    file = place / f"{name}{path.suffix if len(path.suffix) > 1 else ending}"
    try:
        with open(file, "wb") as out:
            for piece in itertools.chain((first,), pieces):
                out.write(piece)
    except OSError as error:
        raise DataError(
            f"what comes through {_called(source)} cannot be kept in {place.parent}: {error.strerror or error}",
            hint="free some space, or set TMPDIR to a folder that has some",
        ) from error
    return file


def unpacked(data: bytes, source: str) -> bytes:
    """``data``, decompressed if it is gzip, bzip2 or xz; refused if it needs more memory than there is.

    Raises:
        DataError: damaged, or larger than the free memory when it is unpacked.
    """
    unpack = next((unpack for magic, unpack in _UNPACK.items() if data.startswith(magic)), None)
    if unpack is None:
        return data
    limit, whole = available_memory() // 4, bytearray()
    try:
        with unpack(io.BytesIO(data)) as file:
            while piece := file.read(_PIECE):
                whole += piece
                if len(whole) > limit:
                    raise DataError(
                        f"{source} has {in_words(len(data))} and unpacks to more than {in_words(limit)}, a quarter of the free memory",
                        hint="unpack it and write it as Parquet, which may be larger than the memory",
                    )
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, MemoryError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{source} cannot be unpacked: {error}", hint="the file is cut short?") from error
    return bytes(whole)


def check_archive(path: Path) -> None:
    """Refuse a zip file (Excel, npz) that says it unpacks to more than there is memory for; other files pass.

    Raises:
        DataError: it does.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return
    limit = available_memory() // 2
    if size > limit:
        raise DataError(
            f"{path} has {in_words(path.stat().st_size)} and unpacks to {in_words(size)}; expected at most half of the free "
            f"memory, {in_words(limit)}"
        )


@contextlib.contextmanager
def open_npz(path: Path) -> Iterator[Any]:
    """An npz or npy file opened by NumPy; no pickles, and no array that is larger than its part of the file.

    Raises:
        DataError: it would unpack to more than the free memory, or an array says that it is larger than it is.
    """
    check_plain(path)
    check_archive(path)
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                with archive.open(member) as file:
                    _check_header(file, member.file_size, f"{member.filename} in {path}")
    except (OSError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error):
        pass  # NumPy says what is wrong with it
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        yield arrays


def read_npz(path: Path, *, hint: str | None = None) -> dict[str, np.ndarray]:
    """The arrays of an npz file by name; see :func:`open_npz`.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with open_npz(path) as archive:
            return {name: archive[name] for name in archive.files}
    except DataError:
        raise
    except (OSError, ValueError, EOFError, KeyError, AttributeError, TypeError, RuntimeError, MemoryError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0][:80]
        raise DataError(f"{path} cannot be read as an npz file: {said}", hint=hint) from error
    except (zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} cannot be read as an npz file: {error}", hint=hint) from error


def _check_header(file: IO[bytes], size: int, name: str) -> None:
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    except (ValueError, TypeError, SyntaxError):
        return  # no array, or one that NumPy refuses
    if not dtype.hasobject and math.prod(shape) * dtype.itemsize > size:
        raise DataError(f"{name} says it has the shape {shape} of {dtype}, and is only {in_words(size)} long")


def _called(source: str | Path) -> str:
    return "standard input" if str(source) == "-" else f"the pipe {source}"
