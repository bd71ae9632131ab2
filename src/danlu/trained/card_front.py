"""The front matter of a model's card: what Hugging Face sorts, searches and compares models by.

Reference: Hugging Face, "Model Cards" (metadata) and "model-index".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from danlu.evaluate.intervals import Interval
from danlu.evaluate.measures import MEASURES

if TYPE_CHECKING:
    from danlu.trained.trained import Trained

__all__ = ["front_of", "is_finite", "known_scores"]

_TAGS = {  # of Hugging Face's tasks, by the kind of data and whether the answer is a class
    ("table", True): "tabular-classification",
    ("table", False): "tabular-regression",
    ("text", True): "text-classification",
    ("image", True): "image-classification",
    ("multilabel", True): "image-classification",
    ("sound", True): "audio-classification",
    ("detection", True): "object-detection",
    ("segmentation", True): "image-segmentation",
    ("series", True): "time-series-forecasting",
    ("language", True): "text-generation",
    ("translation", True): "translation",
    ("agent", True): "reinforcement-learning",
}
_METRICS = {  # names on Hugging Face where they are others than danlu's
    "r2": "r_squared",
    "mcc": "matthews_correlation",
    "brier": "brier_score",
}


def front_of(
    trained: Trained, title: str, license: str, languages: Sequence[str], datasets: Sequence[str]
) -> dict[str, Any]:
    """The front matter, as plain data; arguments as of :func:`~danlu.trained.card.card`."""
    known = known_scores(trained)
    tag = _TAGS.get((trained.kind, trained.task != "regression"))
    found: dict[str, Any] = {
        "license": license,
        "language": list(languages),
        "library_name": "danlu",
        "tags": ["danlu", "jax", trained.kind, *([] if trained.task == trained.kind else [trained.task])],
        "pipeline_tag": tag,
        "datasets": list(datasets),
        "metrics": [_METRICS.get(each, each) for each in known],
    }
    if known:
        source = str(trained.provenance.get("source") or "its own test rows")
        found["model-index"] = [
            {
                "name": title,
                "results": [
                    {
                        "task": {"type": tag or "other", "name": trained.purpose},
                        "dataset": {"type": datasets[0] if datasets else "local", "name": source, "split": "test"},
                        "metrics": [_result(each, interval) for each, interval in known.items()],
                    }
                ],
            }
        ]
    return {name: value for name, value in found.items() if value not in ("", [], None)}


def _result(name: str, interval: Interval) -> dict[str, Any]:
    """A measure in the form of a model index; its interval stands among its arguments."""
    label = MEASURES[name].label if name in MEASURES else name
    found: dict[str, Any] = {"type": _METRICS.get(name, name), "name": label, "value": interval.value}
    if interval.known:
        found["name"] = f"{label} (95 % interval {interval.between})"
        found["args"] = {"level": 0.95, "low": interval.low, "high": interval.high}
    return found


def known_scores(trained: Trained) -> dict[str, Interval]:
    """The scores of the test that are numbers, each with its interval where one was kept."""
    ends = trained.provenance.get("tested", {}).get("intervals", {})
    found = {}
    for name, value in trained.metrics.items():
        if is_finite(value):
            low, high = (math.nan if end is None else end for end in ends.get(name, (None, None)))
            found[name] = Interval(value, low, high)
    return found


def is_finite(value: Any) -> bool:
    """Whether it is a number, and neither NaN nor infinite."""
    return isinstance(value, int | float) and math.isfinite(value)
