"""The report's part on the folds of a cross-validation."""

from __future__ import annotations

import html
from collections.abc import Mapping

import numpy as np

from danlu.evaluate import MEASURES
from danlu.evaluate.intervals import figure

__all__ = ["folds_section"]


def folds_section(scores: Mapping[str, np.ndarray]) -> tuple[str, str]:
    """The title and the HTML of a table with a measure a line: its mean over the folds, and its value in each.

    Args:
        scores: each measure in each fold, ``(folds,)``; NaN where it is not defined.
    """
    count = max(map(len, scores.values()))
    head = "".join(f'<th class="n">fold {number}</th>' for number in range(1, count + 1))
    lines = "".join(
        f"<tr><td>{html.escape(MEASURES[name].label)}</td>{_cell(np.nanmean(each))}{''.join(map(_cell, each))}</tr>"
        for name, each in scores.items()
        if np.isfinite(each).any()
    )
    note = (
        "Every fold is a training of its own: encoder, network and threshold are fitted to the other folds alone. The scores above are of "
        "all rows together, each predicted by the model that did not see it; here they are within each fold. "
        "Measures that rank the rows (ROC-AUC, average precision) are means over the folds there as well, since the probabilities of "
        "different models are not to be compared."
    )
    return (
        "In each fold",
        f'<div class="scroll"><table class="measures"><tr><th></th><th class="n">mean</th>{head}</tr>{lines}</table></div>'
        f'<p class="note">{note}</p>',
    )


def _cell(value: float) -> str:
    return f'<td class="n">{figure(value) if np.isfinite(value) else "–"}</td>'
