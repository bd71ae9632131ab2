"""The report's part about an agent: a film, its values and action probabilities in an episode, its learning curve, its worst episodes."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from danlu.evaluate.reliability import learning_curve
from danlu.evaluate.sample import Sample
from danlu.prose import percent
from danlu.report.svg import BLUE, GREEN, GREY, ORANGE, Panel
from danlu.rl.environment import Environment
from danlu.rl.evaluation import Episodes
from danlu.rl.recording import RecordedEpisode

__all__ = ["agent_sections", "film_html"]

_WIDE = 5.1  # inches: two panels a line
_LINES = 4  # curves of one panel at most
_SHOWN = 100  # steps of what it leaned to, which may change at each
_PICTURES = 150  # of a film at most


def agent_sections(
    trained: Any, history: Sequence[Mapping[str, Any]], played: Any, others: Mapping[str, Episodes] | None = None
) -> list[tuple[str, str]]:
    """The sections of a report: titles and HTML.

    Args:
        trained: the model.
        history: a row an evaluation.
        played: the test's episodes, a frame with the columns ``return``, ``length`` and ``terminated``; or None.
        others: of an environment with costs, the episodes of the test by who played them, the agent's first.
    """
    recording, env = trained.record(seed=_FILMED, pictures=_PICTURES), trained.head.env
    found = [("One episode", film_html(recording) + _figures(_output_plots(recording)))]
    if history and "val_return" in history[0]:  # not of an agent that learnt from another one's answers
        found.append(("How it learnt", _figures(_curves(history, env.solved))))
    if played is not None:
        found.append(("Where it fails", _failures(env, played)))
        if env.costs and others:
            found.append(("Failures by kind", _by_kind(env, others)))
    return found


_FILMED = 7_000_001  # the seed of the film's episode


def film_html(recording: RecordedEpisode) -> str:
    """The film and a sentence on how the episode went; the sentence alone without pictures."""
    steps = len(recording.rewards)
    end = "the environment ended it" if recording.terminated else "time was up"
    said = f"<p class='note'>An episode of its likeliest actions: {steps:,} steps, return {recording.score:.4g}; {end}.</p>"
    if not recording.frames:
        return said + "<p class='note'>The environment cannot draw itself.</p>"
    shown = max(1, round(50 * steps / max(len(recording.frames), 1) / 2))
    data = base64.b64encode(recording.gif(milliseconds=min(max(shown, 40), 400))).decode()
    wide = min(420, 2 * recording.frames[0].shape[1])
    return (
        f"<img src='data:image/gif;base64,{data}' alt='the agent acting' style='width: {wide}px; max-width: 100%; "
        f"border-radius: 8px; border: 1px solid #0002; image-rendering: pixelated'>{said}"
    )


def _output_plots(recording: RecordedEpisode) -> list[str]:
    """Value, actions and what it leaned to along the episode."""
    steps = np.arange(1, len(recording.rewards) + 1)
    figures = []
    value = recording.outputs.get("value")
    if value is not None:
        with Panel("Expected return", width=_WIDE) as (panel, axes):
            axes.plot(steps, value, color=BLUE, label="its value")
            axes.set_xlabel("step")
            axes.set_ylabel("discounted return")
        figures.append(panel.svg)
    actions = np.asarray(recording.actions)
    flat = actions.reshape(len(actions), -1)[:, :_LINES]
    with Panel("What it did", width=_WIDE) as (panel, axes):
        for column, colour in zip(range(flat.shape[1]), (BLUE, ORANGE, GREEN, GREY), strict=False):
            discrete = np.issubdtype(flat.dtype, np.integer)
            style: dict[str, Any] = {"ls": "", "marker": "|", "ms": 7} if discrete else {"lw": 1.2}
            axes.plot(
                steps, flat[:, column], color=colour, label=f"action {column}" if flat.shape[1] > 1 else None, **style
            )
        if np.issubdtype(flat.dtype, np.integer):
            axes.yaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel("step")
        axes.set_ylabel("action")
        if flat.shape[1] > 1:
            axes.legend(fontsize=8)
    figures.append(panel.svg)
    leaning = recording.outputs.get("probabilities")
    name = "How certain it was"
    if leaning is None:
        leaning, name = recording.outputs.get("values"), "Its value of each action"
    if leaning is not None and leaning.ndim == 2:
        with Panel(name, width=_WIDE) as (panel, axes):
            for column, colour in zip(range(leaning.shape[1]), (BLUE, ORANGE, GREEN, GREY), strict=False):
                axes.plot(steps[:_SHOWN], leaning[:_SHOWN, column], color=colour, lw=1, label=f"action {column}")
            axes.set_xlabel("step")
            axes.legend(fontsize=8)
        figures.append(panel.svg)
    return figures


def _curves(history: Sequence[Mapping[str, Any]], solved: float | None) -> list[str]:
    """The return against steps (or updates from a recording) and seconds; of several seeds the evaluations' IQM with its interval."""
    seconds = np.cumsum([row["seconds"] for row in history])
    acted = "frames" in history[0]
    taken = np.array([row["frames" if acted else "step"] for row in history])
    each = [row.get("val_return_each") for row in history]
    figures = []
    for title, along, label in (
        ("Return against steps", taken, "steps in the environment")
        if acted
        else ("Return against updates", taken, "updates"),
        ("Return against time", seconds, "seconds"),
    ):
        with Panel(title, width=_WIDE) as (panel, axes):
            if acted:
                axes.plot(along, [row["return"] for row in history], color=BLUE, label="in training")
            if None in each:
                axes.plot(
                    along, [row["val_return"] for row in history], color=ORANGE, ls="--", label="likeliest actions"
                )
            else:
                band = learning_curve(along, np.array(each).T)
                axes.fill_between(along, band.low, band.high, color=ORANGE, alpha=0.25, lw=0)
                axes.plot(along, band.value, color=ORANGE, ls="--", label="likeliest actions, IQM of the seeds")
            if solved is not None:
                axes.axhline(solved, color=GREY, lw=1, ls=":", label=f"solved ({solved:g})")
            axes.set_xlabel(label)
            axes.legend(fontsize=8)
        figures.append(panel.svg)
    return figures


