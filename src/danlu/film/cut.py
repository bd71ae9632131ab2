"""What of large arrays an X-ray shows: whole rows, and of each axis the places that matter most."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from danlu.film.look import LayerLook, Look

__all__ = ["Cut", "cuts"]

_SIDE = 32  # places of an axis of time or of a picture's side


@dataclasses.dataclass(frozen=True)
class Cut:
    """The places of a layer's inputs and outputs that are shown.

    Attributes:
        inputs, outputs: places on the last axis of ``x`` and of ``y``, ascending.
        most: of any other axis, the places from 0 that are shown.
    """

    inputs: np.ndarray
    outputs: np.ndarray
    most: int

    def of(self, layer: LayerLook, name: str, array: np.ndarray) -> tuple[np.ndarray, ...]:
        """The places of each axis of one of the layer's arrays that are shown; rows are shown whole."""
        if name in layer.params:
            return self._of_params(layer, name, array.shape)
        last = self.inputs if name in ("x", "dx") else self.outputs
        if array.ndim < 2 or name == "weights":
            return tuple(np.arange(min(size, _SIDE)) for size in array.shape)
        middle = [np.arange(min(size, _SIDE)) for size in array.shape[1:-1]]
        return (np.arange(array.shape[0]), *middle, last[last < array.shape[-1]])

    def _of_params(self, layer: LayerLook, name: str, shape: Sequence[int]) -> tuple[np.ndarray, ...]:
        if layer.kind == "dense":
            if name == "bias":  # one row, or one a member
                return (*(np.arange(size) for size in shape[:-1]), self.outputs)
            return self.inputs, self.outputs
        if layer.kind == "conv" and len(shape) > 1:
            return (*(np.arange(size) for size in shape[:-2]), np.arange(min(shape[-2], 4)), self.outputs)
        if layer.kind == "conv":
            return (self.outputs,)
        return tuple(np.arange(min(size, self.most)) for size in shape)


def cuts(looks: Sequence[Look], most: int) -> list[Cut]:
    """The cut of each layer, the same in all frames: of each axis the ``most`` places with the largest inputs or error signals."""
    return [_cut([look.layers[index] for look in looks], most) for index in range(len(looks[0].layers))]


def _cut(frames: Sequence[LayerLook], most: int) -> Cut:
    kind = frames[0].kind
    few = min(most, 8) if kind == "conv" else most
    inputs = [frame.arrays.get("x") for frame in frames]
    errors = [frame.arrays.get("dy", frame.arrays.get("y")) for frame in frames]
    return Cut(_largest(inputs, few), _largest(errors, few), most)


def _largest(arrays: Sequence[Any], most: int) -> np.ndarray:
    if arrays[0] is None or arrays[0].ndim < 2 or not np.issubdtype(arrays[0].dtype, np.floating):
        return np.arange(0 if arrays[0] is None else min(most, arrays[0].shape[-1]))
    size = arrays[0].shape[-1]
    if size <= most:
        return np.arange(size)
    total = sum(np.abs(array).reshape(-1, size).mean(axis=0) for array in arrays)
    return np.sort(np.argsort(-total, kind="stable")[:most])
