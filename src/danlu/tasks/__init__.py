"""What ties data, network, loss and trainer together."""

from danlu.tasks.answers import Answers
from danlu.tasks.detection import Boxes, Detection, detection_recipe
from danlu.tasks.fair import Fair
from danlu.tasks.folds import fold_numbers, folds_for
from danlu.tasks.forecast import Forecast, forecast_recipe, learn_forecast
from danlu.tasks.image import Augment, image_recipe, private_image_recipe
from danlu.tasks.language import Language, NextToken, language_recipe, learn_language
from danlu.tasks.learn import KINDS, Imbalance, learn, plan_for
from danlu.tasks.multilabel import Tags
from danlu.tasks.private import PrivateTraining
from danlu.tasks.quantiles import Quantiles
from danlu.tasks.recipe import Recipe, recipe
from danlu.tasks.scorecard import CardSettings
from danlu.tasks.segmentation import Masks, Segmentation, segmentation_recipe
from danlu.tasks.sequence import sequence_recipe
from danlu.tasks.text import text_recipe
from danlu.tasks.translation import BeamSearch, Translation, learn_translation, translation_recipe

__all__ = [
    "KINDS",
    "Answers",
    "Augment",
    "BeamSearch",
    "Boxes",
    "CardSettings",
    "Detection",
    "Fair",
    "Forecast",
    "Imbalance",
    "Language",
    "Masks",
    "NextToken",
    "PrivateTraining",
    "Quantiles",
    "Recipe",
    "Segmentation",
    "Tags",
    "Translation",
    "detection_recipe",
    "fold_numbers",
    "folds_for",
    "forecast_recipe",
    "image_recipe",
    "language_recipe",
    "learn",
    "learn_forecast",
    "learn_language",
    "learn_translation",
    "plan_for",
    "private_image_recipe",
    "recipe",
    "segmentation_recipe",
    "sequence_recipe",
    "text_recipe",
    "translation_recipe",
]
