"""The pictures of a forecast: some of its windows, and how its error grows with the steps ahead."""

from __future__ import annotations

import html
from typing import Any

import numpy as np

from danlu.evaluate.forecast import Forecasts, by_step
from danlu.report.svg import BLUE, GREY, INK, ORANGE, Panel, short

__all__ = ["forecast_sections", "step_plot", "window_plot"]

_COLUMNS = 3  # that are drawn


def window_plot(
    title: str, past: np.ndarray, truth: np.ndarray, prediction: np.ndarray, band: np.ndarray | None
) -> str:
    """One forecast: the steps before it, what came, what was forecast, and the interval.

    Args:
        past: ``(steps,)`` before the forecast; steps count from its first one, 1.
        truth, prediction: ``(horizon,)``.
        band: ``(horizon, 2)``, low and high, or None.
    """
    before, after = np.arange(-len(past) + 1, 1), np.arange(1, len(truth) + 1)
    with Panel(title) as (panel, axes):
        axes.plot([*before, *after], [*past, *truth], color=INK, lw=1.1, label="what came")
        axes.axvline(0.5, color=GREY, lw=1, ls=":")
        if band is not None:
            axes.fill_between(after, band[:, 0], band[:, 1], color=BLUE, alpha=0.2, lw=0, label="interval")
        axes.plot(after, prediction, color=ORANGE, lw=1.6, label="forecast")
        axes.margins(y=0.2)  # room for the legend
        axes.legend(fontsize=7, loc="upper left", ncols=3, columnspacing=1, handlelength=1.2)
        axes.set(xlabel="step")
    return panel.svg


def step_plot(forecasts: Forecasts, name: str, label: str, *, level: float | None = None) -> str:
    """A measure at each step ahead; ``level`` is the value that it should have."""
    values = by_step(forecasts, name)
    with Panel(label) as (panel, axes):
        axes.plot(np.arange(1, len(values) + 1), values, color=BLUE, marker="o" if len(values) < 3 else "", ms=4)
        if level is not None:
            axes.axhline(level, color=GREY, lw=1, ls=":")
        axes.set(xlabel="steps ahead")
        axes.set_ylim(bottom=0, top=1.02 if level is not None else None)
    return panel.svg


def forecast_sections(forecasts: Forecasts, windows: Any, names: tuple[str, ...]) -> list[tuple[str, str]]:
    """The report's sections of a forecast.

    Args:
        forecasts: of the test windows.
        windows: the windows, see :class:`danlu.data.series.Windows`.
        names: of the columns.

    Returns:
        Titles and HTML.
    """
    levels = forecasts.levels
    share = levels[-1] - levels[0] if len(levels) > 1 else 0.0
    shown = []
    errors = np.square(forecasts.prediction - forecasts.truth).mean(axis=1)
    for channel, name in enumerate(names[:_COLUMNS]):
        order = np.argsort(errors[:, channel], kind="stable")
        for place, which in ((order[len(order) // 2], "a middling forecast"), (order[-1], "the worst")):
            shown.append(_window(forecasts, windows, int(place), channel, f"{short(name)}: {which}"))
    some = f" of the first {_COLUMNS} columns" if len(names) > _COLUMNS else ""
    text = f"<p>Of the test's forecasts{some}, the one with the middle error and the worst."
    text += f" The interval is to hold {share:.0%} of what comes.</p>" if share else "</p>"
    sections = [("Forecasts", text + _figures(shown))]
    steps = [
        step_plot(forecasts, "mse", "MSE (standardised) by step"),
        step_plot(forecasts, "scaled_mae", "MAE (standardised) by step"),
    ]
    if share:
        steps.append(step_plot(forecasts, "coverage", "Coverage of the interval by step", level=share))
    sections.append(("How far ahead", _figures(steps)))
    sections.append(("Each column", _table(forecasts, names)))
    return sections


def _window(forecasts: Forecasts, windows: Any, place: int, channel: int, title: str) -> str:
    one = windows.take(np.array([place]))
    inputs = one.inputs()
    past = inputs["past"] if isinstance(inputs, dict) else inputs
    spread = forecasts.spread[place, channel]
    # The window's own scale is the encoder's: what came before it is drawn in the same units as what came after.
    shift = forecasts.truth[place, 0, channel] - one.outputs()[0, 0, channel] * spread
    tail = past[0, -min(past.shape[1], 2 * windows.horizon + 8) :, channel] * spread + shift
    band = None if forecasts.bands is None else forecasts.bands[place, :, channel][:, [0, -1]]
    return window_plot(title, tail, forecasts.truth[place, :, channel], forecasts.prediction[place, :, channel], band)


def _figures(figures: list[str]) -> str:
    return '<div class="figures">' + "".join(f"<div>{figure}</div>" for figure in figures) + "</div>"


def _table(forecasts: Forecasts, names: tuple[str, ...]) -> str:
    """RMSE and MAE of each column in its own unit."""
    error = forecasts.prediction - forecasts.truth
    rmse, mae = np.sqrt(np.square(error).mean(axis=(0, 1))), np.abs(error).mean(axis=(0, 1))
    mse = forecasts.errors("mse").mean(axis=(0, 1))
    rows = "".join(
        f'<tr><td>{html.escape(name)}</td><td class="n">{rmse[i]:.4g}</td><td class="n">{mae[i]:.4g}</td>'
        f'<td class="n">{mse[i]:.4g}</td></tr>'
        for i, name in enumerate(names)
    )
    head = '<tr><th></th><th class="n">RMSE</th><th class="n">MAE</th><th class="n">MSE (standardised)</th></tr>'
    return f'<p>RMSE and MAE in the column\'s own unit.</p><div class="scroll"><table>{head}{rows}</table></div>'
