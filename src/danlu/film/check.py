"""The numbers of a frame beside finite differences: which are compared, and how far they are apart."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from danlu.film.cut import Cut
from danlu.film.look import LayerLook, Look
from danlu.film.slopes import Slopes
from danlu.nn.backprop import Trace

__all__ = ["Checked", "Wanted", "check", "wanted_of"]


@dataclasses.dataclass(frozen=True)
class Checked:
    """Slopes that were checked against finite differences.

    Attributes:
        places: the places in the array that were.
        found: their finite differences.
        error: the largest difference from the slopes, relative to the largest slope of the array, where there is no kink.
        kinks: at how many places there is one.
    """

    places: np.ndarray
    found: np.ndarray
    error: float
    kinks: int = 0


Wanted = dict[tuple[int, str], tuple[np.ndarray, int]]


def wanted_of(look: Look, parts: Sequence[Cut]) -> tuple[Wanted, dict[str, np.ndarray]]:
    """What is shown of a frame and can be moved, by the layer's number and ``"dy"`` or the parameter's name.

    Each is the places in its array, and where that begins among all arrays of parameters, or among all outputs, which come second.
    """
    sizes = [int(np.size(leaf)) for leaf in jax.tree.leaves(look.state.params)]
    starts = np.cumsum([0, *sizes])
    wanted: Wanted = {}
    outputs = {
        layer.path: layer.arrays["dy"]
        for layer in look.layers
        if "dy" in layer.arrays and layer.path and layer.arrays["dy"].shape == layer.arrays["y"].shape
    }
    order = dict(zip(sorted(outputs), _starts(outputs), strict=True))
    for index, (layer, part) in enumerate(zip(look.layers, parts, strict=True)):
        if layer.path in outputs:
            dy = layer.arrays["dy"]
            wanted[index, "dy"] = (_flat(part.of(layer, "dy", dy), dy.shape), order[layer.path])
        for name, param in layer.params.items():
            if param.leaf is not None and param.value.size:
                places = _flat(part.of(layer, name, param.value), param.value.shape)
                wanted[index, name] = (places, int(starts[param.leaf]))
    return wanted, outputs


def check(slopes: Slopes, look: Look, parts: Sequence[Cut], allowed: int) -> dict[tuple[int, str], Checked]:
    """The finite differences of what is shown of a frame, or of an even selection of it."""
    wanted, outputs = wanted_of(look, parts)
    total = sum(len(places) for places, _ in wanted.values())
    every = max(1, math.ceil(total / allowed))
    wanted = {key: (places[::every], start) for key, (places, start) in wanted.items()}
    found = _differences(slopes, look, wanted, outputs)
    checked = {}
    double: Trace | None = None
    for (index, name), (below, above) in found.items():
        layer = look.layers[index]
        whole = layer.arrays["dy"] if name == "dy" else layer.params[name].gradient
        own = whole.reshape(-1)[wanted[index, name][0]]
        # What is zero but for rounding counts as equal: the scale is that of the largest slope, and no less than float32's of the loss.
        scale = max(float(np.max(np.abs(whole), initial=0.0)), 1e-3 * abs(look.loss), 1e-12)
        kink = np.abs(above - below) > 1e-3 * scale
        middle = (below + above) / 2
        away = np.where(kink, 0.0, np.abs(own - middle)) / scale
        doubtful = np.flatnonzero(away > 1e-4)
        if doubtful.size:  # kinks that hide each other: a little beside the point, the same rules must agree
            double = double or slopes.aside.trace(look.state.params, look.state.model_state)
            places, start = wanted[index, name]
            near = {(index, name): (places[doubtful], start)}
            [(low, high)] = _differences(slopes.aside, look, near, outputs).values()
            exact = _of_trace(double, layer, name).reshape(-1)[places[doubtful]]
            kink[doubtful] |= (np.abs(exact - (low + high) / 2) < 1e-4 * scale) | (np.abs(high - low) > 1e-3 * scale)
            away[kink] = 0.0
        places = wanted[index, name][0]
        checked[index, name] = Checked(places, middle, float(np.max(away, initial=0.0)), int(kink.sum()))
    return checked


def _of_trace(found: Trace, layer: LayerLook, name: str) -> np.ndarray:
    """The error signal of a layer, or a gradient, of another pass over the same network."""
    if name == "dy":
        [record] = [each for each in found.records if each.path == layer.path]
        return np.asarray(record.error)
    return np.asarray(jax.tree.leaves(found.gradients)[layer.params[name].leaf or 0])


def _starts(outputs: Mapping[str, np.ndarray]) -> list[int]:
    """Where each output begins when all are laid out one after the other, as JAX does: by name."""
    return [0, *np.cumsum([outputs[path].size for path in sorted(outputs)]).tolist()][:-1] if outputs else []


def _flat(places: Sequence[np.ndarray], shape: Sequence[int]) -> np.ndarray:
    return np.ravel_multi_index(np.meshgrid(*places, indexing="ij"), tuple(shape)).reshape(-1)


def _differences(
    slopes: Slopes, look: Look, wanted: Wanted, outputs: Mapping[str, Any]
) -> dict[tuple[int, str], np.ndarray]:
    state = look.state
    found: dict[tuple[int, str], np.ndarray] = {}
    for kind in ("dy", "params"):
        keys = [key for key in wanted if (key[1] == "dy") == (kind == "dy")]
        if not keys:
            continue
        places = np.concatenate([wanted[key][0] + wanted[key][1] for key in keys])
        if kind == "dy":
            values = slopes.of_outputs(state.params, state.model_state, outputs, places)
        else:
            values = slopes.of_params(state.params, state.model_state, places)
        ends = np.cumsum([len(wanted[key][0]) for key in keys])[:-1]
        found |= dict(zip(keys, np.split(values, ends, axis=1), strict=True))
    return found
