"""Why a model of a table answered a row as it did."""

from __future__ import annotations

import dataclasses
import datetime
import math
from typing import Any

import jax
import numpy as np
import polars as pl

from danlu.data import doubts
from danlu.errors import ConfigError
from danlu.explain import shapley_values
from danlu.explained.alike import Alike, alike_or_none
from danlu.explained.answer import Explained, Part
from danlu.explained.asked import Asked
from danlu.explained.changes import Changes, fitted_rows, no_background
from danlu.explained.gradients import attributed, gradients_of, of_inputs
from danlu.explained.moved import Moved
from danlu.explained.score import answers_of, score_of
from danlu.explained.view import cell
from danlu.nn.ensemble import Ensemble
from danlu.nn.tabular import TabularNet
from danlu.trained import Trained

__all__ = ["COMPARED", "explain_table", "many_rows", "no_background"]

COMPARED = 100
"""Background rows that an answer is compared with."""

STARTS = 16
"""Background rows that gradients begin their way from."""

_BEARABLE = 2e6  # rows that may be answered for exact values where they are asked for
_NOISE = 0.1  # standard deviations of a numeric column


def explain_table(trained: Trained, frame: pl.DataFrame, asked: Asked) -> list[Explained]:
    """Each row of a table by Shapley values of its columns, or by gradients; with notes on values that the model has not learnt.

    Args:
        frame: checked rows, as the encoder takes them.

    Raises:
        ConfigError: there is no background.
    """
    each = (by_gradients if asked.method in ("gradients", "smoothgrad") else by_shapley)(trained, frame, asked)
    about = doubts(frame, trained.encoder.schema)
    return [dataclasses.replace(one, doubts=more) for one, more in zip(each, about, strict=True)]


def by_shapley(trained: Trained, frame: pl.DataFrame, asked: Asked) -> list[Explained]:
    """Each row by Shapley values, with what would change its answer and the training rows that are like it."""
    rows = asked.compared(COMPARED)
    if rows is None or not rows.height:
        raise no_background()
    background = trained.encoder.transform(rows)
    inputs = trained.encoder.transform(frame)
    columns = [column.name for column in trained.encoder.schema.features]
    own, learnt = fitted_rows(trained, frame), fitted_rows(trained, asked.background)
    changes = Changes(trained, learnt, asked) if asked.changes else None
    alike = (
        None
        if trained.instead is not None or not asked.alike
        else alike_or_none(gradients_of(trained), learnt, asked.truth, asked.compared_with)
    )
    moved = None
    if asked.influence:
        near = alike or Alike(gradients_of(trained), learnt, asked.truth, asked.compared_with)
        moved = Moved(near, asked.influence, 0 if trained.seen is None else len(trained.seen))
    found = []
    for place, name in enumerate(asked.names):
        row = _row(inputs, place)
        answers = answers_of(trained, row)
        one = _one(trained, frame.row(place, named=True), row, answers, background, columns, asked, name)
        blocks, data = [], dict(one.data)
        if changes is not None:
            block, data["counterfactuals"] = changes.of(own[place], answers)
            blocks += [block] if block is not None else []
        order = [part.name for part in sorted(one.parts, key=lambda part: -abs(part.added))]
        if moved is not None:
            score, _ = score_of(trained, answers, of=asked.of, scale=asked.scale)
            block, data["moved"] = moved.of(own[place], score, order)
            blocks.append(block)
        if alike is not None:
            block, data["alike"] = alike.of(own[place], order)
            blocks.append(block)
        found.append(dataclasses.replace(one, blocks=tuple(blocks), data=data))
    return found


def many_rows(
    trained: Trained, frame: pl.DataFrame, asked: Asked, *, compared: int, evaluations: int
) -> list[Explained]:
    """Rows of a table by roughly sampled Shapley values, without what stands beside the answer of one: for pictures of all of them.

    Args:
        frame: checked rows, as the encoder takes them.
        asked: of it the class, the scale, the background, the seed and the names of the rows count.
        compared: background rows that each is compared with.
        evaluations: about how many rows are answered for each.

    Raises:
        ConfigError: there is no background.
    """
    rows = asked.compared(compared)
    if rows is None or not rows.height:
        raise no_background()
    background, inputs = (trained.encoder.transform(each) for each in (rows, frame))
    answers = answers_of(trained, inputs)
    columns = [column.name for column in trained.encoder.schema.features]
    return [
        _one(
            trained,
            frame.row(place, named=True),
            _row(inputs, place),
            answers[place : place + 1],
            background,
            columns,
            asked,
            name,
            evaluations,
        )
        for place, name in enumerate(asked.names)
    ]


def _row(inputs: Any, place: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[place : place + 1], inputs)


