"""The ``danlu`` command: its sub-commands, and the one place where errors become a message and an exit status."""

from __future__ import annotations

import os
import sys

import typer

from danlu.cli.evaluate import evaluate
from danlu.cli.generate import generate
from danlu.cli.play import play
from danlu.cli.predict import predict
from danlu.cli.train import train
from danlu.cli.verify import verify
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


for command in (train, evaluate, predict, generate, play, verify):
    app.command()(command)


def main() -> None:
    """Run the command line; an error made on purpose is one message on standard error and exit status 1."""
    try:
        app()
    except DanluError as error:
        print(f"danlu: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:  # the reader of the output, such as ``head``, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        print(f"danlu: {error.strerror or error}{where}; what was saved before is still there", file=sys.stderr)
        sys.exit(1)
