"""Detections measured: which are right, the threshold, intervals and comparisons; the baselines. Values: ``danlu verify metric``."""

from __future__ import annotations

import numpy as np
import pytest

from danlu.errors import DataError
from danlu.evaluate import DetectionCounts, Found, compare
from danlu.evaluate.components import CommonestBox, Components

BOX = np.array([[0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0]])
TRUE = [Found(BOX, np.array([0, 1])), Found(np.zeros((0, 4)), np.zeros(0, int))] * 15


def found(scores: tuple[float, ...], *, shift: float = 0.0, swap: bool = False) -> list[Found]:
    one = Found(
        BOX[: len(scores)] + shift, np.array([0, 1])[::-1] if swap else np.arange(len(scores)), np.array(scores)
    )
    return [one, Found(BOX[:1], np.array([0]), np.array([0.2]))] * 15


def test_an_object_is_found_once_and_in_its_class() -> None:
    counts = DetectionCounts.of(found((0.9, 0.8)), TRUE, classes=2, threshold=0.5)
    assert counts.mean() == pytest.approx(1.0)
    assert counts.f1() == 1.0
    assert counts.f1(threshold=0.1) == pytest.approx(60 / 75)
    assert 0.2 < counts.best_threshold() <= 0.8
    doubled = [Found(np.repeat(BOX, 2, 0), np.array([0, 0, 1, 1]), np.array([0.9, 0.8, 0.9, 0.8]))] * 30
    twice = DetectionCounts.of(doubled, TRUE, classes=2)
    assert twice.of_class[0].right[0].sum() == 15
    assert DetectionCounts.of(found((0.9, 0.8), swap=True), TRUE, classes=2).mean() == 0
    assert np.isnan(DetectionCounts.of(found((0.9, 0.8)), TRUE, classes=3).by_class()[2]), "a class without objects"
    loose = DetectionCounts.of(found((0.9, 0.8), shift=1.5), TRUE, classes=2)
    assert loose.mean(overlaps=(0.5,)) == pytest.approx(1.0)
    assert loose.mean(overlaps=(0.6,)) == 0


def test_intervals_and_comparisons_are_over_images() -> None:
    good, loose = (DetectionCounts.of(found((0.9, 0.8), shift=by), TRUE, classes=2) for by in (0.0, 1.5))
    scores = good.scores()
    assert set(scores) == {"map", "map50", "box_f1"}
    assert 0.5 < scores["map"].low < scores["map"].high == 1.0, "a perfect score is not certain"
    compared = compare(good, loose, "loose boxes")
    assert compared.verdict == "better"
    assert compared.difference.value == pytest.approx(0.8), "right at 0.5 and 0.55 of ten"
    few, loose_few = (DetectionCounts.of(found((0.9, 0.8), shift=by)[:4], TRUE[:4], classes=2) for by in (0, 1.5))
    assert compare(few, loose_few, "loose boxes").verdict == "undecided", "4 images cannot tell"
    with pytest.raises(DataError, match="different images"):
        compare(good, few, "other")
    with pytest.raises(DataError, match="expected one for each"):
        DetectionCounts.of([], TRUE, classes=2)
    with pytest.raises(DataError, match="no scores"):
        DetectionCounts.of(TRUE, TRUE, classes=2)


def test_the_baselines_answer_what_they_should() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(40, 60, (20, 32, 32, 1)).astype(np.uint8)
    true = []
    for row, image in enumerate(images):
        image[4:14, 4:14] = 220  # a square, and a bar
        image[20:23, 8:28] = 220
        true.append(Found(np.array([[4, 4, 14, 14], [8, 20, 28, 23]]), np.array([0, 1 + row // 20])))
    assert CommonestBox([*true[:1], TRUE[0]]).find(images)[3].classes.tolist() == [0]
    seen = Components(images, true, 2).find(images)
    counts = DetectionCounts.of(seen, true, classes=2)
    assert counts.of_class[0].right[0].sum() == 20
    assert len(seen[0]) == 2
    assert Components(images, true, 2).find(np.full((1, 32, 32, 1), 50, np.uint8))[0].boxes.shape == (0, 4)
