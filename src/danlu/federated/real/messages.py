"""What goes over the wire: plain fields and arrays in one piece of bytes, the format of safetensors; no code, no pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from danlu.errors import DataError, TrainingError

__all__ = ["PROTOCOL", "Message", "ToldError", "pack", "unpack"]

PROTOCOL = 1
"""Counts up with each change of what is asked or answered."""

Message = tuple[dict[str, Any], dict[str, np.ndarray]]
"""Fields, which are plain JSON data, and arrays by their names."""


class ToldError(TrainingError):
    """What is wrong with an owner, in words that hold nothing of a row: the server is told it as it is."""


def pack(fields: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> bytes:
    """A message as bytes.

    Example:
        >>> fields, arrays = unpack(pack({"ask": "train", "round": 3}, {"change": np.zeros(2, np.float32)}))
        >>> fields, arrays["change"].shape
        ({'ask': 'train', 'round': 3}, (2,))
    """
    from safetensors.numpy import save

    whole = {name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()}
    return save(whole, metadata={"fields": json.dumps(dict(fields), ensure_ascii=False)})


def unpack(data: bytes) -> Message:
    """The fields and arrays of :func:`pack`.

    Raises:
        DataError: the bytes are no such message.
    """
    from safetensors.numpy import load

    try:
        length = int.from_bytes(data[:8], "little")
        fields = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["fields"])
        return dict(fields), load(data)
    except Exception as error:
        raise DataError(
            f"{len(data)} bytes came that are no message of danlu's",
            hint="is another program at the other end, or another version of danlu?",
        ) from error
