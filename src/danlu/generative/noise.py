"""How diffusion puts noise into rows and takes it out again: the arithmetic, whatever predicts the noise.

With ᾱ_t falling from nearly 1 to nearly 0 as t goes from 1 to T (and ᾱ_0 = 1)::

    q(x_t | x_0) = N(√ᾱ_t·x_0, (1 − ᾱ_t)·I)            x_t = √ᾱ_t·x_0 + √(1 − ᾱ_t)·ε
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["kept", "lattice", "noised", "posterior", "taken_out", "times_of"]


def kept(steps: int, schedule: str = "cosine") -> np.ndarray:
    """ᾱ_0 … ᾱ_T, float64 ``(steps + 1,)``: how much of a row's square is left at each time.

    Args:
        steps: T.
        schedule: ``"cosine"``: ``cos²((t/T + 0.008)/1.008·π/2)``, with no β above 0.999; ``"linear"``: β from 0.1/T to 20/T.

    Reference: Nichol & Dhariwal, "Improved denoising diffusion probabilistic models" (2021), eq. 17; Ho et al. (2020), section 4.

    >>> np.round(kept(4), 3).tolist()
    [1.0, 0.847, 0.494, 0.144, 0.0]
    """
    if schedule == "linear":
        beta = np.linspace(0.1, 20, steps) / steps
    else:
        time = (np.arange(steps + 1) / steps + 0.008) / 1.008
        level = np.cos(time * math.pi / 2) ** 2
        beta = np.minimum(1 - level[1:] / level[:-1], 0.999)
    return np.concatenate([[1.0], np.cumprod(1 - np.minimum(beta, 0.999))])


def noised(x: jax.Array, noise: jax.Array, alpha: jax.Array) -> jax.Array:
    """``x_t = √ᾱ·x + √(1 − ᾱ)·ε``.

    Args:
        x, noise: ``(batch, …)``.
        alpha: ᾱ of each row ``(batch,)``.
    """
    alpha = _wide(alpha, x)
    return jnp.sqrt(alpha) * x + jnp.sqrt(1 - alpha) * noise


def posterior(x: Any, now: Any, alpha: Any, before: Any) -> tuple[Any, Any]:
    """Mean and variance of ``q(x_{t−1} | x_t, x_0)``.

    Args:
        x: x_0; ``now``: x_t.
        alpha, before: ᾱ_t and ᾱ_{t−1}.

    Reference: Ho et al. (2020), eqs. 6 and 7: ``μ̃ = √ᾱ_{t−1}·β_t/(1 − ᾱ_t)·x_0 + √α_t·(1 − ᾱ_{t−1})/(1 − ᾱ_t)·x_t``.
    """
    step = alpha / before  # α_t
    mean = (before**0.5 * (1 - step) * x + step**0.5 * (1 - before) * now) / (1 - alpha)
    return mean, (1 - before) / (1 - alpha) * (1 - step)


def times_of(steps: int, used: int) -> np.ndarray:
    """Of the times 1 … T the ones at which noise is taken out, falling, from T to 1, and 0 at the end.

    >>> times_of(1000, 4).tolist()
    [1000, 667, 334, 1, 0]
    """
    some = np.linspace(steps, 1, min(used, steps)) if used > 1 else np.array([float(steps)])
    return np.concatenate([np.unique(np.rint(some).astype(np.int64))[::-1], [0]])


def taken_out(
    predict: Callable[[jax.Array, jax.Array], jax.Array],
    x: jax.Array,
    keys: jax.Array,
    alphas: np.ndarray,
    times: np.ndarray,
    *,
    eta: float = 0.0,
    limit: float | None = None,
) -> jax.Array:
    """Rows from noise: at each time the noise is predicted, and the row is taken to the next one (DDIM).

    ``x ← √ᾱ'·x̂_0 + √(1 − ᾱ' − σ²)·ε̂ + σ·z`` with ``x̂_0 = (x − √(1 − ᾱ)·ε̂)/√ᾱ`` and
    ``σ = η·√((1 − ᾱ')/(1 − ᾱ))·√(1 − ᾱ/ᾱ')``. With η = 1 and every time that is DDPM; with η = 0 nothing is drawn on the way.

    Args:
        predict: ``predict(x, time) -> ε̂``, of rows ``(count, …)`` and the number of the time ``(count,)``.
        x: normal noise ``(count, …)``.
        keys: of each row ``(count,)``, for z.
        alphas: ᾱ of all times, see :func:`kept`.
        times: those that are used, see :func:`times_of`.
        eta: η.
        limit: what x̂_0 is kept within, ± this; None leaves it.

    Reference: Song, Meng & Ermon, "Denoising diffusion implicit models" (2021), eqs. 12 and 16.
    """
    level = jnp.asarray(alphas, jnp.float32)
    pairs = jnp.asarray(np.stack([times[:-1], times[1:]], axis=1), jnp.int32)

    def step(x: jax.Array, pair: jax.Array) -> tuple[jax.Array, None]:
        now, after = level[pair[0]], level[pair[1]]
        noise = predict(x, jnp.full(x.shape[0], pair[0]))
        clean = (x - jnp.sqrt(1 - now) * noise) / jnp.sqrt(now)
        if limit is not None:
            clean = jnp.clip(clean, -limit, limit)
            noise = (x - jnp.sqrt(now) * clean) / jnp.sqrt(1 - now)
        sigma = eta * jnp.sqrt((1 - after) / (1 - now) * (1 - now / after))
        x = jnp.sqrt(after) * clean + jnp.sqrt(jnp.maximum(1 - after - sigma**2, 0)) * noise
        if eta:
            drawn = jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, pair[0]), x.shape[1:]))(keys)
            x = x + sigma * drawn
        return x, None

    return jax.lax.scan(step, x, pairs)[0]


def lattice(key: jax.Array, count: int) -> jax.Array:
    """Numbers in 0 … 1 ``(count,)``, evenly apart from a start that is drawn: each is uniform by itself.

    Reference: Kingma et al., "Variational diffusion models" (2021), appendix I.1.
    """
    return (jax.random.uniform(key) + jnp.arange(count) / count) % 1.0


def _wide(values: jax.Array, like: jax.Array) -> jax.Array:
    """``(batch,)`` as ``(batch, 1, …)``, of as many axes."""
    return values.reshape(values.shape + (1,) * (like.ndim - 1))  # (batch, 1, …)
