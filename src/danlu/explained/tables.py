"""Why a model of a table answered a row as it did."""

from __future__ import annotations

import datetime
from typing import Any

import jax
import numpy as np
import polars as pl

from danlu.errors import ConfigError
from danlu.evaluate.intervals import figure
from danlu.explain import shapley_values
from danlu.explained.answer import Explained, Part
from danlu.explained.asked import Asked
from danlu.explained.score import answers_of, score_of
from danlu.trained import Trained

__all__ = ["COMPARED", "cell", "explain_table"]

COMPARED = 100
"""Background rows that an answer is compared with."""


def explain_table(trained: Trained, frame: pl.DataFrame, asked: Asked) -> list[Explained]:
    """Each row of a table by Shapley values of its columns.

    Args:
        frame: checked rows, as the encoder takes them.

    Raises:
        ConfigError: there is no background.
    """
    rows = asked.compared(COMPARED)
    if rows is None or not rows.height:
        raise ConfigError(
            "there are no rows to compare an answer with: Shapley values say what a column adds beside other rows",
            hint="give some that are like those of the training, such as its file: --background FILE (in Python background=…)",
        )
    background = trained.encoder.transform(rows)
    inputs = trained.encoder.transform(frame)
    columns = [column.name for column in trained.encoder.schema.features]
    return [
        _one(trained, frame.row(place, named=True), _row(inputs, place), background, columns, asked, asked.names[place])
        for place in range(frame.height)
    ]


def _row(inputs: Any, place: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[place : place + 1], inputs)


def _one(
    trained: Trained, values: dict[str, Any], row: Any, background: Any, columns: list[str], asked: Asked, name: str
) -> Explained:
    score, answer = score_of(trained, answers_of(trained, row), of=asked.of, scale=asked.scale)
    found = shapley_values(
        lambda rows: score.of(answers_of(trained, rows)),
        row,
        background,
        trained.encoder.sources,
        exact=asked.exact,
        seed=asked.seed,
    )
    added = np.zeros(len(columns))
    errors = np.zeros(len(columns))
    added[: len(found.values)], errors[: len(found.values)] = found.values, found.errors
    parts = tuple(
        Part(column, cell(values[column]), float(value), float(error))
        for column, value, error in zip(columns, added, errors, strict=True)
    )
    how = "Exact Shapley values" if found.is_exact else "Shapley values, sampled (± their standard errors)"
    of = "training rows" if asked.learnt else "background rows"
    return Explained(
        row=name,
        answer=answer,
        scored=score.name,
        value=found.answer,
        base=found.base,
        against=f"on average over {found.background} {of}",
        parts=parts,
        method=f"{how}, {found.scored:,} rows answered by the whole model{f' ({trained.mixture})' if trained.mixture else ''}.",
        gap=found.gap,
        data={"exact": found.is_exact, "background": found.background, "scale": score.scale or None},
    )


def cell(value: Any) -> str:
    """A value of a table in a few words."""
    if value is None:
        return "missing"
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return str(value.date())
    return figure(value, 6) if isinstance(value, float) else str(value)
