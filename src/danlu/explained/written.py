"""An explanation as a file, in the form that its name asks for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from danlu.errors import ConfigError
from danlu.files import write_atomic

__all__ = ["written"]


def written(path: str | Path, *, html: Callable[[], str], data: Callable[[], Any], text: Callable[[], str]) -> Path:
    """Write a page (``.html``), plain data (``.json``) or text (``.txt``), by the ending.

    Raises:
        ConfigError: another ending, or a file that cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() in (".html", ".htm"):
        whole = html()
    elif path.suffix.lower() == ".json":
        whole = json.dumps(data(), indent=2, ensure_ascii=False) + "\n"
    elif path.suffix.lower() == ".txt":
        whole = f"{text()}\n"
    else:
        raise ConfigError(f"an explanation is not written as {path.name}; expected a name in .html, .json or .txt")
    write_atomic(path, whole, error=ConfigError)
    return path
