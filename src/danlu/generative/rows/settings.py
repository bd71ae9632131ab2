"""The settings of models that make rows of a table."""

from __future__ import annotations

from danlu.blueprint import Blueprint, setting

__all__ = ["MODELS", "Synthesize"]

MODELS = ("auto", "autoregressive", "diffusion", "vae", "flow", "copula")


class Synthesize(Blueprint):
    """How new rows of a table are learnt to be made.

    Args:
        model: ``"autoregressive"``: each column given those before it; ``"diffusion"``; ``"vae"``, a variational autoencoder; ``"flow"``, a
            normalising flow; ``"copula"``, the columns joined by correlations, in closed form; ``"auto"`` is the choice of
            :func:`~danlu.generative.rows.row_recipe`; None makes no rows.
        cells: of a column of numbers, at most; see :mod:`danlu.data.rows.cells`.
        steps: of a diffusion.
    """

    model: str | None = setting(default=None, choices=MODELS, optional=True)
    cells: int = setting(default=128, minimum=2, maximum=4096, integer=True)
    steps: int = setting(default=100, minimum=2, maximum=4000, integer=True)
