"""What a trained model is worth: its test scores with intervals, beside simple models on the same rows."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Mapping
from typing import Any

import numpy as np

from danlu.evaluate import BASELINES, METRICS, Comparison, Interval, Rows, baselines, bootstrap, compare
from danlu.pipeline.images import baseline_inputs
from danlu.pipeline.prepare import Encoded
from danlu.tasks import Predictor

__all__ = ["Judgement", "judge", "rows_of"]


@dataclasses.dataclass(frozen=True, eq=False)
class Judgement:
    """The test of a model.

    Attributes:
        rows: the test rows with the model's prediction.
        scores: each measure with its interval.
        others: the same of each baseline, by its label.
        comparisons: of the model with each baseline.
    """

    rows: Rows
    scores: Mapping[str, Interval]
    others: Mapping[str, Mapping[str, Interval]] = dataclasses.field(default_factory=dict)
    comparisons: tuple[Comparison, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for ``results.json``."""
        return {
            "test": {name: interval.value for name, interval in self.scores.items()},
            "intervals": {name: [interval.low, interval.high] for name, interval in self.scores.items()},
            "baselines": {
                label: {name: interval.value for name, interval in each.items()} for label, each in self.others.items()
            },
            "comparisons": [dataclasses.asdict(each) for each in self.comparisons],
        }

    def __str__(self) -> str:
        lines = [f"{len(self.rows.truth):,} test rows".ljust(26) + "value".rjust(10) + "95 % interval".rjust(24)]
        for name, interval in self.scores.items():
            between = f"{_figure(interval.low)} to {_figure(interval.high)}"
            lines.append(f"  {METRICS[name].label:24}{_figure(interval.value):>10}{between:>24}")
        return "\n".join([*lines, *(each.sentence for each in self.comparisons)])

    def _repr_html_(self) -> str:
        head = "<tr><th></th><th>value</th><th>95 % interval</th>"
        head += "".join(f"<th>{html.escape(label)}</th>" for label in self.others) + "</tr>"
        lines = []
        for name, interval in self.scores.items():
            cells = [
                METRICS[name].label,
                _figure(interval.value),
                f"{_figure(interval.low)} – {_figure(interval.high)}",
            ]
            cells += [_figure(each[name].value) if name in each else "–" for each in self.others.values()]
            lines.append("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>")
        said = "".join(f"<li>{html.escape(each.sentence)}</li>" for each in self.comparisons)
        return f"<table>{head}{''.join(lines)}</table>" + (f"<ul>{said}</ul>" if said else "")


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def rows_of(model: Predictor, test: Encoded) -> Rows:
    """Encoded test rows with the model's prediction, in the target's own unit."""
    inputs, labels = test
    prediction = model.predict_inputs(inputs)
    truth = model.target.inverse(labels) if model.target.task == "regression" else np.asarray(labels, np.int64)
    return Rows(model.target.task, truth, prediction, model.threshold)


def judge(
    rows: Rows,
    model: Predictor,
    *,
    train: Encoded | None = None,
    test: Encoded | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Judgement:
    """Scores with intervals; with ``train`` also those of the baselines that learn from these rows.

    Args:
        rows: see :func:`rows_of`.
        train, test: encoded rows; the training rows should include the validation rows.
        resamples: of the bootstrap.
    """
    measured = bootstrap(rows, resamples=resamples, seed=seed)
    if train is None or test is None:
        return Judgement(rows, measured)
    target = model.target
    names = tuple(BASELINES)
    if isinstance(test[0], np.ndarray):  # images: boosting on thousands of pixels takes longer than the network
        (inputs, labels), test, names = train, (baseline_inputs(test[0]), test[1]), ("commonest", "linear")
        train = baseline_inputs(inputs), labels
    found = baselines(target.task, train, test[0], classes=target.units, seed=seed, names=names)
    others, comparisons = {}, []
    for each in found.values():
        prediction = target.inverse(each.prediction) if target.task == "regression" else each.prediction
        others[each.label] = bootstrap(Rows(target.task, rows.truth, prediction), resamples=resamples, seed=seed)
        comparisons.append(compare(rows, prediction, each.label, resamples=resamples, seed=seed))
    return Judgement(rows, measured, others, tuple(comparisons))
