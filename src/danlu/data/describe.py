"""The schema of a table, worked out from its values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from danlu.data.format import Format
from danlu.data.infer import canonical, infer_types, typed_format
from danlu.data.kinds import KINDS, MEDIA, as_kind, as_text
from danlu.data.media import written_as
from danlu.data.naming import names_rows, names_whose
from danlu.data.schema import MAX_CATEGORIES, Column, Schema
from danlu.data.spelling import KEEP, spellings, told
from danlu.data.table import Table
from danlu.errors import DataError, unknown_name

__all__ = ["infer_schema"]

_FEWEST_IDS = 10  # of a column that names whose a row is; with fewer it is a category
_ALMOST = 0.95  # of the rows have a value of their own
_TOKENS = r"[一-鿿぀-ヿ가-힯]|[^\s一-鿿぀-ヿ가-힯]+"


def infer_schema(
    frame: pl.DataFrame,
    *,
    target: str | None = None,
    kinds: Mapping[str, str] | None = None,
    drop: Iterable[str] = (),
    merge: bool = False,
    formats: Mapping[str, Format] | None = None,
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
        merge: whether spellings of a category that differ in case or white space are one; see :mod:`danlu.data.spelling`.
        formats: how the texts of the columns are written, as the table that was read has them; the schema keeps them.

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
        given, written = overrides.get(values.name), (formats or {}).get(values.name)
        if given is not None:
            values, written = _as_given(values, given, written)
            kind, used, reason = given, given != "identifier", "as you said"
        else:
            kind, used, reason = _kind_of(values)
        if values.name in dropped:
            used, reason = False, "you left it out"
        elif values.name == target:
            used, reason = False, "the target"
        columns.append(_describe(values, kind, used, reason, written or typed_format(values), merge=merge))
    schema = Schema(tuple(columns), target, frame.height)
    if not schema.features:
        # A lone column that counts the rows is all there is to learn from: x = 0, 1, 2, …
        counting = [c for c in columns if c.kind == "identifier" and c.name not in dropped and c.name != target]
        numeric = {c.name for c in counting if frame[c.name].dtype == pl.Int64 and not names_rows(c.name)}
        if numeric:
            return infer_schema(
                frame,
                target=target,
                kinds={**overrides, **dict.fromkeys(numeric, "numeric")},
                drop=dropped,
                merge=merge,
                formats=formats,
            )
        if target is not None:
            why = "; ".join(f"{c.name}: {c.reason}" for c in columns if c.name != target)
            raise DataError(
                f"no column is left to predict {target!r} from ({why or 'it is the only column'})",
                hint='say what a column is: data.kinds={"NAME": "numeric"} (or categorical, text)',
            )
    return schema


def told_of(frame: pl.DataFrame, schema: Schema) -> tuple[str, ...]:
    """Notices about categories that come in several spellings, which the schema merges, infinite numbers, and files that are not there."""
    merged = [frame[column.name].cast(pl.String) for column in schema.features if column.merged]
    spelt = [notice for values in merged for notice in told(values, spellings(values), advice=KEEP)]
    floats = [frame[column.name] for column in schema.features if frame[column.name].dtype.is_float()]
    infinite = [(values.name, int(values.is_infinite().sum())) for values in floats]
    named = [
        (c.name, written_as(frame[c.name])) for c in schema.columns if c.kind not in MEDIA and c.name in frame.columns
    ]
    return (
        *spelt,
        *(
            f"column {name} is written as names of {'pictures' if kind == 'image' else 'recordings'}, of which too few "
            "are there to be looked at (paths begin at the table's own folder; addresses of the web are not fetched)"
            for name, kind in named
            if kind and name != schema.target
        ),
        *(
            f"column {name}: {n:,} of {frame.height:,} values are infinite and count as missing"
            for name, n in infinite
            if n
        ),
    )


def _as_given(values: pl.Series, kind: str, written: Format | None) -> tuple[pl.Series, Format | None]:
    """Values in the type of the kind that the user says; an error when not one of them fits."""
    if values.dtype == pl.String and kind in ("numeric", "datetime"):
        table = infer_types(Table(pl.DataFrame([values])), kinds={values.name: kind}, texts=False)
        values, written = table.frame.to_series(), table.formats[values.name]
    fitted = as_kind(values, kind)
    present = values.drop_nulls()
    if len(present) and fitted.null_count() == len(fitted):
        shown = ", ".join(map(repr, as_text(present.head(3)).to_list()))
        raise DataError(
            f"0 of {len(present):,} values of {values.name!r} are "
            f"{'numbers' if kind == 'numeric' else 'date-times' if kind == 'datetime' else 'true or false'}: {shown}, …",
            hint="give another kind, or leave the kind out",
        )
    return fitted, written


def repeated_ids(frame: pl.DataFrame, names: Sequence[str]) -> tuple[str, ...]:
    """A hint for each of the columns that names whose a row is and has the same names in several rows.

    >>> repeated_ids(pl.DataFrame({"patient_id": [i // 3 for i in range(60)]}), ["patient_id"])[0][:61]
    'column patient_id: 20 different values in 60 rows. If rows of'
    """
    found = []
    for name in names:
        values = frame[name].drop_nulls()
        different = values.n_unique()
        whose = names_rows(name) or names_whose(name)
        if whose and not values.dtype.is_float() and _FEWEST_IDS <= different <= len(values) / 2:
            found.append(
                f"column {name}: {different:,} different values in {len(values):,} rows. If rows of one value belong together and the "
                f"model is for new ones, test it on these: split.method=group split.column={name}"
            )
    return tuple(found)


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
    if rows >= _FEWEST_IDS and _whole(values):
        if distinct > _ALMOST * len(values) and names_rows(values.name):
            each = "each row" if distinct == len(values) else "almost each row"
            return "identifier", False, f"a different whole number in {each}, called an id"
        counted = dtype.is_integer() and distinct == len(values) and present[0] in (0, 1)
        if counted and (present.diff().drop_nulls() == 1).all():
            return "identifier", False, "it counts the rows"
    if dtype != pl.String or rows < 10:
        return plain, True, ""
    sample = present.head(5000)
    words = float(sample.str.count_matches(_TOKENS).mean() or 0)  # type: ignore[arg-type]
    share = distinct / rows
    if words >= 3 and share > 0.5 and distinct > 20:
        return "text", True, f"{words:.0f} words in a value, few values repeated"
    if words >= 20:
        return "text", True, f"{words:.0f} words in a value"
    if (share > 0.95 and distinct > 20) or (distinct == rows and rows == len(values)):
        return "identifier", False, "a different value in (almost) each row"
    return "categorical", True, ""


def _whole(values: pl.Series) -> bool:
    """Whether they are whole numbers; of those with gaps another library makes floats."""
    return values.dtype == pl.Int64 or (values.dtype == pl.Float64 and bool((values.drop_nulls() % 1 == 0).all()))


def _describe(values: pl.Series, kind: str, used: bool, reason: str, written: Format, *, merge: bool) -> Column:
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
        if merge:
            present = as_text(present)
            present = present.replace(spellings(present))
        counts = as_text(present).value_counts(name="rows").sort(["rows", present.name], descending=[True, False])
        levels = counts[present.name].to_list()
        details = {"categories": tuple(levels[:MAX_CATEGORIES])}
    examples = tuple(as_text(present.head(200).unique(maintain_order=True).head(5)).to_list())
    examples = tuple(example if len(example) <= 60 else example[:59] + "…" for example in examples)
    return Column(
        name=values.name,
        kind=kind,
        missing=values.null_count(),
        distinct=present.n_unique(),
        examples=examples,
        used=used,
        reason=reason,
        merged=merge and kind == "categorical",
        format=written,
        **details,
    )
