"""Losses by name, for configuration files and the command line."""

from __future__ import annotations

from danlu.names import Names
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

__all__ = ["LOSSES", "TAKES_LOGITS", "get_loss"]

TAKES_LOGITS = (BinaryCrossEntropy, BinaryFocal, CategoricalCrossEntropy, CategoricalFocal, TokenCrossEntropy, Dice)
"""The losses that make probabilities of logits themselves."""


_CROSS_ENTROPY = ("cross_entropy", "cross_entropy_loss", "ce", "softmax_cross_entropy", "categorical_crossentropy")
_SPARSE = (
    "sparse_categorical_crossentropy",
    "sparse_categorical_cross_entropy",
)  # class numbers are told from one-hot targets
_BINARY = ("bce", "bce_loss", "bce_with_logits", "bce_with_logits_loss", "sigmoid_cross_entropy")

LOSSES: Names[type[Loss]] = Names(
    "loss",
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
    },
    same={
        **dict.fromkeys((*_CROSS_ENTROPY, *_SPARSE), "categorical_cross_entropy"),
        **dict.fromkeys(_BINARY, "binary_cross_entropy"),
        **dict.fromkeys(("mean_squared_error", "mse_loss", "squared_error"), "mse"),
        **dict.fromkeys(("mean_absolute_error", "mae_loss", "absolute_error", "l1_loss", "l1"), "mae"),
        **dict.fromkeys(("huber_loss", "smooth_l1", "smooth_l1_loss"), "huber"),
    },
    answers={
        **dict.fromkeys(("nll", "nll_loss"), "take categorical_cross_entropy without the log_softmax: it takes logits"),
        "log_loss": "take categorical_cross_entropy, or binary_cross_entropy for one logit: they take logits, not probabilities",
        **dict.fromkeys(
            ("focal", "focal_loss"), "take binary_focal for one logit, categorical_focal for one logit per class"
        ),
        **dict.fromkeys(("rmse", "root_mean_squared_error"), "take mse, which has the same minimum"),
        "l2_loss": "take half_mse, ½(ŷ − y)², or mse",
        "l2": "take mse; the penalty on weights is a separate option: l2=1e-4",
        **dict.fromkeys(
            ("quantile", "quantile_loss"), "take danlu.nn.losses.Pinball((0.5,)), with one output per quantile"
        ),
        "hinge": "take binary_cross_entropy; a loss may also be any function (outputs, targets)",
    },
    hint="a loss may also be any function (outputs, targets)",
)
"""Every loss by its short name."""


def get_loss(name: str) -> Loss:
    """The loss called ``name``, with its default settings.

    Raises:
        ConfigError: no such loss; the message offers the nearest name.

    >>> get_loss("huber")
    Huber(delta=1.0)
    """
    return LOSSES.find(name)()
