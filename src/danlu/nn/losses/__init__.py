"""Losses, the weights and the mean over the batch, penalties, and the measures watched in training."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from danlu.errors import unknown_name
from danlu.nn.losses.base import Loss
from danlu.nn.losses.classification import (
    BinaryCrossEntropy,
    BinaryFocal,
    CategoricalCrossEntropy,
    CategoricalFocal,
)
from danlu.nn.losses.metrics import METRICS, absolute_error, accuracy, get_metric, squared_error
from danlu.nn.losses.penalties import l1, l2
from danlu.nn.losses.regression import MAE, MSE, HalfMSE, Huber
from danlu.nn.losses.weighting import class_weights, example_weights, reduce

__all__ = [
    "LOSSES",
    "MAE",
    "METRICS",
    "MSE",
    "BinaryCrossEntropy",
    "BinaryFocal",
    "CategoricalCrossEntropy",
    "CategoricalFocal",
    "HalfMSE",
    "Huber",
    "Loss",
    "absolute_error",
    "accuracy",
    "class_weights",
    "example_weights",
    "get_loss",
    "get_metric",
    "l1",
    "l2",
    "reduce",
    "squared_error",
]

LOSSES: Mapping[str, type[Loss]] = MappingProxyType(
    {
        "binary_cross_entropy": BinaryCrossEntropy,
        "binary_focal": BinaryFocal,
        "categorical_cross_entropy": CategoricalCrossEntropy,
        "categorical_focal": CategoricalFocal,
        "half_mse": HalfMSE,
        "huber": Huber,
        "mae": MAE,
        "mse": MSE,
    }
)
"""Every loss by its short name."""


def get_loss(name: str) -> Loss:
    """The loss called ``name``, with its default settings.

    Raises:
        ConfigError: no such loss; the message offers the nearest name.

    >>> get_loss("huber")
    Huber(delta=1.0)
    """
    if name not in LOSSES:
        raise unknown_name("loss", name, LOSSES)
    return LOSSES[name]()
