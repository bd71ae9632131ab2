"""A search as people see it: the table on the terminal, and the report's part on what was tried and what mattered."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from danlu.evaluate import MEASURES
from danlu.evaluate.intervals import figure
from danlu.pipeline.space import written
from danlu.tuning.study import Told

if TYPE_CHECKING:
    from danlu.tuning.tuned import Tuned

__all__ = ["best_first", "sections_of", "table_of"]

_SHOWN, _LISTED = 5, 40
_WIDTH, _HEIGHT = 160, 14


def best_first(trials: Sequence[Told], *, higher: bool) -> list[Told]:
    """The trials that have a score: those that went furthest first, of these the best."""
    sign = -1.0 if higher else 1.0
    scored = [each for each in trials if each.score is not None]
    return sorted(scored, key=lambda each: (each.state != "complete", sign * (each.score or 0.0), each.number))


def _label(metric: str) -> str:
    return MEASURES[metric].label if metric in MEASURES else metric


def table_of(trials: Sequence[Told], metric: str, *, higher: bool, most: int = _SHOWN) -> Any:
    """The best trials as a table for the terminal."""
    from rich.table import Table
    from rich.text import Text

    best = best_first(trials, higher=higher)[:most]
    table = Table(box=None, pad_edge=False)
    names = list(best[0].values) if best else []
    for title in ("trial", _label(metric), "epochs", *(name.rsplit(".", 1)[-1] for name in names)):
        table.add_column(title, justify="right")
    for each in best:
        cells = [str(each.number + 1), figure(each.score or 0.0), str(max(each.scores))]
        table.add_row(*(Text(cell) for cell in (*cells, *(written(each.values[name]) for name in names))))
    return table


def sections_of(tuned: Tuned) -> list[tuple[str, str]]:
    """The report's part on a search: what mattered, how the best came about, and the trials."""
    from danlu.report.svg import BLUE, GREY, Panel

    higher = tuned.metric in MEASURES and MEASURES[tuned.metric].higher_is_better
    label = html.escape(_label(tuned.metric))
    sections = []
    if tuned.importances:
        largest = max(tuned.importances.values()) or 1.0
        lines = "".join(
            f'<tr><td class="name">{html.escape(name)}</td><td class="n">{share:.0%}</td><td>'
            f'<svg class="bars" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" aria-hidden="true">'
            f'<rect x="0" y="2" width="{_WIDTH * share / largest:.1f}" height="{_HEIGHT - 4}"/></svg></td></tr>'
            for name, share in tuned.importances.items()
        )
        note = (
            f"The share of the differences in {label} between trials that each setting accounts for, in the ranges that were searched, by "
            "the scores after the first epochs (functional analysis of variance over a forest)."
        )
        table = f'<div class="scroll"><table><tr><th>setting</th><th class="n">share</th><th></th></tr>{lines}</table></div>'
        sections.append(("What mattered in the search", f'{table}<p class="note">{note}</p>'))
    scored = [each for each in tuned.trials if each.score is not None]
    with Panel(f"{_label(tuned.metric)} of the trials", width=6.7) as (panel, axes):
        for state, colour, said in (("stopped", GREY, "stopped early"), ("complete", BLUE, "trained to the end")):
            own = [each for each in scored if each.state == state]
            if own:
                axes.plot(
                    [each.number + 1 for each in own], [each.score for each in own], "o", ms=4, color=colour, label=said
                )
        complete = [each for each in scored if each.state == "complete"]
        reached: list[float] = []
        for each in complete:
            reached.append((max if higher else min)([*reached[-1:], each.score or 0.0]))
        axes.step([each.number + 1 for each in complete], reached, where="post", color=BLUE, lw=1)
        axes.set_xlabel("trial")
        axes.legend(fontsize=8)
    names = list(tuned.settings)
    head = "".join(f'<th class="n">{html.escape(name)}</th>' for name in names)
    rows = "".join(
        f'<tr><td class="n">{each.number + 1}</td><td class="n">{figure(each.score or 0.0)}</td><td class="n">{max(each.scores)}</td>'
        + "".join(f'<td class="n">{html.escape(written(each.values[name]))}</td>' for name in names)
        + "</tr>"
        for each in best_first(tuned.trials, higher=higher)[:_LISTED]
    )
    lost = len(tuned.trials) - len(scored)
    more = f" {lost} trials have no score: their loss was not finite, or they have not ended." if lost else ""
    note = (
        f"{len(tuned.trials)} trials in {tuned.seconds:.0f} s, those trained to the end first. The score is that of answers for training "
        f"rows that the answering network did not learn from; the best of many such scores is a little too good; the test's is not.{more}"
    )
    table = (
        f'<div class="scroll long"><table><tr><th class="n">trial</th><th class="n">{label}</th><th class="n">epochs</th>{head}</tr>'
        f"{rows}</table></div>"
    )
    command = f"<pre>{html.escape(tuned.command)}</pre>"
    sections.append(("The search", f'{panel.svg}{table}<p class="note">{html.escape(note)}</p>{command}'))
    return sections
