"""The loss of a detector: the assignment of cells to objects, and the error of each cell."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.errors import DataError
from danlu.nn._precision import widened
from danlu.nn.activations import log_softmax, sigmoid, softplus
from danlu.nn.boxes import box_area, box_overlaps
from danlu.nn.cells import cell_middles, read_cells
from danlu.nn.losses.align import nan_unless
from danlu.nn.losses.base import Loss

__all__ = ["NO_OBJECT", "DetectionLoss", "assign_cells"]

NO_OBJECT = -1  # the label of a row of padding


def assign_cells(
    boxes: jax.Array, labels: jax.Array, *, rows: int, columns: int, stride: int, radius: float = 1.0
) -> jax.Array:
    """The object assigned to each cell: its index in ``boxes``, or −1.

    A cell answers for an object when the cell's middle is inside the object's box and within ``radius`` cells of the box's middle
    along each axis; the cell that holds the box's middle always does, so that no object is too small to be learnt. Of several
    objects a cell takes the smallest.

    Args:
        boxes: ``(objects, 4)`` of one image, in pixels.
        labels: ``(objects,)``, −1 for a row of padding.
        rows, columns, stride: the grid.
        radius: in cells.

    Returns:
        int32 ``(rows·columns,)``.

    Reference: Tian et al. (2019), arXiv:1904.01355, section 3.1, with the centre sampling of its later version (arXiv:2006.09214),
        where the radius is 1.5.

    Example:
        >>> boxes = jnp.array([[9.0, 1.0, 15.0, 7.0], [0.0, 0.0, 0.0, 0.0]])
        >>> assign_cells(boxes, jnp.array([0, -1]), rows=1, columns=3, stride=8).tolist()
        [-1, 0, -1]
    """
    cells = cell_middles(rows, columns, stride)[:, None]
    low, high = boxes[None, :, :2], boxes[None, :, 2:]
    middle = (low + high) / 2
    inside = jnp.all((cells > low) & (cells < high), axis=-1)
    near = jnp.all(jnp.abs(cells - middle) <= radius * stride, axis=-1)
    # A middle on an edge belongs to the cell after it, and one on the image's far edge to the last cell.
    last = jnp.array([columns, rows])[None, None] - 1
    home = jnp.clip(jnp.floor(middle / stride), 0, last)
    own = jnp.all(jnp.floor(cells / stride) == home, axis=-1)
    answers = ((inside & near) | own) & (labels != NO_OBJECT)[None]
    areas = jnp.where(answers, box_area(boxes)[None], jnp.inf)
    return jnp.where(jnp.any(answers, axis=1), jnp.argmin(areas, axis=1), -1).astype(jnp.int32)


class DetectionLoss(Loss):
    """``(Σ_cells |q − σ(o)|^γ·BCE(o, q) + Σ_answering (CE(class) + b·(1 − GIoU))) / max(answering cells, 1)`` for each image.

    ``q`` is the IoU of the cell's box with its object's box, 0 where the cell answers for none (see :func:`assign_cells`): the
    object's logit learns how well the box fits, and is then a score that boxes can be sorted by. ``q`` is taken as given: it
    has no gradient.

    Args:
        stride, size: the detector's; see :func:`~danlu.nn.cells.read_cells`.
        radius: see :func:`assign_cells`.
        gamma: γ, how much less a cell counts whose object's logit is nearly right.
        box_weight: b, of the boxes.

    Outputs are a :class:`~danlu.nn.Detector`'s. Targets are ``{"boxes": (batch, objects, 4), "labels": (batch, objects)}``, filled
    up with the label −1: images with few objects and with many share one program. An image with a class that does not exist has the
    loss NaN.

    Reference:
        The objects' term: the quality focal loss of Li et al. (2020), arXiv:2006.04388, eq. 2, on one logit of its own as in YOLOX
        (arXiv:2107.08430). The boxes': Rezatofighi et al. (2019), arXiv:1902.09630, section 3. There the sums are divided by the
        answering cells of the whole batch; here by each image's own, so that an image's loss does not depend on those beside it.

    Example:
        >>> y = {"boxes": jnp.array([[[2.0, 2.0, 6.0, 6.0]]]), "labels": jnp.array([[1]])}
        >>> z = jnp.array([[[[0.0, 0.0, 0.0, 0.0, 14.0, -9.0, 9.0]]]])
        >>> DetectionLoss(stride=8, size=4.0)(z, y).round(3).tolist()
        [0.0]
    """

    stride: int = setting(default=8, minimum=1, integer=True)
    size: float = setting(default=16.0, above=0)
    radius: float = setting(default=1.0, above=0)
    gamma: float = setting(default=2.0, minimum=0)
    box_weight: float = setting(default=2.0, minimum=0)

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        z, boxes, labels = _checked(outputs, targets)
        rows, columns = z.shape[1:3]
        cells = read_cells(z, stride=self.stride, size=self.size)
        count = cells.classes.shape[-1]

        def one(boxes: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            chosen = assign_cells(boxes, labels, rows=rows, columns=columns, stride=self.stride, radius=self.radius)
            return chosen >= 0, boxes[jnp.maximum(chosen, 0)], labels[jnp.maximum(chosen, 0)]

        answers, true, label = jax.vmap(one)(boxes, labels)
        # A cell without an object gets its own box as the truth: the loss there is 0, and its slope finite.
        true = jnp.where(answers[..., None], true, jax.lax.stop_gradient(cells.boxes))
        iou, giou = box_overlaps(cells.boxes, true)
        quality = jax.lax.stop_gradient(jnp.where(answers, iou, 0.0))
        wrong = quality * softplus(-cells.objects) + (1 - quality) * softplus(cells.objects)
        off = jnp.square(quality - sigmoid(cells.objects)) if self.gamma == 2 else _power(quality, cells, self.gamma)
        picked = label[..., None] == jnp.arange(count, dtype=label.dtype)[None, None]
        cross_entropy = -jnp.sum(jnp.where(picked, log_softmax(cells.classes), 0), axis=-1)
        answering = jnp.where(answers, cross_entropy + self.box_weight * (1 - giou), 0)
        total = jnp.sum(off * wrong + answering, axis=1) / jnp.maximum(jnp.sum(answers, axis=1), 1).astype(z.dtype)
        return nan_unless(jnp.all((labels >= NO_OBJECT) & (labels < count), axis=1), total)


def _power(quality: jax.Array, cells: Any, gamma: float) -> jax.Array:
    away = jnp.abs(quality - sigmoid(cells.objects))
    return jnp.where(away > 0, jnp.maximum(away, 1e-12) ** gamma, 0.0)


def _checked(outputs: Any, targets: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    z = jnp.asarray(outputs)
    if not isinstance(targets, dict) or set(targets) != {"boxes", "labels"}:
        raise DataError(f"DetectionLoss received targets {_told(targets)}; expected a dict of boxes and labels")
    boxes, labels = jnp.asarray(targets["boxes"]), jnp.asarray(targets["labels"])
    fits = z.ndim == 4 and z.shape[-1] > 5 and boxes.ndim == 3 and boxes.shape == (z.shape[0], boxes.shape[1], 4)
    if not fits or labels.shape != boxes.shape[:2]:
        raise DataError(
            f"DetectionLoss received outputs {z.shape}, boxes {boxes.shape} and labels {labels.shape}; expected (batch, rows, "
            "columns, 5 + classes), (batch, objects, 4) and (batch, objects)"
        )
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise DataError(f"DetectionLoss received labels of type {labels.dtype}; expected class numbers, −1 for padding")
    z = widened(z)
    return z, boxes.astype(z.dtype), labels


def _told(targets: Any) -> str:
    return (
        f"with the keys {sorted(map(str, targets))}"
        if isinstance(targets, dict)
        else f"of type {type(targets).__name__}"
    )
