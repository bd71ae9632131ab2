"""The ``launch`` command."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from danlu.prose import wrapped

__all__ = ["launch"]


def launch(
    command: Annotated[
        list[str],
        typer.Argument(help="After --, the training: train data.csv and what belongs to it.", show_default=False),
    ],
    processes: Annotated[
        int, typer.Option("--processes", "-n", help="How many processes, on all machines together.")
    ] = 2,
    devices: Annotated[
        int | None,
        typer.Option(
            "--devices-per-process",
            help="Devices of each: GPUs, or parts of the CPU (default: one; with --rank, all of the machine).",
        ),
    ] = None,
    coordinator: Annotated[
        str | None,
        typer.Option(help="host:port of process 0, for several machines; without it, all processes are on this one."),
    ] = None,
    rank: Annotated[
        int | None,
        typer.Option(help="Start only this process here, from 0; the others are started by hand on other machines."),
    ] = None,
    restarts: Annotated[
        int, typer.Option(help="How often all are started again, from the last checkpoint, after one fails.")
    ] = 3,
    timeout: Annotated[
        float, typer.Option(help="Seconds in which no process comes further, after which all are started again.")
    ] = 600.0,
    elastic: Annotated[
        bool, typer.Option("--elastic", help="Start again with one process fewer, where one has failed.")
    ] = False,
    least: Annotated[int, typer.Option(help="With --elastic: how many processes there are at least.")] = 1,
) -> None:
    """Train one model with several processes, here or on several machines: danlu launch --processes 2 -- train data.csv."""
    from danlu.launch import Job
    from danlu.launch import launch as start

    job = Job(tuple(command), processes, devices, coordinator, rank, restarts, timeout, elastic=elastic, least=least)
    raise typer.Exit(start(job, say=_say))


def _say(line: str) -> None:
    """A line among what process 0 prints."""
    print(wrapped(line, indent="  "), file=sys.stderr, flush=True)
