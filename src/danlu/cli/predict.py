"""The ``predict`` command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from danlu.cli.options import Allow, Lenient, NewData, Run, Support, is_there
from danlu.cli.terminal import print_data
from danlu.errors import ConfigError
from danlu.stages import showing, stage

__all__ = ["predict"]


def predict(
    run: Run,
    source: NewData,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The file to write, in the format of its ending (csv, tsv, parquet, json, jsonl), or the folder for masks "
            "(-, the default: print).",
        ),
    ] = None,
    keep: Annotated[
        str,
        typer.Option(help="Columns of the input to write next to the answers: identifiers, all, none, or ID,NAME."),
    ] = "identifiers",
    support: Support = None,
    using: Annotated[
        str | None,
        typer.Option(
            "--with",
            help="Use a simple model that it was compared with instead of the network: logistic, ridge, boosting.",
        ),
    ] = None,
    interval: Annotated[
        float | None,
        typer.Option(
            help="Write the interval low to high of a quantity that holds the true value in this share of cases, such as 0.9."
        ),
    ] = None,
    sets: Annotated[
        float | None,
        typer.Option(
            "--set", help="Write the set of classes that holds the true one in this share of cases, such as 0.9."
        ),
    ] = None,
    scores: Annotated[
        str | None,
        typer.Option(
            help="A file of rows with true answers, from which --interval or --set follow instead of the training's.",
            callback=is_there,
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(help="With --scores: a column; the level then holds for the rows of each of its values."),
    ] = None,
    lenient: Lenient = False,
    allow: Allow = None,
) -> None:
    """Predict with a trained run."""
    with showing("auto"), stage("predicting"):
        from danlu.data.intake import spool
        from danlu.pipeline import load_model, with_support
        from danlu.trained.answers import as_csv

        model = load_model(run, allow=allow or ())
        if support is not None:
            model = with_support(model, support)
        if using is not None:
            model = model.using(using)
        if scores is not None:
            if interval is None and sets is None:
                raise ConfigError("--scores is for --interval or --set; expected one of them with it")
            model = model.scored_on(scores, by=by, lenient=lenient)
        elif by is not None:
            raise ConfigError("--by is for --scores; expected a file of rows with true answers with it")
        model = model.asking(interval=interval, sets=sets)
        with spool(source) as place:
            if output is None or str(output) == "-":
                said = as_csv(model.answers(str(place), keep=keep, lenient=lenient))
            else:
                said = model.write(str(place), output, keep=keep, lenient=lenient) + "\n"
                if not output.is_file() and not output.is_dir():  # not among the answers that went to /dev/stdout
                    print(said, end="", file=sys.stderr)
                    return
    print_data(said)
