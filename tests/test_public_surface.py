"""What danlu shows: exact names, documented, and light to import."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

import danlu

# The command line is a program, not a library: its package shows nothing but `main`.
MODULES = sorted(
    found.name for found in pkgutil.walk_packages(danlu.__path__, "danlu.") if not found.name.endswith("__main__")
)
ROOMS = sorted(
    {".".join(name.split(".")[:2]) for name in MODULES}
)  # a test for each of a thousand modules takes its time
PACKAGES = [name for name in MODULES if hasattr(importlib.import_module(name), "__path__")]
OPTIONAL = (
    "sklearn",
    "polars",
    "matplotlib",
    "pandas",
    "torch",
    "scipy.stats",
    "pyarrow",
    "optax",
    "keras",
    "rich",
    "typer",
)


def shown(module: ModuleType) -> set[str]:
    """The public names that a package holds, its submodules aside."""
    submodules = {found.name for found in pkgutil.iter_modules(module.__path__)}
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not (inspect.ismodule(value) or name in submodules - set(module.__all__))
    } - {"annotations"}


def within(room: str) -> list[str]:
    """A room and the modules in it."""
    return [name for name in MODULES if name == room or name.startswith(f"{room}.")]


def own(name: str) -> list[tuple[str, Any]]:
    """The public classes and functions that a module defines itself."""
    module = importlib.import_module(name)
    return [
        (public, value)
        for public in getattr(module, "__all__", ())
        if (value := getattr(module, public, None)) is not None
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == name
    ]


def documented(value: Any) -> bool:
    """Whether there is a docstring of its own; a dataclass's generated one, `Name(field: type)`, is none."""
    text = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
    return bool(text and text.strip() and not text.startswith(f"{value.__name__}("))


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_shows_exactly_its_names(name: str) -> None:
    package = importlib.import_module(name)
    names = package.__all__
    assert len(set(names)) == len(names)
    assert shown(package) <= set(names), "a public name is missing from __all__"
    assert [each for each in names if not hasattr(package, each)] == []


@pytest.mark.parametrize("name", ["danlu", *PACKAGES])
def test_the_names_are_sorted(name: str) -> None:
    names = list(importlib.import_module(name).__all__)

    def rank(word: str) -> tuple[int, str]:
        """CONSTANTS, then Classes, then functions: the linter's sequence."""
        plain = word.strip("_")
        kind = 0 if word.isupper() and len(word) > 1 else 1 if plain[0].isupper() else 2
        return kind, word

    assert names == sorted(names, key=rank)


def test_every_name_of_danlu_is_there_and_is_listed() -> None:
    for name in danlu.__all__:
        assert getattr(danlu, name) is not None
    lazy = {*danlu._HOMES, *danlu._ROOMS, "__version__"}
    assert lazy == set(danlu.__all__)
    assert set(dir(danlu)) == set(danlu.__all__)
    with pytest.raises(AttributeError, match="no attribute 'fti'"):
        _ = danlu.fti


@pytest.mark.parametrize("room", ROOMS)
def test_a_module_names_what_it_shows(room: str) -> None:
    modules = [importlib.import_module(name) for name in within(room)]
    assert [module.__name__ for module in modules if not module.__doc__] == [], "a module says what it holds"
    absent = [
        (module.__name__, public)
        for module in modules
        for public in getattr(module, "__all__", ())
        if not hasattr(module, public)
    ]
    assert not absent


@pytest.mark.parametrize("room", ROOMS)
def test_everything_public_is_documented(room: str) -> None:
    owned = [(f"{name}.{public}", value) for name in within(room) for public, value in own(name)]
    bare = [public for public, value in owned if not documented(value)]
    assert not bare, "without a docstring"
    methods = [
        f"{public}.{attribute}"
        for public, value in owned
        if inspect.isclass(value)
        for attribute, method in vars(value).items()
        if not attribute.startswith("_")
        and inspect.isfunction(method)
        and not inspect.getdoc(getattr(value, attribute))
    ]
    assert not methods, "without a docstring"


@pytest.mark.parametrize("room", ROOMS)
def test_everything_public_is_annotated(room: str) -> None:
    for name in within(room):
        for public, value in own(name):
            if inspect.isfunction(value):
                signature = inspect.signature(value)
                bare = [p.name for p in signature.parameters.values() if p.annotation is inspect.Parameter.empty]
                assert not bare, f"{name}.{public} has arguments without a type"
                assert signature.return_annotation is not inspect.Signature.empty, f"{name}.{public} has no return type"


@pytest.mark.parametrize(
    "code", ["import danlu", "import danlu.nn, danlu.optim, danlu.errors", "import danlu; danlu.fit"]
)
def test_importing_is_light(code: str) -> None:
    probe = f"import jax, sys; before = set(sys.modules); {code}; print(sorted(set({OPTIONAL!r}) & (set(sys.modules) - before)))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_room_is_there_after_import_danlu() -> None:
    code = (
        "import danlu, sys\n"
        "loaded = {name.split('.')[1] for name in sys.modules if name.startswith('danlu.')}\n"
        "assert loaded == {'errors', 'language'}, loaded\n"
        "assert callable(danlu.verify) and callable(danlu.verify), 'the import itself sets danlu.verify to the module'\n"
        "for name in ('rl', 'evaluate', 'explain', 'data', 'pipeline'): assert getattr(danlu, name).__name__ == f'danlu.{name}'\n"
        "assert sorted(dir(danlu)) == sorted(danlu.__all__)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
