"""The ``stress`` command."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from danlu.cli.options import Lenient, NewData, Run
from danlu.stages import showing, stage

__all__ = ["stress"]


def stress(
    run: Run,
    source: NewData,
    most: Annotated[int, typer.Option(help="The most rows that are tested.")] = 2000,
    seed: Annotated[int, typer.Option(help="The same seed draws the same changes.")] = 0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the figures to this file as JSON.")
    ] = None,
    lenient: Lenient = False,
) -> None:
    """Show how much worse a trained run gets with noise, missing values, shifts, and changes of pictures.

    The figures are added to the run's report and its results.json too.
    """
    with showing("auto"), stage("stress"):
        from danlu.data.intake import spool
        from danlu.files import write_atomic
        from danlu.pipeline.parts import keep_part
        from danlu.pipeline.stress import stress as stress_of
        from danlu.report.stress import stress_section

        with spool(source) as place:
            found = stress_of(run, str(place), most=most, seed=seed, lenient=lenient)
        section = stress_section(found, Path(source).name if source != "-" else "the rows given")
        kept = keep_part(run, "stress", [section], found.as_dict())
        if output is not None:
            write_atomic(output, json.dumps(found.as_dict(), indent=1))
    print(found)
    if kept:
        print(f"added to the report of the run: {Path(run) / 'report.html'}", file=sys.stderr)
