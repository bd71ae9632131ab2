"""The shared part of the reports of pictures: some of the test images and the worst, and a table of measures."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence

import numpy as np

__all__ = ["decimals", "measure_table", "sample_sections"]

_SHOWN = 6  # images of a section


def sample_sections(
    count: int, worst: Sequence[int], gallery: Callable[[Sequence[int]], str], note: str = ""
) -> list[tuple[str, str]]:
    """The sections of test images that are spread over all of them, and of the worst, if there are any.

    Args:
        count: how many test images there are.
        worst: the numbers of those that are not right, the worst first.
        gallery: draws those of some numbers.
        note: stands below them.
    """
    some = np.unique(np.linspace(0, count - 1, _SHOWN).round().astype(int)).tolist()
    sections = [("Test images", gallery(some) + note)]
    return sections + ([("The worst images", gallery(worst[:_SHOWN]) + note)] if len(worst) else [])


def decimals(value: float) -> str:
    """Three decimals; a dash where there is no value."""
    return f"{value:.3f}" if np.isfinite(value) else "–"


def measure_table(
    what: str, names: Sequence[str], by: np.ndarray, columns: Mapping[str, Sequence[str]], *, most: int
) -> str:
    """A table of the measures of each class, the worst first.

    Args:
        what: a class is called.
        names: of the classes.
        by: the measure that says which is worst, the lowest; NaN comes last.
        columns: what stands in each column, by its head.
        most: how many rows.

    Example:
        >>> table = measure_table("class", ["cat", "dog"], np.array([0.9, 0.2]), {"F1": ["0.9", "0.2"]}, most=1)
        >>> "dog" in table, "cat" in table
        (True, False)
    """
    order = np.argsort(np.where(np.isfinite(by), by, np.inf), kind="stable")[:most]
    head = f"<tr><th>{what}</th>" + "".join(f"<th class='n'>{name}</th>" for name in columns) + "</tr>"
    lines = []
    for row in order:
        cells = "".join(f"<td class='n'>{values[row]}</td>" for values in columns.values())
        lines.append(f"<tr><td class='cell' translate='no'>{html.escape(str(names[row]))}</td>{cells}</tr>")
    return f"<div class='scroll'><table>{head}{''.join(lines)}</table></div>"
