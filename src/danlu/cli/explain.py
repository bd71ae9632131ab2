"""The ``explain`` command."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from danlu.cli.options import Allow, Lenient, Run, is_there
from danlu.cli.terminal import print_data
from danlu.errors import ConfigError
from danlu.stages import showing, stage

__all__ = ["explain"]


def explain(
    run: Run,
    source: Annotated[
        str | None,
        typer.Argument(
            help="Rows such as the model was trained on, to be explained one by one: a file, a folder, or -. "
            "Without it a model of a table is explained as a whole.",
            callback=is_there,
        ),
    ] = None,
    rows: Annotated[
        str | None,
        typer.Option(help="Which rows of the file, counted from 1, such as 1,4-6 (default: the first five)."),
    ] = None,
    method: Annotated[
        str, typer.Option(help="shapley (tables), gradients or smoothgrad (of the network), or auto.")
    ] = "auto",
    of: Annotated[
        str | None, typer.Option("--class", help="The class to explain (default: the one that is answered).")
    ] = None,
    scale: Annotated[str, typer.Option(help="probability or log-odds.")] = "auto",
    exact: Annotated[
        bool, typer.Option("--exact", help="Exact Shapley values of up to 12 columns, however long that takes.")
    ] = False,
    keep: Annotated[
        str, typer.Option(help="Columns that are not to be changed to get another answer, such as age,sex.")
    ] = "",
    to: Annotated[
        str | None,
        typer.Option(help="The answer to be reached by changes: a class; of a quantity '>=200' or '<=200'."),
    ] = None,
    changes: Annotated[
        int, typer.Option(help="Columns that are changed together at most to get another answer; 0: do not look.")
    ] = 3,
    influence: Annotated[
        int,
        typer.Option(help="How many training rows of a table are shown that moved the answer most; 0: do not look."),
    ] = 0,
    background: Annotated[
        str | None,
        typer.Option(help="A file of rows to compare with, where the run keeps no training rows.", callback=is_there),
    ] = None,
    columns: Annotated[
        str, typer.Option(help="Without rows: the columns whose curves and pairs are shown (default: the strongest).")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print plain data.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write a page (.html), plain data (.json) or text (.txt).")
    ] = None,
    lenient: Lenient = False,
    allow: Allow = None,
) -> None:
    """Explain a trained run's answers: what each part of a row added, what would change the answer, which training rows are alike.

    Without FILE: what the model does in general: which columns it relies on, how its answers depend on them, and a small tree. That is
    added to the run's report too.
    """
    if output is not None and (as_json or output.suffix.lower() not in (".html", ".htm", ".json", ".txt")):
        raise ConfigError(
            f"the output is {output}{' and --json' if as_json else ''}; expected a name in .html, .json or .txt, which says the format"
        )
    with showing("auto"), stage("explaining"):
        from danlu.data.intake import spool
        from danlu.explained import Explanations, Overview
        from danlu.pipeline import explain as explain_rows
        from danlu.pipeline.parts import keep_part

        with nullcontext() if source is None else spool(source) as place:
            found = explain_rows(
                run,
                None if place is None else str(place),
                rows=rows,
                method=method,
                of=of,
                scale=scale,
                exact=exact or None,
                keep=tuple(name.strip() for name in keep.split(",") if name.strip()),
                to=to,
                changes=changes,
                influence=influence,
                background=background,
                columns=columns,
                lenient=lenient,
                allow=allow or (),
            )
        kept = isinstance(found, Overview) and keep_part(
            run,
            "explained",
            [found.for_report()],
            found.as_dict(),
        )
    if output is not None:
        count = len(found) if isinstance(found, Explanations) else 1
        print(f"{count} explanation{'s' * (count != 1)} written to {found.write(output)}")
    elif as_json:
        print_data(json.dumps(found.as_dict(), indent=2, ensure_ascii=False) + "\n")
    else:
        print(found)
    if kept:
        print(f"added to the report of the run: {Path(run) / 'report.html'}", file=sys.stderr)
