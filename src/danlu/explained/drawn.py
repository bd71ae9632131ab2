"""Attributions as the pictures that people know: waterfall, force, beeswarm, dependence."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from danlu.errors import ConfigError, unknown_name
from danlu.evaluate.intervals import figure
from danlu.explained.view import fewest, signed
from danlu.report.svg import BLUE, GREY, INK, ORANGE, Panel, short

if TYPE_CHECKING:
    from danlu.explained.answer import Explained, Part

__all__ = ["beeswarm", "columns_of", "dependence", "drawable", "force", "waterfall"]

_WIDE = 4.4  # inches: two beside each other fill a page, one a phone
_MOST = 12  # columns of a beeswarm
_BINS = 80  # along a beeswarm, in which dots are stacked
_HALF, _STEP = 0.42, 0.1  # of a line of a beeswarm, and between dots there
_LEVELS = 12  # values of a column that are shown by name
_FEW = 8  # numbers that are
_NAMED = 0.06  # share of a force bar from which a part has a name below it


def waterfall(found: Explained) -> Panel:
    """From the base to the score of one row: a bar for each part, the largest at the top; Lundberg's waterfall plot."""
    shown, rest = fewest(found.parts)
    names = [_named(part, 22) for part in shown] + ([f"{len(rest)} others"] if rest else [])
    sizes = [part.added for part in shown] + ([sum(part.added for part in rest)] if rest else [])
    errors = [part.error for part in shown] + ([0.0] if rest else [])
    begun, lefts = found.value, []
    for size in sizes:  # from the top: the row's score, then back towards the base
        begun -= size
        lefts.append(begun)
    with Panel(found.scored, width=_WIDE, height=0.9 + 0.27 * len(sizes)) as (panel, axes):
        for place, (size, left, error) in enumerate(zip(sizes, lefts, errors, strict=True)):
            axes.barh(place, size, left=left, color=_colour(size), height=0.62)
            end = max(left, left + size)
            axes.annotate(
                signed(size), (end, place), (3, 0), textcoords="offset points", va="center", fontsize=8, color=INK
            )
            if error:
                axes.errorbar(left + size, place, xerr=error, color=INK, lw=1)
        axes.axvline(found.base, color=GREY, lw=0.8, ls=":")
        axes.axvline(found.value, color=INK, lw=0.8)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.margins(x=0.14)
        axes.grid(axis="y", visible=False)
        panel.figure.supxlabel(_ends(found), fontsize=8, color=INK)
        panel.told(
            [left + size / 2 for left, size in zip(lefts, sizes, strict=True)],
            list(range(len(sizes))),
            [f"{name}: {signed(size)}" for name, size in zip(names, sizes, strict=True)],
            size=13,
        )
    return panel


def force(found: Explained) -> Panel:
    """One bar for one row: what pushed its score up, from the left, meets what pushed it down, from the right; Lundberg's force plot."""
    ups = sorted((part for part in found.parts if part.added > 0), key=lambda part: -part.added)
    downs = sorted((part for part in found.parts if part.added < 0), key=lambda part: part.added)
    whole = sum(abs(part.added) for part in found.parts) or 1.0
    with Panel(f"{found.scored}: {figure(found.value)}", width=_WIDE, height=1.75) as (panel, axes):
        most = 0  # lines below the bar that names of either side take, the outer ones above: no line crosses a name
        for sign, parts in ((1, ups), (-1, downs)):
            end = found.value
            named = [part for part in parts if abs(part.added) > _NAMED * whole][:3]
            most = max(most, len(named))
            for place, part in enumerate(parts):
                start, size = end - part.added, abs(part.added)
                tip = min(0.012 * whole, size)  # each points to where it pushes
                outline = [
                    (start, 1), (end - sign * tip, 1), (end, 0.5), (end - sign * tip, 0), (start, 0), (start + sign * tip, 0.5),
                ]  # fmt: skip
                if place == len(parts) - 1:
                    outline = outline[:-1]
                axes.fill(
                    *zip(*outline, strict=True), color=_colour(part.added), alpha=0.95 if place % 2 == 0 else 0.7, lw=0
                )
                if place < len(named):
                    middle, low = (start + end) / 2, -0.35 - 0.5 * (len(named) - 1 - place)
                    axes.plot([middle, middle], [0, low + 0.12], color=GREY, lw=0.6)
                    axes.text(
                        middle, low, f"{_named(part, 14)} ({signed(part.added, 2)})", fontsize=7.5, color=INK,
                        ha="right" if sign > 0 else "left", va="center",
                    )  # fmt: skip
                panel.told([(start + end) / 2], [0.5], [f"{_named(part, 30)}: {signed(part.added)}"], size=14)
                end = start
        axes.plot([found.value] * 2, [-0.05, 1.3], color=INK, lw=1.2)
        axes.text(
            found.value, 1.4, f"this row: {figure(found.value, 3)}", ha="center", va="bottom", fontsize=8, color=INK
        )
        axes.plot([found.base] * 2, [-0.05, 1.05], color=INK, lw=0.8, ls=":")
        panel.figure.supxlabel(_ends(found), fontsize=8, color=INK)
        axes.set_ylim(-0.45 - 0.5 * max(most, 1), 2.1)
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.spines["left"].set_visible(False)
        axes.margins(x=0.2)
    return panel


