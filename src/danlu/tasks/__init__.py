"""What ties data, network, loss and trainer together."""

from danlu.tasks.folds import fold_numbers, folds_for
from danlu.tasks.image import Augment, image_recipe
from danlu.tasks.language import LanguageModel, language_recipe, learn_language
from danlu.tasks.learn import Imbalance, Learned, learn, plan_for
from danlu.tasks.predictor import Predictor
from danlu.tasks.recipe import Recipe, recipe

__all__ = [
    "Augment",
    "Imbalance",
    "LanguageModel",
    "Learned",
    "Predictor",
    "Recipe",
    "fold_numbers",
    "folds_for",
    "image_recipe",
    "language_recipe",
    "learn",
    "learn_language",
    "plan_for",
    "recipe",
]
