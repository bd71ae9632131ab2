"""The ``export`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from danlu.cli.options import Allow, Run
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
            help="onnx (everything, for onnxruntime), web (a page that predicts in a browser), stablehlo (network and head, for JAX) "
            "or safetensors (weights)."
        ),
    ] = "onnx",
    license: Annotated[str, typer.Option(help="What the file says of its licence, such as CC-BY-4.0.")] = "",
    runtime: Annotated[
        Path | None,
        typer.Option(
            help="Of a page: the folder of the npm package onnxruntime-web, or one with node_modules in it; default: the working directory."
        ),
    ] = None,
    allow: Allow = None,
) -> None:
    """Write a model to one file for programs without danlu, and try that file on rows.

    An ONNX file holds all: it takes columns as they stand in a file, and answers with labels and probabilities, or values. A page has a
    form, or a place to draw, and needs no server; onnxruntime-web, which runs the model in it, comes from npm.
    """
    with showing("auto"), stage("exporting"):
        from danlu.export import export as written

        found = written(run, output, format=format, license=license, runtime=runtime, allow=allow or ())
    print(found)
