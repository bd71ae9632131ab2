"""The ``teach`` command."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from danlu.cli.options import Run, is_there
from danlu.stages import showing, stage

__all__ = ["teach"]


def teach(
    run: Run,
    support: Annotated[
        str,
        typer.Argument(
            help="A folder with a folder of a few examples for each new class, which it is to tell apart.",
            callback=is_there,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write the classifier to.")],
) -> None:
    """Teach a model trained with --shots new classes by a few examples of each; what it writes is a classifier like any other."""
    with showing("auto"), stage("starting"):
        from danlu.pipeline import load_model, with_support

        model: Any = with_support(load_model(run), support)
        model.save(output)
    print(f"a classifier of {len(model.head.target.classes)} classes, in {output}; try next:")
    print(f"  danlu predict {shlex.quote(str(output))} PICTURES")
    print(f"  danlu serve {shlex.quote(str(output))}")
