"""What a model was asked, from a log of ``danlu serve --log-inputs`` or from any file of rows."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from danlu.data import read_table
from danlu.data.check import check_frame
from danlu.data.records import plain_column
from danlu.errors import ConfigError, DanluError, DataError, SchemaError, unknown_name
from danlu.trained import Say, Trained
from danlu.trained.sensitive import column_of

__all__ = ["Asked", "read_asked"]

INPUTS, MOMENT, IDENTIFIER, MODEL = "inputs", "time", "request", "model"  # of a line of the log
_MOST_BAD = 1000


@dataclasses.dataclass(frozen=True, eq=False)
class Asked:
    """Rows that a model was asked, in the order of time where it is known.

    Attributes:
        rows: as the encoder takes them.
        truth: what is true of each, as the head takes it, where it is known (``known``); None where nothing is known.
        known: which rows the truth is known of, ``(rows,)``.
        moments: the time of each, or None.
        refused: of each row that could not be read why not, in words.
        notices: what is to be said of the others.
    """

    rows: Any
    truth: np.ndarray | None
    known: np.ndarray
    moments: tuple[str, ...] | None = None
    refused: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.known)


def read_asked(
    trained: Trained,
    source: str,
    *,
    truth: str | None = None,
    key: str = IDENTIFIER,
    model: str | None = None,
    say: Say = print,
) -> Asked:
    """The rows of a log or of a file.

    Args:
        source: JSON lines, each an object with ``inputs`` (a record as ``respond`` takes it, or a list of them), and perhaps ``time``
            (ISO 8601) and
            ``request``, an identifier (of several records ``ID/1``, ``ID/2``, …); or any data that the model predicts, which may have
            the true
            answers.
        truth: a table of true answers that came later: the column ``key``, and the target.
        model: the name that the model is asked by, where the log has several.

    Raises:
        DataError: a file that is neither, or a log of several models without a name.
    """
    lines, broken = _lines(source, key)
    if lines is None:
        if model is not None:
            raise ConfigError(f"{source} is no log of danlu serve, whose lines name a model; leave --model out")
        if truth is not None:
            raise ConfigError(
                f"{source} is no log of danlu serve, whose lines have an {key!r} that true answers could be joined by",
                hint="put the true answers into the file, as a column of the target's name",
            )
        found = _with_truth(trained, source, say)
        known = np.zeros(len(found.rows), bool) if found.truth is None else _there(found.truth)
        return Asked(found.rows, found.truth, known)
    lines = _of_model(source, lines, model)
    answers = {} if truth is None else _answers(trained, truth, key)
    moments = [line.get(MOMENT) for line in lines]
    if all(isinstance(moment, str) for moment in moments):
        try:
            order = np.argsort([_seconds(str(moment)) for moment in moments], kind="stable")
        except ValueError as error:
            raise DataError(
                f"{source} has a time that cannot be read: {error}", hint="such as 2026-11-30T12:00:00Z"
            ) from error
        lines = [lines[place] for place in order]
        stamps: tuple[str, ...] | None = tuple(str(line[MOMENT]) for line in lines)
    else:
        stamps = None
    name = trained.head.name
    true = [answers.get(str(line.get(key)), line[INPUTS].get(name) if name else None) for line in lines]
    if answers and not any(str(line.get(key)) in answers for line in lines):
        raise DataError(
            f"no {key!r} of {truth} is one of {source}",
            hint=f"such as {str(lines[0].get(key))!r}; --id names the column",
        )
    found = _asked(trained, [line[INPUTS] for line in lines], true, stamps)
    notices = (
        [f"{source}: {len(broken):,} lines are no lines of a log and are left out; the first is line {broken[0]:,}"]
        if broken
        else []
    )
    if stamps is None and any(moment is not None for moment in moments):
        lost = sum(not isinstance(moment, str) for moment in moments)
        notices.append(f"{lost:,} of {len(lines):,} rows have no {MOMENT!r}, so all stand in the order of the file")
    return dataclasses.replace(found, notices=(*notices, *found.notices))


def _of_model(source: str, lines: list[dict[str, Any]], model: str | None) -> list[dict[str, Any]]:
    """The lines of one model; what another was asked would be counted as this one's."""
    names = sorted({str(line[MODEL]) for line in lines if line.get(MODEL) is not None})
    if model is None and len(names) > 1:
        raise ConfigError(
            f"{source} has rows of {len(names)} models: {', '.join(map(repr, names[:8]))}",
            hint=f"say which one is meant: --model {names[0]}",
        )
    if model is not None and model not in names:
        raise unknown_name("model of the log", model, names)
    return lines if model is None else [line for line in lines if line.get(MODEL) == model]


