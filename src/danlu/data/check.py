"""Checks new data against the schema of the training data: one error for everything that is wrong, or repairs in lenient mode."""

from __future__ import annotations

import datetime

import polars as pl

from danlu.data.infer import canonical
from danlu.data.kinds import as_kind, as_text
from danlu.data.schema import Column, Schema
from danlu.data.spelling import match_names, plain, told
from danlu.errors import SchemaError, nearest

__all__ = ["check_frame", "check_given", "doubts"]

_FAR = 3.0
_YEAR = 365.25 * 86_400.0  # seconds


def check_frame(frame: pl.DataFrame, schema: Schema, *, lenient: bool = False) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Check new rows against the schema that a model was trained on.

    ================================================  ============================  ==============================
    found                                             strict                        lenient
    ================================================  ============================  ==============================
    a column is missing                               error                         filled with missing
    a value has the wrong type (text in a number)     error                         read as missing
    an infinite number                                error                         read as missing
    another spelling of a level (case, white space)   notice, read as the level     notice, read as the level
    a level never seen, few levels in training        error                         treated as unknown
    a level never seen, many levels in training       treated as unknown            treated as unknown
    a number or date far outside the training range   notice                        notice
    an extra column                                   notice, ignored               notice, ignored
    a column's name in another spelling               notice, taken                 notice, taken
    ================================================  ============================  ==============================

    Far means further outside than three times the width of the training range (of dates at least three years). Missing values are
    accepted anywhere.

    Args:
        frame: the new rows; the target may be among its columns.
        schema: the schema of the training data.
        lenient: repair what can be repaired, and say so in the notices.

    Returns:
        the used columns, each in the type of its kind, then the target if it is there; and the notices.

    Raises:
        SchemaError: names every column that does not fit, its first bad rows (counted from 1), and what to do.

    Example:
        >>> from danlu.data import infer_schema
        >>> schema = infer_schema(pl.DataFrame({"age": [31, 45], "y": [0, 1]}), target="y")
        >>> check_frame(pl.DataFrame({"age": ["31", "old"]}), schema, lenient=True)[1]
        ("column 'age': 1 value is not a number: 'old' (row 2); read as missing",)
    """
    if frame.height == 0:
        raise SchemaError("the data has no rows", hint="give at least one row to predict")
    problems: list[str] = []
    frame, respelt = match_names(frame, [column.name for column in schema.features] + [schema.target or ""])
    notices: list[str] = [*respelt]
    lost = [c.name for c in schema.features if c.name not in frame.columns]
    extra = [name for name in frame.columns if name not in schema.names]
    for name in lost:
        close = nearest(name, extra)
        message = f"column {name!r} is missing" + (f" (there is {close!r}; is it the same?)" if close else "")
        problems.append(message)
    if len(lost) == len(schema.features):
        shown = ", ".join(map(repr, frame.columns[:6])) + (", …" if frame.width > 6 else "")
        expected = ", ".join(c.name for c in schema.features[:6]) + (", …" if len(schema.features) > 6 else "")
        raise SchemaError(
            f"the data has none of the columns that the model was trained on; it has {shown}",
            hint=f"expected {expected}; does the file lack its header line?",
        )
    if extra:
        notices.append(
            f"{len(extra)} column{'s' * (len(extra) != 1)} not seen in training ignored: {', '.join(map(repr, extra[:8]))}"
        )
    kept = [c.name for c in schema.features if c.name in frame.columns]
    values_of = canonical(frame.select(kept), source="the data")
    columns = []
    for column in schema.features:
        if column.name in lost:
            empty = pl.Series(column.name, [None] * frame.height, dtype=pl.String)
            columns.append(as_kind(empty, column.kind))
            continue
        columns.append(_checked(values_of[column.name], column, problems, notices))
    if problems and not lenient:
        listed = "\n  - ".join(problems)
        raise SchemaError(
            f"the data does not fit the data that the model was trained on:\n  - {listed}",
            hint="repair the data, or accept it as it is with lenient=True (--lenient): values that do not fit are then treated as missing "
            "or unknown",
        )
    for problem in problems:
        what = "treated as unknown" if "never seen" in problem else "read as missing"
        notices.append(f"{problem}; {'filled with missing values' if 'is missing' in problem else what}")
    checked = pl.DataFrame(columns)
    if schema.target is not None and schema.target in frame.columns:
        checked = checked.with_columns(_truth(frame[schema.target], schema[schema.target]))
    return checked, tuple(notices)


def check_given(frame: pl.DataFrame, schema: Schema) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Records as a frame, checked as :func:`check_frame` checks a file's rows; the hint is for who sends records.

    Raises:
        SchemaError: a value that does not fit its column.
    """
    try:
        return check_frame(frame, schema)
    except SchemaError as error:
        raise SchemaError(error.message, hint="correct the value, or give null for an unknown one") from error


