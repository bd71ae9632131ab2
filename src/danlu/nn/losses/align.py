"""How outputs meet targets: one rule for every loss and every metric.

Outputs may have axes that the targets do not have, between the batch and the last axis: ``(batch, members, classes)``
for an ensemble. Each target is then compared with every member's output, and the values are averaged. Shapes that
do not fit are refused; they are never broadcast, since a ``(batch,)`` against a ``(batch, 1)`` would silently make
``(batch, batch)``.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.errors import DataError
from danlu.nn._precision import widened

__all__ = ["align_values", "labels_to_probabilities", "member_axes", "nan_unless", "per_example"]


def per_example(values: jax.Array) -> jax.Array:
    """The mean over every axis but the batch: ``(batch, ...) -> (batch,)``."""
    return values if values.ndim == 1 else jnp.mean(values, axis=tuple(range(1, values.ndim)))


def nan_unless(valid: jax.Array, values: jax.Array) -> jax.Array:
    """``values`` where ``valid``, elsewhere NaN with a derivative of 0 (so that a weight of 0 can leave it out)."""
    return jnp.where(valid, values, jnp.nan)


def _refuse(owner: str, outputs: Any, targets: Any, expected: str, hint: str | None = None) -> DataError:
    return DataError(
        f"{owner} received outputs of shape {tuple(jnp.shape(outputs))} and targets of shape "
        f"{tuple(jnp.shape(targets))}; expected {expected}",
        hint=hint,
    )


def _between(targets: jax.Array, outputs_ndim: int) -> jax.Array:
    """``targets`` with axes of size 1 after the batch, up to ``outputs_ndim`` axes."""
    # (batch, 1, …, *rest)
    return targets.reshape(targets.shape[:1] + (1,) * (outputs_ndim - targets.ndim) + targets.shape[1:])


def _float_outputs(owner: str, outputs: Any) -> jax.Array:
    outputs = jnp.asarray(outputs)
    if not jnp.issubdtype(outputs.dtype, jnp.floating):
        raise DataError(f"{owner} received outputs of type {outputs.dtype}; expected floating-point numbers")
    return widened(outputs)  # a square or a sum over pixels would leave the range of 16 bits


def _element_by_element(out: tuple[int, ...], want: tuple[int, ...]) -> bool:
    return out == want or out == (*want, 1) or (*out, 1) == want


def member_axes(outputs: jax.Array, targets: Any) -> tuple[int, ...]:
    """The axes of ``outputs`` that :func:`align_values` takes for members."""
    return () if _element_by_element(outputs.shape, jnp.shape(targets)) else tuple(range(1, outputs.ndim - 1))


def align_values(owner: str, outputs: Any, targets: Any) -> tuple[jax.Array, jax.Array]:
    """Outputs and targets for a loss that compares number with number (regression, binary classification).

    ======================= ==================================== ==================================
    targets                 outputs                              meaning
    ======================= ==================================== ==================================
    any shape               the same                             element by element
    ``(batch, ...)``        ``(batch, ..., 1)``                  the last axis is one number
    ``(batch, ..., 1)``     ``(batch, ...)``                     the same the other way round
    ``(batch,)``            ``(batch, members..., 1)``           each member against the target
    ``(batch, k)``          ``(batch, members..., k)``           each member against the targets
    ======================= ==================================== ==================================

    Returns:
        Both with the shape of the outputs, in the outputs' floating type, or float32 if that is wider.

    Raises:
        DataError: shapes that do not fit, or outputs that are not floating-point.
    """
    outputs, targets = _float_outputs(owner, outputs), jnp.asarray(targets)
    out, want = outputs.shape, targets.shape
    if not out or not want or out[0] != want[0]:
        raise _refuse(owner, outputs, targets, "the same batch size on the first axis of both")
    if _element_by_element(out, want):
        targets = targets.reshape(out)
    elif len(want) == 1 and out[-1] == 1:
        targets = _between(targets[:, None], outputs.ndim)
    elif len(want) == 2 and len(out) > 2 and out[-1] == want[-1]:
        targets = _between(targets, outputs.ndim)
    else:
        raise _refuse(
            owner,
            outputs,
            targets,
            f"outputs of shape {want}, {(*want, 1)}, or with member axes after the batch",
            "for one number per example, end the network in Dense(1)" if len(want) == 1 else None,
        )
    return outputs, jnp.broadcast_to(targets, out).astype(outputs.dtype)


def labels_to_probabilities(
    owner: str, outputs: Any, targets: Any, *, label_smoothing: float = 0.0
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Outputs and target probabilities for a loss over classes (the last axis of the outputs).

    Targets are class numbers, ``(batch,)`` or the outputs' shape without the classes; or probabilities ("soft labels"),
    ``(batch, classes)`` or the outputs' shape. A class number outside ``0 … classes − 1`` is not valid: a label
    that does not exist must not pass for one that does.

    Args:
        label_smoothing: α in [0, 1): ``(1 − α)·p + α/classes``.

    Returns:
        Outputs and probabilities, both ``(batch, ..., classes)``, and whether each target is valid, ``(batch, ...)``; the
        middle axes of the last two may be 1 where the outputs have members.

    Raises:
        DataError: shapes that do not fit, fewer than two classes, or fractional class numbers.
    """
    outputs, targets = _float_outputs(owner, outputs), jnp.asarray(targets)
    if outputs.ndim < 2 or outputs.shape[-1] < 2:
        hint = "for two classes and one output use binary_cross_entropy"
        raise _refuse(owner, outputs, targets, "outputs (batch, ..., classes) with at least two classes", hint)
    if not targets.ndim or targets.shape[0] != outputs.shape[0]:
        raise _refuse(owner, outputs, targets, "the same batch size on the first axis of both")
    classes = outputs.shape[-1]
    if targets.shape == outputs.shape or (
        targets.ndim == 2 and targets.shape[1] == classes and jnp.issubdtype(targets.dtype, jnp.floating)
    ):
        probabilities = _between(targets, outputs.ndim).astype(outputs.dtype)
        valid = jnp.ones(probabilities.shape[:-1], jnp.bool_)
    else:
        probabilities, valid = _one_hot(owner, outputs, targets)
    if label_smoothing:
        probabilities = (1 - label_smoothing) * probabilities + label_smoothing / classes
    return outputs, probabilities, valid


