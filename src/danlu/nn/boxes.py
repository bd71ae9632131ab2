"""Rectangles in images: the overlap of two, and non-maximum suppression of many.

A box is ``(x0, y0, x1, y1)`` in pixels, ``x`` to the right and ``y`` down: pixel ``i`` reaches from ``i`` to ``i + 1``, so that
``x1 − x0`` is the width. A box whose right end is not beyond its left one has the area 0.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

__all__ = ["box_area", "box_overlaps", "generalized_iou", "non_max_suppression", "pairwise_iou"]

_TINY = 1e-9  # of an area, which keeps quotients defined


def box_area(boxes: jax.Array) -> jax.Array:
    """Square pixels of ``boxes`` ``(..., 4)``.

    >>> box_area(jnp.array([[0.0, 0.0, 2.0, 3.0], [2.0, 2.0, 1.0, 3.0]])).tolist()
    [6.0, 0.0]
    """
    return jnp.maximum(boxes[..., 2] - boxes[..., 0], 0) * jnp.maximum(boxes[..., 3] - boxes[..., 1], 0)


def box_overlaps(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The IoU and the generalized IoU of boxes, pair by pair; both arguments ``(..., 4)`` of one shape.

    ``IoU = |A∩B| / |A∪B|``; with ``C`` the smallest box around both, ``GIoU = IoU − (|C| − |A∪B|) / |C|``, from −1 to 1. Where
    boxes do not meet the IoU is 0 and has no slope; the GIoU still says which way they are nearer.

    Reference: Rezatofighi et al. (2019), arXiv:1902.09630, algorithm 2.

    Example:
        >>> iou, giou = box_overlaps(jnp.array([0.0, 0.0, 2.0, 2.0]), jnp.array([1.0, 0.0, 3.0, 2.0]))
        >>> round(float(iou), 4), round(float(giou), 4)
        (0.3333, 0.3333)
        >>> float(box_overlaps(jnp.array([0.0, 0.0, 1.0, 1.0]), jnp.array([3.0, 0.0, 4.0, 1.0]))[1])
        -0.5
    """
    low, high = jnp.maximum(a[..., :2], b[..., :2]), jnp.minimum(a[..., 2:], b[..., 2:])
    both = box_area(jnp.concatenate([low, high], axis=-1))
    union = box_area(a) + box_area(b) - both
    around = jnp.concatenate([jnp.minimum(a[..., :2], b[..., :2]), jnp.maximum(a[..., 2:], b[..., 2:])], axis=-1)
    hull = jnp.maximum(box_area(around), _TINY)
    iou = both / jnp.maximum(union, _TINY)
    return iou, iou - (hull - union) / hull


def generalized_iou(a: jax.Array, b: jax.Array) -> jax.Array:
    """The generalized IoU alone, ``(…,)`` of boxes ``(…, 4)``; see :func:`box_overlaps`."""
    return box_overlaps(a, b)[1]


def pairwise_iou(a: jax.Array, b: jax.Array) -> jax.Array:
    """The IoU of each of ``a (n, 4)`` with each of ``b (m, 4)``: ``(n, m)``.

    >>> pairwise_iou(jnp.array([[0.0, 0.0, 2.0, 2.0]]), jnp.array([[0.0, 0.0, 2.0, 2.0], [5.0, 5.0, 6.0, 6.0]])).tolist()
    [[1.0, 0.0]]
    """
    shape = (a.shape[0], b.shape[0], 4)
    return box_overlaps(jnp.broadcast_to(a[:, None], shape), jnp.broadcast_to(b[None], shape))[0]


def non_max_suppression(boxes: jax.Array, scores: jax.Array, iou_threshold: float) -> jax.Array:
    """Non-maximum suppression: which boxes are kept, bool ``(n,)``.

    The best one is kept and those that overlap it by more than ``iou_threshold`` are not; then the best of the rest, and so on. The
    loop has ``n`` rounds whatever is found, so that it compiles once.

    Args:
        boxes: ``(n, 4)``.
        scores: ``(n,)``; of equal ones the first comes first.
        iou_threshold: the largest IoU of two boxes that are both kept.

    Reference: Felzenszwalb et al. (2010), "Object detection with discriminatively trained part-based models", section 7.

    Example:
        >>> boxes = jnp.array([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 5.0], [8.0, 8.0, 9.0, 9.0]])
        >>> non_max_suppression(boxes, jnp.array([0.6, 0.9, 0.1]), 0.5).tolist()
        [False, True, True]
    """
    order = jnp.argsort(-scores, stable=True)
    near = pairwise_iou(boxes[order], boxes[order]) > iou_threshold
    after = jnp.arange(boxes.shape[0])

    def drop(place: jax.Array, kept: jax.Array) -> jax.Array:
        return kept & ~(near[place] & kept[place] & (after > place))

    kept = jax.lax.fori_loop(0, boxes.shape[0], drop, jnp.ones(boxes.shape[0], jnp.bool_))
    return jnp.zeros_like(kept).at[order].set(kept)
