"""What was found by a watch, as a page."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from danlu.evaluate.histograms import Drift, Histogram
from danlu.evaluate.intervals import figure
from danlu.explained.page import boxes, framed
from danlu.report.svg import BLUE, GREY, ORANGE, Panel

if TYPE_CHECKING:
    from danlu.watch.monitor import Monitored

__all__ = ["page"]

_DRAWN = 12


def page(title: str, found: Monitored) -> str:
    """The alarms, the parts in time, a table of everything that is watched, and histograms of what has changed most."""
    return framed(title, boxes(list(_parts(found))))


def _parts(found: Monitored) -> Iterator[tuple[str, str]]:
    items = "".join(f'<p class="doubt">{html.escape(each)}</p>' for each in found.alarms)
    notes = "".join(f'<p class="note">{html.escape(each)}</p>' for each in found.notes)
    yield "What has changed", f"<p>{html.escape(found.summary)}</p>{items}{notes}"
    if len(found.parts) > 1:
        yield "In the course of time", _course(found)
    shown = [each for each in found.drift if each.enough][:_DRAWN]
    if shown:
        drawn = "".join(f"<div>{_histogram(each)}</div>" for each in shown)
        yield (
            "Then and now",
            '<p class="note">Grey: the training. Blue: now; orange where the change is more than chance and large enough to matter.</p>'
            f'<div class="figures">{drawn}</div>',
        )
    rows = "".join(_row(each) for each in found.drift)
    yield (
        "Everything that is watched",
        '<div class="scroll"><table><tr><th></th><th>PSI</th><th>distance</th><th>by chance</th><th>what differs most</th></tr>'
        f"{rows}</table></div>"
        '<p class="note">PSI: below 0.1 small, from 0.25 large; what chance gives is taken off. By chance: how likely as much is '
        "without any change, for all of them together.</p>",
    )


def _row(each: Drift) -> str:
    numbers = "".join(f'<td class="n">{figure(value, 2)}</td>' for value in (each.psi, each.distance, each.chance))
    name = html.escape(each.name)
    shown = f"<b>{name}</b>" if each.sure else name
    return f'<tr><td translate="no">{shown}</td>{numbers}<td>{html.escape(each.said)}</td></tr>'


def _course(found: Monitored) -> str:
    places = np.arange(len(found.parts))
    labels = [part.label for part in found.parts]
    figures = []
    with Panel("largest PSI of each part") as (panel, axes):
        axes.plot(places, [part.psi for part in found.parts], color=BLUE, marker="o", ms=3)
        axes.axhline(0.1, color=GREY, ls=":")
        axes.set_ylim(bottom=0)
        panel.told(
            places.tolist(),
            [part.psi for part in found.parts],
            [f"{p.label}: {p.of}, {p.psi:.2f}" for p in found.parts],
        )
        _ticks(axes, labels)
    figures.append(panel.svg)
    scored = [(place, part.score) for place, part in enumerate(found.parts) if part.score is not None]
    if scored:
        with Panel(f"{found.label} of each part") as (panel, axes):
            x = [place for place, _ in scored]
            values = [score.value for _, score in scored]
            ends = [
                [score.value - score.low if score.known else 0.0 for _, score in scored],
                [score.high - score.value if score.known else 0.0 for _, score in scored],
            ]
            axes.errorbar(x, values, yerr=ends, color=BLUE, marker="o", ms=3, lw=1.2, elinewidth=1)
            if np.isfinite(found.expected):
                axes.axhline(found.expected, color=GREY, ls=":")
            panel.told(x, values, [f"{labels[place]}: {score.brief}" for place, score in scored])
            _ticks(axes, labels)
        figures.append(panel.svg)
    drawn = "".join(f"<div>{each}</div>" for each in figures)
    return f'<div class="figures">{drawn}</div><p class="note">Dotted: a PSI of 0.1; the score of the test after the training.</p>'


def _ticks(axes: object, labels: list[str]) -> None:
    every = sorted({0, len(labels) // 2, len(labels) - 1})
    axes.set_xticks(every, [labels[place] for place in every], fontsize=7)  # type: ignore[attr-defined]


def _histogram(each: Drift) -> str:
    with Panel(each.name, height=2.0) as (panel, axes):
        names, before, now = _bars(each.before, each.now)
        x = np.arange(len(names))
        color = ORANGE if each.sure else BLUE
        axes.bar(x, before, width=0.85, color=GREY, alpha=0.45)
        axes.bar(x, now, width=0.45, color=color, alpha=0.85)
        some = sorted({0, len(names) // 2, len(names) - 1})
        axes.set_xticks(some, [names[place][:14] for place in some], fontsize=7)
        axes.set_ylabel("share")
        tops = [max(pair) for pair in zip(before, now, strict=True)]
        texts = [f"{n}: {b:.1%} → {c:.1%}" for n, b, c in zip(names, before, now, strict=True)]
        panel.told(list(x), tops, texts)
    return panel.svg


def _bars(before: Histogram, now: Histogram) -> tuple[list[str], list[float], list[float]]:
    """At most sixteen bars: levels, or neighbouring bins together, and the missing ones."""
    pair = np.stack([before.counts, now.counts]).astype(float)
    if before.edges is None:
        names = [*before.levels, "others"]
        order = np.argsort(-pair.sum(0), kind="stable")[:15]
        names, pair = [names[place] for place in order], pair[:, order]
    else:
        edges = before.edges
        names = [
            f"< {figure(edges[0], 3)}",
            *(f"{figure(low, 3)} …" for low in edges[:-1]),
            f"> {figure(edges[-1], 3)}",
        ]
        inner = np.array_split(np.arange(1, pair.shape[1] - 1), min(13, max(pair.shape[1] - 2, 1)))
        groups = [np.array([0]), *[each for each in inner if len(each)], np.array([pair.shape[1] - 1])]
        names = [names[group[0]] for group in groups]
        pair = np.stack([pair[:, group].sum(1) for group in groups], axis=1)
        keep = pair.sum(0) > 0
        names, pair = [name for name, kept in zip(names, keep, strict=True) if kept], pair[:, keep]
    if before.missing or now.missing:
        names, pair = [*names, "missing"], np.concatenate([pair, [[before.missing], [now.missing]]], axis=1)
    shares = pair / np.maximum([[len(before)], [len(now)]], 1)
    return names, shares[0].tolist(), shares[1].tolist()
