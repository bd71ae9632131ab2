"""The schema of a table: each column's kind, its values in training, and whether it is used."""

from __future__ import annotations

import dataclasses
import datetime
import html
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from danlu.data.format import Format
from danlu.data.kinds import FREE, KINDS, as_kind, as_levels
from danlu.errors import ArtifactError, DataError, unknown_name
from danlu.language import keep
from danlu.prose import padded, percent, short, wide
from danlu.typed import check_fields, of_type

__all__ = ["Column", "Schema"]

MAX_CATEGORIES = 100
"""Columns with more levels than this are *open*: new levels are expected in new data."""
_LARGEST = 1e15  # of the numbers that are shown with all digits


@dataclasses.dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: its name.
        kind: one of :data:`KINDS`.
        missing: how many rows have no value.
        distinct: how many different values there are.
        minimum, maximum, mean: of a numeric column; a date-time column has seconds since 1970. None otherwise.
        whole: whether a numeric column held whole numbers only.
        categories: the levels of a categorical column, the most frequent first (at most ``MAX_CATEGORIES``, 100).
        examples: a few values, as text.
        used: whether the model sees the column.
        reason: why it has that kind, or why it is not used.
        merged: whether other spellings of a category (case, white space) are read as it; see :mod:`danlu.data.spelling`.
        format: how its texts are written.
        rough: whether the range was found by noisy counts of private rows, and says little of values beyond it.
    """

    name: str
    kind: str
    missing: int
    distinct: int
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    whole: bool = False
    categories: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    used: bool = True
    reason: str = ""
    merged: bool = False
    format: Format = dataclasses.field(default_factory=Format)
    rough: bool = False

    def __post_init__(self) -> None:
        keep((self.name, *self.categories))

    def read(self, values: pl.Series) -> pl.Series:
        """New values of the column, texts or not, in the type of its kind; null where one is missing or does not fit.

        Texts are read as those of the training data were; nothing is guessed again, so that what a value means does not depend
        on the values beside it. Known categories are texts: "1.10" is not 1.1, and False is the level "False".
        """
        if self.kind in ("categorical", *FREE):
            values = self.format.read(values, "text")
            return values if values.dtype == pl.String else as_levels(values, self.categories)
        usual = {"numeric": "number", "datetime": "date", "boolean": "text"}[self.kind]
        written = usual if self.format.written == "text" or self.kind == "boolean" else self.format.written
        if "%Y%m%d" in self.format.patterns and values.dtype.is_integer():  # 20240131, which a frame has as a number
            values = values.cast(pl.String)
        return as_kind(self.format.read(values, written), self.kind)

    @property
    def extent(self) -> str:
        """The least and the greatest value of numbers or of date-times, as text; empty for other columns."""
        if self.minimum is None or self.maximum is None:
            return ""
        if self.kind == "datetime":
            return " … ".join(_moment(end) for end in (self.minimum, self.maximum))
        unit = f" {self.format.number.unit}" if self.format.number.unit else ""
        return " … ".join(_plain(end) for end in (self.minimum, self.maximum)) + unit

    @property
    def is_open(self) -> bool:
        """Whether a categorical column is expected to have new values."""
        return self.kind == "categorical" and self.distinct > len(self.categories)


@dataclasses.dataclass(frozen=True)
class Schema:
    """The columns of a table, in order, with the one to predict.

    Attributes:
        columns: every column, those not used and the target included.
        target: the name of the column to predict, or None.
        rows: how many rows the schema was inferred from.
    """

    columns: tuple[Column, ...]
    target: str | None = None
    rows: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all columns."""
        return tuple(column.name for column in self.columns)

    @property
    def features(self) -> tuple[Column, ...]:
        """The columns that the model sees."""
        return tuple(column for column in self.columns if column.used and column.name != self.target)

    def of_kind(self, kind: str) -> tuple[Column, ...]:
        """The used columns of one kind."""
        return tuple(column for column in self.features if column.kind == kind)

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise unknown_name("column", name, self.names, error=DataError)

    def to_json(self) -> dict[str, Any]:
        """The schema as plain JSON data."""
        columns = []
        for column in self.columns:
            body = {**dataclasses.asdict(column), "format": column.format.to_json()}
            body["categories"], body["examples"] = list(column.categories), list(column.examples)
            if not column.rough:
                del body["rough"]
            columns.append(body)
        return {"target": self.target, "rows": self.rows, "columns": columns}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Schema:
        """The inverse of :meth:`to_json`.

        Raises:
            ArtifactError: the data is not a schema.
        """
        try:
            columns = tuple(_column(body) for body in data["columns"])
            if any(column.kind not in KINDS for column in columns):
                raise ValueError("unknown kind")
            found = cls(columns, data["target"], int(data["rows"]))
            for each in (found, *columns):
                check_fields(each)
            return found
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"the saved schema is not valid: {error}") from error

    def _cells(self) -> list[tuple[str, str, str, str, str]]:
        cells = []
        for column in self.columns:
            role = "target" if column.name == self.target else "" if column.used else "not used"
            missing = percent(column.missing / max(self.rows, 1)) if column.missing else ""
            if column.extent:
                values = column.extent
            elif column.kind == "categorical":
                values = f"{column.distinct}: " + ", ".join(column.categories[:4]) + ", …" * (column.distinct > 4)
            else:
                values = ", ".join(column.examples[:2])
            note = f" ({column.reason})" if role == "not used" and column.reason else ""
            cells.append((column.name, column.kind, missing, role, values + note if not note else note[2:-1]))
        return cells

    def __str__(self) -> str:
        head = ("column", "kind", "missing", "", "values")
        rows = [head, *self._cells()]
        widths = [min(23, max(wide(row[i]) for row in rows)) for i in range(4)]
        room = max(10, 80 - sum(widths) - 8)
        lines = []
        for row in rows:
            left = "  ".join(_fit(row[i], widths[i]) for i in range(4))
            lines.append(f"{left}  {_fit(row[4], room)}".rstrip())
        return "\n".join([f"{self.rows:,} rows, {len(self.columns)} columns, {len(self.features)} used", *lines])

    def _repr_html_(self) -> str:
        def row(cells: Iterable[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        body = "".join(row(cells, "td") for cells in self._cells())
        return f"<table>{row(('column', 'kind', 'missing', '', 'values'), 'th')}{body}</table>"


def _column(body: Mapping[str, Any]) -> Column:
    lists = {name: of_type(body[name], tuple[str, ...]) for name in ("categories", "examples")}
    return Column(**{**body, **lists, "format": Format.from_json(body.get("format"))})


def _plain(value: float) -> str:
    """A number in six digits, or all of a large one."""
    text = f"{value:g}"
    return f"{value:.0f}" if "e+" in text and abs(value) < _LARGEST else text


def _moment(seconds: float) -> str:
    """Seconds since 1970 as a date, with the time where there is one."""
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
    return f"{moment:%Y-%m-%d}" if moment.time() == datetime.time() else f"{moment:%Y-%m-%d %H:%M}"


def _fit(text: str, width: int) -> str:
    return padded(short(text, width), width)
