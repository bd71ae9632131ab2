"""The ``sample`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from danlu.cli.options import Run
from danlu.cli.terminal import print_data
from danlu.errors import ConfigError
from danlu.stages import showing, stage

__all__ = ["sample"]


def sample(
    run: Run,
    settings: Annotated[
        list[str] | None, typer.Argument(help="Settings of the drawing, such as temperature=0.8 or steps=50.")
    ] = None,
    count: Annotated[int, typer.Option(help="How many.")] = 64,
    label: Annotated[str | None, typer.Option(help="What they are to show, of a model that learnt labels.")] = None,
    where: Annotated[
        str | None, typer.Option(help="Of a table: what the rows are to be, such as income=>50K or age=30..40.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="The same seed draws the same.")] = 0,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Of pictures: a folder (a file each), a .png (all on one sheet) or .npz; of a table: a file (csv, parquet, …; "
            "-, the default: print).",
        ),
    ] = None,
) -> None:
    """Draw new pictures or rows with a model that learnt to (danlu train photos/ --generate, danlu train people.csv --synthesize)."""
    with showing("auto"):
        with stage("starting"):
            from danlu import pipeline
            from danlu.generative import check_place, write_samples
        model: Any = pipeline.load_model(run)
        if not hasattr(model, "sample"):
            raise ConfigError(
                f"{run} is a model for {model.purpose}, which draws nothing new",
                hint="danlu train photos/ --generate, or danlu train people.csv --synthesize, makes one that does",
            )
        pictures = "image" in {field.kind for field in model.fields}
        printed = output is None or str(output) == "-"
        if printed and pictures:
            raise ConfigError("pictures are not printed; expected a place for them", hint="-o samples.png, or a folder")
        if pictures:
            check_place(str(output))
        if pictures and where is not None:
            raise ConfigError(
                f"--where is {where!r}, and the model draws pictures; it is for tables",
                hint="--label says what they are to show",
            )
        how = _plain(settings or [])
        model.head.check_settings(how)
        if where is not None:
            how["where"] = where
        with stage("drawing"):
            found = model.sample(count, seed=seed, label=label, **how)
    header = getattr(model.encoder, "header", True)
    if printed:
        print_data(found.write_csv(include_header=header))
    else:
        print(write_samples(found, str(output), model.head.labels_of(count, label), header=header))


def _plain(settings: list[str]) -> dict[str, Any]:
    """``name=value`` as plain values.

    Raises:
        ConfigError: what is no such setting.
    """
    from danlu.pipeline.plain import written

    found = {}
    for each in settings:
        name, equals, text = each.partition("=")
        if not equals or not name:
            raise ConfigError(f"{each!r} is not a setting; expected name=value, such as steps=50")
        found[name] = written(text, Any, None)
    return found
