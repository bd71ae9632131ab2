"""A linear model of a table's encoded rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import setting
from danlu.errors import ConfigError
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["TableLinear", "columns_of", "matrix", "single"]

_INPUTS = ("numeric", "categorical", "text")


def matrix(x: Mapping[str, Any]) -> jax.Array:
    """Encoded rows as one matrix ``(batch, columns)`` of numbers: numeric, categorical and text side by side."""
    parts = [jnp.asarray(x[name]) for name in _INPUTS if name in x]
    dtype = jnp.promote_types(jnp.float32, jnp.result_type(*parts))
    return jnp.concatenate([part.astype(dtype) for part in parts], axis=1)


def columns_of(layer: str, in_shape: Shape) -> int:
    """The number of columns of encoded rows of this shape.

    Raises:
        ConfigError: it is not that of a table's rows.
    """
    if not isinstance(in_shape, Mapping) or not in_shape or not set(in_shape) <= set(_INPUTS):
        raise ConfigError(f"{layer} received {in_shape!r}; expected a dict with one or more of {', '.join(_INPUTS)}")
    widths: Any = in_shape.values()
    return sum(math.prod(shape) for shape in widths)


class TableLinear(Layer):
    """``y_m = numbers · W_m + Σ_j T_mj[code_j] + b_m``: a slope for each number, a value for each code of a category.

    A code that a column does not have adds nothing.

    Args:
        units: outputs of each member.
        vocabularies: codes of each categorical column.
        members: models side by side.

    Input: a dict as a table encoder gives it. Output: ``(batch, members, units)``.

    Params: ``{"slope": (members, numeric and text columns, units), "level": (members, codes of all columns, units),
    "offset": (members, units)}``, each absent without such columns.

    Example:
        >>> net = TableLinear(3, vocabularies=(4, 2), members=5)
        >>> params, _, out_shape = net.init(jax.random.key(0), {"numeric": (7,), "categorical": (2,)})
        >>> out_shape, params["slope"].shape, params["level"].shape
        ((5, 3), (5, 7, 3), (5, 6, 3))
    """

    units: int = setting(minimum=1, integer=True)
    vocabularies: tuple[int, ...] = ()
    members: int = setting(default=1, minimum=1, integer=True)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        columns = columns_of("TableLinear", in_shape)
        shapes: Any = in_shape
        coded = shapes["categorical"][0] if "categorical" in shapes else 0
        if coded != len(self.vocabularies):
            raise ConfigError(
                f"TableLinear.vocabularies has {len(self.vocabularies)} columns; the rows have {coded} categorical ones"
            )
        params = {"offset": jnp.zeros((self.members, self.units))}
        if columns > coded:
            params["slope"] = jnp.zeros((self.members, columns - coded, self.units))
        if coded:
            params["level"] = jnp.zeros((self.members, sum(self.vocabularies), self.units))
        return params, {}, (self.members, self.units)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        rows = next(iter(x.values())).shape[0]
        params = jax.tree.map(single, params)
        y = jnp.broadcast_to(params["offset"], (rows, self.members, self.units))
        if "slope" in params:
            numbers = matrix({name: part for name, part in x.items() if name != "categorical"})
            numbers = numbers.astype(params["slope"].dtype)
            # (batch, numbers)·(members, numbers, units): (batch, members, units)
            y = y + jnp.einsum("bn,mnu->bmu", numbers, params["slope"], precision=jax.lax.Precision.HIGHEST)
        if "level" in params:
            sizes = np.asarray(self.vocabularies)[None]
            place = jnp.where(x["categorical"] < sizes, x["categorical"] + sizes.cumsum(axis=1) - sizes, -1)
            found = jnp.where((place >= 0)[..., None], params["level"][:, jnp.maximum(place, 0)], 0)
            y = y + found.sum(axis=2).swapaxes(0, 1)  # (members, batch, columns, units) without its columns
        return y, state

    def flops(self, in_shape: Shape) -> int | None:
        shapes: Any = in_shape
        numbers = columns_of("TableLinear", in_shape) - len(self.vocabularies)
        return self.members * self.units * (2 * numbers + len(shapes.get("categorical", ())) + 1)


def single(leaf: Any) -> jax.Array:
    """An array of JAX in single precision or more: NumPy's, as a saved model has them, cannot be indexed by a traced one."""
    found: jax.Array = jnp.asarray(leaf)
    return found.astype(jnp.promote_types(found.dtype, jnp.float32))
