"""Several labels per image: the head that turns a network's outputs into labels."""

from __future__ import annotations

import dataclasses
from typing import Any, Self

import numpy as np
import polars as pl

from danlu.blueprint import setting
from danlu.errors import ArtifactError
from danlu.evaluate.labels import LabelRows, best_threshold
from danlu.trained import Head, HeldOut, Trained
from danlu.trained.head import namespace, out_shape_of

__all__ = ["Tags"]


class Tags(Head, fitted=("threshold",)):
    """Any number of labels per row. The answers are independent probabilities ``(rows, labels)``; the outputs are logits.

    Attributes:
        labels: their names.
        name: what they are together, such as their column.
        separator: what is written between the labels of a row.
        threshold: the probability from which a label is predicted.
    """

    kind, task = "tags", "multilabel"

    labels: tuple[str, ...]
    name: str = "labels"
    separator: str = setting(default="|", pattern=("(?s).+", "a text with a character or more"))
    threshold: float = setting(default=0.5, minimum=0, maximum=1)

    def __call__(self, outputs: Any) -> Any:
        each = self._each(outputs)
        return each if each.ndim < 3 else each.mean(axis=1)  # of the networks of an ensemble

    @staticmethod
    def _each(outputs: Any) -> Any:
        xp = namespace(outputs)
        return 1 / (1 + xp.exp(-xp.clip(outputs, -80, 80)))

    def members(self, trained: Trained, inputs: Any) -> np.ndarray:
        """Of each label that it is there and that it is not, ``(members, rows, 2 · labels)``: their entropies add up over the labels."""
        there = self._each(trained.outputs(inputs))
        there = there[None] if there.ndim == 2 else there.swapaxes(0, 1)
        return np.concatenate([there, 1 - there], axis=2)

    def frame(self, answers: np.ndarray, rows: Any = None) -> pl.DataFrame:
        """The predicted labels, and the probability of each."""
        columns = {f"probability {label}": answers[:, place] for place, label in enumerate(self.labels)}
        return pl.DataFrame({self.name: self.written(answers >= self.threshold), **columns})

    def replies(self, answers: np.ndarray, rows: Any = None) -> list[dict[str, Any]]:
        """The names of the labels in a list, and the probability of each."""
        named = [[self.labels[place] for place in np.flatnonzero(row)] for row in answers >= self.threshold]
        return [{**each, self.name: names} for each, names in zip(self.frame(answers).to_dicts(), named, strict=True)]

    def written(self, marks: np.ndarray) -> list[str]:
        """The names of the labels that each row has, with the separator between them."""
        return [self.separator.join(self.labels[place] for place in np.flatnonzero(row)) for row in marks]

    def evidence(self, answers: np.ndarray, truth: np.ndarray) -> LabelRows:
        return LabelRows(truth, answers, self.threshold)

    def fitted(self, held: HeldOut) -> Self:
        """The head with the threshold of the highest macro F1."""
        return dataclasses.replace(self, threshold=best_threshold(held.truth, held.answers))

    def beside(self, answers: np.ndarray, truth: np.ndarray, rows: Any = None) -> pl.DataFrame:
        return self.frame(answers).insert_column(0, pl.Series(f"true {self.name}", self.written(truth)))

    def check(self, network: Any, encoder: Any) -> None:
        shape = out_shape_of(network, encoder)
        if shape is None or shape[-1:] != (len(self.labels),) or len(shape) > 2:
            raise ArtifactError(
                f"the saved network's output has the shape {shape}; expected one for each of {len(self.labels)} labels"
            )
