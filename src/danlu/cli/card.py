"""The ``card`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from danlu.cli.options import Run
from danlu.cli.terminal import print_data

__all__ = ["card"]


def card(
    run: Run,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The file, such as README.md; default: it is printed.")
    ] = None,
    license: Annotated[str, typer.Option(help="The licence of the model, such as cc-by-4.0.")] = "",
    intended_use: Annotated[str, typer.Option(help="What the model is for, and for whom, in sentences.")] = "",
    languages: Annotated[str, typer.Option(help="The languages of its texts, as codes: en,zh.")] = "",
    datasets: Annotated[str, typer.Option(help="What it learnt from, by its name on Hugging Face.")] = "",
    name: Annotated[str, typer.Option(help="What the model is called; default: as its run.")] = "",
) -> None:
    """Write the card of a model: its data, scores, limits and licence, as Markdown in Hugging Face's form.

    A saved model has its card beside it already, as artifact/README.md; this command adds what only people can say.
    """
    from danlu.pipeline import card as card_of

    lists = {"languages": languages, "datasets": datasets}
    given = {key: tuple(filter(None, map(str.strip, text.split(",")))) for key, text in lists.items()}
    own = {"name": name} if name else {}
    found = card_of(run, license=license, intended_use=intended_use, **given, **own)
    if output is None:
        print_data(found.told())  # its front matter is for programs, and stays as it is
    else:
        print(f"{found.write(output)}: the card of {run}")
