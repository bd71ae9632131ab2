"""Models that make rows of a table, and the test of such rows."""

from danlu.generative.rows.autoencoder import RowVAE
from danlu.generative.rows.autoregressive import RowMADE
from danlu.generative.rows.bench import Bench
from danlu.generative.rows.copula import RowCopula
from danlu.generative.rows.diffusion import RowDiffusion
from danlu.generative.rows.flow import RowFlow, spline
from danlu.generative.rows.head import RowDraws
from danlu.generative.rows.network import Likelihood, RowModel
from danlu.generative.rows.recipe import RowRecipe, begun, learn_rows, row_recipe
from danlu.generative.rows.settings import Synthesize
from danlu.generative.rows.simple import neighbours_mixed, normal_rows, real_rows

__all__ = [
    "Bench",
    "Likelihood",
    "RowCopula",
    "RowDiffusion",
    "RowDraws",
    "RowFlow",
    "RowMADE",
    "RowModel",
    "RowRecipe",
    "RowVAE",
    "Synthesize",
    "begun",
    "learn_rows",
    "neighbours_mixed",
    "normal_rows",
    "real_rows",
    "row_recipe",
    "spline",
]
