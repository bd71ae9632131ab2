"""The Chinese README says what the English one says: the same commands, settings and links."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENGLISH, CHINESE = ((ROOT / name).read_text("utf-8") for name in ("README.md", "README.zh.md"))


def _links(text: str) -> set[str]:
    return set(re.findall(r"\]\(([^)]+)\)", text)) - {"README.md", "README.zh.md"}


def _code(text: str) -> set[str]:
    """The lines of the code blocks without their comments, which are translated."""
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.S)
    return {line.split("  # ")[0].split("   #")[0].strip() for block in blocks for line in block.splitlines()}


def _spans(text: str) -> set[str]:
    """Inline code."""
    return set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S)))


@pytest.mark.parametrize("of", [_links, _code, _spans])
def test_both_have_the_same(of) -> None:
    assert of(ENGLISH) - of(CHINESE) == set()
    assert of(CHINESE) - of(ENGLISH) == set()
