"""What enters a file, by the kind of data: the graph from raw values to encoded rows, and rows to try it with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from danlu.data.encode import TableEncoder
from danlu.data.images import ImageEncoder
from danlu.data.schema import Column
from danlu.data.sequences import SequenceEncoder
from danlu.data.sequences.encode import FARTHEST
from danlu.data.series import OneSeries, SeriesEncoder, SeriesTable
from danlu.data.sounds import SoundEncoder
from danlu.data.text import TextEncoder
from danlu.data.text.tokenizer import PAD
from danlu.errors import ConfigError
from danlu.export.columns import Columns, reads_as_text
from danlu.export.graph import Graph
from danlu.export.primitives import BATCH, Input, written
from danlu.export.recommended import about_pairs, encode_pairs, feed_pairs, made_pairs
from danlu.export.sounds import about_sound, encode_sound, feed_sound, made_sound
from danlu.recommend.encoder import RecommendEncoder
from danlu.trained.together import Encoders

__all__ = ["Kind", "kind_of"]

_TYPES = {"numeric": np.float32, "categorical": np.int32, "text": np.float32}
_MADE = 96  # rows of a table that are made from its schema
_FEW = 32  # pictures, sequences and texts
_HUGE = (1e300, -1e300, 1e15, 0.0, 5e-324)


@dataclasses.dataclass(frozen=True)
class Kind:
    """How one kind of data enters a file.

    Attributes:
        encode: writes the encoder; gives a tree of :class:`~danlu.export.primitives.Input` for the network.
        feed: rows as they were read to the file's inputs, by name.
        made: rows for a trial, made from the schema: gaps, unknown values and huge ones are among them.
        about: what each input is, as plain data.
        beside: what a program needs beside the file, which is written next to it as JSON; empty where that is nothing.
    """

    encode: Callable[[Graph, Any], Any]
    feed: Callable[[Any, Any], dict[str, np.ndarray]]
    made: Callable[[Any, np.random.Generator], Any]
    about: Callable[[Any], list[dict[str, Any]]]
    beside: str = ""


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
        f"a model of {first.state()[0]['kind']} data cannot be written as ONNX yet; "
        "those of tables, images, recordings, sequences, texts, series and pairs of users and items can",
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


# Images.


def _encode_image(graph: Graph, encoder: ImageEncoder) -> Input:
    return Input(graph.input("image", np.uint8, (BATCH, *encoder.in_shape)), np.uint8, encoder.in_shape)


def _feed_image(encoder: ImageEncoder, rows: Any) -> dict[str, np.ndarray]:
    return {"image": encoder.transform(rows)}


def _made_image(encoder: ImageEncoder, random: np.random.Generator) -> np.ndarray:
    """Noise, and pictures of one brightness."""
    made = random.integers(0, 256, (_FEW, *encoder.in_shape), np.uint8)
    made[0], made[1] = 0, 255
    return made


def _about_image(encoder: ImageEncoder) -> list[dict[str, Any]]:
    return [{"name": "image", "kind": "image", "type": "uint8", "shape": list(encoder.in_shape)}]


# Sequences.


def _encode_sequence(graph: Graph, encoder: SequenceEncoder) -> dict[str, Input]:
    """As :meth:`SequenceEncoder.transform`: scaled, gaps filled with the value before, neighbouring steps averaged, and a mask."""
    most, width = encoder.steps * encoder.every, len(encoder.columns)
    values = graph.input("values", np.float64, (BATCH, most, width))
    length = graph.input("length", np.int64, (BATCH,))
    z = graph.op("Sub", values, graph.constant(encoder.mean.astype(np.float64)))
    z = graph.op("Div", z, graph.constant(encoder.scale.astype(np.float64)))
    gap = graph.op("IsNaN", z)
    z = graph.op("Where", gap, graph.constant(np.float64(0)), z)
    z = graph.op("Clip", z, graph.constant(np.float64(-FARTHEST)), graph.constant(np.float64(FARTHEST)))
    given = {
        "z": Input(graph.cast(z, np.float32), np.float32, (most, width)),
        "gap": Input(gap, np.bool_, (most, width)),
        "length": Input(graph.cast(length, np.int32), np.int32, ()),
    }

    def filled(x: Any) -> dict[str, Any]:
        def step(before: Any, now: tuple[Any, Any]) -> tuple[Any, Any]:
            kept = jnp.where(now[1], before, now[0])
            return kept, kept

        along = (jnp.moveaxis(x["z"], 1, 0), jnp.moveaxis(x["gap"], 1, 0))
        _, known = jax.lax.scan(step, jnp.zeros_like(x["z"][:, 0]), along)
        real = jnp.arange(most)[None] < x["length"][:, None]
        known = jnp.where(real[..., None], jnp.moveaxis(known, 0, 1), 0)
        shape = (x["z"].shape[0], encoder.steps, encoder.every)
        count = real.reshape(shape).sum(axis=2)  # (rows, steps)
        mean = known.reshape(*shape, width).sum(axis=2) / jnp.maximum(count, 1)[..., None]  # (rows, steps, columns)
        return {"x": mean, "mask": count > 0}

    found = written(graph, filled, given)
    types = {"x": np.float32, "mask": np.bool_}
    return {name: Input(found[name].name, types[name], encoder.in_shape[name]) for name in types}


def _feed_sequence(encoder: SequenceEncoder, rows: Any) -> dict[str, np.ndarray]:
    """Sequences side by side, NaN after their ends; of longer ones the last steps."""
    most = encoder.steps * encoder.every
    values = np.full((len(rows), most, len(encoder.columns)), np.nan)
    lengths = np.zeros(len(rows), np.int64)
    for row, each in enumerate(rows):
        whole = np.array(each, np.float64)
        cut = max(-(-len(whole) // encoder.every) - encoder.steps, 0) * encoder.every
        own = whole[cut:]
        for column in np.flatnonzero(np.isnan(own[0])) if cut else ():
            before = whole[:cut, column][~np.isnan(whole[:cut, column])]
            own[0, column] = before[-1] if len(before) else np.nan
        values[row, : len(own)], lengths[row] = own, len(own)
    return {"values": values, "length": lengths}


def _made_sequence(encoder: SequenceEncoder, random: np.random.Generator) -> list[np.ndarray]:
    """Sequences of all lengths, with gaps and values far outside."""
    made = []
    for row in range(_FEW):
        steps = int(random.integers(1, encoder.steps * encoder.every + 1))
        each = encoder.inverse(random.normal(size=(steps, len(encoder.columns))))
        each[random.random(each.shape) < 0.2] = np.nan
        if row % 8 == 0:
            each[random.random(each.shape) < 0.1] = random.choice((1e12, -1e12))
        made.append(each)
    return made


def _about_sequence(encoder: SequenceEncoder) -> list[dict[str, Any]]:
    shape = [encoder.steps * encoder.every, len(encoder.columns)]
    values = {"name": "values", "kind": "sequence", "type": "float64", "shape": shape, "columns": list(encoder.columns)}
    return [values | {"missing": ["NaN"]}, {"name": "length", "kind": "sequence", "type": "int64", "shape": []}]


# Texts.


def _encode_text(graph: Graph, encoder: TextEncoder) -> dict[str, dict[str, Input]]:
    """The numbers of words and n-grams, as a tokenizer beside the file gives them; 0 fills up."""
    found = {}
    for name, size in (("words", encoder.words), ("grams", encoder.grams)):
        numbers = graph.input(name, np.int32, (BATCH, size))
        nothing = PAD if name == "words" else 0
        mask = graph.op("Not", graph.op("Equal", numbers, graph.constant(np.int32(nothing))))
        found[name] = {"x": Input(numbers, np.int32, (size,)), "mask": Input(mask, np.bool_, (size,))}
    return found


def _feed_text(encoder: TextEncoder, rows: Any) -> dict[str, np.ndarray]:
    return {name: part["x"] for name, part in encoder.transform(rows).items()}


def _made_text(encoder: TextEncoder, random: np.random.Generator) -> list[str]:
    """Words of the vocabulary and others in any order, and a text without any."""
    words = [*encoder.tokenizer.vocabulary, "unheard-of", "味", "1", "!"]
    made = [" ".join(random.choice(words, int(random.integers(1, 2 * encoder.words)))) for _ in range(_FEW)]
    return ["", *made]


def _about_text(encoder: TextEncoder) -> list[dict[str, Any]]:
    shapes = {"words": encoder.words, "grams": encoder.grams}
    return [{"name": name, "kind": "text", "type": "int32", "shape": [size]} for name, size in shapes.items()]


# Series.


def _encode_series(graph: Graph, encoder: SeriesEncoder) -> Any:
    """Windows in their series' scale, gaps as its mean; the scale of the targets is kept for the answer. Of an unknown series it is NaN."""
    targets, known = len(encoder.columns.targets), len(encoder.columns.known)
    width = encoder.mean.shape[1] - known
    scales = {"mean": encoder.mean, "scale": encoder.scale}
    if len(encoder.names) == 1:
        own = {name: graph.constant(each.astype(np.float64)) for name, each in scales.items()}  # (1, columns)
    else:
        series = graph.input("series", object, (BATCH,))
        place = graph.op(
            "LabelEncoder", series, domain="ai.onnx.ml", keys_strings=list(encoder.names),
            values_int64s=list(range(len(encoder.names))), default_int64=len(encoder.names),
        )  # fmt: skip
        strange = np.full((1, encoder.mean.shape[1]), np.nan)
        own = {
            name: graph.op("Gather", graph.constant(np.concatenate([each, strange]).astype(np.float64)), place)
            for name, each in scales.items()
        }
    one = graph.ints(1)
    graph.beside = {
        name: graph.op("Slice", each, graph.ints(0), graph.ints(targets), one) for name, each in own.items()
    }
    own = {name: graph.op("Unsqueeze", each, one) for name, each in own.items()}  # (rows, 1, columns)

    def part(name: str, low: int, high: int) -> Input:
        shape = encoder.in_shape[name] if known else encoder.in_shape
        x = graph.input(name, np.float64, (BATCH, *shape))
        mean, scale = (
            graph.op("Slice", own[each], graph.ints(low), graph.ints(high), graph.ints(2)) for each in ("mean", "scale")
        )
        z = graph.op("Div", graph.op("Sub", x, mean), scale)
        z = graph.op("Where", graph.op("IsNaN", z), graph.constant(np.float64(0)), z)
        return Input(graph.cast(z, np.float32), np.float32, shape)

    past = part("past", 0, width)
    return {"past": past, "known": part("known", width, width + known)} if known else past


