"""The options that say who does the work: processes of this machine, or the workers of a Ray cluster."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from danlu.errors import ConfigError
from danlu.language import current
from danlu.prose import wrapped

if TYPE_CHECKING:
    from danlu.launch.workers import Workers

__all__ = ["Cpus", "Gpus", "On", "WorkerCount", "train_there", "workers_of"]

On = Annotated[
    str | None,
    typer.Option(help="Where the workers are: processes (of this machine), ray, or ray://host:10001 (a Ray cluster)."),
]
WorkerCount = Annotated[
    int | None, typer.Option("--workers", help="How many workers share the folds, the trials, or on Ray one training.")
]
Cpus = Annotated[float | None, typer.Option(help="CPUs of each worker of a Ray cluster (1).")]
Gpus = Annotated[float | None, typer.Option(help="GPUs of each worker of a Ray cluster (0).")]
_OWN = ("--on", "--workers", "--cpus", "--gpus")


def workers_of(on: str | None, count: int | None, cpus: float | None, gpus: float | None) -> Workers | None:
    """The workers that the options ask for; None where they ask for none.

    Raises:
        ConfigError: a value that cannot be, or one that would not be used.
    """
    if on is None and count is None:
        for name, value in (("--cpus", cpus), ("--gpus", gpus)):
            if value is not None:
                raise ConfigError(f"{name} is of workers, and there are none; expected --on ray with it")
        return None
    from danlu.cli.part import check_by_itself
    from danlu.launch.workers import Workers

    check_by_itself("--workers" if on is None else "--on")
    return Workers(count, on or "processes", cpus, gpus)


def train_there(workers: Workers, *, source: str | None, name: str | None, runs: Path, resume: Path | None) -> int:
    """Train one model by the workers of a Ray cluster, with this command's own words: the exit status."""
    from danlu.artifact import RunDirectory
    from danlu.data.intake import is_pipe
    from danlu.launch.train_on_ray import RayJob, train_on_ray

    if workers.gpus is not None and workers.gpus != int(workers.gpus):
        raise ConfigError(
            f"--gpus is {workers.gpus:g}; a training takes whole GPUs, and trials and folds alone take parts of one"
        )
    if source is not None and is_pipe(source):
        raise ConfigError(
            f"the data is the pipe {source}, which workers elsewhere cannot read", hint="save it to a file first"
        )
    words = _without(sys.argv[1:], _OWN)
    if current() != "en":
        words += ["--language", current()]
    if resume is None:
        run = RunDirectory.next_path(runs.resolve(), name=name, dataset=Path(source or "table").stem)
        words += ["--runs", str(run.parent), "--name", run.name]
    else:
        run = RunDirectory.open(resume).path.resolve()
    job = RayJob(tuple(words), str(run), os.getcwd())
    return train_on_ray(job, workers, say=_say, note=lambda line: print(wrapped(line, indent="  "), flush=True))


def _say(line: str) -> None:
    print(line, flush=True)


def _without(words: Sequence[str], options: Sequence[str]) -> list[str]:
    """A command without some of its options.

    >>> _without(["train", "a.csv", "--on", "ray", "--workers=2", "x=1"], ("--on", "--workers"))
    ['train', 'a.csv', 'x=1']
    """
    kept, left = [], iter(words)
    for word in left:
        name, equals, _ = word.partition("=")
        if name not in options:
            kept.append(word)
        elif not equals:
            next(left, None)
    return kept
