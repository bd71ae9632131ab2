"""Choices as nodes: the segment of a row, the action or the page for a context, whom to treat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from danlu.bandits.head import Choosing, likely
from danlu.bandits.treating import Treating
from danlu.export.graph import Graph
from danlu.export.heads import HEADS, Answer, Spoken, refuse_label
from danlu.export.primitives import BATCH, Input, Value, written
from danlu.segments.head import Segmenting
from danlu.trained import Trained

__all__: list[str] = []

_TIE = 1e-5  # where two choices are as good, either may be named


def _said(graph: Graph, head: Any, outputs: Any, *names: str) -> dict[str, Value]:
    """Some of what a head says of a network's outputs, by the head's own code."""
    leaves = jax.tree.map(lambda each: Input(each.name, each.dtype, each.shape[1:]), outputs)
    found: dict[str, Value] = written(graph, lambda given: {name: head(given)[name] for name in names}, leaves)
    return found


# Segments.


def _segment(graph: Graph, head: Segmenting, outputs: Value) -> Answer:
    said = _said(graph, head, outputs, "probability", "distance")
    first = graph.op("ArgMax", said["probability"].name, axis=1, keepdims=0)
    graph.output("segment", graph.op("Add", first, graph.constant(np.int64(1))), np.int64, (BATCH,))
    graph.output("probabilities", said["probability"].name, np.float32, (BATCH, len(head.words)))
    graph.output("distance", graph.cast(said["distance"].name, np.float64), np.float64, (BATCH,))
    return Answer(label="segment", probabilities="probabilities", distance="distance")


def _segments_differ(trained: Trained, rows: Any, answer: Answer, given: Mapping[str, np.ndarray]) -> float:
    own = trained.answer_rows(rows)
    p = np.asarray(own["probability"])
    _check_choices(p, given[answer.label][:, None] - 1, [f"segment {each + 1}" for each in range(p.shape[1])])
    return max(_apart(given[answer.probabilities], p, 1.0), _apart(given[answer.distance], own["distance"], 1.0))


# Actions and pages.


def _action(graph: Graph, head: Choosing, outputs: Any) -> Answer:
    said = _said(graph, head, outputs, "value", "policy" if head.places == 1 else "order")
    if head.places == 1:
        chosen = graph.op("ArgMax", said["policy"].name, axis=1, keepdims=0)
    else:
        chosen = graph.cast(said["order"].name, np.int64)
    shape = (BATCH,) if head.places == 1 else (BATCH, head.places)
    graph.output("label", graph.op("Gather", graph.texts(head.actions), chosen), object, shape)
    graph.output("values", graph.cast(said["value"].name, np.float64), np.float64, (BATCH, len(head.actions)))
    return Answer(label="label", values="values")


def _actions_differ(trained: Trained, rows: Any, answer: Answer, given: Mapping[str, np.ndarray]) -> float:
    head, outputs = trained.head, trained.outputs(trained.encoder.transform(rows))
    own = head(outputs)
    preferred = likely(outputs["policy"]) if "policy" in outputs else own["value"]
    number = {name: place for place, name in enumerate(head.actions)}
    named = np.vectorize(number.__getitem__, otypes=[int])(given[answer.label]).reshape(len(preferred), -1)
    _check_choices(preferred, named, head.actions)
    return _apart(given[answer.values], own["value"], head.scale or 1.0)


# Whom to treat.


def _treated(graph: Graph, head: Treating, outputs: Any) -> Answer:
    said = _said(graph, head, outputs, "uplift", "value")
    uplift = graph.cast(said["uplift"].name, np.float64)
    graph.output("uplift", uplift, np.float64, (BATCH,))
    graph.output("treat", graph.op("Greater", uplift, graph.constant(np.float64(head.limit))), bool, (BATCH,))
    graph.output("values", graph.cast(said["value"].name, np.float64), np.float64, (BATCH, 2))
    return Answer(label="treat", value="uplift", values="values")


def _treated_differ(trained: Trained, rows: Any, answer: Answer, given: Mapping[str, np.ndarray]) -> float:
    head, own = trained.head, trained.answer_rows(rows)
    uplift, scale = np.asarray(own["uplift"], np.float64), head.scale or 1.0
    treat = head.decide(uplift)
    wrong = np.flatnonzero((treat != given[answer.label]) & (np.abs(uplift - head.limit) > _TIE * scale))
    if len(wrong):
        refuse_label(bool(treat[wrong[0]]), bool(given[answer.label][wrong[0]]), len(wrong), len(treat))
    return max(_apart(given[answer.value], uplift, scale), _apart(given[answer.values], own["value"], scale))


def _check_choices(good: np.ndarray, named: np.ndarray, names: Any) -> None:
    """Refuse choices ``(rows, places)`` that are not the best in their order, by how good each is ``(rows, choices)``."""
    best = np.argsort(-good, axis=1, kind="stable")[:, : named.shape[1]]
    loss = np.take_along_axis(good, best, axis=1) - np.take_along_axis(good, named, axis=1)
    wrong = np.argwhere(np.abs(loss) > _TIE * np.maximum(np.abs(good).max(axis=1, keepdims=True), 1.0))
    if len(wrong):
        row, place = wrong[0]
        refuse_label(names[best[row, place]], names[named[row, place]], len(np.unique(wrong[:, 0])), len(good))


def _apart(given: Any, own: Any, scale: float) -> float:
    own = np.asarray(own, np.float64)
    return float((np.abs(np.asarray(given) - own) / np.maximum(np.abs(own), scale)).max(initial=0))


def _told(answer: Answer, greatest: str) -> str:
    return f"in onnxruntime each choice is that of danlu; no number differs by more than {greatest} of its size"


HEADS[Segmenting] = Spoken(_segment, _segments_differ, _told)
HEADS[Choosing] = Spoken(_action, _actions_differ, _told)
HEADS[Treating] = Spoken(_treated, _treated_differ, _told)
