"""Markdown in which every text means itself, with front matter as Hugging Face reads it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["Block", "code", "front_matter", "heading", "items", "paragraph", "table"]

Block = Callable[[Callable[[str], str]], str]
"""A part of a page: given how a message is said in the reader's language, its Markdown."""

_SIGNS = re.compile(r"([\\`*_{}\[\]<>#|~$&!])")
_WORD = re.compile(r"[a-z_-]+")
_OTHER = {"null", "true", "false", "yes", "no", "on", "off"}  # words that YAML reads as something else
_START = re.compile(r"^(?:[-+=]|\d+(?=[.)](?:\s|$)))")
_UNSEEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


def literal(text: str) -> str:
    """The text as Markdown shows it sign by sign, on one line.

    >>> print(literal("a|b *c* <i>"), literal("1. first"), literal("two\\nlines"))
    a\\|b \\*c\\* \\<i\\> 1\\. first two lines
    """
    flat = _SIGNS.sub(r"\\\1", " ".join(_UNSEEN.sub(" ", text).split()))
    return _START.sub(lambda found: f"{found[0]}\\" if found[0].isdigit() else f"\\{found[0]}", flat)


def heading(level: int, text: str) -> Block:
    """A heading of a level."""
    return lambda said: f"{'#' * level} {literal(said(text))}"


def paragraph(text: str) -> Block:
    """A paragraph."""
    return lambda said: literal(said(text))


def items(texts: Sequence[str]) -> Block:
    """A list of sentences."""
    return lambda said: "\n".join(f"- {literal(said(text))}" for text in texts)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[int] = ()) -> Block:
    """A table; the columns ``numbers`` are aligned right."""
    rule = "|".join("---:" if place in numbers else "---" for place in range(len(head)))

    def written(said: Callable[[str], str]) -> str:
        lines = [[said(cell) for cell in head], *([said(cell) for cell in row] for row in rows)]
        first, *rest = ["| " + " | ".join(map(literal, line)) + " |" for line in lines]
        return "\n".join([first, f"|{rule}|", *rest])

    return written


def code(lines: str, language: str = "") -> Block:
    """A piece of code or of preformatted text, whatever it holds."""
    longest = max((len(found) for found in re.findall("`+", lines)), default=0)
    fence = "`" * max(3, longest + 1)
    return lambda said: f"{fence}{language}\n{lines if language else said(lines)}\n{fence}"


def front_matter(data: Mapping[str, Any]) -> str:
    """YAML between two lines of ``---``: blocks, with every text as JSON writes it, which YAML reads the same.

    >>> print(front_matter({"tags": ["a: b", "no"], "n": 0.5}))
    ---
    tags:
    - "a: b"
    - "no"
    n: 0.5
    ---
    """
    return "\n".join(["---", *_yaml(data), "---"])


def _yaml(value: Any) -> list[str]:
    if isinstance(value, Mapping) and value:
        lines = []
        for key, each in value.items():
            inner = _yaml(each)
            name = key if _WORD.fullmatch(key) and key not in _OTHER and key[0] != "-" else _scalar(key)
            nested = isinstance(each, Mapping | list | tuple) and each
            indent = "" if isinstance(each, list | tuple) else "  "
            lines += [f"{name}:", *(indent + line for line in inner)] if nested else [f"{name}: {inner[0]}"]
        return lines
    if isinstance(value, list | tuple) and value:
        lines = []
        for each in value:
            first, *rest = _yaml(each)
            lines += [f"- {first}", *(f"  {line}" for line in rest)]
        return lines
    return [_scalar(value)]


def _scalar(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
