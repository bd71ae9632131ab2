"""Records as the Open Inference Protocol's tensors, one for each field, and answers as tensors, one for each of their names."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from danlu.data.fields import Field
from danlu.errors import SchemaError, shorten

__all__ = ["field_tensor", "output_tensor", "records_from", "tensor_of"]

_TYPES = {"number": "FP64", "boolean": "BOOL", "array": "FP64", "column": "FP64"}
_NUMBERS = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP16", "FP32", "FP64")
_KINDS: dict[str, tuple[type, ...]] = {
    "BOOL": (bool,),
    "BYTES": (str,),
    **{name: (int, float) if name.startswith("FP") else (int,) for name in _NUMBERS},
}


def field_tensor(field: Field) -> dict[str, Any]:
    """A field as the metadata of a model names it; −1 is an axis of any length, the first one that of the rows.

    >>> field_tensor(Field("age", "number"))
    {'name': 'age', 'datatype': 'FP64', 'shape': [-1]}
    """
    shape = [-1 if size is None else size for size in field.shape] if field.kind in ("array", "column") else []
    texts = field.kind == "column" and field.low is None  # of times
    return {
        "name": field.name,
        "datatype": "BYTES" if texts else _TYPES.get(field.kind, "BYTES"),
        "shape": [-1, *shape],
    }


def records_from(inputs: Sequence[Any]) -> list[dict[str, Any]]:
    """The records that tensors hold: row ``i`` of each is a field of record ``i``; a null is a missing value.

    Raises:
        SchemaError: a tensor that is not what its shape and type say, or tensors of different lengths.

    Example:
        >>> records_from([{"name": "age", "shape": [2, 1], "datatype": "INT64", "data": [31, 45]}])
        [{'age': 31}, {'age': 45}]
    """
    columns: dict[str, list[Any]] = {}
    for tensor in inputs:
        if not isinstance(tensor, Mapping) or not {"name", "shape", "datatype", "data"} <= set(tensor):
            raise SchemaError(f"an input is {shorten(tensor)}; expected an object with name, shape, datatype and data")
        name = tensor["name"]
        if not isinstance(name, str):
            raise SchemaError(f"the name of an input is {shorten(name)}; expected a text")
        if name in columns:
            raise SchemaError(f"there are two inputs {name!r}; expected one for each field")
        columns[name] = _rows(name, tensor)
    lengths = {name: len(rows) for name, rows in columns.items()}
    if len(set(lengths.values())) > 1:
        raise SchemaError(
            f"the inputs have different numbers of rows: {', '.join(f'{n!r} {k}' for n, k in lengths.items())}"
        )
    count = next(iter(lengths.values()), 0)
    return [{name: rows[row] for name, rows in columns.items()} for row in range(count)]


def _rows(name: str, tensor: Mapping[str, Any]) -> list[Any]:
    shape, kind, data = tensor["shape"], tensor["datatype"], tensor["data"]
    if not isinstance(shape, list) or not shape or any(type(size) is not int or size < 0 for size in shape):
        raise SchemaError(
            f"the shape of {name!r} is {shorten(shape)}; expected a list of whole numbers, the rows first"
        )
    if not isinstance(kind, str) or kind not in _KINDS:
        raise SchemaError(f"the datatype of {name!r} is {shorten(kind)}; expected one of: {', '.join(_KINDS)}")
    if not isinstance(data, list):
        raise SchemaError(f"the data of {name!r} is {shorten(data)}; expected a list")
    flat = list(_flat(data))
    if len(flat) != math.prod(shape):
        raise SchemaError(f"{name!r} has {len(flat)} values; its shape {shape} needs {math.prod(shape)}")
    for value in flat:
        if value is not None and (not isinstance(value, _KINDS[kind]) or (isinstance(value, bool) and kind != "BOOL")):
            raise SchemaError(f"{name!r} holds {shorten(value)}; expected {kind}, as its datatype says, or null")
    while len(shape) > 1 and shape[-1] == 1:  # a column
        shape = shape[:-1]
    for size in reversed(shape[1:]):
        flat = [flat[start : start + size] for start in range(0, len(flat), size)] if size else []
    return flat


def _flat(data: list[Any]) -> Any:
    stack = [iter(data)]
    while stack:
        for value in stack[-1]:
            if isinstance(value, list):
                stack.append(iter(value))
                break
            yield value
        else:
            stack.pop()


def tensor_of(name: str, values: Sequence[Any]) -> dict[str, Any]:
    """One entry of all answers as a tensor: texts and numbers as they are, anything else as JSON in texts.

    >>> tensor_of("price", ["cheap", "dear"])
    {'name': 'price', 'shape': [2], 'datatype': 'BYTES', 'data': ['cheap', 'dear']}
    >>> tensor_of("boxes", [[{"x": 1}], []])["data"]
    ['[{"x": 1}]', '[]']
    """
    shape = _shape_of(list(values))
    flat = list(values) if shape is None else list(_flat(list(values)))
    met = {type(value) for value in flat} - {type(None)}
    for kind, types in (("BOOL", {bool}), ("INT64", {int}), ("FP64", {int, float}), ("BYTES", {str})):
        if shape is not None and met <= types:
            return {"name": name, "shape": shape, "datatype": kind, "data": flat}
    texts = [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values]
    return {"name": name, "shape": [len(texts)], "datatype": "BYTES", "data": texts}


def output_tensor(name: str, value: Any) -> dict[str, Any]:
    """The same as the metadata of a model names it, from an example."""
    found = tensor_of(name, [value])
    return {"name": name, "datatype": found["datatype"], "shape": [-1] * len(found["shape"])}


def _shape_of(values: Any) -> list[int] | None:
    """The shape of nested lists; None where they have none."""
    if not isinstance(values, list):
        return None if isinstance(values, dict) else []
    shapes = {tuple(shape) if (shape := _shape_of(each)) is not None else None for each in values}
    if len(shapes) > 1 or None in shapes:
        return None
    return [len(values), *(next(iter(shapes), None) or ())]
