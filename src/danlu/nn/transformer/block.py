"""The Transformer's block: attention and a feed-forward layer, each with a norm, dropout and a shortcut."""

from __future__ import annotations

from typing import Any

import jax

from danlu.blueprint import setting
from danlu.errors import ConfigError
from danlu.nn._shapes import size
from danlu.nn.activations import ACTIVATIONS
from danlu.nn.attention.attention import MultiHeadAttention
from danlu.nn.attention.sequence import replaced, sequence_shape, tokens
from danlu.nn.combine import Sequential, child_key
from danlu.nn.dropout import Dropout
from danlu.nn.initializers import Initializer
from danlu.nn.layer import Layer, Params, Shape, State
from danlu.nn.norm import LayerNorm
from danlu.nn.rms_norm import RMSNorm
from danlu.nn.shorthand import Shorthand
from danlu.nn.swiglu import SwiGLU
from danlu.nn.transformer.feed_forward import FeedForward

__all__ = ["Sublayer", "TransformerBlock", "check_heads", "norm_layer"]


def check_heads(owner: str, dim: int, num_heads: int) -> None:
    """Raise ConfigError unless ``num_heads`` divides the features."""
    if dim % num_heads:
        raise ConfigError(f"{owner} has dim={dim} and num_heads={num_heads}; expected heads that divide the features")


def norm_layer(norm: str, epsilon: float) -> Layer:
    """The norm called ``"layer"`` or ``"rms"``."""
    return LayerNorm(epsilon) if norm == "layer" else RMSNorm(epsilon)


