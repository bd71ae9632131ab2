"""What drawn pictures are compared with real ones in: the features of a small classifier of the same pictures."""

from __future__ import annotations

import dataclasses
from typing import Any, Self

import jax.numpy as jnp
import numpy as np

from danlu.engine import predict_outputs
from danlu.generative.simple import PlainGaussian
from danlu.nn import Sequential
from danlu.tasks import image_recipe
from danlu.tasks.recipe import epochs_of

__all__ = ["Features", "nearest"]

_ROWS = 10_000  # pictures that the classifier learns from
_STEPS = 400
_TOGETHER = 500


@dataclasses.dataclass(frozen=True, eq=False)
class Features:
    """The features of pictures, and what a classifier says that they show.

    Attributes:
        network, params, state: of the classifier; its last layer gives the labels, and what goes into that are the features. None
            without labels: the features are then principal components of the pixels.
        plain: these components.
    """

    network: Any
    params: Any
    state: Any
    plain: PlainGaussian | None = None

    @classmethod
    def fit(cls, pixels: np.ndarray, labels: np.ndarray, classes: int) -> Self:
        """Learnt from training pictures ``uint8 (rows, height, width, channels)``; by one seed, so that the same pictures give the same.

        Args:
            labels: their codes ``(rows,)``; ``classes`` stands for none.
            classes: how many; 0 without labels.
        """
        told = labels < classes
        if classes < 2 or not told.any():
            return cls(None, None, None, PlainGaussian.fit(pixels[:_ROWS]))
        pixels, labels = pixels[told][:_ROWS], labels[told][:_ROWS]
        rows = len(pixels)
        plan = image_recipe("multiclass", rows, pixels.shape[1:], classes=classes, batch_size=min(64, rows))
        plan = plan.replace(epochs=max(2, epochs_of(_STEPS, rows, plan.batch_size)))
        fitted = plan.fit((pixels, labels), rows=rows, display="none")
        return cls(fitted.model, fitted.params, fitted.state)

    @property
    def said(self) -> str:
        """What they are, in words."""
        if self.plain is not None:
            return f"{len(self.plain.variances)} principal components of the pixels"
        return "what a small classifier, learnt from the same training pictures, sees"

    def of(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The features ``(rows, features)`` of pictures, and the label that is seen in each ``(rows,)``; without labels −1."""
        if self.plain is not None:
            values = pixels.reshape(len(pixels), -1) / 255  # (rows, numbers)
            return (values - self.plain.mean) @ self.plain.axes, np.full(len(pixels), -1)
        layers = self.network.layers
        body = Sequential(layers[:-1])
        found = predict_outputs(body, self.params[:-1], self.state[:-1], pixels, batch_size=256)
        logits = layers[-1].apply(self.params[-1], self.state[-1], jnp.asarray(found))[0]
        return np.asarray(found, np.float64), np.asarray(logits).argmax(axis=-1)


def nearest(pixels: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of the nearest of ``known`` pictures to each of ``pixels``, and its distance (the root of the mean square of the pixels).

    >>> known = np.array([[0], [100]], np.uint8).reshape(2, 1, 1, 1)
    >>> nearest(np.full((1, 1, 1, 1), 90, np.uint8), known)
    (array([1]), array([10.]))
    """
    flat = known.reshape(len(known), -1).astype(np.float32)  # (known, numbers)
    squares = np.square(flat).sum(axis=1)
    numbers, distances = [], []
    for low in range(0, len(pixels), _TOGETHER):
        own = pixels[low : low + _TOGETHER].reshape(-1, flat.shape[1]).astype(np.float32)  # (rows, numbers)
        off = squares[None] - 2 * own @ flat.T
        best = off.argmin(axis=1)
        exact = np.square(own.astype(np.float64) - flat[best]).mean(axis=1)
        numbers.append(best)
        distances.append(np.sqrt(exact))
    return np.concatenate(numbers), np.concatenate(distances)
