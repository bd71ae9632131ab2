"""A network's outputs to the answer: one fragment for each head."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from danlu.errors import ConfigError
from danlu.evaluate.conformal import conformal_quantile
from danlu.export.columns import interpolated
from danlu.export.graph import Graph
from danlu.export.primitives import BATCH, Value
from danlu.tasks.quantiles import Quantiles
from danlu.trained.labels import Labels
from danlu.trained.scores import Asked, Scores
from danlu.trained.together import Mean

__all__ = ["Answer", "answered", "check_head"]


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a file answers: the names of its outputs, by what they are.

    Attributes:
        label, probabilities: of classes, ``(rows,)`` texts and ``(rows, classes)`` float32.
        value: of a quantity, ``(rows,)`` float64.
        low, high: of its interval; empty where the head has none.
        forecast: of series, ``(rows, horizon, targets, 1 + quantiles)`` float64, the mean first.
        members: whether each class is in the set of a row, ``(rows, classes)`` bool; empty where the head has none.
    """

    label: str = ""
    probabilities: str = ""
    value: str = ""
    low: str = ""
    high: str = ""
    members: str = ""
    forecast: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The outputs that there are."""
        return tuple(name for name in dataclasses.astuple(self) if name)


def answered(graph: Graph, head: Any, outputs: Any) -> Answer:
    """The answer's nodes and outputs for a network's outputs, computed in float64 as danlu's own are.

    Args:
        outputs: ``(rows[, members], units)``; of several models, one for each by its name.

    Raises:
        ConfigError: a head that has no fragment.
    """
    check_head(head)
    if isinstance(head, Quantiles):
        return _forecast(graph, head, outputs)
    if isinstance(head, Labels):
        return _said(graph, head, _mean(graph, head, outputs))
    each = [_mean(graph, own, outputs[str(place)]) for place, own in enumerate(head.heads, 1)]
    found = functools.reduce(lambda a, b: graph.op("Add", a, b), each)
    return _said(graph, head.lead, graph.op("Div", found, graph.constant(np.float64(len(each)))))


def check_head(head: Any) -> None:
    """Refuse a head that has no fragment.

    Raises:
        ConfigError: see above.
    """
    if isinstance(head, Quantiles):
        return
    heads = head.heads if isinstance(head, Mean) else (head,)
    if not all(isinstance(each, Labels) for each in heads):
        raise ConfigError(
            f"a model for {head.task} cannot be written as ONNX yet; "
            "tables, images, sequences and texts with one label a row can, and forecasts",
            hint="danlu export RUN --format safetensors writes its weights",
        )
    if getattr(head, "lead", head).cuts is not None:
        raise ConfigError(
            "the model decides by thresholds of groups, which cannot be written as ONNX yet",
            hint="train without thresholds of groups, or write --format safetensors",
        )


def _forecast(graph: Graph, head: Quantiles, outputs: Value) -> Answer:
    """The mean and the quantiles of each step, in the targets' units; see :meth:`Quantiles.__call__ <danlu.tasks.quantiles.Quantiles>`."""
    y, last = graph.cast(outputs.name, np.float64), graph.ints(3)
    if head.levels:
        count, half = len(head.levels), len(head.levels) // 2
        mean = graph.op("Slice", y, graph.ints(0), graph.ints(1), last)
        each = graph.op("Slice", y, graph.ints(1), graph.ints(1 + count), last)
        bands, _ = graph.ops("TopK", each, graph.ints(count), outputs=2, axis=-1, largest=0)
        middle = graph.op("Slice", bands, graph.ints(half), graph.ints(half + 1), last)
        if head.asked is not None:
            bands = graph.op("Gather", bands, graph.ints(0, half, count - 1), axis=3)
        factor = graph.constant(np.asarray(head.factor, np.float64)[None, :, None, None])
        bands = graph.op("Add", middle, graph.op("Mul", graph.op("Sub", bands, middle), factor))
        y = graph.op("Concat", mean, bands, axis=3)
    shift, spread = (graph.op("Unsqueeze", graph.beside[name], graph.ints(1, 3)) for name in ("mean", "scale"))
    graph.output(
        "forecast",
        graph.op("Add", graph.op("Mul", y, spread), shift),
        np.float64,
        (BATCH, "horizon", "targets", "quantiles"),
    )
    return Answer(forecast="forecast")