class Sublayer(Layer):
    """A layer of a Transformer with its norm, dropout and shortcut.

    Norm first: ``y = x + drop(f(norm(x)))``, which trains without a warm-up since gradients pass the shortcut untouched.
    Norm last: ``y = norm(x + drop(f(x)))``, as in the first Transformer and BERT.

    Args:
        layer: ``f``: one that keeps shapes and takes a sequence's dict, such as MultiHeadAttention or FeedForward.
        norm: a layer on features, such as ``LayerNorm()``.
        norm_first: which of the two.
        dropout: rate in [0, 1) on what ``f`` adds.

    Reference: Xiong et al. (2020), arXiv:2002.04745, figure 1; Vaswani et al. (2017), section 3.1.
    """

    layer: Layer
    norm: Layer = LayerNorm()
    norm_first: bool = True
    dropout: float = setting(default=0.0, minimum=0, below=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("layer", "norm"):
            if not isinstance(getattr(self, field), Layer):
                raise ConfigError(f"Sublayer.{field} is {getattr(self, field)!r}; expected a layer")

    def children(self) -> tuple[tuple[str, Layer], ...]:
        parts: tuple[tuple[str, Layer], ...] = (("norm", self.norm), ("layer", self.layer))
        return (*parts, ("dropout", Dropout(self.dropout))) if self.dropout else parts

    def child_shapes(self, in_shape: Shape) -> tuple[Shape, ...]:
        return (tokens(in_shape), in_shape, tokens(in_shape))[: len(self.children())]

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        sequence_shape("Sublayer", in_shape)
        drawn = [
            layer.init(jax.random.fold_in(key, i), shape)
            for i, ((_, layer), shape) in enumerate(zip(self.children(), self.child_shapes(in_shape), strict=True))
        ]
        if drawn[1][2] != in_shape:
            raise ConfigError(
                f"Sublayer adds shapes {drawn[1][2]} and {in_shape}; expected a layer that keeps its shape"
            )
        return tuple(d[0] for d in drawn), tuple(d[1] for d in drawn), in_shape

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        states: list[State] = [()] * len(state)

        def run(index: int, x: Any) -> Any:
            layer = self.children()[index][1]
            y, states[index] = layer.apply(params[index], state[index], x, train=train, key=child_key(key, index))
            return y

        given = tokens(x)
        inner = run(1, replaced(x, run(0, given)) if self.norm_first else x)
        added = tokens(inner)
        y = given + (run(2, added) if self.dropout else added)
        return replaced(x, y if self.norm_first else run(0, y)), tuple(states)

    def flops(self, in_shape: Shape) -> int | None:
        parts = [layer.flops(s) for (_, layer), s in zip(self.children(), self.child_shapes(in_shape), strict=True)]
        return None if any(part is None for part in parts) else sum(p or 0 for p in parts) + size(tokens(in_shape))


class TransformerBlock(Shorthand):
    """Self-attention, cross-attention if wanted, and a feed-forward layer: one block of an encoder or a decoder.

    It is shorthand: :attr:`expanded` is the same block as a Sequential of Sublayers, with the same params and state. An
    encoder's block is the default; ``causal=True`` makes it a decoder's (GPT); with ``cross=True`` as well it reads
    ``x["context"]`` (translation).

    Args:
        num_heads, num_kv_heads, causal, rotary_base, bias: see :class:`~danlu.nn.MultiHeadAttention`; ``bias="none"`` takes
            the biases out of the feed-forward layer too.
        hidden: size of the feed-forward layer.
        cross: whether there is a cross-attention between the two.
        feed_forward: ``"mlp"`` or ``"swiglu"``.
        activation: of ``"mlp"``.
        dropout: rate on what each sublayer adds, in [0, 1).
        attention_dropout: rate on attention weights, in [0, 1).
        norm: ``"layer"`` or ``"rms"``.
        norm_first: see :class:`Sublayer`.
        epsilon: of the norms.
        initializer: of every kernel; None is each layer's own default.
        output_initializer: of the kernels that write onto the shortcut (attention's output, the feed-forward's last).

    Input and output ``(batch, time, features)``, or a dict; see :mod:`danlu.nn.attention.sequence`.

    Example:
        >>> block = TransformerBlock(4, 64, causal=True)
        >>> block.init(jax.random.key(0), (7, 16))[2]
        (7, 16)
        >>> [type(sublayer.layer).__name__ for sublayer in block.expanded.layers]
        ['MultiHeadAttention', 'FeedForward']
    """

    num_heads: int = setting(minimum=1, integer=True)
    hidden: int = setting(minimum=1, integer=True)
    causal: bool = False
    cross: bool = False
    num_kv_heads: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    rotary_base: float | None = setting(default=None, above=1, optional=True)
    feed_forward: str = setting(default="mlp", choices=("mlp", "swiglu"))
    activation: str = setting(default="gelu", choices=ACTIVATIONS)
    dropout: float = setting(default=0.0, minimum=0, below=1)
    attention_dropout: float = setting(default=0.0, minimum=0, below=1)
    bias: str = setting(default="all", choices=("all", "qkv", "none"))
    norm: str = setting(default="layer", choices=("layer", "rms"))
    norm_first: bool = True
    epsilon: float = setting(default=1e-5, above=0)
    initializer: str | Initializer | None = None
    output_initializer: str | Initializer | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.expanded

    def build(self) -> Sequential:
        output = self.output_initializer if self.output_initializer is not None else self.initializer
        attention = MultiHeadAttention(
            self.num_heads,
            self.num_kv_heads,
            causal=self.causal,
            rotary_base=self.rotary_base,
            dropout=self.attention_dropout,
            bias=self.bias,
            initializer=self.initializer or "glorot_uniform",
            output_initializer=output,
        )
        between: Layer
        if self.feed_forward == "swiglu":
            between = SwiGLU(self.hidden, self.initializer or "lecun_normal", output)
        else:
            between = FeedForward(self.hidden, self.activation, self.bias == "all", self.initializer, output)
        parts: list[Layer] = [attention, between]
        if self.cross:
            parts.insert(1, attention.replace(causal=False, rotary_base=None, cross=True))
        norm = norm_layer(self.norm, self.epsilon)
        return Sequential(tuple(Sublayer(part, norm, self.norm_first, self.dropout) for part in parts))
