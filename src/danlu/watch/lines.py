"""What was found by a watch, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from danlu.evaluate.intervals import figure
from danlu.prose import padded, short, wide, wrapped

if TYPE_CHECKING:
    from danlu.watch.monitor import Monitored

__all__ = ["lines"]

_SHOWN = 12


def lines(found: Monitored) -> Iterator[str]:
    """A table of what is watched, the parts in time, and the alarms, at most 80 columns wide."""
    yield wrapped(found.summary)
    names = [short(each.name, 28) for each in found.drift[:_SHOWN]]
    width = max(map(wide, names), default=0)
    if names:
        yield ""
        yield f"{padded('', width)}  {'PSI':>6}  {'by chance':>9}"
    for name, each in zip(names, found.drift, strict=False):
        mark = "changed" if each.sure else "" if each.enough else "too few"
        yield f"{padded(name, width)}  {each.psi:6.2f}  {each.chance:9.2g}  {mark}".rstrip()
    if len(found.drift) > _SHOWN:
        yield f"and {len(found.drift) - _SHOWN} more with a smaller PSI"
    if len(found.parts) > 1:
        yield ""
        labels = max(wide(part.label) for part in found.parts)
        for part in found.parts:
            score = "" if part.score is None else f"  {found.label} {part.score.brief}"
            yield f"from {padded(part.label, labels)}  {part.rows:7,} rows  PSI {part.psi:5.2f} ({short(part.of, 24)}){score}"
    if found.score is not None:
        yield ""
        yield wrapped(
            f"{found.label} is {found.score.brief} on {found.known:,} rows with true answers; "
            f"in the test it was {figure(found.expected, 3)}"
        )
    for note in found.notes:
        yield wrapped(f"note: {note}", indent="  ")
    if found.alarms:
        yield ""
        yield from (wrapped(f"alarm: {each}", indent="  ") for each in found.alarms)
