"""Losses, the weights and the mean over the batch, penalties, and the measures watched in training."""

from danlu.nn.losses.base import Loss
from danlu.nn.losses.classification import (
    BinaryCrossEntropy,
    BinaryFocal,
    CategoricalCrossEntropy,
    CategoricalFocal,
)
from danlu.nn.losses.detection import DetectionLoss, assign_cells
from danlu.nn.losses.dice import Dice
from danlu.nn.losses.distillation import SoftTargets
from danlu.nn.losses.metrics import (
    METRICS,
    absolute_error,
    accuracy,
    get_metric,
    label_accuracy,
    log_loss,
    squared_error,
)
from danlu.nn.losses.penalties import l1, l2
from danlu.nn.losses.quantile import ForecastLoss, Pinball, centre_error
from danlu.nn.losses.registry import LOSSES, get_loss
from danlu.nn.losses.regression import MAE, MSE, HalfMSE, Huber
from danlu.nn.losses.segmentation import VOID, SegmentationLoss, pixel_accuracy
from danlu.nn.losses.tokens import IGNORED, TokenCrossEntropy, counted_tokens
from danlu.nn.losses.weighting import class_weights, example_weights, reduce

__all__ = [
    "IGNORED",
    "LOSSES",
    "MAE",
    "METRICS",
    "MSE",
    "VOID",
    "BinaryCrossEntropy",
    "BinaryFocal",
    "CategoricalCrossEntropy",
    "CategoricalFocal",
    "DetectionLoss",
    "Dice",
    "ForecastLoss",
    "HalfMSE",
    "Huber",
    "Loss",
    "Pinball",
    "SegmentationLoss",
    "SoftTargets",
    "TokenCrossEntropy",
    "absolute_error",
    "accuracy",
    "assign_cells",
    "centre_error",
    "class_weights",
    "counted_tokens",
    "example_weights",
    "get_loss",
    "get_metric",
    "l1",
    "l2",
    "label_accuracy",
    "log_loss",
    "pixel_accuracy",
    "reduce",
    "squared_error",
]
