"""Towers that begin with what another model has learnt: its layers from a picture, a recording or a text to features."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from danlu.blueprint import Blueprint, setting
from danlu.data.images import ImageEncoder
from danlu.data.seen import row_hashes
from danlu.data.sounds import SoundEncoder
from danlu.data.text import TextEncoder
from danlu.errors import ConfigError
from danlu.nn import Dense, Dropout, Frozen, Fusion, Layer, Parallel, Sequential
from danlu.nn.ensemble import Ensemble
from danlu.nn.two_towers import TwoTowers
from danlu.tasks.pretrain import body_of

__all__ = ["NOUNS", "Towers", "Trunk", "placed", "rates_of", "trunk_of"]

NOUNS: Mapping[type, str] = {ImageEncoder: "pictures", SoundEncoder: "recordings", TextEncoder: "texts"}
"""What each encoder of a tower is for."""


class Towers(Blueprint):
    """What the towers of a model of several modalities begin with.

    Args:
        begin: by column, the run (or the folder of a saved model) whose layers its tower begins with.
        rate: what these layers learn at, as a share of the learning rate of all others; 0 freezes them.
        compare: whether the same network is trained with fresh towers as well, to compare with.
    """

    begin: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)
    rate: float = setting(default=0.1, minimum=0, maximum=1)
    compare: bool = True


@dataclasses.dataclass(frozen=True, eq=False)
class Trunk:
    """Trained layers from what an encoder gives to features.

    Attributes:
        encoder: of pictures, recordings or texts.
        layer: the layers, which take what a tower has after its random changes.
        params, state: theirs.
        rate: see :class:`Towers`.
        seen: hashes of the rows that they learnt from, each with its label (see :func:`~danlu.data.seen.row_hashes`); None where
            these are of other inputs as well, or are not kept.
        classes: how many labels there are.
    """

    encoder: Any
    layer: Layer
    params: Any
    state: Any
    rate: float = 1.0
    seen: np.ndarray | None = None
    classes: int = 0

    def learnt_from(self, inputs: Any) -> int | None:
        """Of how many of these encoded inputs the layers have learnt; None where that cannot be told."""
        if self.seen is None or self.classes < 2:
            return None
        rows = len(jax.tree.leaves(inputs)[0])
        known = [np.isin(row_hashes(inputs, np.full(rows, each, np.int32)), self.seen) for each in range(self.classes)]
        return int(np.any(known, axis=0).sum())

    @property
    def part(self) -> Layer:
        """What a tower holds: the layers, frozen where they do not learn."""
        return self.layer if self.rate else Frozen(self.layer)

    @property
    def variables(self) -> tuple[Any, Any]:
        """``(params, state)`` of :attr:`part`."""
        return (self.params, self.state) if self.rate else ({}, {"params": self.params, "state": self.state})


def trunk_of(network: Layer, params: Any, state: Any, encoder: Any, column: str | None = None) -> Trunk:
    """What a tower begins with, of a trained network; of networks side by side the first.

    Args:
        network, params, state: of a model of pictures, of recordings or of texts, or of one of several modalities.
        encoder: of its pictures, recordings or texts.
        column: of several modalities, the one that ``encoder`` is of.

    Raises:
        ConfigError: a network without such layers.
    """
    if isinstance(network, Ensemble):
        first, its = jax.tree.map(lambda leaf: leaf[0], (params, state))
        return trunk_of(network.network, first, its, encoder, column)
    if isinstance(network, Fusion | TwoTowers):
        place = network.names.index(str(column))
        return trunk_of(network.towers[place], params[place], state[place], encoder)
    layers = getattr(network, "layers", ())
    if layers and isinstance(layers[-1], Dense) and len(layers) > 1:  # a tower that itself began so, or one of texts
        if isinstance(layers[-2], Frozen):
            return Trunk(encoder, layers[-2].layer, state[-2]["params"], state[-2]["state"])
        if isinstance(layers[-2], Sequential | Parallel):
            return Trunk(encoder, layers[-2], params[-2], state[-2])
    if isinstance(encoder, TextEncoder):
        return _of_texts(network, params, state, encoder)
    begin, body = body_of(network)
    kept = slice(begin, begin + len(body.layers))
    return Trunk(encoder, body, tuple(params[kept]), tuple(state[kept]))


def _of_texts(network: Layer, params: Any, state: Any, encoder: TextEncoder) -> Trunk:
    """N-grams beside convolutions over words, without the last layers of both."""
    members: Any = network.branches if isinstance(network, Parallel) else ()
    if len(members) != 2 or not all(isinstance(each, Sequential) for each in members):
        raise ConfigError(f"the network is a {type(network).__name__} without n-grams beside convolutions over words")
    counts = [sum(not isinstance(layer, Dense | Dropout) for layer in each.layers) for each in members]
    layer = Parallel(
        tuple(Sequential(each.layers[:count]) for each, count in zip(members, counts, strict=True)),
        inputs=network.inputs,  # type: ignore[attr-defined]
    )
    kept, its = (tuple(part[:count] for part, count in zip(whole, counts, strict=True)) for whole in (params, state))
    return Trunk(encoder, layer, kept, its)


def placed(variables: tuple[Any, Any], names: tuple[str, ...], trunks: Mapping[str, Trunk]) -> tuple[Any, Any]:
    """``(params, state)`` of a network of towers with those of the trunks in their places, before each tower's last layer.

    Args:
        variables: as the network's ``init`` draws them.
        names: of the towers, in their order.
    """

    def of(part: Any, which: int) -> Any:
        towers = list(part)
        for place, name in enumerate(names):
            if name in trunks:
                own = towers[place]
                towers[place] = (*own[:-2], trunks[name].variables[which], own[-1])
        return tuple(towers)

    return of(variables[0], 0), of(variables[1], 1)


def rates_of(model: Any, trunks: Mapping[str, Trunk]) -> tuple[tuple[str, float], ...]:
    """The multipliers of the updates of trunks that learn more slowly, by their paths; see :func:`~danlu.optim.by_part`."""
    return tuple(
        (f"{place}/{len(tower.layers) - 2}", trunks[name].rate)
        for place, (name, tower) in enumerate(zip(model.names, model.towers, strict=True))
        if name in trunks and trunks[name].rate not in (0.0, 1.0)
    )
