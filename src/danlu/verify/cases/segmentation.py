"""Segmentation and several labels: the loss, the moves of masks and the measures, against NumPy in float64 and scikit-learn."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from danlu.evaluate.labels import LabelRows
from danlu.evaluate.segmentation import MaskCounts
from danlu.nn import MoveMasks, RandomAffine, RandomFlip
from danlu.nn.losses import VOID, SegmentationLoss, pixel_accuracy
from danlu.verify.case import Check, case
from danlu.verify.oracles import draw, finite_difference

__all__: list[str] = []

K = 4


def masks(count: int = 5, seed: int = 0) -> np.ndarray:
    """Class numbers ``(count, 6, 7)``, some of which do not count."""
    rng = np.random.default_rng(seed)
    found = rng.integers(0, K - 1, (count, 6, 7))  # the last class is nowhere
    found[rng.random(found.shape) < 0.2] = VOID
    return found


@case("loss.segmentation")
def verify_loss(check: Check) -> None:
    z, y = draw(5, 6, 7, K), masks()

    def by_hand(z: np.ndarray, dice: float, smooth: float) -> np.ndarray:
        values = []
        for outputs, targets in zip(z, y[: len(z)], strict=True):
            kept, labels = outputs[targets != VOID], targets[targets != VOID]
            p = np.exp(kept) / np.exp(kept).sum(-1, keepdims=True)
            one_hot = np.eye(K)[labels]
            share = (2 * (p * one_hot).sum(0) + smooth) / ((p + one_hot).sum(0) + smooth)
            share = share[one_hot.any(0)]  # of the classes that are there
            values.append(-np.log(p[np.arange(len(labels)), labels]).mean() + dice * (1 - np.mean(share)))
        return np.array(values)

    for dice, smooth in ((1.0, 1.0), (0.0, 1.0), (0.5, 0.0)):
        loss = SegmentationLoss(dice, smooth)
        check(loss(jnp.asarray(z, jnp.float32), jnp.asarray(y, jnp.uint8)), by_hand(z, dice, smooth))
    slope = jax.grad(lambda z: SegmentationLoss()(z, jnp.asarray(y[:1])).sum())(jnp.asarray(z[:1], jnp.float32))
    check(
        slope, finite_difference(lambda z: by_hand(z, 1.0, 1.0).sum(), z[:1]), oracle="finite differences", floor=0.01
    )
    right = [(z[i].argmax(-1) == y[i])[y[i] != VOID].mean() for i in range(len(y))]
    check(pixel_accuracy(jnp.asarray(z, jnp.float32), jnp.asarray(y)), np.array(right))


@case("augment.MoveMasks")
def verify_moves(check: Check) -> None:
    # An affine move of an image of coordinates says where each pixel comes from, since bilinear reading is exact for these.
    height, width = 9, 11
    place = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), axis=-1)
    x = np.concatenate([place, np.ones((height, width, 1))], axis=-1)[None].repeat(6, axis=0)
    y = np.random.default_rng(1).integers(0, K, (6, height, width))
    change = MoveMasks((RandomFlip(vertical=True), RandomAffine(40.0, 0.3, 10.0, 0.2)))
    moved = change(jax.random.key(4), {"x": jnp.asarray(x, jnp.float32), "y": jnp.asarray(y, jnp.uint8)})
    pixels, found = np.asarray(moved["x"], np.float64), np.asarray(moved["y"])
    whole, sure = pixels[..., 2] > 1 - 1e-5, np.abs(pixels[..., :2] % 1 - 0.5).min(-1) > 1e-3
    near = np.rint(pixels[..., :2]).astype(int)
    for row in range(6):
        inside = whole[row] & sure[row]
        check(found[row][inside], y[row][tuple(near[row][inside].T)])
        nothing = pixels[row, ..., 2] == 0
        check(found[row][nothing], np.full(int(nothing.sum()), VOID))


@case("metric.segmentation")
def verify_masks(check: Check) -> None:
    true, ours = masks(12), masks(12, seed=1) % K
    counts = MaskCounts.of(ours, true, classes=K)
    weights = np.random.default_rng(2).integers(0, 3, 12)
    for by in (np.ones(12, int), weights):
        kept = np.repeat(true, by, axis=0), np.repeat(ours, by, axis=0)
        y, p = (each[kept[0] != VOID] for each in kept)
        there = [k for k in range(K) if (y == k).any() or (p == k).any()]
        iou = [((y == k) & (p == k)).sum() / ((y == k) | (p == k)).sum() for k in there]
        dice = [2 * ((y == k) & (p == k)).sum() / ((y == k).sum() + (p == k).sum()) for k in there]
        expected = {"mean_iou": np.mean(iou), "mean_dice": np.mean(dice), "pixel_accuracy": (y == p).mean()}
        for name, value in counts.measures(by.astype(float)).items():
            check(value, expected[name])
        if check.module("sklearn"):
            from sklearn.metrics import f1_score, jaccard_score

            found = counts.measures(by.astype(float))
            check(found["mean_iou"], jaccard_score(y, p, labels=there, average="macro"), oracle="sklearn")
            check(found["mean_dice"], f1_score(y, p, labels=there, average="macro"), oracle="sklearn")


@case("metric.labels")
def verify_labels(check: Check) -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((60, 5)) < [0.5, 0.3, 0.2, 0.1, 0.4]).astype(int)
    chance = np.clip(0.3 * truth + 0.7 * rng.random((60, 5)), 0, 1).round(2)  # rounded: some are tied
    rows = LabelRows(truth, chance, 0.55)
    weights = rng.integers(0, 3, 60)
    for by in (np.ones(60, int), weights):
        y, p = np.repeat(truth, by, axis=0), np.repeat(chance, by, axis=0)
        found = rows.measures(by.astype(float))
        chosen = p >= 0.55
        check(found["exact_match"], (chosen == y).all(1).mean())
        f1 = 2 * (chosen & (y == 1)).sum(0) / (chosen.sum(0) + y.sum(0))
        check(found["macro_f1"], f1.mean())
        pairs = [[(a > b) + 0.5 * (a == b) for a in p[y[:, k] == 1, k] for b in p[y[:, k] == 0, k]] for k in range(5)]
        check(found["label_auc"], np.mean([np.mean(each) for each in pairs]))
        if check.module("sklearn"):
            from sklearn.metrics import accuracy_score, average_precision_score, f1_score, roc_auc_score

            check(found["label_precision"], average_precision_score(y, p, average="macro"), oracle="sklearn")
            check(found["label_auc"], roc_auc_score(y, p, average="macro"), oracle="sklearn")
            check(found["macro_f1"], f1_score(y, chosen, average="macro"), oracle="sklearn")
            check(found["micro_f1"], f1_score(y, chosen, average="micro"), oracle="sklearn")
            check(found["exact_match"], accuracy_score(y, chosen), oracle="sklearn")
