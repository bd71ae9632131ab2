"""An example of a record, from the fields of a model: what the documentation shows, and what a service is warmed with."""

from __future__ import annotations

import base64
import io
import wave
import zlib
from collections.abc import Sequence
from typing import Any

from danlu.data.fields import Field

__all__ = ["example_of", "example_record"]


def example_record(fields: Sequence[Field]) -> dict[str, Any]:
    """A record with a value for each field.

    >>> example_record([Field("age", "number", low=17.0, high=90.0), Field("town", "category", categories=("Bern",))])
    {'age': 53.5, 'town': 'Bern'}
    """
    return {field.name: example_of(field) for field in fields}


def example_of(field: Field) -> Any:
    """A value that the field takes, as plain JSON data."""
    given = field.example
    if field.kind == "number":
        try:
            return float(given)
        except (TypeError, ValueError):
            return None if field.low is None or field.high is None else (field.low + field.high) / 2
    if given is not None:
        return given
    if field.kind == "array":
        value: Any = 0.0
        for size in reversed(field.shape):
            value = [value] * (size or 1)
        return value
    made: dict[str, Any] = {
        "boolean": True,
        "text": "a",
        "column": [0.0] * 8,
        "image": _picture(),
        "sound": _recording(),
    }
    return field.categories[0] if field.categories else made.get(field.kind)


def _picture() -> str:
    """A grey PNG of 8 by 8 pixels in base64."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = (8).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    rows = zlib.compress((b"\0" + bytes([128] * 8)) * 8)
    file = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return base64.b64encode(file).decode()


def _recording() -> str:
    """A tenth of a second of silence, as WAV in base64."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(bytes(1600))
    return base64.b64encode(file.getvalue()).decode()
