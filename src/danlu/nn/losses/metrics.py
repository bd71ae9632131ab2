"""Measures watched in training: functions of the same form as a loss, ``metric(outputs, targets) -> (batch,)``.

They judge the *prediction*: an ensemble's members are averaged first (as probabilities or as numbers), whereas a loss
averages the members' losses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp

from danlu.errors import unknown_name
from danlu.nn.activations import sigmoid, softmax
from danlu.nn.losses.align import align_values, labels_to_probabilities, member_axes, per_example

__all__ = ["METRICS", "absolute_error", "accuracy", "get_metric", "squared_error"]

MetricFn = Callable[[Any, Any], jax.Array]


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


def _error(owner: str, outputs: Any, targets: Any) -> jax.Array:
    z, y = align_values(owner, outputs, targets)
    axes = member_axes(z, targets)
    return jnp.mean(z, axis=axes) - jnp.mean(y, axis=axes)


def squared_error(outputs: Any, targets: Any) -> jax.Array:
    """``(ŷ − y)²`` with ``ŷ`` the mean of the members; several outputs are averaged.

    >>> squared_error(jnp.array([[[1.0], [3.0]]]), jnp.array([2.0])).tolist()
    [0.0]
    """
    return per_example(jnp.square(_error("squared_error", outputs, targets)))


def absolute_error(outputs: Any, targets: Any) -> jax.Array:
    """``|ŷ − y|`` with ``ŷ`` the mean of the members; several outputs are averaged."""
    return per_example(jnp.abs(_error("absolute_error", outputs, targets)))


METRICS: Mapping[str, MetricFn] = MappingProxyType(
    {"absolute_error": absolute_error, "accuracy": accuracy, "squared_error": squared_error}
)
"""Every metric by its name."""


def get_metric(name: str) -> MetricFn:
    """The metric called ``name``.

    Raises:
        ConfigError: no such metric; the message offers the nearest name.
    """
    if name not in METRICS:
        raise unknown_name("metric", name, METRICS)
    return METRICS[name]
