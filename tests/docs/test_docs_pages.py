"""The pages' code runs, and their links lead somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from today import others

from danlu import blueprint
from danlu.verify import case, select

ROOT = Path(__file__).parents[2]
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]+)\)")


def code_of(page: str) -> str:
    """The page's Python, each block at its own lines, so that an error names the line of the page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    lines = [""] * text.count("\n")
    for found in BLOCK.finditer(text):
        start = text.count("\n", 0, found.start(1))
        block = found.group(1).splitlines()
        lines[start : start + len(block)] = block
    return "\n".join(lines)


RUN = [  # the Chinese pages have the same code
    page for page in PAGES if code_of(page).strip() and not page.startswith("docs/zh/")
]
DEAR = (
    "fine-tune.md",
    "classify-texts.md",
    "detect-objects.md",
    "classify-sequences.md",
    "see-where-it-looks.md",
    "board-games.md",
    "export-writing-and-acting.md",
)
IN_TURNS = (  # each takes seconds; three of them in a run, by the commit
    "add-a-task.md",
    "bandits.md",
    "blend.md",
    "compress.md",
    "compare-runs.md",
    "cross-validate.md",
    "drive.md",
    "explain-a-model.md",
    "explain-an-answer.md",
    "export.md",
    "few-examples.md",
    "forecast.md",
    "generate-pictures.md",
    "probabilities.md",
    "recommend.md",
    "replay.md",
    "segment-images.md",
    "segments.md",
    "several-devices.md",
    "several-modalities.md",
    "synthesize.md",
    "train-an-agent.md",
    "tune.md",
    "watch.md",
    "xray.md",
)
SLOW = (*DEAR, *others(IN_TURNS, 3))
MARKED = [pytest.param(page, marks=pytest.mark.slow) if page.endswith(SLOW) else page for page in RUN]


@pytest.fixture
def registries_as_before() -> Iterator[None]:
    """What a page registers (layers, losses, cases) is forgotten afterwards."""
    select()
    known = [(registry, dict(registry)) for registry in (blueprint._REGISTRY, case.__globals__["CASES"])]
    yield
    for registry, before in known:
        registry.clear()
        registry.update(before)


def test_the_pages_with_code_are_found() -> None:
    assert len(RUN) >= 7
    assert all(any(page.endswith(name) for page in RUN) for name in (*DEAR, *IN_TURNS))


@pytest.mark.parametrize("page", MARKED)
@pytest.mark.usefixtures("registries_as_before")
def test_the_code_of_a_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # some write a file where they are
    exec(compile(code_of(page), page, "exec", dont_inherit=True), {"__name__": "page"})


@pytest.mark.parametrize("page", [*PAGES, "README.md", "README.zh.md"])
def test_links_lead_somewhere(page: str) -> None:
    links = [link for link in LINK.findall((ROOT / page).read_text(encoding="utf-8")) if "://" not in link]
    lost = [link for link in links if not ((ROOT / page).parent / link).exists()]
    assert not lost


@pytest.mark.parametrize("folder", ["docs/", "docs/zh/"])
def test_the_index_names_every_page(folder: str) -> None:
    index = (ROOT / folder / "index.md").read_text(encoding="utf-8")
    pages = [page for page in PAGES if page.startswith("docs/zh/") == (folder == "docs/zh/")]
    assert [page for page in pages if f"({page.removeprefix(folder)})" not in index] == [f"{folder}index.md"]
