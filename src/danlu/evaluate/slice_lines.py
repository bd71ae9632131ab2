"""The worst slices as lines of a terminal."""

from __future__ import annotations

from danlu.evaluate.intervals import figure
from danlu.evaluate.slices import Slices
from danlu.prose import percent, wrapped

__all__ = ["slice_lines"]


def slice_lines(found: Slices, rest: str = "") -> list[str]:
    """What was looked at, then each slice with its size, its loss beside that of other rows and the interval, in 80 columns.

    Args:
        rest: the command that shows all slices: then those that are surely worse are enough here, and a line where none is.
    """
    if found.notes:
        return [wrapped(f"note: {note}", indent="  ") for note in found.notes]
    if rest and not any(each.worse for each in found.slices):
        looked = f"of {found.looked:,} slices looked at " if found.slices else ""
        listed = f"; those that looked worst: {rest}" if found.slices else ""
        return [wrapped(f"No slice {looked}is surely worse than the other rows{listed}.", indent="  ")]
    lines = [wrapped(found.said[:1].upper() + found.said[1:] + ".")]
    for each in [each for each in found.slices if each.worse or not rest]:
        right = "" if each.right is None else f", {percent(each.right.value)} right"
        sign = -1 if each.difference.value < 0 else 1
        way = "worse" if sign > 0 else "better"
        low, high = sorted((sign * each.difference.low, sign * each.difference.high))
        ends = f" ({figure(low, 3)} to {figure(high, 3)})" if each.difference.known else ""
        sure = "" if each.worse else "; it may be chance"
        lines.append(
            wrapped(
                f"  {each.name}: {each.rows:,} rows ({percent(each.share, 1)}), {found.loss} {figure(each.loss, 3)}, elsewhere "
                f"{figure(each.others, 3)}, {figure(abs(each.difference.value), 3)} {way}{ends}{right}{sure}",
                indent="    ",
            )
        )
    if found.slices and found.right is not None:
        lines.append(f"  ({percent(found.right)} of all these rows are right)")
    return lines
