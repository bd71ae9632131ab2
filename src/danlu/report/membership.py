"""The report's part on who was in the training, as far as the model tells."""

from __future__ import annotations

import html

from danlu.evaluate.membership import Canaries, Membership
from danlu.report.svg import BLUE, GREY, Panel

__all__ = ["membership_section"]

_TITLE = "Who was in the training"
_BY_CANARIES = "Who was in the training: by canaries"


def membership_section(found: Membership | Canaries) -> tuple[str, str]:
    """The title and the HTML of what an attack found."""
    verdict = f"<p{' class=bad' if found.broken else ''}><b>{html.escape(found.verdict)}</b></p>"
    notes = "".join(f"<p class='note'>{html.escape(note)}.</p>" for note in found.notes)
    if isinstance(found, Canaries):
        said = (
            f"<p>{found.rows:,} rows with wrong answers were added to the training rows of one more training, each or not by a coin. About "
            f"{found.guesses:,} of them it was guessed whether they took part; {found.correct:,} guesses were right.</p>"
        )
        return _BY_CANARIES, f"{said}{verdict}{notes}"
    said = (
        f"<p>An attacker with {found.shadows} shadow models tried to tell apart {found.inside:,} rows that the model learnt from and "
        f"{found.out:,} others.</p>"
    )
    rows = [("ROC-AUC (0.5: nothing shows)", found.auc.brief)]
    for rate, each in found.found.items():
        told = f"{round(1 / rate):,} others or more would tell" if each is None else each.brief
        rows.append((f"found, while {100 * rate:g} % of the others are taken for such", told))
    figures = "".join(f"<tr><td>{html.escape(a)}</td><td class='n'>{html.escape(b)}</td></tr>" for a, b in rows)
    return (
        _TITLE,
        f"{said}{verdict}<div class='sides'><div>{_picture(found)}</div><div class='scroll'><table>{figures}</table></div></div>"
        f"{_exposed(found)}{notes}",
    )


def _exposed(found: Membership) -> str:
    if not found.exposed:
        return ""
    lines = "".join(
        f"<tr><td class='n'>{'?' if each.row is None else f'{each.row:,}'}</td><td translate='no'>{html.escape(each.label)}</td>"
        f"<td class='n'>{each.score:.1f}</td><td class='n'>{each.apart:.1f}</td></tr>"
        for each in found.exposed
    )
    head = "<tr><th class='n'>row</th><th>true answer</th><th class='n'>score</th><th class='n'>standard deviations apart</th></tr>"
    note = (
        "<p class='note'>Score: how much more likely the model's answer is of trainings with the row than of such without it, as a natural "
        "logarithm (3 is 20 times). Apart: how far the shadows that learnt from the row are from those that did not.</p>"
    )
    return f"<h3>Rows that show most</h3><div class='scroll'><table>{head}{lines}</table></div>{note}"


def _picture(found: Membership) -> str:
    """The share that is found against the share of others that are taken for such."""
    wrong, right = zip(*found.curve, strict=True)
    floor = 1 / max(found.out, found.inside)
    with Panel("rows found") as (panel, axes):
        axes.plot([floor, 1], [floor, 1], color=GREY, lw=0.8)
        axes.plot([max(each, floor) for each in wrong], [max(each, floor) for each in right], color=BLUE)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(floor, 1)
        axes.set_ylim(floor, 1)
        shares = [share for share in (1e-4, 1e-3, 1e-2, 1e-1, 1.0) if share >= floor]
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks(shares, [f"{100 * share:g} %" for share in shares])
            axis.set_ticks([], minor=True)
        axes.set_xlabel("share of others wrongly taken for such")
        axes.set_ylabel("share found")
    return panel.svg
