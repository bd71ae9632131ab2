"""What would have to be different in a row of a table for another answer."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import polars as pl

from danlu.errors import ConfigError, unknown_name
from danlu.evaluate.intervals import figure
from danlu.explain import counterfactuals
from danlu.explained.answer import Block
from danlu.explained.asked import Asked
from danlu.explained.near import Nearness
from danlu.explained.score import answers_of
from danlu.explained.view import cell, plain_value
from danlu.prose import wrapped
from danlu.trained import Trained

__all__ = ["Changes", "changes_of", "fitted_rows"]

_QUANTILES = 12  # values of a numeric column that are tried
_LEVELS = 20  # of a categorical column, the most frequent ones
_FINER = 16


def fitted_rows(trained: Trained, frame: pl.DataFrame) -> pl.DataFrame:
    """Rows with the used columns alone, each in the type of its kind."""
    return frame.select(
        column.read(frame[column.name]).alias(column.name) for column in trained.encoder.schema.features
    )


def changes_of(trained: Trained, frame: pl.DataFrame, asked: Asked) -> list[list[dict[str, Any]]]:
    """What would change the answer of each row of a table, as plain data, without anything else of its explanation.

    Args:
        frame: checked rows, as the encoder takes them.

    Raises:
        ConfigError: there is no background, or a column or an answer that there is not.
    """
    if asked.background is None or not asked.background.height:
        raise no_background()
    changes, own = Changes(trained, fitted_rows(trained, asked.background), asked), fitted_rows(trained, frame)
    inputs = trained.encoder.transform(frame)
    rows = (jax.tree.map(lambda leaf: leaf[place : place + 1], inputs) for place in range(frame.height))  # noqa: B023
    return [changes.of(own[place], answers_of(trained, row))[1] for place, row in enumerate(rows)]


def no_background() -> ConfigError:
    """The error where there are no rows to compare with."""
    return ConfigError(
        "there are no rows to compare an answer with: what a column adds is said beside other rows",
        hint="give some that are like those of the training, such as its file: --background FILE (in Python background=…)",
    )


class Changes:
    """Looks for changes of single rows that get another answer.

    Args:
        trained: a model of a table.
        rows: training rows, which say which values there are, and what a plausible row is.
        asked: what may not be changed, and what is to be reached.

    Raises:
        ConfigError: a column or an answer that there is not.
    """

    def __init__(self, trained: Trained, rows: pl.DataFrame, asked: Asked) -> None:
        self.trained, self.asked, self.rows = trained, asked, rows
        schema = trained.encoder.schema
        names = [column.name for column in schema.features]
        for name in asked.keep:
            if name not in names:
                raise unknown_name("column to keep", name, names)
        self.columns = [
            column
            for column in schema.features
            if column.name not in asked.keep
            and (column.kind in ("numeric", "boolean") or (column.kind == "categorical" and not column.is_open))
        ]
        self.near = Nearness(rows.select(column.name for column in schema.features), schema)
        self.wanted = _wanted(trained, asked.to)

    def of(self, row: pl.DataFrame, answers: Any) -> tuple[Block | None, list[dict[str, Any]]]:
        """The changes of one row, as a part of its explanation and as plain data.

        Args:
            row: the one row, see :func:`fitted_rows`.
            answers: the model's answer for it, as the head gives it.
        """
        if self.wanted is None and self.trained.task == "regression":
            return None, []
        own, head = row.row(0, named=True), self.trained.head
        code = None if self.trained.task == "regression" else int(head.decide(np.asarray(answers))[0])
        wanted = self.wanted or _Other(code or 0)
        if wanted.margin(head, answers)[0] >= 0:
            line = f"  It is answered so already: {wanted.said(head)}."
            return Block("What would change the answer", (line,), f"<p>{html.escape(line)}</p>"), []
        options = {column.name: self._options(column, own[column.name]) for column in self.columns}
        limit = max(self.near.limit, float(self.near.distance(row)[0]))

        def frame(changes: Sequence[Any]) -> pl.DataFrame:
            whole = row[[0] * len(changes)]
            changed = {name for each in changes for name in each}
            return whole.with_columns(
                pl.Series(
                    name,
                    [each.get(name, own[name]) for each in changes],
                    dtype=pl.Float64 if name in self.near.widths else row.schema[name],
                )
                for name in changed
            )

        def margin(changes: Sequence[Any]) -> np.ndarray:
            return wanted.margin(head, answers_of(self.trained, self.trained.encoder.transform(frame(changes))))

        found = counterfactuals(
            margin,
            {name: each for name, each in options.items() if each},
            plausible=lambda changes: self.near.distance(frame(changes)) <= limit + 1e-9,
            finer=lambda name, near, far: self._finer(name, own[name], near, far),
            most=self.asked.changes,
        )
        lines, data = [], []
        for change in found:
            changed = frame([change.values])
            said = self.trained.predict(changed, lenient=True, say=lambda notice: None)
            if not wanted.given(head, said[head.name][0]):  # never shown without this
                continue
            words = ", ".join(f"{name}: {cell(own[name])} → {cell(value)}" for name, value in change.values.items())
            told = said.row(0, named=True)
            lines.append(f"{words}: then {_answer(head, told)}")
            data.append(
                {
                    "changes": {name: plain_value(value) for name, value in change.values.items()},
                    "answer": told,
                    "cost": round(change.cost, 6),
                }
            )
        kept = [column.name for column in self.trained.encoder.schema.features if column not in self.columns]
        within = (
            f"up to {self.asked.changes} changes, to values within those of the training rows, and no rarer a row than 19 of 20 of them"
            + (f"; not changed: {', '.join(kept[:6])}{', …' if len(kept) > 6 else ''}" if kept else "")
        )
        title = f"What would change the answer to {wanted.said(head)}"
        if not lines:
            said_none = f"none within these limits: {within}"
            return Block(title, (wrapped(f"  {said_none}", indent="  "),), f"<p>{html.escape(said_none)}</p>"), []
        listed = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
        shown = [wrapped(f"  {place}. {line}", indent="     ") for place, line in enumerate(lines, 1)]
        return Block(
            title,
            (*shown, wrapped(f"  ({within})", indent="  ")),
            f"<ol>{listed}</ol><p class='note'>{html.escape(within)}</p>",
        ), data

    def _options(self, column: Any, own: Any) -> list[tuple[Any, float]]:
        values = self.rows[column.name].drop_nulls()
        if not values.len():
            return []
        if column.kind != "numeric":
            counts = values.value_counts(sort=True)
            return [(value, 1.0) for value in counts[column.name].head(_LEVELS).to_list() if value != own]
        known = values.cast(pl.Float64).to_numpy()
        chosen = np.unique(np.quantile(known, np.linspace(0, 1, _QUANTILES), method="nearest")).tolist()
        return [(self._as(column, value), self._cost(column.name, own, value)) for value in chosen if value != own]

    def _finer(self, name: str, own: Any, near: Any, far: Any) -> list[tuple[Any, float]]:
        """Values from beyond one to another one, the nearest first: of training rows where there are some, else written as theirs are."""
        column = self.trained.encoder.schema[name]
        if column.kind != "numeric" or own is None:
            return []
        start = float(own if near is None else near)
        low, high = sorted((start, float(far)))
        known = self.rows[name].drop_nulls().cast(pl.Float64).unique().sort().to_numpy()
        inside = known[(known > low) & (known < high)]
        if not len(inside):
            inside = np.unique(np.round(np.linspace(low, high, _FINER + 2)[1:-1], self._digits(name)))
            inside = inside[(inside > low) & (inside < high)]
        if len(inside) > _FINER:
            inside = inside[np.linspace(0, len(inside) - 1, _FINER).round().astype(int)]
        way = sorted({*inside.tolist(), float(far)}, key=lambda each: abs(each - start))
        return [(self._as(column, each), self._cost(name, own, each)) for each in way]

    def _digits(self, name: str) -> int:
        """Digits after the point that nearly all values of a column do with, at most those of a thousandth of its width."""
        known = self.rows[name].drop_nulls().cast(pl.Float64).to_numpy()
        most = max(0, math.ceil(-math.log10(self.near.widths[name] / 1000)))
        return next((digits for digits in range(most) if (np.round(known, digits) == known).mean() > 0.95), most)

    def _as(self, column: Any, value: float) -> Any:
        return int(value) if self.rows.schema[column.name].is_integer() else float(value)

    def _cost(self, name: str, own: Any, value: float) -> float:
        return 1.0 if own is None else abs(value - float(own)) / self.near.widths[name]


class _Other:
    """Any class but one."""

    def __init__(self, code: int) -> None:
        self.code = code

    def margin(self, head: Any, answers: Any) -> np.ndarray:
        p = np.asarray(answers)
        return np.where(np.asarray(head.decide(p)) != self.code, 1.0, -p[:, self.code])

    def given(self, head: Any, answer: Any) -> bool:
        return str(answer) != str(head.target.labels[self.code])

    def said(self, head: Any) -> str:
        names = [name for place, name in enumerate(head.target.classes) if place != self.code]
        return f"{head.name} = {names[0]}" if len(names) == 1 else f"another {head.name}"


class _Class:
    """One class."""

    def __init__(self, code: int) -> None:
        self.code = code

    def margin(self, head: Any, answers: Any) -> np.ndarray:
        p = np.asarray(answers)
        return np.where(np.asarray(head.decide(p)) == self.code, 1.0, p[:, self.code] - 1.0)

    def given(self, head: Any, answer: Any) -> bool:
        return str(answer) == str(head.target.labels[self.code])

    def said(self, head: Any) -> str:
        return f"{head.name} = {head.target.classes[self.code]}"


class _Beyond:
    """A quantity of at least, or at most, a value."""

    def __init__(self, sign: int, bound: float) -> None:
        self.sign, self.bound = sign, bound

    def margin(self, head: Any, answers: Any) -> np.ndarray:
        return self.sign * (np.asarray(answers, np.float64) - self.bound)

    def given(self, head: Any, answer: Any) -> bool:
        return bool(self.sign * (float(answer) - self.bound) >= 0)

    def said(self, head: Any) -> str:
        return f"{head.name} {'≥' if self.sign > 0 else '≤'} {figure(self.bound, 6)}"


def _wanted(trained: Trained, to: str | None) -> Any:
    target = trained.head.target
    if to is None:
        return None
    if trained.task != "regression":
        if str(to) not in target.classes:
            raise unknown_name("class to reach", to, target.classes)
        return _Class(target.classes.index(str(to)))
    sign, rest = (
        (1 if to.strip().startswith(">") else -1 if to.strip().startswith("<") else 0),
        to.strip().lstrip("<>="),
    )
    try:
        bound = float(rest)
    except ValueError:
        sign, bound = 0, 0.0
    if not sign:
        raise ConfigError(f"the quantity to reach is {to!r}; expected such as '>=200' or '<=200'")
    return _Beyond(sign, bound)


def _answer(head: Any, told: dict[str, Any]) -> str:
    value = told[head.name]
    shown = figure(value) if isinstance(value, float) and not head.target.classes else str(value)
    p = told.get(f"probability {value}")
    return f"{head.name} = {shown}" + (f" (probability {figure(p, 3)})" if isinstance(p, float) else "")
