"""The loss contract."""

from __future__ import annotations

import abc
from typing import Any, ClassVar

import jax

from danlu.blueprint import Blueprint

__all__ = ["Loss"]


class Loss(Blueprint, abc.ABC):
    """A blueprint called as ``loss(outputs, targets) -> values``: one value for each example, shape ``(batch,)``.

    Outputs are logits or values, as the network gives them. Weights and the mean over the batch are not the loss's
    business: see :func:`danlu.nn.losses.reduce`. How shapes meet is :mod:`danlu.nn.losses.align`'s.

    Attributes:
        direction: ``"min"``: of a loss, smaller values are better.
    """

    direction: ClassVar[str] = "min"

    def check_targets(self, outputs: Any, targets: Any) -> None:
        """Refuse targets that the loss is not defined for; called once, with arrays on the host.

        Args:
            outputs: the shapes of the network's outputs.
            targets: NumPy arrays.

        Raises:
            DataError: see the loss.
        """

    @abc.abstractmethod
    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        """The loss of each example.

        Args:
            outputs: ``(batch, ...)``, possibly with member axes after the batch (averaged).
            targets: see the loss.

        Returns:
            ``(batch,)``, in the outputs' floating type, or float32 if that is wider.

        Raises:
            DataError: shapes or types that do not fit.
        """
