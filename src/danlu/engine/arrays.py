"""Turns the user's data into arrays that the trainer can use, or raises one clear error."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.errors import DataError

__all__ = ["as_arrays", "as_leaves", "rows_of", "shapes_of"]


def _narrow(array: np.ndarray, where: str) -> np.ndarray:
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
            return np.ascontiguousarray(array, jnp.result_type(float))
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)  # pixels stay a quarter of the size
    if array.dtype.kind in "iu":
        if array.size and (array.max() > 2**31 - 1 or array.min() < -(2**31)):
            raise DataError(f"{where} holds whole numbers beyond 32 bits", hint="scale them, or pass them as floats")
        return np.ascontiguousarray(array, np.int32)
    if array.dtype.kind == "b":
        return array.astype(np.int32)
    if array.dtype.name in ("bfloat16", "float16"):
        return array
    raise DataError(
        f"{where} has dtype {array.dtype}; expected numbers",
        hint="encode text and categories first; danlu.train and danlu.Classifier do that automatically",
    )


def as_leaves(tree: Any, where: str) -> Any:
    """``tree`` with NumPy arrays of at least one axis as leaves; ``where`` names it in the message of an error."""

    def convert(path: Any, leaf: Any) -> np.ndarray:
        name = where + jax.tree_util.keystr(path)
        if np.ma.is_masked(leaf):
            raise DataError(
                f"{name} is a masked array in which {int(np.ma.getmaskarray(leaf).sum())} values are masked; expected none",
                hint="fill them, as in x.filled(0), or drop their rows",
            )
        if hasattr(leaf, "toarray"):
            raise DataError(
                f"{name} is a {type(leaf).__name__}, which is sparse; expected an array", hint="x.toarray() is one"
            )
        try:
            array = np.asarray(leaf)
        except Exception as error:
            raise DataError(f"{name} is a {type(leaf).__name__}; expected an array") from error
        if array.ndim == 0:
            raise DataError(f"{name} is a single value; expected an array with one row per example")
        if array.dtype == np.bool_ and path and getattr(path[-1], "key", None) == "mask":
            return array  # a sequence's padding mask, not a number
        return _narrow(array, name)

    is_leaf = lambda node: not isinstance(node, dict | tuple)  # noqa: E731  a list is an array here
    return jax.tree_util.tree_map_with_path(convert, tree, is_leaf=is_leaf)


def rows_of(tree: Any, where: str) -> int:
    """The common number of rows of the arrays in ``tree``."""
    sizes: dict[str, int] = {
        jax.tree_util.keystr(path): leaf.shape[0] for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }
    if not sizes:
        raise DataError(f"{where} holds no arrays")
    if len(set(sizes.values())) > 1:
        shown = ", ".join(f"{where}{name} has {n}" for name, n in sizes.items())
        raise DataError(f"the arrays of {where} differ in their number of rows: {shown}")
    return next(iter(sizes.values()))


def _check_finite(tree: Any, where: str) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if leaf.dtype.kind == "f" and not np.isfinite(leaf).all():
            bad = ~np.isfinite(leaf)
            first = tuple(int(i) for i in np.argwhere(bad)[0])
            raise DataError(
                f"{where}{jax.tree_util.keystr(path)} holds {int(bad.sum())} values that are not finite; the first is "
                f"{leaf[first]} at row {first[0]}" + (f", position {first[1:]}" if first[1:] else ""),
                hint="drop or fill the missing values, and scale values too large for 32-bit floats",
            )


def as_arrays(data: Any, *, need_targets: bool = True) -> dict[str, Any]:
    """``(x, y)`` or ``(x, y, weight)`` as a checked chunk ``{"x", "y", "weight"}`` of NumPy arrays.

    They have 32 bits; floats under ``jax_enable_x64`` 64.

    Raises:
        DataError: not arrays of equal length, not numbers, not finite, no rows, or a negative weight.
    """
    if not isinstance(data, tuple | list) or len(data) not in (2, 3):
        what = f"a tuple of {len(data)}" if isinstance(data, tuple) else f"a {type(data).__name__}"
        raise DataError(f"the data is {what}; expected (x, y) or (x, y, weight)", hint="fit(model, x, y)")
    x, y, *rest = data
    x = as_leaves(x, "x")
    rows = rows_of(x, "x")
    if rows == 0:
        raise DataError("the data has no rows", hint="check the file, the filter or the split that it comes from")
    y = as_leaves(y, "y")
    if rows_of(y, "y") != rows:
        raise DataError(f"x has {rows} rows and y has {rows_of(y, 'y')}; expected the same number")
    real = jnp.result_type(float)
    weight = np.ones(rows, real) if not rest or rest[0] is None else as_leaves(rest[0], "weight")
    if not isinstance(weight, np.ndarray):
        raise DataError(f"the weights are a {type(weight).__name__}; expected one number per row")
    weight = weight.astype(real)
    if weight.shape != (rows,):
        raise DataError(f"the weights have shape {weight.shape}; expected ({rows},), one per row")
    chunk = {"x": x, "y": y, "weight": weight}
    for name, tree in chunk.items():
        _check_finite(tree, name)
    if (weight < 0).any():
        raise DataError("a row has a negative weight; expected weights of 0 or more")
    if not weight.any():
        raise DataError("every row has weight 0, so there is nothing to learn from")
    return chunk


def shapes_of(tree: Any) -> Any:
    """The shape of one row of each array: what ``Layer.init`` takes as ``in_shape``."""
    return jax.tree.map(lambda a: tuple(int(n) for n in a.shape[1:]), tree)
