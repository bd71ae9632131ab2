"""The segment of a row, as nodes: its probability by the distances from the centres, as :class:`danlu.segments.Segmenting` has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from danlu.export.graph import Graph
from danlu.export.heads import HEADS, Answer, Spoken, refuse_label
from danlu.export.primitives import BATCH, Value
from danlu.segments.head import Segmenting
from danlu.trained import Trained

__all__: list[str] = []

_TIE = 1e-5  # between probabilities of two segments that are as near, either may be named


def _segment(graph: Graph, head: Segmenting, outputs: Value) -> Answer:
    codes = graph.op("Unsqueeze", graph.cast(outputs.name, np.float64), graph.ints(1))  # (rows, 1, codes)
    centres = np.asarray(head.centres, np.float64)
    apart = graph.op("Sub", codes, graph.constant(centres[None]))
    far = graph.op("ReduceSum", graph.op("Mul", apart, apart), graph.ints(2), keepdims=0)  # (rows, segments)
    nearest = graph.op("ReduceMin", far, graph.ints(1), keepdims=0)
    p = graph.op("Softmax", graph.op("Div", far, graph.constant(np.float64(-2 * head.spread**2))), axis=-1)
    first = graph.op("ArgMax", p, axis=1, keepdims=0)
    root = graph.op("Sqrt", graph.op("Div", nearest, graph.constant(np.float64(centres.shape[1]))))
    graph.output("segment", graph.op("Add", first, graph.constant(np.int64(1))), np.int64, (BATCH,))
    graph.output("probabilities", graph.cast(p, np.float32), np.float32, (BATCH, len(centres)))
    graph.output("distance", graph.op("Div", root, graph.constant(np.float64(head.spread))), np.float64, (BATCH,))
    return Answer(label="segment", probabilities="probabilities", distance="distance")


def _differ(trained: Trained, rows: Any, answer: Answer, given: Mapping[str, np.ndarray]) -> float:
    own = trained.answer_rows(rows)
    p, other = np.asarray(own["probability"]), np.asarray(given[answer.probabilities])
    named = np.asarray(given[answer.label]) - 1
    wrong = np.flatnonzero(p.max(axis=1) - p[np.arange(len(p)), named] > _TIE)
    if len(wrong):
        first = wrong[0]
        refuse_label(f"segment {p[first].argmax() + 1}", f"segment {named[first] + 1}", len(wrong), len(p))
    distance = np.asarray(own["distance"], np.float64)
    apart = np.abs(np.asarray(given[answer.distance]) - distance) / np.maximum(distance, 1.0)
    return max(float(np.abs(other - p).max(initial=0)), float(apart.max(initial=0)))


def _told(answer: Answer, greatest: str) -> str:
    return f"in onnxruntime each segment is that of danlu; the greatest difference of a probability or a distance is {greatest}"


HEADS[Segmenting] = Spoken(_segment, _differ, _told)
