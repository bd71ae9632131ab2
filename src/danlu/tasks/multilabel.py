"""Several labels an image: the training, and a trained network that tells the probability of each label."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import polars as pl

from danlu.data.images import ImageEncoder
from danlu.engine import Fitted, enable_compilation_cache, predict_outputs
from danlu.evaluate.labels import LabelRows, best_threshold
from danlu.nn.layer import Layer
from danlu.tasks.recipe import Recipe

__all__ = ["LabelsLearned", "Tagger", "learn_labels"]

_BATCH = 256


@dataclasses.dataclass(frozen=True, eq=False)
class Tagger:
    """A trained network with what stands between it and images.

    Attributes:
        network: the blueprint; its outputs are a logit a label.
        params, state: its variables.
        encoder: what images are brought to.
        labels: their names.
        threshold: the probability from which a label is predicted.
        name: what the labels are together, such as their column.
        separator: what is written between the labels of an image.
    """

    network: Layer
    params: Any
    state: Any
    encoder: ImageEncoder
    labels: tuple[str, ...]
    threshold: float = 0.5
    name: str = "labels"
    separator: str = "|"

    @property
    def in_shape(self) -> tuple[int, int, int]:
        """The shape of one encoded image."""
        return self.encoder.in_shape

    def predict_inputs(self, inputs: np.ndarray) -> np.ndarray:
        """The probability of each label, float64 ``(images, labels)``, for encoded images."""
        outputs = predict_outputs(self.network, self.params, self.state, inputs, batch_size=_BATCH)
        return 1 / (1 + np.exp(-np.clip(outputs.astype(np.float64), -700, 700)))

    def measured(self, inputs: np.ndarray, marks: np.ndarray) -> LabelRows:
        """Encoded images with their true labels (0 and 1) and the prediction."""
        return LabelRows(marks, self.predict_inputs(inputs), self.threshold)

    def frame(self, prediction: np.ndarray) -> pl.DataFrame:
        """What is written for the user: the predicted labels, and the probability of each."""
        columns = {f"probability {label}": prediction[:, place] for place, label in enumerate(self.labels)}
        return pl.DataFrame({self.name: self.written(prediction >= self.threshold), **columns})

    def written(self, marks: np.ndarray) -> list[str]:
        """The names of the labels that each row has, with the separator between them."""
        return [self.separator.join(self.labels[place] for place in np.flatnonzero(row)) for row in marks]


@dataclasses.dataclass(frozen=True)
class LabelsLearned:
    """What training gave: the model, and the record of the training."""

    model: Tagger
    fitted: Fitted


def learn_labels(
    train: Any,
    *,
    encoder: ImageEncoder,
    labels: Sequence[str],
    plan: Recipe,
    rows: int,
    validation: tuple[np.ndarray, np.ndarray],
    name: str = "labels",
    separator: str = "|",
    seed: int = 0,
    **how: Any,
) -> LabelsLearned:
    """Train the recipe's network on encoded images and which labels they have.

    Args:
        train: images ``uint8 (images, height, width, channels)`` and marks of 0 and 1 ``(images, labels)``, or a stream of both.
        validation: both in memory; it chooses the best epoch, and the probability from which labels are predicted, for the
            highest macro F1.
        rows: how many images an epoch has.
        encoder, labels, name, separator: kept with the model.
        plan: see :func:`~danlu.tasks.image_recipe`, of the task ``"multilabel"``.
        seed: decides the initial weights and every random draw.
        **how: ``callbacks``, ``checkpoint``, ``resume`` and ``display``, for :func:`danlu.fit`.
    """
    enable_compilation_cache()
    fitted = plan.fit(
        train,
        rows=rows,
        validation=validation,
        metrics=["label_accuracy"],
        initial=plan.initial(jax.random.key(seed), np.zeros((1, *encoder.in_shape), np.uint8)),
        seed=seed,
        **how,
    )
    model = Tagger(plan.model, fitted.params, fitted.state, encoder, tuple(labels), 0.5, name, separator)
    threshold = best_threshold(validation[1], model.predict_inputs(validation[0]))
    return LabelsLearned(dataclasses.replace(model, threshold=threshold), fitted)
