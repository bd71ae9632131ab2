"""The fields of one row of a kind of data, for requests, forms and checks."""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from danlu.errors import ArtifactError, SchemaError, nearest
from danlu.language import keep

if TYPE_CHECKING:
    from danlu.data.schema import Column

__all__ = [
    "FIELD_KINDS",
    "Field",
    "check_records",
    "column_fields",
    "fields_from",
    "fields_json",
    "pixels_of",
    "texts_of",
    "values_of",
]

FIELD_KINDS = ("number", "category", "boolean", "date", "text", "image", "sound", "array", "column")
"""What a field holds: one value of a table (``number`` to ``text``), a picture, a recording, numbers of a fixed shape, or a list."""

_OF_COLUMNS = {"numeric": "number", "categorical": "category", "boolean": "boolean", "datetime": "date", "text": "text"}
_TABLE = ("number", "category", "boolean", "date")
_UNKNOWN = "; use null for an unknown value"
_MOST = float(np.finfo(np.float32).max)


@dataclasses.dataclass(frozen=True)
class Field:
    """One part of a row.

    Attributes:
        name: what it is called.
        kind: one of :data:`FIELD_KINDS`.
        shape: of an array or a picture; a None is an axis of any length.
        low, high: the smallest and largest number in training, where that is known.
        categories: the values of a category in training.
        unit: of a number, such as ``"km"``.
        example: a value, as plain data.
        needed: whether a record without it is refused; else it is missing there.
        is_open: whether other categories than these are expected.
    """

    name: str
    kind: str
    shape: tuple[int | None, ...] = ()
    low: float | None = None
    high: float | None = None
    categories: tuple[str, ...] = ()
    unit: str = ""
    example: Any = None
    needed: bool = True
    is_open: bool = False

    def __post_init__(self) -> None:
        keep((self.name, *self.categories))


def column_fields(columns: Iterable[Column]) -> tuple[Field, ...]:
    """The fields that columns of a table are."""
    return tuple(
        Field(
            column.name,
            _OF_COLUMNS[column.kind],
            low=column.minimum if column.kind == "numeric" else None,
            high=column.maximum if column.kind == "numeric" else None,
            categories=column.categories,
            unit=column.format.number.unit or "",
            example=column.examples[0] if column.examples else None,
            is_open=column.is_open,
        )
        for column in columns
    )


def fields_json(fields: Sequence[Field]) -> list[dict[str, Any]]:
    """The fields as plain data, without empty entries.

    >>> fields_json([Field("age", "number", low=0.0)])
    [{'name': 'age', 'kind': 'number', 'low': 0.0}]
    """
    found = []
    for field in fields:
        told = {each.name: getattr(field, each.name) for each in dataclasses.fields(Field)}
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in told.items()}
        defaults = {each.name: each.default for each in dataclasses.fields(Field)}
        found.append({name: value for name, value in plain.items() if told[name] != defaults[name]})
    return found


