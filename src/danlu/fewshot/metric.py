"""Losses of vectors with labels, by which like lies near like: triplets, pairs, supervised contrast and ArcFace.

Each gives one value a row for vectors ``z (batch, d)`` and class numbers ``y (batch,)``, and is a mean over the batch of what its paper
writes. They compare rows with each other, so a batch has to hold several rows of each class, as a batch of episodes does.
"""

from __future__ import annotations

import abc
from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import Blueprint, setting
from danlu.fewshot.compare import unit

__all__ = ["ArcFace", "Contrastive", "MetricLoss", "SupCon", "Triplet"]


class MetricLoss(Blueprint, abc.ABC):
    """A loss of vectors with labels; the base of all.

    Attributes:
        of_classes: whether it has a vector of its own for each class of the training.
    """

    @property
    def of_classes(self) -> bool:
        return False

    @abc.abstractmethod
    def __call__(self, z: Any, y: Any, classes: Any = None) -> Any:
        """One value a row, ``(batch,)``.

        Args:
            z: vectors ``(batch, d)``.
            y: the class of each, ``(batch,)``.
            classes: the vector of each class of the training, ``(d, classes)``.
        """


def _distances(z: Any) -> Any:
    """Euclidean distances of all pairs of vectors of length 1, ``(batch, batch)``, with a gradient where they are 0."""
    squared = jnp.maximum(2 - 2 * z @ z.T, 0)
    return jnp.where(squared > 1e-9, jnp.sqrt(jnp.maximum(squared, 1e-9)), 0.0)


def _pairs(y: Any) -> tuple[Any, Any]:
    """Which pairs are of one class (none with itself), and which are not, ``(batch, batch)`` each."""
    same = y[:, None] == y[None, :]
    return same & ~jnp.eye(len(y), dtype=bool), ~same


class Triplet(MetricLoss):
    """``max(0, d(a, p) − d(a, n) + margin)`` of each row ``a`` with its farthest like ``p`` and its nearest unlike ``n`` of the batch.

    Args:
        margin: by how much the unlike are to be farther; distances of vectors of length 1 go from 0 to 2.

    Reference: Hermans, Beyer & Leibe, "In defense of the triplet loss for person re-identification" (2017), equation 5 ("batch hard").
    """

    margin: float = setting(default=0.2, above=0, maximum=2)

    def __call__(self, z: Any, y: Any, classes: Any = None) -> Any:
        distance = _distances(unit(z))
        same, other = _pairs(y)
        farthest = jnp.max(jnp.where(same, distance, -jnp.inf), axis=1)
        nearest = jnp.min(jnp.where(other, distance, jnp.inf), axis=1)
        return jnp.where(same.any(1) & other.any(1), jax.nn.relu(farthest - nearest + self.margin), 0.0)


class Contrastive(MetricLoss):
    """``d²`` of pairs of one class, and ``max(0, margin − d)²`` of the others; each kind counts as much as the other.

    Args:
        margin: from which distance on pairs of different classes are left alone.

    Reference: Hadsell, Chopra & LeCun, "Dimensionality reduction by learning an invariant mapping" (2006), equation 4.
    """

    margin: float = setting(default=1.0, above=0, maximum=2)

    def __call__(self, z: Any, y: Any, classes: Any = None) -> Any:
        distance = _distances(unit(z))
        same, other = _pairs(y)
        near, far = jnp.square(distance), jnp.square(jax.nn.relu(self.margin - distance))
        return _mean(near, same) + _mean(far, other)


def _mean(values: Any, chosen: Any) -> Any:
    """The mean of the chosen values of each row; 0 of none."""
    return jnp.where(chosen, values, 0).sum(1) / jnp.maximum(chosen.sum(1), 1)


class SupCon(MetricLoss):
    """``−mean_{p like i} log( exp(z_i·z_p/τ) / Σ_{a ≠ i} exp(z_i·z_a/τ) )``, of vectors of length 1.

    Args:
        temperature: τ.

    Reference: Khosla et al., "Supervised contrastive learning" (2020), equation 2 (``L_out``).
    """

    temperature: float = setting(default=0.1, above=0)

    def __call__(self, z: Any, y: Any, classes: Any = None) -> Any:
        z = unit(z)
        logits = z @ z.T / self.temperature
        same, _ = _pairs(y)
        others = jnp.where(jnp.eye(len(y), dtype=bool), -jnp.inf, logits)
        return -_mean(logits - jax.nn.logsumexp(others, axis=1, keepdims=True), same)


class ArcFace(MetricLoss):
    """Cross-entropy of ``s·cos(θ_k)`` over the classes of the training, with the margin ``m`` added to the angle of the true one.

    ``θ_k`` is the angle between the row's vector and that of class ``k``. Where ``θ + m`` would pass π, where the cosine turns, ``cos θ −
    m·sin m`` takes its place, as in the authors' code. With a margin of 0 it is a classifier by cosines (Wang et al. (2017), NormFace).

    Args:
        margin: m, in radians.
        scale: s.

    Reference: Deng, Guo, Xue & Zafeiriou, "ArcFace: additive angular margin loss for deep face recognition" (2019), equation 3.
    """

    margin: float = setting(default=0.2, minimum=0, maximum=1.5)
    scale: float = setting(default=16.0, above=0)

    @property
    def of_classes(self) -> bool:
        return True

    def __call__(self, z: Any, y: Any, classes: Any = None) -> Any:
        cosines = unit(z) @ unit(classes.T).T  # (batch, classes)
        true = jnp.clip(jnp.take_along_axis(cosines, y[:, None], axis=1), -1 + 1e-6, 1 - 1e-6)
        moved = jnp.cos(jnp.arccos(true) + self.margin)
        turned = jnp.where(true > jnp.cos(jnp.pi - self.margin), moved, true - self.margin * jnp.sin(self.margin))
        own = jax.nn.one_hot(y, cosines.shape[1], dtype=bool)
        logits = self.scale * jnp.where(own, turned, cosines)
        return jax.nn.logsumexp(logits, axis=1) - self.scale * turned[:, 0]
