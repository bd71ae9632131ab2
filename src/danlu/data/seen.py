"""Recognising rows: a 64-bit hash of each encoded row and its label, from which neither can be read back."""

from __future__ import annotations

import hashlib
from typing import Any

import jax
import numpy as np

from danlu.errors import ArtifactError

__all__ = ["SEEN_MOST", "known_rows", "row_hashes", "seen_bytes", "seen_from"]

SEEN_MOST = 2_000_000
"""Rows whose hashes are kept at most: 16 MB."""

_CHUNK = 1 << 22  # numbers hashed at once
_ODD = np.uint64(0x9E3779B97F4A7C15)


def row_hashes(inputs: Any, labels: np.ndarray) -> np.ndarray:
    """A hash of each row, the same for equal rows wherever they stand, ``(rows,)`` uint64.

    Args:
        inputs: encoded rows: an array, or a tree of arrays, with a leading row axis. Zeros at the end of a row do not count, so that
            rows may be padded to any length.
        labels: ``(rows,)``, codes or values.

    Example:
        >>> one, two = row_hashes({"x": np.ones((2, 3))}, np.array([0, 1])), row_hashes({"x": np.ones((1, 3))}, np.array([1]))
        >>> bool(one[1] == two[0]), bool(one[0] == two[0])
        (True, False)
    """
    total = np.zeros(len(labels), np.uint64)
    for path, values in [*jax.tree_util.tree_leaves_with_path(inputs), (("label",), labels)]:
        total += _part("/".join(map(str, path)), np.asarray(values).reshape(len(labels), -1))
    return _mixed(total)


def _part(name: str, values: np.ndarray) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    factors = np.random.Generator(np.random.PCG64(seed)).integers(1 << 63, size=values.shape[1], dtype=np.uint64)
    factors |= np.uint64(1)
    found = np.zeros(len(values), np.uint64)
    step = max(_CHUNK // max(values.shape[1], 1), 1)
    for low in range(0, len(values), step):
        part = values[low : low + step]
        if part.dtype.kind == "f":
            bits = (part.astype(np.float32) + np.float32(0)).view(np.uint32).astype(np.uint64)  # −0 is 0
        else:
            bits = part.astype(np.int64).view(np.uint64)
        found[low : low + step] = (_mixed(bits) * factors).sum(axis=1, dtype=np.uint64)
    return found


def _mixed(bits: np.ndarray) -> np.ndarray:
    """Each number's bits scattered; 0 stays 0."""
    bits = bits * _ODD
    bits = (bits ^ (bits >> np.uint64(32))) * _ODD
    return np.asarray(bits ^ (bits >> np.uint64(29)))


def known_rows(hashes: np.ndarray) -> np.ndarray:
    """The sorted hashes ``(rows,)`` to keep, each once; an even sample if there are more than :data:`SEEN_MOST`."""
    found = np.unique(hashes)
    return found if len(found) <= SEEN_MOST else found[np.linspace(0, len(found) - 1, SEEN_MOST).astype(np.int64)]


def seen_bytes(hashes: np.ndarray) -> bytes:
    """The file of an artifact that holds hashes."""
    from safetensors.numpy import save

    return save({"rows": hashes})


def seen_from(data: bytes) -> np.ndarray:
    """The hashes that :func:`seen_bytes` wrote.

    Raises:
        ArtifactError: the file is damaged.
    """
    from safetensors.numpy import load

    try:
        found = load(data)["rows"]
    except Exception as error:
        raise ArtifactError(f"the hashes of the training rows are damaged: {error}") from error
    if found.dtype != np.uint64 or found.ndim != 1:
        raise ArtifactError(
            f"the hashes of the training rows are {found.dtype} {found.shape}; expected a list of uint64"
        )
    return found