def columns_of(each: Sequence[Explained]) -> list[str]:
    """The columns of some explained rows, those that add most in the mean first.

    Raises:
        ConfigError: rows without columns in common, such as texts, or less than two of them.
    """
    if len(each) < 2 or any([part.name for part in one.parts] != [part.name for part in each[0].parts] for one in each):
        raise ConfigError(
            f"{len(each)} explained rows with parts of their own have no picture together; expected two or more rows of a table"
        )
    mean = np.abs(_added(each)).mean(axis=0)
    return [each[0].parts[place].name for place in np.argsort(-mean, kind="stable")]


def drawable(each: Sequence[Explained], column: str) -> bool:
    """Whether the values of a column can be laid out along an axis: they have an order, or are few."""
    own = [next(part for part in one.parts if part.name == column) for one in each]
    return any(math.isfinite(part.number) for part in own) or len({part.value for part in own}) <= _LEVELS


def beeswarm(each: Sequence[Explained]) -> Panel:
    """A dot for each row and column: how far to the right what it added, how orange how high its value is; Lundberg's summary plot.

    Raises:
        ConfigError: rows that are not of one table.
    """
    added, numbers = _added(each), _numbers(each)
    names = [part.name for part in each[0].parts]
    shown = [names.index(name) for name in columns_of(each)][:_MOST]
    low, high = added[:, shown].min(initial=0.0), added[:, shown].max(initial=0.0)
    with Panel(f"What each column added, in {len(each):,} rows", width=_WIDE, height=1.0 + 0.36 * len(shown)) as (
        panel,
        axes,
    ):
        axes.axvline(0, color=GREY, lw=0.8)
        for line, column in enumerate(shown):
            along = added[:, column]
            up = line + _stacked(np.floor((along - low) / max(high - low, 1e-300) * (_BINS - 1)))
            dots = axes.scatter(
                along, up, s=9, c=_shades(_levels(numbers[:, column])), linewidths=0, alpha=0.9, clip_on=False
            )
            told = [
                f"{one.row}: {_named(one.parts[column], 30)}, {signed(float(value))}"
                for one, value in zip(each, along, strict=True)
            ]
            panel.says(dots, told)
        axes.set_yticks(range(len(shown)), [short(names[column], 24) for column in shown])
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("added to the score")
        _key(panel, "value")
    return panel


def dependence(each: Sequence[Explained], column: str, *, by: str | None = None) -> Panel:
    """What a column added, above its value, a dot a row; the colour is another column's value. Lundberg's dependence plot.

    Args:
        by: the column that colours the dots; None colours none.

    Raises:
        ConfigError: rows that are not of one table, or a column that it has not.
    """
    names = columns_of(each)
    for name in (column, *([by] if by else [])):
        if name not in names:
            raise unknown_name("column", name, names)
    own = [next(part for part in one.parts if part.name == column) for one in each]
    added = np.array([part.added for part in own])
    x, ticks = _along(own)
    colours: list[str] = [BLUE] * len(own)
    if by:
        others = [next(part for part in one.parts if part.name == by) for one in each]
        colours = _shades(_levels(np.array([part.number for part in others])))
    with Panel(f"What {short(column, 30)} added", width=_WIDE, height=2.7) as (panel, axes):
        axes.axhline(0, color=GREY, lw=0.8)
        dots = axes.scatter(x, added, s=11, c=colours, linewidths=0, alpha=0.85, clip_on=False)
        told = [f"{one.row}: {_named(part, 30)}, {signed(part.added)}" for one, part in zip(each, own, strict=True)]
        if by:
            told = [f"{text}; {_named(part, 30)}" for text, part in zip(told, others, strict=True)]
        panel.says(dots, told)
        if ticks:
            slant = {"rotation": 30, "ha": "right"} if len(ticks) > 4 else {}
            axes.set_xticks(list(ticks), [short(name, 14) for name in ticks.values()], **slant)
        axes.set(xlabel=short(column, 40), ylabel="added to the score")
        if by:
            _key(panel, short(by, 14))
    return panel


