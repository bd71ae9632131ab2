"""The ``compress`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from danlu.cli.options import Allow, OwnRun
from danlu.prose import wrapped
from danlu.stages import showing, stage

__all__ = ["compress"]


def compress(
    run: OwnRun,
    distill: Annotated[
        str | None,
        typer.Option(
            help="One new network learns what the whole model answers: same, small or tiny, or its settings, such as model.width=32."
        ),
    ] = None,
    prune: Annotated[float | None, typer.Option(help="The share of the weights that become zero, such as 0.8.")] = None,
    how: Annotated[
        str | None,
        typer.Option(help="How --prune chooses: gradual (more and more), magnitude (at once), movement or lottery."),
    ] = None,
    structured: Annotated[
        float | None, typer.Option(help="The share of units, channels and heads that are taken out, such as 0.5.")
    ] = None,
    low_rank: Annotated[
        float | None, typer.Option(help="Kernels as two of low rank, with this share of their energy, such as 0.95.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs of training of each of these; 0 is none, and of --prune magnitude.")
    ] = None,
    quantize: Annotated[
        str | None,
        typer.Option(
            help="Weights of fewer bits: int8 or int4; int8-dynamic and int8-static compute with whole numbers."
        ),
    ] = None,
    aware: Annotated[int, typer.Option(help="Epochs of training that feels the rounding of --quantize.", min=0)] = 0,
    data: Annotated[str | None, typer.Option(help="Where the run's data is now.")] = None,
    name: Annotated[str | None, typer.Option(help="The new run's name (RUN-small).")] = None,
    runs: Annotated[Path | None, typer.Option(help="The folder for the new run (that of the run).")] = None,
    display: Annotated[str, typer.Option(help="auto, live, plain or none.")] = "auto",
    allow: Allow = None,
) -> None:
    """Make a trained model smaller: it is trained on with the run's data, tested, and saved in a run of its own."""
    with showing(display):
        with stage("starting"):
            from danlu.compression.chosen import chosen
            from danlu.compression.compress import compress_run as made
        techniques = chosen(
            distil=distill,
            structured=structured,
            low_rank=low_rank,
            prune=prune,
            how=how,
            quantize=quantize,
            aware=aware,
            epochs=epochs,
        )
        found = made(run, techniques, name=name, runs=runs, source=data, display=display, say=_say, allow=allow or ())
    print(found.receipts)
    print(f"\nsaved in {found.result.run.path}")


def _say(text: str) -> None:
    print(wrapped(text, indent="  "))
