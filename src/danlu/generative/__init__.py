"""Models that draw: what new pictures (and rows) look like, learnt from old ones."""

from danlu.generative.diffusion import Diffusion
from danlu.generative.flow import RectifiedFlow
from danlu.generative.gan import GAN, GanGame, Turns
from danlu.generative.head import Painting
from danlu.generative.network import Generating, Generative
from danlu.generative.recipe import GameRecipe, PaintingRecipe, painting_recipe
from danlu.generative.settings import Generate
from danlu.generative.unet import TimedUNet
from danlu.generative.vae import VAE
from danlu.generative.written import check_place, grid, write_samples

__all__ = [
    "GAN",
    "VAE",
    "Diffusion",
    "GameRecipe",
    "GanGame",
    "Generate",
    "Generating",
    "Generative",
    "Painting",
    "PaintingRecipe",
    "RectifiedFlow",
    "TimedUNet",
    "Turns",
    "check_place",
    "grid",
    "painting_recipe",
    "write_samples",
]
