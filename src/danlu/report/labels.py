"""The measures of each label, where rows have several."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np

from danlu.evaluate.labels import LabelRows
from danlu.prose import percent
from danlu.report.picture import heat_over, png_uri
from danlu.report.samples import decimals, measure_table

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
    precision, places = rows.average_precision(), range(len(labels))
    columns = {
        "in training": [percent(share, 1) for share in shares],
        "test images": [f"{int(rows.truth[:, place].sum()):,}" for place in places],
        "average precision": [decimals(value) for value in precision],
        "ROC-AUC": [f"{x.value:.3f} ({x.between})" if np.isfinite(x.value) else "–" for x in rows.of_labels()],
        "F1": [decimals(value) for value in rows.f1()],
        "predicted": [f"{int(rows.chosen[:, place].sum()):,}" for place in places],
    }
    table = measure_table("label", labels, precision, columns, most=_SHOWN)
    more = f"<p class='note'>The {_SHOWN} labels of the lowest average precision.</p>" if len(labels) > _SHOWN else ""
    return [("Each label", table + more)]


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
    note = "<p class='note'>A label that was missed or wrongly predicted, with its probability. Orange: what spoke for it (Grad-CAM).</p>"
    return [("The largest mistakes", f"{note}<div class='gallery'>{''.join(figures)}</div>")]
