"""The default network for tables: column embeddings, then many small networks that share almost all their weights."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.blueprint import setting
from danlu.errors import ConfigError
from danlu.nn._keys import required_key
from danlu.nn._precision import repeated
from danlu.nn._shapes import drawn
from danlu.nn.layer import Layer, Params, Shape, State
from danlu.nn.table_embeddings import CategoricalEmbedding, NumericEmbedding

__all__ = ["TabularNet"]

_INPUTS = ("numeric", "categorical", "text")


def _hashed_bits(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """32 bits for each element, from one random seed and a counter (MurmurHash3's finaliser).

    Dropout needs no more than this, and on a CPU a counter-based generator costs as much as the matrix product beside
    it.
    """
    bits: jax.Array = jax.lax.iota(jnp.uint32, math.prod(shape)) * jnp.uint32(0x9E3779B9) ^ jax.random.bits(key)
    bits = (bits ^ (bits >> 16)) * jnp.uint32(0x85EBCA6B)
    bits = (bits ^ (bits >> 13)) * jnp.uint32(0xC2B2AE35)
    return (bits ^ (bits >> 16)).reshape(shape)


class TabularNet(Layer):
    """An ensemble of multilayer perceptrons that share their weights: TabM-mini with embedded columns.

    Member ``m`` computes ``h₀ = r_m ⊙ embed(x)``, ``h_l = dropout(relu(h_{l−1} W_l + b_ml))``, ``outputs_m = h_L H_m
    + c_m + x S``. Only the scales ``r``, the biases and the heads are the member's own, so the members cost one
    wide matrix product a layer, and they disagree enough to make a good ensemble. Train on the
    mean of the members' losses; average their *predictions* (probabilities or values, not logits). The
    shortcut ``S`` from the numeric columns starts at 0 and is shared by the members:
    on few rows most of what can be learnt is a line.

    Args:
        units: outputs of each member: classes, or 1 for regression.
        vocabularies: the number of codes of each categorical column, "unknown" included; () without such columns.
        members: members of the ensemble.
        width: units of each hidden layer.
        depth: hidden layers.
        dropout: rate after each hidden layer, in [0, 1).
        numeric: how numeric columns are embedded.
        category_dim: see :class:`~danlu.nn.table_embeddings.CategoricalEmbedding`.
        one_hot_limit: see there.

    Input: a dict with one or more of ``"numeric": (n,)``, ``"categorical": (c,)`` codes and ``"text": (t,)`` features.
    Output: ``(batch, members, units)``.

    Params: ``{"numeric", "categorical", "scale": (members, d), "kernel_L", "bias_L", "head", "head_bias",
        "shortcut"}``.
    State: ``{"numeric": the bins, "rate": ()}``; set the bins by :meth:`with_bins`.

    Reference:
        Gorishniy, Kotelnikov & Babenko, "TabM: advancing tabular deep learning with parameter-efficient ensembling"
        (ICLR 2025), section 3.3 (TabM-mini); the scales are drawn once a column as in the authors' code. Ours also
        has a bias a member in each hidden layer, and a gain on the embeddings (in the spirit of RealMLP's
        learning-rate factors, Holzmüller, Grinsztajn & Steinwart, NeurIPS 2024).

    Example:
        >>> net = TabularNet(3, vocabularies=(4,), members=5, width=8)
        >>> params, state, out_shape = net.init(jax.random.key(0), {"numeric": (2,), "categorical": (1,)})
        >>> x = {"numeric": jnp.zeros((6, 2)), "categorical": jnp.zeros((6, 1), jnp.int32)}
        >>> out_shape, net.apply(params, state, x)[0].shape
        ((5, 3), (6, 5, 3))
    """

    units: int = setting(minimum=1, integer=True)
    vocabularies: tuple[int, ...] = ()
    members: int = setting(default=16, minimum=1, integer=True)
    width: int = setting(default=192, minimum=1, integer=True)
    depth: int = setting(default=2, minimum=1, integer=True)
    dropout: float = setting(default=0.1, minimum=0, below=1)
    numeric: NumericEmbedding = NumericEmbedding()
    category_dim: int = setting(default=8, minimum=1, integer=True)
    one_hot_limit: int = setting(default=16, minimum=0, integer=True)

    @property
    def categorical(self) -> CategoricalEmbedding:
        """The layer that embeds the categorical columns."""
        return CategoricalEmbedding(
            self.vocabularies, dim=self.category_dim, one_hot_limit=self.one_hot_limit, gain=self.numeric.gain
        )

    def _checked(self, in_shape: Shape) -> Mapping[str, Any]:
        if not isinstance(in_shape, Mapping) or not in_shape or not set(in_shape) <= set(_INPUTS):
            raise ConfigError(
                f"TabularNet received {in_shape!r}; expected a dict with one or more of {', '.join(_INPUTS)}",
                hint="a table encoder's transform() gives such a dict",
            )
        return in_shape

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        shapes = self._checked(in_shape)
        numeric_key, categorical_key, scale_key, body_key = jax.random.split(key, 4)
        params: dict[str, Any] = {}
        state: dict[str, Any] = {"rate": jnp.asarray(self.dropout, float)}
        sections: list[int] = []
        if "numeric" in shapes:
            params["numeric"], state["numeric"], _ = self.numeric.init(numeric_key, shapes["numeric"])
            sections += [self.numeric.dim] * shapes["numeric"][0]
        if "categorical" in shapes:
            params["categorical"], _, _ = self.categorical.init(categorical_key, shapes["categorical"])
            sections += self.categorical.sections
        if "text" in shapes:
            sections += [1] * shapes["text"][0]
        [scale] = drawn(jax.random.normal, scale_key, [(self.members, len(sections))])
        params["scale"] = jnp.repeat(scale, np.asarray(sections), axis=1)

        fans = [sum(sections), *[self.width] * self.depth]
        weights: dict[str, tuple[int, tuple[int, ...]]] = {}
        for layer in range(self.depth):
            weights[f"kernel_{layer}"] = fans[layer], (fans[layer], self.width)
            weights[f"bias_{layer}"] = fans[layer], (self.members, self.width)
        weights["head"] = self.width, (self.members, self.width, self.units)
        weights["head_bias"] = self.width, (self.members, self.units)
        uniform = functools.partial(jax.random.uniform, minval=-1.0, maxval=1.0)
        parts = drawn(uniform, body_key, [shape for _, shape in weights.values()])
        params |= {
            name: part / math.sqrt(fan_in) for (name, (fan_in, _)), part in zip(weights.items(), parts, strict=True)
        }
        if "numeric" in shapes:
            params["shortcut"] = jnp.zeros((shapes["numeric"][0], self.units))
        return params, state, (self.members, self.units)

    def with_bins(self, state: State, numeric: np.ndarray | None) -> State:
        """``state`` with the bins set from the training rows ``numeric (rows, columns)``; None changes nothing."""
        if numeric is None or "numeric" not in state:
            return state
        return {**state, "numeric": self.numeric.with_bins(state["numeric"], numeric)}

    def decays(self, params: Params) -> Params:
        """True for the parameters that weight decay is meant for: every weight, but no bias and no member's scale."""

        def decayed(path: Any, _: Any) -> bool:
            name = path[-1].key
            return not (name in ("scale", "offset", "frequency", "head_bias") or name.startswith("bias_"))

        return jax.tree_util.tree_map_with_path(decayed, params)

    def embed(self, params: Params, state: State, x: Mapping[str, Any]) -> jax.Array:
        """The embedded columns side by side, ``(batch, features)``, as every member receives them."""
        parts = []
        if "numeric" in x:
            parts.append(self.numeric.apply(params["numeric"], state["numeric"], x["numeric"])[0])
        if "categorical" in x:
            parts.append(self.categorical.apply(params["categorical"], {}, x["categorical"])[0])
        if "text" in x:
            parts.append(x["text"])
        return jnp.concatenate(parts, axis=1)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        dropping = required_key("TabularNet", key) if train and self.dropout > 0 else None
        embedded = self.embed(params, state, self._checked(x))
        members, rows = self.members, embedded.shape[0]
        whole = (members, *embedded.shape)
        # Members first: each layer is one 2-D product, and the heads one product a member without transposing.
        hidden = jax.lax.collapse(repeated(embedded[None], whole) * repeated(params["scale"][:, None], whole), 0, 2)
        for layer in range(self.depth):
            hidden = (hidden @ params[f"kernel_{layer}"]).reshape(members, rows, self.width)
            hidden = jax.nn.relu(hidden + repeated(params[f"bias_{layer}"][:, None], hidden.shape))
            if dropping is not None:
                kept = 1 - state["rate"]
                limit = (kept * 16777216).astype(jnp.uint32)
                bits = _hashed_bits(jax.random.fold_in(dropping, layer), hidden.shape) >> 8
                hidden = jnp.where(bits < limit, hidden / kept, 0.0)
            hidden = jax.lax.collapse(hidden, 0, 2)
        # (members, rows, width)·(members, width, units): (members, rows, units)
        outputs = jnp.einsum("mrw,mwu->mru", hidden.reshape(members, rows, hidden.shape[-1]), params["head"])
        outputs = (outputs + repeated(params["head_bias"][:, None], outputs.shape)).transpose(1, 0, 2)
        if "numeric" in x:
            outputs = outputs + repeated((x["numeric"] @ params["shortcut"])[:, None], outputs.shape)
        return outputs, state

    def flops(self, in_shape: Shape) -> int:
        shapes = self._checked(in_shape)
        inputs = sum(self.categorical.sections) if "categorical" in shapes else 0
        total = 0
        if "numeric" in shapes:
            inputs += shapes["numeric"][0] * self.numeric.dim
            total += self.numeric.flops(shapes["numeric"])
        if "categorical" in shapes:
            total += self.categorical.flops(shapes["categorical"])
        inputs += shapes["text"][0] if "text" in shapes else 0
        products = inputs * self.width + (self.depth - 1) * self.width**2 + self.width * self.units
        return total + self.members * (inputs + 2 * products)
