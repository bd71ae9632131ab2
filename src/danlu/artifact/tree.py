"""Trees of arrays as flat dictionaries with readable names.

The parameters or the state of a network become ``{"params/0/kernel": array, …}``, which is what a safetensors file holds;
:func:`unflatten_tree` rebuilds the dicts, tuples and lists from a structure that is plain JSON, because a saved model must
not need code. (A checkpoint, whose optimizer states are named tuples and registered dataclasses, is filled into a tree of
the same type: :func:`danlu.engine.load_checkpoint`.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import ml_dtypes
import numpy as np

from danlu.errors import ArtifactError
from danlu.paths import escape, is_key, named_leaves

__all__ = [
    "DTYPES",
    "check_arrays",
    "expected_arrays",
    "flatten_tree",
    "packed",
    "size_in_file",
    "tree_structure",
    "unflatten_tree",
    "unpacked",
]

DTYPES: dict[str, np.dtype[Any]] = {
    **{
        name: np.dtype(name)
        for name in (
            *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
            *("float16", "float32", "float64"),
        )
    },
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "int4": np.dtype(ml_dtypes.int4),
}
"""The element types that a saved tree may hold, by name."""

_HALVES = DTYPES["int4"]

MAX_DEPTH = 100
MAX_RANK = 32


def _join(prefix: str, segment: str) -> str:
    return f"{prefix}/{segment}" if prefix else segment


def _as_numpy(path: str, leaf: Any) -> np.ndarray:
    if is_key(leaf):
        leaf = jax.random.key_data(leaf)
    try:
        array = np.asarray(leaf)
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"{path or 'the tree'} holds a {type(leaf).__name__}, which is not an array") from error
    if array.dtype.name not in DTYPES:
        raise ArtifactError(
            f"{path or 'the tree'} holds {array.dtype.name} values; a saved tree may hold: {', '.join(DTYPES)}"
        )
    # np.ascontiguousarray would turn a scalar into a vector of one.
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)


def flatten_tree(tree: Any, *, prefix: str = "") -> dict[str, np.ndarray]:
    """The arrays of ``tree`` by path: dict keys, sequence indices and field names joined by ``/``.

    Element types are kept (bfloat16 and integers too); a typed PRNG key becomes its words. Empty containers and
    None have no arrays and so no entry: :func:`tree_structure` keeps them.

    Args:
        tree: any pytree of arrays or numbers.
        prefix: put before every path.

    Returns:
        NumPy arrays by path, in the tree's own order.

    Raises:
        ArtifactError: a leaf that is not an array of numbers, or two leaves of the same path.

    >>> flat = flatten_tree({"layers": ({"kernel": np.ones((2, 3))}, {})}, prefix="params")
    >>> {name: array.shape for name, array in flat.items()}
    {'params/layers/0/kernel': (2, 3)}
    """
    flat: dict[str, np.ndarray] = {}
    for name, leaf in named_leaves(tree, prefix=prefix):
        if name in flat:
            raise ArtifactError(f"two arrays of the tree have the same path {name!r}")
        flat[name] = _as_numpy(name, leaf)
    return flat


def packed(array: np.ndarray) -> np.ndarray:
    """The array as a file holds it: numbers of 4 bits two a byte in one row, the first in the low half, all others as they are.

    >>> packed(np.array([1, -1, 2], DTYPES["int4"])).tolist()
    [241, 2]
    """
    if array.dtype != _HALVES:
        return array
    whole = array.astype(np.int8).ravel() & 15
    pairs = (
        np.append(whole, np.zeros(whole.size % 2, np.int8)).astype(np.uint8).reshape(-1, 2)
    )  # (bytes, low and high half)
    return pairs[:, 0] | pairs[:, 1] << 4


def unpacked(stored: np.ndarray, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """The array that :func:`packed` stored.

    Raises:
        ArtifactError: the bytes of an array of another size.
    """
    if dtype != _HALVES:
        return stored
    count = math.prod(shape)
    if stored.dtype != np.uint8 or stored.shape != ((count + 1) // 2,):
        raise ArtifactError(
            f"an array of {count:,} numbers of 4 bits is stored as {stored.dtype.name}{list(stored.shape)}; "
            f"expected uint8[{(count + 1) // 2}]"
        )
    halves = np.stack([stored & 15, stored >> 4], axis=1).ravel()[:count].astype(np.int8)
    return ((halves ^ 8) - 8).astype(_HALVES).reshape(shape)


def size_in_file(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """The bytes that an array takes in a file."""
    count = math.prod(shape)
    return (count + 1) // 2 if dtype == _HALVES else count * dtype.itemsize


def tree_structure(tree: Any) -> Any:
    """The structure of a tree of dicts, tuples, lists and arrays as plain JSON, to go with :func:`flatten_tree`.

    Raises:
        ArtifactError: a container of another kind, or a dict whose keys are not text.

    >>> tree_structure(({"bias": np.zeros(3, np.float32)}, None))
    {'tuple': [{'dict': {'bias': {'shape': [3], 'dtype': 'float32'}}}, {'none': True}]}
    """
    if tree is None:
        return {"none": True}
    if isinstance(tree, dict):
        wrong = [key for key in tree if not isinstance(key, str)]
        if wrong:
            raise ArtifactError(f"a saved tree's dict keys must be text; got {wrong[0]!r}")
        return {"dict": {key: tree_structure(tree[key]) for key in sorted(tree)}}
    if type(tree) in (tuple, list):
        return {type(tree).__name__: [tree_structure(item) for item in tree]}
    if isinstance(tree, tuple | Mapping):
        raise ArtifactError(
            f"a saved tree may hold dicts, tuples, lists and arrays; got a {type(tree).__name__}",
            hint="turn it into one of those first",
        )
    array = _as_numpy("", tree)
    return {"shape": list(array.shape), "dtype": array.dtype.name}


def expected_arrays(structure: Any, *, prefix: str = "") -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """The ``(shape, dtype)`` of each path that ``structure`` declares; the structure itself is checked on the way.

    Raises:
        ArtifactError: a structure that :func:`tree_structure` cannot have written.
    """
    found: dict[str, tuple[tuple[int, ...], np.dtype[Any]]] = {}
    _walk(structure, prefix, found, 0)
    return found


def _walk(node: Any, path: str, found: dict[str, tuple[tuple[int, ...], np.dtype[Any]]], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ArtifactError(f"the tree at {path[:60]!r} is nested more than {MAX_DEPTH} levels deep")
    if not isinstance(node, dict):
        raise ArtifactError(f"the tree at {path!r} is described by {str(node)[:60]!r}; expected a JSON object")
    if set(node) == {"shape", "dtype"}:
        found[path] = (_shape(node["shape"], path), _dtype(node["dtype"], path))
    elif set(node) == {"dict"} and isinstance(node["dict"], dict):
        for key, child in node["dict"].items():
            if key in ("", ".", "..") or "\0" in key:
                raise ArtifactError(f"the tree at {path!r} has the name {key!r}, which is not allowed")
            _walk(child, _join(path, escape(key)), found, depth + 1)
    elif len(node) == 1 and isinstance(items := node.get("tuple", node.get("list")), list):
        for index, child in enumerate(items):
            _walk(child, _join(path, str(index)), found, depth + 1)
    elif node != {"none": True}:
        raise ArtifactError(
            f"the tree at {path!r} is described by {str(node)[:60]!r}; expected dict, tuple, list, none, "
            "or a shape with a dtype"
        )


def _shape(value: Any, path: str) -> tuple[int, ...]:
    fine = isinstance(value, list) and len(value) <= MAX_RANK
    fine = fine and all(type(size) is int and 0 <= size < 2**48 for size in value)
    if not fine or math.prod(value) >= 2**48:
        raise ArtifactError(f"{path!r} has the shape {str(value)[:60]}; expected a list of sizes")
    return tuple(value)


def _dtype(value: Any, path: str) -> np.dtype[Any]:
    if not isinstance(value, str) or value not in DTYPES:
        raise ArtifactError(f"{path!r} has the dtype {str(value)[:60]!r}; expected one of: {', '.join(DTYPES)}")
    return DTYPES[value]


def unflatten_tree(flat: Mapping[str, np.ndarray], structure: Any, *, prefix: str = "") -> Any:
    """The tree that :func:`tree_structure` described, with the arrays of ``flat``.

    Args:
        flat: arrays by path, as :func:`flatten_tree` gave them. Paths outside ``prefix`` are not looked at.
        structure: what :func:`tree_structure` gave, also after a trip through JSON.
        prefix: as given to :func:`flatten_tree`.

    Raises:
        ArtifactError: a structure that is not valid, or an array that is missing, of another shape or dtype.

    >>> tree = {"a": (np.arange(3), [])}
    >>> unflatten_tree(flatten_tree(tree), tree_structure(tree))
    {'a': (array([0, 1, 2]), [])}
    """
    expected = expected_arrays(structure, prefix=prefix)
    check_arrays(flat, expected)
    return _build(structure, prefix, flat)


def check_arrays(flat: Mapping[str, np.ndarray], expected: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]) -> None:
    """Raise ArtifactError unless each of ``expected`` is in ``flat`` with its shape and dtype."""
    for path, (shape, dtype) in expected.items():
        if path not in flat:
            raise ArtifactError(f"the array {path!r} is missing")
        array = flat[path]
        if array.shape != shape or array.dtype != dtype:
            raise ArtifactError(
                f"the array {path!r} is {array.dtype.name}{list(array.shape)}; expected {dtype.name}{list(shape)}"
            )


def _build(node: dict[str, Any], path: str, flat: Mapping[str, np.ndarray]) -> Any:
    if "shape" in node:
        return flat[path]
    if "dict" in node:
        return {key: _build(child, _join(path, escape(key)), flat) for key, child in node["dict"].items()}
    if "none" in node:
        return None
    (kind,) = node
    items = [_build(child, _join(path, str(index)), flat) for index, child in enumerate(node[kind])]
    return tuple(items) if kind == "tuple" else items
