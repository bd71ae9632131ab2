"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from danlu.errors import ConfigError
from danlu.files import check_there, is_url

__all__ = [
    "Allow",
    "Lenient",
    "NewData",
    "OwnRun",
    "Run",
    "Support",
    "TestData",
    "Truth",
    "is_setting",
    "is_there",
    "may_be_there",
    "refuse_with",
]


def is_setting(word: str) -> bool:
    """Whether the first word is a setting, and no data: a URL's signature has equals signs too.

    >>> is_setting("trainer.epochs=2"), is_setting("https://host/t.csv?sig=1")
    (True, False)
    """
    return "=" in word and not is_url(word) and not Path(word).exists()


def is_there(source: str | None) -> str | None:
    """The name of data as it was given; one of which nothing is there is refused before anything is loaded."""
    if source is not None:
        check_there(source)
    return source


def may_be_there(source: str | None) -> str | None:
    """The same of what may also name an environment (``CartPole-v1``, ``module:Name``) or be a setting: files alone have an ending."""
    if source is not None and Path(source).suffix and not any(mark in source for mark in ":="):
        check_there(source)
    return source


def _run_there(run: Path) -> Path:
    if not run.exists():
        from danlu.artifact.artifact import is_saved
        from danlu.artifact.run import no_run

        if not is_saved(run):
            raise no_run(run)
    return run


Allow = Annotated[
    list[str] | None,
    typer.Option(
        help="A module that the environment may import, such as my_envs for my_envs:Walk-v0; can be repeated."
    ),
]
Lenient = Annotated[bool, typer.Option("--lenient", help="Treat unseen categories and odd values as unknown.")]
NewData = Annotated[
    str,
    typer.Argument(
        help="New data, such as the model was trained on: a file, a folder, or - for standard input.", callback=is_there
    ),
]
Support = Annotated[
    str | None,
    typer.Option(
        help="Of a model trained with --shots: a folder with a folder of a few examples for each new class, which it is to tell apart.",
        callback=is_there,
    ),
]
Truth = Annotated[
    str,
    typer.Argument(
        help="New data with the answers: a file, a folder, or - for standard input; for an agent, an environment.",
        callback=may_be_there,
    ),
]
OwnRun = Annotated[Path, typer.Argument(help="The folder of a run.", callback=_run_there)]
Run = Annotated[Path, typer.Argument(help="The folder of a run, or of a saved model.", callback=_run_there)]
TestData = Annotated[str | None, typer.Option(help="A file of test rows.", callback=is_there)]


def refuse_with(given: Mapping[str, object], what: str, hint: str) -> None:
    """Refuse the options of these that are given.

    Raises:
        ConfigError: with their names.
    """
    names = [
        name for name, value in given.items() if value is not None and value is not False and value not in ([], (), {})
    ]
    if names:
        raise ConfigError(f"{what}; received {', '.join(names)} with it", hint=hint)
