"""The ``export`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from danlu.cli.options import Run
from danlu.stages import showing, stage

__all__ = ["export"]


def export(
    run: Run,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The file; default: the run's name, in the working directory.")
    ] = None,
    format: Annotated[
        str,
        typer.Option(
            help="onnx (everything, for onnxruntime), stablehlo (network and head, for JAX) or safetensors (weights)."
        ),
    ] = "onnx",
    license: Annotated[str, typer.Option(help="What the file says of its licence, such as CC-BY-4.0.")] = "",
) -> None:
    """Write a model to one file for programs without danlu, and try that file on rows.

    An ONNX file holds all: it takes columns as they stand in a file, and answers with labels and probabilities, or values.
    """
    with showing("auto"), stage("exporting"):
        from danlu.export import export as written

        found = written(run, output, format=format, license=license)
    print(found)
