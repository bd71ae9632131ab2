"""The ``recommend`` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from danlu.cli.options import Run
from danlu.cli.terminal import print_data
from danlu.errors import ConfigError

__all__ = ["recommend"]


def recommend(
    run: Run,
    user: Annotated[
        list[str] | None, typer.Option(help="Whom to recommend to; several: --user 42 --user 7, or all.")
    ] = None,
    history: Annotated[
        list[str] | None,
        typer.Option(
            help="What somebody who is not known had, in its order: --history ITEM --history ITEM; of ratings ITEM=RATING."
        ),
    ] = None,
    like: Annotated[str | None, typer.Option(help="The items most like this one, instead of those for a user.")] = None,
    count: Annotated[int, typer.Option(help="How many items.")] = 10,
    again: Annotated[bool, typer.Option("--again", help="Also items that the user had.")] = False,
    because: Annotated[
        bool, typer.Option("--because", help="Beside each item the one of the user's that is most like it.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file to write, in the format of its ending (csv, parquet, json, …)."),
    ] = None,
) -> None:
    """Name the items for a user, or those like another item."""
    from danlu.pipeline import load_model
    from danlu.trained.answers import check_ending, rounded, write_frame

    if output is not None:
        check_ending(output)
    model: Any = load_model(run)
    if not hasattr(model, "recommend"):
        raise ConfigError(
            f"{run} is a model for {model.purpose}; expected a recommender",
            hint="danlu train RATINGS.csv --recommend user:item:rating",
        )
    given = [name for name, value in (("--user", user), ("--history", history), ("--like", like)) if value is not None]
    if len(given) != 1:
        known, item = model.encoder.users[0], model.encoder.items[0]
        had = f"{item}={model.head.high:g}" if model.head.rating else item
        raise ConfigError(
            f"{' and '.join(given)} were given together; expected one of them"
            if given
            else "expected a user or an item",
            hint=f"danlu recommend {run} --user {known}, --history {had}, or --like {item}",
        )
    if like is not None:
        for name, on in (("--again", again), ("--because", because)):
            if on:
                raise ConfigError(f"{name} is for --user or --history, and would not be used with --like")
        found = model.similar(like, count=count)
    elif history is not None:
        owned: Any = dict(map(_rated, history)) if model.head.rating else history
        found = model.recommend(history=owned, count=count, again=again, because=because)
    else:
        names = list(model.encoder.users) if user == ["all"] and "all" not in model.encoder.users else user
        found = model.recommend(names, count=count, again=again, because=because)
    found = rounded(found, scale=model.head.scale)
    if output is not None:
        write_frame(found, output)
        print(f"{found.height:,} rows written to {output}")
        return
    print_data(found.write_csv())


def _rated(given: str) -> tuple[str, float]:
    """``ITEM=RATING``."""
    item, _, rating = given.rpartition("=")
    try:
        return item, float(rating)
    except ValueError:
        raise ConfigError(f"--history is {given!r}; expected an item and its rating", hint="--history ITEM=4") from None
