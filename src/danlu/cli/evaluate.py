"""The ``evaluate`` command."""

from __future__ import annotations

from typing import Annotated

import typer

from danlu.cli.options import Allow, Lenient, Run, Support, Truth
from danlu.stages import showing, stage

__all__ = ["evaluate"]


def evaluate(
    run: Run,
    source: Truth,
    sensitive: Annotated[
        str | None,
        typer.Option(help="Columns, such as sex,race, by which groups of rows are compared."),
    ] = None,
    smallest: Annotated[int, typer.Option(help="Rows that a group needs to be compared with others.")] = 30,
    support: Support = None,
    lenient: Lenient = False,
    allow: Allow = None,
) -> None:
    """Evaluate a trained run on data that has the answers."""
    with showing("auto"), stage("evaluating"):
        from danlu.data.intake import spool
        from danlu.pipeline import load_model, with_support

        with spool(source) as place:
            model = load_model(run, allow=allow or ())
            if support is not None:
                model = with_support(model, support)
            found = model.evaluate(str(place), sensitive=sensitive, smallest=smallest, lenient=lenient)
    print(found)
