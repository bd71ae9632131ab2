"""Whether a value is of an annotated type, and that type in words: the one check of every blueprint's fields."""

from __future__ import annotations

import functools
import math
import numbers
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

__all__ = ["MismatchError", "check_fields", "described", "field_types", "of_type"]

_WIDEST = 2**63 - 1  # what a file, an array and another library can hold


class MismatchError(ValueError):
    """The error for a value that is not of the type."""


@functools.cache
def field_types(cls: Any) -> Mapping[str, Any]:
    """The annotations of a class, resolved; an annotation with a name that its module lacks accepts any type."""
    try:
        return typing.get_type_hints(cls)
    except (NameError, AttributeError, TypeError):  # a class within a function may name what only the function knows
        return {}


def of_type(value: Any, annotation: Any) -> Any:
    """``value`` as a value of the annotated type: numbers of NumPy become Python's and lists become tuples, but nothing is guessed.

    A whole number is also a number; true, false and NaN are not numbers.

    Raises:
        MismatchError: it is of another type.

    >>> of_type([1, np.int64(2)], tuple[int, ...])
    (1, 2)
    """
    if isinstance(value, np.generic) and value.ndim == 0:
        value = value.item()
    if annotation is Any or isinstance(annotation, typing.TypeVar):
        return value
    origin, inner = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return _of_union(value, inner)
    if origin is tuple:
        return _of_tuple(value, inner)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if isinstance(value, Mapping):
            return {of_type(key, inner[0]): of_type(item, inner[1]) for key, item in value.items()}
    elif _is_scalar(value, origin):
        return value
    raise MismatchError


def check_fields(instance: Any) -> None:
    """Refuse an instance of a class (such as one read from a file) with a field that is not of its annotated type.

    Raises:
        MismatchError: which field, what it is, and what was expected.
    """
    kind: Any = type(instance)
    for name, annotation in field_types(kind).items():
        try:
            of_type(getattr(instance, name), annotation)
        except MismatchError:
            found = str(getattr(instance, name))[:40]
            raise MismatchError(f"its {name} is {found!r}; expected {described(annotation)}") from None


def _of_union(value: Any, options: tuple[Any, ...]) -> Any:
    for option in options:
        try:
            return of_type(value, option)
        except MismatchError:
            continue
    raise MismatchError


def _of_tuple(value: Any, inner: tuple[Any, ...]) -> Any:
    if not isinstance(value, list | tuple):
        raise MismatchError
    if not inner:
        return tuple(value)
    each = inner[:1] * len(value) if inner[1:] == (...,) else inner
    if len(each) != len(value):
        raise MismatchError
    return tuple(of_type(item, annotation) for item, annotation in zip(value, each, strict=True))


def _is_scalar(value: Any, kind: Any) -> bool:
    if kind is None or kind is type(None):
        return value is None
    if kind is int:
        return isinstance(value, numbers.Integral) and not isinstance(value, bool) and abs(int(value)) <= _WIDEST
    if kind is float:
        return isinstance(value, numbers.Real) and not isinstance(value, bool) and not _no_number(value)
    if kind is Callable:
        return callable(value)
    if getattr(kind, "_is_protocol", False) or not isinstance(kind, type):
        return True
    return isinstance(value, kind)


def _no_number(value: Any) -> bool:
    try:
        return math.isnan(float(value))
    except OverflowError:  # a whole number that no float can hold
        return True


_FEW = 6  # subclasses that are listed
_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    type(None): "None",
    Any: "a value",
}
_MANY = {bool: "true or false", int: "whole numbers", float: "numbers", str: "texts", Any: "values"}


def described(annotation: Any) -> str:
    """The type in words.

    >>> described(tuple[str, ...] | None), described(bool)
    ('a list of texts, or None', 'true or false')
    """
    origin, inner = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        *most, last = [described(each) for each in inner]
        return f"{', '.join(most)}, or {last}" if most else last
    if origin is tuple:
        many = _MANY.get(inner[0]) if inner else None
        return f"a list of {many or getattr(inner[0], '__name__', 'value') + 's'}" if inner else "a list"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "a table of names and values"
    if origin is Callable:
        return "a function"
    if annotation in _WORDS:
        return _WORDS[annotation]
    kinds = [each.__name__ for each in getattr(origin, "__subclasses__", list)() if not each.__name__.startswith("_")]
    return f"a {getattr(origin, '__name__', origin)}" + (f" ({', '.join(kinds)})" if 0 < len(kinds) <= _FEW else "")
