"""Embeddings of a table's columns: numbers by piecewise-linear and periodic functions, categories by rows of tables.

A plain linear layer sees a number only as a slope. Both numeric encodings let the first layer bend at many places,
which is most of what trees have over networks on tables.
"""

from __future__ import annotations

import functools
import math
import statistics
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import setting
from danlu.errors import ConfigError, DataError
from danlu.nn._precision import repeated
from danlu.nn._shapes import check_last_axis, drawn, features, size
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["CategoricalEmbedding", "NumericEmbedding", "bin_edges"]


def bin_edges(values: np.ndarray, bins: int) -> np.ndarray:
    """The edges of at most ``bins`` bins for one column, strictly increasing, at least two.

    Quantiles of the values first. Where many values are equal (capital gains: nine in ten are 0) quantiles collapse,
    and the bins that this frees go to quantiles of the *distinct* values, so that the tail keeps its resolution.

    Args:
        values: the finite values of one column, training rows only.
        bins: the largest number of bins, >= 1.

    Raises:
        DataError: no values, or values that are not finite.

    Example:
        >>> bin_edges(np.array([0.0, 1, 2, 3, 4]), 2).tolist()
        [0.0, 2.0, 4.0]
        >>> bin_edges(np.array([0.0] * 98 + [5, 9]), 3).tolist()
        [0.0, 5.0, 9.0]
    """
    values = np.asarray(values, np.float32).ravel()
    if not values.size or not np.isfinite(values).all():
        raise DataError(
            f"bin_edges received {values.size} values, {int(np.sum(~np.isfinite(values)))} of them not finite; "
            "expected at least one, all finite",
            hint="impute missing values first",
        )
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)).astype(np.float32))
    distinct = np.unique(values)
    free = bins + 1 - len(edges)
    if free > 0 and len(distinct) > len(edges):
        extra = np.quantile(distinct, np.linspace(0, 1, free + 2)[1:-1], method="nearest")
        edges = np.unique(np.concatenate([edges, extra.astype(np.float32)]))
    apart = max(1e-6, 1e-6 * float(edges[-1] - edges[0]))
    edges = edges[np.concatenate([[True], np.diff(edges) > apart])]
    return edges if len(edges) > 1 else np.asarray([edges[0] - 0.5, edges[0] + 0.5], np.float32)


