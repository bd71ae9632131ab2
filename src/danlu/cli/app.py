"""The ``danlu`` command: its sub-commands, and the one place where errors become a message and an exit status."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from danlu.errors import DanluError

__all__ = ["app", "main"]

app = typer.Typer(
    name="danlu",
    help="Model training without the alchemy.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _root() -> None:
    """Model training without the alchemy."""


@app.command()
def verify(
    pattern: Annotated[str | None, typer.Argument(help="Only the algorithms whose name holds this text.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the table to this file as JSON too.")] = None,
) -> None:
    """Check every algorithm against independent oracles; the exit status is 1 when a row fails."""
    from danlu.verify import run_verify

    raise typer.Exit(run_verify(pattern, json_path=json))


def main() -> None:
    """Run the command line; an error made on purpose is one message on standard error and exit status 1."""
    try:
        app()
    except DanluError as error:
        print(f"danlu: {error}", file=sys.stderr)
        sys.exit(1)
