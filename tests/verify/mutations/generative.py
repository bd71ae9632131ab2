"""What draws: bounds, noise, flows, games, and the distance of what is drawn."""

from __future__ import annotations

from mutations.mutation import of

MUTATIONS = [
    *of(
        "generative/vae.py",
        (
            "divergence-without-mean",
            "jnp.square(mean) + jnp.exp(2 * log_spread)",
            "jnp.exp(2 * log_spread)",
            "generative.elbo",
        ),
        ("weights-without-spread", "- jnp.square(codes)) + log_spread", "- jnp.square(codes))", "generative.elbo"),
    ),
    *of(
        "generative/noise.py",
        (
            "sigma-of-the-other-time",
            "(1 - after) / (1 - now) * (1 - now / after)",
            "(1 - now / after)",
            "generative.diffusion",
        ),
        ("noise-of-the-square", "jnp.sqrt(1 - alpha) * noise", "(1 - alpha) * noise", "generative.diffusion"),
    ),
    *of(
        "generative/flow.py",
        ("heun-is-euler", "(first + second) / (2 * steps)", "first / steps", "generative.flow"),
    ),
    *of(
        "generative/gan.py",
        (
            "slope-not-squared",
            "return square if self.penalty",
            "return jnp.sqrt(square) if self.penalty",
            "generative.penalty",
        ),
    ),
    *of(
        "evaluate/generated.py",
        ("roots-not-doubled", "np.trace(wide) - 2 * both", "np.trace(wide) - both", "generative.frechet"),
    ),
    *of(
        "nn/spectral_norm.py",
        (
            "kernel-not-divided",
            'params[0]["kernel"] / self.sigma(params, after)',
            'params[0]["kernel"]',
            "layer.SpectralNorm",
        ),
    ),
]
