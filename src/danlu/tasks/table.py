"""What a table's target is to the network, and what the network's outputs are to the user."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from danlu.data import InferredTask
from danlu.errors import ArtifactError, DataError, nearest

__all__ = ["TableTask"]


def _labels(target: pl.Series) -> pl.Series:
    """Class labels as text; whole numbers without a fraction."""
    if target.dtype.is_float():
        whole = target.drop_nulls()
        if (whole == whole.round()).all():
            target = target.cast(pl.Int64)
    return target.cast(pl.String).str.strip_chars()


@dataclasses.dataclass(frozen=True)
class TableTask:
    """Regression or classification of a table's target.

    Attributes:
        task: ``"regression"``, ``"binary"`` or ``"multiclass"``.
        target: the name of the column.
        classes: the labels, in the order of the network's outputs; empty for regression.
        mean, scale: what a regression target is standardised by (fitted on training rows).
    """

    task: str
    target: str
    classes: tuple[str, ...] = ()
    mean: float = 0.0
    scale: float = 1.0

    @classmethod
    def fit(cls, inferred: InferredTask, target: pl.Series) -> TableTask:
        """Fitted to the target of the training rows."""
        if inferred.task != "regression":
            return cls(inferred.task, target.name, inferred.classes)
        values = target.cast(pl.Float64).to_numpy()
        return cls("regression", target.name, (), float(values.mean()), float(values.std()) or 1.0)

    @property
    def metric(self) -> str:
        """The measure watched in training."""
        return "squared_error" if self.task == "regression" else "accuracy"

    def encode(self, target: pl.Series) -> np.ndarray:
        """Standardised values (float32) or class numbers (int32).

        Raises:
            DataError: a label that training did not see, or a value that is not a number.
        """
        if self.task == "regression":
            values = target.cast(pl.Float64, strict=False)
            bad = int(values.null_count())
            if bad:
                raise DataError(f"{bad} values of the target {self.target!r} are missing or not numbers")
            return ((values.to_numpy() - self.mean) / self.scale).astype(np.float32)
        numbers = {label: number for number, label in enumerate(self.classes)}
        labels = _labels(target).to_list()
        unknown = sorted({str(label) for label in labels if label not in numbers})
        if unknown:
            stripped = {label.rstrip(".") for label in unknown}
            close = nearest(unknown[0], self.classes)
            raise DataError(
                f"the target {self.target!r} has labels that training did not see: {', '.join(unknown[:5])}; "
                f"expected: {', '.join(self.classes[:10])}",
                hint="the labels end with a dot; remove it"
                if stripped <= set(self.classes)
                else (f"did you mean {close!r}?" if close else None),
            )
        return np.array([numbers[label] for label in labels], np.int32)

    def predict(self, outputs: np.ndarray) -> np.ndarray:
        """Probabilities ``(rows, classes)`` or values ``(rows,)`` from outputs ``(rows, members, units)``.

        The members' probabilities (not their logits) are averaged.
        """
        outputs = np.asarray(outputs, np.float64)
        if self.task == "regression":
            return outputs[..., 0].mean(axis=1) * self.scale + self.mean
        shifted = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
        return (shifted / shifted.sum(axis=-1, keepdims=True)).mean(axis=1)

    def frame(self, prediction: np.ndarray) -> pl.DataFrame:
        """What is written for the user: the prediction, and each class's probability."""
        if self.task == "regression":
            return pl.DataFrame({self.target: prediction})
        labels = [self.classes[number] for number in prediction.argmax(axis=1)]
        columns = {f"probability {label}": prediction[:, number] for number, label in enumerate(self.classes)}
        return pl.DataFrame({self.target: labels, **columns})

    def to_json(self) -> dict[str, Any]:
        """Plain data, for the artifact."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TableTask:
        """The inverse of :meth:`to_json`.

        Raises:
            ArtifactError: data that is not a task.
        """
        try:
            return cls(**{**data, "classes": tuple(data.get("classes", ()))})
        except TypeError as error:
            raise ArtifactError(f"the saved task is not valid: {error}") from error
