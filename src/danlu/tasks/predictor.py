"""A trained network with what stands between it and the user's data: rows go in, predictions in the target's own words come out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl

from danlu.data import TableEncoder, TargetEncoder
from danlu.data.images import ImageEncoder
from danlu.data.sequences import SequenceEncoder
from danlu.data.text import TextEncoder
from danlu.engine import predict_outputs
from danlu.evaluate.kept import Kept
from danlu.nn.layer import Layer

__all__ = ["Predictor", "members_mean"]

_BATCH = 256  # one size for all: a row's prediction does not depend on the rows beside it


def members_mean(task: str, outputs: np.ndarray) -> np.ndarray:
    """Probabilities ``(rows, classes)`` or standardised values ``(rows,)`` from outputs ``(rows[, members], units)``.

    The members' probabilities (not their logits) are averaged: a member that is sure does not outvote the others.

    Example:
        >>> members_mean("binary", np.array([[[0.0, 0.0], [0.0, 40.0]]])).round(3).tolist()
        [[0.25, 0.75]]
    """
    outputs = np.asarray(outputs, np.float64)
    outputs = outputs[:, None] if outputs.ndim == 2 else outputs
    if task == "regression":
        return outputs[..., 0].mean(axis=1)
    shifted = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
    return (shifted / shifted.sum(axis=-1, keepdims=True)).mean(axis=1)


@dataclasses.dataclass(frozen=True, eq=False)
class Predictor:
    """A network with all that stands between it and the user's rows.

    Attributes:
        network: the blueprint; its outputs are ``(rows, units)`` or ``(rows, members, units)``.
        params, state: its variables.
        encoder: turns a frame, or images, into the network's inputs.
        target: turns outputs into labels or values.
        threshold: for two classes: the probability of the second one from which it is predicted.
        seen: sorted hashes of the rows that it learnt from (see :func:`danlu.data.seen.row_hashes`), or None.
        kept: the simple models that it was compared with, by what they are called.
        instead: what predicts encoded rows in the network's place, or None.
    """

    network: Layer
    params: Any
    state: Any
    encoder: TableEncoder | ImageEncoder | TextEncoder | SequenceEncoder
    target: TargetEncoder
    threshold: float = 0.5
    seen: np.ndarray | None = None
    kept: Mapping[str, Kept] = dataclasses.field(default_factory=dict)
    instead: Callable[[Any], np.ndarray] | None = None

    @property
    def in_shape(self) -> Any:
        """The shape of one encoded row, what the network's ``init`` takes."""
        return self.encoder.in_shape

    def predict_inputs(self, inputs: Mapping[str, Any] | np.ndarray) -> np.ndarray:
        """Probabilities ``(rows, classes)`` or values ``(rows,)``, float64, for encoded rows."""
        if self.instead is not None:
            mean = self.instead(inputs)
        else:
            outputs = predict_outputs(self.network, self.params, self.state, inputs, batch_size=_BATCH)
            mean = members_mean(self.target.task, outputs)
        return self.target.inverse(mean) if self.target.task == "regression" else mean

    def predict_values(self, rows: Any) -> np.ndarray:
        """Probabilities ``(rows, classes)`` or values ``(rows,)``, float64, for a frame or images as they were read."""
        return self.predict_inputs(self.encoder.transform(rows))

    def decide(self, prediction: np.ndarray) -> np.ndarray:
        """The class codes ``(rows,)`` for probabilities: the likeliest class; for two classes, by the threshold."""
        if prediction.shape[1] == 2:
            return (prediction[:, 1] >= self.threshold).astype(np.int64)
        return prediction.argmax(axis=1)

    def frame(self, prediction: np.ndarray) -> pl.DataFrame:
        """What is written for the user: the prediction, and each class's probability."""
        name = self.target.name
        if self.target.task == "regression":
            return pl.DataFrame({name: prediction})
        labels = self.target.labels[self.decide(prediction)].tolist()
        columns = {f"probability {label}": prediction[:, code] for code, label in enumerate(self.target.classes)}
        return pl.DataFrame({name: labels, **columns})
