"""Losses for classes, from logits: cross-entropy and focal loss, in nats.

A binary logit ``z`` means ``p(1) = σ(z)``; class logits ``z`` mean ``p = softmax(z)``. Working from logits keeps every
loss and gradient finite for any finite logit.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.nn.activations import log_softmax, softplus
from danlu.nn.losses.align import align_values, labels_to_probabilities, nan_unless, per_example
from danlu.nn.losses.base import Loss
from danlu.nn.losses.targets import check_binary, check_classes

__all__ = ["BinaryCrossEntropy", "BinaryFocal", "CategoricalCrossEntropy", "CategoricalFocal"]


class BinaryCrossEntropy(Loss):
    """``−y·log σ(z) − (1 − y)·log(1 − σ(z)) = y·softplus(−z) + (1 − y)·softplus(z)``; ``∂/∂z = σ(z) − y``.

    Args:
        label_smoothing: α in [0, 1): the target ``y`` becomes ``(1 − α)·y + α/2``.

    Targets are 0 and 1 (any type) or probabilities; shapes as in :func:`~danlu.nn.losses.align.align_values`.

    >>> BinaryCrossEntropy()(jnp.array([0.0]), jnp.array([1])).round(4).tolist()
    [0.693...]
    """

    label_smoothing: float = setting(default=0.0, minimum=0, below=1)

    def check_targets(self, outputs: Any, targets: Any) -> None:
        check_binary(type(self).__name__, outputs, targets)

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        z, y = align_values("BinaryCrossEntropy", outputs, targets)
        y = (1 - self.label_smoothing) * y + self.label_smoothing / 2 if self.label_smoothing else y
        return per_example(y * softplus(-z) + (1 - y) * softplus(z))


class CategoricalCrossEntropy(Loss):
    """``−Σ_c y_c·log softmax(z)_c``; ``∂/∂z = softmax(z)·Σ_c y_c − y``, for probabilities ``softmax(z) − y``.

    Args:
        label_smoothing: α in [0, 1): ``y`` becomes ``(1 − α)·y + α/classes`` (Szegedy et al. 2016, arXiv:1512.00567,
            section 7).

    Targets are class numbers or probabilities; see :func:`~danlu.nn.losses.align.labels_to_probabilities`. The loss
    of a class number that does not exist is NaN.

    >>> CategoricalCrossEntropy()(jnp.zeros((1, 4)), jnp.array([2])).round(4).tolist()
    [1.386...]
    """

    label_smoothing: float = setting(default=0.0, minimum=0, below=1)

    def check_targets(self, outputs: Any, targets: Any) -> None:
        check_classes(type(self).__name__, outputs, targets)

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        z, y, valid = labels_to_probabilities(
            "CategoricalCrossEntropy", outputs, targets, label_smoothing=self.label_smoothing
        )
        return per_example(nan_unless(valid, -jnp.sum(y * log_softmax(z), axis=-1)))


class BinaryFocal(Loss):
    """Cross-entropy that counts easy examples less: ``α_t·(1 − p_t)^γ·(−log p_t)``, ``p_t`` the target's probability.

    In full ``y·α·σ(−z)^γ·softplus(−z) + (1 − y)·(1 − α)·σ(z)^γ·softplus(z)``; without ``alpha`` both factors are 1.

    Args:
        gamma: γ ≥ 0, how much less; 0 is the cross-entropy.
        alpha: α in (0, 1), the weight of class 1 (``1 − α`` that of class 0); None: both weigh the same.

    Reference: Lin et al. (2017), arXiv:1708.02002, eqs. 4 and 5.
    """

    gamma: float = setting(default=2.0, minimum=0)
    alpha: float | None = setting(default=None, above=0, below=1, optional=True)

    def check_targets(self, outputs: Any, targets: Any) -> None:
        check_binary(type(self).__name__, outputs, targets)

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        z, y = align_values("BinaryFocal", outputs, targets)
        one, zero = (1.0, 1.0) if self.alpha is None else (self.alpha, 1 - self.alpha)
        # σ(−z)^γ as exp(−γ·softplus(z)): its derivative is finite where σ is 0 and γ < 1.
        positive = jnp.exp(-self.gamma * softplus(z)) * softplus(-z)
        negative = jnp.exp(-self.gamma * softplus(-z)) * softplus(z)
        return per_example(one * y * positive + zero * (1 - y) * negative)


class CategoricalFocal(Loss):
    """Focal loss over classes: ``−Σ_c y_c·(1 − p_c)^γ·log p_c`` with ``p = softmax(z)``.

    Args:
        gamma: γ ≥ 0, how much less easy examples count; 0 is the cross-entropy.

    Targets as in CategoricalCrossEntropy.

    Reference: Lin et al. (2017), arXiv:1708.02002, eq. 4, over softmax as in its section 3.
    """

    gamma: float = setting(default=2.0, minimum=0)

    def check_targets(self, outputs: Any, targets: Any) -> None:
        check_classes(type(self).__name__, outputs, targets)

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        z, y, valid = labels_to_probabilities("CategoricalFocal", outputs, targets)
        log_p = log_softmax(z)
        values = -jnp.sum(y * jnp.exp(self.gamma * log_not(log_p)) * log_p, axis=-1)
        return per_example(nan_unless(valid, values))


def log_not(log_p: jax.Array) -> jax.Array:
    """``log(1 − p)`` from ``log p``; value and derivative stay finite at ``p = 1``."""
    tiny = jnp.finfo(log_p.dtype).eps ** 2
    return jnp.log(jnp.maximum(-jnp.expm1(log_p), tiny))
