"""Arrays most of whose elements are zero, written without the zeros: plain data still, and the same array when it is read.

An array of ``n`` elements, ``k`` of which are not zero, becomes two: ``NAME#values``, the ``k`` values, and where they stand, in that form
of two which takes fewer bytes:

- ``NAME#bits``: a bit for each element, ``⌈n/8⌉`` bytes;
- ``NAME#gaps``: for each value the number of zeros before it since the last one, a byte each. A longer gap is bridged by values of 0, each
  of which stands after 255 zeros.

Reference: Han, Mao & Dally (2016), "Deep compression", arXiv:1510.00149, section 2 (relative indices).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from danlu.artifact.tree import DTYPES
from danlu.errors import ArtifactError

__all__ = ["FORMS", "dense", "file_names", "restored", "sparse"]

FORMS = ("bits", "gaps")
_LEAST = 1024  # elements, below which two arrays more are not worth it
_LONGEST = 255


def sparse(arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays as they are written, and the form of each that is written without its zeros.

    >>> flat, forms = sparse({"params/kernel": np.eye(64, dtype=np.float32)})
    >>> forms, {name: array.size for name, array in flat.items()}
    ({'params/kernel': 'gaps'}, {'params/kernel#values': 64, 'params/kernel#gaps': 64})
    >>> bool((restored(flat["params/kernel#values"], flat["params/kernel#gaps"], "gaps", (64, 64)) == np.eye(64)).all())
    True
    """
    flat: dict[str, np.ndarray] = {}
    forms: dict[str, str] = {}
    for name, array in arrays.items():
        flat[name] = array
        if array.size < _LEAST or array.dtype == DTYPES["int4"]:  # two of these are one byte as they are
            continue
        places = np.flatnonzero(array)
        ways = {"bits": _bits(array, places), "gaps": _gaps(array, places)}
        if not _fits(array.size, ways["gaps"][1]):
            del ways["gaps"]
        form = min(ways, key=lambda each: sum(part.nbytes for part in ways[each]))
        if sum(part.nbytes for part in ways[form]) >= array.nbytes:
            continue
        del flat[name]
        forms[name] = form
        flat[f"{name}#values"], flat[f"{name}#{form}"] = ways[form]
    return flat, forms


def _bits(array: np.ndarray, places: Any) -> tuple[np.ndarray, np.ndarray]:
    flat = array.reshape(-1)  # (elements,)
    return flat[places], np.packbits(flat != 0)


def _gaps(array: np.ndarray, places: Any) -> tuple[np.ndarray, np.ndarray]:
    flat, step = array.reshape(-1), _LONGEST + 1  # (elements,)
    before = np.diff(places, prepend=-1)  # steps from the last value, 1 or more
    bridges = (before - 1) // step  # how many zeros are written in between
    starts = np.repeat(places - before, bridges + 1)
    number = np.arange(starts.size) - np.repeat(np.cumsum(bridges + 1) - bridges - 1, bridges + 1)
    every = starts + step * (number + 1)
    every[np.cumsum(bridges + 1) - 1] = places
    return flat[every], (np.diff(every, prepend=-1) - 1).astype(np.uint8)


def _fits(size: int, gaps: np.ndarray) -> bool:
    """Whether an array is no larger than its gaps say, so that a small file cannot ask for a large one."""
    return size <= (_LONGEST + 1) * (gaps.size + 1)


def file_names(name: str, form: str) -> tuple[str, str]:
    """What the two arrays of a sparse one are called in the file."""
    return f"{name}#values", f"{name}#{form}"


def restored(values: np.ndarray, places: np.ndarray, form: str, shape: tuple[int, ...]) -> np.ndarray:
    """The array of a shape, from its values and where they stand.

    Raises:
        ArtifactError: values and places that do not fit each other or the shape.
    """
    size = int(np.prod(shape, dtype=object))
    wrong = ArtifactError(f"a sparse array of {size:,} elements does not fit its {values.size:,} values")
    if places.dtype != np.uint8 or values.ndim != 1 or places.ndim != 1:
        raise wrong
    if form == "bits":
        if places.size != -(-size // 8):
            raise wrong
        where = np.flatnonzero(np.unpackbits(places, count=size))
    else:
        if not _fits(size, places):
            raise wrong
        where = np.cumsum(places.astype(np.int64) + 1) - 1
    if where.size != values.size or (where.size and where[-1] >= size):
        raise wrong
    flat = np.zeros(size, values.dtype)
    flat[where] = values
    return flat.reshape(shape)


def dense(
    flat: Mapping[str, np.ndarray], forms: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, np.ndarray]:
    """All arrays of a file, with those that were written without zeros restored.

    Raises:
        ArtifactError: a part of one is missing, or does not fit.
    """
    found = dict(flat)
    for name, form in forms.items():
        parts = [found.pop(each, None) for each in file_names(name, form)]
        if parts[0] is None or parts[1] is None:
            raise ArtifactError(f"the array {name!r} is missing")
        array = restored(parts[0], parts[1], form, shapes[name])
        array.flags.writeable = False
        found[name] = array
    return found
