"""What is too dear for every run takes turns: which part a run tries is decided by the commit, so that all of it is tried in time."""

from __future__ import annotations

import datetime
import functools
import subprocess
from collections.abc import Sequence
from pathlib import Path

__all__ = ["number_of_today", "others", "part"]


@functools.cache
def number_of_today() -> int:
    """A number that the commit decides; where there is no repository, the day."""
    here = Path(__file__).parent
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False)
    return int(commit.stdout, 16) if commit.returncode == 0 else datetime.date.today().toordinal()


def others(names: Sequence[str], count: int = 2) -> set[str]:
    """The names whose turn it is not: all but ``count`` of them, which change with the commit."""
    step = len(names) // count
    return {*names} - {names[(number_of_today() + each * step) % len(names)] for each in range(count)}


def part(names: Sequence[str], parts: int = 3, *, number: int | None = None) -> list[str]:
    """The names whose turn it is: every so-manieth, from a place on that the commit decides."""
    return list(names[(number_of_today() if number is None else number) % parts :: parts])
