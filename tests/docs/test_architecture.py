"""The table of rooms in docs/design/architecture.md is true: which room imports which, and nothing in a circle.

A room is a package of danlu's (``nn/``) or the modules that a row names (``errors.py``, …). Its row stands below those of the rooms
that it imports, and its last column lists them; the first row, which every room may import, is not listed. An import inside
a function counts as any other; one that is only for types (``if TYPE_CHECKING:``) too, but it may close a circle within a room.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import graphlib
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "danlu"
PAGE = ROOT / "docs" / "design" / "architecture.md"
ROW = re.compile(r"^\| (`[^|]*`) \| [^|]* \| ([^|]*) \|$", re.MULTILINE)
CIRCLES_LEFT: set[str] = set()  # rooms whose modules may still import each other in a circle


@dataclasses.dataclass(frozen=True)
class Import:
    """One import: which module has it, at which line, of what, and whether only for types."""

    module: str
    line: int
    of: str
    for_types: bool = False

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.of}"


@functools.cache
def modules() -> dict[str, Path]:
    """Every module of danlu by its name; a package by its own."""
    found = {}
    for path in SOURCE.rglob("*.py"):
        name = ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


def imports_of(module: str, text: str) -> Iterator[Import]:
    """The imports of danlu's modules in a module's text, wherever they stand."""
    for node, for_types in nodes(ast.parse(text), False):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}:{node.lineno}: imports are written in full"
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in modules() else str(node.module) for name in whole]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "danlu":
            names = [f"danlu.{node.attr}"] if node.attr != "__version__" else []  # import danlu; danlu.pipeline.…
        else:
            continue
        for name in dict.fromkeys(names):
            if name.startswith("danlu."):
                yield Import(module, node.lineno, name, for_types)


def nodes(tree: ast.AST, for_types: bool) -> Iterator[tuple[ast.AST, bool]]:
    """Every node, and whether it is below ``if TYPE_CHECKING:``."""
    for node in ast.iter_child_nodes(tree):
        yield node, for_types
        yield from nodes(node, for_types or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)))


@functools.cache
def imports() -> tuple[Import, ...]:
    return tuple(
        each
        for name, path in sorted(modules().items())
        if name != "danlu"  # the face: each of its names is fetched when it is first asked for
        for each in imports_of(name, path.read_text(encoding="utf-8"))
    )


@dataclasses.dataclass(frozen=True)
class Room:
    """A row of the table: its place, the packages and modules in it, and the rooms that it says it imports (None: any above)."""

    place: int
    parts: tuple[str, ...]
    says: tuple[str, ...] | None


def rooms_of(page: str) -> dict[str, Room]:
    """The rooms of the table by each of their parts' names (``nn``, ``errors``)."""
    table = page[: page.index("\n## ")]
    found = {}
    for place, (parts, says) in enumerate(ROW.findall(table)):
        named = tuple(part.removesuffix("/").removesuffix(".py") for part in re.findall(r"`([^`]+)`", parts))
        listed = () if says.strip() == "–" else tuple(each.strip() for each in says.split(","))
        room = Room(place, named, None if listed == ("all above",) else listed)
        found |= dict.fromkeys(named, room)
    return found


@functools.cache
def rooms() -> dict[str, Room]:
    return rooms_of(PAGE.read_text(encoding="utf-8"))


def part(module: str) -> str:
    """``danlu.nn.dense`` is in the part ``nn``."""
    name = module.split(".")[1]
    return "cli" if name == "__main__" else name


def test_the_table_names_every_part_of_danlu() -> None:
    assert len(rooms()) > 20
    assert set(rooms()) == {part(name) for name in modules() if name != "danlu"}


def wrong(room_of: dict[str, Room], found: tuple[Import, ...]) -> list[str]:
    """The imports that the table does not allow."""
    said = []
    for each in found:
        own, other = room_of[part(each.module)], room_of[part(each.of)]
        if own.place == other.place or other.place == 0:
            continue
        if other.place > own.place:
            said.append(f"{each}: that room is below")
        elif own.says is not None and part(each.of) not in own.says:
            said.append(f"{each}: the table does not say so")
    return said


