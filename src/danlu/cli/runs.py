"""The ``runs`` command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

__all__ = ["runs"]


def runs(
    folder: Annotated[Path, typer.Argument(help="The folder of the runs.")] = Path("runs"),
) -> None:
    """List the runs, the latest first: kind, data, score, date and state."""
    from rich.console import Console
    from rich.table import Table

    from danlu.pipeline.past import past_runs

    found = past_runs(folder)
    if not found:
        print(f"no run in {folder} yet; danlu train YOUR.csv --target COLUMN begins one")
        return
    table = Table(box=None, pad_edge=False)
    for name, whole in {"name": True, "data": False, "kind": False, "score": True, "date": True, "state": True}.items():
        table.add_column(name, no_wrap=whole, overflow="fold")
    for each in found:
        date = f"{each.date:%Y-%m-%d %H:%M}"
        table.add_row(*map(escape, (each.name, each.data, each.kind, each.scored, date, each.state)))
    Console(highlight=False, width=None if sys.stdout.isatty() else 200).print(table)
