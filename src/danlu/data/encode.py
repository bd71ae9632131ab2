"""A table to the arrays that a network takes, fitted on training rows only."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from danlu.data.check import check_given
from danlu.data.dates import DATE_PARTS, date_parts, useful_parts
from danlu.data.fields import Field, column_fields
from danlu.data.infer import canonical
from danlu.data.levels import LevelCoder, prefixes
from danlu.data.records import record_frame
from danlu.data.remembered import Memory, Parts
from danlu.data.scaling import SCALINGS, NumericScaler
from danlu.data.schema import Column, Schema
from danlu.data.words import WordPresence
from danlu.errors import ArtifactError, ConfigError, DataError, SchemaError, unknown_name

__all__ = ["TableEncoder"]

_MAX_TEXT = 256


@dataclasses.dataclass(frozen=True, eq=False)
class TableEncoder:
    """Encodes the used columns of a table; build it with :meth:`fit` or :meth:`from_state`.

    - numeric columns and the parts of date-times: scaled, gaps filled with the median, an indicator column for each
      column that had gaps in training (see :class:`~danlu.data.scaling.NumericScaler`);
    - categorical and boolean columns: codes, 0 for unknown or rare (see :class:`~danlu.data.levels.LevelCoder`). A
      column in which more than a tenth of the rows are rare levels (ticket numbers, cabins) gets a second column of
      codes, for the prefixes of its values;
    - text: presence of frequent words.

    Attributes:
        schema: the schema fitted to.
        dates: the names of the parts of each date-time column.
        scaler: scales the numeric columns and date-time parts; None when there are none.
        levels: ``(column, "whole" | "prefix", coder)`` for each categorical output column.
        words: ``(column, vocabulary)`` for each text column.

    Example:
        >>> from danlu.data import infer_schema
        >>> frame = pl.DataFrame({"age": [20.0, 40.0, None], "city": ["Bern", "Oslo", "Bern"], "y": [0, 1, 1]})
        >>> encoder = TableEncoder.fit(frame, infer_schema(frame, target="y"), min_count=1)
        >>> encoded = encoder.transform(frame)
        >>> encoder.numeric_names, encoded["numeric"].shape
        (('age', 'age:missing'), (3, 2))
        >>> encoded["categorical"].tolist(), encoder.cardinalities
        ([[1], [2], [1]], (3,))
    """

    schema: Schema
    dates: tuple[tuple[str, tuple[str, ...]], ...]
    scaler: NumericScaler | None
    levels: tuple[tuple[str, str, LevelCoder], ...]
    words: tuple[tuple[str, WordPresence], ...]

    @classmethod
    def fit(
        cls,
        frame: pl.DataFrame,
        schema: Schema,
        *,
        scaling: str = "standard",
        min_count: int = 3,
        max_categories: int = 512,
        max_words: int = 128,
    ) -> TableEncoder:
        """Fit to training rows.

        Args:
            frame: the training rows, and no others.
            schema: the schema of the table.
            scaling: how numbers are scaled: ``"standard"``, ``"robust"`` or ``"quantile"``.
            min_count: rows below which a level is "unknown", >= 1.
            max_categories: the most levels of a column that get codes of their own, >= 1.
            max_words: the most words of a text column, >= 0; all text columns together have 256 at most.
        """
        if scaling not in SCALINGS:
            raise unknown_name("scaling", scaling, SCALINGS)
        for name, value, least in (
            ("min_count", min_count, 1),
            ("max_categories", max_categories, 1),
            ("max_words", max_words, 0),
        ):
            if value < least:
                raise ConfigError(f"{name} is {value}; expected a whole number >= {least}")
        if frame.height == 0:
            raise DataError("the encoder was given no rows to fit to")
        frame = _prepared(frame, schema)
        dates = tuple((c.name, useful_parts(frame[c.name])) for c in schema.of_kind("datetime"))
        matrix = _numeric_matrix(frame, schema, dates)
        levels: list[tuple[str, str, LevelCoder]] = []
        for column in schema.features:
            values = frame[column.name]
            if column.kind == "boolean":
                coder = LevelCoder(("false", "true"), values.null_count() > 0)
                levels.append((column.name, "whole", coder))
            elif column.kind == "categorical":
                coder = LevelCoder.fit(values, min_count=min_count, max_levels=max_categories, merged=column.merged)
                levels.append((column.name, "whole", coder))
                rare = (coder.transform(values) == 0).sum()
                if rare > 0.1 * max(values.len() - values.null_count(), 1):
                    short = LevelCoder.fit(prefixes(values), min_count=min_count, max_levels=max_categories)
                    if len(short.levels) >= 2:
                        levels.append((column.name, "prefix", short))
        texts = schema.of_kind("text")
        share = min(max_words, _MAX_TEXT // max(len(texts), 1))
        words = tuple((c.name, WordPresence.fit(frame[c.name], max_words=share)) for c in texts)
        words = tuple((name, vocabulary) for name, vocabulary in words if vocabulary.words)
        # The parts of a date-time are missing together: one indicator, that of its time, says so.
        flagged = [True] * len(schema.of_kind("numeric")) + [part == "time" for _, parts in dates for part in parts]
        scaler = NumericScaler.fit(matrix, scaling=scaling, flagged=np.asarray(flagged)) if flagged else None
        if scaler is None and not levels and not words:
            raise DataError(
                "no column of the training rows can be encoded",
                hint='say what a column is: data.kinds={"NAME": "numeric"} (or categorical)',
            )
        return cls(schema, dates, scaler, tuple(levels), words)

    @property
    def numeric_names(self) -> tuple[str, ...]:
        """A name for each column of ``"numeric"``."""
        if self.scaler is None:
            return ()
        names = [c.name for c in self.schema.of_kind("numeric")]
        names += [f"{name}:{part}" for name, parts in self.dates for part in parts]
        return (*names, *(f"{names[j]}:missing" for j in np.flatnonzero(self.scaler.indicators)))

    @property
    def categorical_names(self) -> tuple[str, ...]:
        """A name for each column of ``"categorical"``."""
        return tuple(name if form == "whole" else f"{name}:prefix" for name, form, _ in self.levels)

    @property
    def text_names(self) -> tuple[str, ...]:
        """A name for each column of ``"text"``."""
        return tuple(f"{name}:{word}" for name, vocabulary in self.words for word in vocabulary.words)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """The number of codes of each column of ``"categorical"``, code 0 included."""
        return tuple(coder.cardinality for _, _, coder in self.levels)

    @property
    def in_shape(self) -> dict[str, tuple[int, ...]]:
        """The shape of one encoded row, as layers take it."""
        sizes = (len(self.numeric_names), len(self.levels), len(self.text_names))
        return {name: (n,) for name, n in zip(("numeric", "categorical", "text"), sizes, strict=True) if n}

    @property
    def sources(self) -> dict[str, np.ndarray]:
        """The place in ``schema.features`` of the column that each encoded column comes from, for each array of :meth:`transform`."""
        place = {column.name: number for number, column in enumerate(self.schema.features)}
        numeric = [column.name for column in self.schema.of_kind("numeric")]
        numeric += [name for name, parts in self.dates for _ in parts]
        if self.scaler is not None:
            numeric += [numeric[j] for j in np.flatnonzero(self.scaler.indicators)]
        named = {
            "numeric": numeric,
            "categorical": [name for name, _, _ in self.levels],
            "text": [name for name, vocabulary in self.words for _ in vocabulary.words],
        }
        return {array: np.array([place[name] for name in names]) for array, names in named.items() if names}

    def transform(self, frame: pl.DataFrame) -> dict[str, np.ndarray]:
        """Encode rows; a row's code does not depend on the other rows.

        Returns:
            ``"numeric"`` float32 ``(rows, n)``, ``"categorical"`` int32 ``(rows, c)`` and ``"text"`` float32
            ``(rows, t)``, each only when it has columns. Never NaN or infinite.

        Raises:
            SchemaError: a column is missing (see :func:`danlu.data.check_frame` for a full check).
        """
        found = self._memory.parts(frame)
        if found is None:
            found = self._parts(_prepared(frame, self.schema))
            self._memory.learn_parts(frame, found)
        matrix, codes, words = found
        encoded: dict[str, np.ndarray] = {}
        if self.scaler is not None:
            encoded["numeric"] = self.scaler.transform(matrix)
        if self.levels:
            encoded["categorical"] = np.stack(codes, axis=1)
        if self.words:
            encoded["text"] = np.concatenate(words, axis=1)
        return encoded

    def _parts(self, frame: pl.DataFrame) -> Parts:
        """What the encoded rows are put together from, as whole columns; ``frame`` is :func:`_prepared`."""
        codes = [
            coder.transform(frame[name] if form == "whole" else prefixes(frame[name]))
            for name, form, coder in self.levels
        ]
        words = [vocabulary.transform(frame[name]) for name, vocabulary in self.words]
        return _numeric_matrix(frame, self.schema, self.dates), codes, words

    def numbers(self, frame: pl.DataFrame) -> np.ndarray:
        """``(rows, columns)`` float64 of the numeric columns and the parts of date-times, as they are; NaN for gaps and infinities."""
        return _numeric_matrix(_prepared(frame, self.schema), self.schema, self.dates)

    @functools.cached_property
    def _memory(self) -> Memory:
        return Memory(
            self.schema, dict(self.dates), [name for name, _, _ in self.levels], [name for name, _ in self.words]
        )

    @functools.cached_property
    def fields(self) -> tuple[Field, ...]:
        """The columns that the model sees."""
        return column_fields(self.schema.features)

    def rows(self, records: Sequence[Mapping[str, Any]], say: Callable[[str], None]) -> pl.DataFrame:
        """Records as a checked frame; a null is missing.

        Raises:
            SchemaError: a value that does not fit its column.
        """
        given = {column.name: [record[column.name] for record in records] for column in self.schema.features}
        known = {column.name: self._memory.values(column, given[column.name]) for column in self.schema.features}
        left = tuple(column for column in self.schema.features if known[column.name] is None)
        if left:
            checked = self._checked(left, {column.name: given[column.name] for column in left}, say)
            known |= {column.name: checked[column.name] for column in left}
        return pl.DataFrame([values for values in known.values() if values is not None])

    def _checked(
        self, columns: tuple[Column, ...], given: Mapping[str, list[Any]], say: Callable[[str], None]
    ) -> pl.DataFrame:
        """Fields of records, checked as those of a file are; those about which nothing is said are remembered."""
        frame = record_frame(columns, given)
        checked, notices = check_given(frame, dataclasses.replace(self.schema, columns=columns))
        for notice in notices:
            say(notice)
        if not notices:
            self._memory.learn_values(frame, checked)
        return checked

    def bins(self, count: int) -> np.ndarray:
        """Quantile bin edges of the encoded numeric columns, ``(n, count + 1)`` float32; see :class:`NumericScaler`."""
        if count < 1:
            raise ConfigError(f"count is {count}; expected a whole number >= 1")
        return np.zeros((0, count + 1), np.float32) if self.scaler is None else self.scaler.bins(count)

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The encoder as plain JSON data and a dict of arrays."""
        settings, arrays = self.scaler.state() if self.scaler is not None else (None, {})
        data = {
            "kind": "table",
            "schema": self.schema.to_json(),
            "dates": [[name, list(parts)] for name, parts in self.dates],
            "scaler": settings,
            "levels": [[name, form, coder.to_json()] for name, form, coder in self.levels],
            "words": [[name, list(vocabulary.words)] for name, vocabulary in self.words],
        }
        return data, arrays

    @classmethod
    def from_state(cls, data: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> TableEncoder:
        """The inverse of :meth:`state`.

        Raises:
            ArtifactError: the data is not an encoder.
        """
        try:
            encoder = cls(
                schema=Schema.from_json(data["schema"]),
                dates=tuple((name, tuple(parts)) for name, parts in data["dates"]),
                scaler=None if data["scaler"] is None else NumericScaler.from_state(data["scaler"], arrays),
                levels=tuple((name, form, LevelCoder.from_json(body)) for name, form, body in data["levels"]),
                words=tuple((name, WordPresence(tuple(words))) for name, words in data["words"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(f"the saved encoder is not valid: {error}") from error
        encoder._check()
        return encoder

    def _check(self) -> None:
        """Refuse parts that do not belong together."""
        used = {column.name: column.kind for column in self.schema.features}
        named = [
            *(name for name, _ in self.dates),
            *(name for name, _, _ in self.levels),
            *(name for name, _ in self.words),
        ]
        unknown = [name for name in named if not isinstance(name, str) or name not in used]
        parts = [part for _, parts in self.dates for part in parts]
        columns = len(self.schema.of_kind("numeric")) + len(parts)
        if (
            unknown
            or any(part not in DATE_PARTS for part in parts)
            or any(form not in ("whole", "prefix") for _, form, _ in self.levels)
            or any(not isinstance(word, str) for _, vocabulary in self.words for word in vocabulary.words)
            or columns != (0 if self.scaler is None else self.scaler.center.size)
        ):
            raise ArtifactError("the saved encoder is not valid: its parts do not fit its schema")


def _prepared(frame: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """The used columns, each in the type of its kind; booleans as texts."""
    missing = [c.name for c in schema.features if c.name not in frame.columns]
    if missing:
        raise SchemaError(
            f"the data lacks the columns {', '.join(map(repr, missing))}", hint="give a table with the same columns"
        )
    frame = canonical(frame.select([c.name for c in schema.features]), source="the frame")
    columns = []
    for column in schema.features:
        values = column.read(frame[column.name])
        columns.append(values.cast(pl.String) if column.kind == "boolean" else values)
    return pl.DataFrame(columns)


def _numeric_matrix(frame: pl.DataFrame, schema: Schema, dates: tuple[tuple[str, tuple[str, ...]], ...]) -> np.ndarray:
    """``(rows, columns)`` float64 of the numeric columns and date-time parts; NaN for gaps and infinities."""
    numeric = schema.of_kind("numeric")
    width = len(numeric) + sum(len(names) for _, names in dates)
    matrix = np.empty((frame.height, width), order="F")  # a column at a time is written, and looked at when fitting
    for j, column in enumerate(numeric):
        values = frame[column.name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        matrix[:, j] = np.where(np.isfinite(values), values, np.nan)
    j = len(numeric)
    for name, names in dates:
        matrix[:, j : j + len(names)] = date_parts(frame[name], names)
        j += len(names)
    return matrix