def _either(*shapes: tuple[int, ...]) -> str:
    return " or ".join(dict.fromkeys(map(str, shapes)))


def _one_hot(owner: str, outputs: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
    classes = outputs.shape[-1]
    if targets.shape == (outputs.shape[0], 1) and outputs.ndim == 2:
        targets = targets[:, 0]
    if targets.shape == outputs.shape[:1]:
        labels = _between(targets, outputs.ndim - 1)
    elif targets.shape == outputs.shape[:-1]:
        labels = targets
    else:
        raise _refuse(
            owner,
            outputs,
            targets,
            f"class numbers of shape {_either(outputs.shape[:1], outputs.shape[:-1])}, or probabilities of shape "
            f"{_either((outputs.shape[0], classes), outputs.shape)}",
        )
    if not (jnp.issubdtype(labels.dtype, jnp.integer) or labels.dtype == jnp.bool_):
        raise DataError(
            f"{owner} received class numbers of type {labels.dtype}; expected whole numbers",
            hint="targets.astype('int32'), with the classes numbered from 0",
        )
    labels = labels[..., None].astype(jnp.int32)
    numbers = jnp.arange(classes, dtype=jnp.int32).reshape((1,) * (labels.ndim - 1) + (classes,))  # (1, …, classes)
    return (labels == numbers).astype(outputs.dtype), ((labels >= 0) & (labels < classes))[..., 0]
