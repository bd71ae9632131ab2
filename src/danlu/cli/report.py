"""The ``report`` command."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from danlu.cli.options import Allow, OwnRun
from danlu.stages import showing, stage

__all__ = ["report"]


def report(
    run: OwnRun,
    opened: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Write it anew, by reading the data and testing the model again.")
    ] = False,
    allow: Allow = None,
) -> None:
    """Say where a run's report is, and write it where there is none."""
    with showing("auto"), stage("looking for the report"):
        from danlu.artifact import RunDirectory
        from danlu.pipeline.anew import write_anew

        directory = RunDirectory.open(run)
        path = directory.report_path
        if again or not path.is_file():
            write_anew(directory, allow=allow or ())
    print(path)
    if opened and not _open(path):
        print("no browser can be opened here (there is no display): open the file in one", file=sys.stderr)


def _open(path: Path) -> bool:
    """Whether a browser with a window could be asked to open the file."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    try:
        return webbrowser.open(path.resolve().as_uri())
    except webbrowser.Error:
        return False
