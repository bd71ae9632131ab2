"""Sheets of drawn pictures for a report: what a model draws, the nearest training pictures, and what lies between two pictures."""

from __future__ import annotations

import html
from typing import Any

import numpy as np

from danlu.generative.features import nearest
from danlu.generative.written import grid
from danlu.report.picture import png_uri

__all__ = ["drawn_sheet", "near_sheet", "way_sheet"]

_LABELS = 12  # that have a column each
_PAIRS = 8


def drawn_sheet(trained: Any) -> str:
    """Eight pictures of each label in a column of its own, or 64."""
    classes = trained.head.classes
    some = None if classes is None else classes[:_LABELS]
    across = 8 if some is None else len(some)
    label = None if some is None else [some[number % across] for number in range(8 * across)]
    said = "" if some is None else f"A column for each label: {', '.join(map(html.escape, some))}. "
    drawn = trained.sample(8 * across, label=label)
    return _image(drawn, across) + f"<p class='note'>{said}danlu sample draws more.</p>"


def near_sheet(trained: Any, known: np.ndarray) -> str:
    """Drawn pictures above, and below each the training picture that is nearest to it, pixel by pixel."""
    drawn = trained.sample(_PAIRS, seed=1)
    places, _ = nearest(drawn, known)
    both = np.concatenate([drawn, known[places]])
    note = "Above what it draws, below the training picture that is nearest, pixel by pixel: pairs that are the same are copies."
    return _image(both, _PAIRS) + f"<p class='note'>{note}</p>"


def way_sheet(trained: Any) -> str:
    """In each line the pictures on the way from one drawn picture to another."""
    found = trained.between(4, _PAIRS)
    pictures = found.reshape(-1, *found.shape[2:])  # (pairs·steps, height, width, channels)
    return (
        _image(pictures, _PAIRS)
        + "<p class='note'>In each line the noise goes from that of one picture to another's.</p>"
    )


def _image(pictures: np.ndarray, across: int) -> str:
    style = f"width: min(100%, {across * 52}px); image-rendering: pixelated"
    return f"<img style='{style}' src='{png_uri(grid(pictures, across))}' alt=''>"
