"""The report of a run: one HTML file that needs nothing but a browser."""

from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from danlu.evaluate import MEASURES, PRIMARY, Comparison, Interval, Rows, conclusion, residuals
from danlu.evaluate.intervals import figure
from danlu.files import write_atomic
from danlu.language import page
from danlu.prose import percent
from danlu.report.columns import ColumnSummary
from danlu.report.plots import (
    calibration_plot,
    confusion_plot,
    curves_plot,
    interval_plot,
    ranking_plot,
    residual_plot,
)
from danlu.report.probabilities import probability_words
from danlu.report.words import in_parts

__all__ = ["ReportData", "write_report"]

_TILES = {
    "binary": ("roc_auc", "accuracy", "f1", "cost", "set_coverage"),
    "multiclass": ("accuracy", "balanced_accuracy", "f1", "cost", "set_coverage"),
    "regression": ("rmse", "mae", "r2", "interval_coverage"),
    "forecast": ("mse", "mase", "coverage"),
    "language": ("token_loss", "perplexity", "bits_per_character"),
    "translation": ("bleu", "chrf"),
    "detection": ("map", "map50", "box_f1"),
    "segmentation": ("mean_iou", "mean_dice", "pixel_accuracy"),
    "multilabel": ("label_precision", "macro_f1", "exact_match"),
    "agent": ("return", "episode_cost", "sampled_return", "iqm_return"),
}


_FIGURES = {
    "binary": "ROC: the further above the dotted diagonal, the better the rows are ordered. Calibration: on the diagonal, a "
    "probability of 0.7 comes true in 7 of 10 rows; the lines show how far chance alone reaches.",
    "multiclass": "Confusion matrix: counts off the diagonal are mistakes; a dark cell there is a pair of classes that it mixes up. "
    "Calibration: on the diagonal, answers with a probability of 0.7 are right in 7 of 10 rows.",
    "regression": "Errors should lie around 0 everywhere: a bend says that something is not learnt, a funnel that some values are "
    "less sure.",
}
_HINTS = {
    "Training": "The dotted line marks the epoch that is kept. A dashed line that rises while the solid one falls: the network learns its "
    "training rows by heart. Both still falling at the end: more epochs may help. Point at a curve for its values.",
    "Data": "Look for a column that will not be known when the model is used, or that tells the answer: leave it out with data.drop.",
    "Reproduce": "The same command on the same data, versions and machine gives the same weights.",
    "Where it is worst": "A group of rows that is surely worse, and that matters to you, needs more rows or better columns.",
    "In each fold": "Scores that differ a lot from fold to fold say that the score depends on which rows are at hand.",
}
"""What to look for in the parts of a report."""


