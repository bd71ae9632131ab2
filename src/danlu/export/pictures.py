"""The answers for pictures as nodes: several labels, a class for each pixel, and objects with their boxes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from danlu.evaluate.detection import Found
from danlu.export.graph import Graph
from danlu.export.heads import HEADS, Answer, Spoken, refuse_label
from danlu.export.primitives import BATCH, Input, Value, written
from danlu.tasks.detection import Boxes
from danlu.tasks.multilabel import Tags
from danlu.tasks.segmentation import Masks
from danlu.trained import Trained

__all__: list[str] = []

_NEAR = 1e-5  # of a probability or a score: what is so near to a limit may be on either side of it
_LOWEST = 0.01  # the score below which objects are not compared


# Several labels.


def _tags(graph: Graph, head: Tags, outputs: Value) -> Answer:
    logits = graph.cast(outputs.name, np.float64)
    logits = graph.op("Clip", logits, graph.constant(np.float64(-80)), graph.constant(np.float64(80)))
    p = graph.op("Sigmoid", logits)
    p = p if outputs.rank < 3 else graph.op("ReduceMean", p, graph.ints(1), keepdims=0)
    shape = (BATCH, len(head.labels))
    graph.output("labels", graph.op("GreaterOrEqual", p, graph.constant(np.float64(head.threshold))), bool, shape)
    graph.output("probabilities", graph.cast(p, np.float32), np.float32, shape)
    return Answer(labels="labels", probabilities="probabilities")


def _tags_differ(trained: Trained, rows: Any, answer: Answer, given: Mapping[str, np.ndarray]) -> float:
    own, head = np.asarray(trained.answer_rows(rows)), trained.head
    other = (given[answer.labels] != (own >= head.threshold)) & (np.abs(own - head.threshold) > _NEAR)
    wrong = np.flatnonzero(other.any(axis=1))
    if len(wrong):
        right, false = head.written(np.stack([own[wrong[0]] >= head.threshold, given[answer.labels][wrong[0]]]))
        refuse_label(right, false, len(wrong), len(own))
    return float(np.abs(given[answer.probabilities] - own).max(initial=0))


# A class for each pixel.


def _masks(graph: Graph, head: Masks, outputs: Value) -> Answer:
    height, width, classes = outputs.shape[1:]
    logits = graph.cast(outputs.name, np.float64)
    codes = graph.op("ArgMax", logits, axis=-1, keepdims=0)
    values = graph.constant(np.asarray(head.values, np.uint8))
    graph.output("mask", graph.op("Gather", values, codes), np.uint8, (BATCH, height, width))
    p = graph.cast(graph.op("Softmax", logits, axis=-1), np.float32)
    graph.output("probabilities", p, np.float32, (BATCH, height, width, classes))
    return Answer(mask="mask", probabilities="probabilities")


def _masks_differ(trained: Trained, rows: Any, answer: Answer, given: Mapping[str, np.ndarray]) -> float:
    """Of pictures as the network sees them; where two classes are as likely, either may be the answer."""
    outputs = np.asarray(trained.outputs(trained.encoder.transform(rows)), np.float64)
    p = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    codes, values = trained.head(outputs), np.asarray(trained.head.values, np.uint8)
    place = np.zeros(256, np.int64)
    place[values] = np.arange(len(values))
    theirs = place[given[answer.mask]]
    lost = np.take_along_axis(p, np.stack([codes, theirs], axis=-1), axis=-1)  # (rows, height, width, 2)
    worst = float((lost[..., 0] - lost[..., 1]).max(initial=0))
    return max(worst, float(np.abs(given[answer.probabilities] - p).max(initial=0)))


# Objects.


def _boxes(graph: Graph, head: Boxes, outputs: Value) -> Answer:
    """The head itself is traced: what it decodes and suppresses is within the graph."""
    found = written(graph, lambda x: head(x), Input(outputs.name, outputs.dtype, outputs.shape[1:]))
    shape = (BATCH, head.max_detections)
    shown = graph.op("GreaterOrEqual", found.scores.name, graph.constant(np.float32(max(head.threshold, 1e-6))))
    names = graph.op("Gather", graph.texts(head.classes), found.classes.name)
    graph.output("label", graph.op("Where", shown, names, graph.texts([""])), object, shape)
    graph.output("boxes", found.boxes.name, np.float32, (*shape, 4))
    graph.output("scores", found.scores.name, np.float32, shape)
    return Answer(label="label", boxes="boxes", scores="scores")


def _boxes_differ(trained: Trained, rows: Any, answer: Answer, given: Mapping[str, np.ndarray]) -> float:
    """Of danlu's objects, each beside the one of the file that is most like it; boxes in shares of the picture's longer side."""
    head, worst = trained.head, 0.0
    own: list[Found] = head.answer(trained, trained.encoder.transform(rows))
    for row, each in enumerate(own):
        labels, boxes, scores = (given[name][row] for name in (answer.label, answer.boxes, answer.scores))
        real, clear = np.asarray(each.scores), np.abs(scores - head.threshold) > _NEAR
        if abs(int((real >= _LOWEST).sum()) - int((scores >= _LOWEST).sum())) > int(
            (np.abs(scores - _LOWEST) <= _NEAR).sum()
        ):
            refuse_label(f"{len(each)} objects", f"{int((scores > 0).sum())} objects", 1, len(own))
        for box, code, score in zip(*(part[real >= _LOWEST] for part in (each.boxes, each.classes, real)), strict=True):
            apart = np.maximum(np.abs(boxes - box).max(axis=1) / max(head.sides), np.abs(scores - score))
            like = int(apart.argmin())
            label = head.classes[int(code)] if score >= head.threshold else ""
            if apart[like] <= _NEAR and clear[like] and labels[like] != label:
                refuse_label(label, labels[like], 1, len(own))
            worst = max(worst, float(apart[like]))
    return worst


def _told_tags(answer: Answer, greatest: str) -> str:
    return f"in onnxruntime the labels are those of danlu; the greatest difference of a probability is {greatest}"


def _told_masks(answer: Answer, greatest: str) -> str:
    return f"in onnxruntime each pixel's class is that of danlu; the greatest difference of a probability is {greatest}"


def _told_boxes(answer: Answer, greatest: str) -> str:
    return f"in onnxruntime each object is that of danlu; no score, and no box in shares of the picture, differs by more than {greatest}"


HEADS |= {
    Tags: Spoken(_tags, _tags_differ, _told_tags),
    Masks: Spoken(_masks, _masks_differ, _told_masks),
    Boxes: Spoken(_boxes, _boxes_differ, _told_boxes),
}
