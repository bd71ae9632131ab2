"""The report's part on what each modality of the rows contributes."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from danlu.evaluate import MEASURES
from danlu.evaluate.intervals import figure
from danlu.evaluate.modalities import Contribution

__all__ = ["contributions_section"]

_KINDS = {"table": "numbers and categories", "text": "a text", "image": "a picture", "sound": "a recording"}
_WIDTH, _HEIGHT = 160, 14


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


def _bar(share: float) -> str:
    width = _WIDTH * min(max(share, 0.0), 1.0)
    return (
        f'<svg class="bars" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" aria-hidden="true">'
        f'<rect x="0" y="2" width="{width:.1f}" height="{_HEIGHT - 4}"/></svg>'
    )
