"""A command as one of several processes: it joins the others, and says nothing unless it is the first."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from danlu import processes
from danlu.errors import ConfigError
from danlu.stages import display_kind, showing

__all__ = ["check_by_itself", "taking_part"]


@contextlib.contextmanager
def taking_part(display: str) -> Iterator[str]:
    """Within, this process trains together with others, if it is one of several; gives the display that it has."""
    from danlu.launch import find, joined

    place = find()
    if place is None:
        yield display
        return
    display_kind(display)
    with contextlib.ExitStack() as held:
        if place.rank:
            display, nowhere = "none", os.open(os.devnull, os.O_WRONLY)
            sys.stdout.flush()
            os.dup2(nowhere, 1)  # what libraries in C print, too
            os.close(nowhere)
        with showing(display):
            held.enter_context(joined())
        if place.found != "danlu launch" and place.count > 1:
            print(f"found by {place.found}: {place.count} processes; this is the first, at {place.coordinator}")
            sys.stdout.flush()
        yield display


def check_by_itself(option: str) -> None:
    """Refuse an option that is for a process by itself.

    Raises:
        ConfigError: this is one of several.
    """
    if processes.count() > 1:
        raise ConfigError(
            f"{option} is for one process, and this is one of {processes.count()}", hint="start it without danlu launch"
        )