def fields_from(data: Any) -> tuple[Field, ...]:
    """The inverse of :func:`fields_json`.

    Raises:
        ArtifactError: the data describes no fields.
    """

    def one(body: Mapping[str, Any]) -> Field:
        lists = {name: tuple(body[name]) for name in ("shape", "categories") if name in body}
        return Field(**{**body, **lists})

    try:
        found = tuple(one(body) for body in data)
        if any(field.kind not in FIELD_KINDS or not isinstance(field.name, str) for field in found):
            raise ValueError("unknown kind")
    except (TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(f"the saved fields are not valid: {str(error)[:200]}") from error
    return found


def check_records(
    records: Sequence[Mapping[str, Any]], fields: Sequence[Field], known: Collection[str] = ()
) -> tuple[str, ...]:
    """Refuse records that lack a field; return the notices, about entries that are not fields.

    Args:
        known: entries that are not fields and need no notice, such as the target.

    Raises:
        SchemaError: no record, one that is not an object, or the names of the missing fields.
    """
    if isinstance(records, Mapping) or not isinstance(records, Sequence) or isinstance(records, str):
        raise SchemaError(f"the records are a {type(records).__name__}; expected a list of objects, one a row")
    if not records:
        raise SchemaError("there is no record", hint="give at least one")
    for number, record in enumerate(records, 1):
        if not isinstance(record, Mapping):
            raise SchemaError(f"record {number} is {str(record)[:60]!r}; expected an object with names and values")
        missing = [field.name for field in fields if field.needed and field.name not in record]
        if missing:
            close = nearest(missing[0], [name for name in record if isinstance(name, str)])
            expected = ", ".join(field.name for field in fields[:12]) + (", …" if len(fields) > 12 else "")
            raise SchemaError(
                f"record {number} lacks {', '.join(map(repr, missing[:8]))}"
                + (f" (it has {close!r})" if close else ""),
                hint=f"a record has: {expected}{_UNKNOWN if all(_may_be_null(field) for field in fields) else ''}",
            )
    return (*_empty(records, fields), *_extra(records, fields, known))


def _may_be_null(field: Field) -> bool:
    """Whether null is an answer: a column of a table may be unknown, and who or what is asked about (a category of any name) may not."""
    return field.kind in _TABLE and (field.kind != "category" or bool(field.categories))


def _empty(records: Sequence[Mapping[str, Any]], fields: Sequence[Field]) -> tuple[str, ...]:
    """A notice of texts without anything in them where a table has a value; null says that on purpose."""
    names = [field.name for field in fields if field.kind in _TABLE]
    found = [
        (number, name)
        for number, record in enumerate(records, 1)
        for name in names
        if isinstance(record.get(name), str) and not record[name].strip()
    ]
    if not found:
        return ()
    shown = ", ".join(f"{name!r} of record {number}" for number, name in found[:6]) + (", …" if len(found) > 6 else "")
    which = "it is" if len(found) == 1 else "they are"
    return (f"empty, so {which} taken as missing (null says that on purpose): {shown}",)


def _extra(records: Sequence[Mapping[str, Any]], fields: Sequence[Field], known: Collection[str]) -> tuple[str, ...]:
    """A notice of entries that are not fields."""
    met = dict.fromkeys(name for record in records for name in record)
    extra = [repr(name) for name in met if name not in known and not any(name == field.name for field in fields)]
    if not extra:
        return ()
    shown = ", ".join(extra[:8]) + (", …" if len(extra) > 8 else "")
    return (f"the records have entries that the model does not use, which are ignored: {shown}",)


def texts_of(records: Sequence[Mapping[str, Any]], field: Field) -> list[str]:
    """The texts of a ``"text"`` field of all records.

    Raises:
        SchemaError: a value that is not a text, or an empty one.
    """
    for number, record in enumerate(records, 1):
        if not isinstance(record[field.name], str) or not record[field.name].strip():
            raise SchemaError(f"{field.name!r} of record {number} is {str(record[field.name])[:60]!r}; expected a text")
    return [record[field.name] for record in records]


def values_of(records: Sequence[Mapping[str, Any]], field: Field) -> np.ndarray:
    """The numbers of an ``"array"`` field of all records, float64 ``(records, *shape)``.

    Raises:
        SchemaError: a value that is not an array of numbers of this shape.
    """
    found = []
    for number, record in enumerate(records, 1):
        try:
            given = np.asarray(record[field.name])
            value = given.astype(np.float64) if given.dtype.kind in "iuf" else np.empty((0, 0, 0, 0, 0))
        except (TypeError, ValueError, OverflowError):
            value = np.empty((0, 0, 0, 0, 0))
        if value.shape != field.shape or not (np.abs(value) <= _MOST).all():
            raise SchemaError(
                f"{field.name!r} of record {number} is {str(record[field.name])[:60]!r}; expected finite numbers of the shape "
                f"{field.shape}, none above {_MOST:.1e}"
            )
        found.append(value)
    return np.stack(found)


def pixels_of(records: Sequence[Mapping[str, Any]], field: Field) -> list[np.ndarray]:
    """The pictures of an ``"image"`` field, uint8 arrays of any size: numbers 0 to 255, or a file's bytes in base64.

    A file is read as one on the disk is: upright, 16 bits as 8, and what is transparent stays so.

    Raises:
        SchemaError: a value that is neither.
    """
    from danlu.data.images.pixels import open_whole

    found = []
    for number, record in enumerate(records, 1):
        value, why = record[field.name], ""
        try:
            if isinstance(value, str):
                read = open_whole(io.BytesIO(base64.b64decode(value.split(",", 1)[-1], validate=True)))
                if isinstance(read, str):
                    why = f" ({read})"
                    raise ValueError
                found.append(read)
                continue
            array = np.asarray(value)
            known = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
            if not known or array.dtype.kind not in "iu" or array.min() < 0 or array.max() > 255:
                raise ValueError
            found.append(array.astype(np.uint8))
        except (TypeError, ValueError):
            raise SchemaError(
                f"{field.name!r} of record {number} is {str(value)[:40]!r}{why}; expected whole numbers 0 to 255 as "
                "(height, width) or (height, width, channels) with 1, 3 or 4 channels, or an image file's bytes in base64"
            ) from None
    return found