class NumericEmbedding(Layer):
    r"""``dim`` numbers for each numeric column: a line, plus bends at bin edges, plus waves.

    ``e_j(x) = gain · (x·w_j + b_j + PLE_j(x)·V_j + [cos 2π·gain·f_j x, sin 2π·gain·f_j x]·P_j)`` for column ``j``,
    where component ``t`` of ``PLE_j(x)`` is ``clip((x − left_jt) / width_jt, 0, 1)``: 1 for every bin below ``x``,
    0 above, and in between in the bin of ``x``. In the last bin the upper limit is 4, so that values beyond the
    training range still differ.

    ``V`` starts at 0: the network starts from the plain line (version B of the authors' code). ``gain`` scales the
    output and divides the initial values: under Adam these parameters move ``gain`` times as far a step as others.

    Args:
        dim: numbers for each column.
        bins: piecewise-linear bins a column; 0 for none.
        frequencies: waves a column; 0 for none.
        scale: standard deviation of the frequencies ``f`` at the start, cycles per unit of the (standardised) column.
        gain: see above.

    Params: ``{"slope", "offset": (columns, dim)}`` and, where there are any, ``"bend": (columns, bins, dim)``,
        ``"frequency": (columns, frequencies)`` and ``"wave": (columns, 2·frequencies, dim)``.
    State: ``{"left", "inverse_width", "upper": (columns, bins)}``, the bins; they start at the quantiles of a
        standard normal and are set to the data's by :meth:`with_bins`.

    Reference:
        Gorishniy, Rubachev & Babenko, "On embeddings for numerical features in tabular deep learning" (NeurIPS 2022),
        sections 3.2 (piecewise-linear, quantile bins) and 3.3 (periodic). They use one or the other and quantile bins
        alone.

    Example:
        >>> layer = NumericEmbedding(4, bins=8)
        >>> params, state, out_shape = layer.init(jax.random.key(0), (3,))
        >>> out_shape, layer.apply(params, state, jnp.zeros((5, 3)))[0].shape
        ((12,), (5, 12))
    """

    dim: int = setting(default=12, minimum=1, integer=True)
    bins: int = setting(default=48, minimum=0, integer=True)
    frequencies: int = setting(default=16, minimum=0, integer=True)
    scale: float = setting(default=1.0, above=0)
    gain: float = setting(default=5.0, above=0)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        columns = features("NumericEmbedding", in_shape)
        uniform_key, frequency_key = jax.random.split(key)
        shapes: dict[str, tuple[int, ...]] = {"slope": (columns, self.dim), "offset": (columns, self.dim)}
        if self.frequencies:
            shapes["wave"] = (columns, 2 * self.frequencies, self.dim)
        uniform = functools.partial(jax.random.uniform, minval=-1 / self.gain, maxval=1 / self.gain)
        params = dict(zip(shapes, drawn(uniform, uniform_key, list(shapes.values())), strict=True))
        if self.frequencies:
            params["wave"] /= math.sqrt(2 * self.frequencies)
            [frequency] = drawn(jax.random.normal, frequency_key, [(columns, self.frequencies)])
            params["frequency"] = self.scale / self.gain * frequency
        state = {}
        if self.bins:
            params["bend"] = jnp.zeros((columns, self.bins, self.dim))
            quantile = statistics.NormalDist().inv_cdf
            normal = np.array([quantile(share) for share in np.linspace(0.001, 0.999, self.bins + 1)])
            state = self._bins([normal] * columns)
        return params, state, (columns * self.dim,)

    def _bins(self, edges: list[np.ndarray]) -> dict[str, jax.Array]:
        left, inverse, upper = (np.zeros((len(edges), self.bins), jnp.result_type(float)) for _ in range(3))
        for column, edge in enumerate(edges):
            count = len(edge) - 1
            left[column, :count] = edge[:-1]
            inverse[column, :count] = 1 / np.diff(edge)
            upper[column, :count] = 1.0
            upper[column, count - 1] = 4.0
        return {"left": jnp.asarray(left), "inverse_width": jnp.asarray(inverse), "upper": jnp.asarray(upper)}

    def with_bins(self, state: State, values: np.ndarray) -> State:
        """``state`` with the bins of ``values`` (training rows, columns); see :func:`bin_edges`.

        Raises:
            DataError: another number of columns, no rows, or values that are not finite.
        """
        if not self.bins:
            return state
        values = np.asarray(values)
        columns = state["left"].shape[0]
        if values.ndim != 2 or values.shape[1] != columns:
            raise DataError(f"with_bins received an array of shape {values.shape}; expected (rows, {columns})")
        return {**state, **self._bins([bin_edges(values[:, j], self.bins) for j in range(columns)])}

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        check_last_axis("NumericEmbedding", x, params["slope"].shape[0])
        # Columns first: the sums over bins and waves are then one batched matrix product each.
        columns = x.T[:, :, None]
        whole = (*columns.shape[:2], self.dim)
        slope, offset = (repeated(params[name][:, None], whole) for name in ("slope", "offset"))
        total = repeated(columns, whole) * slope + offset
        if self.bins:
            place = (columns - state["left"][:, None]) * state["inverse_width"][:, None]
            total += jnp.clip(place, 0.0, state["upper"][:, None]) @ params["bend"]
        if self.frequencies:
            waves = (*columns.shape[:2], self.frequencies)
            frequency = repeated(params["frequency"][:, None], waves)
            angle = 2 * jnp.pi * self.gain * repeated(columns, waves) * frequency
            total += jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], -1) @ params["wave"]
        return self.gain * jax.lax.collapse(total.transpose(1, 0, 2), 1), state

    def flops(self, in_shape: Shape) -> int:
        per_output = 2 * (1 + self.bins + 2 * self.frequencies)
        return size(in_shape) * self.dim * per_output


