"""A network with some of its layers replaced by others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from danlu.nn.layer import Layer

__all__ = ["rewrite"]


def rewrite(layer: Layer, change: Callable[[Layer], Layer | None]) -> Layer:
    """The network in which ``change`` has replaced layers, with the same tree of params and state.

    Args:
        layer: the network; shorthand is written out where something inside it changes.
        change: a layer's replacement, or None to look inside it. A replacement must take the same params and state.

    Example:
        >>> from danlu.nn import MLP, Activation, Dense
        >>> rewrite(MLP((3,), 2), lambda layer: layer.replace(units=5) if layer == Dense(2) else None).layers[-1].units
        5
    """
    found = change(layer)
    if found is not None:
        return found
    whole = layer.expanded
    if whole != layer:
        inside = rewrite(whole, change)
        return layer if inside == whole else inside
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(layer):
        value = getattr(layer, field.name)
        if isinstance(value, Layer):
            new: Any = rewrite(value, change)
        elif isinstance(value, tuple) and any(isinstance(each, Layer) for each in value):
            new = tuple(rewrite(each, change) if isinstance(each, Layer) else each for each in value)
        else:
            continue
        if new != value:
            changes[field.name] = new
    return layer.replace(**changes) if changes else layer
