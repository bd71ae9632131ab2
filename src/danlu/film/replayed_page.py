"""The page of a training brought back to an update: what the update did, and both futures where there are two."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from danlu.pipeline.branched import in_words
from danlu.report.compared_page import compared_parts
from danlu.report.html import rendered
from danlu.report.svg import BLUE, GREY, ORANGE, Panel, short

if TYPE_CHECKING:
    from danlu.film.replay import Replayed

__all__ = ["replayed_page"]

_EPOCHS = 12  # that are shown as numbers
_PAST = 0.3  # of the epochs after the update: so many before it are drawn

Rows = Sequence[Mapping[str, Any]]


def replayed_page(found: Replayed) -> str:
    """The page as text; whatever comes from the user's data is escaped."""
    moment, name = found.moment, found.run.name
    futures: list[tuple[str, Rows, int | None]] = [(name, found.history, None)]
    parts: Mapping[str, Any] = {"found": None}
    if found.compared is not None:
        futures = [(run.name, run.history, run.best_epoch) for run in found.compared.runs]
        parts = compared_parts(found.compared)
    several = len(moment.shares) > 1
    heads, epochs = _epochs(futures, moment.epoch) if len(futures) > 1 else ([], [])
    return rendered(
        "replayed.html.jinja",
        name=name,
        step=moment.step,
        lead=f"{found.run.path}"
        + (f"; from there on {in_words(found.settings)}" if found.compared is not None else ""),
        exact=found.exact,
        proof=found.proof.sentences,
        facts=found.facts(),
        rows=[] if found.numbers is None else found.numbers[0].tolist(),
        rows_title="Rows of the batch of the first network" if several else "Rows of the batch",
        hardest=[(row, f"{loss:.3g}") for row, loss in found.hardest()],
        curves=_curves(futures, moment.epoch, _place(found), float(np.mean(moment.learning_rate))),
        heads=heads,
        epochs=epochs,
        **parts,
    )


def _place(found: Replayed) -> float:
    """Where the update is on an axis of epochs, whose rows stand at their ends."""
    ends = {row["epoch"]: row["step"] for row in found.history if isinstance(row.get("step"), int)}
    epoch, step = found.moment.epoch, found.moment.step
    begun, ended = ends.get(epoch - 1, 0), ends.get(epoch)
    return epoch + (0.0 if not ended or ended <= begun else (step - begun) / (ended - begun))


def _measures(rows: Rows) -> list[str]:
    """The loss, and up to two measures of rows that are held out."""
    names = dict.fromkeys(name.removeprefix("val_") for name in (rows[0] if rows else ()) if name.startswith("val_"))
    shown = [name for name in names if name != "loss" and isinstance(rows[0][f"val_{name}"], int | float)][:2]
    return ["loss"] * bool(rows and ("loss" in rows[0] or "val_loss" in rows[0])) + shown


def _curves(futures: Sequence[tuple[str, Rows, int | None]], epoch: int, place: float, at: float) -> list[str]:
    rows = futures[0][1]
    rate = ["learning_rate"] * bool(rows and "learning_rate" in rows[0])
    return [
        *(_curve(futures, epoch, place, name) for name in _measures(rows)),
        *(_curve(futures, epoch, place, name, at) for name in rate),
    ]


def _curve(
    futures: Sequence[tuple[str, Rows, int | None]], epoch: int, place: float, name: str, at: float | None = None
) -> str:
    """The course of a measure; ``at``: what it was at the update, which lies between the ends of two epochs."""
    with Panel(name.replace("_", " ").capitalize(), width=4.9, height=3.1) as (panel, axes):
        for number, (whose, history, _) in enumerate(futures):
            first = (
                epoch - (at is None) if number else 0
            )  # the past is one; a rate may leap at the update, and no line leads there
            if len(futures) > 1:  # and as much of it is shown as leaves most of the room to the futures
                first = max(first, int(place - _PAST * (history[-1]["epoch"] + 1 - place)))
            rows = [row for row in history if row["epoch"] >= first]
            ends = [row["epoch"] + 1 for row in rows]
            label = short(whose, 24)
            for column, style in ((name, "-"), (f"val_{name}", "--")):
                values = [float(v) if isinstance(v := row.get(column), int | float) else math.nan for row in rows]
                if not any(map(math.isfinite, values)):
                    continue
                if at is not None and not number and style == "-":
                    ends, values = _with_point(ends, values, place, at)
                axes.plot(
                    ends,
                    values,
                    color=(BLUE, ORANGE)[number],
                    ls=style,
                    label=label,
                    alpha=0.55 if style == "-" and f"val_{name}" in rows[0] else 1,
                    marker="o" if len(rows) < 3 else "",
                    ms=4,
                )
                panel.tips(ends, values, f"{whose}, {'held out' if style == '--' else 'training'}, epoch")
                label = "_"
        axes.axvline(place, color=GREY, lw=1, ls=":")
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        if len(futures) > 1:
            axes.legend(fontsize=8)
    return panel.svg


def _with_point(xs: Sequence[float], ys: Sequence[float], x: float, y: float) -> tuple[list[float], list[float]]:
    """A line with one more point, which takes the place of one that is there already."""
    points = dict(sorted({**dict(zip(xs, ys, strict=True)), x: y}.items()))
    return list(points), list(points.values())


def _epochs(
    futures: Sequence[tuple[str, Rows, int | None]], epoch: int
) -> tuple[list[str], list[tuple[int, list[tuple[str, bool]]]]]:
    """The held-out rows' measures of both futures, from the epoch before the update on: the heads, and the cells of some epochs."""
    first = futures[0][1]
    names = [f"val_{name}" for name in _measures(first)[-2:] if first and f"val_{name}" in first[0]] or ["loss"]
    known = [{row["epoch"]: row for row in rows} for _, rows, _ in futures]
    each = list(range(max(epoch - 1, 0), 1 + max((max(of, default=0) for of in known), default=0)))
    keep = (
        set(each[:: -(-len(each) // _EPOCHS) or 1]) | {best for _, _, best in futures if best in each} | set(each[-1:])
    )
    heads = [
        f"{name.removeprefix('val_').replace('_', ' ')}: {short(whose, 24)}"
        for name in names
        for whose, _, _ in futures
    ]
    cells = []
    for number in sorted(keep):
        of_epoch = []
        for name in names:
            for (_, _, best), rows in zip(futures, known, strict=True):
                value = rows.get(number, {}).get(name)
                of_epoch.append((f"{value:.4g}" if isinstance(value, int | float) else "–", number == best))
        cells.append((number + 1, of_epoch))
    return heads, cells
