"""The training rows that moved an answer most: what the network would answer without each of them."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import polars as pl

from danlu.errors import ConfigError
from danlu.explain import last_layer_influence
from danlu.explained.alike import Alike, in_html, in_lines
from danlu.explained.answer import Block
from danlu.explained.gradients import of_outputs
from danlu.explained.score import Score
from danlu.explained.view import signed

__all__ = ["Moved"]


class Moved:
    """Finds the training rows without which a network would answer otherwise.

    Each of its networks (of an ensemble, and the members of a table's) has a last layer of its own; what leaving a row out changes
    in each adds up to the change of their common answer.

    Args:
        alike: the training rows, as the network's last layer receives them.
        count: how many rows are shown, >= 1.
        learnt: how many rows the model learnt from.

    Raises:
        ConfigError: rows whose true answers are not known.
    """

    def __init__(self, alike: Alike, count: int, learnt: int) -> None:
        if alike.truth is None or alike.truth.null_count():
            raise ConfigError(
                "which training rows moved an answer needs their true answers, and these rows lack some",
                hint="give the training file: --background FILE (in Python background=…)",
            )
        self.alike, self.count, self.learnt = alike, count, max(learnt, alike.rows.height)
        self.truth = alike.source.model.head.target.transform(alike.truth)
        self.outputs = self._outputs(alike.rows)

    def _outputs(self, rows: pl.DataFrame) -> np.ndarray:
        """``(rows, members, units)``."""
        model = self.alike.source.model
        found = np.asarray(model.outputs(model.encoder.transform(rows)), np.float64)
        return found.reshape(len(found), -1, found.shape[-1])

    def of(self, row: pl.DataFrame, score: Score, order: list[str]) -> tuple[Block, list[dict[str, Any]]]:
        """The rows that moved the answer for one row, as a part of its explanation and as plain data.

        Args:
            score: what is explained of the answer.
            order: the columns, those that counted most first.
        """
        changes = self.changes(row, score)
        places = np.argsort(-np.abs(changes), kind="stable")[: self.count]
        said = [signed(float(changes[place])) for place in places]
        head, cells, data = self.alike.listed(places, "without it", said, order)
        data = [{"without": float(changes[place]), **each} for place, each in zip(places, data, strict=True)]
        whose = self.alike.source.said or "the network"
        title = (
            f"The {self.alike.noun} that moved it most, by what the score of {whose} would change without each (an estimate: only the last "
            "layer learns again)"
        )
        return Block(title, in_lines(head, cells), in_html(head, cells)), data

    def changes(self, row: pl.DataFrame, score: Score) -> np.ndarray:
        """The change of the network's score for one row without each training row, ``(rows,)``."""
        outputs, members = self._outputs(row).astype(np.float32), self.outputs.shape[1]
        given = {**self.alike.source.given, "code": np.array([score.code or 0])}
        slopes = np.asarray(jax.grad(lambda z: of_outputs(score.scale)(z, given).sum())(outputs), np.float64)
        known, asked = (each.reshape(len(each), members, -1) for each in (self.alike.known, self.alike.seen(row)))
        total = np.zeros(len(known))
        for member in range(members):
            total += last_layer_influence(
                known[:, member],
                self.outputs[:, member],
                self.truth,
                asked[:, member],
                slopes[:, member],
                rows=self.learnt,
            )[0]
        return total