def _truth(values: pl.Series, column: Column) -> pl.Series:
    """The target as its texts were read in training; what is not of their kind stays text, for an evaluation to refuse."""
    if values.dtype != pl.String:
        return column.format.read(canonical(pl.DataFrame([values]), source="the target").to_series())
    texts, read = column.format.read(values, "text"), column.format.read(values)
    return read if read.null_count() == texts.null_count() else as_text(read).fill_null(texts)


def _values(count: int) -> str:
    return f"{count} value{'s' * (count != 1)}"


def _rows(bad: pl.Series, values: pl.Series) -> str:
    rows = bad.arg_true().head(3).to_list()
    shown = ", ".join(f"{_short(values[row])} (row {row + 1})" for row in rows)
    return shown + (", …" if int(bad.sum()) > len(rows) else "")


def _short(value: object) -> str:
    text = value.isoformat(" ") if isinstance(value, datetime.datetime) else repr(value)
    return text if len(text) <= 40 else text[:39] + "…"


def _checked(values: pl.Series, column: Column, problems: list[str], notices: list[str]) -> pl.Series:
    values = column.format.read(values, "text")
    fitted = column.read(values)
    wrong = (values.is_not_null() & fitted.is_null()).rename("wrong")
    if column.kind in ("numeric", "datetime", "boolean") and wrong.any():
        count = int(wrong.sum())
        problem = (
            f"column {column.name!r}: {_values(count)} {'is not' if count == 1 else 'are not'} "
            f"{'a number' if column.kind == 'numeric' else 'a date-time' if column.kind == 'datetime' else 'true or false'}: "
            f"{_rows(wrong, values)}"
        )
        example = _expected(column)
        problems.append(f"{problem}; expected such as {example}" if example else problem)
    if column.kind in ("numeric", "datetime"):
        fitted = _check_numbers(fitted, column, problems, notices)
    elif column.kind == "categorical":
        _check_levels(fitted, column, problems, notices)
    return fitted


def _check_numbers(values: pl.Series, column: Column, problems: list[str], notices: list[str]) -> pl.Series:
    if values.dtype == pl.Float64:
        infinite = values.is_infinite().fill_null(False)
        if infinite.any():
            problems.append(
                f"column {column.name!r}: {_values(int(infinite.sum()))} infinite: {_rows(infinite, values)}"
            )
            values = values.set(infinite, None)
    far = _far(values, column)
    if far is not None and far.any():
        count, shown = _values(int(far.sum())), _rows(far, values)
        notices.append(
            f"column {column.name!r}: {count} far outside {column.extent}, a rough range that noisy counts of private rows gave: {shown}; "
            "this alone is no reason to doubt those rows"
            if column.rough
            else f"column {column.name!r}: {count} far outside the training range {column.extent}: {shown}; do not trust those rows"
        )
    return values


