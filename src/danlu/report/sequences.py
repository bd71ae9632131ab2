"""The pictures of labelled sequences: those with the worst predictions, and the steps that decided them."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.explain import integrated_gradients
from danlu.report.svg import BLUE, GREEN, GREY, INK, ORANGE, WIDTH, Panel, short
from danlu.report.words import adding_up

__all__ = ["sequence_section", "step_attribution", "steps_plot"]

_PATH, _POWER = 96, 3  # points of the integral, denser near its start, where the norms bend it
_CURVES = 3  # of a picture: the columns that decided most
_COLOURS = (INK, BLUE, GREEN)


def step_attribution(trained: Any, inputs: Any, classes: np.ndarray | None) -> tuple[np.ndarray, float]:
    """What each step and column adds to the score, by integrated gradients from the mean of the training steps.

    Args:
        trained: a :class:`~danlu.trained.Trained` of sequences.
        inputs: encoded sequences.
        classes: whose logit above the mean logit is the score, ``(sequences,)``; None is the output of a quantity, standardised.

    Returns:
        ``(sequences, steps, columns)``, and by how much their sum misses the score's difference at most, as a share of it.
    """
    network, mask = trained.network, jnp.asarray(inputs["mask"])

    def score(x: jax.Array) -> jax.Array:
        outputs, _ = network.apply(trained.params, trained.state, {"x": x, "mask": mask})
        mean = jnp.mean(outputs.reshape(len(x), -1, outputs.shape[-1]), axis=1)
        if classes is None:
            return mean[:, 0]
        return jnp.take_along_axis(mean, jnp.asarray(classes)[:, None], axis=1)[:, 0] - jnp.mean(mean, axis=1)

    found = integrated_gradients(score, np.asarray(inputs["x"], np.float32), steps=_PATH, power=_POWER)
    return np.asarray(found.values), float(np.max(np.abs(found.gap)) / max(np.max(np.abs(found.gained)), 1e-9))


def steps_plot(title: str, values: np.ndarray, added: np.ndarray, columns: Sequence[str]) -> str:
    """One sequence: its curves, with each step's contribution behind them, orange for the prediction and blue against it.

    Args:
        values: ``(steps, columns)`` to be drawn, standardised.
        added: ``(steps,)``, in −1 … 1.
        columns: their names.
    """
    with Panel(title) as (panel, axes):
        for step, share in enumerate(added):
            if abs(share) > 0.02:
                colour = ORANGE if share > 0 else BLUE
                axes.axvspan(step + 0.5, step + 1.5, color=colour, alpha=0.45 * min(abs(share), 1), lw=0)
        steps = np.arange(1, len(values) + 1)
        for index, name in enumerate(columns):
            axes.plot(
                steps,
                values[:, index],
                color=_COLOURS[index % 3],
                lw=1.3,
                label=short(name),
                marker="." * (len(values) == 1),
            )
        axes.margins(x=0.01, y=0.22)  # room for the legend
        axes.legend(fontsize=7, loc="upper left", ncols=len(columns), columnspacing=1, handlelength=1.2)
        axes.grid(visible=False)
        axes.axhline(0, color=GREY, lw=0.6, ls=":")
        axes.set(xlabel="step", ylabel="standard deviations")
    return panel.svg


def sequence_section(
    trained: Any, inputs: Any, classes: np.ndarray | None, captions: Sequence[tuple[str, str]]
) -> tuple[str, str]:
    """The report's section of the sequences predicted worst: its title and HTML.

    Args:
        trained: a :class:`~danlu.trained.Trained` of sequences.
        inputs: the encoded sequences.
        classes: that were predicted for them, or None for a quantity.
        captions: of the pictures: a sequence's name, and what is said of it.
    """
    values, gap = step_attribution(trained, inputs, classes)
    names, figures = trained.encoder.columns, []
    for row, (title, caption) in enumerate(captions):
        real = inputs["mask"][row]
        added, x = values[row][real], inputs["x"][row][real]
        most = np.sort(np.argsort(-np.abs(added).sum(axis=0), kind="stable")[:_CURVES])
        of_step = added.sum(axis=1)
        shares = of_step / max(np.abs(of_step).max(), 1e-12)
        picture = steps_plot(short(title, 38), x[:, most], shares, [names[index] for index in most])
        figures.append(f"<div style='max-width: {WIDTH}in'>{picture}<p class='note'>{html.escape(caption)}</p></div>")
    some = f" Of {len(names)} columns the {_CURVES} that counted most are drawn." if len(names) > _CURVES else ""
    what = "the prediction" if classes is not None else "a higher prediction"
    sums = adding_up(gap, "the score's difference")
    note = (
        "<p class='note'>Behind the curves: the contribution of each step to the network's score, by integrated gradients from a sequence "
        f"of means; orange spoke for {what}, blue against it. {sums}{some}</p>"
    )
    return (
        "The largest mistakes",
        f"<div class='figures'>{''.join(figures)}</div>{note}",
    )
