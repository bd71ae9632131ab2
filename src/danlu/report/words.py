"""Words as HTML: coloured by their contribution to a score, and names that may be broken across lines."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["adding_up", "coloured_words", "in_parts"]

_MOST = 60  # words of a text that are shown
_ROUGH = 0.2  # a gap from which parts tell little
_ORANGE, _BLUE = "213,94,0", "0,114,178"
_CLOSE = 0x2E80  # letters from here on, Chinese and the like, stand without spaces between words


def coloured_words(words: Sequence[str], added: np.ndarray, *, most: int = _MOST) -> str:
    """Words with orange behind those that add to a score and blue behind those that take from it, stronger for more.

    Args:
        words: of a text; whatever they hold is escaped.
        added: by each, ``(words,)``; a hint over a word says how much.
        most: words that are shown, the first ones.

    Example:
        >>> coloured_words(["so", "<b>"], np.array([0.0, -2.0]))
        'so <span style="background:rgba(0,114,178,0.55)" title="-2">&lt;b&gt;</span>'
    """
    strongest = max(float(np.abs(added).max(initial=0.0)), 1e-12)
    pieces: list[str] = []
    for index, (word, value) in enumerate(zip(words[:most], added, strict=False)):
        share = float(value) / strongest
        between = "" if index and ord(word[0]) >= _CLOSE and ord(words[index - 1][-1]) >= _CLOSE else " "
        shown = html.escape(word)
        if abs(share) >= 0.05:
            colour = f"rgba({_ORANGE if share > 0 else _BLUE},{0.55 * abs(share):.2f})"
            shown = f'<span style="background:{colour}" title="{value:.2g}">{shown}</span>'
        pieces.append(between + shown)
    return "".join(pieces).lstrip() + (" …" if len(words) > most else "")


def in_parts(name: str) -> Markup:
    """A column's name, escaped, that a line may be broken in after its ``_``, ``-``, ``.`` and ``/``, and where a capital begins.

    >>> str(in_parts("living_area<m2"))
    'living_<wbr>area&lt;m2'
    """
    from markupsafe import Markup

    return Markup("<wbr>").join(re.split(r"(?<=[_./-])(?=\w)|(?<=[a-z])(?=[A-Z])", name))


def adding_up(gap: float, whole: str) -> str:
    """How close the sum of an attribution is to the value that it should have; ``gap`` is a share of that value.

    >>> adding_up(0.004, "the score"), adding_up(2.6, "the score")
    ('They add up to the score within 0.4 %.', 'They miss the score by up to 260 % of it: a rough hint only.')
    """
    if gap > _ROUGH:
        return f"They miss {whole} by up to {100 * gap:.0f} % of it: a rough hint only."
    return f"They add up to {whole} within {100 * gap:.1f} %."