def _ends(found: Explained) -> str:
    return f"dotted: {figure(found.base)}, {short(found.against, 44)}\nline: {figure(found.value)}, this row"


def _key(panel: Panel, of: str) -> None:
    """What the colours of dots are, below the axes."""
    from matplotlib.lines import Line2D

    told = {f"low {of}": BLUE, f"high {of}": ORANGE, "no order, or missing": GREY}
    dots = [Line2D([], [], ls="", marker="o", ms=4, color=colour, label=name) for name, colour in told.items()]
    panel.figure.legend(
        handles=dots, loc="outside lower center", ncols=3, fontsize=8, handletextpad=0.1, columnspacing=1
    )


def _named(part: Part, letters: int) -> str:
    return f"{short(part.name, letters)} = {short(part.value, letters)}" if part.value else short(part.name, letters)


def _colour(added: float) -> str:
    return ORANGE if added > 0 else BLUE


def _added(each: Sequence[Explained]) -> np.ndarray:
    return np.array([[part.added for part in one.parts] for one in each])  # (rows, columns)


def _numbers(each: Sequence[Explained]) -> np.ndarray:
    return np.array([[part.number for part in one.parts] for one in each])  # (rows, columns)


def _levels(numbers: np.ndarray) -> np.ndarray:
    """How high each number is among them, 0 to 1 by its rank; NaN stays.

    >>> _levels(np.array([5.0, 1.0, np.nan, 900.0])).tolist()
    [0.5, 0.0, nan, 1.0]
    """
    known = np.isfinite(numbers)
    found = np.full(len(numbers), np.nan)
    values, place = np.unique(numbers[known], return_inverse=True)
    if len(values):
        found[known] = place / max(len(values) - 1, 1)
    return found


def _shades(levels: np.ndarray) -> list[str]:
    """From blue by purple to orange; grey where there is no level."""
    from matplotlib.colors import LinearSegmentedColormap, to_hex

    scale = LinearSegmentedColormap.from_list("levels", [BLUE, "#9a5a9c", ORANGE])
    return [to_hex(scale(level)) if np.isfinite(level) else GREY for level in levels]


def _stacked(bins: np.ndarray) -> np.ndarray:
    """How far from its line each dot stands, so that dots of one bin do not hide each other.

    >>> _stacked(np.array([0, 0, 0, 4])).tolist()
    [0.0, 0.1, -0.1, 0.0]
    """
    place = np.zeros(len(bins))
    for value in np.unique(bins):
        own = np.flatnonzero(bins == value)
        order = np.arange(len(own))
        place[own] = np.where(order % 2, 1, -1) * ((order + 1) // 2)
    most = np.abs(place).max(initial=0)
    return place * min(_HALF / most, _STEP) if most else place


def _along(parts: Sequence[Part]) -> tuple[np.ndarray, dict[float, str]]:
    """Where each row stands along the axis, and the names of the places where they have some."""
    numbers = np.array([part.number for part in parts])
    known = np.isfinite(numbers)
    plain = all(_is_number(part.value) for part, is_known in zip(parts, known, strict=True) if is_known)
    if known.any():
        names = {
            float(number): part.value
            for number, part in zip(numbers[known], itertools.compress(parts, known), strict=True)
        }
        low, high = min(names), max(names)
        apart = low - 0.08 * ((high - low) or 1.0)  # where those stand that have no value
        if len(names) <= _FEW or not plain:
            some = np.linspace(0, len(names) - 1, min(len(names), _FEW if plain else 5)).round().astype(int)
            ticks = {value: names[value] for place, value in enumerate(sorted(names)) if place in some}
        else:
            ticks = (
                {} if known.all() else {float(value): figure(float(value), 3) for value in np.linspace(low, high, 4)}
            )
        return np.where(known, numbers, apart), ticks if known.all() else {apart: "missing", **ticks}
    counts: dict[str, int] = {}
    for part in parts:
        counts[part.value] = counts.get(part.value, 0) + 1
    kept = sorted(counts, key=lambda value: -counts[value])[:_LEVELS]
    where = {value: float(place) for place, value in enumerate(kept)}
    others = len(kept)
    spread = 0.28 * np.sin(np.arange(len(parts)) * 2.399963)  # beside each other, the same at each drawing
    x = np.array([where.get(part.value, others) for part in parts]) + spread
    names = {place: value for value, place in where.items()}
    return x, names | ({float(others): "others"} if len(counts) > len(kept) else {})


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "").replace("−", "-"))
    except ValueError:
        return False
    return True
