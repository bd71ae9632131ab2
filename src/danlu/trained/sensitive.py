"""The columns of rows by which a model is judged: groups by sensitive ones, which it need not see, and slices by all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from danlu.data.kinds import FREE
from danlu.errors import ConfigError, unknown_name
from danlu.evaluate.groups import Groups

__all__ = ["column_of", "groups_by", "sensitive_names", "sliced_columns"]


def sensitive_names(names: str | Sequence[str]) -> tuple[str, ...]:
    """The columns of ``"sex,race"`` or of a list, each once.

    >>> sensitive_names("sex, race"), sensitive_names(["age"])
    (('sex', 'race'), ('age',))

    Raises:
        ConfigError: a name that is empty.
    """
    given = names.split(",") if isinstance(names, str) else list(names)
    found = tuple(dict.fromkeys(str(each).strip() for each in given))
    if not all(found):
        raise ConfigError(f"the sensitive columns are {names!r}; expected names of columns, such as sex,race")
    return found


def column_of(frame: pl.DataFrame, name: str, schema: Any = None) -> pl.Series:
    """A column in the type of its kind: as the schema reads it, or numbers where all of its texts are numbers.

    Raises:
        ConfigError: there is no such column.
    """
    if name not in frame.columns:
        raise unknown_name("sensitive column", name, frame.columns)
    values = frame[name]
    if schema is not None and name in schema.names:
        return schema[name].read(values).alias(name)
    if isinstance(values.dtype, pl.Categorical | pl.Enum) or values.dtype == pl.Boolean:
        return values.cast(pl.String)
    if values.dtype == pl.String:
        known = values.str.strip_chars()
        known = known.set(known == "", None)
        numbers = known.cast(pl.Float64, strict=False)
        return numbers if numbers.null_count() == known.null_count() and numbers.null_count() < len(numbers) else known
    return values


def sliced_columns(frame: pl.DataFrame, schema: Any, target: str, more: Sequence[str] = ()) -> pl.DataFrame:
    """The columns by which slices are found, each in the type of its kind.

    Args:
        frame: rows as they were read.
        schema: of a table: its features are taken; None takes all columns but the target.
        target: what is predicted.
        more: further columns, such as sensitive ones, where the frame has them.
    """
    if schema is None:
        names = [name for name in frame.columns if name != target]
    else:
        own = [column.name for column in schema.features if column.kind not in FREE]
        names = [name for name in dict.fromkeys([*own, *more]) if name in frame.columns and name != target]
    return pl.DataFrame([column_of(frame, name, schema).alias(name) for name in names])


def groups_by(
    frame: pl.DataFrame,
    names: Sequence[str],
    *,
    limits: Mapping[str, Sequence[float]] | None = None,
    schema: Any = None,
) -> tuple[Groups, ...]:
    """The groups of rows by each column, and by all of them together where there are several.

    Args:
        frame: the rows, as they were read.
        names: of the columns.
        limits: between the groups of numbers, by column.
        schema: of the table that the model was trained on.

    Raises:
        ConfigError: a column that is not there, or that has no groups.
    """
    limits = limits or {}
    found = tuple(Groups.of(column_of(frame, name, schema), limits.get(name)) for name in names)
    return (*found, Groups.crossed(found)) if len(found) > 1 else found
