"""The Gaussian copula: each column as it is, joined by the correlations of normal numbers; the baseline of every model of rows."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.generative.rows.network import RowModel, column_noise, mixed
from danlu.nn.layer import Params, Shape, State

__all__ = ["RowCopula"]

_DRAWS = 8


class RowCopula(RowModel):
    """``log p(x) = log N(z; 0, R) + Σ_j log |dz_j/dx_j|`` with ``z_j = Φ⁻¹(F_j(x_j))`` and ``R`` the correlations of z.

    Args:
        sizes, numbers: see :class:`RowModel`.

    Params: ``{"root": (columns, columns)}``, lower triangular, with ``R = root·rootᵀ``; :meth:`fitted` finds it from rows, in closed form.

    Reference: Sklar (1959); Patki, Wedge & Veeramachaneni, "The synthetic data vault" (2016), section III. A category is a place drawn in
    its cell, as there.
    """

    sizes: tuple[int, ...]
    numbers: tuple[bool, ...]

    exact = True

    def parameters(self, key: jax.Array) -> Params:
        return {"root": jnp.eye(len(self.sizes))}

    def fitted(self, state: State, x: dict[str, Any], *, seed: int = 0) -> Params:
        """The parameters for encoded rows: their correlations, shrunk a little where there are few rows."""
        rows, columns = x["cell"].shape
        noise = np.random.default_rng(seed).random((rows, columns), np.float32)
        z = np.asarray(self.normal(state, jax.tree.map(jnp.asarray, x), jnp.asarray(noise))[0], np.float64)
        z = (z - z.mean(axis=0)) / np.maximum(z.std(axis=0), 1e-6)
        shrink = min(1.0, columns / max(rows, 1))
        matrix = (1 - shrink) * (z.T @ z) / rows + shrink * np.eye(columns)
        scale = np.sqrt(np.diag(matrix))
        matrix = matrix / np.outer(scale, scale) + 1e-6 * np.eye(columns)
        return {"root": np.linalg.cholesky(matrix).astype(np.float32)}

    def log_likelihood(
        self, params: Params, state: State, x: dict[str, jax.Array], key: jax.Array | None, *, train: bool
    ) -> jax.Array:
        def one(noise: jax.Array) -> jax.Array:
            z, slope = self.normal(state, x, noise)
            rest = jax.scipy.linalg.solve_triangular(params["root"], z.T, lower=True).T
            own = -0.5 * jnp.sum(jnp.square(rest), axis=-1) - jnp.sum(jnp.log(jnp.diagonal(params["root"])))
            return own - 0.5 * len(self.sizes) * jnp.log(2 * jnp.pi) + jnp.sum(slope, axis=-1)

        return mixed(jax.lax.map(one, jnp.asarray(column_noise(_DRAWS, len(self.sizes)))))

    def draw(self, params: Params, state: State, keys: jax.Array) -> tuple[jax.Array, jax.Array]:
        noise = jax.vmap(lambda key: jax.random.normal(key, (len(self.sizes),)))(keys)
        return self.cells_of(state, noise @ params["root"].T)

    def flops(self, in_shape: Shape) -> int | None:
        return 2 * _DRAWS * len(self.sizes) ** 2
