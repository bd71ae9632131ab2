"""Some training rows of a table that a run keeps, for explanations: what an answer is compared with."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import polars as pl

from danlu.errors import ArtifactError
from danlu.files import write_atomic
from danlu.trained import Say, Trained

__all__ = ["BACKGROUND", "drawn", "keep_background", "kept_background", "read_background"]

BACKGROUND = "background.parquet"
"""The file of a run that holds some of its training rows. It lies beside the model: a model that is given away has no rows."""

_KEPT = 2000


def drawn(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The training rows that are kept, at most 2,000."""
    return frame if frame.height <= _KEPT else frame.sample(_KEPT, seed=seed)


def keep_background(folder: Path, frame: pl.DataFrame | None) -> None:
    """Write the rows to the run."""
    if frame is None:
        return
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    write_atomic(folder / BACKGROUND, buffer.getvalue())


def kept_background(folder: Path) -> pl.DataFrame | None:
    """The rows that a run kept; those of its first fold where it has folds, None where there are none.

    Raises:
        ArtifactError: the file is damaged.
    """
    for path in (folder / BACKGROUND, folder.parent / BACKGROUND, folder / "folds" / "1" / BACKGROUND):
        if path.is_file():
            try:
                return pl.read_parquet(path)
            except Exception as error:
                raise ArtifactError(f"the kept training rows in {path} are damaged: {str(error)[:120]}") from error
    return None


def read_background(trained: Trained, source: Any, say: Say) -> tuple[Any, Any]:
    """Rows of the user's own, as the encoder takes them, and their true answers where they have them."""
    found = trained.read(source, lenient=True, say=say)
    return found.rows, found.truth
