"""Overlaps of boxes, suppression, a detector's loss and average precision, against loops over their definitions and pycocotools."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.evaluate.detection import DetectionCounts, Found, average_precision
from danlu.nn.boxes import box_overlaps, non_max_suppression, pairwise_iou
from danlu.nn.losses import DetectionLoss
from danlu.verify.case import Check, case
from danlu.verify.oracles import draw, finite_difference

__all__: list[str] = []


def boxes_of(count: int, seed: int) -> np.ndarray:
    """Boxes of 3 to 12 pixels in an image of about 30, exact in float32."""
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 20, (count, 2))
    return np.concatenate([low, low + rng.uniform(3, 12, (count, 2))], axis=1).astype(np.float32).astype(np.float64)


def overlap(a: Any, b: Any) -> tuple[float, float]:
    """IoU and generalized IoU of two boxes, from the definition."""
    across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(across, 0.0) * max(down, 0.0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return both / union, both / union - (hull - union) / hull


@case("box.overlap")
def verify_overlap(check: Check) -> None:
    ours, theirs = boxes_of(12, 0), boxes_of(12, 1)
    a, b = jnp.asarray(ours, jnp.float32), jnp.asarray(theirs, jnp.float32)
    expected = np.array([overlap(*pair) for pair in zip(ours, theirs, strict=True)])
    iou, giou = box_overlaps(a, b)
    check(np.stack([iou, giou], axis=1), expected)
    check(pairwise_iou(a, b), [[overlap(one, other)[0] for other in theirs] for one in ours])
    slopes = jax.grad(lambda a: jnp.sum(box_overlaps(a, b)[1]))(a)
    numeric = finite_difference(lambda x: sum(overlap(*pair)[1] for pair in zip(x, theirs, strict=True)), ours)
    check(slopes, numeric, oracle="finite differences", floor=0.01)


@case("box.suppression")
def verify_suppression(check: Check) -> None:
    boxes = np.concatenate([boxes_of(20, 2), boxes_of(20, 2) + draw(20, 4, seed=3)])
    scores = np.random.default_rng(4).permutation(40) / 40
    kept: list[int] = []
    for place in np.argsort(-scores):
        if all(overlap(boxes[place], boxes[other])[0] <= 0.45 for other in kept):
            kept.append(int(place))
    received = jax.jit(non_max_suppression)(jnp.asarray(boxes, jnp.float32), jnp.asarray(scores, jnp.float32), 0.45)
    check(received, np.isin(np.arange(40), kept))


def loss_by_hand(z: np.ndarray, boxes: np.ndarray, labels: np.ndarray, quality: np.ndarray | None = None) -> Any:
    """The loss of one image with 8-pixel cells, boxes from 6 pixels, γ 2 and a box weight of 2; and the cells' q."""
    rows, columns, _ = z.shape
    total, answering, found = 0.0, 0, np.zeros((rows, columns))
    for row in range(rows):
        for column in range(columns):
            x, y = 8 * (column + 0.5), 8 * (row + 0.5)
            own: list[tuple[float, int]] = []
            for number, (box, label) in enumerate(zip(boxes, labels, strict=True)):
                cx, cy = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
                inside = box[0] < x < box[2] and box[1] < y < box[3] and max(abs(x - cx), abs(y - cy)) <= 12
                if label >= 0 and (inside or (cx // 8, cy // 8) == (column, row)):
                    own.append(((box[2] - box[0]) * (box[3] - box[1]), number))
            t = z[row, column]
            chance = 1 / (1 + np.exp(4 - t[4]))
            q = 0.0
            if own:
                number = min(own)[1]
                cx, cy, w, h = x + 8 * t[0], y + 8 * t[1], 6 * np.exp(t[2]), 6 * np.exp(t[3])
                iou, giou = overlap((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2), boxes[number])
                q = iou if quality is None else quality[row, column]
                total += np.log(np.exp(t[5:]).sum()) - t[5 + labels[number]] + 2 * (1 - giou)
                answering += 1
            found[row, column] = q
            total += (q - chance) ** 2 * -(q * np.log(chance) + (1 - q) * np.log(1 - chance))
    return total / max(answering, 1), found


@case("loss.detection")
def verify_loss(check: Check) -> None:
    loss = DetectionLoss(stride=8, size=6.0, radius=1.5)
    z = draw(2, 3, 4, 8, seed=5) / 2
    boxes = np.stack([boxes_of(3, 6), np.zeros((3, 4))])
    labels = np.array([[2, 0, -1], [-1, -1, -1]])
    y = {"boxes": jnp.asarray(boxes, jnp.float32), "labels": jnp.asarray(labels)}
    ours = [loss_by_hand(*each) for each in zip(z, boxes, labels, strict=True)]
    values, slope = jax.jit(lambda z: (loss(z, y), jax.grad(lambda z: jnp.sum(loss(z, y)))(z)))(
        jnp.asarray(z, jnp.float32)
    )
    check(values, [value for value, _ in ours])
    given = [quality for _, quality in ours]  # q has no gradient

    def total(z: np.ndarray) -> float:
        return float(sum(loss_by_hand(*each)[0] for each in zip(z, boxes, labels, given, strict=True)))

    check(slope, finite_difference(total, z), oracle="finite differences", floor=0.01)


@case("metric.average_precision_of_boxes")
def verify_average_precision(check: Check) -> None:
    # Of two objects the surest detection finds one, the next none, the last the other: precision 1 up to a recall of ½ (51 of the
    # 101 recalls), then 2/3.
    hand = (51 + 50 * 2 / 3) / 101
    check(average_precision(np.array([0.9, 0.8, 0.7]), np.array([True, False, True]), 2), hand, oracle="closed form")
    rng, true, found = np.random.default_rng(7), [], []
    for image in range(12):
        boxes, classes = boxes_of(image % 5, image), rng.integers(0, 3, image % 5)
        true.append(Found(boxes, classes))
        close = np.concatenate([boxes + rng.normal(0, 0.6, boxes.shape), boxes_of(2, 90 + image)])
        named = np.concatenate([np.where(rng.random(len(boxes)) < 0.2, 0, classes), rng.integers(0, 3, 2)])
        found.append(Found(close, named, rng.random(len(named)).round(1)))  # with equal scores
    counts = DetectionCounts.of(found, true, classes=3)
    # An image of weight 2 counts as twice the image, where no two scores are equal.
    untied = [
        dataclasses.replace(each, scores=each.scores + rng.random(len(each))) if each.scores is not None else each
        for each in found
    ]
    weighed = DetectionCounts.of(untied, true, classes=3).mean(np.where(np.arange(12) == 3, 2.0, 1.0))
    check(
        weighed, DetectionCounts.of([*untied, untied[3]], [*true, true[3]], classes=3).mean(), oracle="the image twice"
    )
    if check.module("pycocotools"):
        expected = by_pycocotools(found, true)
        check(
            [counts.mean(), counts.mean(overlaps=(0.5,)), counts.mean(overlaps=(0.75,))], expected, oracle="pycocotools"
        )


def by_pycocotools(found: list[Found], true: list[Found]) -> list[float]:
    """mAP, mAP@0.5 and mAP@0.75 of boxes of three classes."""
    from pycocotools.coco import COCO  # type: ignore[import-not-found, import-untyped, unused-ignore]
    from pycocotools.cocoeval import COCOeval  # type: ignore[import-not-found, import-untyped, unused-ignore]

    def rows(sides: list[Found]) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = []
        for image, each in enumerate(sides):
            scores = np.ones(len(each)) if each.scores is None else each.scores
            for box, number, score in zip(each.boxes, each.classes, scores, strict=True):
                x, y, width, height = (float(v) for v in (*box[:2], *(box[2:] - box[:2])))
                listed.append(
                    {
                        "id": len(listed) + 1, "image_id": image, "category_id": int(number), "iscrowd": 0,
                        "bbox": [x, y, width, height], "area": width * height, "score": float(score),
                    }
                )  # fmt: skip
        return listed

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": image} for image in range(len(true))],
            "annotations": rows(true),
            "categories": [{"id": number, "name": str(number)} for number in range(3)],
        }
        truth.createIndex()
        judged = COCOeval(truth, truth.loadRes(rows(found)), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return [float(value) for value in judged.stats[:3]]
