"""A variational autoencoder of rows: normal codes, and each column given the codes."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import setting
from danlu.generative.rows.network import RowModel, _places, column_noise, log_shares, mixed
from danlu.nn import MLP
from danlu.nn.layer import Params, Shape, State

__all__ = ["RowVAE"]

_DRAWS = 16  # codes of a row by which it is judged


class RowVAE(RowModel):
    """``log p(x) ≥ E_q[log p(x | c)] − KL(q(c | x) ‖ N(0, 1))``: numbers are normal with a spread of their own, cells of categories are
    drawn.

    The encoder sees numbers as normal numbers z (:meth:`RowModel.normal`) and categories as ones among zeros. A row is judged by the
    importance-weighted bound of 16 codes, ``log mean_k p(x | c_k)·p(c_k)/q(c_k | x)``.

    Args:
        sizes, numbers: see :class:`RowModel`.
        codes: how many numbers stand for a row.
        width: of the two hidden layers of encoder and decoder.

    Reference: Xu et al., "Modeling tabular data using conditional GAN" (2019), section 4.4 (TVAE); there a number is one of several normal
    ones, here its cells have made it normal; Kingma & Welling (2014); Burda et al. (2016), eq. 8.
    """

    sizes: tuple[int, ...]
    numbers: tuple[bool, ...]
    codes: int = setting(default=32, minimum=1, integer=True)
    width: int = setting(default=128, minimum=1, integer=True)

    def _networks(self) -> tuple[MLP, MLP, int]:
        seen = sum(self.numbers) + len(self._categories())
        own = (self.width, self.width)
        return MLP(own, 2 * self.codes), MLP(own, sum(self.numbers) + self.total), seen

    def _categories(self) -> np.ndarray:
        """The cells of categories, among all."""
        return np.flatnonzero(~np.asarray(self.numbers)[_places(self.sizes)[0]])

    def parameters(self, key: jax.Array) -> Params:
        encoder, decoder, seen = self._networks()
        one, other = jax.random.split(key)
        return {
            "encoder": encoder.init(one, (seen,))[0],
            "decoder": decoder.init(other, (self.codes,))[0],
            "log_spread": jnp.zeros(sum(self.numbers)),
        }

    def _apply(self, network: MLP, params: Params, x: jax.Array) -> jax.Array:
        state = jax.eval_shape(lambda: network.init(jax.random.key(0), x.shape[1:])[1])
        return network.apply(params, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), state), x)[0]

    def log_likelihood(
        self, params: Params, state: State, x: dict[str, jax.Array], key: jax.Array | None, *, train: bool
    ) -> jax.Array:
        columns = len(self.sizes)
        if key is not None:
            places, codes = jax.random.split(key)
            noise = jax.random.normal(codes, (len(x["cell"]), self.codes))
            mean, log_spread, misfit = self._bound(params, state, x, jax.random.uniform(places, x["cell"].shape), noise)
            kl = jnp.sum(0.5 * (jnp.square(mean) + jnp.exp(2 * log_spread) - 1) - log_spread, axis=-1)
            return -misfit - kl
        places, codes = (
            jnp.asarray(column_noise(_DRAWS, columns)),
            jax.random.normal(jax.random.key(0), (_DRAWS, self.codes)),
        )

        def weighed(both: tuple[jax.Array, jax.Array]) -> jax.Array:
            mean, log_spread, misfit = self._bound(params, state, x, both[0], both[1][None])
            own = mean + jnp.exp(log_spread) * both[1][None]
            return jnp.sum(0.5 * (jnp.square(both[1][None]) - jnp.square(own)) + log_spread, axis=-1) - misfit

        return mixed(jax.lax.map(weighed, (places, codes)))

    def _bound(
        self, params: Params, state: State, x: dict[str, jax.Array], places: jax.Array, noise: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The mean and the log spread of the codes, and ``−log p(x | codes)`` for the noise of one draw."""
        encoder, decoder, _ = self._networks()
        z, slope = self.normal(state, x, places)
        of_numbers, cells = np.flatnonzero(self.numbers), self.one_hot(x["cell"])
        seen = jnp.concatenate([z[:, of_numbers], cells[:, self._categories()]], axis=-1)
        mean, log_spread = jnp.split(self._apply(encoder, params["encoder"], seen), 2, axis=-1)
        found = self._apply(decoder, params["decoder"], mean + jnp.exp(log_spread) * noise)
        guess, logs = self._guess(params, state, found)
        spread = params["log_spread"]
        wide = (
            0.5 * jnp.square((z[:, of_numbers] - guess) * jnp.exp(-spread)[None])
            + spread[None]
            + 0.5 * math.log(2 * math.pi)
        )
        named = jnp.where(np.asarray(self.numbers)[_places(self.sizes)[0]][None], 0.0, cells * logs)
        return mean, log_spread, jnp.sum(wide - slope[:, of_numbers], axis=-1) - jnp.sum(named, axis=-1)

    def _guess(self, params: Params, state: State, found: jax.Array) -> tuple[jax.Array, jax.Array]:
        numbers = sum(self.numbers)
        return found[:, :numbers], log_shares(found[:, numbers:] + jnp.log(state["share"])[None], self.sizes)

    def draw(self, params: Params, state: State, keys: jax.Array) -> tuple[jax.Array, jax.Array]:
        keys = jax.vmap(lambda key: jax.random.split(key, 3))(keys)
        codes = jax.vmap(lambda key: jax.random.normal(key, (self.codes,)))(keys[:, 0])
        guess, logs = self._guess(params, state, self._apply(self._networks()[1], params["decoder"], codes))
        noise = jax.vmap(lambda key: jax.random.normal(key, (sum(self.numbers),)))(keys[:, 1])
        z = (
            jnp.zeros((len(codes), len(self.sizes)))
            .at[:, np.flatnonzero(self.numbers)]
            .set(guess + jnp.exp(params["log_spread"])[None] * noise)
        )
        cell, place = self.cells_of(state, z)
        return self.with_categories(cell, logs, keys[:, 2]), place

    def with_categories(self, cell: jax.Array, logs: jax.Array, keys: jax.Array) -> jax.Array:
        """The cells with those of categories drawn by their log-probabilities ``(count, cells of all columns)``."""
        noise = jax.vmap(lambda key: jax.random.gumbel(key, (self.total,)))(keys)
        for number, (start, size, is_number) in enumerate(zip(self.starts, self.sizes, self.numbers, strict=True)):
            if not is_number:
                own = slice(int(start), int(start) + size)
                cell = cell.at[:, number].set(jnp.argmax(logs[:, own] + noise[:, own], axis=-1))
        return cell

    def flops(self, in_shape: Shape) -> int | None:
        seen = sum(self.numbers) + len(self._categories())
        return 2 * self.width * (seen + 2 * self.width + 3 * self.codes + sum(self.numbers) + self.total)
