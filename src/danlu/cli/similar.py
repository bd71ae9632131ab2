"""The ``similar`` command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from danlu.cli.options import NewData, Run, is_there
from danlu.cli.terminal import print_data
from danlu.stages import showing, stage

__all__ = ["similar"]


def similar(
    run: Run,
    source: NewData,
    among: Annotated[
        str,
        typer.Option(
            help="What to look through: a folder of pictures, one picture, a .txt file of sentences, or a table.",
            callback=is_there,
        ),
    ],
    most: Annotated[int, typer.Option(help="How many of the nearest are told.", min=1)] = 5,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write (csv, parquet, json); - prints.")
    ] = None,
) -> None:
    """Find what is most like other things: pictures by pictures (--shots), pictures by sentences and back (--pair)."""
    with showing("auto"), stage("comparing"):
        from danlu.pipeline import load_model
        from danlu.pipeline import similar as nearest
        from danlu.trained.answers import as_csv, check_ending, write_frame

        told = output is not None and str(output) != "-"
        if output is not None and told:
            check_ending(output)
        found = nearest(load_model(run), source, among, most=most)
        if output is not None and told:
            write_frame(found, output)
            print(f"{found.height:,} pairs written to {output}", file=sys.stderr)
            return
        said = as_csv(found)
    print_data(said)
