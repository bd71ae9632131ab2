"""The format of a column's texts: found once, kept in the schema, and used for all later data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import polars as pl

from danlu.data.missing import DEFAULT_MISSING
from danlu.data.moments import DATETIME, DEFAULT_PATTERNS, read_moments
from danlu.data.numbers import NumberStyle, read_numbers
from danlu.errors import ArtifactError
from danlu.typed import MismatchError, check_fields, of_type

__all__ = ["Format", "read_columns"]

_WRITTEN = ("text", "number", "truth", "date")


@dataclasses.dataclass(frozen=True)
class Format:
    """How the texts of a column are written; :func:`danlu.data.read_table` finds it over the whole column.

    Attributes:
        written: ``"text"``, ``"number"``, ``"truth"`` (true and false) or ``"date"``.
        missing: lower-case texts that stand for a missing value.
        codes: numbers that stand for a missing value, such as −999.
        number: how numbers are written.
        patterns: how dates are written, as strptime names it (``%q`` is a quarter); a time of day may follow each.
        pivot: years of two digits from it on are of the last century.

    Example:
        >>> format = Format("number", missing=("", "unknown"), codes=(-999.0,), number=NumberStyle(",", "€"))
        >>> format.read(pl.Series(["1.234,50 €", "unknown", "-999"])).to_list()
        [1234.5, None, None]
    """

    written: str = "text"
    missing: tuple[str, ...] = tuple(text.lower() for text in DEFAULT_MISSING)
    codes: tuple[float, ...] = ()
    number: NumberStyle = dataclasses.field(default_factory=NumberStyle)
    patterns: tuple[str, ...] = ()
    pivot: int = 69

    def present(self, values: pl.Series) -> pl.Series:
        """Texts without surrounding white space, null if they are blank or mean a missing value."""
        stripped = values.str.strip_chars()
        return stripped.set(stripped.str.to_lowercase().is_in(["", *self.missing]).fill_null(False), None)

    def read(self, values: pl.Series, written: str | None = None) -> pl.Series:
        """The parsed values, null where one does not fit; a value's meaning does not depend on the others.

        Args:
            values: texts, or values that have a type, of which only the codes for missing ones are taken out.
            written: what to read, in place of :attr:`written`.
        """
        written = written or self.written
        if values.dtype == pl.String:
            values = self.present(values)
            if written == "number":
                values = read_numbers(values, self.number)
            elif written == "truth":
                values = values.str.to_lowercase().replace_strict(
                    {"true": True, "false": False}, default=None, return_dtype=pl.Boolean
                )
            elif written == "date":
                values = read_moments(values, self.patterns or DEFAULT_PATTERNS, pivot=self.pivot)
        return self._without_codes(values)

    def _without_codes(self, values: pl.Series) -> pl.Series:
        if self.codes and values.dtype.is_numeric():
            return values.set(values.cast(pl.Float64).is_in(list(self.codes)).fill_null(False), None)
        if self.codes and values.dtype == pl.String:
            numbers = values.cast(pl.Float64, strict=False)
            return values.set(numbers.is_in(list(self.codes)).fill_null(False), None)
        if values.dtype.is_temporal():
            codes = pl.Series(list(self.missing), dtype=pl.String).str.to_date("%Y-%m-%d", strict=False).drop_nulls()
            if len(codes):
                return values.set(values.is_in(codes.cast(DATETIME).to_list()).fill_null(False), None)
        return values

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        body = dataclasses.asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in body.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any] | None) -> Format:
        """The inverse of :meth:`to_json`; None, of artifacts that had no formats, is the usual one.

        Raises:
            ArtifactError: the data is not a format.
        """
        if data is None:
            return cls()
        try:
            number = NumberStyle(**data["number"])
            lists = {name: of_type(data[name], tuple) for name in ("missing", "codes", "patterns")}
            found = cls(data["written"], number=number, pivot=data["pivot"], **lists)
            check_fields(found)
            check_fields(number)
        except (KeyError, TypeError, MismatchError) as error:
            raise ArtifactError(f"the saved format of a column is not valid: {error}") from error
        if found.written not in _WRITTEN or number.decimal not in ("", ".", ","):
            raise ArtifactError(f"the saved format of a column is not valid: {str(data)[:200]}")
        return found


def read_columns(frame: pl.DataFrame, formats: Mapping[str, Format]) -> tuple[pl.DataFrame, dict[str, str]]:
    """The columns of a frame, each as its texts were written in training; a column without a format stays as it is.

    Returns:
        the frame; and by name what is wrong with columns of texts that are written in another way, which stay texts.
    """
    columns, problems = [], {}
    for values in frame.get_columns():
        written = formats.get(values.name)
        fitted = values if written is None else written.read(values)
        if written is not None and values.dtype == pl.String:
            bad = written.read(values, "text").is_not_null() & fitted.is_null()
            if bad.any():
                row = int(bad.arg_true()[0])
                problems[values.name] = (
                    f"column {values.name!r}: {values[row]!r} (row {row + 1}) is not "
                    f"{'a number' if written.written == 'number' else 'a date-time' if written.written == 'date' else 'true or false'} "
                    "as those of training"
                )
                fitted = values
        columns.append(fitted)
    return pl.DataFrame(columns), problems
