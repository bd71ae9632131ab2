"""An autoregressive model of rows: each column given those before it, all by one masked network (MADE)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import setting
from danlu.generative.rows.network import RowModel, _places, log_shares
from danlu.nn.layer import Params, Shape, State

__all__ = ["RowMADE"]

_WAVES = 16  # of a column of numbers


class RowMADE(RowModel):
    """``log p(x) = Σ_j log p(cell_j | cells before j) − log |dx_j/dt|``, with the conditionals from one network with masks.

    A hidden unit has a degree ``m``: it sees the columns up to the m-th, and is seen by those after it. A weight is masked where it would
    let a column see itself or one after it, ``M[k, k'] = 1{m(k') ≥ m(k)}``, and at the output ``1{column > m(k)}``; so one pass gives all
    conditionals, and the Jacobian of the logits in the inputs is strictly triangular in blocks. A number is in a cell with the probability
    that the network says, and anywhere in it evenly.

    Weights into and out of the cells of a number are a part of their own and a sum of 16 cosine waves over the column, which neighbouring
    cells share: what holds of 30 is soon known of 31.

    Args:
        sizes, numbers: see :class:`RowModel`.
        width, depth: of the hidden layers; from the second on each adds to the one before.
        dropout: share of hidden units that a training step leaves out.
        own: how much each cell of a number is by itself beside its waves; below 1 where there are few rows to know it by.

    Reference: Germain et al., "MADE: masked autoencoder for distribution estimation" (2015), eq. 8 to 13. The columns are in the order of
    the table, one order for all; the logits have the logarithms of the columns' shares as an offset, so that training begins with
    independent columns.

    Example:
        >>> network = RowMADE((2, 3), (False, False), width=8)
        >>> params, state, _ = network.init(jax.random.key(0), {"cell": (2,), "place": (2,), "slope": (2,)})
        >>> cells = jnp.array([[a, b] for a in (0, 1) for b in (0, 1, 2)])
        >>> rows = {"cell": cells, "place": jnp.zeros((6, 2)), "slope": jnp.zeros((6, 2))}
        >>> round(float(jnp.exp(network.apply(params, state, rows)[0]).sum()), 5)
        1.0
    """

    sizes: tuple[int, ...]
    numbers: tuple[bool, ...]
    width: int = setting(default=256, minimum=1, integer=True)
    depth: int = setting(default=2, minimum=1, integer=True)
    dropout: float = setting(default=0.1, minimum=0, below=1)
    own: float = setting(default=1.0, minimum=0)

    exact = True

    def parameters(self, key: jax.Array) -> Params:
        keys = jax.random.split(key, self.depth)

        def drawn(key: jax.Array, rows: int, scale: float) -> jax.Array:
            return scale * jax.random.normal(key, (rows, self.width))

        first = drawn(keys[0], self.total, (2 / max(len(self.sizes), 1)) ** 0.5)
        later = [drawn(each, self.width, (1 / self.width) ** 0.5) for each in keys[1:]]
        waves = _WAVES * sum(self.numbers)
        return {
            "waves": {
                "in": drawn(jax.random.fold_in(key, 1), waves, (1 / _WAVES) ** 0.5),
                "out": jnp.zeros((self.width, waves)),
            },
            "in": {"kernel": first, "bias": jnp.zeros(self.width)},
            "hidden": [{"kernel": kernel, "bias": jnp.zeros(self.width)} for kernel in later],
            "out": {"kernel": jnp.zeros((self.width, self.total)), "bias": jnp.zeros(self.total)},
        }

    def masks(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of the weights into the network ``(cells, width)``, within it ``(width, width)`` and out of it ``(width, cells)``."""
        column = _places(self.sizes)[0] + 1
        degree = 1 + np.arange(self.width) % max(len(self.sizes) - 1, 1)
        into = degree[None] >= column[:, None]
        return into, degree[None] >= degree[:, None], column[None] > degree[:, None]

    def waves(self, state: State) -> jax.Array:
        """``cos(π·f·u)`` of the middle u of each cell of a number, ``(cells, columns of numbers · waves)``; 0 elsewhere."""
        column = _places(self.sizes)[0]
        own = (column[:, None] == np.flatnonzero(self.numbers)[None]).astype(np.float32)
        u = state["before"] + state["share"] / 2
        found = jnp.cos(np.pi * u[:, None] * (1 + np.arange(_WAVES, dtype=np.float32))[None])
        return (own[:, :, None] * found[:, None]).reshape(self.total, -1)  # (cells, columns of numbers · waves)

    def logits(self, params: Params, state: State, cell: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Of each cell given the columns before its own, ``(batch, cells of all columns)``."""
        into, within, out = self.masks()
        waves = self.waves(state)
        own = np.where(np.asarray(self.numbers)[_places(self.sizes)[0]], self.own, 1.0).astype(np.float32)
        kernel_in = (own[:, None] * params["in"]["kernel"] + waves @ params["waves"]["in"]) * into
        kernel_out = (own[None] * params["out"]["kernel"] + params["waves"]["out"] @ waves.T) * out
        h = jax.nn.relu(self.one_hot(cell) @ kernel_in + params["in"]["bias"][None])
        for number, own in enumerate(params["hidden"]):
            h = h + jax.nn.relu(self._dropped(h, key, number) @ (own["kernel"] * within) + own["bias"][None])
        h = self._dropped(h, key, self.depth)
        return h @ kernel_out + (params["out"]["bias"] + jnp.log(state["share"]))[None]

    def _dropped(self, h: jax.Array, key: jax.Array | None, number: int) -> jax.Array:
        if key is None or not self.dropout:
            return h
        kept = jax.random.bernoulli(jax.random.fold_in(key, number), 1 - self.dropout, h.shape)
        return jnp.where(kept, h / (1 - self.dropout), 0)

    def log_likelihood(
        self, params: Params, state: State, x: dict[str, jax.Array], key: jax.Array | None, *, train: bool
    ) -> jax.Array:
        logs = log_shares(self.logits(params, state, x["cell"], key), self.sizes)
        return jnp.sum(self.one_hot(x["cell"]) * logs, axis=-1) - jnp.sum(x["slope"], axis=-1)

    def draw(self, params: Params, state: State, keys: jax.Array) -> tuple[jax.Array, jax.Array]:
        column, local = _places(self.sizes)
        keys = jax.vmap(jax.random.split)(keys)  # (count, 2)

        def next_column(number: Any, cell: jax.Array) -> jax.Array:
            logits = self.logits(params, state, cell)
            own = jnp.where(column[None] == number, logits, -jnp.inf)
            noise = jax.vmap(lambda key: jax.random.gumbel(jax.random.fold_in(key, number), (self.total,)))(keys[:, 0])
            return cell.at[:, number].set(jnp.asarray(local)[jnp.argmax(own + noise, axis=-1)])

        columns = len(self.sizes)
        cell = jax.lax.fori_loop(0, columns, next_column, jnp.zeros((len(keys), columns), jnp.int32))
        return cell, jax.vmap(lambda key: jax.random.uniform(key, (columns,)))(keys[:, 1])

    def flops(self, in_shape: Shape) -> int | None:
        return 2 * self.width * (2 * self.total + (self.depth - 1) * self.width)
