"""The ``monitor`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from danlu.cli.options import Allow, Run, is_there
from danlu.stages import showing, stage

__all__ = ["monitor"]


def monitor(
    run: Run,
    source: Annotated[
        str,
        typer.Argument(
            help="What the model was asked: a log of danlu serve --log-inputs, or any data that it predicts (-: standard input).",
            callback=is_there,
        ),
    ],
    truth: Annotated[
        str | None,
        typer.Option(
            help="A table of true answers that came later, with the log's request and the target.", callback=is_there
        ),
    ] = None,
    key: Annotated[str, typer.Option("--id", help="The name of the identifier in the log and in --truth.")] = "request",
    model: Annotated[
        str | None, typer.Option(help="The name that the model was asked by, where the log has several models.")
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(help="Data that it is compared with instead of the training's.", callback=is_there),
    ] = None,
    parts: Annotated[int, typer.Option(help="The most parts in the course of time.")] = 10,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write a page (.html) or plain data (.json).")
    ] = None,
    tell: Annotated[
        str | None,
        typer.Option(
            "--alert", help="An address (https://…) or a command that is told in JSON, where there is an alarm."
        ),
    ] = None,
    allow: Allow = None,
) -> None:
    """Compare what a model meets now with its training, and its score with that of its test.

    The exit status is 3 where something should be looked at.
    """
    with showing("auto"), stage("comparing"):
        import json

        from danlu.data.intake import spool
        from danlu.errors import ConfigError
        from danlu.files import write_atomic
        from danlu.pipeline import load_model
        from danlu.watch.alert import alert, check_alert
        from danlu.watch.monitor import monitor as watched

        check_alert(tell)
        if output is not None and output.suffix not in (".html", ".json"):
            raise ConfigError(f"{output} ends in {output.suffix!r}; expected .html or .json")
        with spool(source) as place:
            trained = load_model(run, allow=allow or ())
            found = watched(trained, str(place), reference=reference, truth=truth, key=key, model=model, parts=parts)
        if output is not None:
            name = run.resolve().name
            text = found.page(f"{name}, watched") if output.suffix == ".html" else json.dumps(found.as_dict(), indent=1)
            write_atomic(output, text, error=ConfigError)
    print(found)
    if tell is not None and found.alarms:
        print(alert(tell, {"run": str(run), **found.as_dict()}))
    raise typer.Exit(3 if found.alarms else 0)
