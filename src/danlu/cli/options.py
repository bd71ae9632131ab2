"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["Lenient"]

Lenient = Annotated[bool, typer.Option("--lenient", help="Take unseen categories and odd values as unknown.")]
