"""The forms of all messages in danlu's source, and the catalogues brought up to date with them: ``make catalogue``.

A text is taken for a message if it has two words in a row, or if it stands between the tags of HTML; the docstrings of commands, which
their help shows, are messages too. A text that is none (a list of names, say) has itself for its translation.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from danlu.language import LANGUAGES, key

SOURCE = Path(__file__).parents[2] / "src" / "danlu"
CATALOGUES = SOURCE / "language"
_PROSE = re.compile(r"[A-Za-z]{2,}[,;:.)]* (?:\S+ )?[(]?[A-Za-z]{2,}|[a-z]{3,}[,:;]? ['\"]?\{|\}['\"]?[,:;]? [a-z]{2,}")
_TAG = re.compile(r"<[^<>]*>|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_LETTERS = re.compile(r"[A-Za-z]{2,}")
_KEPT = re.compile(r"<(style|script|pre)\b.*?</\1>", re.DOTALL)
_JINJA = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_CODE = re.compile(r"^[\w.-]+: [\w.]+;|\);$|\(\?|\\[dpws]|^<")  # of a style sheet, a script, a pattern
_FIELD = re.compile(r"(?<!\{)\{(?:[a-z_][a-z_0-9]*)?\}(?!\})")
_ALONE = {"verify"}  # the names of what is checked stay as they are


def room(path: Path) -> str:
    """The catalogue of a file: that of its room."""
    parts = path.relative_to(SOURCE).parts
    return parts[0] if len(parts) > 1 else "core"


def forms() -> dict[str, dict[str, list[str]]]:
    """Where each form stands (file and line), by room and form."""
    found: dict[str, dict[str, list[str]]] = {}
    seen: dict[str, str] = {}
    for path in sorted([*SOURCE.rglob("*.py"), *SOURCE.rglob("*.jinja")]):
        if path.parent == SOURCE / "packaging" / "template":  # of packages, which have no danlu and no catalogue
            continue
        if room(path) in {"language", *_ALONE} or (path.suffix == ".jinja" and ".html" not in path.name):
            continue
        text = path.read_text()
        command = {path.stem, "_root"} if room(path) == "cli" else set()
        each = template_forms(text) if path.suffix == ".jinja" else module_forms(text, commands=command)
        for form, line in each:
            own = seen.setdefault(form, room(path))  # one that stands in two rooms is in the catalogue of the first
            found.setdefault(own, {}).setdefault(form, []).append(f"{path.relative_to(SOURCE).as_posix()}:{line}")
    return found


def module_forms(text: str, *, commands: Iterable[str] = ()) -> Iterator[tuple[str, int]]:
    """The forms in a module, each with its line, and those in the docstrings of the functions that are commands."""
    nodes, apart = list(ast.walk(ast.parse(text))), set[int]()
    for node in nodes:
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            said = ast.get_docstring(node)
            if said and isinstance(node, ast.FunctionDef) and node.name in commands:
                yield from (
                    (form, node.lineno) for each in said.split("\n\n") for form in _texts(each.replace("{", "{{"))
                )
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            apart.add(id(node.value))
        if isinstance(node, ast.JoinedStr):
            for part in node.values:
                if isinstance(part, ast.Constant):
                    apart.add(id(part))
                elif part.format_spec is not None:
                    apart.update(map(id, ast.walk(part.format_spec)))
                if isinstance(part, ast.FormattedValue) and choices(part) is not None:
                    apart.update(map(id, ast.walk(part.value)))
    for node in nodes:
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"unknown_name", "Names"} and node.args:
            kind = node.args[0]
            if isinstance(kind, ast.Constant | ast.JoinedStr):
                form = form_of(kind)
                values = len(re.findall(r"\{\d", form))
                yield f"unknown {form} {{{values}}}; expected one of: {{{values + 1}}}", node.lineno
        if id(node) in apart:
            continue
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            yield from ((form, node.lineno) for form in _texts(form_of(node)))


def form_of(node: ast.JoinedStr | ast.Constant) -> str:
    """The form of a string in the source."""
    if isinstance(node, ast.Constant):
        fixed = _FIELD.split(str(node.value))  # one that is filled by str.format has fields
        return "".join(
            part.replace("{", "{{").replace("}", "}}") + f"{{{number}}}" * (number < len(fixed) - 1)
            for number, part in enumerate(fixed)
        )
    parts, number = [], 0
    for part in node.values:
        if isinstance(part, ast.Constant):
            parts.append(str(part.value).replace("{", "{{").replace("}", "}}"))
        else:
            words = choices(part)
            parts.append(f"{{{number}}}" if words is None else f"{{{number}:{'|'.join(words)}}}")
            number += 1
    return "".join(parts)


def choices(part: ast.FormattedValue) -> list[str] | None:
    """The fixed words that a value is one of, or None: ``"a" if … else "b"``, or ``"s" * (n != 1)``."""
    value = part.value
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Mult):
        words = [side.value for side in (value.left, value.right) if isinstance(side, ast.Constant)]
        found = [*words, ""] if len(words) == 1 and isinstance(words[0], str) else None
    else:
        found = list(_branches(value)) if isinstance(value, ast.IfExp) else None
    if found is None or part.conversion != -1 or part.format_spec is not None:
        return None
    clear = all(isinstance(word, str) and not set(word) & set("{}|") for word in found)
    return list(dict.fromkeys(found)) if clear else None


def _branches(value: ast.expr) -> Iterator[str | None]:
    if isinstance(value, ast.IfExp):
        yield from _branches(value.body)
        yield from _branches(value.orelse)
    else:
        yield value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else None


def template_forms(text: str) -> Iterator[tuple[str, int]]:
    """The forms in a template of a page."""
    kept = _KEPT.sub(lambda found: "<i>" + "\n" * found[0].count("\n") + "</i>", text)
    line = 1
    for part, tag in zip(_TAG.split(kept), [*_TAG.findall(kept), ""], strict=True):
        numbers = iter(range(99))
        own = line + part[: len(part) - len(part.lstrip())].count("\n")
        form = _JINJA.sub(
            lambda _, numbers=numbers: f"{{{next(numbers)}}}", " ".join(part.split()).replace("&nbsp;", " ")
        )
        yield from ((each, own) for each in _found(form, tagged=True))
        line += part.count("\n") + tag.count("\n")


def _texts(form: str) -> Iterator[str]:
    """What of a string is a message: all of it, or what stands between its tags."""
    if re.search(r"</?[a-z][a-z0-9]*[ >/]", form):
        for part in _TAG.split(_KEPT.sub("<i></i>", form)):
            yield from _found(_numbered(part), tagged=True)
    else:
        yield from _found(form)


def _numbered(form: str) -> str:
    """The form with its values numbered from 0 on."""
    numbers = iter(range(99))
    return re.sub(r"\{\d+(:[^{}]*)?\}", lambda found: f"{{{next(numbers)}{found[1] or ''}}}", form)


def _found(form: str, *, tagged: bool = False) -> Iterator[str]:
    found = key(form)
    fixed = re.sub(r"\{\d+[^{}]*\}", "{}", found)
    if _LETTERS.search(fixed) and (tagged or _PROSE.search(fixed)) and not _CODE.search(found):
        yield found


def update(language: str) -> tuple[int, int]:
    """Bring the catalogues of a language up to date.

    Returns:
        How many forms there are, and how many of them have no translation yet.
    """
    import polib

    folder = CATALOGUES / language
    old = {entry.msgid: entry.msgstr for path in folder.glob("*.po") for entry in polib.pofile(str(path))}
    total = missing = 0
    for name, known in forms().items():
        file = polib.POFile(wrapwidth=118)
        file.metadata = {"Language": language, "Content-Type": "text/plain; charset=utf-8"}
        for form, places in known.items():
            file.append(
                polib.POEntry(
                    msgid=form,
                    msgstr=old.get(form, ""),
                    comment=" ".join(sorted({p.rpartition(":")[0] for p in places})[:3]),
                )
            )
            total, missing = total + 1, missing + (not old.get(form))
        file.save(str(folder / f"{name}.po"))
    return total, missing


if __name__ == "__main__":
    for each in sys.argv[1:] or [language for language in LANGUAGES if language != "en"]:
        (CATALOGUES / each).mkdir(exist_ok=True)
        print("{}: {} forms, {} without a translation".format(each, *update(each)))
