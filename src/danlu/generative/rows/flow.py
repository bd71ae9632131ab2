"""A normalising flow of rows: normal numbers bent by splines whose form the other columns decide."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import setting
from danlu.generative.rows.network import RowModel, column_noise, mixed
from danlu.nn.layer import Params, Shape, State

__all__ = ["RowFlow", "spline"]

_BOUND = 5.0  # outside of which a spline is the identity
_LEAST = 1e-3  # width, height and slope of a piece
_DRAWS = 8


class RowFlow(RowModel):
    """``log p(x) = log N(f(z); 0, 1) + log |det df/dz| + Σ_j log |dz_j/dx_j|``: a coupling flow of monotonic rational-quadratic splines.

    Each of the layers leaves every other column as it is and bends the rest (:func:`spline`), with pieces that a network reads off those
    that are left; the next layer does it the other way round. So the Jacobian is triangular, its determinant the product of slopes, and the
    inverse has a closed form.

    Args:
        sizes, numbers: see :class:`RowModel`; z is that of :meth:`RowModel.normal`.
        layers: how many, at least 2.
        width: of the two hidden layers of each network.
        bins: pieces of a spline.

    Reference: Durkan et al., "Neural spline flows" (2019), eq. 4 to 7 and section 3.1 (RQ-NSF with coupling layers); Dinh et al., "Density
    estimation using Real NVP" (2017), for couplings. A category is a place drawn in its cell ("dequantised"), so that the value of a row
    with categories is a bound, of 8 such places (Ho et al. 2019, "Flow++", eq. 6).
    """

    sizes: tuple[int, ...]
    numbers: tuple[bool, ...]
    layers: int = setting(default=6, minimum=2, integer=True)
    width: int = setting(default=64, minimum=1, integer=True)
    bins: int = setting(default=8, minimum=2, integer=True)

    exact = True

    def _sides(self, layer: int) -> tuple[np.ndarray, np.ndarray]:
        """The columns that a layer leaves, and those that it bends."""
        columns = np.arange(len(self.sizes))
        kept = (columns // 2 ** (layer // 2 % max(1, math.ceil(math.log2(max(len(columns), 2)))))) % 2 == layer % 2
        if len(columns) == 1:
            kept = np.zeros(1, bool)
        return columns[kept], columns[~kept]

    def parameters(self, key: jax.Array) -> Params:
        found = []
        for layer in range(self.layers):
            kept, bent = self._sides(layer)
            keys = jax.random.split(jax.random.fold_in(key, layer))
            pairs = zip(keys, (max(len(kept), 1), self.width), strict=True)
            hidden = [
                {
                    "kernel": (2 / rows) ** 0.5 * jax.random.normal(each, (rows, self.width)),
                    "bias": jnp.zeros(self.width),
                }
                for each, rows in pairs
            ]
            out = len(bent) * (3 * self.bins - 1)
            found.append([*hidden, {"kernel": jnp.zeros((self.width, out)), "bias": jnp.zeros(out)}])
        return found

    def _pieces(self, params: Params, layer: int, z: jax.Array) -> jax.Array:
        kept, bent = self._sides(layer)
        h = z[:, kept] if len(kept) else jnp.zeros((len(z), 1))
        *hidden, out = params[layer]
        for each in hidden:
            h = jax.nn.relu(h @ each["kernel"] + each["bias"][None])
        found = h @ out["kernel"] + out["bias"][None]
        return found.reshape(len(z), len(bent), 3 * self.bins - 1)  # (batch, bent columns, numbers of a spline)

    def forward(self, params: Params, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """``f(z)`` ``(batch, columns)`` and ``log |det df/dz|`` ``(batch,)``."""
        total = jnp.zeros(len(z))
        for layer in range(self.layers):
            bent = self._sides(layer)[1]
            if len(bent):
                y, slope = spline(z[:, bent], self._pieces(params, layer, z))
                z, total = z.at[:, bent].set(y), total + jnp.sum(slope, axis=-1)
        return z, total

    def inverse(self, params: Params, y: jax.Array) -> jax.Array:
        """The z with ``f(z) = y``."""
        for layer in reversed(range(self.layers)):
            bent = self._sides(layer)[1]
            if len(bent):
                z, _ = spline(y[:, bent], self._pieces(params, layer, y), inverse=True)
                y = y.at[:, bent].set(z)
        return y

    def log_likelihood(
        self, params: Params, state: State, x: dict[str, jax.Array], key: jax.Array | None, *, train: bool
    ) -> jax.Array:
        one = functools.partial(self._one, params, state, x)
        if key is not None:
            return one(jax.random.uniform(key, x["cell"].shape))
        return mixed(jax.lax.map(one, jnp.asarray(column_noise(_DRAWS, len(self.sizes)))))

    def _one(self, params: Params, state: State, x: dict[str, jax.Array], noise: jax.Array) -> jax.Array:
        z, slope = self.normal(state, x, noise)
        y, bent = self.forward(params, z)
        return jnp.sum(-0.5 * jnp.square(y) - 0.5 * math.log(2 * math.pi) + slope, axis=-1) + bent

    def draw(self, params: Params, state: State, keys: jax.Array) -> tuple[jax.Array, jax.Array]:
        noise = jax.vmap(lambda key: jax.random.normal(key, (len(self.sizes),)))(keys)
        return self.cells_of(state, self.inverse(params, noise))

    def flops(self, in_shape: Shape) -> int | None:
        half = (len(self.sizes) + 1) // 2
        return 2 * self.layers * self.width * (half + self.width + half * (3 * self.bins - 1))


def spline(x: jax.Array, pieces: jax.Array, *, inverse: bool = False) -> tuple[jax.Array, jax.Array]:
    """A monotonic rational-quadratic spline on [−5, 5], the identity outside, and ``log |dy/dx|``; both ``(…)``.

    With a piece from ``(x_k, y_k)``, of width ``w`` and height ``h``, ``s = h/w``, the slopes ``d_k`` and ``d_{k+1}`` at its ends, and
    ``ξ = (x − x_k)/w``: ``y = y_k + h·(s·ξ² + d_k·ξ(1−ξ)) / (s + (d_k + d_{k+1} − 2s)·ξ(1−ξ))``.

    Args:
        x: ``(…)``.
        pieces: ``(…, 3·bins − 1)``: what becomes, by softmax, widths and heights, and by softplus the slopes between; all 0 is the
            identity.
        inverse: whether the inverse is wanted, whose ``log |dx/dy|`` is then given.

    Reference: Durkan et al. (2019), eq. 4 to 8; Gregory & Delbourgo (1982).
    """
    bins = (pieces.shape[-1] + 1) // 3
    wide, high, slope = pieces[..., :bins], pieces[..., bins : 2 * bins], pieces[..., 2 * bins :]

    def knots(each: jax.Array) -> jax.Array:
        share = _LEAST + (1 - _LEAST * bins) * jax.nn.softmax(each, axis=-1)
        return (
            jnp.concatenate([jnp.zeros((*share.shape[:-1], 1)), jnp.cumsum(share, axis=-1)], axis=-1) * 2 * _BOUND
            - _BOUND
        )

    xs, ys = knots(wide), knots(high)
    inner = _LEAST + jax.nn.softplus(slope + math.log(math.expm1(1 - _LEAST)))
    ends = jnp.ones((*inner.shape[:-1], 1))
    slopes = jnp.concatenate([ends, inner, ends], axis=-1)
    inside = (x > -_BOUND) & (x < _BOUND)
    at = jnp.where(inside, x, 0.0)
    k = jnp.clip(jnp.sum(at[..., None] >= (ys if inverse else xs), axis=-1) - 1, 0, bins - 1)[..., None]

    def of(each: jax.Array, more: int = 0) -> jax.Array:
        return jnp.take_along_axis(each, k + more, axis=-1)[..., 0]

    w, h = of(xs, 1) - of(xs), of(ys, 1) - of(ys)
    s, left, right = h / w, of(slopes), of(slopes, 1)
    both = left + right - 2 * s
    if inverse:
        rise = at - of(ys)
        a, b, c = rise * both + h * (s - left), h * left - rise * both, -s * rise
        part = 2 * c / (-b - jnp.sqrt(jnp.maximum(b * b - 4 * a * c, 0.0)))
    else:
        part = (at - of(xs)) / w
    mid = part * (1 - part)
    below = s + both * mid
    log_slope = 2 * jnp.log(s) + jnp.log(right * part**2 + 2 * s * mid + left * (1 - part) ** 2) - 2 * jnp.log(below)
    if inverse:
        return jnp.where(inside, part * w + of(xs), x), jnp.where(inside, -log_slope, 0.0)
    y = of(ys) + h * (s * part**2 + left * mid) / below
    return jnp.where(inside, y, x), jnp.where(inside, log_slope, 0.0)
