"""The ``compare`` command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from danlu.cli.terminal import print_data
from danlu.stages import showing, stage

__all__ = ["compare"]


def compare(
    runs: Annotated[list[Path], typer.Argument(help="The folders of two or three runs.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print plain data.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write a page (.html), plain data (.json) or text (.txt).")
    ] = None,
) -> None:
    """Compare two or three runs: which differences their test rows can tell, and their settings, times and sizes."""
    with showing("auto"), stage("comparing"):
        from danlu.pipeline import compare_runs

        found = compare_runs(*runs)
        written = None if output is None else found.write(output)
    if as_json:
        print_data(json.dumps(found.as_dict(), indent=2, ensure_ascii=False) + "\n")
        return
    print(found)
    if written is not None:
        print(f"\nwritten to {written}")
