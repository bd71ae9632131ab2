"""The user's files in a folder, without hidden files, thumbnails and other leftovers of the system."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["files_in", "files_like", "folders_in", "is_hidden", "is_pattern"]

_SYSTEM = frozenset(
    (
        *("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "lost+found"),
        *("__macosx", "__pycache__", "@eadir", "@recycle", "@tmp", "#recycle", "#snapshot", "#eadir", "icon\r"),
    )
)


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is ignored: hidden (``.DS_Store``, ``._photo.jpg``, ``.ipynb_checkpoints``) or a system's.

    >>> [is_hidden(name) for name in (".ipynb_checkpoints", "._cat.jpg", "@eaDir", "__MACOSX", "cat", "Thumbs.db")]
    [True, True, True, True, False, True]
    """
    return name.startswith(".") or name.lower() in _SYSTEM


def is_pattern(path: str | Path) -> bool:
    """Whether a path is a pattern of names and not the name of a file or folder.

    >>> is_pattern("part-*.parquet"), is_pattern("part-1.parquet")
    (True, False)
    """
    return any(mark in str(path) for mark in "*?[") and not os.path.lexists(path)


def files_like(pattern: str | Path) -> list[Path]:
    """The files of a pattern, sorted; ``**`` is any folders."""
    return sorted(Path(file) for file in glob.glob(str(pattern), recursive=True) if os.path.isfile(file))


def folders_in(folder: str | Path) -> list[Path]:
    """The folders directly in ``folder`` that are not hidden, sorted by name. (The folder itself may lie under a hidden one.)"""
    return sorted(child for child in Path(folder).iterdir() if child.is_dir() and not is_hidden(child.name))


def files_in(folder: str | Path, *, depth: int | None = None) -> Iterator[Path]:
    """The files in ``folder`` and below that are not hidden, nor in a hidden folder, in the order of their paths' parts.

    Links to folders are followed, each folder once on its way.

    Args:
        depth: how many folders deep at most; 0 for the folder itself alone, None for all.
    """
    yield from _walk(Path(folder), depth, frozenset())


def _walk(folder: Path, depth: int | None, above: frozenset[str]) -> Iterator[Path]:
    place = os.path.realpath(folder)
    if place in above:
        return
    for child in sorted(folder.iterdir()):
        if is_hidden(child.name):
            continue
        if child.is_dir():
            if depth is None or depth > 0:
                yield from _walk(child, None if depth is None else depth - 1, above | {place})
        elif child.is_file():
            yield child
