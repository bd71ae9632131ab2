"""MNIST for ``private.py``: pictures, fixed wavelet features of them, and the choice of a linear layer's settings on rows held out.

The features look at no row but their own: the first order of a scattering transform (Tramèr & Boneh 2021, "Differentially private
learning needs better features").
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

EPOCHS, BATCHES, CLIPS, PACES = (10, 20, 40), (1500, 4000), (0.1, 0.3, 1.0), (3.0, 6.0, 12.0, 24.0)
"""What is tried; a pace is ``rate · clip``, the length of the largest step that a row can ask for."""


def pictures(data: Path):
    """Pictures of 0 to 1 and labels, of the training and of the test."""
    found = np.load(data / "mnist" / "mnist.npz")
    return [
        (found[f"x_{part}"].astype(np.float32)[..., None] / 255, found[f"y_{part}"].astype(np.int32))
        for part in ("train", "test")
    ]


def _periodic(size: int, spread: float, angle: float, middle: tuple[float, float], slant: float) -> np.ndarray:
    """A Gaussian bump of frequencies around ``middle``, on the ``size``×``size`` frequencies of a picture."""
    steps = np.fft.fftfreq(size) * 2 * np.pi
    across, down = np.meshgrid(steps, steps, indexing="ij")
    total = np.zeros((size, size))
    for a in (-1, 0, 1):
        for b in (-1, 0, 1):
            x, y = across + 2 * np.pi * a - middle[0], down + 2 * np.pi * b - middle[1]
            u, v = np.cos(angle) * x + np.sin(angle) * y, -np.sin(angle) * x + np.cos(angle) * y
            total += np.exp(-0.5 * spread**2 * (u**2 + (v / slant) ** 2))
    return total


def wavelets(pictures: np.ndarray, scales: int = 2, angles: int = 8) -> np.ndarray:
    """The local means of a picture and of how strongly it moves along each of 8 directions at 2 scales, ``(rows, 1088)``.

    ``|x ⋆ ψ| ⋆ φ`` with Morlet wavelets ψ and a Gaussian φ, every fourth place. The 17 numbers of a place are then scaled to mean 0 and
    (nearly) variance 1, and the row to length 1.
    """
    import jax
    import jax.numpy as jnp

    size, filters = 32, []
    for scale in range(scales):
        for number in range(angles):
            angle, around = np.pi * number / angles, 0.75 * np.pi / 2**scale
            bump = _periodic(size, 0.8 * 2**scale, angle, (around * np.cos(angle), around * np.sin(angle)), 0.5)
            low = _periodic(size, 0.8 * 2**scale, angle, (0.0, 0.0), 0.5)
            filters.append(bump - bump[0, 0] / low[0, 0] * low)  # no mean
    psi, phi = np.stack(filters), _periodic(size, 0.8 * 2**scales, 0.0, (0.0, 0.0), 1.0)

    @jax.jit
    def of(x):
        seen = jnp.fft.fft2(jnp.pad(x[..., 0], ((0, 0), (2, 2), (2, 2)), mode="reflect"))
        strong = jnp.abs(jnp.fft.ifft2(seen[:, None] * psi))
        both = jnp.concatenate([seen[:, None], jnp.fft.fft2(strong)], 1)  # (rows, 17, 32, 32)
        local = jnp.real(jnp.fft.ifft2(both * phi))[..., 2::4, 2::4].reshape(len(x), 17, -1)  # (rows, 17, 64)
        local = (local - local.mean((1, 2), keepdims=True)) / (local.std((1, 2), keepdims=True) + 1e-6)
        return of_places(local)

    def of_places(local):
        local = local - local.mean(1, keepdims=True)
        local = (local / (local.std(1, keepdims=True) + 0.3)).reshape(len(local), -1)  # (rows, 1088)
        return local / jnp.linalg.norm(local, axis=1, keepdims=True)

    return np.concatenate([np.asarray(of(jnp.asarray(pictures[i : i + 500]))) for i in range(0, len(pictures), 500)])


def kept(data: Path):
    """The wavelet features of MNIST, computed once."""
    cache = Path(tempfile.gettempdir()) / "danlu-wavelets.npz"
    if not cache.is_file():
        (x, y), (test, truth) = pictures(data)
        np.savez(cache, x=wavelets(x).astype(np.float16), y=y, test=wavelets(test).astype(np.float16), truth=truth)
    found = np.load(cache)
    return (found["x"].astype(np.float32), found["y"]), (found["test"].astype(np.float32), found["truth"])


def judged(
    x: np.ndarray,
    y: np.ndarray,
    held: int,
    tries: list[tuple[float, float]],
    *,
    noise: float,
    sampling: float,
    steps: int,
    seed: int = 0,
):
    """The accuracy on the last ``held`` rows, in percent, of linear layers that learn from the others, one of each ``(clip, rate)``.

    It is the training of ``private.py`` written out for a linear layer. All layers see the same draws, so a step is two matrix products.
    A row's gradient is ``[x, 1]ᵀe`` with ``e`` the error, and its norm ``‖[x, 1]‖·‖e‖``.
    """
    rng = np.random.default_rng(seed)
    x = np.concatenate([x, np.ones((len(x), 1), np.float32)], 1)  # (rows, features + 1)
    rows, (clip, rate) = len(x) - held, np.array(tries, np.float32).T
    weights, speed = np.zeros((2, x.shape[1], len(tries), 10), np.float32)
    for _ in range(steps):
        drawn = np.sort(rng.choice(rows, rng.binomial(rows, sampling), replace=False))
        seen = x[drawn]
        out = (seen @ weights.reshape(x.shape[1], -1)).reshape(-1, len(tries), 10)
        out = np.exp(out - out.max(-1, keepdims=True))
        errors = out / out.sum(-1, keepdims=True)
        errors[np.arange(len(drawn)), :, y[drawn]] -= 1  # (rows, tries, 10)
        norms = np.linalg.norm(seen, axis=1)[:, None] * np.linalg.norm(errors, axis=2)
        errors *= np.minimum(1, clip / np.maximum(norms, 1e-12))[..., None]
        total = (seen.T @ errors.reshape(len(drawn), -1)).reshape(weights.shape)
        total += (noise * clip)[:, None] * rng.standard_normal(weights.shape, np.float32)
        speed = 0.9 * speed + total / (rows * sampling)
        weights = weights - rate[:, None] * speed
    answers = (x[rows:] @ weights.reshape(x.shape[1], -1)).reshape(held, len(tries), 10).argmax(-1)
    return 100 * (answers == y[rows:, None]).mean(0)
