"""The report's part on the folds of a cross-validation."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import numpy as np

from danlu.evaluate import MEASURES
from danlu.evaluate.folds import FOLD_METHOD
from danlu.evaluate.intervals import Interval, figure

__all__ = ["folds_section"]


def folds_section(
    scores: Mapping[str, np.ndarray], means: Mapping[str, Interval], notes: Sequence[str] = ()
) -> tuple[str, str]:
    """The title and the HTML of a table with a measure a line: its mean over the folds with its interval, and its value in each.

    Args:
        scores: each measure in each fold, ``(folds,)``; NaN where it is not defined.
        means: the mean of each, with its interval.
        notes: where the means say less than all rows together.
    """
    count = max(map(len, scores.values()))
    heads = ["mean", "95 % interval", *(f"fold {number}" for number in range(1, count + 1))]
    head = "".join(f'<th class="n">{each}</th>' for each in heads)
    lines = "".join(
        f"<tr><td>{html.escape(MEASURES[name].label)}</td>{_cell(figure(means[name].value))}{_cell(means[name].between)}"
        + "".join(_cell(figure(value) if np.isfinite(value) else "–") for value in each)
        + "</tr>"
        for name, each in scores.items()
        if name in means
    )
    note = (
        "Every fold is a training of its own: encoder, network and threshold are fitted to the other folds alone. The scores above are of "
        "all rows together, each predicted by the model that did not see it; here they are within each fold. "
        "Measures that rank the rows (ROC-AUC, average precision) are means over the folds there as well, since the probabilities of "
        f"different models are not to be compared. The intervals here are the {FOLD_METHOD}: they allow for other training rows as well "
        "as for other test rows; those above speak of other test rows."
    )
    more = "".join(f"<p>{html.escape(each[:1].upper() + each[1:])}.</p>" for each in notes)
    return (
        "In each fold",
        f'<div class="scroll"><table class="measures"><tr><th></th>{head}</tr>{lines}</table></div>'
        f'{more}<p class="note">{html.escape(note)}</p>',
    )


def _cell(text: str) -> str:
    return f'<td class="n">{html.escape(text)}</td>'
