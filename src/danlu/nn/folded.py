"""Normalisation that is folded into the layer before it: one layer fewer, the same answers."""

from __future__ import annotations

from typing import Any

import numpy as np

from danlu.nn.activations import ACTIVATIONS
from danlu.nn.combine import Activation, Sequential
from danlu.nn.conv import Conv
from danlu.nn.dense import Dense
from danlu.nn.layer import Layer, Params, State
from danlu.nn.norm import BatchNorm
from danlu.nn.rebuild import rebuild

__all__ = ["folded"]

_Part = tuple[Layer, Any, Any]


def folded(network: Layer, params: Params, state: State) -> tuple[Layer, Params, State]:
    """The network with each :class:`BatchNorm` that follows a convolution or a dense layer multiplied into it, and the activation after it
    as that layer's own.

    ``γ·(x·W + b − μ)/√(σ² + ε) + β = x·(W·s) + (b − μ)·s + β`` with ``s = γ/√(σ² + ε)``. The statistics are those of use: what is folded
    learns on without normalisation.

    Reference: Jacob et al. (2018), arXiv:1712.05877, section 3.2.

    Example:
        >>> import jax
        >>> net = Sequential((Conv(4, 3, use_bias=False), BatchNorm(), Activation("relu")))
        >>> params, state, _ = net.init(jax.random.key(0), (8, 8, 1))
        >>> folded(net, params, state)[0]
        Sequential(layers=(Conv(features=4, ..., activation='relu', ..., use_bias=True),))
    """
    return rebuild(network, params, state, _sequence)


def _sequence(path: str, layer: Layer, params: Params, state: State) -> tuple[Layer, Params, State] | None:
    expanded = layer.expanded
    if not isinstance(expanded, Sequential):
        return None
    parts: list[_Part] = []
    for part in zip(expanded.layers, params, state, strict=True):
        joined = _joined(parts[-1], part) if parts else None
        if joined is None:
            parts.append(rebuild(*part, _sequence))
        else:
            parts[-1] = joined
    if len(parts) == len(expanded.layers) and all(
        new[0] == old for new, old in zip(parts, expanded.layers, strict=True)
    ):
        return layer, params, state
    return (
        Sequential(tuple(each[0] for each in parts)),
        tuple(each[1] for each in parts),
        tuple(each[2] for each in parts),
    )


def _joined(before: _Part, after: _Part) -> _Part | None:
    """Two layers as one, or None."""
    layer, params, state = before
    if not isinstance(layer, Conv | Dense) or layer.activation != "identity":
        return None
    if isinstance(after[0], Activation) and after[0].activation in ACTIVATIONS:
        return layer.replace(activation=after[0].activation), params, state
    if not isinstance(after[0], BatchNorm):
        return None
    scale = np.asarray(after[1]["scale"]) / np.sqrt(np.asarray(after[2]["variance"]) + after[0].epsilon)
    bias = np.asarray(params.get("bias", 0.0))
    own = {
        "kernel": np.asarray(params["kernel"]) * scale,  # its last axis is that of the outputs
        "bias": (bias - np.asarray(after[2]["mean"])) * scale + np.asarray(after[1]["bias"]),
    }
    return layer.replace(use_bias=True), {name: each.astype(np.float32) for name, each in own.items()}, state
