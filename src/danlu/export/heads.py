"""A network's outputs to the answer: one fragment for each head."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from danlu.errors import ConfigError
from danlu.evaluate.conformal import conformal_quantile
from danlu.export.columns import interpolated
from danlu.export.graph import Graph
from danlu.export.groups import check_groups, thresholds
from danlu.export.primitives import BATCH, Value
from danlu.nn.quantized.layer import is_whole
from danlu.tasks.quantiles import Quantiles
from danlu.trained import Trained
from danlu.trained.labels import Labels
from danlu.trained.scores import Asked, Scores
from danlu.trained.together import Mean

__all__ = ["HEADS", "Answer", "Spoken", "answered", "check_head", "refuse_label", "spoken_of"]

_FAULT = "this is a fault of danlu; please report it with the run's config.json"


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a file answers: the names of its outputs, by what they are.

    Attributes:
        label, probabilities: of classes, ``(rows,)`` texts and ``(rows, classes)`` float32.
        value: of a quantity, ``(rows,)`` float64.
        low, high: of its interval; empty where the head has none.
        forecast: of series, ``(rows, horizon, targets, 1 + quantiles)`` float64, the mean first.
        members: whether each class is in the set of a row, ``(rows, classes)`` bool; empty where the head has none.
        labels: of several labels, which a row has, ``(rows, labels)`` bool.
        mask: of pictures, the class of each pixel by its value in masks, ``(rows, height, width)`` uint8.
        boxes, scores: of objects, the surest first, ``(rows, objects, 4)`` and ``(rows, objects)`` float32; their label is empty where they
            are not sure enough to be shown.
        values: of actions, what each is expected to bring, ``(rows, actions)`` float64; their label is the one to choose, of pages all in
            their order. Of a treatment, what is expected without and with it; the label is whether to treat, the value the uplift.
        distance: of segments, whose label is their number, how far a row is from the centre of its own, ``(rows,)`` float64.
    """

    label: str = ""
    probabilities: str = ""
    value: str = ""
    low: str = ""
    high: str = ""
    members: str = ""
    forecast: str = ""
    labels: str = ""
    mask: str = ""
    boxes: str = ""
    scores: str = ""
    values: str = ""
    distance: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The outputs that there are."""
        return tuple(name for name in dataclasses.astuple(self) if name)


def _nothing_to_refuse(head: Any) -> None:
    """Every head of a kind can be written."""


@dataclasses.dataclass(frozen=True)
class Spoken:
    """How one kind of head is written, and how a file's answers are compared with its own.

    Attributes:
        write: gives the answer's nodes and outputs for a network's outputs, computed in float64 as danlu's own are:
            ``write(graph, head, outputs) -> Answer``.
        differ: the greatest difference of the answers for rows as they were read, ``differ(trained, rows, answer, given) -> float``,
            with ``given`` what the file answers, by name.
        told: the greatest difference in words, ``told(answer, figure)``.
        check: refuses a head that cannot be written.
    """

    write: Callable[[Graph, Any, Any], Answer]
    differ: Callable[[Trained, Any, Answer, Mapping[str, np.ndarray]], float]
    told: Callable[[Answer, str], str]
    check: Callable[[Any], None] = _nothing_to_refuse


def spoken_of(head: Any) -> Spoken:
    """How a head is written.

    Raises:
        ConfigError: a head that has no fragment.
    """
    for kind, spoken in HEADS.items():
        if isinstance(head, kind):
            return spoken
    raise ConfigError(
        f"a model of the kind {head.task!r} cannot be written as ONNX yet",
        hint="danlu export RUN --format safetensors writes its weights",
    )


def answered(graph: Graph, head: Any, outputs: Any) -> Answer:
    """The answer's nodes and outputs for a network's outputs.

    Args:
        outputs: as the network gives them; of several models, one for each by its name.

    Raises:
        ConfigError: a head that has no fragment.
    """
    check_head(head)
    return spoken_of(head).write(graph, head, outputs)


def check_head(head: Any) -> None:
    """Refuse a head that cannot be written.

    Raises:
        ConfigError: see above.
    """
    spoken_of(head).check(head)


def refuse_label(own: Any, given: Any, wrong: int, of: int) -> None:
    """Refuse a file that answers otherwise.

    Raises:
        ConfigError: always.
    """
    raise ConfigError(
        f"the file answers {given!r} where danlu answers {own!r}, for {wrong} of {of} rows; nothing was written",
        hint=_FAULT,
    )


def _means(graph: Graph, head: Mean, outputs: Any) -> Answer:
    """The mean of the answers of several models."""
    each = [_mean(graph, own, outputs[str(place)]) for place, own in enumerate(head.heads, 1)]
    found = functools.reduce(lambda a, b: graph.op("Add", a, b), each)
    return _said(graph, head.lead, graph.op("Div", found, graph.constant(np.float64(len(each)))))


def _labels(graph: Graph, head: Labels, outputs: Value) -> Answer:
    return _said(graph, head, _mean(graph, head, outputs))


def _check_labels(head: Any) -> None:
    heads = head.heads if isinstance(head, Mean) else (head,)
    if not all(isinstance(each, Labels) for each in heads):
        raise ConfigError(
            f"several models for {head.task} as one cannot be written as ONNX yet",
            hint="write each of them: danlu export RUN/folds/1",
        )
    if (cuts := getattr(head, "lead", head).cuts) is not None:
        check_groups(cuts)


def _labels_differ(trained: Trained, rows: Any, answer: Answer, given: Mapping[str, np.ndarray]) -> float:
    head, own = getattr(trained.head, "lead", trained.head), np.asarray(trained.answer_rows(rows))
    asked = head.asked or Asked(head.level)
    if answer.value:
        scale = np.maximum(np.abs(own), head.target.std)
        pairs = [(given[answer.value], own)]
        if answer.low:
            reach = head.scores.reach(asked, own)
            pairs += [(given[answer.low], own - reach), (given[answer.high], own + reach)]
        return max(float((np.abs(a - b) / scale).max(initial=0)) for a, b in pairs)
    labels = np.asarray(head.target.classes)[head.decide(own, rows)]
    if is_whole(
        trained.network
    ):  # two answers that are as likely may change places: the file's own probabilities say which it is
        labels = np.asarray(head.target.classes)[head.decide(np.asarray(given[answer.probabilities], own.dtype), rows)]
    wrong = np.flatnonzero(labels != given[answer.label])
    if len(wrong):
        refuse_label(str(labels[wrong[0]]), given[answer.label][wrong[0]], len(wrong), len(own))
    worst = float(np.abs(given[answer.probabilities] - own).max(initial=0))
    if answer.members:  # a class may be at the limit to the last digits
        other = given[answer.members] != head.scores.sets(own, asked)
        apart = np.abs(1 - own - head.scores.limits(asked, own.shape[1]))
        worst = max(worst, float(np.where(other, apart, 0).max(initial=0)))
    return worst


def _told(answer: Answer, greatest: str) -> str:
    if answer.value or answer.forecast:
        return f"in onnxruntime no value differs by more than {greatest} of its size, or of the target's spread"
    return f"in onnxruntime each label is that of danlu; the greatest difference of a probability is {greatest}"


def _forecasts_differ(trained: Trained, rows: Any, answer: Answer, given: Mapping[str, np.ndarray]) -> float:
    # A file does not know how often earlier intervals held: those of a forecast are as validation had them.
    plain = dataclasses.replace(trained, head=dataclasses.replace(trained.head, since=None))
    own = np.asarray(plain.answer_rows(rows))
    windows = trained.encoder.transform(rows)
    past = [windows.values[place][step - windows.context : step] for place, step in windows.index]
    # Numbers far outside of the series' scale can cancel to a small forecast: what is rounded are they.
    wide = np.array([max(1.0, float(np.sqrt(np.mean(np.square(each, dtype=np.float64))))) for each in past])
    scale = np.maximum(np.abs(own), (wide[:, None] * windows.spread)[:, None, :, None])
    return float((np.abs(given[answer.forecast] - own) / scale).max(initial=0))


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
        limit = graph.constant(np.float64(head.threshold))
        if head.cuts is not None:
            limit = thresholds(graph, head.cuts, head.threshold)
        return graph.cast(graph.op("GreaterOrEqual", second, limit), np.int64)
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


HEADS: dict[type, Spoken] = {
    Labels: Spoken(_labels, _labels_differ, _told, _check_labels),
    Mean: Spoken(_means, _labels_differ, _told, _check_labels),
    Quantiles: Spoken(_forecast, _forecasts_differ, _told),
}
"""How each kind of head is written; others are added where they are written."""
