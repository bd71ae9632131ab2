"""The page of a comparison of runs: one HTML file that needs nothing but a browser."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from danlu.evaluate import MEASURES
from danlu.evaluate.intervals import figure
from danlu.evaluate.sides import Pair
from danlu.evaluate.usual import usual
from danlu.report.html import rendered
from danlu.report.plots import rate_plot
from danlu.report.svg import BLUE, GREEN, ORANGE, Panel, short

if TYPE_CHECKING:
    from danlu.report.compared import Compared, ComparedRun

__all__ = ["compared_page", "compared_parts"]

_COLOURS = (BLUE, ORANGE, GREEN)
_VERDICTS = {"better": "{0} is better", "worse": "{1} is better", "undecided": "cannot be told"}


def compared_page(found: Compared) -> str:
    """The page as text; whatever comes from the user's data is escaped."""
    return rendered("compared.html.jinja", **compared_parts(found), curves=_curves(found.runs))


def compared_parts(found: Compared) -> dict[str, Any]:
    """What the parts of the page show that say what the tests tell, which settings differ, and what the runs took."""
    names = [pair.primary for pair in found.pairs if pair.measures]
    primary = names[0] if names else ""
    shown = {run.name: run.scores[primary] for run in found.runs if primary in run.scores}
    scores = [(_label(name), [_cells(run, name) for run in found.runs]) for name in found.measures]
    effort = dict.fromkeys(what for run in found.runs for what in run.effort)
    sentences = {pair.sentence for pair in found.pairs}
    return {
        "found": found,
        "picture": rate_plot(shown, f"{_label(primary)}, with 95 % intervals") if len(shown) > 1 else "",
        "said": [each for each in found.said if each not in sentences],
        "scores": scores,
        "tables": [_table(pair) for pair in found.pairs if pair.measures],
        "settings": found.settings_in_words,
        "effort": [(what, [run.effort.get(what, "–") for run in found.runs]) for what in effort],
    }


def _label(name: str) -> str:
    return MEASURES[name].label if name in MEASURES else name


def _cells(run: ComparedRun, name: str) -> tuple[str, str]:
    score = run.scores.get(name)
    return ("–", "") if score is None else (figure(score.value), score.between)


def _table(pair: Pair) -> dict[str, Any]:
    rows = []
    first = usual(pair.primary, pair.measures)
    for name in (*first, *(name for name in pair.measures if name not in first)):
        each = pair.measures[name]
        verdict = _VERDICTS[each.verdict].format(pair.first, pair.second) if pair.how != "other data" else "other data"
        ends = each.difference.between
        rows.append((_label(name), figure(each.difference.value, 3), ends, verdict))
    how = {
        "paired": f"Row by row, on the {pair.rows:,} test rows that both have.",
        "unpaired": f"From the interval of each: {pair.why}."
        if pair.why
        else "The tests are independent of each other.",
        "other data": f"No verdict: {pair.why}.",
    }
    return {
        "title": f"{pair.first} and {pair.second}",
        "first": pair.first,
        "second": pair.second,
        "level": f"{100 * pair.level:.3g}",
        "rows": rows,
        "how": how[pair.how],
    }


def _curves(runs: Sequence[ComparedRun]) -> list[str]:
    """The loss, and the measures that were watched, of all runs over their epochs."""
    histories = [[row for row in run.history if isinstance(row.get("epoch"), int)] for run in runs]
    columns = dict.fromkeys(
        name.removeprefix("val_")
        for rows in histories
        for name in (rows[0] if rows else ())
        if name == "loss" or (name.startswith("val_") and name != "val_loss" and not name.endswith("_each"))
    )
    names = ["loss"] * ("loss" in columns) + [name for name in columns if name != "loss"][:2]
    return [_curve(runs, histories, name) for name in names]


def _curve(runs: Sequence[ComparedRun], histories: Sequence[Sequence[Mapping[str, Any]]], name: str) -> str:
    with Panel(name.replace("_", " ").capitalize(), width=4.9, height=3.1) as (panel, axes):
        for run, rows, colour in zip(runs, histories, _COLOURS, strict=False):
            epochs = [row["epoch"] + 1 for row in rows]
            label = short(run.name, 24)
            for column, style in ((name, "-"), (f"val_{name}", "--")):
                values = [float(v) if isinstance(v := row.get(column), int | float) else math.nan for row in rows]
                if not any(map(math.isfinite, values)):
                    continue
                axes.plot(
                    epochs,
                    values,
                    color=colour,
                    ls=style,
                    label=label,
                    alpha=0.55 if style == "-" else 1,
                    marker="o" if len(rows) < 3 else "",
                    ms=4,
                )
                panel.tips(epochs, values, f"{run.name}, {'validation' if style == '--' else 'training'}, epoch")
                label = "_"
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(fontsize=8)
    return panel.svg
