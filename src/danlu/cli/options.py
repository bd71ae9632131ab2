"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Allow", "Lenient", "NewData", "Run"]

Allow = Annotated[
    list[str] | None,
    typer.Option(
        help="A module that the environment may import, such as my_envs for my_envs:Walk-v0; can be repeated."
    ),
]
Lenient = Annotated[bool, typer.Option("--lenient", help="Treat unseen categories and odd values as unknown.")]
NewData = Annotated[
    str, typer.Argument(help="New data, such as the model was trained on: a file, a folder, or - for standard input.")
]
Run = Annotated[Path, typer.Argument(help="The folder of a run, or of a saved model.")]
