"""``danlu explain RUN`` without rows: what the model does in general."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from danlu.artifact import RunDirectory
from danlu.errors import ConfigError, unknown_name
from danlu.evaluate import Importance
from danlu.explained import Asked, Overview, overview_of_table
from danlu.trained import Trained

__all__ = ["check_unused", "overview"]


def overview(trained: Trained, folder: Path | None, asked: Asked, columns: Sequence[str] = ()) -> Overview:
    """What the model does in general; see :func:`danlu.pipeline.explain`.

    Args:
        folder: of its run, None where there is none.
        asked: the class, the scale and the background rows.
        columns: whose curves are shown; none: the strongest.

    Raises:
        ConfigError: a model of something else than a table, or a column that there is not.
    """
    reader: Any = trained.reader
    if trained.kind != "table":
        raise ConfigError(
            f"a model for {trained.purpose} is not explained as a whole; expected one of a table",
            hint="give rows to explain: danlu explain RUN FILE" if reader.explains else reader.instead_of_why,
        )
    known = [column.name for column in trained.encoder.schema.features]
    for name in columns:
        if name not in known:
            raise unknown_name("column", name, known)
    title = f"What {trained.head.name} is answered by" + (f": {folder.name}" if folder is not None else "")
    measured = () if trained.instead is not None or folder is None else _importance(folder)
    return overview_of_table(trained, asked, measured, title, columns=columns)


def check_unused(**given: Any) -> None:
    """Refuse what counts only beside rows.

    Raises:
        ConfigError: see above.
    """
    usual = {"method": "auto", "changes": 3}
    refused = [name for name, value in given.items() if name in usual and value != usual[name]]
    refused += [
        name
        for name, value in given.items()
        if name not in usual and (value is not None and value != [] and bool(value))
    ]
    if refused:
        raise ConfigError(
            f"{', '.join(refused)} would not be used: no rows are given, so that the model is explained as a whole",
            hint="give rows, or leave it out",
        )


def _importance(folder: Path) -> tuple[Importance, ...]:
    """The importance that was measured on the test rows of the run; empty where it was not."""
    if not (folder / "results.json").is_file():
        return ()
    told = RunDirectory.open(folder).read_json("results.json").get("importance") or []
    return tuple(Importance(**{**each, "columns": tuple(each["columns"])}) for each in told)