@dataclasses.dataclass(frozen=True, eq=False)
class ReportData:
    """The contents of a report; fields that are None or empty are left out.

    Attributes:
        title: such as the run's name.
        target, task: what is predicted, and as what.
        classes: names of the classes, in the order of their codes.
        rows: the test rows with their prediction.
        scores: test scores with intervals, by measure.
        others: scores with intervals of each baseline, by its label.
        name, rows_are: what the model and the test rows are called.
        ideals: of a measure that is best at a value, such as an interval's coverage at its level, that value.
        comparisons: of the model with each baseline.
        history: a row an epoch; ``best_epoch`` counts from 0.
        columns: of the table, see :func:`~danlu.report.describe_columns`.
        schema_html, model_html: the table of the columns (shown when there is no ``columns``), and that of the layers: HTML
            that is taken as it is.
        parts: number of rows by part (train, validation, test), or of what ``unit`` says; ``split`` says how they were divided.
        class_counts: of each part, in the order of ``parts``, how many rows of each class it has.
        facts: further lines ``name: value`` about the training.
        notices: sentences the user should know about the data and the training.
        remarks: the same about the test.
        health_html: what the doctor says of the training: HTML that is taken as it is.
        audit_html: what an audit of the data found: HTML that is taken as it is.
        heading: of the page; empty says what is predicted.
        mistakes: the test rows predicted worst: a list of dicts with the same keys.
        mistakes_title: what they are called.
        mistakes_note: what is to be said about them or the gallery.
        gallery: pictures of them: dicts of ``"image"`` and ``"seen"`` (the same with what the network looked at; see
            :func:`~danlu.report.png_uri`), maybe ``"gained"`` (what each pixel added), and ``"caption"``.
        sections: further parts, each a title and its HTML, which is taken as it is (figures, samples).
        places: parts that commands may add afterwards, by name: what each shows, and its command.
        parts_added: of them those that were added, by name: each a list like ``sections``.
        config: the resolved config; ``command`` reproduces the run.
        environment: versions and machine.
    """

    title: str
    target: str
    task: str
    classes: Sequence[str] = ()
    rows: Rows | None = None
    scores: Mapping[str, Interval] = dataclasses.field(default_factory=dict)
    others: Mapping[str, Mapping[str, Interval]] = dataclasses.field(default_factory=dict)
    name: str = "the network"
    rows_are: str = "test rows"
    ideals: Mapping[str, float] = dataclasses.field(default_factory=dict)
    comparisons: Sequence[Comparison] = ()
    history: Sequence[Mapping[str, Any]] = ()
    best_epoch: int | None = None
    columns: Sequence[ColumnSummary] = ()
    schema_html: str = ""
    model_html: str = ""
    parts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    unit: str = "rows"
    split: str = ""
    class_counts: Mapping[str, Sequence[int]] = dataclasses.field(default_factory=dict)
    facts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    notices: Sequence[str] = ()
    remarks: Sequence[str] = ()
    health_html: str = ""
    audit_html: str = ""
    heading: str = ""
    mistakes: Sequence[Mapping[str, Any]] = ()
    mistakes_title: str = "The largest mistakes"
    mistakes_note: str = ""
    gallery: Sequence[Mapping[str, str]] = ()
    sections: Sequence[tuple[str, str]] = ()
    places: Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    parts_added: Mapping[str, Sequence[tuple[str, str]]] = dataclasses.field(default_factory=dict)
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    command: str = ""
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)


def write_report(path: str | os.PathLike[str], data: ReportData) -> Path:
    """Write the report; whatever comes from the user's data is escaped.

    Returns:
        The path.

    Raises:
        ArtifactError: the file cannot be written; an older report stays.
    """
    text = rendered(
        "report.html.jinja",
        data=data,
        test_rows=data.parts.get("test") or (len(data.rows) if data.rows is not None else 0),
        conclusion=conclusion(data.comparisons, name=data.name, tested=data.rows_are) if data.comparisons else None,
        tiles=_tiles(data),
        table=_score_table(data),
        curves=curves_plot(data.history, data.best_epoch),
        figures=_figures(data),
        errors=str(residuals(data.rows)) if data.rows is not None and data.task == "regression" else "",
        probabilities=_probabilities(data),
        against=_against(data),
        hints={**_HINTS, "figures": _FIGURES.get(data.task, "")},
        config_text=json.dumps(data.config, indent=2, ensure_ascii=False, default=str) if data.config else "",
    )
    path = Path(path)
    write_atomic(path, text)
    return path


