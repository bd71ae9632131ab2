"""The ``slices`` command."""

from __future__ import annotations

from typing import Annotated

import typer

from danlu.cli.options import Allow, Lenient, Run, is_there
from danlu.errors import ConfigError
from danlu.stages import showing, stage

__all__ = ["slices"]


def slices(
    run: Run,
    source: Annotated[
        str | None,
        typer.Argument(
            help="Rows with true answers to find them on (-: standard input); without it, those of the run's test.",
            callback=is_there,
        ),
    ] = None,
    conditions: Annotated[int, typer.Option(help="The most conditions of a slice.")] = 3,
    most: Annotated[int, typer.Option(help="How many slices.")] = 8,
    lenient: Lenient = False,
    allow: Allow = None,
) -> None:
    """Show on which rows a trained run is worst, by readable conditions on their columns."""
    from danlu.evaluate.slice_lines import slice_lines

    with showing("auto"), stage("looking for slices"):
        from danlu.artifact import RunDirectory
        from danlu.data.intake import spool
        from danlu.evaluate.slices import Slices
        from danlu.pipeline import load_model

        if source is None:
            directory = RunDirectory.open(run)
            told = directory.read_json("results.json").get("slices") if directory.results_path.is_file() else None
            if told is None:
                raise ConfigError(
                    f"{run} has no slices of its test rows",
                    hint=f"give a table with true answers: danlu slices {run} FILE",
                )
            if (conditions, most) != (3, 8):
                raise ConfigError(
                    "--conditions and --most are for rows that are given; the slices of the test were found with the training",
                    hint=f"danlu slices {run} FILE",
                )
            found = Slices.from_dict(told)
        else:
            with spool(source) as place:
                model = load_model(run, allow=allow or ())
                found = model.slices(str(place), conditions=conditions, most=most, lenient=lenient)
    print("\n".join(slice_lines(found)))
