"""The report's part on the health of the training: the doctor's findings, and the layers where they were looked at."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["health_html"]


def health_html(record: Mapping[str, Any]) -> str:
    """The findings and the layers as HTML.

    Args:
        record: ``{"findings": […], "layers": [[…], …]}`` as ``results.json`` has it.
    """
    findings = record.get("findings") or []
    parts = [_finding(each) for each in findings]
    if not parts:
        parts = [
            "<p>Nothing is wrong with the training that can be seen: its loss falls, no weight stands still, and it neither learns rows by "
            "heart nor answers too well.</p>"
        ]
    layers = record.get("layers") or []
    if layers and findings:
        parts.append(_layers(layers[0], len(layers)))
    return "".join(parts)


def _finding(each: Mapping[str, Any]) -> str:
    members = each.get("members") or []
    whose = f" (members {', '.join(map(str, members))})" if members else ""
    command = f"<pre>{html.escape(each['command'])}</pre>" if each.get("command") else ""
    what, why, change = (html.escape(text) for text in (_begun(each["what"]) + whose, each["evidence"], each["change"]))
    return f"<p><b>{what}</b>: {why}. Try {change}.</p>{command}"


def _begun(text: str) -> str:
    return text[:1].upper() + text[1:]


def _layers(layers: Sequence[Mapping[str, Any]], members: int) -> str:
    heads = "".join(f'<th class="n">{name}</th>' for name in ("gradient", "weights", "change"))
    lines = "".join(
        f"<tr><td>{html.escape(each['name'])}</td>{_cell(each['gradient'])}{_cell(each['weight'])}"
        f"{_cell(each['update'] / each['weight'] if each['weight'] else 0.0, share=True)}</tr>"
        for each in layers
    )
    of = f" of the first of {members} networks" if members > 1 else ""
    note = (
        f"The layers{of} after the last step, on a batch of training rows: the norms of the gradient and the weights, and the change, "
        "by how much a step changes the weights, as a share of their size (0.1 to 1 % is usual while a network learns)."
    )
    return f'<div class="scroll"><table class="measures"><tr><th>layer</th>{heads}</tr>{lines}</table></div><p class="note">{note}</p>'


def _cell(value: float, *, share: bool = False) -> str:
    return f'<td class="n">{100 * value:.2g} %</td>' if share else f'<td class="n">{value:.3g}</td>'
