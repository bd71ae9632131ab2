"""What `make docs` refuses, without Sphinx: a docstring that refers to a name that is not there, or that the reference does not show."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import danlu

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "reference"))
import names

MODULES = ["danlu", *(each.name for each in pkgutil.walk_packages(danlu.__path__, "danlu."))]
MODULES = [name for name in MODULES if not name.endswith("__main__")]
ROOMS = sorted(
    {".".join(name.split(".")[:2]) for name in MODULES}
)  # a test for each of a thousand modules takes its time


def docstrings(module: Any) -> Iterator[tuple[Any, str]]:
    """What a module defines, itself included, with its docstring."""
    yield module, module.__doc__ or ""
    for value in list(vars(module).values()):
        if getattr(value, "__module__", None) != module.__name__:
            continue
        inside = vars(value).values() if inspect.isclass(value) else ()
        for each in (value, *inside):
            each = getattr(each, "__func__", getattr(each, "fget", getattr(each, "func", each)))
            if inspect.isclass(each) or inspect.isfunction(each := inspect.unwrap(each)):
                yield each, vars(each).get("__doc__") or each.__doc__ or ""


def shown(module: str, owner: Any) -> bool:
    """Whether the docstring itself is in the reference."""
    private = any(step.startswith("_") for step in getattr(owner, "__qualname__", "").split("."))
    return module in names.modules() and not private


@pytest.mark.parametrize("room", ROOMS)
def test_references_lead_somewhere(room: str) -> None:
    lost = []
    for module in [name for name in MODULES if name == room or (room != "danlu" and name.startswith(f"{room}."))]:
        for owner, text in docstrings(importlib.import_module(module)):
            for role, _, target in names.ROLE.findall(text):
                try:
                    names.resolve(target, owner, module)
                except names.NotShownError as error:
                    if shown(module, owner):
                        lost.append(f"{module}: :{role}:`{target}`: {error}")
                except LookupError as error:
                    lost.append(f"{module}: :{role}:`{target}`: {error}")
    assert not lost, "mend them, or write them as ``plain``"


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("danlu.nn.Dense", "danlu.nn.Dense"),
        ("danlu.nn.dense.Dense", "danlu.nn.Dense"),
        ("danlu.fit", "danlu.fit"),
        ("danlu.engine.fit.fit", "danlu.fit"),
        ("danlu.engine.step.Program", "danlu.engine.Program"),
        ("danlu.nn.attention.sequence", "danlu.nn.attention.sequence"),
        ("danlu.nn.Layer.apply", "danlu.nn.Layer.apply"),
        ("danlu.nn.Dense.units", "danlu.nn.Dense"),  # a field is described with its class
    ],
)
def test_a_name_has_one_place(target: str, place: str) -> None:
    assert names.resolve(target, danlu, "danlu") == place


@pytest.mark.parametrize(
    "target", ["danlu.nn.Dens", "danlu.fitt.fit", "danlu.nn.Dense.unit", "danlu.nn._shapes", "nothing"]
)
def test_a_name_that_is_not_there_is_refused(target: str) -> None:
    with pytest.raises(LookupError):
        names.resolve(target, danlu, "danlu")


def test_a_bare_name_is_looked_up_where_it_is_written() -> None:
    from danlu.nn import Dense, Layer

    assert names.resolve("apply", Layer, "danlu.nn.layer") == "danlu.nn.Layer.apply"
    assert names.resolve("Layer", Dense, "danlu.nn.dense") == "danlu.nn.Layer"