def rendered(
    template: str,
    *,
    script: str = "",
    allowed: Mapping[str, str] | None = None,
    language: str | None = None,
    **values: Any,
) -> str:
    """A page from one of the templates, in a language; values are escaped.

    It has one script, and says by a digest that a browser is to run no other one, and to ask no other machine for anything.

    Args:
        template: its file.
        script: JavaScript; the default is what makes a report alive.
        allowed: what the page's policy allows beyond that, by directive, such as ``{"connect-src": "'self'"}``.
        language: None is the reader's.
        values: what the template names.
    """
    import jinja2

    folder = Path(__file__).parent / "templates"
    script = script or (folder / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = {"default-src": "'none'", "img-src": "data:", "style-src": "'unsafe-inline'"}
    policy |= {"script-src": f"'sha256-{digest}'"}
    for directive, sources in (allowed or {}).items():
        policy[directive] = f"{policy.get(directive, '')} {sources}".strip()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        bytecode_cache=_compiled(),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["whole"] = whole_numbers
    environment.filters["parts"] = in_parts
    environment.filters["percent"] = percent
    environment.globals["script"] = script
    environment.globals["policy"] = "; ".join(f"{directive} {sources}" for directive, sources in policy.items())
    return page(environment.get_template(template).render(language=language, **values), language)


@functools.cache
def _compiled() -> Any:
    """The templates as Python, of the whole process: to compile one takes ten times as long as to fill it in."""
    import jinja2

    class Compiled(jinja2.BytecodeCache):
        def __init__(self) -> None:
            self.codes: dict[tuple[str, str], Any] = {}

        def load_bytecode(self, bucket: Any) -> None:
            bucket.code = self.codes.get((bucket.key, bucket.checksum))

        def dump_bytecode(self, bucket: Any) -> None:
            self.codes[bucket.key, bucket.checksum] = bucket.code

    return Compiled()


_NUMBER = re.compile(r"[−+-]?\d[\d.,:−-]*(?:e[+-]?\d+)?(?: ?%)?")
_LONGEST = 24  # a number of more digits is broken where the line ends, as a word is


def whole_numbers(text: Any) -> Any:
    """The text escaped, with its numbers, dates and percentages (``95 %``) kept from being broken at the end of a line."""
    from markupsafe import Markup, escape

    def kept(match: re.Match[str]) -> str:
        return match[0] if len(match[0]) > _LONGEST else f'<span class="whole">{match[0]}</span>'

    if hasattr(text, "__html__"):  # words that are coloured, say
        return text
    parts, end = [], 0
    for match in _NUMBER.finditer(str(text)):
        parts += [escape(str(text)[end : match.start()]), Markup(kept(match))]
        end = match.end()
    return Markup("").join([*parts, escape(str(text)[end:])])


def _tiles(data: ReportData) -> list[dict[str, str]]:
    """The measures that are shown large."""
    names = [name for name in _TILES.get(data.task, ()) if name in data.scores]
    return [
        {
            "label": MEASURES[name].label,
            "value": figure(data.scores[name].value),
            "between": data.scores[name].between,
        }
        for name in names
    ]


def _score_table(data: ReportData) -> list[dict[str, Any]]:
    """A row a measure: ours with its interval, then each baseline's; the best of them is marked."""
    table = []
    for name, interval in data.scores.items():
        metric = MEASURES[name]
        values = [interval.value, *(other[name].value if name in other else None for other in data.others.values())]
        known = [value for value in values if value is not None]
        ideal = data.ideals.get(name)
        if ideal is not None:
            best = min(known, key=lambda value: abs(value - ideal))
        else:
            best = (max if metric.higher_is_better else min)(known)
        table.append(
            {
                "label": metric.label,
                "interval": interval.between,
                "cells": [
                    {"text": "–" if value is None else figure(value), "best": value == best and len(known) > 1}
                    for value in values
                ],
                "arrow": f"→ {figure(ideal)}" if ideal is not None else "↑" if metric.higher_is_better else "↓",
            }
        )
    return table


def _against(data: ReportData) -> str:
    """The picture of the measure compared by, for all models."""
    name = data.comparisons[0].metric if data.comparisons else PRIMARY.get(data.task, "")
    if name not in data.scores or not data.others:
        return ""
    models = {data.name: data.scores[name]}
    models |= {label: other[name] for label, other in data.others.items() if name in other}
    return interval_plot(models, MEASURES[name].label)


def _probabilities(data: ReportData) -> list[str]:
    return (
        [] if data.rows is None or data.task == "regression" else probability_words(data.rows, data.scores.get("ece"))
    )


def _figures(data: ReportData) -> list[str]:
    if data.rows is None:
        return []
    if data.task == "regression":
        return residual_plot(data.rows, data.target)
    figures = [*ranking_plot(data.rows), calibration_plot(data.rows), confusion_plot(data.rows, data.classes)]
    return figures if data.task == "binary" else figures[::-1]
