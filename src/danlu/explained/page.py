"""An explanation as HTML: for a notebook, and as a page that needs nothing but a browser."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

from danlu import language
from danlu.evaluate.intervals import figure
from danlu.explained.view import adds_up, fewest, signed
from danlu.report.svg import BLUE, GREY, INK, ORANGE, Panel, short

if TYPE_CHECKING:
    from danlu.explained.answer import Explained

__all__ = ["framed", "page", "section", "styled", "waterfall"]

_STYLE = """
.why { color: #1f2328; font: 15px/1.5 system-ui, "Segoe UI", "Noto Sans", "PingFang SC", "Noto Sans CJK SC", sans-serif;
  background: #fff; border: 1px solid #dfe3e8; border-radius: 12px; padding: 20px 22px; margin: 0 0 16px; overflow-wrap: anywhere; }
.why h2 { font-size: 18px; margin: 0 0 8px; } .why h3 { font-size: 14px; margin: 18px 0 6px; color: #59636e; }
.why p { margin: 0 0 10px; } .why .note { color: #59636e; font-size: 13px; } .why svg { max-width: 100%; height: auto; display: block; }
.why table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; } .why .scroll { overflow-x: auto; }
.why th, .why td { text-align: left; white-space: nowrap; overflow-wrap: normal;
  padding: 4px 16px 4px 0; border-bottom: 1px solid #dfe3e8; } .why th { color: #59636e; }
.why td.n { text-align: right; } .why img { image-rendering: pixelated; border-radius: 6px; border: 1px solid #0002; max-width: 100%; }
.why .pictures { display: flex; flex-wrap: wrap; gap: 12px; } .why figure { margin: 0; width: 200px; } .why figure img { width: 200px; }
.why figcaption { font-size: 12px; color: #59636e; } .why .doubt { border-left: 3px solid #bc4c00; padding-left: 10px; }
.why .words { line-height: 1.9; }
"""
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · danlu</title><style>body {{ margin: 0; background: #f4f5f7; }} main {{ max-width: 860px; margin: 0 auto;
padding: 24px 12px 48px; }} h1 {{ font: 600 24px/1.3 system-ui, sans-serif; overflow-wrap: anywhere; }}{style}</style></head>
<body><main><h1>{title}</h1>
{body}
</main></body></html>
"""


def page(title: str, each: Sequence[Explained]) -> str:
    """All of them on one page."""
    return framed(title, "\n".join(_body(found) for found in each))


def framed(title: str, body: str) -> str:
    """A page around its body, in the reader's language."""
    return language.page(_PAGE.format(title=html.escape(title), style=_STYLE, body=body))


def section(found: Explained) -> str:
    """One explanation, with its style."""
    return styled(_body(found))


def styled(body: str) -> str:
    """A part of a page, with its style."""
    return f"<style>{_STYLE}</style>{body}"


def _body(found: Explained) -> str:
    text = html.escape
    blocks = "".join(f"<h3>{text(block.title)}</h3>{block.html}" for block in found.blocks)
    notes = "".join(f'<p class="note">{text(note)}</p>' for note in found.notes)
    doubts = "".join(f'<p class="doubt">{text(doubt)}</p>' for doubt in found.doubts)
    picture = "" if found.ordered else waterfall(found)
    return (
        f'<div class="why"><h2>{text(found.row)}: {text(found.answer)}</h2>{doubts}'
        f"<p>{text(found.scored)} is <b>{figure(found.value)}</b>; {text(found.against)} it is {figure(found.base)}.</p>"
        f'{found.drawing}{picture}<p class="note">{text(found.method)} {text(adds_up(found))}</p>{blocks}{notes}</div>'
    )


def waterfall(found: Explained) -> str:
    """From the base to the score of the row: a bar for each part, the largest at the top."""
    shown, rest = fewest(found.parts)
    steps = [
        (f"{short(part.name, 22)} = {short(part.value, 14)}" if part.value else short(part.name), part)
        for part in shown
    ]
    sizes = [part.added for _, part in steps] + ([sum(part.added for part in rest)] if rest else [])
    names = [name for name, _ in steps] + ([f"{len(rest)} others"] if rest else [])
    errors = [part.error for _, part in steps] + ([0.0] if rest else [])
    begun, lefts = found.value, []
    for size in sizes:  # from the top: the row's score, then back towards the base
        begun -= size
        lefts.append(begun)
    with Panel(found.scored, width=5.6, height=0.9 + 0.27 * len(sizes)) as (panel, axes):
        for place, (size, left, error) in enumerate(zip(sizes, lefts, errors, strict=True)):
            axes.barh(place, size, left=left, color=ORANGE if size > 0 else BLUE, height=0.62)
            end = max(left, left + size)
            axes.annotate(
                signed(size), (end, place), (3, 0), textcoords="offset points", va="center", fontsize=8, color=INK
            )
            if error:
                axes.errorbar(left + size, place, xerr=error, color=INK, lw=1)
        axes.axvline(found.base, color=GREY, lw=0.8, ls=":")
        axes.axvline(found.value, color=INK, lw=0.8)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.margins(x=0.14)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(
            f"dotted: {figure(found.base)}, {short(found.against, 60)}; line: {figure(found.value)}, this row"
        )
    return panel.svg