def _asked(
    trained: Trained, records: Sequence[Mapping[str, Any]], true: Sequence[Any], moments: tuple[str, ...] | None
) -> Asked:
    rows, kept, refused, notices = _rows_of(trained, records)
    true = [true[place] for place in kept]
    known = np.asarray([value is not None for value in true], bool)
    target = getattr(trained.head, "target", None)
    truth = None
    if known.any() and target is not None:
        values = pl.Series(trained.head.name, [value for value in true if value is not None], strict=False)
        read = _target_read(trained, values)
        if read.null_count():
            bad = values.filter(read.is_null())
            raise DataError(
                f"{len(bad):,} true answers cannot be read as {trained.head.name!r}, the first is {bad[0]!r}",
                hint="leave the field empty where the truth is not known",
            )
        codes = target.transform(read)
        truth = np.zeros(len(true), codes.dtype)
        truth[known] = codes
    return Asked(
        rows,
        truth,
        known if truth is not None else np.zeros(len(true), bool),
        None if moments is None else tuple(moments[place] for place in kept),
        refused,
        notices,
    )


def _target_read(trained: Trained, values: pl.Series) -> pl.Series:
    """True answers as those of the training data were read."""
    schema = getattr(trained.encoder, "schema", None)
    if schema is None or schema.target is None or values.dtype != pl.String:
        return values
    return pl.Series(schema[schema.target].read(values))


def _rows_of(
    trained: Trained, records: Sequence[Mapping[str, Any]]
) -> tuple[Any, list[int], tuple[str, ...], tuple[str, ...]]:
    """The rows of records, the places of those that fit, what was wrong with the others, and what is to be said."""
    schema = getattr(trained.encoder, "schema", None)
    if schema is not None:  # a value that was never seen is what is looked for
        names = [*dict.fromkeys(name for record in records for name in record)]
        frame = pl.DataFrame([plain_column(name, [record.get(name) for record in records]) for name in names])
        checked, notices = check_frame(frame, schema, lenient=True)
        needed = [field.name for field in trained.head.needs if field.name in frame.columns]
        checked = checked.with_columns(column_of(frame, name, schema) for name in needed)
        return checked, list(range(len(records))), (), notices

    def read(some: Sequence[Mapping[str, Any]]) -> Any:
        return trained.encoder.rows(some, lambda notice: None)

    every = list(range(len(records)))
    try:
        return read(records), every, (), ()
    except SchemaError:
        pass
    fits, wrong = [], []
    for place in every:
        try:
            read([records[place]])
            fits.append(place)
        except (DanluError, KeyError) as error:
            wrong.append(getattr(error, "message", f"{error} is missing"))
            if len(wrong) > _MOST_BAD and not fits:
                break
    if not fits:
        raise DataError(f"none of {len(records):,} rows fits the model; the first: {wrong[0]}")
    return read([records[place] for place in fits]), fits, tuple(wrong), ()


def _with_truth(trained: Trained, source: str, say: Say) -> Any:
    try:
        return trained.read(source, lenient=True, say=say, truth=True)
    except DanluError:
        return trained.read(source, lenient=True, say=say)


def _there(truth: Any) -> np.ndarray:
    return np.ones(len(next(iter(truth.values())) if isinstance(truth, Mapping) else truth), bool)


def _lines(source: str, key: str) -> tuple[list[dict[str, Any]] | None, list[int]]:
    """The lines of a log, and the numbers of those that are none, as one that was cut off is; no lines of another file."""
    path = Path(source)
    if path.suffix not in (".jsonl", ".ndjson", ".json", ".log") or not path.is_file():
        return None, []
    found: list[dict[str, Any]] = []
    broken: list[int] = []
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                each = json.loads(line)
            except ValueError:
                broken.append(number)
                continue
            if isinstance(each, dict) and _are_records(each.get(INPUTS)):
                found += _apart(each, key)
            elif not found:
                return None, []
            else:
                broken.append(number)
    return (found, broken) if found else (None, [])


def _are_records(inputs: Any) -> bool:
    return isinstance(inputs, dict) or (isinstance(inputs, list) and all(isinstance(each, dict) for each in inputs))


def _apart(line: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """A line for each record of a request."""
    inputs = line[INPUTS]
    if isinstance(inputs, dict):
        return [line]
    if len(inputs) == 1:
        return [{**line, INPUTS: inputs[0]}]
    name = line.get(key)
    return [{**line, INPUTS: each, key: f"{name}/{number}"} for number, each in enumerate(inputs, 1)]


def _answers(trained: Trained, truth: str, key: str) -> dict[str, Any]:
    """True answers by the identifier of the row."""
    frame, name = read_table(truth, typed=False).frame, trained.head.name
    lost = [column for column in (key, name) if column not in frame.columns]
    if lost:
        raise DataError(
            f"{truth} has the columns {', '.join(map(repr, frame.columns[:8]))}; expected {key!r} (of the log) "
            f"and {name!r} (the true answer)",
            hint="--id NAME where the identifier is called otherwise",
        )
    said = frame.select(pl.col(key).cast(pl.String), pl.col(name)).drop_nulls(key).unique(maintain_order=True)
    twice = said.filter(said[key].is_duplicated()).sort(key, maintain_order=True)
    if twice.height:
        raise DataError(
            f"{truth} has several answers for {key!r} {twice[key][0]!r}: {twice[name][0]!r} and {twice[name][1]!r}",
            hint="leave one of them in",
        )
    return dict(said.iter_rows())


def _seconds(moment: str) -> float:
    return datetime.datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp()
