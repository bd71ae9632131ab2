"""A network made into another one, layer by layer, together with its variables."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from danlu.errors import ConfigError
from danlu.nn.ensemble import Ensemble
from danlu.nn.forecast import Forecaster
from danlu.nn.layer import Layer, Params, State

__all__ = ["Change", "rebuild", "with_children"]

Change = Callable[[str, Layer, Params, State], tuple[Layer, Params, State] | None]


def rebuild(
    network: Layer, params: Params, state: State, change: Change, path: str = ""
) -> tuple[Layer, Params, State]:
    """The network with some of its layers changed, and the variables that go with it.

    ``change(path, layer, params, state)`` is asked at each layer, a whole before its parts. What it returns takes the layer's place;
    where it returns None, the parts are asked. The copies of an :class:`~danlu.nn.Ensemble` are asked one by one, under the same path,
    and must become the same blueprint.

    A layer whose parts all stay what they were stays what it was. One that is shorthand (:class:`~danlu.nn.MLP`) becomes its expanded
    form where a part is another layer afterwards.

    Args:
        path: of the network; that of a part is ``path/name``, as in :meth:`Layer.children`.

    Raises:
        ConfigError: a layer that cannot have other parts, such as two directions of one recurrent layer that became different.

    Example:
        >>> from danlu import nn
        >>> net = nn.MLP((4,), 2)
        >>> params, state, _ = net.init(jax.random.key(0), (3,))
        >>> def linear(path, layer, params, state):
        ...     return (layer.replace(activation="identity"), params, state) if isinstance(layer, nn.Dense) else None
        >>> rebuild(net, params, state, linear)[0]
        Sequential(layers=(Dense(units=4, ...), Dense(units=2, ...)))
    """
    changed = change(path, network, params, state)
    if changed is not None:
        return changed
    if isinstance(network, Ensemble):
        return _copies(network, params, state, change, path)
    parts = network.children()
    if not parts:
        return network, params, state
    done = [
        rebuild(layer, params[i], state[i], change, f"{path}/{name}".lstrip("/"))
        for i, (name, layer) in enumerate(parts)
    ]
    rest = len(parts)
    own = tuple(each[1] for each in done), tuple(each[2] for each in done)
    variables = (*own[0], *params[rest:]), (*own[1], *state[rest:])
    if all(now == before for (now, _, _), (_, before) in zip(done, parts, strict=True)):
        return network, *variables
    return with_children(network, [each[0] for each in done]), *variables


def _copies(network: Ensemble, params: Params, state: State, change: Change, path: str) -> tuple[Layer, Params, State]:
    each = [
        rebuild(network.network, own, kept, change, path)
        for own, kept in (jax.tree.map(lambda leaf, k=k: leaf[k], (params, state)) for k in range(network.count))
    ]
    first = each[0][0]
    other = next((layer for layer, _, _ in each if layer != first), None)
    if other is not None:
        raise ConfigError(f"the copies of an ensemble became different networks: {first} and {other}")
    params, state = jax.tree.map(lambda *leaves: np.stack(leaves), *[(p, s) for _, p, s in each])
    return network.replace(network=first), params, state


def with_children(layer: Layer, parts: Sequence[Layer]) -> Layer:
    """A composite layer with other parts, in the order of :meth:`Layer.children`.

    Raises:
        ConfigError: its parts are not fields of its own, or one field is several parts that differ.

    Example:
        >>> from danlu import nn
        >>> with_children(nn.Residual(nn.Dense(3)), [nn.Dense(3, "relu")])
        Residual(layer=Dense(units=3, activation='relu', ...), ...)
    """
    if layer.expanded != layer:
        return with_children(layer.expanded, parts)
    before = [part for _, part in layer.children()]
    if isinstance(layer, Forecaster):  # its parts follow from its fields
        return layer.made_of(parts)
    places = list(_places(layer))
    changes: dict[str, Any] = {}
    for old, new in zip(before, parts, strict=True):
        place = next((each for each in places if each[2] == old), None)
        if place is not None:
            places.remove(place)
            name, index, _ = place
            held = changes.get(name, getattr(layer, name))
            changes[name] = new if index is None else (*held[:index], new, *held[index + 1 :])
        elif new != old:
            raise ConfigError(
                f"a part of {type(layer).__name__} cannot become {type(new).__name__}: it has no place of its own",
                hint="the option keep= of a technique leaves layers as they are",
            )
    return layer.replace(**changes)


def _places(layer: Layer) -> Any:
    """The fields that hold layers: name, place in a tuple (or None), layer."""
    for field in dataclasses.fields(layer):
        value = getattr(layer, field.name)
        if isinstance(value, Layer):
            yield field.name, None, value
        elif isinstance(value, tuple):
            yield from ((field.name, i, each) for i, each in enumerate(value) if isinstance(each, Layer))
