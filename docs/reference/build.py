"""``make docs``: the pages and the reference of every public name, as HTML in build/docs, without the network.

A link or a name that leads nowhere fails the build.
"""

from __future__ import annotations

import importlib
import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import names

ROOT = Path(__file__).resolve().parents[2]
SOURCE, OUTPUT = ROOT / "build" / "docs-source", ROOT / "build" / "docs"
PAGES = (
    "README.md",
    "README.zh.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "benchmarks/README.md",
    "benchmarks/results/*.md",
    "docs/**/*.md",
)
LINK = re.compile(r"\[([^\[\]]*)\]\(([^()\s#]+)(#[^()\s]*)?\)")
SECTIONS = {
    "Pages": ["README.zh", "docs/index", "docs/classic-mistakes", "docs/design/*", "CONTRIBUTING", "CHANGELOG"],
    "How to": ["docs/how-to/*"],
    "操作指南": ["docs/zh/index", "docs/zh/how-to/*"],
    "Figures": ["benchmarks/README", "benchmarks/results/*"],
    "Reference": ["reference/*"],
}


def main() -> int:
    from sphinx.cmd.build import main as sphinx

    shutil.rmtree(SOURCE, ignore_errors=True)
    pages = sorted({page for pattern in PAGES for page in ROOT.glob(pattern)})
    lost = [said for page in pages for said in copy(page, set(pages))]
    if lost:
        print("\n".join(lost), file=sys.stderr)
        return 1
    write_reference()
    home = SOURCE / "README.md"
    home.write_text(home.read_text(encoding="utf-8") + contents(), encoding="utf-8")
    options = ["-b", "html", "-c", str(Path(__file__).parent), "-d", str(ROOT / "build" / "docs-trees"), "-q"]
    return sphinx([*options, "--fail-on-warning", "--keep-going", str(SOURCE), str(OUTPUT)])


def copy(page: Path, pages: set[Path]) -> list[str]:
    """Lay a page out; what it shows goes with it, and a link to a file that is no page is its text alone. Returns the lost links."""
    lost = []

    def link(found: re.Match[str]) -> str:
        text, target, _ = found.groups()
        if "://" in target:
            return found.group(0)
        there = (page.parent / target).resolve()
        if not there.exists():
            lost.append(f"{page.relative_to(ROOT)}: the link to {target} leads nowhere")
        if there in pages:
            return found.group(0)
        if there.suffix in (".png", ".svg"):
            copied = SOURCE / there.relative_to(ROOT)
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(there, copied)
            return found.group(0)
        return text

    text = LINK.sub(link, page.read_text(encoding="utf-8"))
    if not re.search(r"^# ", text, re.MULTILINE):  # what a benchmark wrote begins with its table
        text = f"# Figures: {page.stem.replace('_', ' ')}\n\n{text}"
    there = SOURCE / page.relative_to(ROOT)
    there.parent.mkdir(parents=True, exist_ok=True)
    there.write_text(text, encoding="utf-8")
    return lost


def write_reference() -> None:
    """A page for each package: its names, then its modules with what the package itself does not show."""
    homes = names.homes()
    packages = [name for name in homes if hasattr(importlib.import_module(name), "__path__")]
    (SOURCE / "reference").mkdir()
    for package in packages:
        within = [name for name in homes if name not in packages and name.rpartition(".")[0] == package]
        lines = [*heading(package, "="), *described(package)]
        for module in within:
            lines += [*heading(module, "-"), *described(module)]
        (SOURCE / "reference" / f"{package}.rst").write_text("\n".join(lines), encoding="utf-8")


def heading(name: str, line: str) -> list[str]:
    return [name, line * len(name), ""]


def described(name: str) -> list[str]:
    called = any(name == f"{module}.{public}" for module, members in names.homes().items() for public in members)
    lines = [f".. automodule:: {name}", "   :no-members:", *(["   :no-index:"] if called else []), ""]
    for public, value in names.homes()[name].items():
        kind = (
            "class"
            if isinstance(value, type)
            else "function"
            if callable(value) and hasattr(value, "__code__")
            else "data"
        )
        if kind == "class" and issubclass(value, BaseException):
            kind = "exception"
        lines += [f".. auto{kind}:: {name}.{public}", *(["   :no-value:"] if kind == "data" else []), ""]
    return lines


def contents() -> str:
    """The table of contents at the side of every page."""
    lines = []
    for caption, patterns in SECTIONS.items():
        found = [
            path.relative_to(SOURCE).with_suffix("").as_posix() if path.suffix != ".rst" else f"reference/{path.stem}"
            for pattern in patterns
            for path in sorted(SOURCE.glob(f"{pattern}.*"))
            if path.suffix in (".md", ".rst")
        ]
        lines += ["", "```{toctree}", ":hidden:", f":caption: {caption}", *dict.fromkeys(found), "```"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
