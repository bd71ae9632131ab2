"""New rows as files: pictures as one sheet, as single files or as arrays; tables in the format of the file's ending."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from danlu.errors import ConfigError
from danlu.files import replacing, write_atomic
from danlu.trained.answers import write_frame

__all__ = ["check_place", "grid", "write_samples"]

_SINGLE = (".png", ".npz")


def check_place(output: str | Path) -> Path:
    """Where pictures are to be written; asked before they are drawn, which may take long.

    Raises:
        ConfigError: an ending that no picture has, or a folder that holds something, which could be written over.
    """
    path = Path(output)
    ending = path.suffix.lower()
    if ending and ending not in _SINGLE and not path.is_dir():
        raise ConfigError(
            f"pictures are not written as {ending}; expected a folder, .png (all on one sheet) or .npz",
            hint=f"such as {path.with_suffix('.png').name}",
        )
    if path.is_dir() and any(path.iterdir()):
        raise ConfigError(
            f"the folder {path} is not empty; expected a new one, so that nothing in it is written over or mixed with what is drawn"
        )
    return path


def write_samples(
    found: np.ndarray | pl.DataFrame, output: str | Path, labels: Sequence[str] | None = None, *, header: bool = True
) -> str:
    """Write what was drawn, and return that in words.

    Args:
        found: pictures ``uint8 (count, height, width, channels)``, or a table.
        output: of pictures ``.png`` (all on one sheet), ``.npz`` (``images``, ``labels``) or a folder (a file each, in a folder of
            each label, as ``danlu train`` reads them); of a table a file (csv, parquet, …).
        labels: of the pictures.
        header: whether a table that is written as CSV begins with the names of its columns.

    Raises:
        ConfigError: a place that :func:`check_place` refuses, or that cannot be written.
    """
    path = Path(output)
    if isinstance(found, pl.DataFrame):
        if header or path.suffix.lower() != ".csv":
            write_frame(found, path)
        else:
            write_atomic(path, found.write_csv(include_header=False), error=ConfigError)
        return f"{found.height:,} rows written to {path}"
    ending = check_place(path).suffix.lower()
    if ending in _SINGLE:
        _made(path.parent)
    if ending == ".png":
        _save(grid(found), path)
    elif ending == ".npz":
        with replacing(path, error=ConfigError) as new:
            named: dict[str, Any] = {} if labels is None else {"labels": np.asarray(labels)}
            with new.open("wb") as file:
                np.savez_compressed(file, images=found, **named)
    else:
        for number, picture in enumerate(found):
            folder = path if labels is None else path / _folder(labels[number])
            _made(folder)
            _save(picture, folder / f"{number:06d}.png")
    return f"{len(found):,} pictures written to {path}" if len(found) > 1 else f"1 picture written to {path}"


def _made(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"the pictures cannot be written to {folder}: {error.strerror or error}") from error


def _folder(label: str) -> str:
    """The name of a label's folder, which is never the folder itself or one above it."""
    name = "".join(letter if letter not in '/\\:*?"<>|' and letter.isprintable() else "_" for letter in label)
    return name if name.strip(" .") else "_" * max(len(name), 1)


def _save(picture: np.ndarray, path: Path) -> None:
    from PIL import Image

    with replacing(path, error=ConfigError) as new:
        Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(new, "PNG")


def grid(pictures: np.ndarray, across: int | None = None) -> np.ndarray:
    """Pictures ``uint8 (count, height, width, channels)`` on one sheet, with a white line between them.

    Args:
        across: how many are side by side; None makes it about square.

    >>> grid(np.zeros((3, 2, 2, 1), np.uint8))[..., 0].tolist()
    [[0, 0, 255, 0, 0], [0, 0, 255, 0, 0], [255, 255, 255, 255, 255], [0, 0, 255, 255, 255], [0, 0, 255, 255, 255]]
    """
    count, height, width, channels = pictures.shape
    across = across or int(np.ceil(np.sqrt(count)))
    down = -(-count // across)
    page = np.full((down * (height + 1) - 1, across * (width + 1) - 1, channels), 255, np.uint8)
    for number, each in enumerate(pictures):
        top, left = number // across * (height + 1), number % across * (width + 1)
        page[top : top + height, left : left + width] = each
    return page
