"""Rows of what draws: bounds of a variational autoencoder, diffusion and flows, the game of a GAN, and distances of what is drawn."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu import nn
from danlu.evaluate.generated import frechet
from danlu.generative import GAN, VAE, GanGame
from danlu.generative.flow import carried
from danlu.generative.noise import kept, noised, posterior, taken_out
from danlu.generative.vae import divergence
from danlu.verify.case import Check, case
from danlu.verify.oracles import draw, finite_difference

__all__: list[str] = []

_F32 = jnp.float32


@case("generative.elbo")
def elbo(check: Check) -> None:
    """A VAE of linear layers with unit weights of its own: its terms by hand for one draw, and its bound in closed form."""
    mean, spread = draw(5, 3), draw(5, 3, seed=1) / 4
    kl = 0.5 * (mean**2 + np.exp(2 * spread) - 1 - 2 * spread).sum(1)
    check(divergence(jnp.asarray(mean, _F32), jnp.asarray(spread, _F32)), kl, oracle="closed form")
    # Probabilistic PCA: x = W·z + m + σ·ε has the covariance C = W·Wᵀ + σ²·I; the codes of a row are N(M⁻¹Wᵀ(x − m), σ²M⁻¹).
    loads, middle, sigma = np.linalg.qr(draw(5, 2, seed=2))[0] * [2.0, 1.0], draw(5, seed=3), 0.7
    inverse = 1 / ((loads**2).sum(0) + sigma**2)
    x = draw(6, 5, seed=4)
    back, narrow = loads * inverse, 0.5 * np.log(sigma**2 * inverse)
    params = (
        {"kernel": np.hstack([back, 0 * back]), "bias": np.concatenate([-middle @ back, narrow])},
        {"kernel": loads.T, "bias": middle},
        {"log_spread": np.asarray(np.log(sigma))},
    )
    network = VAE(nn.Dense(4), nn.Dense(5), 2, "gaussian")
    own = jax.tree.map(lambda leaf: jnp.asarray(leaf, _F32), params)
    cover = loads @ loads.T + sigma**2 * np.eye(5)
    off = x - middle
    exact = 0.5 * (np.einsum("ni,ij,nj->n", off, np.linalg.inv(cover), off) + np.linalg.slogdet(2 * np.pi * cover)[1])
    found = network.said(own, ({}, {}), jnp.asarray(x, _F32))
    check(found["importance_weighted"], exact, oracle="probabilistic PCA")


@case("generative.diffusion")
def diffusion(check: Check) -> None:
    """What steps of noise add up to, the posterior by Bayes' rule, and DDIM with DDPM's spread as DDPM."""
    alphas = kept(20)
    x, noise = draw(4, 3), draw(4, 3, seed=1)
    level = alphas[[1, 7, 13, 20]]
    wide = level[:, None]
    said = noised(jnp.asarray(x, _F32), jnp.asarray(noise, _F32), jnp.asarray(level, _F32))
    check(said, np.sqrt(wide) * x + np.sqrt(1 - wide) * noise, oracle="closed form")
    variance = 0.0
    for now, before in zip(alphas[1:12], alphas[:11], strict=True):
        variance = now / before * variance + 1 - now / before
    check(1 - alphas[11], variance, oracle="step by step")
    now, before = alphas[9], alphas[8]
    step = now / before
    precision = 1 / (1 - before) + step / (1 - step)
    mean = (np.sqrt(before) * x / (1 - before) + np.sqrt(step) * noise / (1 - step)) / precision
    check(posterior(x, noise, now, before)[0], mean, oracle="Bayes' rule")
    check(posterior(x, noise, now, before)[1], 1 / precision, oracle="Bayes' rule")
    keys = jax.random.split(jax.random.key(0), 4)
    found = taken_out(lambda x, time: 0.5 * x, jnp.asarray(noise, _F32), keys, alphas, np.array([9, 8]), eta=1.0)
    clean = (noise - np.sqrt(1 - now) * 0.5 * noise) / np.sqrt(now)
    drawn = np.stack([np.asarray(jax.random.normal(jax.random.fold_in(key, 9), (3,))) for key in keys])
    want = (np.sqrt(before) * (1 - step) * clean + np.sqrt(step) * (1 - before) * noise) / (1 - now)
    check(found, want + np.sqrt((1 - before) / (1 - now) * (1 - step)) * drawn, oracle="DDPM")


@case("generative.flow")
def flow(check: Check) -> None:
    """Velocities whose paths are known: Heun's rule and Euler's, step by step, and the exponential that many steps reach."""
    start = draw(3)
    for sampler, by in (("euler", 1 + 0.1), ("heun", 1 + 0.1 + 0.1**2 / 2)):
        found = carried(lambda x, time: x, jnp.asarray(start, _F32), 10, sampler)
        check(found, start * by**10, oracle="step by step")


@case("generative.penalty")
def penalty(check: Check) -> None:
    """R₁ and WGAN-GP of a critic with one hidden layer, by finite differences of it in NumPy."""
    network = GAN(nn.MLP((4,), 3), nn.MLP((4,), 1, activation="tanh"), 2)
    kernels = draw(3, 4, seed=1), draw(4, 1, seed=2)
    bias = draw(4, seed=3)
    critic = tuple(
        {"kernel": jnp.asarray(kernel, _F32), "bias": jnp.asarray(b, _F32)}
        for kernel, b in zip(kernels, (bias, np.zeros(1)), strict=True)
    )
    generator = network.init(jax.random.key(0), (3,))[0][0]
    params: Any = {"generator": generator, "critic": critic}
    state: Any = (({}, {}), ({}, {}))
    x = draw(5, 3) / 4 + 0.5
    batch = {"x": jnp.asarray(x, _F32), "y": jnp.zeros(5), "weight": jnp.ones(5)}
    slopes = np.stack(
        [finite_difference(lambda row: np.tanh(row @ kernels[0] + bias) @ kernels[1][:, 0], 2 * row - 1) for row in x]
    )
    said = GanGame(network, "critic")(params, state, batch, jax.random.key(0), train=True)[0]["slope"]
    check(said, (slopes**2).sum(1), oracle="finite differences")


@case("generative.frechet")
def distance(check: Check) -> None:
    """Of two Gaussians whose covariances have the same axes: ``|m − m'|² + Σ (√λ − √λ')²``."""
    axes = np.linalg.qr(draw(3, 3))[0]
    base = draw(200, 3, seed=1)
    base -= base.mean(0)
    base = np.linalg.qr(base)[0] * np.sqrt(199)  # mean 0 and covariance I, exactly
    one, other, off = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 0.5]), np.array([1.0, 0.0, -1.0])
    found = frechet(base * one @ axes.T, base * other @ axes.T + off)
    check(found, (off**2).sum() + ((one - other) ** 2).sum(), oracle="closed form")


@case("layer.SpectralNorm")
def spectral(check: Check) -> None:
    """The kernel is divided by its largest singular value."""
    layer = nn.SpectralNorm(nn.Dense(3), steps=200)
    kernel, bias, x = draw(4, 3), draw(3, seed=1), draw(5, 4, seed=2)
    params = ({"kernel": jnp.asarray(kernel, _F32), "bias": jnp.asarray(bias, _F32)},)
    state: Any = ({}, {"u": jnp.ones(3) / np.sqrt(3)})
    found, _ = layer.apply(params, state, jnp.asarray(x, _F32), train=True)
    check(found, x @ kernel / np.linalg.svd(kernel, compute_uv=False)[0] + bias, oracle="singular values")


@case("layer.Reshape")
def reshape(check: Check) -> None:
    """The same numbers in the same order."""
    x = draw(2, 6)
    found, _ = nn.Reshape((3, 2)).apply({}, {}, jnp.asarray(x, _F32))
    check(found, np.stack([row.reshape(3, 2) for row in x]))  # (2, 3, 2)
