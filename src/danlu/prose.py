"""Text for a terminal: wrapped between words, and never within a number or a command to copy."""

from __future__ import annotations

import re
import textwrap
from typing import Any

__all__ = ["WIDTH", "padded", "percent", "short", "wide", "wrapped"]

WIDTH = 80
_WHOLE = re.compile(r"\((?:[^():]*: )?danlu [^()]*\)|(?<=\d) %|± (?=\d)")
_HARD = "\x00"


def percent(share: float, digits: int = 0) -> str:
    """A share as it is written everywhere: with a space, and never as 0 if it is more.

    >>> percent(0.95), percent(0.1234, 1), percent(0.001)
    ('95 %', '12.3 %', '< 1 %')
    """
    found, least = f"{100 * share:.{digits}f}", 10.0**-digits
    return f"< {least:g} %" if share > 0 and float(found) == 0 else f"{found} %"


def short(text: Any, width: int = 18) -> str:
    """``text`` on one line, cut to ``width`` characters; one of a Chinese text counts two."""
    words, taken = " ".join(str(text).split()), 0
    for place, letter in enumerate(words):
        taken += wide(letter)
        if taken > width:
            return words[: max(place - 1, 1)] + "…"
    return words


def wide(text: str) -> int:
    """The columns that a text takes in a terminal; a Chinese letter takes two."""
    from rich.cells import cell_len

    return len(text) if text.isascii() else cell_len(text)


def padded(text: str, width: int, *, right: bool = False) -> str:
    """A text filled up with spaces to ``width`` columns of a terminal, which a format or ``ljust`` would count in letters.

    >>> padded("ab", 5) + "|", padded("面积", 5) + "|", padded("面积", 5, right=True) + "|"
    ('ab   |', '面积 |', ' 面积|')
    """
    space = " " * (width - wide(text))
    return space + text if right else text + space


def wrapped(text: str, *, indent: str = "") -> str:
    """``text`` in the reader's language, in lines of at most 80 columns where that is possible; short lines stay as they are.

    Args:
        text: sentences; each of its lines is broken by itself.
        indent: before the lines that go on with one.

    Example:
        >>> print(wrapped("note: " + "a word and " * 7 + "95 % of them", indent="  "))
        note: a word and a word and a word and a word and a word and a word and a word
          and 95 % of them
    """
    from danlu.language import said

    return "\n".join(_wrapped(line, indent) for line in said(text).split("\n"))


def _wrapped(line: str, indent: str) -> str:
    if wide(line) <= WIDTH:
        return line
    if wide(line) > len(line):
        return _wrapped_wide(line, indent)
    held = _WHOLE.sub(lambda match: match[0].replace(" ", _HARD), line)
    return textwrap.fill(held, WIDTH, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False).replace(
        _HARD, " "
    )


_CHUNK = re.compile(
    r"\s*(?:\((?:[^():]*: )?danlu [^()]*\)|[\u2e80-\u9fff\uff00-\uffef][，。；：、！？）」』”’]*|[^\s\u2e80-\u9fff\uff00-\uffef]+"
    r"[，。；：、！？）」』”’]*)|\s+"
)


def _wrapped_wide(line: str, indent: str) -> str:
    """A line with Chinese letters, which may be broken between any two of them, and not before a full stop."""
    lines, now = [], ""
    for chunk in _CHUNK.findall(line):
        if now.strip() and wide(now + chunk) > WIDTH:
            lines.append(now)
            now = indent + chunk.lstrip()
        else:
            now += chunk
    return "\n".join([*lines, now])
