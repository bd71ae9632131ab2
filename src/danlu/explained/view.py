"""An explanation in a terminal of 80 columns."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from danlu.evaluate.intervals import figure
from danlu.prose import WIDTH, padded, short, wide, wrapped

if TYPE_CHECKING:
    from danlu.explained.answer import Explained, Part

__all__ = ["adds_up", "bars", "cell", "fewest", "plain_value", "signed", "told"]

MOST = 12
"""Parts that are shown one by one."""
_BAR = 12  # columns of each half of a bar


def signed(value: float, digits: int = 3) -> str:
    """A number with its sign, ``+0.31`` or ``−0.05``.

    >>> signed(0.3104), signed(-0.05), signed(0.0)
    ('+0.31', '−0.05', '0')
    """
    text = figure(value, digits)
    return f"+{text}" if value > 0 else text


def cell(value: Any) -> str:
    """A value of a table in a few words.

    >>> cell(None), cell(7.25), cell(datetime.datetime(2024, 5, 11))
    ('missing', '7.25', '2024-05-11')
    """
    if value is None:
        return "missing"
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return str(value.date())
    return figure(value, 6) if isinstance(value, float) else str(value)


def plain_value(value: Any) -> Any:
    """A value of a table as JSON has it."""
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)


def fewest(parts: Sequence[Part], most: int = MOST) -> tuple[list[Part], list[Part]]:
    """The parts with the largest contributions, and the rest."""
    order = sorted(parts, key=lambda each: -abs(each.added))
    count = most if len(order) > most + 1 else len(order)
    return order[:count], order[count:]


def bars(parts: Sequence[Part], *, most: int = MOST, each: str = "column") -> list[str]:
    """A line for each part: its name, its value, what it added, and a bar to the right or to the left."""
    shown, rest = fewest(parts, most)
    cells = [
        (
            short(part.name, 24),
            short(part.value, 20),
            signed(part.added),
            f"± {figure(part.error, 2)}" if part.error else "",
            part.added,
        )
        for part in shown
    ]
    if rest:
        total = sum(part.added for part in rest)
        cells.append((f"{len(rest)} other {each}s", "", signed(total), "", total))
    largest = max((abs(cell[4]) for cell in cells), default=0.0) or 1.0
    widths = [max(map(wide, column)) for column in zip(*(cell[:4] for cell in cells), strict=True)]
    half = max(min(_BAR, (WIDTH - sum(widths) - 11) // 2), 3)
    lines = []
    for name, value, added, error, size in cells:
        length = round(half * abs(size) / largest)
        bar = ("█" * length).rjust(half) + "│" if size < 0 else " " * half + "│" + "█" * length
        words = [padded(name, widths[0]), padded(value, widths[1]), padded(added, widths[2], right=True)]
        words += [padded(error, widths[3])] if widths[3] else []
        lines.append(("  " + "  ".join(words) + "  " + bar).rstrip())
    return lines


def told(found: Explained) -> str:
    """The explanation as text."""
    head = f"{found.row}: {found.answer}"
    why = f"{found.scored} is {figure(found.value)}; {found.against} it is {figure(found.base)}. What makes the difference:"
    lines = [
        wrapped(head, indent="  "),
        *(wrapped(f"! {each}", indent="  ") for each in found.doubts),
        "",
        wrapped(why),
    ]
    lines += [*bars(found.parts, each=found.noun), *found.lines]
    lines.append(wrapped(f"{found.method} {adds_up(found)}"))
    for block in found.blocks:
        lines += ["", wrapped(block.title), *block.lines]
    if found.notes:
        lines += ["", *(wrapped(f"note: {note}", indent="  ") for note in found.notes)]
    return "\n".join(lines)


def adds_up(found: Explained) -> str:
    """The check of completeness, in words."""
    whole = found.value - found.base
    close = abs(found.gap) <= 1e-4 * max(1.0, abs(whole))
    return f"The sum is {signed(sum(part.added for part in found.parts), 4)}, the difference {signed(whole, 4)}" + (
        f" (equal within {max(abs(found.gap), 1e-15):.0e})."
        if close
        else f": it misses it by {figure(abs(found.gap), 2)}."
    )
