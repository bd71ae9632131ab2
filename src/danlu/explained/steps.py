"""Why a network gave a sequence its class or quantity: its steps and columns."""

from __future__ import annotations

from typing import Any

import numpy as np

from danlu.evaluate.intervals import figure
from danlu.explained.answer import Block, Explained, Part
from danlu.explained.asked import Asked
from danlu.explained.gradients import attributed, gradients_of, of_inputs
from danlu.explained.score import answers_of, score_of
from danlu.explained.view import bars
from danlu.report.sequences import steps_plot
from danlu.report.svg import short
from danlu.trained import Trained

__all__ = ["explain_steps"]

_NOISE, _POWER = 0.1, 3
_CURVES = 3


def explain_steps(trained: Trained, rows: list[np.ndarray], asked: Asked) -> list[Explained]:
    """Each sequence by integrated gradients of its steps, from the mean of the training steps.

    Args:
        rows: as the encoder takes them, ``(steps, columns)`` each.
    """
    asked.check("shapley", otherwise="sequences have steps, which are explained by gradients")
    source = gradients_of(trained)
    model = source.model
    columns = model.encoder.columns
    found = []
    for values, name in zip(rows, asked.names, strict=True):
        inputs = model.encoder.transform([values])
        answers = answers_of(model, inputs)
        score, answer = score_of(model, answers, of=asked.of, scale=asked.scale)
        given = {**source.given, "code": np.array([score.code or 0]), "mask": inputs["mask"]}
        x = np.asarray(inputs["x"], np.float32)
        attribution, how = attributed(
            of_inputs(model.network, score.scale), x, np.float32(0), given, asked, noise=_NOISE, power=_POWER
        )
        real = np.asarray(inputs["mask"])[0]
        each = np.asarray(attribution.values, np.float64)[0][real]  # (steps, columns)
        shown = model.encoder.inverse(x[0][real])
        value = float(score.of(answers)[0])
        by_column = [Part(column, "", float(total)) for column, total in zip(columns, each.sum(axis=0), strict=True)]
        found.append(
            Explained(
                row=name,
                answer=answer,
                **source.told(score.name, value, attribution, how),
                against="of a sequence of means",
                parts=tuple(
                    Part(f"step {step + 1}", _cells(shown[step], columns), float(total))
                    for step, total in enumerate(each.sum(axis=1))
                ),
                ordered=True,
                noun="step",
                drawing=_drawing(name, x[0][real], each, columns),
                blocks=(Block("By column", tuple(bars(by_column)), ""),) if len(columns) > 1 else (),
                data={
                    "added": np.round(each, 7).tolist(),
                    "columns": list(columns),
                    "class": score.label,
                    "scale": score.scale or None,
                    "of": source.said or None,
                },
            )
        )
    return found


def _cells(row: np.ndarray, columns: Any) -> str:
    if len(columns) > 2:
        return ""
    return ", ".join(figure(float(value), 3) for value in row)


def _drawing(name: str, x: np.ndarray, each: np.ndarray, columns: Any) -> str:
    most = np.sort(np.argsort(-np.abs(each).sum(axis=0), kind="stable")[:_CURVES])
    total = each.sum(axis=1)
    shares = total / max(float(np.abs(total).max(initial=0)), 1e-12)
    return steps_plot(short(name, 38), x[:, most], shares, [columns[index] for index in most])