def _mean(graph: Graph, head: Labels, outputs: Value) -> str:
    """The calibrated probabilities ``(rows, classes)``, or the values ``(rows,)`` in the target's unit."""
    y, rank = graph.cast(outputs.name, np.float64), outputs.rank
    if head.task == "regression":
        y = graph.op("Gather", y, graph.constant(np.int64(0)), axis=-1)
        y = y if rank == 2 else graph.op("ReduceMean", y, graph.ints(1), keepdims=0)
        y = graph.op("Mul", y, graph.constant(np.float64(head.target.std)))
        return graph.op("Add", y, graph.constant(np.float64(head.target.mean)))
    p = graph.op("Softmax", y, axis=-1)
    p = p if rank == 2 else graph.op("ReduceMean", p, graph.ints(1), keepdims=0)
    if head.temperature is not None:
        logs = graph.op("Log", graph.op("Max", p, graph.constant(np.finfo(np.float64).tiny)))
        return graph.op("Softmax", graph.op("Div", logs, graph.constant(np.float64(head.temperature))), axis=-1)
    if head.knots is None:
        return p
    second = interpolated(graph, graph.op("Gather", p, graph.constant(np.int64(1)), axis=1), *head.knots)
    first = graph.op("Sub", graph.constant(np.float64(1)), second)
    return graph.op("Concat", *(graph.op("Unsqueeze", each, graph.ints(1)) for each in (first, second)), axis=1)


def _said(graph: Graph, head: Labels, answers: str) -> Answer:
    asked = head.asked or Asked(head.level)
    scores = head.scores if isinstance(head.scores, Scores) else None
    classes = list(head.target.classes)
    if head.task == "regression":
        graph.output("value", answers, np.float64, (BATCH,))
        reach = None if scores is None else _reach(graph, scores, asked, answers)
        if reach is None:
            return Answer(value="value")
        graph.output("low", graph.op("Sub", answers, reach), np.float64, (BATCH,))
        graph.output("high", graph.op("Add", answers, reach), np.float64, (BATCH,))
        return Answer(value="value", low="low", high="high")
    code = _decided(graph, head, answers)
    graph.output("label", graph.op("Gather", graph.texts(classes), code), object, (BATCH,))
    graph.output("probabilities", graph.cast(answers, np.float32), np.float32, (BATCH, len(classes)))
    if scores is None or asked.score != "lac" or not np.isfinite(limits := scores.limits(asked, len(classes))).all():
        return Answer("label", "probabilities")
    unlike = graph.op("Sub", graph.constant(np.float64(1)), answers)
    inside = graph.op("LessOrEqual", unlike, graph.constant(limits[None] + 1e-12))
    likeliest = graph.op("ArgMax", answers, axis=1, keepdims=1)
    own = graph.op("Equal", likeliest, graph.constant(np.arange(len(classes))[None]))
    graph.output("set", graph.op("Or", inside, own), bool, (BATCH, len(classes)))
    return Answer("label", "probabilities", members="set")


def _decided(graph: Graph, head: Labels, answers: str) -> str:
    """The codes of the classes ``(rows,)``; see :meth:`Labels.decide <danlu.trained.Labels.decide>`."""
    if len(head.target.classes) == 2:
        second = graph.op("Gather", answers, graph.constant(np.int64(1)), axis=1)
        return graph.cast(graph.op("GreaterOrEqual", second, graph.constant(np.float64(head.threshold))), np.int64)
    if head.costs is None:
        return graph.op("ArgMax", answers, axis=1, keepdims=0)
    costs = graph.op("MatMul", answers, graph.constant(np.asarray(head.costs, np.float64)))
    return graph.op("ArgMin", costs, axis=1, keepdims=0)


def _reach(graph: Graph, scores: Scores, asked: Asked, answers: str) -> str | None:
    """How far the interval of each value reaches to either side; None where there are too few rows to say."""
    limit = conformal_quantile(scores.values, asked.level)
    if not np.isfinite(limit):
        return None
    if scores.spread is None:
        return graph.constant(np.asarray([limit], np.float64))
    return graph.op("Mul", interpolated(graph, answers, *scores.spread), graph.constant(np.float64(limit)))
