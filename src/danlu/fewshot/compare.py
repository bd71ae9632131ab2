"""Scores of queries by the support of their episode, from vectors: the last step of every method that compares.

All take the support's vectors ``(ways, shots, d)`` and the queries' ``(queries, d)`` and give logits ``(queries, ways)``; pure JAX.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["COMPARISONS", "attention", "centres", "cosine", "prototypes", "unit"]


def unit(vectors: Any) -> Any:
    """Vectors of length 1; 0 stays 0."""
    return vectors * jax.lax.rsqrt(jnp.maximum(jnp.sum(jnp.square(vectors), axis=-1, keepdims=True), 1e-12))


def centres(support: Any) -> Any:
    """The mean of each class, ``(ways, d)``: its prototype."""
    return support.mean(axis=-2)


def prototypes(support: Any, queries: Any, scale: float = 1.0) -> Any:
    """``−scale·‖z − c_k‖²``, with the prototype ``c_k`` of each class.

    Since ``−‖z − c‖² = 2c·z − ‖c‖² − ‖z‖²`` and the last term is the same for all classes, it is a linear classifier of ``z``.

    Reference: Snell, Swersky & Zemel, "Prototypical networks for few-shot learning" (2017), equations 1, 2 and 8.

    Example:
        >>> prototypes(jnp.array([[[0.0, 0.0], [2.0, 0.0]], [[0.0, 4.0], [2.0, 4.0]]]), jnp.array([[1.0, 1.0]])).tolist()
        [[-1.0, -9.0]]
    """
    means = centres(support)
    return scale * (
        2 * queries @ means.T - jnp.square(means).sum(-1)[None] - jnp.square(queries).sum(-1, keepdims=True)
    )


def attention(support: Any, queries: Any, scale: float = 10.0) -> Any:
    """The logarithm of ``Σ_{i of class k} a_i``, where ``a = softmax(scale·cos(z, z_i))`` over all examples of the support.

    Reference: Vinyals et al. (2016), section 2.1.1, with a scale, without which cosines leave every class nearly as likely as the others.

    Example:
        >>> jnp.exp(attention(jnp.array([[[1.0, 0.0]], [[0.0, 1.0]]]), jnp.array([[3.0, 3.0]]))).round(3).tolist()
        [[0.5, 0.5]]
    """
    ways, shots, size = support.shape
    logits = scale * unit(queries) @ unit(support.reshape(-1, size)).T  # (queries, ways * shots)
    own = jax.nn.logsumexp(logits.reshape(-1, ways, shots), axis=-1)  # (queries, ways, shots) to (queries, ways)
    return own - jax.nn.logsumexp(logits, axis=-1, keepdims=True)


def cosine(support: Any, queries: Any, scale: float = 10.0) -> Any:
    """``scale·cos(z, c_k)``, where ``c_k`` is the mean of the class's vectors of length 1.

    Example:
        >>> cosine(jnp.array([[[1.0, 0.0]], [[0.0, 1.0]]]), jnp.array([[2.0, 0.0]])).tolist()
        [[10.0, 0.0]]
    """
    return scale * unit(queries) @ unit(centres(unit(support))).T


COMPARISONS = {"prototypes": prototypes, "matching": attention, "cosine": cosine}
"""The comparisons by name."""
