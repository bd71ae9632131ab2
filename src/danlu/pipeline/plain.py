"""Users' settings (from files, the command line, keyword arguments) as plain data, and their meaning for a field's type."""

from __future__ import annotations

import datetime
import json
import math
import os
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from danlu.blueprint import checked
from danlu.errors import ConfigError, shorten
from danlu.typed import MismatchError, of_type

__all__ = ["filled", "load_config", "meant", "plain", "written"]

_DEEPEST = 20
_NUMBER = re.compile(r"[+-]?(\d+\.\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)  # as JSON, and ``.5`` and ``1.``
_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def load_config(path: str | Path) -> dict[str, Any]:
    """The plain data of a config file, TOML or JSON.

    Raises:
        ConfigError: no such file, or not a valid one.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the config {path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    is_json = path.suffix.lower() == ".json"
    try:
        values = json.loads(text, object_pairs_hook=_once) if is_json else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        kind = "JSON" if is_json else "TOML"
        said = "it is nested too deeply" if isinstance(error, RecursionError) else error
        hint = (
            None
            if path.suffix.lower() in (".json", ".toml")
            else "a config is a TOML file, or JSON with the ending .json"
        )
        raise ConfigError(f"the config {path} is not valid {kind}: {said}", hint=hint) from error
    if not isinstance(values, dict):
        raise ConfigError(f"the config {path} holds a {type(values).__name__}; expected a table of settings")
    return plain(values)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is given twice")
    return found


def plain(value: Any, where: str = "") -> Any:
    """A copy of ``value`` of plain data that a config file can hold; what NumPy and pathlib have of it becomes Python's.

    Raises:
        ConfigError: something else is in it, a number that is not finite, or it is nested too deeply.
    """
    if isinstance(value, Mapping):
        return {key: plain(item, f"{where}.{key}".strip(".")) for key, item in _within(value, where).items()}
    for listed in ("tolist", "to_list"):  # an array of NumPy or JAX, a column of pandas or polars
        if callable(getattr(value, listed, None)):
            value = getattr(value, listed)()
    if isinstance(value, list | tuple):
        return [plain(item, where) for item in _within(value, where)]
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{where} is {value}; expected a finite number")
    if isinstance(value, str) and "\0" in value:
        raise ConfigError(f"{where} is {shorten(value)}; expected a text without the character NUL")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, datetime.date | datetime.time):
        raise ConfigError(f"{where} is the date {value}, but no setting is a date", hint="put it in quotes")
    raise ConfigError(
        f"{where or 'the config'} is a {type(value).__name__}; expected plain data: texts, numbers, true or false, lists, tables"
    )


def _within(value: Any, where: str, deepest: int = _DEEPEST) -> Any:
    """``value``, when no part of it is nested too deeply for any setting."""
    layer = [value]
    for _ in range(deepest):
        inner = [part.values() if isinstance(part, Mapping) else part for part in layer]
        layer = [each for part in inner for each in part if isinstance(each, Mapping | list | tuple)]
        if not layer:
            return value
    raise ConfigError(f"{where or 'the config'} is nested more than {deepest} deep; no setting is")


def meant(value: Any, annotation: Any, rules: Mapping[str, Any] | None = None) -> Any:
    """What ``value`` means for a field: ``yes`` for true and the reverse, one value for a list of it, None for ``"none"``.

    >>> meant("off", bool), meant("id", tuple[str, ...]), meant({"age": 0}, dict[str, tuple[float, ...]])
    (False, ['id'], {'age': [0]})
    """
    options = _options(annotation)
    choices = (rules or {}).get("choices") or ()
    if value is None and "none" in choices:
        return "none"
    if isinstance(value, bool) and "yes" in choices:
        return "yes" if value else "no"
    if isinstance(value, str) and bool in options:
        return _BOOLEANS.get(value.strip().lower(), value)
    if isinstance(value, Mapping):
        inner = [typing.get_args(each)[1] for each in options if _is_table(each)]
        return {key: meant(item, inner[0]) for key, item in value.items()} if inner else value
    if isinstance(value, str | int | float) and not _fits(value, annotation) and _fits([value], annotation):
        return [value]
    return value


def _options(annotation: Any) -> tuple[Any, ...]:
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return typing.get_args(annotation) if is_union else (annotation,)


def _is_table(annotation: Any) -> bool:
    origin = typing.get_origin(annotation)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _fits(value: Any, annotation: Any) -> bool:
    try:
        of_type(value, annotation)
    except MismatchError:
        return False
    return True


def filled(name: str, value: Any, default: Any) -> None:
    """Refuse empty texts where a text is needed.

    Raises:
        ConfigError: there is one.
    """
    texts = [*value, *value.values()] if isinstance(value, Mapping) else value if isinstance(value, tuple) else [value]
    if "" in texts and default != "":
        raise ConfigError(f"{name} is {shorten(value)}; expected a text with at least one character")


def written(text: str, annotation: Any = Any, rules: Mapping[str, Any] | None = None) -> Any:
    """The value of a text on the command line for a setting: JSON, a list ``a,b``, ``none``, or the text as it is, by the setting's type.

    >>> written("20", int), written("20", str), written("a,b", tuple[str, ...]), written("none", str | None)
    (20, '20', ['a', 'b'], None)
    """
    try:
        first = _parsed(text)
        readings = [first]
    except (ValueError, RecursionError):
        first = text
        parts = [
            part.strip().strip("\"'") for part in (text[1:-1] if text[:1] + text[-1:] == "[]" else text).split(",")
        ]
        readings = [None] * (text.lower() == "none")
        readings += [] if _fits(text, annotation) else [[_item(part) for part in parts], parts]
    for reading in (*readings, text):
        try:
            checked("", "", meant(reading, annotation, rules), annotation, rules)
        except ConfigError:
            continue
        return reading
    return first


def _parsed(text: str) -> Any:
    return float(text) if _NUMBER.fullmatch(text) else json.loads(text)


def _item(text: str) -> Any:
    try:
        return _parsed(text)
    except (ValueError, RecursionError):
        return text
