"""Losses by name, for configuration files and the command line."""

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
from danlu.nn.losses.dice import Dice
from danlu.nn.losses.quantile import Pinball
from danlu.nn.losses.regression import MAE, MSE, HalfMSE, Huber
from danlu.nn.losses.tokens import TokenCrossEntropy

__all__ = ["LOSSES", "get_loss"]

LOSSES: Mapping[str, type[Loss]] = MappingProxyType(
    {
        "binary_cross_entropy": BinaryCrossEntropy,
        "binary_focal": BinaryFocal,
        "categorical_cross_entropy": CategoricalCrossEntropy,
        "categorical_focal": CategoricalFocal,
        "dice": Dice,
        "half_mse": HalfMSE,
        "huber": Huber,
        "mae": MAE,
        "mse": MSE,
        "pinball": Pinball,
        "token_cross_entropy": TokenCrossEntropy,
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
