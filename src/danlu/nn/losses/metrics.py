"""Measures watched in training: functions of the same form as a loss, ``metric(outputs, targets) -> (batch,)``.

They judge the *prediction*: an ensemble's members are averaged first (as probabilities or as numbers), whereas a loss
averages the members' losses.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from danlu.names import Names
from danlu.nn.activations import log_softmax, sigmoid, softmax, softplus
from danlu.nn.losses.align import align_values, labels_to_probabilities, member_axes, nan_unless, per_example
from danlu.nn.losses.targets import check_binary, check_classes_or_binary, measure

__all__ = ["METRICS", "absolute_error", "accuracy", "get_metric", "label_accuracy", "log_loss", "squared_error"]

MetricFn = Callable[[Any, Any], jax.Array]


@measure("max", check_classes_or_binary)
def accuracy(outputs: Any, targets: Any) -> jax.Array:
    """1 where the predicted class is the target, else 0.

    Outputs whose last axis is 1, or that have only the batch axis, are binary logits: class 1 where the members' mean
    of ``σ(z)`` exceeds ½. Otherwise the last axis is classes: the class of the largest mean probability (the first of
    equals). A label that does not exist is never right. Soft labels count as their largest class. Targets with more
    axes (time) are averaged.

    >>> accuracy(jnp.array([[2.0, 1.0], [0.0, 3.0]]), jnp.array([0, 0])).tolist()
    [1.0, 0.0]
    """
    outputs = jnp.asarray(outputs)
    if outputs.ndim == 1 or outputs.shape[-1] == 1:
        z, y = align_values("accuracy", outputs, targets)
        axes = member_axes(z, targets)
        probability, y = jnp.mean(sigmoid(z), axis=axes), jnp.mean(y, axis=axes)
        return per_example(((probability > 0.5) == (y > 0.5)).astype(z.dtype))
    z, y, valid = labels_to_probabilities("accuracy", outputs, targets)
    axes = tuple(axis for axis in range(1, z.ndim - 1) if y.shape[axis] == 1)
    probability = jnp.mean(softmax(z), axis=axes, keepdims=True)
    return per_example(((jnp.argmax(probability, -1) == jnp.argmax(y, -1)) & valid).astype(z.dtype))


@measure("max", check_binary)
def label_accuracy(outputs: Any, targets: Any) -> jax.Array:
    """The share of an example's labels that are right, for targets of several labels that are each 0 or 1 (``(batch, k)``).

    A label counts as predicted where the members' mean of ``σ(z)`` exceeds ½.

    >>> label_accuracy(jnp.array([[2.0, -1.0, 0.5, 3.0]]), jnp.array([[1, 0, 0, 1]])).tolist()
    [0.75]
    """
    z, y = align_values("label_accuracy", outputs, targets)
    axes = member_axes(z, targets)
    probability, y = jnp.mean(sigmoid(z), axis=axes), jnp.mean(y, axis=axes)
    return per_example(((probability > 0.5) == (y > 0.5)).astype(z.dtype))


def _error(owner: str, outputs: Any, targets: Any) -> jax.Array:
    z, y = align_values(owner, outputs, targets)
    axes = member_axes(z, targets)
    return jnp.mean(z, axis=axes) - jnp.mean(y, axis=axes)


@measure("min")
def squared_error(outputs: Any, targets: Any) -> jax.Array:
    """``(ŷ − y)²`` with ``ŷ`` the mean of the members; several outputs are averaged.

    >>> squared_error(jnp.array([[[1.0], [3.0]]]), jnp.array([2.0])).tolist()
    [0.0]
    """
    return per_example(jnp.square(_error("squared_error", outputs, targets)))


@measure("min")
def absolute_error(outputs: Any, targets: Any) -> jax.Array:
    """``|ŷ − y|``, ``(batch,)``, with ``ŷ`` the mean of the members; several outputs are averaged."""
    return per_example(jnp.abs(_error("absolute_error", outputs, targets)))


@measure("min", check_classes_or_binary)
def log_loss(outputs: Any, targets: Any) -> jax.Array:
    """``−log p̄(y)`` with ``p̄`` the mean of the members' probabilities: the log loss of the ensemble's prediction.

    Outputs are logits and targets classes, as for :func:`accuracy`. By Jensen's inequality it is never above the members' mean
    cross-entropy; the two part when the members are each too sure of themselves and disagree.

    >>> [round(float(value), 3) for value in log_loss(jnp.array([[[0.0, 40.0], [40.0, 0.0]]]), jnp.array([1]))]
    [0.693]
    """
    outputs = jnp.asarray(outputs)
    if outputs.ndim == 1 or outputs.shape[-1] == 1:
        z, y = align_values("log_loss", outputs, targets)
        axes = member_axes(z, targets)
        y = jnp.mean(y, axis=axes)
        values = -y * _log_mean(-softplus(-z), axes) - (1 - y) * _log_mean(-softplus(z), axes)
        return per_example(nan_unless((y >= 0) & (y <= 1), values))
    z, y, valid = labels_to_probabilities("log_loss", outputs, targets)
    axes = tuple(axis for axis in range(1, z.ndim - 1) if y.shape[axis] == 1)
    y, valid = jnp.squeeze(y, axes), jnp.squeeze(valid, axes)
    values = -jnp.sum(jnp.where(y > 0, y * _log_mean(log_softmax(z), axes), 0), axis=-1)
    return per_example(nan_unless(valid, values))


def _log_mean(logs: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """``log mean exp`` over ``axes``."""
    if not axes:
        return logs
    return logsumexp(logs, axis=axes) - math.log(math.prod(logs.shape[axis] for axis in axes))


_AFTER = (
    "it is not a mean over rows; compute it from the predictions: sklearn.metrics.{}(y, …fitted.predict(x)…). "
    "danlu train reports it automatically"
)
_CROSS_ENTROPIES = (
    "cross_entropy",
    "binary_cross_entropy",
    "categorical_cross_entropy",
    "sparse_categorical_crossentropy",
)

METRICS: Names[MetricFn] = Names(
    "metric",
    {
        "absolute_error": absolute_error,
        "accuracy": accuracy,
        "label_accuracy": label_accuracy,
        "log_loss": log_loss,
        "squared_error": squared_error,
    },
    same={
        **dict.fromkeys(("acc", "accuracy_score", "binary_accuracy", "categorical_accuracy"), "accuracy"),
        "sparse_categorical_accuracy": "accuracy",
        **dict.fromkeys(_CROSS_ENTROPIES, "log_loss"),
        **dict.fromkeys(("mean_squared_error", "mse"), "squared_error"),
        **dict.fromkeys(("mean_absolute_error", "mae", "l1"), "absolute_error"),
    },
    answers={
        **dict.fromkeys(("auc", "roc_auc", "auroc", "roc_auc_score"), _AFTER.format("roc_auc_score")),
        **dict.fromkeys(("pr_auc", "average_precision", "auprc"), _AFTER.format("average_precision_score")),
        **dict.fromkeys(("f1", "f1_score", "f1_macro"), _AFTER.format("f1_score")),
        **dict.fromkeys(("precision", "precision_score"), _AFTER.format("precision_score")),
        **dict.fromkeys(("recall", "recall_score", "sensitivity"), _AFTER.format("recall_score")),
        **dict.fromkeys(("r2", "r2_score"), _AFTER.format("r2_score")),
        **dict.fromkeys(("rmse", "root_mean_squared_error"), "take squared_error, whose mean is RMSE²"),
    },
    hint="a metric may also be any function (outputs, targets)",
)
"""Every metric by its name."""


def get_metric(name: str) -> MetricFn:
    """The metric called ``name``.

    Raises:
        ConfigError: no such metric; the message offers the nearest name.
    """
    return METRICS.find(name)
