"""What a request brings, by its content type: records of plain data, or a file for the model's own reader."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl
from fastapi import HTTPException

from danlu.data.fields import Field
from danlu.errors import SchemaError, shorten
from danlu.typed import of_type

__all__ = ["FILES", "File", "content_type", "lines_of", "options_of", "parse_json", "records_of"]

FILES: dict[str, str] = {
    "text/csv": ".csv",
    "application/csv": ".csv",
    "text/tab-separated-values": ".tsv",
    "application/x-ndjson": ".jsonl",
    "application/jsonl": ".jsonl",
    "application/vnd.apache.parquet": ".parquet",
}
"""Content types of tables, with the ending that a file of each has."""

_READ_FROM_DISK = ("image", "sound")  # a table may name files of these: those of this machine are not for callers


class File(NamedTuple):
    """A table, as bytes."""

    ending: str
    data: bytes


def options_of(body: Any, kinds: Mapping[str, Any], most: Mapping[str, int]) -> dict[str, Any]:
    """The options of a request whose body is an object.

    Args:
        body: as it was parsed.
        kinds: the type of each option.
        most: the largest value of some.

    Raises:
        HTTPException: 400, another form.
        SchemaError: an option that is none, of another type, or too large.
    """
    if not isinstance(body, dict):
        raise HTTPException(400, f"the body is a {type(body).__name__}; expected an object")
    found: dict[str, Any] = {}
    for name, value in body.items():
        if name not in kinds:
            raise SchemaError(f"the option {name!r} is unknown; expected {', '.join(kinds)}")
        try:
            found[name] = of_type(value, kinds[name])
        except (TypeError, ValueError):
            raise SchemaError(f"the option {name!r} is {str(value)[:60]!r}, which is of another type") from None
        if name in most and not 0 <= found[name] <= most[name]:
            raise SchemaError(f"the option {name!r} is {found[name]:,}; expected 0 to {most[name]:,}")
    return found


def lines_of(file: File) -> int:
    """How many rows a table has at most, without reading them.

    >>> lines_of(File(".csv", b"a,b\\n1,2\\n3,4\\n"))
    3
    """
    if file.ending == ".parquet":
        try:
            return int(pl.scan_parquet(io.BytesIO(file.data)).select(pl.len()).collect().item())
        except pl.exceptions.PolarsError:
            return 0  # damaged: its reader says so
    return max(file.data.count(b"\n"), file.data.count(b"\r"))


def content_type(header: str | None) -> str:
    """The content type in a header, without its parameters; of a request that names none, JSON.

    >>> content_type("Text/CSV; charset=utf-8"), content_type(None)
    ('text/csv', 'application/json')
    """
    return (header or "application/json").partition(";")[0].strip().lower() or "application/json"


def records_of(body: bytes, kind: str, fields: Sequence[Field]) -> list[Any] | File:
    """The records of a body, or the file that it is.

    Args:
        kind: its content type.
        fields: of the model that is asked.

    Raises:
        HTTPException: 400, a body that is not what its type says; 415, a type that this model does not take.
    """
    if kind == "application/json" or kind.endswith("+json"):
        return _typed(_listed(parse_json(body), fields), fields)
    if kind in FILES and not any(field.kind in _READ_FROM_DISK for field in fields):
        return File(FILES[kind], body)
    single = fields[0] if len(fields) == 1 else None
    if single is not None:
        if kind == "text/plain" and single.kind == "text":
            return [{single.name: _text(body)}]
        if kind.startswith({"image": "image/", "sound": "audio/"}.get(single.kind, "\0")):
            return [{single.name: base64.b64encode(body).decode()}]
    raise HTTPException(415, f"the body is of the type {kind[:60]!r}; expected {' or '.join(taken(fields))}")


def taken(fields: Sequence[Field]) -> list[str]:
    """The content types that a model with these fields takes.

    >>> taken([Field("photo", "image")])
    ['application/json', 'image/*']
    """
    kinds = [field.kind for field in fields]
    found = ["application/json"]
    if not any(kind in _READ_FROM_DISK for kind in kinds):
        found += ["text/csv", "text/tab-separated-values", "application/x-ndjson", "application/vnd.apache.parquet"]
    own = {"text": "text/plain", "image": "image/*", "sound": "audio/*"}
    return found + [own[kind] for kind in kinds if len(kinds) == 1 and kind in own]


def parse_json(body: bytes) -> Any:
    """A body as JSON: strictly, so without NaN, names that are there twice, and halves of characters.

    Raises:
        HTTPException: 400.
    """
    try:
        value = json.loads(body, parse_constant=_no_constant, object_pairs_hook=_unique)
        if b"\\u" in body:
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise HTTPException(400, "the body is nested too deeply") from None
    except UnicodeEncodeError:
        raise HTTPException(400, "the body holds half of a character (a lone surrogate); expected whole text") from None
    except ValueError as error:
        raise HTTPException(400, f"the body is not JSON: {str(error)[:200]}") from None
    return value


def _listed(value: Any, fields: Sequence[Field]) -> list[Any]:
    if isinstance(value, Mapping):
        own = (
            value.get("records") if set(value) == {"records"} and not any(f.name == "records" for f in fields) else None
        )
        value = [value] if own is None else own
    if not isinstance(value, list):
        raise HTTPException(
            400,
            f"the body is a {type(value).__name__}; expected a record, a list of records, or an object with 'records'",
        )
    return value


_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "number": ((int, float), "a number"),
    "date": ((str,), "a date as a text"),
    "text": ((str,), "a text"),
    "category": ((str, int, float, bool), "a text"),
    "boolean": ((bool, str, int, float), "true or false"),
}


def _typed(records: list[Any], fields: Sequence[Field]) -> list[Any]:
    """Refuse values of another JSON type than their field's: a file has texts for everything, JSON has no need of that."""
    known = [(field.name, *_TYPES[field.kind]) for field in fields if field.kind in _TYPES]
    for number, record in enumerate(records, 1):
        if not isinstance(record, dict):
            continue
        for name, types, expected in known:
            value = record.get(name)
            if value is not None and (
                not isinstance(value, types) or ((value is True or value is False) and bool not in types)
            ):
                raise SchemaError(f"{name!r} of record {number} is {shorten(value)}; expected {expected}, or null")
    return records


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise HTTPException(400, f"the text is not UTF-8: byte {error.start:,} is {body[error.start]:#x}") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("an object has the same name twice")
    return value
