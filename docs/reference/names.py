"""Where each public object of danlu stands in the reference, and what the names in docstrings mean.

A class is defined in one module and shown by a package (``danlu.nn.dense.Dense``, ``danlu.nn.Dense``). The reference has it once,
under the shortest name, and a docstring may use either, or the bare name where the module or the class knows it.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import danlu

__all__ = ["ROLE", "NotShownError", "homes", "modules", "resolve"]

ROLE = re.compile(r":(class|func|meth|attr|data|exc|mod|obj):`(~?)([^`<>]+)`")


class NotShownError(LookupError):
    """A name is there, but the reference does not show it: it is private, or a program's."""


_HIDDEN = ("danlu.cli", "danlu.verify.cases")  # a program, and rows of a table


@functools.cache
def modules() -> tuple[str, ...]:
    """The modules that the reference shows, in order: a package before what it holds."""
    found = [each.name for each in pkgutil.walk_packages(danlu.__path__, "danlu.")]
    shown = [name for name in found if not name.startswith(_HIDDEN) and "._" not in name]
    return ("danlu", *sorted(shown))


def _members(name: str) -> Iterator[tuple[str, Any]]:
    module = importlib.import_module(name)
    for public in getattr(module, "__all__", ()):
        value = getattr(module, public)
        if not inspect.ismodule(value) and not public.startswith("__"):
            yield public, value


def _own(value: Any) -> bool:
    """Whether an object can be told from any other, wherever it is met: a number or a text cannot."""
    return inspect.isclass(value) or inspect.isroutine(value)


@functools.cache
def homes() -> dict[str, dict[str, Any]]:
    """For each module of the reference, what is described there: every object once, under its shortest name."""
    names: dict[str, dict[str, Any]] = {name: {} for name in modules()}
    seen: set[tuple[int, str]] = set()
    for name in sorted(names, key=lambda each: (each.count("."), each)):
        for public, value in _members(name):
            origin = getattr(value, "__module__", name) if _own(value) else name
            if not str(origin).startswith("danlu"):
                continue
            key = (id(value), public)
            if key not in seen:
                seen.add(key)
                names[name][public] = value
    return names


@functools.cache
def _places() -> dict[int, str]:
    return {
        id(value): f"{module}.{public}"
        for module, members in homes().items()
        for public, value in members.items()
        if _own(value)
    }


def _found(start: Any, path: list[str]) -> Any:
    for position, step in enumerate(path):
        if inspect.ismodule(start) and (position < len(path) - 1 or not hasattr(start, step)):
            try:  # a module before what has its name: danlu.engine.step.Steps, though danlu.engine.step() is a function
                start = importlib.import_module(f"{start.__name__}.{step}")
                continue
            except ModuleNotFoundError:
                if not hasattr(start, step):
                    raise AttributeError(step) from None
        if inspect.isclass(start) and step in getattr(start, "__dataclass_fields__", {}):
            return start.__dataclass_fields__[step]
        if inspect.isclass(start) and step in _annotated(start):
            return _Field()
        start = inspect.getattr_static(start, step) if inspect.isclass(start) else getattr(start, step)
    return start


class _Field:
    """A name with a type and no value, of a class."""


def _annotated(owner: type) -> set[str]:
    return {name for base in owner.__mro__ for name in vars(base).get("__annotations__", {})}


def _scopes(owner: Any, module: ModuleType) -> Iterator[Any]:
    """Where a bare name is looked up: the class, what it inherits, the module, the packages around it."""
    if inspect.isclass(owner):
        yield owner
    qualified = getattr(owner, "__qualname__", "")
    if inspect.isroutine(owner) and "." in qualified and "<locals>" not in qualified:
        outer: Any = module
        for step in qualified.split(".")[:-1]:
            outer = getattr(outer, step)
        yield outer
    yield module
    name = module.__name__
    while "." in name:
        name = name.rpartition(".")[0]
        yield importlib.import_module(name)


def resolve(target: str, owner: Any, module: str) -> str:
    """The name in the reference of what ``target`` means in the docstring of ``owner``, which ``module`` defines.

    Raises:
        LookupError: nothing is called that, or the reference does not show it.
    """
    path = target.removesuffix("()").split(".")
    starts = (
        [(danlu, path[1:])]
        if path[0] == "danlu"
        else [(scope, path) for scope in _scopes(owner, importlib.import_module(module))]
    )
    for start, steps in starts:
        try:
            value = _found(start, steps)
        except AttributeError:
            continue
        holder = _found(start, steps[:-1]) if steps else start
        return _place(value, holder, steps[-1] if steps else "danlu")
    raise LookupError(f"{target!r} names nothing")


def _place(value: Any, holder: Any, name: str) -> str:
    if inspect.ismodule(value):
        if value.__name__ in modules():
            return value.__name__
        raise NotShownError(f"{value.__name__} is private or a program; the reference does not show it")
    if id(value) in _places():
        return _places()[id(value)]
    if inspect.ismodule(holder):
        for module, members in homes().items():
            if name in members and members[name] is value:
                return f"{module}.{name}"
        raise NotShownError(f"{holder.__name__}.{name} is not public; the reference does not show it")
    for owner in holder.__mro__ if inspect.isclass(holder) else ():
        if name in vars(owner) or name in vars(owner).get("__annotations__", {}):
            if id(owner) not in _places():
                continue
            place = _places()[id(owner)]
            method = vars(owner).get(name)
            return f"{place}.{name}" if _described(method, name) else place
    raise NotShownError(
        f"{getattr(holder, '__qualname__', holder)}.{name} is not public; the reference does not show it"
    )


def _described(method: Any, name: str) -> bool:
    """Whether a method has a place of its own; a field is described with its class."""
    bare = getattr(method, "__func__", getattr(method, "fget", getattr(method, "func", method)))
    return inspect.isfunction(bare) and bool(bare.__doc__) and not name.startswith("_")
