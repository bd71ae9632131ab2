"""Thresholds of groups within a graph: the decision by columns that a model may not see otherwise."""

from __future__ import annotations

import contextlib
import functools
import re
from typing import Any

import numpy as np
import polars as pl

from danlu.errors import ConfigError
from danlu.evaluate.groups import MISSING, bin_names
from danlu.export.graph import Graph
from danlu.export.primitives import BATCH
from danlu.trained.cuts import Cuts

__all__ = ["about_groups", "check_groups", "feed_groups", "made_groups", "thresholds"]

_SPACE = r"[\s\x0b\x{85}\p{Z}]"


def check_groups(cuts: Cuts) -> list[list[str]]:
    """The parts of each group's name, one for each column.

    Raises:
        ConfigError: names that can be taken apart in several ways.
    """
    parts = [name.split(" & ") if len(cuts.columns) > 1 else [name] for name in cuts.names]
    if any(len(each) != len(cuts.columns) for each in parts):
        raise ConfigError(
            f"groups by {', '.join(map(repr, cuts.columns))} have ' & ' within the name of one, which cannot be written as ONNX yet",
            hint="write such levels with 'and', or use one column",
        )
    return parts


def thresholds(graph: Graph, cuts: Cuts, otherwise: float) -> str:
    """The threshold of each row, ``(rows,)`` float64, as :meth:`Cuts.of <danlu.trained.cuts.Cuts.of>` has it.

    Raises:
        ConfigError: groups of numbers by a column that the graph has as texts.
    """
    tests: list[dict[str, str]] = []
    for place, (name, ends) in enumerate(zip(cuts.columns, cuts.limits, strict=True)):
        words = dict.fromkeys(group[place] for group in check_groups(cuts))
        gap = f"({MISSING})" if f"({MISSING})" in words else MISSING
        tests.append({word: _test(graph, name, ends, word, missing=word == gap) for word in words})
    found = graph.constant(np.full(1, otherwise))
    for group, own in zip(check_groups(cuts), cuts.thresholds, strict=True):
        each = (test[word] for test, word in zip(tests, group, strict=True))
        of_group = functools.reduce(lambda a, b: graph.op("And", a, b), each)
        found = graph.op("Where", of_group, graph.constant(np.float64(own)), found)
    return found


def _test(graph: Graph, name: str, ends: tuple[float, ...], word: str, *, missing: bool) -> str:
    """Which rows are of a group by one column."""
    kinds = {each.name: each.type.tensor_type.elem_type for each in graph.inputs}
    if name not in kinds:
        graph.input(name, np.float64 if ends else object, (BATCH,))
    as_text = not ends if name not in kinds else kinds[name] == 8  # of ONNX's types, that of texts
    if as_text and ends:
        raise ConfigError(
            f"the groups of {name!r} are between numbers, but the model reads it as text, which cannot be written as ONNX yet",
            hint="give the groups by another column, or write --format safetensors",
        )
    if as_text:
        own = _written(word) + "?" * missing
        return graph.op("RegexFullMatch", name, pattern=rf"(?s){_SPACE}*{own}{_SPACE}*")
    if missing:
        return graph.op("IsNaN", name)
    if not ends:
        return graph.op("Equal", name, graph.constant(np.float64(_number(word))))
    place = next(
        (names.index(word) for names in (bin_names(ends, whole=whole) for whole in (True, False)) if word in names),
        None,
    )
    if place is None:
        return graph.op("And", graph.op("IsNaN", name), graph.constant(np.bool_(False)))
    above = graph.op("GreaterOrEqual", name, graph.constant(np.float64(ends[place - 1] if place else -np.inf)))
    below = graph.op("Less", name, graph.constant(np.float64(ends[place] if place < len(ends) else np.inf)))
    return graph.op("And", above, below) if place < len(ends) else above


def _number(word: str) -> float:
    with contextlib.suppress(ValueError):
        return float(word.replace(",", "").replace("−", "-"))
    return float("nan")


def _written(word: str) -> str:
    """The texts that are of a level: itself, and of a number its other spellings."""
    number = _number(word)
    whole = rf"|{'-' if number < 0 else '[+]?'}0*{abs(int(number))}(?:\.0*)?" if number.is_integer() else ""
    return rf"(?:{re.escape(word)}{whole})"


def feed_groups(cuts: Cuts, rows: pl.DataFrame, have: Any) -> dict[str, np.ndarray]:
    """The columns that name the groups, where the model does not see them itself."""
    found: dict[str, np.ndarray] = {}
    for name, ends in zip(cuts.columns, cuts.limits, strict=True):
        if name in have:
            continue
        values = rows[name]
        if ends:
            numbers = values.dt.year() if values.dtype.is_temporal() else values
            found[name] = numbers.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy().astype(np.float64)
        else:
            found[name] = values.cast(pl.String).fill_null("").to_numpy().astype(object)
    return found


def made_groups(cuts: Cuts, rows: pl.DataFrame, random: np.random.Generator) -> pl.DataFrame:
    """Made-up rows with values of all groups, and others."""
    parts = check_groups(cuts)
    for place, (name, ends) in enumerate(zip(cuts.columns, cuts.limits, strict=True)):
        if name in rows.columns:
            continue
        if ends:
            usual: list[Any] = [None, *ends, *(end - 0.5 for end in ends), ends[0] - 1, ends[-1] + 1]
        else:
            usual = ["", "never seen", None, *(f" {each[place]} " for each in parts), *(each[place] for each in parts)]
        chosen = [usual[at] for at in random.integers(len(usual), size=rows.height)]
        rows = rows.with_columns(pl.Series(name, chosen, dtype=pl.Float64 if ends else pl.String))
    return rows


def about_groups(cuts: Cuts, have: Any) -> list[dict[str, Any]]:
    """What the inputs are that only the decision needs."""
    pairs = zip(cuts.columns, cuts.limits, strict=True)
    return [
        {"name": name, "kind": "group", "type": "number" if ends else "text", "missing": ["NaN" if ends else ""]}
        for name, ends in pairs
        if name not in have
    ]
