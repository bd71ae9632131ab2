"""The ``predict`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from danlu.cli.options import Allow, Lenient

__all__ = ["predict"]


def predict(
    run: Path,
    source: str,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The CSV file to write, or the folder for masks (default: print)."),
    ] = None,
    lenient: Lenient = False,
    allow: Allow = None,
) -> None:
    """Predict with a trained run."""
    from danlu.pipeline import load

    model = load(run, allow=allow or ())
    if output is None:
        print(model.predict(source, lenient=lenient).write_csv(), end="")
    else:
        print(model.write(source, output, lenient=lenient))
