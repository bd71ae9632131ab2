"""An explanation as HTML: for a notebook, and as a page that needs nothing but a browser."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

from danlu.evaluate.intervals import figure
from danlu.explained.drawn import beeswarm, force, waterfall
from danlu.explained.view import adds_up
from danlu.report.html import rendered

if TYPE_CHECKING:
    from danlu.explained.answer import Explained

__all__ = ["boxes", "framed", "page", "section", "styled"]

_STYLE = """
.why { color: var(--ink, #1f2328); font: 15px/1.5 system-ui, "Segoe UI", "Noto Sans", "PingFang SC", "Noto Sans CJK SC", sans-serif;
  background: var(--card, #fff); border: 1px solid var(--line, #dfe3e8); border-radius: 12px; padding: 20px 22px; margin: 0 0 16px;
  overflow-wrap: anywhere; }
.why h2 { font-size: 18px; margin: 0 0 8px; } .why h3 { font-size: 14px; margin: 18px 0 6px; color: var(--soft, #59636e); }
.why p { margin: 0 0 10px; } .why .note { color: var(--soft, #59636e); font-size: 13px; }
.why svg { max-width: 100%; height: auto; display: block; }
.why table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; } .why .scroll { overflow-x: auto; }
.why th, .why td { text-align: left; white-space: nowrap; overflow-wrap: normal;
  padding: 4px 16px 4px 0; border-bottom: 1px solid var(--line, #dfe3e8); } .why th { color: var(--soft, #59636e); }
.why td.n { text-align: right; } .why img { image-rendering: pixelated; border-radius: 6px; border: 1px solid #0002; max-width: 100%; }
.why .pictures { display: flex; flex-wrap: wrap; gap: 12px; } .why figure { margin: 0; width: 200px; } .why figure img { width: 200px; }
.why figcaption { font-size: 12px; color: var(--soft, #59636e); } .why .doubt { border-left: 3px solid #bc4c00; padding-left: 10px; }
.why .words { line-height: 1.9; } .why .figures { display: flex; flex-wrap: wrap; gap: 10px 18px; align-items: flex-start; }
"""
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
