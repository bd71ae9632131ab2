"""A loss or a metric for networks that are trained side by side, each without the rows of its own fold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import Blueprint, setting
from danlu.errors import ConfigError, DataError

__all__ = ["PerFold", "with_folds"]


def with_folds(targets: np.ndarray, folds: np.ndarray, count: int, *, held_out: bool) -> np.ndarray:
    """Targets for :class:`PerFold`: ``(rows, 1 + count)``, the target and which networks it counts for.

    Args:
        targets: ``(rows,)``, numbers or class codes.
        folds: ``(rows,)``, the fold of each row, 0 to ``count − 1``.
        count: how many folds and networks there are.
        held_out: whether a row counts for the network that never learns from it (to judge) or for the others (to train).

    Example:
        >>> with_folds(np.array([7, 8]), np.array([0, 2]), 3, held_out=False).tolist()
        [[7, 0, 1, 1], [8, 1, 1, 0]]
    """
    own = folds[:, None] == np.arange(count)
    counts = own if held_out else ~own
    return np.concatenate([targets[:, None], counts.astype(targets.dtype)], axis=1)


class PerFold(Blueprint):
    """``Σ_k m_k·measure(outputs_k, target) / Σ_k m_k``: the measure of the networks that a row counts for.

    Args:
        measure: a loss or metric ``(outputs, targets) -> (batch,)``.
        count: how many networks there are; their members are side by side in the outputs, as
            :class:`~danlu.nn.Ensemble` leaves them.

    Called with outputs ``(batch, count · members, units)`` and targets ``(batch, 1 + count)`` as :func:`with_folds`
    makes them. Training on a row's other networks and judging it by its own is k-fold cross-validation in one program:
    the mean of the judged values is the out-of-fold loss.

    Reference:
        Stone, "Cross-validatory choice and assessment of statistical predictions" (1974); Breiman, "Bagging predictors"
        (1996), for the mean of the networks as the final prediction.

    Example:
        >>> from danlu.nn.losses import MSE
        >>> outputs = jnp.array([[[1.0], [5.0]]])  # two networks of one member
        >>> PerFold(MSE(), 2)(outputs, jnp.array([[1.0, 0.0, 1.0]])).tolist()
        [16.0]
    """

    measure: Callable[[Any, Any], jax.Array]
    count: int = setting(minimum=2, integer=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.measure):
            raise ConfigError(f"PerFold.measure is {self.measure!r}; expected a loss or a metric")

    @property
    def __name__(self) -> str:
        return getattr(self.measure, "__name__", type(self.measure).__name__)

    @property
    def direction(self) -> str | None:
        """The measure's."""
        return getattr(self.measure, "direction", None)

    def check_targets(self, outputs: Any, targets: Any) -> None:
        """As the measure does, without the columns that say which networks a row counts for."""
        if hasattr(self.measure, "check_targets"):
            self.measure.check_targets(outputs, targets[:, 0])

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        outputs, targets = jnp.asarray(outputs), jnp.asarray(targets)
        if outputs.ndim != 3 or outputs.shape[1] % self.count or targets.shape != (len(outputs), 1 + self.count):
            raise DataError(
                f"PerFold received outputs of shape {outputs.shape} and targets of shape {targets.shape}; expected "
                f"(batch, {self.count} · members, units) and (batch, {1 + self.count})"
            )
        members = outputs.shape[1] // self.count
        apart = outputs.reshape(len(outputs), self.count, members, outputs.shape[2])
        values = jax.vmap(self.measure, in_axes=(1, None), out_axes=1)(apart, targets[:, 0])
        counts = targets[:, 1:].astype(values.dtype)
        return jnp.sum(counts * values, axis=1) / jnp.maximum(jnp.sum(counts, axis=1), 1)
