"""The ``audit`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from danlu.cli.names import OWN
from danlu.cli.options import is_there, may_be_there
from danlu.errors import ConfigError
from danlu.stages import showing, stage

__all__ = ["audit"]


def audit(
    context: typer.Context,
    source: Annotated[
        str, typer.Argument(help="A table, labelled images or texts, as of danlu train.", callback=may_be_there)
    ],
    settings: Annotated[list[str] | None, typer.Argument(help="Settings, such as data.drop=id.")] = None,
    target: Annotated[str | None, typer.Option(help="The column to predict.")] = None,
    against: Annotated[
        str | None,
        typer.Option(help="A second file, such as new data: its drift, and what stands in both.", callback=is_there),
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="The column of dates that says when the answer is given: what is later leaks.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Do not look for wrong labels, which takes a model of each of five folds.")
    ] = False,
    config: Annotated[Path | None, typer.Option(help="A config file (TOML or JSON).")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A file for all of it, with every row: audit.html or audit.json."),
    ] = None,
    display: Annotated[str, typer.Option(help="auto, live, plain or none.")] = "auto",
) -> None:
    """Look for faults of data before training: leaks, copies, impossible values, wrong labels, drift."""
    with showing(display):
        with stage("starting"):
            from danlu import pipeline
            from danlu.pipeline.audit import audit_from
            from danlu.report.audit import check_place, write_audit
        if output is not None:
            check_place(output)  # before the work
        kept = {"data": pipeline.load_config(config).get("data", {})} if config else {}  # of a training's
        values = pipeline.override(kept, settings or [])
        named = {"source": source, "target": target}
        values.setdefault("data", {}).update({name: value for name, value in named.items() if value is not None})
        settled = pipeline.config_from(pipeline.with_options(values, context.meta.get(OWN, {})))
        if against is not None and settled.data.test is not None:
            raise ConfigError("--against and data.test name a second file each; expected one of them")
        found = audit_from(settled, against=against, at=at, label_errors=not quick)
        if output is not None:
            write_audit(output, found)
    print(found)
    if output is not None:
        print(f"\nwritten to {output}")