class CategoricalEmbedding(Layer):
    """Each categorical column as a one-hot vector when it has few categories, else as ``dim`` learned numbers.

    The lookup is a product with the one-hot matrix, so its gradient is a product too: on a CPU that is much faster than
    the scatter of an indexed lookup. A code outside the vocabulary is treated as 0, "unknown". In place of codes it takes
    :meth:`shares` of them, ``(batch, codes of all columns)``, in which a row may be between two categories: its gradient is there.

    Args:
        vocabularies: the number of codes of each column, "unknown" included.
        dim: size of the embedding of a column with more than ``one_hot_limit`` codes.
        one_hot_limit: the largest vocabulary that is passed on as it is.
        gain: as in :class:`NumericEmbedding`.

    Params: ``{"table_J": (vocabulary, dim)}`` for each column ``J`` that has one. State: ``{}``.

    Example:
        >>> layer = CategoricalEmbedding((3, 100), dim=4)
        >>> params, state, out_shape = layer.init(jax.random.key(0), (2,))
        >>> out_shape, sorted(params)
        ((7,), ['table_1'])
    """

    vocabularies: tuple[int, ...]
    dim: int = setting(default=8, minimum=1, integer=True)
    one_hot_limit: int = setting(default=16, minimum=0, integer=True)
    gain: float = setting(default=5.0, above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(isinstance(count, int) and count >= 1 for count in self.vocabularies):
            raise ConfigError(
                f"CategoricalEmbedding.vocabularies is {self.vocabularies!r}; expected whole numbers >= 1",
                hint="the number of codes of each column, 'unknown' included",
            )

    @property
    def sections(self) -> tuple[int, ...]:
        """How many outputs each column has; a one-hot column's outputs are sections of their own."""
        sizes: list[int] = []
        for count in self.vocabularies:
            sizes += [1] * count if count <= self.one_hot_limit else [self.dim]
        return tuple(sizes)

    def shares(self, codes: Any) -> jax.Array:
        """Codes as one-hot vectors side by side, ``(batch, codes of all columns)``."""
        one_hot = []
        for j, count in enumerate(self.vocabularies):
            known = jnp.where((codes[:, j] >= 0) & (codes[:, j] < count), codes[:, j], 0)
            one_hot.append(jax.nn.one_hot(known, count, dtype=float))
        return jnp.concatenate(one_hot, axis=1)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        columns = features("CategoricalEmbedding", in_shape)
        if columns != len(self.vocabularies):
            raise ConfigError(f"CategoricalEmbedding has {len(self.vocabularies)} vocabularies for {columns} columns")
        large = [j for j, count in enumerate(self.vocabularies) if count > self.one_hot_limit]
        tables = drawn(jax.random.normal, key, [(self.vocabularies[j], self.dim) for j in large]) if large else []
        scale = 1 / (self.gain * math.sqrt(self.dim))
        params = {f"table_{j}": scale * table for j, table in zip(large, tables, strict=True)}
        return params, {}, (sum(self.sections),)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        soft = jnp.issubdtype(x.dtype, jnp.floating)
        check_last_axis("CategoricalEmbedding", x, sum(self.vocabularies) if soft else len(self.vocabularies))
        each = jnp.split(x if soft else self.shares(x), np.cumsum(self.vocabularies)[:-1].tolist(), axis=1)
        parts = []
        for j, (count, one_hot) in enumerate(zip(self.vocabularies, each, strict=True)):
            parts.append(one_hot if count <= self.one_hot_limit else self.gain * (one_hot @ params[f"table_{j}"]))
        return jnp.concatenate(parts, axis=1), state

    def flops(self, in_shape: Shape) -> int:
        return sum(2 * count * self.dim for count in self.vocabularies if count > self.one_hot_limit)
