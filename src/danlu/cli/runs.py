"""The ``runs`` command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from danlu.prose import wide

__all__ = ["runs"]

_WIDE = 200  # columns of what is no terminal
_DATA = 14  # columns of the data's name that are to be seen


def runs(
    folder: Annotated[Path, typer.Argument(help="The folder of the runs.")] = Path("runs"),
    by: Annotated[
        str | None,
        typer.Option(
            help="The best first, by a measure (such as accuracy), which is shown; or date, name, data or seconds."
        ),
    ] = None,
) -> None:
    """List the runs, the latest first: kind, data, score, date and state."""
    from rich.console import Console
    from rich.table import Table

    from danlu.pipeline.past import ordered, past_runs
    from danlu.report.svg import short

    found = past_runs(folder)
    if not found:
        print(f"no run in {folder} yet; danlu train YOUR.csv --target COLUMN starts one")
        return
    if by is not None:
        found = ordered(found, by)
    rows = [
        {
            "name": each.name,
            "data": each.data,
            "kind": each.kind,
            "score": each.scored if by is None else each.told(by),
            "date": f"{each.date:%Y-%m-%d %H:%M}",
            "state": each.state,
        }
        for each in found
    ]
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)
    table = Table(box=None, pad_edge=False)
    sizes = _that_fit(rows, console.width)
    for name in sizes:
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(*(escape(short(row[name], size)) for name, size in sizes.items()))
    console.print(table)
    if by is not None and sum(by in each.scores for each in found) > 1:
        print(
            "\nscores of other test rows are not to be compared as they stand; danlu compare RUN RUN says what can be told"
        )


def _that_fit(rows: list[dict[str, str]], width: int) -> dict[str, int]:
    """The columns that are shown, with their widths: a narrow terminal has no room for the kind, the state, the date, all of the data."""
    sizes = {name: max(wide(name), *(wide(row[name]) for row in rows)) for name in rows[0]}
    whole, sizes["data"] = sizes["data"], min(sizes["data"], _DATA)

    def room() -> int:
        return width - sum(sizes.values()) - 2 * (len(sizes) - 1)

    for least in ("kind", "state", "date"):
        if room() < 0:
            del sizes[least]
    sizes["data"] = min(whole, sizes["data"] + max(room(), 0))
    return sizes
