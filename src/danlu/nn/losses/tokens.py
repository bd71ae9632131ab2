"""The loss of a sequence of tokens, where padding does not count."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from danlu.blueprint import setting
from danlu.errors import DataError
from danlu.nn._precision import widened
from danlu.nn.losses.align import nan_unless
from danlu.nn.losses.base import Loss
from danlu.nn.losses.targets import check_classes

__all__ = ["IGNORED", "TokenCrossEntropy", "checked_tokens", "counted_tokens"]

IGNORED = -1  # the target of a position that does not count


class TokenCrossEntropy(Loss):
    """The mean over a sequence's counted positions of ``−log softmax(z_t)_{y_t} = log Σ_c exp z_tc − z_{t,y_t}``, in nats.

    A position whose target ``y_t`` is −1 (padding) does not count, and its logits get no gradient. With each sequence's
    :func:`counted_tokens` as its weight, the mean over the batch is the mean over all tokens, however they are divided
    into sequences. The derivative in ``z_t`` is ``(softmax(z_t) − onehot(y_t)) / counted`` where ``t`` counts.

    Outputs are logits ``(batch, time, classes)``, targets class numbers or −1, ``(batch, time)``. A sequence without a
    counted position costs 0; one with a class that does not exist costs NaN.

    Args:
        label_smoothing: α in [0, 1): the target's probability is ``1 − α`` and α is shared out over all classes, so that
            ``−log softmax(z)_y`` becomes ``log Σ_c exp z_c − (1 − α)·z_y − α·mean_c z_c`` (Szegedy et al. 2016,
            arXiv:1512.00567, section 7). A network that is less sure of itself translates better (Vaswani et al. 2017, 5.4).

    Example:
        >>> z = jnp.zeros((2, 3, 4))
        >>> TokenCrossEntropy()(z, jnp.array([[2, 0, -1], [-1, -1, -1]])).round(3).tolist()
        [1.386..., 0.0]
    """

    label_smoothing: float = setting(default=0.0, minimum=0, below=1)

    def check_targets(self, outputs: Any, targets: Any) -> None:
        check_classes(type(self).__name__, outputs, targets, ignored=IGNORED)

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        z, y = checked_tokens(outputs, targets)
        # A comparison, not an index: its derivative is a comparison too, where that of an index is a slow scatter.
        chosen = jnp.sum(jnp.where(y[..., None] == jnp.arange(z.shape[-1], dtype=y.dtype)[None, None], z, 0), axis=-1)
        if self.label_smoothing:
            chosen = (1 - self.label_smoothing) * chosen + self.label_smoothing * jnp.mean(z, axis=-1)
        counted = y != IGNORED
        valid = (y >= 0) & (y < z.shape[-1])
        values = jnp.where(counted, nan_unless(valid, logsumexp(z, axis=-1) - chosen), 0)
        return jnp.sum(values, axis=1) / jnp.maximum(jnp.sum(counted, axis=1), 1).astype(z.dtype)


def checked_tokens(outputs: Any, targets: Any) -> tuple[jax.Array, jax.Array]:
    """Logits ``(batch, time, classes)`` and int32 targets ``(batch, time)``.

    Raises:
        DataError: other shapes or types.
    """
    z, y = jnp.asarray(outputs), jnp.asarray(targets)
    if not jnp.issubdtype(z.dtype, jnp.floating):
        raise DataError(f"TokenCrossEntropy received outputs of type {z.dtype}; expected floating-point numbers")
    if z.ndim != 3 or z.shape[-1] < 2 or y.shape != z.shape[:2]:
        raise DataError(
            f"TokenCrossEntropy received outputs of shape {z.shape} and targets of shape {y.shape}; expected "
            "(batch, time, classes) with at least two classes and (batch, time)",
            hint="for one class per sequence take categorical_cross_entropy",
        )
    if not jnp.issubdtype(y.dtype, jnp.integer):
        raise DataError(f"TokenCrossEntropy received targets of type {y.dtype}; expected whole numbers, −1 for padding")
    return widened(z), y.astype(jnp.int32)


def counted_tokens(targets: np.ndarray) -> np.ndarray:
    """How many positions of each sequence count: the weights ``(batch,)``, float32, for targets ``(batch, time)``.

    >>> counted_tokens(np.array([[2, 0, -1], [1, 1, 1]])).tolist()
    [2.0, 3.0]
    """
    counted: np.ndarray = np.count_nonzero(np.asarray(targets) != IGNORED, axis=1)
    return counted.astype(np.float32)
