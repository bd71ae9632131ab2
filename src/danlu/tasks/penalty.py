"""A penalty on the distance of groups, as a term of what training makes small."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import Blueprint, setting
from danlu.engine.measures import TakesWeights
from danlu.engine.objective import Supervised
from danlu.nn.layer import Layer
from danlu.nn.losses import get_metric

__all__ = ["GroupGap", "Penalty", "penalised"]


@dataclasses.dataclass(frozen=True, eq=False)
class Penalty:
    """The penalty of one training.

    Attributes:
        gap: how it is computed.
        strength: its weight beside the loss.
        train, validation: the group of each row of these parts, ``(rows,)``; negative for rows that are not compared.
    """

    gap: GroupGap
    strength: float
    train: np.ndarray
    validation: np.ndarray | None = None


class GroupGap(Blueprint):
    """How far the groups of a batch are apart: ``Σ_g n_g/n·Σ_k (r_gk − r_k)²``.

    Of classes ``r_gk`` is the mean probability of class k in group g, of equal opportunity that of class 1 over rows of it, and of
    equalised odds that over the rows of each true class in turn; of a quantity it is the mean prediction. ``r_k`` is that of all groups.

    Args:
        groups: how many there are.
        classes: of the target; 0 is a quantity.
        criterion: ``"demographic_parity"``, ``"equal_opportunity"`` or ``"equalized_odds"``.

    Reference: Kamishima et al., "Fairness-aware classifier with prejudice remover regularizer" (2012), for a penalty beside the loss.
    """

    groups: int = setting(minimum=1, integer=True)
    classes: int = setting(minimum=0, integer=True)
    criterion: str = setting(
        default="demographic_parity", choices=("demographic_parity", "equal_opportunity", "equalized_odds")
    )

    def __call__(self, outputs: jax.Array, targets: dict[str, jax.Array], weights: jax.Array) -> jax.Array:
        """The penalty of a batch.

        Args:
            outputs: logits ``(rows[, members], classes)``, or standardised values ``(rows[, members], 1)``.
            targets: ``{"label": (rows,), "group": (rows,)}``; a negative group is of rows that are not compared.
            weights: ``(rows,)``.
        """
        outputs = outputs[:, None] if outputs.ndim == 2 else outputs
        found = outputs if not self.classes else jax.nn.softmax(outputs, axis=-1)
        rates = found.mean(axis=1)  # (rows, classes)
        member = jax.nn.one_hot(targets["group"], self.groups, dtype=rates.dtype) * weights[:, None]  # (rows, groups)
        if self.criterion == "demographic_parity":
            return _spread(rates, member)
        label = targets["label"]
        if self.criterion == "equal_opportunity":
            return _spread(rates[:, 1:2], member * (label == 1)[:, None])
        return sum(
            (_spread(rates, member * (label == code)[:, None]) for code in range(self.classes)),
            jnp.zeros((), rates.dtype),
        )


def _spread(rates: jax.Array, member: jax.Array) -> jax.Array:
    """``Σ_g n_g/n·Σ_k (r_gk − r_k)²`` over the rows that are in a group."""
    count = member.sum(axis=0)  # (groups,)
    total = jnp.maximum(count.sum(), 1e-12)
    mean = member.T @ rates / jnp.maximum(count, 1e-12)[:, None]  # (groups, classes)
    whole = (count[:, None] * mean).sum(axis=0) / total
    return (count[:, None] * jnp.square(mean - whole[None])).sum() / total


class _OfLabels(Blueprint):
    """A measure of the labels among the targets."""

    measure: Any

    def __call__(self, outputs: Any, targets: Any, *weights: Any) -> Any:
        return self.measure(outputs, targets["label"], *weights)

    @property
    def direction(self) -> str | None:
        """That of the measure."""
        return getattr(self.measure, "direction", None)


def penalised(model: Layer, loss: Any, metrics: tuple[str, ...], gap: GroupGap, precision: str) -> Supervised:
    """The objective of a network with the penalty: the terms ``error``, that of the loss, and ``group_gap``."""
    terms = (("error", _OfLabels(loss)), ("group_gap", TakesWeights(gap)))
    watched = tuple((name, _OfLabels(get_metric(name))) for name in metrics)
    return Supervised(model, terms, watched, precision)
