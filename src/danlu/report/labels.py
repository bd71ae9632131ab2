"""The measures of each label, where rows have several."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np

from danlu.evaluate.labels import LabelRows
from danlu.report.picture import heat_over, png_uri

__all__ = ["label_sections", "mistake_sections"]

_SHOWN = 60  # labels of the table


def label_sections(rows: LabelRows, labels: Sequence[str], shares: np.ndarray) -> list[tuple[str, str]]:
    """The report's sections of several labels.

    Args:
        rows: of the test, with the prediction.
        labels: their names.
        shares: of the training rows that have each.

    Returns:
        Titles and HTML.
    """
    precision, f1, areas = rows.average_precision(), rows.f1(), rows.of_labels()
    order = np.argsort(np.where(np.isfinite(precision), precision, np.inf), kind="stable")[:_SHOWN]
    names = ("in training", "test images", "average precision", "ROC-AUC", "F1", "predicted")
    head = "<tr><th>label</th>" + "".join(f"<th class='n'>{name}</th>" for name in names) + "</tr>"
    lines = []
    for place in order:
        area = areas[place]
        cells = (
            f"{shares[place]:.1%}",
            f"{int(rows.truth[:, place].sum()):,}",
            _figure(precision[place]),
            f"{area.value:.3f} ({area.between})" if np.isfinite(area.value) else "–",
            _figure(f1[place]),
            f"{int(rows.chosen[:, place].sum()):,}",
        )
        row = "".join(f"<td class='n'>{cell}</td>" for cell in cells)
        lines.append(f"<tr><td class='cell'>{html.escape(str(labels[place]))}</td>{row}</tr>")
    more = f"<p class='note'>The {_SHOWN} labels of the lowest average precision.</p>" if len(labels) > _SHOWN else ""
    return [("Each label", f"<div class='scroll'><table>{head}{''.join(lines)}</table></div>{more}")]


def mistake_sections(pictures: Sequence[tuple[np.ndarray, np.ndarray, str]]) -> list[tuple[str, str]]:
    """The report's section of the largest mistakes, if there are any.

    Args:
        pictures: of each an image, where the network looked (0 … 1, of its height and width), and a caption.
    """
    if not pictures:
        return []
    figures = []
    for image, heat, said in pictures:
        drawn = "".join(
            f"<img src='{png_uri(each)}' alt='{told}'>"
            for each, told in ((image, "the image"), (heat_over(image, heat), "where the network looked"))
        )
        figures.append(f"<figure class='pair'>{drawn}<figcaption>{html.escape(said)}</figcaption></figure>")
    note = "<p class='note'>A label that was missed or is not there, with its probability. Orange: what spoke for it (Grad-CAM).</p>"
    return [("The largest mistakes", f"{note}<div class='gallery'>{''.join(figures)}</div>")]


def _figure(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else "–"
