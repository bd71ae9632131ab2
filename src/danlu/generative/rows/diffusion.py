"""Diffusion of rows: numbers drown in normal noise, categories in even draws, and a network finds the way back (TabDDPM)."""

from __future__ import annotations

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import setting
from danlu.generative.rows.network import RowModel, _places, column_noise, log_shares
from danlu.nn import MLP
from danlu.nn.layer import Params, Shape, State

__all__ = ["RowDiffusion"]

_TIMES = 32  # at which a row is judged
_WAVES = 32  # numbers that tell the time
_TINY = 1e-30


class RowDiffusion(RowModel):
    """Normal and multinomial diffusion in ``steps`` steps, with the cosine schedule ``ᾱ_t``.

    A number z (:meth:`RowModel.normal`) is ``z_t = √ᾱ_t·z + √(1 − ᾱ_t)·ε`` at time t, and the network guesses ε. A category of K is kept
    with probability ``ᾱ_t``, else drawn evenly; the network guesses which it was, and the loss is ``KL(q(c_{t−1} | c_t, c_0) ‖
    q(c_{t−1} | c_t, ĉ_0))``. In training: ``−(½·Σ (ε − ε̂)² + Σ KL)`` at a time that is drawn. A row is judged by the bound ``log p(x) ≥
    −Σ_t KL_t``, of which 32 times are looked at, with one noise for all rows.

    Args:
        sizes, numbers: see :class:`RowModel`.
        steps: of the diffusion.
        width, depth: of the hidden layers.

    Reference: Kotelnikov et al., "TabDDPM: modelling tabular data with diffusion models" (2023), section 3; Ho et al., "Denoising diffusion
    probabilistic models" (2020), eq. 4, 7 and 14; Hoogeboom et al., "Argmax flows and multinomial diffusion" (2021), eq. 11 to 15; Nichol &
    Dhariwal (2021), eq. 17, for the schedule.
    """

    sizes: tuple[int, ...]
    numbers: tuple[bool, ...]
    steps: int = setting(default=100, minimum=2, maximum=4000, integer=True)
    width: int = setting(default=256, minimum=1, integer=True)
    depth: int = setting(default=2, minimum=1, integer=True)

    def _schedule(self) -> np.ndarray:
        """``ᾱ_t`` for t from 0 (1, no noise) to ``steps``, float32."""
        t = np.arange(self.steps + 1) / self.steps
        found = np.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
        kept = np.maximum(found[1:] / found[:-1], 1e-3)
        return np.concatenate([[1.0], np.cumprod(kept)]).astype(np.float32)

    def _cells(self) -> np.ndarray:
        """The cells of categories, among all."""
        return np.flatnonzero(~np.asarray(self.numbers)[_places(self.sizes)[0]])

    @property
    def _named(self) -> tuple[int, ...]:
        return tuple(size for size, number in zip(self.sizes, self.numbers, strict=True) if not number)

    def _network(self) -> tuple[MLP, int]:
        own = sum(self.numbers) + len(self._cells())
        return MLP((self.width,) * self.depth, own), own

    def parameters(self, key: jax.Array) -> Params:
        network, own = self._network()
        params, _, _ = network.init(key, (own + 2 * _WAVES,))
        return params

    def _guess(self, params: Params, z: jax.Array, one_hot: jax.Array, time: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The noise of the numbers, and the log-probabilities of the categories, of noisy rows at times ``(batch,)``."""
        network, _ = self._network()
        waves = time[:, None] * jnp.exp(-math.log(1000.0) * jnp.arange(_WAVES) / _WAVES)[None]
        seen = jnp.concatenate([z, one_hot, jnp.sin(waves), jnp.cos(waves)], axis=-1)
        form = jax.eval_shape(lambda: network.init(jax.random.key(0), seen.shape[1:])[1])
        state = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), form)
        found, numbers = network.apply(params, state, seen)[0], sum(self.numbers)
        return found[:, :numbers], log_shares(found[:, numbers:], self._named)

    def _mixed(self, kept: jax.Array, shares: jax.Array) -> jax.Array:
        """``kept·shares + (1 − kept)/K`` of each category, ``(batch, cells of categories)``."""
        even = np.concatenate([np.full(size, 1 / size) for size in self._named] or [np.zeros(0)]).astype(np.float32)
        return kept[:, None] * shares + (1 - kept[:, None]) * even[None]

    def _before(self, noisy: jax.Array, shares: jax.Array, step: jax.Array, before: jax.Array) -> jax.Array:
        """``log q(c_{t−1} | c_t, c_0)`` with ``c_0`` by its probabilities: ``∝ (α_t·c_t + (1−α_t)/K)·(ᾱ_{t−1}·c_0 + (1−ᾱ_{t−1})/K)``."""
        found = self._mixed(step, noisy) * self._mixed(before, shares)
        return log_shares(jnp.log(jnp.maximum(found, _TINY)), self._named)

    def log_likelihood(
        self, params: Params, state: State, x: dict[str, jax.Array], key: jax.Array | None, *, train: bool
    ) -> jax.Array:
        rows = len(x["cell"])
        if key is not None:
            keys = jax.random.split(key, 4)
            time = jax.random.randint(keys[0], (rows,), 1, self.steps + 1)
            noise = jax.random.normal(keys[1], (rows, sum(self.numbers)))
            pick = jax.random.gumbel(keys[2], (rows, len(self._cells())))
            wrong, kl, _ = self._at(params, state, x, time, noise, pick, jax.random.uniform(keys[3], x["cell"].shape))
            return -(0.5 * jnp.sum(wrong, axis=-1) + kl)
        return self._bound(params, state, x)

    def _at(
        self, params: Params, state: State, x: dict[str, jax.Array], time: jax.Array, noise: Any, pick: Any, places: Any
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Of rows at their times: the squared errors of the noise, the divergences of the categories, ``log |dz/dx|`` of the numbers."""
        z, slope = self.normal(state, x, places)
        of = np.flatnonzero(self.numbers)
        course = jnp.asarray(self._schedule())
        now, before = course[time], course[time - 1]
        clean = self.one_hot(x["cell"])[:, self._cells()]
        noisy = self._drawn(jnp.log(jnp.maximum(self._mixed(now, clean), _TINY)) + pick)
        mixed_z = jnp.sqrt(now)[:, None] * z[:, of] + jnp.sqrt(1 - now)[:, None] * noise
        guess, logs = self._guess(params, mixed_z, noisy, time)
        true = self._before(noisy, clean, now / before, before)
        told = self._before(noisy, jnp.exp(logs), now / before, before)
        return (
            jnp.square(noise - guess),
            jnp.sum(jnp.exp(true) * (true - told), axis=-1),
            jnp.sum(slope[:, of], axis=-1),
        )

    def _drawn(self, scores: jax.Array) -> jax.Array:
        """The largest of each column's scores as ones among zeros, ``(batch, cells of categories)``."""
        starts = np.concatenate([[0], np.cumsum(self._named)]).astype(int)
        parts = [
            jax.nn.one_hot(jnp.argmax(scores[:, low:high], axis=-1), high - low)
            for low, high in itertools.pairwise(starts)
        ]
        return jnp.concatenate(parts, axis=-1) if parts else scores

    def _bound(self, params: Params, state: State, x: dict[str, jax.Array]) -> jax.Array:
        course = self._schedule().astype(np.float64)
        times = np.unique(np.linspace(1, self.steps, min(_TIMES, self.steps)).round().astype(int))
        share = self.steps / len(times)
        keep = course[times] / course[times - 1]
        beta = 1 - keep
        # ½·β²/(σ²·α·(1−ᾱ)) of the error of the noise, with the variance of q(z_{t−1} | z_t, z_0); of t = 1 it is a likelihood.
        post = np.maximum(beta * (1 - course[times - 1]) / (1 - course[times]), 1e-4)
        weight = 0.5 * beta**2 / (post * keep * (1 - course[times]))
        rng = np.random.default_rng(0)
        noise = rng.normal(size=(len(times), sum(self.numbers))).astype(np.float32)
        pick = rng.gumbel(size=(len(times), len(self._cells()))).astype(np.float32)
        rows = len(x["cell"])

        def one(each: tuple[Any, ...]) -> tuple[jax.Array, jax.Array]:
            time, weight, own, drawn, places = each
            parts = (
                jnp.broadcast_to(own[None], (rows, own.size)),
                jnp.broadcast_to(drawn[None], (rows, drawn.size)),
                places,
            )
            wrong, kl, slope = self._at(params, state, x, jnp.full(rows, time), *parts)
            return weight * jnp.sum(wrong, axis=-1) + kl, slope

        places = column_noise(len(times), len(self.sizes))
        found, slopes = jax.lax.map(
            one, tuple(map(jnp.asarray, (times, weight.astype(np.float32), noise, pick, places)))
        )
        last = course[-1]
        z, _ = self.normal(state, x, jnp.asarray(places[0]))
        prior = 0.5 * (last * jnp.square(z[:, np.flatnonzero(self.numbers)]) - last - math.log(1 - last))
        spread = 0.5 * math.log(2 * math.pi * math.e * max(1e-4, 1 - course[1]))  # of the numbers given those of t = 1
        return (
            jnp.mean(slopes, axis=0)
            - share * jnp.sum(found, axis=0)
            - jnp.sum(prior, axis=-1)
            - sum(self.numbers) * spread
        )

    def draw(self, params: Params, state: State, keys: jax.Array) -> tuple[jax.Array, jax.Array]:
        course, numbers, cells = jnp.asarray(self._schedule()), sum(self.numbers), len(self._cells())

        def noise(step: Any) -> tuple[jax.Array, jax.Array]:
            own = jax.vmap(lambda key: jax.random.split(jax.random.fold_in(key, step)))(keys)
            return (
                jax.vmap(lambda key: jax.random.normal(key, (numbers,)))(own[:, 0]),
                jax.vmap(lambda key: jax.random.gumbel(key, (cells,)))(own[:, 1]),
            )

        def back(number: Any, rows: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            time = self.steps - number
            now, before = course[time], course[time - 1]
            keep = now / before
            z, named = rows
            guess, logs = self._guess(params, z, named, jnp.full(len(keys), time))
            clean = jnp.clip((z - jnp.sqrt(1 - now) * guess) / jnp.sqrt(now), -_far(), _far())
            mean = (jnp.sqrt(before) * (1 - keep) * clean + jnp.sqrt(keep) * (1 - before) * z) / (1 - now)
            own, pick = noise(number)
            z = mean + jnp.sqrt((1 - keep) * (1 - before) / (1 - now)) * own
            spread = jnp.full(len(keys), 1.0)
            return z, self._drawn(self._before(named, jnp.exp(logs), keep * spread, before * spread) + pick)

        first, pick = noise(self.steps)
        z, named = jax.lax.fori_loop(0, self.steps, back, (first, self._drawn(pick)))
        all_z = jnp.zeros((len(keys), len(self.sizes))).at[:, np.flatnonzero(self.numbers)].set(z)
        cell, place = self.cells_of(state, all_z)
        column, _ = _places(self.sizes)
        for number in np.flatnonzero(~np.asarray(self.numbers)):
            own = np.flatnonzero(column[self._cells()] == number)
            cell = cell.at[:, number].set(jnp.argmax(named[:, own], axis=-1))
        return cell, place

    def flops(self, in_shape: Shape) -> int | None:
        _, own = self._network()
        return 2 * self.width * (2 * own + 2 * _WAVES + (self.depth - 1) * self.width)


def _far() -> float:
    """The largest normal number that a share is turned into."""
    return 4.76
