"""The report's part on what each modality of the rows contributes."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from danlu.evaluate import MEASURES
from danlu.evaluate.intervals import figure
from danlu.evaluate.modalities import Contribution
from danlu.report.picture import png_uri

__all__ = ["contributions_section", "retrieval_section"]

_KINDS = {"table": "numbers and categories", "text": "a text", "image": "a picture", "sound": "a recording"}
_WIDTH, _HEIGHT = 160, 14
_SHOWN = 12


def contributions_section(found: Sequence[Contribution], encoder: Any) -> tuple[str, str]:
    """The title and the HTML of a table with a line for each modality."""
    title = "What each modality contributes"
    if not found:
        return title, '<p class="note">There is one modality alone, or more than 8.</p>'
    label = html.escape(MEASURES[found[0].metric].label)
    kinds = dict(zip(encoder.modalities, encoder.kinds, strict=True))
    largest = max(max(each.share for each in found), 1e-12)
    lines = "".join(
        f'<tr><td class="name" translate="no">{html.escape(each.name)}</td><td>{_KINDS[kinds[each.name]]}</td>'
        f'<td class="n">{figure(each.alone, 3)}</td><td class="n">{figure(each.without, 3)}</td>'
        f'<td class="n">{figure(each.share, 3)}</td><td>{_bar(each.share / largest)}</td></tr>'
        for each in found
    )
    head = (
        f'<tr><th>modality</th><th></th><th class="n">{label} with it alone</th><th class="n">without it</th>'
        '<th class="n">its share</th><th></th></tr>'
    )
    note = (
        "The model's own answers for the test rows where modalities are taken away; in their place is what it learnt for an absent "
        "one. The share is the exact Shapley value: how much better the measure gets by the modality, averaged over the orders in "
        "which they may come; the shares add up to the difference between all modalities and none. Trainings with one modality "
        "alone stand in the comparison above."
    )
    said = " ".join(each.comparison.sentence for each in found)
    return title, (
        f'<div class="scroll long"><table>{head}{lines}</table></div><p>{html.escape(said)}</p><p class="note">{html.escape(note)}</p>'
    )


def retrieval_section(trained: Any, inputs: Any, truth: np.ndarray, frame: pl.DataFrame) -> tuple[str, str]:
    """The title and the HTML of some test pairs with what is found for them."""
    first, second = trained.head.names
    kinds = dict(zip(trained.encoder.modalities, trained.encoder.kinds, strict=True))
    answers = trained.answer(inputs)
    picked = np.linspace(0, len(truth) - 1, min(_SHOWN, len(truth))).astype(int)
    unique = np.unique(truth[:, 1], return_index=True)[1]
    order = np.argsort(-(answers["first"][picked] @ answers["second"][unique].T), axis=1)[:, :3]  # (shown, 3)
    lines = "".join(
        f"<tr><td>{_thing(inputs, frame, first, kinds[first], row)}</td><td>{_thing(inputs, frame, second, kinds[second], row)}</td>"
        + "".join(f"<td>{_thing(inputs, frame, second, kinds[second], int(unique[place]))}</td>" for place in places)
        + "</tr>"
        for row, places in zip(picked.tolist(), order, strict=True)
    )
    head = (
        f"<tr><th translate=no>{html.escape(first)}</th><th translate=no>{html.escape(second)}</th><th>nearest</th><th>second</th>"
        "<th>third</th></tr>"
    )
    note = "Some test pairs, and what the model finds for the first among all test rows."
    return "What it finds", f'<div class="scroll long"><table>{head}{lines}</table></div><p class="note">{note}</p>'


def _thing(inputs: Any, frame: pl.DataFrame, name: str, kind: str, row: int) -> str:
    if kind == "text":
        return f"<span translate=no>{html.escape(str(frame[name][row])[:120])}</span>"
    return f"<img src='{png_uri(inputs['parts'][name][row])}' alt='' width='64'>"


def _bar(share: float) -> str:
    width = _WIDTH * min(max(share, 0.0), 1.0)
    return (
        f'<svg class="bars" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" aria-hidden="true">'
        f'<rect x="0" y="2" width="{width:.1f}" height="{_HEIGHT - 4}"/></svg>'
    )