def _feed_series(encoder: SeriesEncoder, rows: Any) -> dict[str, np.ndarray]:
    """The context before each origin and, of what is known ahead, the horizon after it too, in the columns' own units."""
    known = len(encoder.columns.known)
    width = encoder.mean.shape[1] - known
    past, ahead, names = [], [], []
    for number, step in rows.index:
        each = rows.table.series[number]
        past.append(each.values[step - encoder.context : step, :width])
        ahead.append(each.values[step - encoder.context : step + encoder.horizon, width:])
        names.append(each.name)
    found: dict[str, np.ndarray] = {"past": np.stack(past)}
    found |= {"known": np.stack(ahead)} if known else {}
    return found | ({"series": np.asarray(names, object)} if len(encoder.names) > 1 else {})


def _made_series(encoder: SeriesEncoder, random: np.random.Generator) -> Any:
    """Noise in the scale of each series, and steps far outside of it."""
    made = []
    for place, name in enumerate(encoder.names[:_FEW]):
        steps = encoder.context + encoder.horizon
        values = encoder.mean[place] + encoder.scale[place] * random.normal(size=(steps, encoder.mean.shape[1]))
        values[: encoder.context // 4] *= random.choice((1.0, 1e4))
        made.append(OneSeries(name, 0, values, np.zeros(steps, bool), encoder.context))
    return encoder.following(SeriesTable(encoder.columns, encoder.calendar, tuple(made)))


def _about_series(encoder: SeriesEncoder) -> list[dict[str, Any]]:
    values, known = list(encoder.columns.values), len(encoder.columns.known)
    plain = len(values) - known
    found = [{"name": "past", "columns": values[:plain], "shape": [encoder.context, plain]}]
    found += (
        [{"name": "known", "columns": values[plain:], "shape": [encoder.context + encoder.horizon, known]}]
        if known
        else []
    )
    about: list[dict[str, Any]] = [{**each, "kind": "series", "type": "float64", "missing": ["NaN"]} for each in found]
    return about + (
        [{"name": "series", "kind": "series", "type": "text", "shape": []}] if len(encoder.names) > 1 else []
    )


_KINDS: Mapping[type, Kind] = {
    TableEncoder: Kind(_encode_table, _feed_table, _made_table, _about_table),
    ImageEncoder: Kind(_encode_image, _feed_image, _made_image, _about_image),
    SequenceEncoder: Kind(_encode_sequence, _feed_sequence, _made_sequence, _about_sequence),
    RecommendEncoder: Kind(encode_pairs, feed_pairs, made_pairs, about_pairs),
    SeriesEncoder: Kind(_encode_series, _feed_series, _made_series, _about_series),
    SoundEncoder: Kind(encode_sound, feed_sound, made_sound, about_sound),
    TextEncoder: Kind(_encode_text, _feed_text, _made_text, _about_text, "tokenizer"),
}
