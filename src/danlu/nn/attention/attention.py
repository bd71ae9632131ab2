"""Multi-head attention: self-attention and cross-attention, causal or not, with grouped key heads and rotary positions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.errors import ConfigError, DataError
from danlu.nn._keys import required_key
from danlu.nn._precision import repeated
from danlu.nn._shapes import check_last_axis, on_last_axis
from danlu.nn.attention.dot_product import attend, attend_fused, can_fuse
from danlu.nn.attention.positions import rotate
from danlu.nn.attention.sequence import padding_mask, replaced, sequence_shape, token_positions, tokens
from danlu.nn.dropout import dropout_scale
from danlu.nn.initializers import Initializer, get_initializer
from danlu.nn.layer import Layer, Params, Shape, State

__all__ = ["MultiHeadAttention", "Prepared"]


class Prepared(NamedTuple):
    """The arguments of :func:`~danlu.nn.attention.dot_product.attend`: heads first, masks as one, dropout drawn."""

    query: jax.Array
    key: jax.Array
    value: jax.Array
    mask: jax.Array | None
    drop: jax.Array | None


class MultiHeadAttention(Layer):
    """Each token's weighted mean of the tokens it sees: ``concat_h(softmax(Q_h·K_hᵀ/√d + M)·V_h)·W_o + b_o``.

    ``Q = x·W_q + b_q``; ``K`` and ``V`` likewise, from ``x`` itself or, with ``cross``, from the context; each is cut into
    heads of ``d`` features. ``M`` is −∞ where a token must not look (padding; the future, when causal), else 0.

    Args:
        num_heads: query heads.
        num_kv_heads: key and value heads, each shared by ``num_heads/num_kv_heads`` query heads (grouped-query
            attention; 1 is multi-query attention); None is ``num_heads``.
        head_dim: ``d``; None is ``features/num_heads``.
        causal: whether a token sees only itself and those before it.
        cross: whether keys and values come from ``x["context"]``.
        rotary_base: base of rotary positions, such as 10000; None turns nothing.
        dropout: rate in [0, 1) at which single attention weights are dropped in training.
        bias: which products have a bias: ``"all"``, ``"qkv"`` (not the output) or ``"none"``.
        initializer: of ``W_q``, ``W_k`` and ``W_v``. Biases start at 0.
        output_initializer: of ``W_o``; None is ``initializer``.
        implementation: ``"auto"`` uses cuDNN's flash attention on a GPU with 16-bit numbers and no dropout, and the plain
            form elsewhere; ``"plain"`` or ``"cudnn"`` insist.

    Input and output ``(batch, time, features)``, or a dict; see :mod:`danlu.nn.attention.sequence`.

    Params: ``{"query": (features, num_heads·d), "key", "value": (source features, num_kv_heads·d), "output":
    (num_heads·d, features)}`` and their biases ``"query_bias"``, …. State: ``{"rate": ()}`` with dropout, else ``{}``.

    Raises:
        ConfigError: heads that do not divide, an odd ``d`` with rotary positions, or cross together with causal.
        DataError: inputs of another shape; cross-attention without a context.

    Reference: Vaswani et al. (2017), arXiv:1706.03762, section 3.2.2; Ainslie et al. (2023), arXiv:2305.13245.

    Example:
        >>> layer = MultiHeadAttention(4, num_kv_heads=2, causal=True)
        >>> params, state, out_shape = layer.init(jax.random.key(0), (7, 16))
        >>> out_shape, params["query"].shape, params["key"].shape
        ((7, 16), (16, 16), (16, 8))
    """

    num_heads: int = setting(minimum=1, integer=True)
    num_kv_heads: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    head_dim: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    causal: bool = False
    cross: bool = False
    rotary_base: float | None = setting(default=None, above=1, optional=True)
    dropout: float = setting(default=0.0, minimum=0, below=1)
    bias: str = setting(default="all", choices=("all", "qkv", "none"))
    initializer: str | Initializer = "glorot_uniform"
    output_initializer: str | Initializer | None = None
    implementation: str = setting(default="auto", choices=("auto", "plain", "cudnn"))

    def __post_init__(self) -> None:
        super().__post_init__()
        get_initializer(self.initializer)
        if self.output_initializer is not None:
            get_initializer(self.output_initializer)
        if self.num_heads % self.kv_heads:
            raise ConfigError(
                f"MultiHeadAttention has {self.num_heads} heads and {self.kv_heads} key heads; expected a whole number of "
                "heads for each key head"
            )
        if self.cross and (self.causal or self.rotary_base is not None):
            raise ConfigError(
                "MultiHeadAttention has cross together with causal or rotary_base; expected neither",
                hint="a context does not share a time axis with the tokens that attend to it",
            )

    @property
    def kv_heads(self) -> int:
        """How many key and value heads there are."""
        return self.num_kv_heads or self.num_heads

    def width(self, features: int) -> int:
        """``d`` for tokens of ``features`` numbers; ConfigError where they do not divide."""
        if self.head_dim is None and features % self.num_heads:
            raise ConfigError(
                f"MultiHeadAttention cannot divide {features} features into {self.num_heads} heads",
                hint="choose num_heads that divides the features, or set head_dim",
            )
        d = self.head_dim or features // self.num_heads
        if self.rotary_base is not None and d % 2:
            raise ConfigError(
                f"rotary positions turn pairs of features; a head has {d} of them, expected an even number"
            )
        return d

    def _context(self, x: Any) -> Any:
        if not self.cross:
            return tokens(x)
        if not isinstance(x, Mapping) or "context" not in x:
            raise DataError(
                "cross-attention received no context",
                hint="pass {'x': (batch, time, features), 'context': (batch, source time, features)}",
            )
        return x["context"]

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        features = sequence_shape("MultiHeadAttention", in_shape)[1]
        source = sequence_shape("MultiHeadAttention's context", self._context(in_shape))[1]
        d = self.width(features)
        shapes = {
            "query": (features, self.num_heads * d),
            "key": (source, self.kv_heads * d),
            "value": (source, self.kv_heads * d),
            "output": (self.num_heads * d, features),
        }
        draws = dict.fromkeys(shapes, get_initializer(self.initializer))
        if self.output_initializer is not None:
            draws["output"] = get_initializer(self.output_initializer)
        keys = jax.random.split(key, len(shapes))
        params = {name: draws[name](keys[i], shape) for i, (name, shape) in enumerate(shapes.items())}
        for name, shape in shapes.items():
            if self.bias == "all" or (self.bias == "qkv" and name != "output"):
                params[f"{name}_bias"] = jnp.zeros((shape[1],))
        state = {"rate": jnp.asarray(self.dropout, float)} if self.dropout else {}
        return params, state, in_shape

    def project(self, params: Params, name: str, x: jax.Array, positions: jax.Array | None = None) -> jax.Array:
        """Queries, keys or values of ``x``, ``(batch, time, heads, d)``, turned by their positions."""
        check_last_axis("MultiHeadAttention", x, params[name].shape[0])
        y: jax.Array = x.reshape(-1, x.shape[-1]) @ params[name]  # (batch·time, heads·d)
        if f"{name}_bias" in params:
            y = y + repeated(on_last_axis(params[f"{name}_bias"], 2), y.shape)
        heads = self.num_heads if name == "query" else self.kv_heads
        y = y.reshape(*x.shape[:2], heads, y.shape[-1] // heads)
        if positions is None or self.rotary_base is None or name == "value":
            return y
        return rotate(y, positions, self.rotary_base)

    def grouped(self, query: jax.Array) -> jax.Array:
        """Queries ``(batch, time, heads, d)`` as ``(batch, kv heads, group, time, d)``."""
        batch, time, heads, d = query.shape
        return query.reshape(batch, time, self.kv_heads, heads // self.kv_heads, d).transpose(0, 2, 3, 1, 4)

    def ungrouped(self, heads: jax.Array) -> jax.Array:
        """The inverse of :meth:`grouped`, heads side by side: ``(batch·time, heads·d)``."""
        batch, groups, size, time, d = heads.shape
        return heads.transpose(0, 3, 1, 2, 4).reshape(batch * time, groups * size * d)

    def prepared(self, params: Params, state: State, x: Any, *, train: bool, key: jax.Array | None) -> Prepared:
        """Queries, keys, values, the mask and dropout's scale, for one forward pass."""
        given, source = tokens(x), self._context(x)
        time = given.shape[1]
        mask = padding_mask(x, "context_mask", "context") if self.cross else padding_mask(x)
        positions = None if self.rotary_base is None else token_positions(mask, time)
        query = self.grouped(self.project(params, "query", given, positions))
        k, v = (jnp.swapaxes(self.project(params, name, source, positions), 1, 2) for name in ("key", "value"))
        visible = None if mask is None else mask[:, None, None, None, :]
        if self.causal:
            past = jnp.tril(jnp.ones((time, time), jnp.bool_))[None, None, None]
            visible = past if visible is None else past & visible
        drop = None
        if train and self.dropout:
            weights = jnp.zeros((*query.shape[:-1], k.shape[2]), query.dtype)  # its shape is all that counts
            drop = dropout_scale(state["rate"], required_key("MultiHeadAttention", key), weights)
        return Prepared(query, k, v, visible, drop)

    def mixed(self, inputs: Prepared) -> jax.Array:
        """The heads' outputs, ``(batch, kv heads, group, time, d)``."""
        fuse = self.implementation == "auto" and can_fuse(inputs.query, inputs.drop)
        if fuse or self.implementation == "cudnn":
            return attend_fused(inputs.query, inputs.key, inputs.value, inputs.mask)
        return attend(*inputs)

    def output(self, params: Params, heads: jax.Array) -> jax.Array:
        """``concat(heads)·W_o + b_o``, ``(batch, time, features)``."""
        y: jax.Array = self.ungrouped(heads) @ params["output"]  # (batch·time, features)
        if "output_bias" in params:
            y = y + repeated(on_last_axis(params["output_bias"], 2), y.shape)
        return y.reshape(heads.shape[0], heads.shape[3], y.shape[-1])

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        inputs = self.prepared(params, state, x, train=train, key=key)
        return replaced(x, self.output(params, self.mixed(inputs))), state

    def flops(self, in_shape: Shape) -> int:
        given: tuple[int, int] = tokens(in_shape)
        context: tuple[int, int] = self._context(in_shape)
        (time, features), (source_time, source) = given, context
        heads, kv = self.num_heads * self.width(features), self.kv_heads * self.width(features)
        products = 2 * time * features * 2 * heads + 2 * source_time * source * 2 * kv
        return products + time * source_time * (4 * heads + 5 * self.num_heads)
