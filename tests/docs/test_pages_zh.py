"""The Chinese pages say what the English ones say: the same commands, settings, links and parts, page by page."""

from __future__ import annotations

import os.path
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = {"README.md": "README.zh.md", "docs/index.md": "docs/zh/index.md"} | {
    f"docs/how-to/{path.name}": f"docs/zh/how-to/{path.name}"
    for path in sorted((ROOT / "docs" / "how-to").glob("*.md"))
}
_ENGLISH = {chinese: english for english, chinese in PAGES.items()}


def _links(page: str, text: str) -> set[str]:
    """What a page links to, from the root; a Chinese page counts as the English one."""
    found = set()
    for link in re.findall(r"\]\(([^)#\s]+)", text):
        place = link if "://" in link else os.path.normpath(os.path.join(os.path.dirname(page), link))
        found.add(_ENGLISH.get(place, place))
    return found - {"README.md"}


def _code(_: str, text: str) -> set[str]:
    """The lines of the code blocks without their comments, which are translated."""
    blocks = re.findall(r"^ *```[^\n]*\n(.*?)```", text, re.DOTALL | re.MULTILINE)
    return {re.split(r"(?:^| +)# ", line)[0].strip() for block in blocks for line in block.splitlines()}


def _spans(_: str, text: str) -> set[str]:
    """Inline code, also over the end of a line."""
    paragraphs = re.split(r"\n\s*\n", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return {" ".join(span.split()) for paragraph in paragraphs for span in re.findall(r"`([^`]+)`", paragraph)}


def _parts(text: str) -> list[int]:
    """How many paragraphs, headings, rows of tables and points there are."""
    prose = re.sub(r"```.*?```", "```", text, flags=re.DOTALL)
    return [len(re.findall(part, prose, re.MULTILINE)) for part in (r"\n\n+", r"^#", r"^\|", r"^ *(?:-|\d\.) ")]


@pytest.mark.parametrize("english", PAGES)
def test_both_have_the_same(english: str) -> None:
    chinese = PAGES[english]
    assert (ROOT / chinese).exists(), f"{english} has no Chinese page; expected {chinese}"
    texts = {page: (ROOT / page).read_text("utf-8") for page in (english, chinese)}
    for of in (_links, _code, _spans):
        first, second = (of(page, text) for page, text in texts.items())
        assert first - second == set(), f"{chinese} lacks {of.__name__}"
        assert second - first == set(), f"{chinese} has {of.__name__} that {english} lacks"
    assert _parts(texts[chinese]) == _parts(texts[english]), "not as many paragraphs, headings, rows and points"
    missing = [
        link
        for link in re.findall(r"\]\(([^)#\s]+)", texts[chinese])
        if "://" not in link and not (ROOT / chinese).parent.joinpath(link).exists()
    ]
    assert not missing, f"{chinese} links to what is not there"


def test_no_chinese_page_is_of_a_page_that_is_gone() -> None:
    left = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs" / "zh").rglob("*.md")} - set(PAGES.values())
    assert not left
