"""The units of a network that can be taken out of it: neurons, channels, heads, hidden units; with every row and column that is theirs.

A unit of a layer has columns in the layer's kernel (and in its bias, the norm after it, …) and rows in the kernel of the layer that reads
it. A network is followed in the sequence in which it computes: units are *open* from the layer that makes them to the one that reads them,
through layers that treat each by itself (activations, pooling, batch norm, depthwise convolutions, flattening). What is open where two
ways are added, normalised together or handed out must stay.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from danlu.nn import (
    GRU,
    LSTM,
    Activation,
    AdaptiveAveragePool,
    AveragePool,
    BatchNorm,
    Conv,
    ConvTranspose,
    Dense,
    Dropout,
    FeedForward,
    Flatten,
    GlobalAveragePool,
    GlobalMaxPool,
    LayerScale,
    MaxOverTime,
    MaxPool,
    MultiHeadAttention,
    Parallel,
    PerToken,
    Remat,
    Sequential,
    SimpleRNN,
    SwiGLU,
    TabularNet,
    ZeroPadding,
)
from danlu.nn.layer import Layer

__all__ = ["Cut", "Units", "units_of"]

_EACH = (
    *(Activation, Dropout, MaxPool, AveragePool, GlobalAveragePool, GlobalMaxPool, AdaptiveAveragePool),
    *(Flatten, ZeroPadding, MaxOverTime),
)
_MIXING = ("softmax", "log_softmax")  # activations of all units together
Variables = dict[str, tuple[Any, Any]]


@dataclasses.dataclass(frozen=True)
class Cut:
    """Where units stand in an array.

    Attributes:
        path, tree, name: of the layer, ``"params"`` or ``"state"``, and the array's name there.
        axis: along which they stand.
        role: ``"in"``: what makes the unit, ``"out"``: what reads it, ``"gain"``: what scales it, ``"none"``: neither counts.
        first, width, size: the units are ``size`` of ``width`` features, from ``first`` on, and the features repeat along the axis.
        block: so many places of the axis belong to one unit, beside each other: the features of a head.
    """

    path: str
    tree: str
    name: str
    axis: int
    role: str
    first: int
    width: int
    size: int
    block: int = 1

    def unit_of(self, length: int) -> np.ndarray:
        """The unit that each place of the axis belongs to, ``(length,)``; −1 for those of others."""
        unit = np.arange(length) // self.block % self.width - self.first
        return np.where((unit >= 0) & (unit < self.size), unit, -1)


@dataclasses.dataclass
class Units:
    """Units that can be taken out.

    Attributes:
        path: of the layer that makes them.
        count: how many there are.
        noun: what they are, in the plural.
        cuts: where they stand.
        fields: of which layers (by path) which fields say how many there are.
        tied: units of the same key must stay as many as each other.
    """

    path: str
    count: int
    noun: str
    cuts: list[Cut]
    fields: list[tuple[str, Callable[[Layer, int], Layer]]]
    tied: str = ""

    def scores(self, variables: Variables) -> np.ndarray:
        """How much each unit matters, ``(count,)``: ``‖in‖·‖out‖·|gain|``, relative to the mean square of all."""
        found = {"in": np.zeros(self.count), "out": np.zeros(self.count)}
        gain = np.ones(self.count)
        for cut in self.cuts:
            array = np.asarray(_array(variables, cut), np.float64)
            unit = cut.unit_of(array.shape[cut.axis])
            square = np.square(np.moveaxis(array, cut.axis, 0).reshape(len(unit), -1)).sum(axis=1)  # (places,)
            each = np.bincount(unit[unit >= 0], square[unit >= 0], minlength=self.count)
            if cut.role in found:
                found[cut.role] += each
            elif cut.role == "gain":
                gain *= each
            elif cut.role == "spread":
                gain /= np.sqrt(each) + 1e-5
        scores = np.sqrt(found["in"] * (found["out"] if found["out"].any() else 1.0) * gain)
        return scores / (np.sqrt(np.mean(np.square(scores))) or 1.0)


def _array(variables: Variables, cut: Cut) -> Any:
    return variables[cut.path][cut.tree == "state"][cut.name]


def units_of(network: Layer, params: Any, state: Any) -> tuple[list[Units], Variables]:
    """All units that can be taken out, and the variables of the layers that they stand in, by path."""
    search = _Search()
    search.follow("", network, params, state, [])
    return search.found, search.variables


@dataclasses.dataclass
class _Open:
    """Units on their way to the layer that reads them: ``first`` of ``width`` features."""

    units: Units
    first: int
    width: int

    def cut(self, path: str, tree: str, name: str, axis: int, role: str) -> None:
        self.units.cuts.append(Cut(path, tree, name, axis, role, self.first, self.width, self.units.count))


class _Search:
    def __init__(self) -> None:
        self.found: list[Units] = []
        self.variables: Variables = {}

    def follow(self, path: str, layer: Layer, params: Any, state: Any, open: list[_Open]) -> list[_Open]:
        """The units that are open after the layer."""
        inner = layer.expanded if layer.expanded != layer else layer
        if isinstance(inner, Sequential | PerToken | Remat):
            for i, (name, part) in enumerate(layer.children()):
                open = self.follow(f"{path}/{name}".lstrip("/"), part, params[i], state[i], open)
            return open
        self.variables[path] = params, state
        if isinstance(layer, _EACH):
            return [] if isinstance(layer, Activation) and layer.activation in _MIXING else open
        if isinstance(layer, BatchNorm | LayerScale):
            for each in open:
                each.cut(path, "params", "scale", -1, "gain")
                for tree, names in (("params", params), ("state", state)):
                    for name in names:
                        if name != "scale":
                            each.cut(path, tree, name, -1, "spread" if name == "variance" else "none")
            return open
        if isinstance(layer, Conv) and layer.groups > 1:
            return self._depthwise(path, layer, params, open)
        if isinstance(layer, Dense | Conv | ConvTranspose):
            self._read(path, "kernel", -2, open)
            field = "units" if isinstance(layer, Dense) else "features"
            units = Units(path, getattr(layer, field), "units" if field == "units" else "channels", [], [])
            return self._made(path, layer, params, units, field)
        if isinstance(layer, LSTM | GRU | SimpleRNN):
            return self._recurrent(path, layer, params, open)
        if isinstance(layer, Parallel) and layer.merge == "concatenate" and layer.inputs is None:
            return self._side_by_side(path, layer, params, state)
        if isinstance(layer, FeedForward | SwiGLU):
            units = Units(path, layer.hidden, "hidden units", [], [(path, _with("hidden"))])
            for name in params:
                if name != "down_bias":
                    axis, role = (0, "out") if name == "down" else (-1, "in")
                    units.cuts.append(Cut(path, "params", name, axis, role, 0, layer.hidden, layer.hidden))
            self.found.append(units)
        elif isinstance(layer, MultiHeadAttention):
            self._heads(path, layer, params)
        elif isinstance(layer, TabularNet):
            self._tabular(path, layer, params)
        for i, (name, part) in enumerate(layer.children()):
            self.follow(f"{path}/{name}".lstrip("/"), part, params[i], state[i], [])
        return []

    def _read(self, path: str, name: str, axis: int, open: list[_Open]) -> None:
        """A layer reads the open units: they are complete."""
        for each in open:
            each.cut(path, "params", name, axis, "out")
            self.found.append(each.units)

    def _made(self, path: str, layer: Any, params: Any, units: Units, field: str) -> list[_Open]:
        if getattr(layer, "activation", "") in _MIXING:
            return []
        units.fields.append((path, _with(field)))
        made = _Open(units, 0, units.count)
        for name in params:
            made.cut(path, "params", name, -1, "in")
        return [made]

    def _depthwise(self, path: str, layer: Conv, params: Any, open: list[_Open]) -> list[_Open]:
        (made,) = open if len(open) == 1 else (None,)
        if made is None or made.first or not made.width == made.units.count == layer.groups == layer.features:
            return []
        for name in params:
            made.cut(path, "params", name, -1, "gain" if name == "kernel" else "none")
        made.units.fields.append((path, lambda each, count: each.replace(features=count, groups=count)))
        return open

    def _recurrent(self, path: str, layer: Any, params: Any, open: list[_Open]) -> list[_Open]:
        self._read(path, "kernel", 0, open)
        units = Units(path, layer.units, "recurrent units", [], [])
        made = self._made(path, layer, params, units, "units")
        made[0].cut(path, "params", "recurrent_kernel", 0, "out")
        return made

    def _side_by_side(self, path: str, layer: Parallel, params: Any, state: Any) -> list[_Open]:
        after = [
            self.follow(f"{path}/{name}".lstrip("/"), part, params[i], state[i], [])
            for i, (name, part) in enumerate(layer.children())
        ]
        if not all(len(each) == 1 for each in after):  # a branch of unknown width
            return []
        open = [each[0] for each in after]
        width, first = sum(each.width for each in open), 0
        for each in open:
            each.first, first, each.width = first + each.first, first + each.width, width
        return open

    def _heads(self, path: str, layer: MultiHeadAttention, params: Any) -> None:
        heads, groups = layer.num_heads, layer.kv_heads
        d = params["query"].shape[-1] // heads
        of = {"query": heads // groups * d, "key": d, "value": d}
        units = Units(path, groups, "heads", [], [(path, _fewer_heads(d))])
        for name in params:
            whose = name.removesuffix("_bias")
            if whose in of:
                role = "in" if whose == "value" else "none"
                units.cuts.append(Cut(path, "params", name, -1, role, 0, groups, groups, of[whose]))
        units.cuts.append(Cut(path, "params", "output", 0, "out", 0, groups, groups, of["query"]))
        self.found.append(units)

    def _tabular(self, path: str, layer: TabularNet, params: Any) -> None:
        for number in range(layer.depth):
            units = Units(path, layer.width, "hidden units", [], [(path, _with("width"))], tied=path)
            reads = ("head", 1) if number == layer.depth - 1 else (f"kernel_{number + 1}", 0)
            places = [(f"kernel_{number}", -1, "in"), (f"bias_{number}", -1, "none"), (*reads, "out")]
            units.cuts = [Cut(path, "params", *place, 0, layer.width, layer.width) for place in places]
            self.found.append(units)


def _with(field: str) -> Callable[[Layer, int], Layer]:
    return lambda layer, count: layer.replace(**{field: count})


def _fewer_heads(dim: int) -> Callable[[Layer, int], Layer]:
    def fewer(layer: Any, groups: int) -> Layer:
        kept: Layer = layer.replace(
            num_heads=groups * (layer.num_heads // layer.kv_heads),
            num_kv_heads=None if layer.num_kv_heads is None else groups,
            head_dim=dim,
        )
        return kept

    return fewer
