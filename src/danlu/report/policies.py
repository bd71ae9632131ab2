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
    shape = (len(log), log.places, len(actions))
    policy, values = log.policy.reshape(shape), log.values.reshape(shape)  # (rows, places, actions)
    action, reward_of = log.action.reshape(shape[:2]), log.reward.reshape(shape[:2])  # (rows, places)
    known, agree = action >= 0, log.by_place > 0
    policy = np.where(log.absent[..., None], 0.0, policy)
    done = np.bincount(action[known], minlength=len(actions))
    chosen = policy.sum((0, 1))
    promised = np.einsum("rka,rka->a", policy, values) / np.maximum(chosen, 1e-12)  # (actions,)
    agreed = np.bincount(action[known & agree], minlength=len(actions))
    brought = np.bincount(action[known & agree], reward_of[known & agree], len(actions))
    lines = []
    for place in np.argsort(-chosen, kind="stable")[:_MOST].tolist():
        earned = "–" if not agreed[place] else figure(float(brought[place] / agreed[place]), 3)
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
    note = (
        "Shares of the test rows. What is expected is the model's word; what was earned where the log did the same is seen, but of rows "
        "that the log chose: the values above weigh them."
    )
    table = _table("action", names, lines) + f'<p class="note">{html.escape(note)}</p>'
    return "What the policy does", table + (_of_places(log, values, reward) if log.places > 1 else "")


def _table(first: str, names: Sequence[str], lines: Sequence[str]) -> str:
    heads = "".join(f'<th class="n">{html.escape(name)}</th>' for name in names)
    return (
        f'<div class="scroll long"><table><tr><th>{html.escape(first)}</th>{heads}</tr>{"".join(lines)}</table></div>'
    )


def _of_places(log: Logged, values: np.ndarray, reward: str) -> str:
    """A table with a line for each place: how much it is looked at, and what it brought and would bring."""
    there, lines = ~log.absent, []
    first = np.abs(values[:, 0].sum(axis=-1))
    for place in range(log.places):
        looked = np.abs(values[:, place].sum(axis=-1)).sum() / max(float(first.sum()), 1e-12)
        would = float(log.terms_by_place["dr_value"][:, place].mean())
        rows = int(there[:, place].sum())
        brought = log.reward[there[:, place], place].mean() if rows else float("nan")
        numbers = f"{rows:,}", percent(float(looked)), figure(float(brought), 3), figure(would, 3)
        cells = "".join(f'<td class="n">{each}</td>' for each in numbers)
        lines.append(f'<tr><td class="name">{place + 1}</td>{cells}</tr>')
    note = (
        "How much a place is looked at is learnt from the log, where items stood at different places, and counted in what the first is. "
        "What a place would bring is the doubly robust value, of which that of a page is the sum."
    )
    names = ("pages", "looked at", f"{reward} as logged", f"{reward} by the policy")
    return _table("place", names, lines) + f'<p class="note">{html.escape(note)}</p>'
