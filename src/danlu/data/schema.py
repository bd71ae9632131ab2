"""The schema of a table: what each column is, what it held in training, and whether it is used."""

from __future__ import annotations

import dataclasses
import html
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from danlu.data.infer import blank_to_null, canonical, parse_datetimes, parse_numbers
from danlu.errors import ArtifactError, ConfigError, DataError, unknown_name

__all__ = ["KINDS", "Column", "Schema", "as_kind", "infer_schema"]

KINDS = ("numeric", "categorical", "boolean", "datetime", "text", "identifier")
MAX_CATEGORIES = 100
"""Columns with more levels than this are *open*: new levels are expected in new data."""

_ID_NAME = re.compile(r"[a-z](Id|ID)$|(^|[_\W])(id|ID|Id|idx|index|Index|uuid|guid|rownum|row)$|^Unnamed")
_TOKENS = r"[一-鿿぀-ヿ가-힯]|[^\s一-鿿぀-ヿ가-힯]+"
_YES_NO = {"true": True, "false": False, "yes": True, "no": False, "y": True, "n": False, "t": True, "f": False}
_YES_NO |= {"1": True, "0": False, "1.0": True, "0.0": False}


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
        categories: the levels of a categorical column, the most frequent first (at most :data:`MAX_CATEGORIES`).
        examples: a few values, as text.
        used: whether the model sees the column.
        reason: why it has that kind, or why it is not used.
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

    @property
    def is_open(self) -> bool:
        """Whether values never seen before are to be expected in a categorical column."""
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
            body = dataclasses.asdict(column)
            body["categories"], body["examples"] = list(column.categories), list(column.examples)
            columns.append(body)
        return {"target": self.target, "rows": self.rows, "columns": columns}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Schema:
        """The inverse of :meth:`to_json`.

        Raises:
            ArtifactError: the data is not a schema.
        """
        try:
            columns = tuple(
                Column(**{**body, "categories": tuple(body["categories"]), "examples": tuple(body["examples"])})
                for body in data["columns"]
            )
            if any(column.kind not in KINDS for column in columns):
                raise ValueError("unknown kind")
            return cls(columns, data["target"], int(data["rows"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"the saved schema is not valid: {error}") from error

    def _cells(self) -> list[tuple[str, str, str, str, str]]:
        cells = []
        for column in self.columns:
            role = "target" if column.name == self.target else "" if column.used else "not used"
            missing = f"{column.missing / max(self.rows, 1):.0%}" if column.missing else ""
            missing = "<1%" if column.missing and missing == "0%" else missing
            if column.kind == "numeric" and column.minimum is not None and column.maximum is not None:
                values = f"{column.minimum:g} … {column.maximum:g}"
            elif column.kind == "categorical":
                values = f"{column.distinct}: " + ", ".join(column.categories[:4])
            else:
                values = ", ".join(column.examples[:2])
            note = f" ({column.reason})" if role == "not used" and column.reason else ""
            cells.append((column.name, column.kind, missing, role, values + note if not note else note[2:-1]))
        return cells

    def __str__(self) -> str:
        head = ("column", "kind", "missing", "", "values")
        rows = [head, *self._cells()]
        widths = [min(24, max(len(row[i]) for row in rows)) for i in range(4)]
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


def _fit(text: str, width: int) -> str:
    text = " ".join(text.split())
    return text.ljust(width) if len(text) <= width else text[: width - 1] + "…"


def infer_schema(
    frame: pl.DataFrame,
    *,
    target: str | None = None,
    kinds: Mapping[str, str] | None = None,
    drop: Iterable[str] = (),
) -> Schema:
    """Work out what each column of ``frame`` is.

    A column is not used when it is constant or empty, when it names the rows (an *identifier*: a column of different
    words, a whole number that counts the rows, a number that differs in each row and is called an id), or when it is
    in ``drop``. Text is a column of mostly different values of three words or more. A column of whole numbers is
    numeric, however few different ones there are, unless ``kinds`` says otherwise.

    Args:
        frame: the rows, as :func:`read_table` gives them.
        target: the column to predict.
        kinds: the kind of some columns by name, in place of the one inferred; such a column is used.
        drop: columns that the model must not see.

    Raises:
        DataError: an unknown column, or nothing left to learn from.
        ConfigError: an unknown kind.

    Example:
        >>> frame = pl.DataFrame({"age": [31, 45, 31, 60], "city": ["Bern", "Oslo", "Oslo", "Bern"], "y": [0, 1, 1, 0]})
        >>> schema = infer_schema(frame, target="y")
        >>> [(column.name, column.kind) for column in schema.features]
        [('age', 'numeric'), ('city', 'categorical')]
    """
    frame = canonical(frame, source="the frame")
    overrides, dropped = dict(kinds or {}), tuple(drop)
    for name in [*overrides, *dropped, *([target] if target is not None else [])]:
        if name not in frame.columns:
            raise unknown_name("column", name, frame.columns, error=DataError)
    for name, kind in overrides.items():
        if kind not in KINDS:
            raise unknown_name(f"kind of column {name!r}:", kind, KINDS)
    columns = []
    for values in frame.get_columns():
        given = overrides.get(values.name)
        if given is not None:
            values = as_kind(values, given)
            kind, used, reason = given, given != "identifier", "as you said"
        else:
            kind, used, reason = _kind_of(values)
        if values.name in dropped:
            used, reason = False, "you left it out"
        elif values.name == target:
            used, reason = False, "the target"
        columns.append(_describe(values, kind, used, reason))
    schema = Schema(tuple(columns), target, frame.height)
    if not schema.features:
        # A lone column that counts the rows is all there is to learn from: x = 0, 1, 2, …
        counting = [c for c in columns if c.kind == "identifier" and c.name not in dropped and c.name != target]
        numeric = {c.name for c in counting if frame[c.name].dtype == pl.Int64 and not _ID_NAME.search(c.name)}
        if numeric:
            return infer_schema(
                frame, target=target, kinds={**overrides, **dict.fromkeys(numeric, "numeric")}, drop=dropped
            )
        if target is not None:
            why = "; ".join(f"{c.name}: {c.reason}" for c in columns if c.name != target)
            raise DataError(
                f"no column is left to predict {target!r} from ({why or 'it is the only column'})",
                hint="say what a column is with kinds={name: 'numeric' | 'categorical' | 'text'}",
            )
    return schema


def _kind_of(values: pl.Series) -> tuple[str, bool, str]:
    present = values.drop_nulls()
    rows, distinct = len(present), present.n_unique()
    dtype = values.dtype
    plain = "boolean" if dtype == pl.Boolean else "datetime" if dtype.is_temporal() else "numeric"
    if dtype == pl.String:
        plain = "categorical"
    if rows == 0:
        return plain, False, "it has no values"
    if distinct == 1 and rows == len(values):
        return plain, False, "it is constant"
    if dtype == pl.Int64 and rows == len(values) == distinct and rows >= 10:
        if _ID_NAME.search(values.name):
            return "identifier", False, "a different whole number in each row, called an id"
        if present[0] in (0, 1) and (present.diff().drop_nulls() == 1).all():
            return "identifier", False, "it counts the rows"
    if dtype != pl.String or rows < 10:
        return plain, True, ""
    sample = present.head(5000)
    words = float(sample.str.count_matches(_TOKENS).mean() or 0)  # type: ignore[arg-type]
    share = distinct / rows
    if words >= 3 and share > 0.5 and distinct > 20:
        return "text", True, f"{words:.0f} words in a value, few values twice"
    if words >= 20:
        return "text", True, f"{words:.0f} words in a value"
    if (share > 0.95 and distinct > 20) or (distinct == rows and rows == len(values)):
        return "identifier", False, "a different value in (almost) each row"
    return "categorical", True, ""


def _describe(values: pl.Series, kind: str, used: bool, reason: str) -> Column:
    present = values.drop_nulls()
    details: dict[str, Any] = {}
    if kind in ("numeric", "datetime") and len(present):
        numbers = present.dt.timestamp("ms").cast(pl.Float64) / 1e3 if kind == "datetime" else present.cast(pl.Float64)
        finite = numbers.filter(numbers.is_finite())
        if len(finite):
            low, high, mean = (float(v) for v in (finite.min(), finite.max(), finite.mean()))  # type: ignore[arg-type]
            whole = kind == "numeric" and bool((finite == finite.round()).all())
            details = {"minimum": low, "maximum": high, "mean": mean, "whole": whole}
    if kind == "categorical":
        counts = _text(present).value_counts(name="rows").sort(["rows", present.name], descending=[True, False])
        levels = counts[present.name].to_list()
        details = {"categories": tuple(levels[:MAX_CATEGORIES])}
    examples = tuple(_text(present.head(200).unique(maintain_order=True).head(5)).to_list())
    examples = tuple(example if len(example) <= 60 else example[:59] + "…" for example in examples)
    return Column(
        name=values.name,
        kind=kind,
        missing=values.null_count(),
        distinct=present.n_unique(),
        examples=examples,
        used=used,
        reason=reason,
        **details,
    )


def _text(values: pl.Series) -> pl.Series:
    """Values as texts: whole numbers without a decimal point, date-times as ISO 8601."""
    if values.dtype == pl.String:
        return values
    if values.dtype == pl.Float64:
        whole = values.is_finite() & (values == values.round()) & (values.abs() < 2**53)
        as_int = values.set(~whole.fill_null(False), None).cast(pl.Int64).cast(pl.String)
        return as_int.fill_null(values.cast(pl.String))
    if values.dtype.is_temporal():
        return values.dt.to_string("iso:strict").str.replace("T00:00:00.000000", "").str.replace(".000000", "")
    return values.cast(pl.String)


def as_kind(values: pl.Series, kind: str) -> pl.Series:
    """``values`` in the type of a kind; null where a value does not fit.

    Numeric is Float64 or Int64, boolean is Boolean (yes/no, y/n, 1/0 as well), date-time is Datetime, the others are
    String.
    """
    if kind not in KINDS:
        raise ConfigError(f"unknown kind {kind!r}; expected one of: {', '.join(KINDS)}")
    if values.dtype == pl.String and kind in ("numeric", "boolean", "datetime"):
        values = blank_to_null(values, ("", "?", "na", "n/a", "null", "nan"))
    if kind == "numeric":
        if values.dtype == pl.String:
            return parse_numbers(values)
        if values.dtype.is_temporal():
            return values.dt.timestamp("ms").cast(pl.Float64) / 1e3
        return values.cast(pl.Int64) if values.dtype == pl.Boolean else values
    if kind == "boolean":
        if values.dtype == pl.Boolean:
            return values
        return _text(values).str.to_lowercase().replace_strict(_YES_NO, default=None, return_dtype=pl.Boolean)
    if kind == "datetime":
        if values.dtype.is_temporal():
            return values
        if values.dtype == pl.String:
            parsed = parse_datetimes(values)
            if parsed is None:
                parsed = values.str.to_datetime(strict=False, time_unit="us", format="%Y-%m-%d %H:%M:%S")
                parsed = parsed.fill_null(values.str.to_datetime(strict=False, time_unit="us", format="%Y-%m-%d"))
            return parsed
        if values.dtype.is_numeric() and _is_seconds(values):
            return (values.cast(pl.Float64) * 1e6).cast(pl.Int64).cast(pl.Datetime("us"))
        return pl.Series(values.name, [None] * len(values), dtype=pl.Datetime("us"))
    return _text(values)


def _is_seconds(values: pl.Series) -> bool:
    present = values.drop_nulls()
    return len(present) > 0 and math.isfinite(float(present.max())) and float(present.abs().max()) < 1e11  # type: ignore[arg-type]
