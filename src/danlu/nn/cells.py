"""Decodes a detector's outputs: a box and a class for each cell of a grid, and the objects among them."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from danlu.nn.activations import sigmoid, softmax
from danlu.nn.boxes import non_max_suppression

__all__ = ["Cells", "Detections", "cell_middles", "find_objects", "read_cells"]

_RARE = 4.0  # objects are rare: the logit of one starts at −4, a probability of 2 %
_GROWTH = 6.0  # a box is at most e^6 times as large as the usual one


class Cells(NamedTuple):
    """The predictions of the cells of a grid, row by row.

    Attributes:
        boxes: ``(batch, cells, 4)``, in pixels.
        objects: ``(batch, cells)``, the logit of how well the box fits an object (its IoU with one; 0: there is none).
        classes: ``(batch, cells, classes)``, logits.
    """

    boxes: jax.Array
    objects: jax.Array
    classes: jax.Array


class Detections(NamedTuple):
    """A fixed number of objects per image, the best first; entries of score 0 are empty.

    Attributes:
        boxes: ``(batch, max_detections, 4)``, in pixels, inside the image.
        scores: ``(batch, max_detections)``, 0 … 1.
        classes: ``(batch, max_detections)`` int32.
    """

    boxes: jax.Array
    scores: jax.Array
    classes: jax.Array


def read_cells(outputs: jax.Array, *, stride: int, size: float) -> Cells:
    """The boxes and logits in a :class:`~danlu.nn.Detector`'s outputs.

    The cell at ``(row, column)`` has its middle at ``m = stride·(column + ½, row + ½)``. Its box has the middle
    ``m + stride·(z_x, z_y)`` and the sides ``size·e^{z_w}, size·e^{z_h}``; the object's logit is ``z − 4``, so that a new network
    finds few.

    Args:
        outputs: ``(batch, rows, columns, 5 + classes)``.
        stride, size: the detector's.

    Example:
        >>> cells = read_cells(jnp.zeros((1, 1, 2, 7)), stride=8, size=4.0)
        >>> cells.boxes[0].tolist()
        [[2.0, 2.0, 6.0, 6.0], [10.0, 2.0, 14.0, 6.0]]
    """
    batch, rows, columns, numbers = outputs.shape
    z = outputs.reshape(batch, rows * columns, numbers)
    middle = cell_middles(rows, columns, stride)[None] + stride * z[..., :2]
    half = size / 2 * jnp.exp(jnp.clip(z[..., 2:4], -_GROWTH, _GROWTH))
    return Cells(jnp.concatenate([middle - half, middle + half], axis=-1), z[..., 4] - _RARE, z[..., 5:])


def cell_middles(rows: int, columns: int, stride: int) -> jax.Array:
    """The middles of the cells in pixels, row by row: ``(rows·columns, 2)`` of x and y."""
    y, x = jnp.meshgrid(jnp.arange(rows), jnp.arange(columns), indexing="ij")
    return stride * (jnp.stack([x, y], axis=-1).reshape(rows * columns, 2) + 0.5)


def find_objects(
    outputs: jax.Array,
    *,
    stride: int,
    size: float,
    max_detections: int = 64,
    iou_threshold: float = 0.6,
    candidates: int = 128,
) -> Detections:
    """The objects in a :class:`~danlu.nn.Detector`'s outputs, after non-maximum suppression: pure, and of a fixed shape.

    A cell's score is ``σ(object)·max_c softmax(classes)_c``. A box is dropped for a better one that it overlaps, of whatever
    class: one cell says 4 and its neighbour 9 of the same thing.

    Args:
        outputs: ``(batch, rows, columns, 5 + classes)``.
        stride, size: the detector's.
        max_detections: how many objects an image can have.
        iou_threshold: see :func:`~danlu.nn.boxes.non_max_suppression`.
        candidates: cells of the best scores that are looked at, an image.

    Example:
        >>> found = find_objects(jnp.zeros((1, 2, 2, 7)).at[0, 0, 1, 4].set(9.0), stride=8, size=4.0, max_detections=2)
        >>> found.boxes[0, 0].tolist(), found.scores.shape
        ([10.0, 2.0, 14.0, 6.0], (1, 2))
    """
    cells = read_cells(outputs, stride=stride, size=size)
    chances = softmax(cells.classes)
    scores = sigmoid(cells.objects) * jnp.max(chances, axis=-1)
    ends = jnp.array([outputs.shape[2], outputs.shape[1]] * 2, outputs.dtype) * stride
    looked = min(candidates, scores.shape[1])

    def one(boxes: jax.Array, scores: jax.Array, classes: jax.Array) -> Detections:
        scores, best = jax.lax.top_k(scores, looked)
        boxes = jnp.clip(boxes[best], 0, ends[None])
        scores = jnp.where(
            jnp.all(boxes[:, 2:] > boxes[:, :2], axis=-1), scores, 0
        )  # a box outside the image is not an object
        kept = jnp.where(non_max_suppression(boxes, scores, iou_threshold), scores, 0)
        scores, place = jax.lax.top_k(kept, min(max_detections, looked))
        return Detections(boxes[place], scores, classes[best][place])

    found = jax.vmap(one)(cells.boxes, scores, jnp.argmax(chances, axis=-1).astype(jnp.int32))
    short = max_detections - found.scores.shape[1]
    if short <= 0:
        return found
    return Detections(*(jnp.pad(leaf, ((0, 0), (0, short), (0, 0))[: leaf.ndim]) for leaf in found))
