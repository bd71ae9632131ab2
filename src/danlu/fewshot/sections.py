"""The report's part of a model for few examples: episodes as pictures, a map of the vectors, what is confused, same or different."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np

from danlu.evaluate import Episodes
from danlu.evaluate.diagrams import along
from danlu.fewshot.answers import Quiz, softmax
from danlu.fewshot.head import Shots
from danlu.prose import percent
from danlu.report import png_uri
from danlu.report.svg import BLUE, GREY, ORANGE, Panel

__all__ = ["shot_sections"]

_CLASSES = 6  # of an episode that is shown
_QUERIES = 6  # of each
_CONFUSED = 8  # pairs of classes
_ON_MAP = 10  # classes
_VERTICES = 300


def shot_sections(images: np.ndarray, quiz: Quiz, evidence: Any, head: Shots) -> list[tuple[str, str]]:
    """The sections.

    Args:
        images: of the test, encoded.
        quiz: what was answered.
        evidence: of the test.
        head: of the model.

    Returns:
        Titles and HTML.
    """
    probability = softmax(quiz.logits, head.temperature)
    right = (probability.argmax(-1) == np.arange(probability.shape[1])[:, None]).mean(axis=(1, 2))
    order = np.argsort(right, kind="stable")
    shown = [("A usual episode", int(order[len(order) // 2])), ("The worst episode", int(order[0]))]
    sections = [(title, _episode(images, quiz, probability, number)) for title, number in shown]
    confused = _confused(images, quiz, probability)
    sections += [("What is confused most", confused)] if confused else []
    panels = [] if quiz.vectors is None else [_map(quiz)]
    if isinstance(evidence, Episodes) and len(evidence.distance):
        panels += [_roc(evidence), _distances(evidence)]
    note = (
        "<p class='note'>First the two directions in which the vectors of some classes differ most. Then "
        "pairs of test pictures: which share of the pairs of one class is found as the distance grows, and which share of the "
        f"others is taken for one; the dot is the threshold {evidence.threshold:.3g}, chosen on validation classes.</p>"
    )
    return [
        *sections,
        (
            "Vectors, and whether two are of one class",
            f"<div class='figures'>{''.join(f'<div>{panel}</div>' for panel in panels)}</div>{note}",
        ),
    ]


def _cell(image: np.ndarray, colour: str, told: str) -> str:
    return (
        f"<img src='{png_uri(image)}' alt='{html.escape(told)}' title='{html.escape(told)}' "
        f"style='width: 44px; max-width: 11%; flex: none; image-rendering: pixelated; border: 3px solid {colour}; border-radius: 4px'>"
    )


def _row(cells: Sequence[str], caption: str) -> str:
    return (
        f"<div style='display: flex; flex-wrap: wrap; gap: 4px; align-items: center; margin: 4px 0'>{''.join(cells)}"
        f"<span style='font-size: 12px; overflow-wrap: anywhere' translate='no'>{html.escape(caption)}</span></div>"
    )


def _episode(images: np.ndarray, quiz: Quiz, probability: np.ndarray, number: int) -> str:
    """Some classes of an episode: what was shown of each, and its queries."""
    drawn, shots = quiz.drawn, quiz.drawn.episode.shots
    order, chosen = drawn.order[number], probability[number].argmax(-1)
    names = [drawn.names[code] for code in drawn.classes[number]]
    hits = (chosen == np.arange(len(chosen))[:, None]).mean(axis=1)
    lines = []
    for way in np.argsort(hits, kind="stable")[:_CLASSES]:
        cells = [_cell(images[row], GREY, f"shown of {names[way]}") for row in order[way, : min(shots, 2)]]
        for query, row in enumerate(order[way, shots:][:_QUERIES]):
            answer, sure = chosen[way, query], probability[number, way, query].max()
            told = f"{names[way]}, answered {names[answer]} ({percent(sure)})"
            cells.append(_cell(images[row], BLUE if answer == way else ORANGE, told))
        lines.append(_row(cells, names[way]))
    note = (
        f"<p class='note'>{percent(hits.mean())} of its queries are told rightly. The worst classes: in grey what was shown of each, then "
        "queries, blue where they are told rightly and orange where they are taken for another class.</p>"
    )
    return "".join(lines) + note


def _confused(images: np.ndarray, quiz: Quiz, probability: np.ndarray) -> str:
    """The pairs of classes of which one is most often taken for the other, beside how often the two met."""
    drawn, count = quiz.drawn, len(quiz.drawn.names)
    classes, chosen = drawn.classes, probability.argmax(-1)  # (episodes, ways), (episodes, ways, queries)
    true = np.broadcast_to(classes[..., None], chosen.shape)
    answered = np.take_along_axis(
        np.broadcast_to(classes[:, None, :], probability.shape[:2] + classes.shape[1:]), chosen, axis=2
    )
    taken, met = np.zeros((count, count)), np.zeros((count, count))
    np.add.at(taken, (true.ravel(), answered.ravel()), 1)
    for ways in classes:
        met[np.ix_(ways, ways)] += chosen.shape[2]
    np.fill_diagonal(taken, 0)
    share = np.divide(taken, met, out=np.zeros_like(taken), where=met > 0)
    lines = []
    for place in np.argsort(-share, axis=None, kind="stable")[:_CONFUSED]:
        a, b = divmod(int(place), count)
        if not share[a, b]:
            break
        cells = [_cell(images[np.flatnonzero(drawn.codes == code)[0]], GREY, drawn.names[code]) for code in (a, b)]
        lines.append(
            _row(
                cells, f"{drawn.names[a]} taken for {drawn.names[b]}: {percent(share[a, b])} of {met[a, b]:.0f} queries"
            )
        )
    return "".join(lines)


def _map(quiz: Quiz) -> str:
    """The first two principal components of the vectors of some classes."""
    vectors: Any = quiz.vectors
    some = np.unique(quiz.drawn.classes)
    some = some[np.linspace(0, len(some) - 1, min(_ON_MAP, len(some))).round().astype(int)]
    rows = np.flatnonzero(np.isin(quiz.drawn.codes, some))
    centred = vectors[rows] - vectors[rows].mean(axis=0)
    placed = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
    if placed.shape[1] < 2:
        placed = np.concatenate([placed, np.zeros_like(placed)], axis=1)
    with Panel("Map of the vectors") as (panel, axes):
        for number, code in enumerate(some):
            own = placed[quiz.drawn.codes[rows] == code]
            dots = axes.scatter(
                own[:, 0], own[:, 1], s=14, marker="osD^v"[number % 5], color=f"C{number}", linewidths=0
            )
            panel.says(dots, [quiz.drawn.names[code]] * len(own))
        axes.set(xlabel="first direction", ylabel="second direction")
    return panel.svg


def _roc(evidence: Episodes) -> str:
    alarms, hits = evidence.curve()
    seen, (wrong, missed) = along(alarms, hits, _VERTICES), evidence.rates_at(evidence.threshold)
    with Panel("Same or different: ROC") as (panel, axes):
        axes.plot([0, 1], [1, 0], color=GREY, lw=1, ls=":")
        axes.plot(alarms[seen], hits[seen], color=BLUE)
        axes.plot(wrong, 1 - missed, marker="o", color=ORANGE, ls="", label=f"threshold {evidence.threshold:.2g}")
        axes.legend(loc="lower right", fontsize=8)
        axes.set(
            xlabel="different, taken for the same", ylabel="the same, found", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02)
        )
    return panel.svg


def _distances(evidence: Episodes) -> str:
    same, ends = evidence.first == evidence.second, np.quantile(evidence.distance, [0, 0.999])
    bins = np.linspace(ends[0], max(ends[1], ends[0] + 1e-6), 40)
    with Panel("Distances of pairs") as (panel, axes):
        for own, colour, told in ((same, BLUE, "of one class"), (~same, ORANGE, "of two classes")):
            axes.hist(evidence.distance[own], bins, density=True, color=colour, alpha=0.6, label=told)
        axes.axvline(evidence.threshold, color=GREY, lw=1, ls=":")
        axes.legend(fontsize=8)
        axes.set(xlabel="distance", ylabel="density")
    return panel.svg
