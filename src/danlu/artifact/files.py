"""Strict JSON: written strictly, and checked when it is read."""

from __future__ import annotations

import json
import math
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np

from danlu.errors import ArtifactError

__all__ = ["json_text", "plain", "read_bytes", "read_json"]

MAX_JSON_BYTES = 64 * 2**20
MAX_JSON_DEPTH = 200


def plain(value: Any) -> Any:
    """``value`` as plain JSON data: NumPy numbers and arrays become Python's, NaN and infinity become None.

    >>> plain({"loss": np.float32(0.5), "best": float("nan"), "sizes": (1, 2)})
    {'loss': 0.5, 'best': None, 'sizes': [1, 2]}
    """
    if isinstance(value, dict):
        return {plain(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, str):  # a file name that is not UTF-8 comes with surrogates, which no file can hold
        return value.encode("utf-8", "backslashreplace").decode()
    if value is None or isinstance(value, bool | int):
        return value
    if hasattr(value, "to_json"):
        return plain(value.to_json())
    if hasattr(value, "shape") and value.shape == ():
        return plain(value.item())
    return plain(str(value))


def json_text(value: Any, *, indent: int | None = 2) -> str:
    """``value`` as strict JSON text (no NaN, which no other reader would accept)."""
    return json.dumps(plain(value), indent=indent, ensure_ascii=False, allow_nan=False)


def write_synced(path: Path, data: bytes) -> None:
    """Write ``data`` to a new file and wait until it is on disk."""
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def read_bytes(path: Path, *, limit: int | None = None) -> bytes:
    """The bytes of a regular file; a link, a device, a pipe or a file beyond ``limit`` is refused unread.

    Raises:
        ArtifactError: the file is missing, not a regular file, too large or unreadable.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        if path.is_symlink():
            raise ArtifactError(f"{path} is a symbolic link; expected a regular file")
        handle = os.open(path, flags)
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ArtifactError(f"{path} is not a regular file")
            if limit is not None and status.st_size > limit:
                raise ArtifactError(f"{path} has {status.st_size:,} bytes; expected at most {limit:,}")
            return file.read()
    except FileNotFoundError:
        raise ArtifactError(f"{path} does not exist") from None
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror or error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file: strict JSON, no NaN, no duplicate keys, bounded in size and depth.

    Raises:
        ArtifactError: anything else.
    """
    return parse_json(read_bytes(path, limit=MAX_JSON_BYTES), str(path))


def parse_json(data: bytes, where: str) -> dict[str, Any]:
    """The JSON object in ``data``; see :func:`read_json`. ``where`` names it in messages."""
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
        too_deep = _deeper_than(value, MAX_JSON_DEPTH)
    except RecursionError:
        too_deep, value = True, None
    except ValueError as error:
        raise ArtifactError(f"{where} is not valid JSON: {str(error)[:200]}") from error
    if too_deep:
        raise ArtifactError(f"{where} is nested more than {MAX_JSON_DEPTH} levels deep")
    if not isinstance(value, dict):
        raise ArtifactError(f"{where} holds a JSON {type(value).__name__}; expected an object")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("an object has the same key twice")
    return value


def _deeper_than(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            child
            for item in level
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return True