def _failures(env: Environment, played: Any) -> str:
    """The spread of the test's returns, and its worst episodes."""
    returns = played["return"].to_numpy()
    with Panel("Returns of the test episodes", width=_WIDE) as (panel, axes):
        axes.hist(returns, bins=min(30, max(5, len(np.unique(returns)))), color=BLUE)
        axes.set_xlabel("return")
        axes.set_ylabel("episodes")
    worst = played.sort("return").head(5)
    rows = "".join(
        f"<tr><td class='n'>{row['episode']}</td><td class='n'>{row['return']:.4g}</td><td class='n'>{row['length']:,}</td>"
        f"<td>{'the environment ended it' if row['terminated'] else 'time was up'}</td></tr>"
        for row in worst.iter_rows(named=True)
    )
    head = "<tr><th class='n'>episode</th><th class='n'>return</th><th class='n'>steps</th><th>how it ended</th></tr>"
    solved = env.solved
    said = ""
    if solved is not None:
        share = float((returns >= solved).mean())
        said = f"<p>{percent(share)} of the episodes reach {solved:g}, from which {html.escape(str(env.id))} counts as solved.</p>"
    table = f"<h3>The worst</h3><div class='scroll'><table>{head}{rows}</table></div>"
    return f"{said}<div class='sides'><div>{panel.svg}</div><div>{table}</div></div>"


def _by_kind(env: Environment, played: Mapping[str, Episodes]) -> str:
    """For each kind of cost: in what share of the episodes it was met, and what it cost an episode, of the agent and of the others;
    and a picture."""

    def row(kind: str, name: str, cost: np.ndarray) -> str:
        share = Sample(cost > 0, "share_of_rows").interval()
        mean = Sample(cost, "episode_cost").interval()
        low, high = (f"{100 * end:.0f}" for end in (share.low, share.high))
        between = f" ({mean.low:.4g} to {mean.high:.4g})" if mean.known else ""
        return (
            f"<tr><td>{html.escape(kind.replace('_', ' '))}</td><td>{html.escape(name)}</td>"
            f"<td class='n'>{percent(share.value)} ({low} to {high})</td><td class='n'>{mean.value:.4g}{between}</td></tr>"
        )

    rows = "".join(row(kind, name, each.costs[kind]) for kind in env.costs for name, each in played.items())
    head = "<tr><th>kind</th><th>who</th><th class='n'>episodes with it</th><th class='n'>cost an episode</th></tr>"
    table = f"<div class='scroll'><table>{head}{rows}</table></div>"
    own = next(iter(played.values()))
    pictures = "".join(
        _picture(picture, kind.replace("_", " "))
        for kind, state in own.moments.items()
        if (picture := env.frame(state)) is not None
    )
    said = (
        "<p class='note'>Of the test's episodes, with intervals of 95 %. A picture shows the moment before the agent's first "
        "failure of its kind.</p>"
    )
    return f"{table}{said}<div class='figures'>{pictures}</div>"


def _picture(picture: np.ndarray, name: str) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode()
    wide = min(420, 2 * picture.shape[1])
    return (
        f"<div><h3>{html.escape(name)}</h3><img src='data:image/png;base64,{data}' alt='{html.escape(name)}' style='width: {wide}px; "
        "max-width: 100%; border-radius: 8px; border: 1px solid #0002; image-rendering: pixelated'></div>"
    )


def _figures(figures: Sequence[str]) -> str:
    return (
        "<div class='figures' style='margin-top: 14px'>" + "".join(f"<div>{each}</div>" for each in figures) + "</div>"
    )
