"""An explanation as HTML: for a notebook, and as a page that needs nothing but a browser."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from danlu.evaluate.intervals import figure
from danlu.explained.drawn import beeswarm, force, waterfall
from danlu.explained.view import adds_up
from danlu.report.html import rendered

if TYPE_CHECKING:
    from danlu.explained.answer import Explained

__all__ = ["boxes", "framed", "page", "section", "styled"]

_STYLE = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
_TOGETHER = 10  # rows from which a page shows them in one picture


def page(title: str, each: Sequence[Explained]) -> str:
    """All of them on one page."""
    return framed(title, _all(each) + "\n".join(_body(found) for found in each))


def framed(title: str, body: str) -> str:
    """A page around its body, in the reader's language."""
    return rendered("explained.html.jinja", title=title, style=_STYLE, body=body)


def boxes(sections: Sequence[tuple[str, str]]) -> str:
    """Titles and HTML as the parts of a page."""
    return "".join(f'<div class="why"><h2>{html.escape(title)}</h2>{content}</div>' for title, content in sections)


def section(found: Explained) -> str:
    """One explanation, with its style."""
    return styled(_body(found))


def styled(body: str) -> str:
    """A part of a page, with its style."""
    return f"<style>{_STYLE}</style>{body}"


def _all(each: Sequence[Explained]) -> str:
    """Many rows of a table in one picture; nothing where they are few, or of something else."""
    if len(each) < _TOGETHER or each[0].ordered or each[0].drawing:
        return ""
    scored = {one.scored for one in each}
    note = (
        ""
        if len(scored) == 1
        else " The rows have different answers: each dot is of its own row's (--class chooses one)."
    )
    said = f"A dot for each row and column: to the right, where the value of the column raised the answer of that row.{note}"
    return f'<div class="why"><h2>All rows together</h2><p>{html.escape(said)}</p>{beeswarm(each).svg}</div>'


def _body(found: Explained) -> str:
    text = html.escape
    blocks = "".join(f"<h3>{text(block.title)}</h3>{block.html}" for block in found.blocks)
    notes = "".join(f'<p class="note">{text(note[:1].upper() + note[1:])}</p>' for note in found.notes)
    doubts = "".join(f'<p class="doubt">{text(doubt)}</p>' for doubt in found.doubts)
    picture = ""
    if not found.ordered:
        picture = f'<div class="figures"><div>{waterfall(found).svg}</div><div>{force(found).svg}</div></div>'
    if found.noun == "word" and found.drawing:
        picture = (
            '<p class="note">Orange words raised the score, blue ones lowered it; point at one for its number.</p>'
        )
    return (
        f'<div class="why"><h2>{text(found.row)}: {text(found.answer)}</h2>{doubts}'
        f"<p>{text(found.scored)} is <b>{figure(found.value)}</b>; {text(found.against)} it is {figure(found.base)}.</p>"
        f'{found.drawing}{picture}<p class="note">{text(found.method)} {text(adds_up(found))}</p>{blocks}{notes}</div>'
    )
