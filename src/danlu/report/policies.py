"""The report's part on a policy that was learnt from a log: what it does instead of what was done."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np

from danlu.evaluate.intervals import figure
from danlu.evaluate.logged import Logged
from danlu.prose import percent
from danlu.report.words import in_parts

__all__ = ["policy_section"]

_MOST = 40


def policy_section(log: Logged, actions: Sequence[str], reward: str) -> tuple[str, str]:
    """The title and the HTML of a table with a line for each action: how often it was done and would be, and what it brought."""
    if log.policy is None:
        return "What the policy does", ""
    policy, known = log.policy, log.action >= 0
    done = np.bincount(log.action[known], minlength=len(actions))
    chosen = policy.sum(0)
    promised = np.einsum("ra,ra->a", policy, log.values) / np.maximum(chosen, 1e-12)  # (actions,)
    agreed = np.bincount(log.action[known & (log.weights > 0)], minlength=len(actions))
    brought = np.bincount(log.action, log.reward * (log.weights > 0), len(actions)) if known.all() else None
    lines = []
    for place in np.argsort(-chosen, kind="stable")[:_MOST].tolist():
        earned = "–" if brought is None or not agreed[place] else figure(float(brought[place] / agreed[place]), 3)
        said = figure(float(promised[place]), 3) if chosen[place] else "–"
        numbers = (
            percent(done[place] / len(log)),
            percent(chosen[place] / len(log)),
            said,
            earned,
            f"{agreed[place]:,}",
        )
        cells = "".join(f'<td class="n">{each}</td>' for each in numbers)
        lines.append(f'<tr><td class="name" translate="no">{in_parts(actions[place])}</td>{cells}</tr>')
    names = (
        "was done",
        "would be done",
        f"expected {reward} there",
        f"{reward} where both agree",
        "rows where both agree",
    )
    head = "<tr><th>action</th>" + "".join(f'<th class="n">{html.escape(name)}</th>' for name in names) + "</tr>"
    note = (
        "Shares of the test rows. What is expected is the model's word; what was earned where the log did the same is seen, but of rows "
        "that the log chose: the values above weigh them."
    )
    return (
        "What the policy does",
        f'<div class="scroll long"><table>{head}{"".join(lines)}</table></div><p class="note">{html.escape(note)}</p>',
    )
