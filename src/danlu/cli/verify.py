"""The ``verify`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["verify"]


def verify(
    pattern: Annotated[str | None, typer.Argument(help="Only the algorithms whose name contains this text.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the table to this file as JSON too.")] = None,
) -> None:
    """Check every algorithm against independent oracles; the exit status is 1 when a row fails."""
    from danlu.verify import run_verify

    raise typer.Exit(run_verify(pattern, json_path=json))
