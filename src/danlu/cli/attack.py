"""The ``attack`` command."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from danlu.cli.options import Run
from danlu.stages import showing, stage

__all__ = ["attack"]


def attack(
    run: Run,
    source: Annotated[str | None, typer.Option(help="Where the run's data is now, if it was moved.")] = None,
    shadows: Annotated[
        int, typer.Option(help="Networks that are trained to learn what a row changes, on a half of the rows each.")
    ] = 16,
    canaries: Annotated[
        int | None,
        typer.Option(help="Instead of shadows, one more training with so many rows with wrong answers among its own."),
    ] = None,
    mode: Annotated[
        str, typer.Option(help="online, or offline: of shadows that did not learn from a row alone.")
    ] = "online",
    seed: Annotated[int, typer.Option(help="The same seed draws the same halves.")] = 0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the figures to this file as JSON.")
    ] = None,
    display: Annotated[str, typer.Option(help="auto, live, plain or none.")] = "auto",
) -> None:
    """Try to tell which rows a run learnt from, and how much privacy that leaves beside what it states.

    The figures are added to the run's report and its results.json too.
    """
    with showing(display), stage("attack"):
        from danlu.files import write_atomic
        from danlu.pipeline.membership import attack as attack_on
        from danlu.pipeline.parts import keep_part
        from danlu.report.membership import membership_section

        found = attack_on(run, source=source, shadows=shadows, canaries=canaries, mode=mode, seed=seed, display=display)
        kept = keep_part(
            run, "attack" if canaries is None else "canaries", [membership_section(found)], found.as_dict()
        )
        if output is not None:
            write_atomic(output, json.dumps(found.as_dict(), indent=1))
    print(found)
    if kept:
        print(f"added to the report of the run: {Path(run) / 'report.html'}", file=sys.stderr)