def _far(values: pl.Series, column: Column) -> pl.Series | None:
    """Which values lie far outside the training range; None of a column that has none."""
    if column.minimum is None or column.maximum is None or column.kind not in ("numeric", "datetime"):
        return None
    if column.kind == "datetime":
        numbers, least = values.dt.epoch("us") / 1e6, _YEAR
    else:
        # A column that was 0 everywhere has no width; its own size stands in for it.
        numbers, least = values, max(abs(column.maximum), 1e-12)
    margin = _FAR * max(column.maximum - column.minimum, least)
    return ((numbers < column.minimum - margin) | (numbers > column.maximum + margin)).fill_null(False)


def doubts(frame: pl.DataFrame, schema: Schema) -> list[tuple[str, ...]]:
    """Why the answer to each row is not to be trusted: values far outside the training range, and levels that were never seen.

    Args:
        frame: rows that :func:`check_frame` has let pass.

    Example:
        >>> from danlu.data import infer_schema
        >>> schema = infer_schema(pl.DataFrame({"age": [31, 45], "y": [0, 1]}), target="y")
        >>> doubts(pl.DataFrame({"age": [40, 999]}), schema)
        [(), ('age is 999, far outside the training range 31 … 45: do not trust the answer',)]
    """
    found: list[list[str]] = [[] for _ in range(frame.height)]
    for column in schema.features:
        if column.name not in frame.columns:
            continue
        values = frame[column.name]
        far = None if column.rough else _far(values, column)
        for row in [] if far is None else far.arg_true():
            shown = values[row].isoformat(" ") if column.kind == "datetime" else f"{values[row]:g}"
            found[row].append(
                f"{column.name} is {shown}, far outside the training range {column.extent}: do not trust the answer"
            )
        if column.kind == "categorical" and not column.is_open:
            for row in _unseen(values, column).arg_true():
                found[row].append(
                    f"{column.name} is {_short(values[row])}, which was never seen in training: it is unknown to the model"
                )
    return [tuple(each) for each in found]


def _expected(column: Column) -> str:
    """An example of how a column's values are written, where more than one way comes to mind."""
    if column.kind == "datetime" and column.maximum is not None:
        last = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=column.maximum)
        pattern = next(iter(column.format.patterns), "%Y-%m-%d")
        quarter = str((last.month + 2) // 3)
        return f"{last.strftime(pattern.replace('%q', quarter))} ({pattern})"
    number = column.format.number
    if column.kind == "numeric" and (number.decimal == "," or number.unit):
        example = "1234,5" if number.decimal == "," else "1234.5"
        return " ".join(filter(None, (example, number.unit)))
    return ""


def _unseen(values: pl.Series, column: Column) -> pl.Series:
    """Which levels were never seen, other spellings of those seen aside."""
    unseen = (values.is_not_null() & ~values.is_in(list(column.categories)).fill_null(False)).rename("unseen")
    if column.merged and unseen.any():
        unseen &= ~values.is_in(list(_respelt(values.filter(unseen), column))).fill_null(False)
    return unseen


def _respelt(values: pl.Series, column: Column) -> dict[str, str]:
    """The levels among some values that are other spellings of known ones, with these."""
    known = dict(zip(plain(pl.Series(column.categories, dtype=pl.String)), column.categories, strict=True))
    met = values.unique(maintain_order=True)
    return {level: known[key] for level, key in zip(met, plain(met), strict=True) if key in known}


def _check_levels(values: pl.Series, column: Column, problems: list[str], notices: list[str]) -> None:
    if column.is_open:
        return
    if column.merged:
        new = values.filter(values.is_not_null() & ~values.is_in(list(column.categories)))
        notices += told(values, _respelt(new, column)) if len(new) else []
    unseen = _unseen(values, column)
    if not unseen.any():
        return
    levels = as_text(values.filter(unseen)).unique(maintain_order=True)
    close = nearest(levels[0], column.categories)
    hint = f" (did you mean {close!r}?)" if close else ""
    problems.append(
        f"column {column.name!r}: {len(levels)} level{'s' * (len(levels) != 1)} never seen in training: "
        f"{_rows(unseen, values)}{hint}"
    )