def test_a_room_imports_only_from_those_that_its_row_names_and_that_stand_above() -> None:
    assert not wrong(rooms(), imports()), f"see the table in {PAGE.relative_to(ROOT)}"


def test_a_row_names_no_room_that_is_not_imported() -> None:
    taken = {(rooms()[part(each.module)].parts, part(each.of)) for each in imports()}
    assert not [
        (room.parts[0], name)
        for room in rooms().values()
        for name in room.says or ()
        if (room.parts, name) not in taken
    ]


def circle(found: tuple[Import, ...], left: set[str] | None = None) -> list[str] | None:
    """Modules that import each other in a circle, or None."""
    graph: dict[str, set[str]] = {}
    for each in found:
        if each.for_types or (part(each.module) in (left or ()) and part(each.of) == part(each.module)):
            continue
        graph.setdefault(each.module, set()).add(each.of)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return None


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circle(imports(), CIRCLES_LEFT) is None


DEAR = {"jinja2", "matplotlib", "optuna", "pandas", "scipy", "sklearn", "tensorboardX", "tokenizers"}
WHOSE = (
    "danlu.estimators",
    "danlu.verify",
)  # estimators are scikit-learn's; a command that checks everything imports everything


def dear(module: str, text: str) -> list[str]:
    """What a module imports outside of its functions though it takes a tenth of a second or more: each command would wait for it."""
    found = [node for node in ast.parse(text).body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [alias.name for node in found if isinstance(node, ast.Import) for alias in node.names]
    names += [str(node.module) for node in found if isinstance(node, ast.ImportFrom)]
    return [f"{module}: {name}" for name in names if name.split(".")[0] in DEAR and not module.startswith(WHOSE)]


def test_dear_libraries_are_imported_where_they_are_used() -> None:
    assert [each for name, path in modules().items() for each in dear(name, path.read_text(encoding="utf-8"))] == []
    assert dear("danlu.a", "import jax\nfrom scipy import stats\n\ndef f():\n    import sklearn") == ["danlu.a: scipy"]


TABLE = """
| `errors.py`, `names.py` | a | – |
| `nn/` | b | – |
| `engine/` | c | nn |
| `cli/` | d | all above |

## Next
"""


@pytest.mark.parametrize(
    ("module", "text", "expected"),
    [
        ("danlu.engine.loop", "from danlu.nn import Dense\nfrom danlu.errors import DataError", 0),
        ("danlu.cli.app", "import danlu.engine.loop, danlu.nn", 0),
        ("danlu.nn.dense", "from danlu.engine import fit", 1),
        ("danlu.nn.dense", "def f():\n    from danlu.engine import fit", 1),
        ("danlu.nn.dense", "if TYPE_CHECKING:\n    from danlu.engine import fit", 1),
        ("danlu.nn.dense", "import danlu\ndanlu.engine.fit()", 1),
        ("danlu.nn.dense", "import danlu\ndanlu.__version__", 0),
        ("danlu.errors", "import danlu.nn", 1),
    ],
)
def test_the_check_sees_an_import_from_below(module: str, text: str, expected: int) -> None:
    assert len(wrong(rooms_of(TABLE), tuple(imports_of(module, text)))) == expected


def test_the_check_sees_what_the_table_does_not_say() -> None:
    silent = rooms_of(TABLE.replace("| c | nn |", "| c | – |"))
    assert len(wrong(silent, tuple(imports_of("danlu.engine.loop", "from danlu.nn import Dense")))) == 1


def test_the_check_sees_a_circle() -> None:
    there, back = Import("danlu.nn.a", 1, "danlu.nn.b"), Import("danlu.nn.b", 1, "danlu.nn.a")
    assert circle((there, back)) is not None
    assert circle((there, dataclasses.replace(back, for_types=True))) is None
    assert circle((there, back), {"nn"}) is None


def test_no_two_test_modules_have_one_name() -> None:
    """Test folders are no packages: pytest imports each module by its bare name, and a second one of that name ends the run."""
    tests = Path(__file__).resolve().parents[1]
    counts = Counter(path.name for path in tests.rglob("*.py") if path.name != "conftest.py")
    assert [name for name, count in counts.items() if count > 1] == []
