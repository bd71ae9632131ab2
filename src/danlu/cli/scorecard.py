"""The ``scorecard`` command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from danlu.cli.options import Lenient, Run, is_there
from danlu.cli.terminal import print_data
from danlu.stages import showing, stage

__all__ = ["scorecard"]


def scorecard(
    run: Run,
    source: Annotated[
        str | None,
        typer.Argument(
            help="New rows, to tell the points of each of them; without any the card itself is shown.",
            callback=is_there,
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write (csv, json, parquet); - prints rows.")
    ] = None,
    lenient: Lenient = False,
) -> None:
    """Show the points of a scorecard (model.kind=scorecard), or what each row gets from each column, its score and the reasons."""
    with showing("auto"), stage("reading the card"):
        from danlu.pipeline import load_model
        from danlu.trained.answers import as_csv, check_ending, write_frame
        from danlu.trained.points import PointsCard

        told = output is not None and str(output) != "-"
        if output is not None and told:
            check_ending(output)
        card = PointsCard.of(load_model(run))
        if source is None:
            if output is not None and told:
                card.write(output)
            said = "" if told else f"{card}\n"
        else:
            found = card.points(source, lenient=lenient)
            if output is not None and told:
                write_frame(found, output)
            said = "" if told else as_csv(found)
    if told:
        print(
            f"{'the card' if source is None else f'the points of {found.height:,} rows'} written to {output}",
            file=sys.stderr,
        )
    elif source is None:
        print(said, end="")
    else:
        print_data(said)
