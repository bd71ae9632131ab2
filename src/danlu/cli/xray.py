"""The ``xray`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from danlu.cli.options import OwnRun
from danlu.errors import ConfigError

__all__ = ["xray"]


def xray(
    run: OwnRun,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The page, instead of xray.html in the run.")
    ] = None,
    rows: Annotated[
        str, typer.Option(help="How many training rows are followed, or their numbers: --rows 0,17,4.")
    ] = "3",
    at: Annotated[
        str | None,
        typer.Option(help="Which updates are shown, from 0: --at 0,10,120. Default: ever fewer until the end."),
    ] = None,
    until: Annotated[int | None, typer.Option(help="Train again no further than this update.")] = None,
    display: Annotated[str, typer.Option(help="auto, live, plain or none.")] = "auto",
) -> None:
    """See backpropagation in a run's own network: trains it again from the start, and writes a page with every number.

    Values, error signals, gradients and updates of each layer, along the training, checked against finite differences.
    """
    from danlu.stages import showing, stage

    with showing(display):
        with stage("starting"):
            from danlu.film import xray as look
        found = look(run, rows=_rows(rows), at=_numbers("--at", at), until=until, display=display, say=print)
        path = found.save(run / "xray.html" if output is None else output)
    print(found)
    print(f"\n{path}: open it in a browser")


def _rows(text: str) -> int | list[int]:
    numbers = _numbers("--rows", text) or []
    return numbers if "," in text else numbers[0]


def _numbers(option: str, text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",") if part.strip()] or [int(text)]
    except ValueError:
        raise ConfigError(
            f"{option} is {text!r}; expected whole numbers with commas between them, such as 0,10,120"
        ) from None
