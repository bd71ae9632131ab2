"""The ``package`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from danlu.cli.options import Run
from danlu.stages import showing, stage

__all__ = ["package"]


def package(
    run: Run,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The folder; default: the run's name and -package.")
    ] = None,
    license: Annotated[str, typer.Option(help="What the file says of its licence, such as CC-BY-4.0.")] = "",
) -> None:
    """Write a folder that answers for a model on any machine without danlu: ONNX, a server of one file, a Dockerfile, manifests."""
    with showing("auto"), stage("packaging"):
        from danlu.packaging import package as packaged

        found = packaged(run, output, license=license)
    print(found)
