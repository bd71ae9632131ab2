"""What enters a file, by the kind of data: the graph from raw values to encoded rows, and rows to try it with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl

from danlu.data.encode import TableEncoder
from danlu.data.schema import Column
from danlu.errors import ConfigError
from danlu.export.columns import Columns, reads_as_text
from danlu.export.graph import Graph
from danlu.export.primitives import Input
from danlu.trained.together import Encoders

__all__ = ["Kind", "kind_of"]

_TYPES = {"numeric": np.float32, "categorical": np.int32, "text": np.float32}
_MADE = 96  # rows that are made from the schema
_HUGE = (1e300, -1e300, 1e15, 0.0, 5e-324)


@dataclasses.dataclass(frozen=True)
class Kind:
    """How one kind of data enters a file.

    Attributes:
        encode: writes the encoder; gives a tree of :class:`~danlu.export.primitives.Input` for the network.
        feed: rows as they were read to the file's inputs, by name.
        made: rows for a trial, made from the schema: gaps, unknown values and huge ones are among them.
        about: what each input is, as plain data.
    """

    encode: Callable[[Graph, Any], Any]
    feed: Callable[[Any, Any], dict[str, np.ndarray]]
    made: Callable[[Any, np.random.Generator], Any]
    about: Callable[[Any], list[dict[str, Any]]]


def kind_of(encoder: Any) -> Kind:
    """The kind of an encoder.

    Raises:
        ConfigError: one whose rows cannot enter a file.
    """
    first = encoder.encoders[0] if isinstance(encoder, Encoders) else encoder
    for of, kind in _KINDS.items():
        if isinstance(first, of):
            return kind
    raise ConfigError(
        f"a model of {first.state()[0]['kind']} data cannot be written as ONNX yet; those of tables can",
        hint="danlu export RUN --format safetensors writes its weights",
    )


# Tables.


def _encode_table(graph: Graph, encoder: Any) -> Any:
    columns = Columns(graph)

    def one(each: Any) -> dict[str, Input]:
        found = columns.encoded(each)
        return {name: Input(value, _TYPES[name], each.in_shape[name]) for name, value in found.items()}

    if isinstance(encoder, Encoders):
        return {str(place): one(each) for place, each in enumerate(encoder.encoders, 1)}
    return one(encoder)


def _feed_table(encoder: Any, frame: pl.DataFrame) -> dict[str, np.ndarray]:
    """Texts as they stand in the file; numbers as plain numbers, whatever marks and units they are written with."""
    found: dict[str, np.ndarray] = {}
    for column in encoder.schema.features:
        values = frame[column.name]
        if reads_as_text(column):
            found[column.name] = values.cast(pl.String).fill_null("").to_numpy().astype(object)
            continue
        numbers = (
            values.cast(pl.Float64, strict=False) if values.dtype.is_numeric() else column.read(values).cast(pl.Float64)
        )
        found[column.name] = numbers.fill_null(float("nan")).to_numpy().astype(np.float64)
    return found


def _made_table(encoder: Any, random: np.random.Generator) -> pl.DataFrame:
    return pl.DataFrame([pl.Series(column.name, _values(column, random)) for column in encoder.schema.features])


def _values(column: Column, random: np.random.Generator) -> list[Any]:
    """Values of a column, the usual ones and the odd ones."""
    if column.kind == "numeric":
        low, high = column.minimum or 0.0, column.maximum or 1.0
        usual: list[Any] = random.uniform(low - (high - low) / 2, high + (high - low) / 2, _MADE).tolist()
        odd: list[Any] = [*_HUGE, float("nan"), float("inf"), None, low, high, *column.format.codes]
    elif column.kind == "boolean":
        usual, odd = ["True", "false", "yes", "N", "1", "0"], ["", " TRUE ", "maybe", None]
    elif column.kind == "datetime":
        usual = [
            *column.examples,
            *(f"{year}-{month:02}-{month + 9:02}" for year in (1969, 2000, 2024) for month in (1, 2, 12)),
        ]
        odd = ["", "2024-02-30", "1999-1-3 7:05", "2001-09-09T01:46:40.5", "soon", None]
    else:
        usual = [*column.categories, *column.examples] or ["a"]
        odd = ["", "never seen", None, *(each.upper() for each in usual[:20]), *(f"  {each}\t" for each in usual[:20])]
        odd += [each.replace(" ", "  ") for each in usual[:20]]
    chosen = [usual[place] for place in random.integers(len(usual), size=_MADE)]
    for place in np.flatnonzero(random.random(_MADE) < 0.3):
        chosen[place] = odd[int(random.integers(len(odd)))]
    return chosen


def _about_table(encoder: Any) -> list[dict[str, Any]]:
    found = []
    for column in encoder.schema.features:
        unit, form = column.format.number.unit, column.format
        about: dict[str, Any] = {
            "name": column.name,
            "kind": column.kind,
            "type": "text" if reads_as_text(column) else "number",
        }
        about |= {"unit": unit} if unit else {}
        about |= (
            {"missing": [*form.missing, *form.codes]} if reads_as_text(column) else {"missing": ["NaN", *form.codes]}
        )
        about |= {"patterns": list(form.patterns or ("%Y-%m-%d",))} if column.kind == "datetime" else {}
        found.append(about)
    return found


_KINDS: Mapping[type, Kind] = {TableEncoder: Kind(_encode_table, _feed_table, _made_table, _about_table)}
