"""The ``replay`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from danlu.cli.options import Allow, OwnRun
from danlu.errors import ConfigError
from danlu.interrupt import exit_status
from danlu.prose import wrapped
from danlu.stages import showing, stage

__all__ = ["replay"]


def replay(
    run: OwnRun,
    settings: Annotated[
        list[str] | None,
        typer.Argument(help="What is changed there, such as trainer.learning_rate=0.001: a branch goes on with it."),
    ] = None,
    step: Annotated[int | None, typer.Option(help="The update that is brought back, from 0.")] = None,
    stop: Annotated[
        bool, typer.Option("--stop", help="Train no further than to the update; the end is then not compared.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The page, instead of replay.html in the run or the branch.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Where the run's data is now, if it was moved; other data is refused.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The name of the branch's run.")] = None,
    runs: Annotated[Path | None, typer.Option(help="The folder for the branch's run; default: beside the run.")] = None,
    display: Annotated[str, typer.Option(help="auto, live, plain or none.")] = "auto",
    allow: Allow = None,
) -> None:
    """Bring a training back to one of its updates, to the last bit; with settings, go on from there with them.

    Shows the update (loss, gradient, rows of the batch); of a branch both futures: the curves, and what the test rows can tell.

    Ends with status 1 where the training is not the run's to the last bit.
    """
    if step is None:
        raise ConfigError(
            "danlu replay needs the update that is brought back",
            hint=f"danlu replay {run} --step 0; the column step of {run / 'metrics.jsonl'} has how many were made by each epoch's end",
        )
    with showing(display):
        with stage("starting"):
            from danlu.film import replay as bring_back
            from danlu.pipeline import override
        found = bring_back(
            run,
            step,
            stop=stop,
            name=name,
            runs=runs,
            source=data,
            display=display,
            say=lambda line: print(wrapped(line, indent="  ")),
            allow=allow or (),
            **override({}, settings or []),
        )
        folder = run if found.branch is None else found.branch.run.path
        path = found.save(folder / "replay.html" if output is None else output)
    print(found)
    print(f"\n{path}: open it in a browser")
    if found.branch is not None:
        print(f"the branch is a run of its own: danlu show {found.branch.run.path}")
    stopped = 0 if found.branch is None else exit_status(found.branch.stopped_by)
    raise typer.Exit(stopped or int(found.proof.differs))
