"""The one place for weights: class weights, sample weights and masks become one weight per example, and then a mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.errors import ConfigError, DataError, unknown_name

__all__ = ["class_weights", "example_weights", "reduce"]


def reduce(values: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """The weighted mean ``Σ wᵢ·vᵢ / Σ wᵢ``; 0 when ``Σ wᵢ = 0``.

    A value of weight 0 does not count even when it is NaN or infinite (a padding row). Multiplying all weights by
    the same number changes nothing.

    Args:
        values: ``(batch,)``.
        weights: ``(batch,)``, at least 0; None is 1 for each.

    Returns:
        A scalar.

    Raises:
        DataError: the shapes differ.

    >>> float(reduce(jnp.array([1.0, 4.0]), jnp.array([3.0, 1.0])))
    1.75
    """
    if weights is None:
        return jnp.mean(values) if values.size else jnp.zeros((), values.dtype)
    weights = jnp.asarray(weights)
    if weights.shape != values.shape:
        raise DataError(f"reduce received {values.shape} values and {weights.shape} weights; expected the same shape")
    weights = weights.astype(values.dtype)
    total = jnp.sum(weights)
    used = jnp.where(weights == 0, jnp.zeros_like(values), values)
    return jnp.sum(weights * used) / jnp.where(total == 0, jnp.ones_like(total), total)


def class_weights(labels: Any, classes: int, *, mode: str | Mapping[int, float] | None = "balanced") -> np.ndarray:
    """A weight for each class.

    Args:
        labels: class numbers of the training rows, ``(rows,)``.
        classes: how many classes there are.
        mode: ``"balanced"`` gives ``rows / (present classes · rows of the class)``: each class that is present weighs
            the same in total, and the mean weight is 1 (scikit-learn's rule); a dict gives each class its weight
            (others 1); None is 1 for each.

    Returns:
        ``(classes,)`` float32. A class without a row has weight 0 under ``"balanced"``.

    Raises:
        ConfigError: an unknown mode, or a weight that is negative or of an unknown class.
        DataError: labels that are not class numbers.

    >>> class_weights([0, 0, 1, 1, 1, 1, 1, 1], 2).round(3)
    array([2.   , 0.667], dtype=float32)
    """
    numbers = np.asarray(labels)
    if numbers.ndim != 1 or not np.issubdtype(numbers.dtype, np.integer):
        raise DataError(
            f"class_weights received labels of type {numbers.dtype} and shape {numbers.shape}; "
            "expected class numbers (rows,)"
        )
    if numbers.size and (numbers.min() < 0 or numbers.max() >= classes):
        raise DataError(f"class_weights received labels {numbers.min()}–{numbers.max()}; expected 0–{classes - 1}")
    if mode is None:
        return np.ones(classes, np.float32)
    if isinstance(mode, Mapping):
        return _given(mode, classes)
    if mode != "balanced":
        raise unknown_name("class weight mode", mode, ["balanced"])
    counts = np.bincount(numbers, minlength=classes)
    present = np.count_nonzero(counts)
    return np.where(counts > 0, numbers.size / (max(present, 1) * np.maximum(counts, 1)), 0).astype(np.float32)


def _given(weights: Mapping[int, float], classes: int) -> np.ndarray:
    result = np.ones(classes, np.float32)
    for number, weight in weights.items():
        if number not in range(classes) or not (np.isfinite(weight) and weight >= 0):
            raise ConfigError(
                f"class weight {number!r}: {weight!r} is not valid; expected a class number from 0 to {classes - 1} "
                "and a finite weight of at least 0"
            )
        result[number] = weight
    return result


def example_weights(
    labels: Any | None = None,
    class_weights: Any | None = None,
    *,
    sample_weight: Any | None = None,
    mask: Any | None = None,
    rows: int | None = None,
) -> np.ndarray:
    """One weight for each example: its class's weight × its own weight × its mask.

    Args:
        labels: class numbers, ``(rows,)``; needed with ``class_weights``.
        class_weights: ``(classes,)``.
        sample_weight: ``(rows,)``, finite and at least 0.
        mask: ``(rows,)``; False leaves the example out.
        rows: how many examples there are, when nothing else says so.

    Returns:
        ``(rows,)`` float32.

    Raises:
        DataError: lengths that differ, a negative or non-finite weight, or nothing to tell how many examples there are.

    >>> example_weights([0, 1], [1.0, 3.0], mask=[True, False]).tolist()
    [1.0, 0.0]
    """
    lengths = {
        name: len(a)
        for name, a in (("labels", labels), ("sample_weight", sample_weight), ("mask", mask))
        if a is not None
    }
    if rows is not None:
        lengths["rows"] = rows
    if len(set(lengths.values())) != 1:
        raise DataError(
            f"example_weights received {lengths or 'no arrays'}; expected the same number of examples in each"
        )
    weights = np.ones(next(iter(lengths.values())), np.float32)
    if class_weights is not None:
        if labels is None:
            raise DataError("example_weights received class weights without labels; expected both")
        table, numbers = np.asarray(class_weights, np.float32), np.asarray(labels)
        if numbers.size and (numbers.min() < 0 or numbers.max() >= len(table)):
            raise DataError(f"a label is outside 0 to {len(table) - 1}, the classes that have weights")
        weights = weights * table[numbers]
    if sample_weight is not None:
        own = np.asarray(sample_weight, np.float32)
        if own.ndim != 1 or not np.all(np.isfinite(own)) or np.any(own < 0):
            raise DataError("sample_weight holds a negative or non-finite number, or has more than one axis")
        weights = weights * own
    if mask is not None:
        weights = weights * np.asarray(mask, bool)
    return weights
