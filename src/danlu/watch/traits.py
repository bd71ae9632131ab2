"""What of a row and of its answer is counted: a few numbers or levels each, by their names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import polars as pl

from danlu.data.images import ImageEncoder
from danlu.data.sequences import SequenceEncoder
from danlu.data.series import Origins
from danlu.data.text import TextEncoder
from danlu.data.text.tokenizer import UNKNOWN
from danlu.errors import ConfigError
from danlu.trained import Trained
from danlu.trained.together import Encoders

__all__ = ["ANSWER", "of_answers", "of_frame", "of_inputs", "of_rows"]

ANSWER = "answer: "
"""What the names of the traits of answers begin with."""

_MOST = 16  # numbers of a row that are counted each


def of_rows(trained: Trained, rows: Any) -> list[pl.Series]:
    """The traits of rows as they were read, each ``(rows,)``.

    Of tables each column but dates, which always go on: a number, a level, the number of words of a text. Of forecasts the mean of
    each column over the past that is looked at. All others: :func:`of_inputs`.
    """
    encoder = _first(trained)
    if isinstance(rows, pl.DataFrame):
        return list(_of_table(encoder, rows))
    if isinstance(rows, Origins):
        return list(_of_series(encoder, rows))
    return of_inputs(trained, encoder.transform(rows))


def of_inputs(trained: Trained, inputs: Any) -> list[pl.Series]:
    """The traits of encoded rows: brightness and contrast of pictures, length and unknown words of texts, means of sequences."""
    encoder = _first(trained)
    if isinstance(encoder, ImageEncoder):
        return list(_of_pictures(np.asarray(inputs)))
    if isinstance(encoder, TextEncoder):
        words, there = np.asarray(inputs["words"]["x"]), np.asarray(inputs["words"]["mask"])
        count = there.sum(1)
        unknown = ((words == UNKNOWN) & there).sum(1) / np.maximum(count, 1)
        return [pl.Series("words", count.astype(np.float64)), pl.Series("share of unknown words", unknown)]
    if isinstance(encoder, SequenceEncoder):
        values, there = encoder.inverse(inputs["x"]), np.asarray(inputs["mask"])
        count = np.maximum(there.sum(1), 1)
        means = np.where(there[..., None], values, 0).sum(1) / count[:, None]
        columns = zip(encoder.columns, means.T, strict=True)
        return [*(pl.Series(name, mean) for name, mean in columns), pl.Series("steps", there.sum(1).astype(np.float64))]
    return list(_of_arrays(inputs))


def of_answers(trained: Trained, answers: Any, rows: Any = None) -> list[pl.Series]:
    """The traits of answers: the label, and how sure it is; a value."""
    lines = trained.head.lines(answers)
    if lines is not None:  # several lines an answer: how many
        return [pl.Series(ANSWER + "lines", np.asarray(lines, np.float64))]
    return of_frame(trained.head.frame(answers, rows))


def of_frame(frame: pl.DataFrame) -> list[pl.Series]:
    """The traits of answers that are a table, a line each."""
    chances = [name for name in frame.columns if name.startswith("probability ")]
    found = []
    if chances:
        sure = frame.select(pl.max_horizontal(chances)).to_series()
        found.append(sure.cast(pl.Float64).alias(ANSWER + "highest probability"))
    for name in frame.columns:
        if name not in chances and (frame[name].dtype.is_numeric() or frame[name].dtype in (pl.String, pl.Boolean)):
            label = frame[name].cast(pl.String) if chances else frame[name]  # classes may be called by numbers
            found.append(label.alias(ANSWER + name))
    return found[:_MOST]


def _first(trained: Trained) -> Any:
    return trained.encoder.encoders[0] if isinstance(trained.encoder, Encoders) else trained.encoder


def _of_table(encoder: Any, frame: pl.DataFrame) -> Iterator[pl.Series]:
    schema = getattr(encoder, "schema", None)
    if schema is None:  # names, and what is known of them
        yield from (
            frame[name].cast(pl.Float64 if frame[name].dtype.is_numeric() else pl.String) for name in frame.columns
        )
        return
    for column in schema.features:
        values = frame[column.name]
        if column.kind == "numeric":
            yield values.cast(pl.Float64)
        elif column.kind == "text":
            yield values.str.count_matches(r"\S+").cast(pl.Float64).alias(f"{column.name} (words)")
        elif column.kind != "datetime":
            yield values.cast(pl.String)


def _of_series(encoder: Any, rows: Origins) -> Iterator[pl.Series]:
    for place, name in enumerate(encoder.columns.values):
        found = np.full(len(rows), np.nan)
        for row, (number, step) in enumerate(rows.index):
            past = rows.table.series[number].values[max(step - encoder.context, 0) : step, place]
            found[row] = past[np.isfinite(past)].mean() if np.isfinite(past).any() else np.nan
        yield pl.Series(name, found, nan_to_null=True)


def _of_pictures(pixels: np.ndarray) -> Iterator[pl.Series]:
    flat = pixels.reshape(len(pixels), -1, pixels.shape[-1]).astype(np.float64)  # (rows, pixels, channels)
    yield pl.Series("brightness", flat.mean((1, 2)))
    yield pl.Series("contrast", flat.mean(2).std(1))
    if flat.shape[-1] == 3:
        yield from (
            pl.Series(name, flat[..., place].mean(1)) for place, name in enumerate(("redness", "greenness", "blueness"))
        )


def _of_arrays(inputs: Any) -> Iterator[pl.Series]:
    """Of arrays that nothing is known of: each number where a row has few, else their mean and spread."""
    leaves = jax.tree_util.tree_leaves_with_path(inputs)
    for path, leaf in leaves:
        if not isinstance(leaf, np.ndarray | jax.Array):
            raise ConfigError("what this model reads is no rows of numbers; expected a model that answers row by row")
        flat = np.asarray(leaf, np.float64).reshape(len(leaf), -1)  # (rows, numbers)
        name = jax.tree_util.keystr(path) or "value"
        if flat.shape[1] <= _MOST:
            yield from (pl.Series(f"{name}[{place}]", flat[:, place]) for place in range(flat.shape[1]))
        else:
            yield pl.Series(f"{name} mean", flat.mean(1))
            yield pl.Series(f"{name} spread", flat.std(1))
