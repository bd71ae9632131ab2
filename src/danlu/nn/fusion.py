"""Several modalities of one row: a tower each, and what makes one answer of their features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import setting
from danlu.errors import ConfigError
from danlu.nn._keys import required_key
from danlu.nn._precision import repeated
from danlu.nn.combine import child_key
from danlu.nn.layer import Layer, Params, Shape, State
from danlu.nn.tabular import TabularNet
from danlu.nn.transformer.block import TransformerBlock

__all__ = ["FUSIONS", "Fusion"]

FUSIONS = ("late", "mid", "blend")
"""Where modalities meet: in the head, by attention before it, or only in the mean of their own heads' answers."""


class Fusion(Layer):
    """Columns of a table, pictures, texts, recordings: ``y = head([x_table; z_1; …; z_k; p])``.

    ``z_i = tower_i(x_i)`` where the row has the modality (``p_i = 1``), and else the learnt vector ``a_i``, "absent". Of an absent table
    the numbers are a learnt row, and the categories code 0, "unknown". In training a modality that is there is taken away with
    probability ``dropout``, never the last one of a row, so that ``a_i`` is learnt and no modality is relied on alone.

    Args:
        names: of the modalities beside the table, in the order of ``towers``.
        towers: what gives the features of each, ``(features,)``.
        head: the network of the table's columns, which takes all features as further columns; its members are the output's.
        features: how many each tower gives.
        table: whether there are columns of a table.
        kind: one of :data:`FUSIONS`. ``"late"``: as above. ``"mid"``: before the head, the features (one token a modality, the table's
            from a network of its own) attend to each other in a Transformer's block. ``"blend"``: each modality has a head of its own,
            and the members of all stand side by side; what takes two modalities together is never learnt.
        dropout: the share of the modalities that is taken away in training, in [0, 1).

    Input: ``{"parts": {name: …}, "present": (modalities,)}``, and ``"table": {"numeric", "categorical"}``; the table is the first modality.
    Output: ``(batch, members, units)``; with ``"blend"`` the members of each modality, the table's first.

    Params: a tuple of the children's, then ``{"absent": {name: (features,)}, "row": (numeric,)}``.
    State: a tuple of the children's, then ``{"rate": ()}``.

    Reference: Baltrušaitis, Ahuja & Morency, "Multimodal machine learning: a survey and taxonomy" (2019), section 6; modality dropout:
        Neverova, Wolf, Taylor & Nebout, "ModDrop" (2016), section 4.2, where what is dropped is 0 instead of learnt.

    Example:
        >>> from danlu.nn.dense import Dense
        >>> net = Fusion(("photo",), (Dense(4),), TabularNet(2, members=3, width=8), 4)
        >>> shape = {"table": {"numeric": (2,)}, "parts": {"photo": (6,)}, "present": (2,)}
        >>> net.out_shape(shape)
        (3, 2)
    """

    names: tuple[str, ...]
    towers: tuple[Layer, ...]
    head: TabularNet
    features: int = setting(minimum=1, integer=True)
    table: bool = True
    kind: str = setting(default="late", choices=FUSIONS)
    dropout: float = setting(default=0.1, minimum=0, below=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.names) != len(self.towers) or not self.towers:
            raise ConfigError(
                f"Fusion has the names {self.names} and {len(self.towers)} towers; expected one name a tower"
            )

    @property
    def modalities(self) -> int:
        """How many there are, the table included."""
        return self.table + len(self.towers)

    @property
    def _plain(self) -> TabularNet:
        """The head of features alone."""
        return self.head.replace(vocabularies=())

    @property
    def _token(self) -> TabularNet:
        """What gives the table's token, of as many features as the others have."""
        return self.head.replace(members=1, units=self.features)

    @property
    def _block(self) -> TransformerBlock:
        heads = next(count for count in (4, 2, 1) if self.features % count == 0)
        return TransformerBlock(heads, 2 * self.features)

    def children(self) -> tuple[tuple[str, Layer], ...]:
        towers = tuple(zip(self.names, self.towers, strict=True))
        if self.kind == "blend":
            own = (("table/head", self.head),) if self.table else ()
            return (*towers, *own, *((f"{name}/head", self._plain) for name in self.names))
        if self.kind == "mid":
            token = (("table/token", self._token),) if self.table else ()
            return (*towers, *token, ("attention", self._block), ("head", self.head))
        return (*towers, ("head", self.head))

    def child_shapes(self, in_shape: Shape) -> tuple[Shape, ...]:
        if not isinstance(in_shape, Mapping) or "parts" not in in_shape or self.table != ("table" in in_shape):
            expected = "a dict with parts, present" + (" and table" if self.table else "")
            raise ConfigError(f"Fusion received {in_shape!r}; expected {expected}")
        parts: Any = in_shape["parts"]
        table: Any = in_shape.get("table", {})
        towers = [parts[name] for name in self.names]
        if self.kind == "blend":
            return (*towers, *([table] if self.table else []), *[{"text": (self.features,)}] * len(towers))
        head = {**table, "text": (len(towers) * self.features + self.modalities,)}
        if self.kind == "mid":
            return (*towers, *([table] if self.table else []), (self.modalities, self.features), head)
        return (*towers, head)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        shapes = self.child_shapes(in_shape)
        drawn = [
            layer.init(jax.random.fold_in(key, i), shape)
            for i, ((_, layer), shape) in enumerate(zip(self.children(), shapes, strict=True))
        ]
        for name, (_, _, shape) in zip(self.names, drawn, strict=False):
            if shape != (self.features,):
                raise ConfigError(
                    f"the tower of {name!r} gives the shape {shape}; expected ({self.features},), as all do"
                )
        own: dict[str, Any] = {"absent": {name: jnp.zeros(self.features) for name in self.names}}
        numeric = in_shape["table"].get("numeric") if self.table else None  # type: ignore[call-overload, union-attr]
        if numeric is not None:
            own["row"] = jnp.zeros(numeric)
        members = self.head.members * (self.modalities if self.kind == "blend" else 1)
        rate = {"rate": jnp.asarray(self.dropout, float)}
        return (*(d[0] for d in drawn), own), (*(d[1] for d in drawn), rate), (members, self.head.units)

    def _kept(self, here: jax.Array, rate: jax.Array, key: jax.Array) -> jax.Array:
        """The modalities that a row keeps in training, ``(batch, modalities)``: of what it has, all but those that are drawn."""
        kept = here & (jax.random.uniform(key, here.shape) >= rate)
        return jnp.where(kept.any(axis=1, keepdims=True), kept, here)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        here = x["present"] > 0
        if train:
            drawn = jax.random.fold_in(required_key("Fusion", key), len(params))
            here = self._kept(here, state[-1]["rate"], drawn)
        own, states, layers = params[-1], list(state), self.children()

        def run(index: int, given: Any) -> Any:
            layer = layers[index][1]
            out, states[index] = layer.apply(params[index], state[index], given, train=train, key=child_key(key, index))
            return out

        features = []
        for index, name in enumerate(self.names):
            found = run(index, x["parts"][name])
            there = here[:, self.table + index, None]
            features.append(jnp.where(there, found, repeated(own["absent"][name][None], found.shape)))
        table = self._table(own, x["table"], here[:, 0]) if self.table else {}
        first = len(features)  # of the children after the towers
        if self.kind == "blend":
            given = [*([table] if self.table else []), *({"text": each} for each in features)]
            return jnp.concatenate([run(first + i, each) for i, each in enumerate(given)], axis=1), tuple(states)
        if self.kind == "mid":
            tokens = [run(first, table)[:, 0]] if self.table else []
            # (batch, modalities, features): each modality is a token.
            mixed = run(first + self.table, jnp.stack([*tokens, *features], axis=1))
            features = [mixed[:, place] for place in range(self.table, self.modalities)]
        flags = here.astype(features[0].dtype)
        return run(len(layers) - 1, {**table, "text": jnp.concatenate([*features, flags], axis=1)}), tuple(states)

    def _table(self, own: Params, table: Mapping[str, Any], here: jax.Array) -> dict[str, Any]:
        found = dict(table)
        if "numeric" in found:
            found["numeric"] = jnp.where(
                here[:, None], found["numeric"], repeated(own["row"][None], found["numeric"].shape)
            )
        if "categorical" in found:
            found["categorical"] = jnp.where(here[:, None], found["categorical"], 0)
        return found

    def with_bins(self, state: State, numeric: np.ndarray | None) -> State:
        """``state`` with the bins of the table's numbers set from training rows; see :meth:`TabularNet.with_bins`."""
        return tuple(
            self.head.with_bins(each, numeric) if isinstance(each, Mapping) and "numeric" in each else each
            for each in state
        )

    def decays(self, params: Params) -> Params:
        """True for the parameters that weight decay is meant for: those of two axes or more, and of heads as they declare it."""
        found = [
            self.head.decays(each)
            if isinstance(each, Mapping) and "head_bias" in each
            else jax.tree.map(lambda a: a.ndim > 1, each)
            for each in params[:-1]
        ]
        return (*found, jax.tree.map(lambda _: False, params[-1]))

    def flops(self, in_shape: Shape) -> int | None:
        shapes = self.child_shapes(in_shape)
        return sum(layer.flops(shape) or 0 for (_, layer), shape in zip(self.children(), shapes, strict=True))
