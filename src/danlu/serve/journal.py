"""Lines of JSON that are added to a file, whole, whoever else writes to it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from danlu.artifact.files import json_text
from danlu.errors import ConfigError

__all__ = ["Journal"]


class Journal:
    """A file of JSON lines; each is written at once, so that several processes may share it.

    Args:
        path: the file, which only its owner may read when it is made; None writes nothing.

    Raises:
        ConfigError: it cannot be written.
    """

    def __init__(self, path: str | None) -> None:
        self._file: int | None = None
        if path is None:
            return
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror or error}", hint="name another file") from error

    def __bool__(self) -> bool:
        return self._file is not None

    def add(self, line: Mapping[str, Any]) -> None:
        """Add a line."""
        if self._file is not None:
            os.write(self._file, (json_text(dict(line), indent=None) + "\n").encode())

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
