"""The ``evaluate`` command."""

from __future__ import annotations

from pathlib import Path

from danlu.cli.options import Lenient

__all__ = ["evaluate"]


def evaluate(run: Path, source: str, lenient: Lenient = False) -> None:
    """Measure a trained run on a table that holds the target."""
    from danlu.pipeline import load

    print(load(run).evaluate(source, lenient=lenient))
