"""Models that draw: what new pictures (and rows) look like, learnt from old ones."""

from danlu.generative.head import Painting
from danlu.generative.network import Generating, Generative
from danlu.generative.recipe import PaintingRecipe, painting_recipe
from danlu.generative.settings import Generate
from danlu.generative.vae import VAE
from danlu.generative.written import grid, write_samples

__all__ = [
    "VAE",
    "Generate",
    "Generating",
    "Generative",
    "Painting",
    "PaintingRecipe",
    "grid",
    "painting_recipe",
    "write_samples",
]