def _one(
    trained: Trained,
    values: dict[str, Any],
    row: Any,
    answers: Any,
    background: Any,
    columns: list[str],
    asked: Asked,
    name: str,
    evaluations: int = 4096,
) -> Explained:
    score, answer = score_of(trained, answers, of=asked.of, scale=asked.scale)
    found = shapley_values(
        lambda rows: score.of(answers_of(trained, rows)),
        row,
        background,
        trained.encoder.sources,
        exact=asked.exact,
        evaluations=evaluations,
        seed=asked.seed,
    )
    added = np.zeros(len(columns))
    errors = np.zeros(len(columns))
    added[: len(found.values)], errors[: len(found.values)] = found.values, found.errors
    parts = tuple(
        Part(column, cell(values[column]), float(value), float(error), _number(values[column]))
        for column, value, error in zip(columns, added, errors, strict=True)
    )
    how = "Exact Shapley values" if found.is_exact else "Shapley values, sampled (± their standard errors)"
    if not found.is_exact and found.coalitions < _BEARABLE:
        how += f"; exact ones take {found.coalitions:,.0f} rows (--exact)"
    return Explained(
        row=name,
        answer=answer,
        scored=score.name,
        value=found.answer,
        base=found.base,
        against=f"on average over {found.background} {asked.compared_with}",
        parts=parts,
        method=f"{how}. {found.scored:,} rows were answered by {_whole(trained)}.",
        gap=found.gap,
        data={
            "exact": found.is_exact,
            "background": found.background,
            "class": score.label,
            "scale": score.scale or None,
        },
    )


def by_gradients(trained: Trained, frame: pl.DataFrame, asked: Asked) -> list[Explained]:
    """Each row by gradients of the network, on the way from each of some background rows: expected gradients.

    A category goes over into another one by shares. What the encoder made of a column is added up again.

    Reference: Erion et al., "Improving performance of deep learning models with axiomatic attribution priors and expected gradients"
    (2021), Nature Machine Intelligence 3, for the mean over background rows.
    """
    asked.check("", uses=("background",), otherwise="it is for Shapley values (--method shapley)")
    source = gradients_of(trained)
    model = source.model
    rows = asked.compared(STARTS)
    if rows is None or not rows.height:
        raise no_background()
    network = model.network.network if isinstance(model.network, Ensemble) else model.network
    if not isinstance(network, TabularNet):
        raise ConfigError(f"gradients of a table are those of a TabularNet; this model has a {type(network).__name__}")
    start, inputs = (_soft(network, model.encoder.transform(each)) for each in (rows, frame))
    columns = [column.name for column in model.encoder.schema.features]
    answers = answers_of(model, model.encoder.transform(frame))
    found = []
    for place, name in enumerate(asked.names):
        score, answer = score_of(model, answers[place : place + 1], of=asked.of, scale=asked.scale)
        x = jax.tree.map(lambda leaf: np.repeat(leaf[place : place + 1], rows.height, axis=0), inputs)  # noqa: B023
        given = {**source.given, "code": np.full(rows.height, score.code or 0)}
        noise = {array: _NOISE if array == "numeric" else 0.0 for array in x}
        attribution, how = attributed(
            of_inputs(model.network, score.scale), x, start, given, asked, noise=noise, mean=True
        )
        added = np.zeros(len(columns))
        for array, values in attribution.values.items():
            whose = model.encoder.sources[array]
            if array == "categorical":
                whose = np.repeat(whose, network.vocabularies)
            np.add.at(added, whose, values[0])
        value = float(score.of(answers[place : place + 1])[0])
        own = frame.row(place, named=True)
        found.append(
            Explained(
                row=name,
                answer=answer,
                **source.told(score.name, value, attribution, how),
                against=f"on average over {rows.height} {asked.compared_with}",
                parts=tuple(
                    Part(column, cell(own[column]), float(each), number=_number(own[column]))
                    for column, each in zip(columns, added, strict=True)
                ),
                data={
                    "background": rows.height,
                    "class": score.label,
                    "scale": score.scale or None,
                    "of": source.said or None,
                },
            )
        )
    return found


def _number(value: Any) -> float:
    """A value of a table as a number: of a date its days since 1970, NaN of a text.

    >>> _number(True), _number(datetime.datetime(1970, 1, 2, 12)), _number("red")
    (1.0, 1.5, nan)
    """
    if isinstance(value, datetime.datetime):
        return (value.replace(tzinfo=None) - datetime.datetime(1970, 1, 1)) / datetime.timedelta(days=1)
    return float(value) if isinstance(value, bool | int | float) else math.nan


def _soft(network: TabularNet, encoded: Any) -> dict[str, np.ndarray]:
    """Encoded rows with shares of categories instead of their codes."""
    return {
        name: np.asarray(network.categorical.shares(values) if name == "categorical" else values, np.float32)
        for name, values in encoded.items()
    }


def _whole(trained: Trained) -> str:
    """What answers, in words."""
    if trained.instead is not None:
        return "the simple model in the network's place"
    return f"the whole model ({trained.mixture})" if trained.mixture else "the whole model"
