"""The answer with one label per row: a class with its probability, or a quantity."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import polars as pl

from danlu.data import TargetEncoder
from danlu.errors import ArtifactError
from danlu.evaluate import Evidence, Rows, choose_threshold
from danlu.trained.head import Head, namespace, out_shape_of
from danlu.trained.held import HeldOut

__all__ = ["Labels", "members_mean"]


def members_mean(task: str, outputs: Any) -> Any:
    """Probabilities ``(rows, classes)`` or standardised values ``(rows,)`` from outputs ``(rows[, members], units)``.

    The members' probabilities (not their logits) are averaged: a member that is sure does not outvote the others.

    Example:
        >>> members_mean("binary", np.array([[[0.0, 0.0], [0.0, 40.0]]])).round(3).tolist()
        [[0.25, 0.75]]
    """
    xp = namespace(outputs)
    outputs = outputs[:, None] if outputs.ndim == 2 else outputs
    if task == "regression":
        return outputs[..., 0].mean(axis=1)
    shifted = xp.exp(outputs - outputs.max(axis=-1, keepdims=True))
    return (shifted / shifted.sum(axis=-1, keepdims=True)).mean(axis=1)


class Labels(Head, fitted=("threshold",)):
    """One label per row. The answers are probabilities ``(rows, classes)``, or values ``(rows,)`` in the target's own unit.

    Attributes:
        target: what is predicted.
        threshold: for two classes: the probability of the second one from which it is predicted.
    """

    kind = "labels"

    target: TargetEncoder
    threshold: float = 0.5

    @property
    def task(self) -> str:
        return self.target.task

    @property
    def name(self) -> str:
        return self.target.name

    @property
    def scale(self) -> float | None:
        return self.target.std if self.task == "regression" else None

    def __call__(self, outputs: Any) -> Any:
        mean = members_mean(self.task, outputs)
        return mean * self.target.std + self.target.mean if self.task == "regression" else mean

    def fitted(self, held: HeldOut, *, threshold: str = "none") -> Self:
        """The head with a threshold.

        Args:
            held: see :meth:`Head.fitted <danlu.trained.Head.fitted>`.
            threshold: the measure that the threshold of two classes is best for; see
                :func:`~danlu.evaluate.choose_threshold`. ``"none"`` keeps it.
        """
        if threshold == "none":
            return self
        chosen = choose_threshold(held.truth, held.answers[:, 1], threshold)
        return dataclasses.replace(self, threshold=float(chosen.value))

    def decide(self, answers: Any) -> Any:
        """The class codes ``(rows,)`` for probabilities: the likeliest class; for two classes, by the threshold."""
        if answers.shape[1] == 2:
            return (answers[:, 1] >= self.threshold).astype(int)
        return answers.argmax(axis=1)

    def frame(self, answers: np.ndarray, rows: Any = None) -> pl.DataFrame:
        """The prediction, and each class's probability."""
        if self.task == "regression":
            return pl.DataFrame({self.target.name: answers})
        labels = self.target.labels[self.decide(answers)].tolist()
        columns = {f"probability {label}": answers[:, code] for code, label in enumerate(self.target.classes)}
        return pl.DataFrame({self.target.name: labels, **columns})

    def evidence(self, answers: np.ndarray, truth: np.ndarray) -> Rows:
        true = self.target.inverse(truth) if self.task == "regression" else np.asarray(truth, np.int64)
        return Rows(self.task, true, answers, self.threshold)

    def notes(self, evidence: Evidence) -> tuple[str, ...]:
        """Notes on classes without rows: a model that never answers anything else would score as well."""
        rows: Any = evidence
        present = set(rows.truth.tolist()) if self.target.classes else set()
        lacking = [each for code, each in enumerate(self.target.classes) if code not in present]
        if not lacking:
            return ()
        if len(lacking) == len(self.target.classes) - 1:
            only = self.target.classes[int(rows.truth[0])]
            return (
                f"all rows are {only!r}: a model that always gives this answer would score 1; test it on rows of all classes",
            )
        more = f" and {len(lacking) - 8:,} more" if len(lacking) > 8 else ""
        which = "this class" if len(lacking) == 1 else "these classes"
        return (f"no row is {', '.join(map(repr, lacking[:8]))}{more}: the scores say nothing about {which}",)

    def beside(self, answers: np.ndarray, truth: np.ndarray, rows: Any = None) -> pl.DataFrame:
        true = pl.Series(f"true {self.target.name}", self.target.inverse(truth).tolist())
        return self.frame(answers).insert_column(0, true)

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        threshold = float(self.threshold) if self.task == "binary" else None
        return {"target": self.target.to_json(), "threshold": threshold}, {}

    @classmethod
    def from_state(cls, data: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        target, threshold = data.get("target"), data.get("threshold")
        if threshold is not None and (type(threshold) not in (int, float) or not 0 <= threshold <= 1):
            raise ArtifactError(f"the saved threshold is {str(threshold)[:40]!r}; expected 0 to 1 or null")
        found = TargetEncoder.from_json(target if isinstance(target, Mapping) else {})
        return cls(found, 0.5 if threshold is None else float(threshold))

    def check(self, network: Any, encoder: Any) -> None:
        shape = out_shape_of(network, encoder)
        if not isinstance(shape, tuple) or len(shape) not in (1, 2) or shape[-1] != self.target.units:
            raise ArtifactError(
                f"the saved network's output has the shape {shape}; expected {self.target.units} for {self.target.name!r}"
            )
