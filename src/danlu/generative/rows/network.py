"""What models of whole rows have in common: a likelihood of rows, rows that are drawn, and columns as cells or as normal numbers."""

from __future__ import annotations

import abc
import functools
import itertools
import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.engine import Objective
from danlu.errors import ConfigError
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["Likelihood", "RowModel", "column_noise", "log_shares", "mixed"]

_EDGE = 1e-6  # of the probabilities that become normal numbers
_LOG_ROOT = 0.5 * math.log(2 * math.pi)


class RowModel(Layer, abc.ABC):
    """A network that learns how rows of a table are distributed, and draws new ones.

    Called as a layer it gives the log-likelihood of each row in nats ``(batch,)``, or a lower bound of it, in the units of the table: of a
    number it is a density, of a category a probability. What is random of that is the same for every row, so that a row's value does not
    depend on the rows beside it.

    Rows come as :class:`~danlu.data.rows.RowEncoder` has them: ``cell`` and ``place`` and ``slope``, each ``(batch, columns)``.

    Attributes:
        sizes: cells of each column.
        numbers: which columns are numbers.
        exact: whether the value of a row of numbers is its log-likelihood itself.

    State: what the cells are, ``share``, ``before`` (the sum of the shares before) and ``jitter``, each ``(cells of all columns,)``.
    """

    if TYPE_CHECKING:
        sizes: tuple[int, ...]
        numbers: tuple[bool, ...]

    exact = False

    @abc.abstractmethod
    def parameters(self, key: jax.Array) -> Params:
        """The parameters that training begins with."""

    @abc.abstractmethod
    def log_likelihood(
        self, params: Params, state: State, x: dict[str, jax.Array], key: jax.Array | None, *, train: bool
    ) -> jax.Array:
        """What training makes large, ``(batch,)``; without a key it draws the same numbers for every row."""

    @abc.abstractmethod
    def draw(self, params: Params, state: State, keys: jax.Array) -> tuple[jax.Array, jax.Array]:
        """New rows: the cells and the places ``(count, columns)``, each row by its own key of ``keys (count,)``."""

    @property
    def total(self) -> int:
        """Cells of all columns."""
        return sum(self.sizes)

    @property
    def starts(self) -> np.ndarray:
        """The first cell of each column among all, ``(columns,)``."""
        return np.concatenate([[0], np.cumsum(self.sizes)[:-1]]).astype(np.int32)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        if not isinstance(in_shape, dict) or in_shape.get("cell") != (len(self.sizes),):
            raise ConfigError(
                f"{type(self).__name__} has {len(self.sizes)} columns; the rows have the shape {in_shape}"
            )
        even = np.concatenate([np.full(size, 1 / size, np.float32) for size in self.sizes])
        before = np.concatenate([np.arange(size, dtype=np.float32) / size for size in self.sizes])
        cells = {"share": jnp.asarray(even), "before": jnp.asarray(before), "jitter": jnp.ones(self.total)}
        return self.parameters(key), cells, ()

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        return self.log_likelihood(params, state, x, key if train else None, train=train), state

    # Columns as normal numbers.

    def normal(self, state: State, x: dict[str, jax.Array], noise: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Rows as normal numbers ``z = Φ⁻¹(F(x))`` and ``log |dz/dx|``, both ``(batch, columns)``.

        F is the share of the training rows below; of a cell that one value fills, a category too, ``noise`` (in [0, 1), of a shape that
        broadcasts to ``(batch, columns)``) says where in it the value is put.
        """
        own = x["cell"] + self.starts[None]
        share, jitter = state["share"][own], state["jitter"][own]
        noise = jnp.broadcast_to(noise if noise.ndim == 2 else noise[None], share.shape)
        place = jnp.clip(x["place"] + (noise - 0.5) * jitter, 0.0, 1.0)
        u = jnp.clip(state["before"][own] + share * place, _EDGE, 1 - _EDGE)
        z = jax.scipy.special.ndtri(u)
        return z, jnp.log(share) - x["slope"] + 0.5 * jnp.square(z) + _LOG_ROOT

    def cells_of(self, state: State, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The inverse of :meth:`normal`: cells and places of normal numbers ``(batch, columns)``."""
        table, there = _padded(self.sizes)
        edges = jnp.where(there, state["before"][table], 2.0)
        u = jax.scipy.special.ndtr(z)
        cell = jnp.maximum(jnp.sum(u[..., None] >= edges[None], axis=-1) - 1, 0)  # (batch, columns, cells)
        own = cell + self.starts[None]
        return cell, jnp.clip((u - state["before"][own]) / state["share"][own], 0.0, 1 - 1e-6)

    # Columns as cells.

    def one_hot(self, cell: jax.Array) -> jax.Array:
        """The cells ``(batch, columns)`` as ones among zeros, ``(batch, cells of all columns)``."""
        column, local = _places(self.sizes)
        return (cell[:, column] == local[None]).astype(jnp.float32)


class Likelihood(Objective):
    """The mean of ``−log p(row)`` of a :class:`RowModel`, or of its bound."""

    network: RowModel

    def __call__(
        self, params: Any, state: Any, batch: dict[str, Any], key: jax.Array, *, train: bool
    ) -> tuple[jax.Array, Any, dict[str, jax.Array]]:
        found = self.network.log_likelihood(params, state, batch["x"], key if train else None, train=train)
        return -found, state, {}


def log_shares(logits: jax.Array, sizes: tuple[int, ...]) -> jax.Array:
    """The logarithm of each cell's probability among those of its column: ``(…, cells of all columns)``, as the logits are."""
    starts = np.concatenate([[0], np.cumsum(sizes)])
    parts = [jax.nn.log_softmax(logits[..., low:high], axis=-1) for low, high in itertools.pairwise(starts)]
    return jnp.concatenate(parts, axis=-1) if parts else logits


def column_noise(draws: int, columns: int) -> np.ndarray:
    """Places that are the same for all rows, ``(draws, columns)`` in [0, 1): a lattice that is even in every column.

    Reference: the additive recurrence with the powers of the generalised golden ratio; Roberts (2018), "The unreasonable effectiveness of
    quasirandom sequences".
    """
    ratio = 2.0
    for _ in range(30):
        ratio = (1 + ratio) ** (1 / (columns + 1))
    steps = (1 / ratio) ** (1 + np.arange(columns))
    return np.asarray((0.5 + np.outer(np.arange(draws), steps)) % 1, np.float32)


def mixed(values: jax.Array) -> jax.Array:
    """``log mean exp`` over the first axis."""
    return jax.scipy.special.logsumexp(values, axis=0) - math.log(values.shape[0])


@functools.lru_cache
def _padded(sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The cells of each column among all ``(columns, most cells)``, and which of these places there are."""
    local = np.arange(max(sizes))
    there = local[None] < np.asarray(sizes)[:, None]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return np.where(there, starts[:, None] + local[None], 0).astype(np.int32), there


@functools.lru_cache
def _places(sizes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The column of each cell, and its number in it, both ``(cells of all columns,)``."""
    column = np.repeat(np.arange(len(sizes)), sizes).astype(np.int32)
    return column, np.concatenate([np.arange(size) for size in sizes]).astype(np.int32)
