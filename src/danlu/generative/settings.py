"""The settings of models that draw."""

from __future__ import annotations

from danlu.blueprint import Blueprint, setting
from danlu.generative.gan import LOSSES, PENALTIES

__all__ = ["KINDS", "Generate"]

KINDS = ("auto", "vae", "diffusion", "flow-matching", "gan")


class Generate(Blueprint):
    """How new pictures are learnt to be drawn.

    Args:
        model: ``"vae"``, a variational autoencoder, which learns in minutes and blurs; ``"diffusion"`` (DDPM) and ``"flow-matching"``
            (rectified flow), which take noise out of pictures and are sharper; ``"gan"``, a generator against a critic, which draws in
            one step; ``"auto"`` is the choice of
            :func:`~danlu.generative.painting_recipe`; None draws nothing.
        labels: whether it learns to draw what it is told, where the pictures have labels.
        unlabelled: the share of the rows whose label is not told in training, so that pictures can also be drawn and judged without one.
        codes: of a VAE: how many numbers stand for a picture.
        beta: of a VAE: the weight of what the codes may tell (β): above 1 plainer codes, below 1 sharper pictures.
        likelihood: of a VAE: ``"bernoulli"`` (pixels that are on or off), ``"gaussian"``; ``"auto"`` looks at the pixels.
        loss: of a GAN: ``"non-saturating"``, ``"hinge"`` or ``"wasserstein"``, see :class:`~danlu.generative.GanGame`.
        penalty: of a GAN, of the critic's slope: ``"r1"``, ``"wgan-gp"`` or ``"none"``; ``"auto"`` is WGAN-GP of a Wasserstein loss, else
            R1.
        weight: of a GAN: of that penalty; None is 10 of WGAN-GP, 1 of R1 (γ = 2).
        spectral: of a GAN: whether the critic's kernels are divided by their largest singular value.
    """

    model: str | None = setting(default=None, choices=KINDS, optional=True)
    labels: bool = True
    unlabelled: float = setting(default=0.1, minimum=0, below=1)
    codes: int | None = setting(default=None, minimum=1, maximum=4096, integer=True, optional=True)
    beta: float = setting(default=1.0, minimum=0)
    likelihood: str = setting(default="auto", choices=("auto", "bernoulli", "gaussian"))
    loss: str = setting(default="non-saturating", choices=LOSSES)
    penalty: str = setting(default="auto", choices=("auto", *PENALTIES))
    weight: float | None = setting(default=None, minimum=0, optional=True)
    spectral: bool = False
