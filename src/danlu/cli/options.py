"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["Allow", "Lenient"]

Allow = Annotated[
    list[str] | None,
    typer.Option(
        help="A module that the environment may import, such as my_envs for my_envs:Walk-v0; can be repeated."
    ),
]
Lenient = Annotated[bool, typer.Option("--lenient", help="Treat unseen categories and odd values as unknown.")]
