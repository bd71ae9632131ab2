"""What ties data, network, loss and trainer together."""

from danlu.tasks.folds import fold_numbers, folds_for
from danlu.tasks.forecast import Forecast, ForecastModel, forecast_recipe, learn_forecast
from danlu.tasks.image import Augment, image_recipe
from danlu.tasks.language import Language, LanguageModel, language_recipe, learn_language
from danlu.tasks.learn import Imbalance, Learned, learn, plan_for
from danlu.tasks.predictor import Predictor
from danlu.tasks.recipe import Recipe, recipe
from danlu.tasks.text import text_recipe

__all__ = [
    "Augment",
    "Forecast",
    "ForecastModel",
    "Imbalance",
    "Language",
    "LanguageModel",
    "Learned",
    "Predictor",
    "Recipe",
    "fold_numbers",
    "folds_for",
    "forecast_recipe",
    "image_recipe",
    "language_recipe",
    "learn",
    "learn_forecast",
    "learn_language",
    "plan_for",
    "recipe",
    "text_recipe",
]
