"""GPT: a decoder over tokens, from GPT-2's architecture to Llama's by its settings."""

from __future__ import annotations

import functools

from danlu.blueprint import setting
from danlu.errors import ConfigError
from danlu.nn.activations import ACTIVATIONS
from danlu.nn.attention.positions import LearnedPositions, SinusoidalPositions
from danlu.nn.attention.sequence import PerToken
from danlu.nn.combine import Sequential
from danlu.nn.dense import Dense
from danlu.nn.dropout import Dropout
from danlu.nn.embedding import Embedding
from danlu.nn.initializers import Normal
from danlu.nn.layer import Layer
from danlu.nn.transformer.block import TransformerBlock, norm_layer
from danlu.nn.transformer.shorthand import Shorthand
from danlu.nn.transformer.tied import Tied

__all__ = ["GPT"]


class GPT(Shorthand):
    """A language model: for each token the logits of the next one. The defaults are GPT-2's architecture, small size.

    It is shorthand: :attr:`expanded` is the same network out of simpler layers, with the same params and state.

    ======== =============================================================================================
    GPT-2    the defaults (124,439,808 parameters); ``dropout=0.1, attention_dropout=0.1`` to train as it was
    Llama    ``positions="rotary", norm="rms", feed_forward="swiglu", bias="none", tied=False``
    ======== =============================================================================================

    Args:
        vocabulary: how many tokens there are.
        context: the longest sequence, for learned positions.
        dim: features of a token.
        num_layers, num_heads, num_kv_heads: blocks, heads of each, and key heads (None: as many as heads).
        hidden: of the feed-forward layers; None is ``4·dim``.
        positions: ``"learned"``, ``"rotary"`` (base 10000) or ``"sinusoidal"``.
        feed_forward, activation, norm, bias, epsilon: see :class:`~danlu.nn.TransformerBlock`.
        dropout: on embeddings and on what each sublayer adds, in [0, 1).
        attention_dropout: on attention weights, in [0, 1).
        tied: whether the output kernel is the embedding's table.

    Kernels start as N(0, 0.02²); those that write onto the shortcut as N(0, 0.02²/(2·num_layers)), so that the sum of all
    sublayers keeps its size.

    Input: token numbers ``(batch, time)``, or ``{"x": numbers, "mask": (batch, time)}``; see
    :mod:`danlu.nn.attention.sequence`. Output: logits ``(batch, time, vocabulary)``.

    Reference: Radford et al. (2019), "Language models are unsupervised multitask learners", section 2.3; the tied head and
    tanh-GELU are those of its released code.

    Example:
        >>> import jax
        >>> net = GPT(65, 64, dim=32, num_layers=2, num_heads=4)
        >>> params, state, out_shape = net.init(jax.random.key(0), (64,))
        >>> out_shape
        (64, 65)
    """

    vocabulary: int = setting(default=50257, minimum=2, integer=True)
    context: int = setting(default=1024, minimum=1, integer=True)
    dim: int = setting(default=768, minimum=1, integer=True)
    num_layers: int = setting(default=12, minimum=1, integer=True)
    num_heads: int = setting(default=12, minimum=1, integer=True)
    num_kv_heads: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    hidden: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    positions: str = setting(default="learned", choices=("learned", "rotary", "sinusoidal"))
    feed_forward: str = setting(default="mlp", choices=("mlp", "swiglu"))
    activation: str = setting(default="gelu_tanh", choices=ACTIVATIONS)
    norm: str = setting(default="layer", choices=("layer", "rms"))
    bias: str = setting(default="all", choices=("all", "qkv", "none"))
    epsilon: float = setting(default=1e-5, above=0)
    dropout: float = setting(default=0.0, minimum=0, below=1)
    attention_dropout: float = setting(default=0.0, minimum=0, below=1)
    tied: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dim % self.num_heads:
            raise ConfigError(
                f"GPT.dim is {self.dim} and GPT.num_heads {self.num_heads}; expected heads that divide the features"
            )
        _ = self.expanded

    @property
    def expanded(self) -> Layer:
        """The same network out of simpler layers."""
        return _expanded(self)


@functools.lru_cache(maxsize=64)
def _expanded(gpt: GPT) -> Layer:
    small = Normal(0.02)
    block = TransformerBlock(
        gpt.num_heads,
        gpt.hidden or 4 * gpt.dim,
        causal=True,
        num_kv_heads=gpt.num_kv_heads,
        rotary_base=10000.0 if gpt.positions == "rotary" else None,
        feed_forward=gpt.feed_forward,
        activation=gpt.activation,
        dropout=gpt.dropout,
        attention_dropout=gpt.attention_dropout,
        bias=gpt.bias,
        norm=gpt.norm,
        epsilon=gpt.epsilon,
        initializer=small,
        output_initializer=Normal(0.02 / (2 * gpt.num_layers) ** 0.5),
    )
    layers: list[Layer] = []
    if gpt.positions != "rotary":
        layers.append(LearnedPositions(gpt.context, small) if gpt.positions == "learned" else SinusoidalPositions())
    if gpt.dropout:
        layers.append(PerToken(Dropout(gpt.dropout)))
    layers += [*[block] * gpt.num_layers, PerToken(norm_layer(gpt.norm, gpt.epsilon))]
    embedding = Embedding(gpt.vocabulary, gpt.dim, small)
    if gpt.tied:
        return Tied(embedding, Sequential(tuple(layers)))
    head = PerToken(Dense(gpt.vocabulary, initializer=small, use_bias=False), head=True)
    return Sequential((PerToken(embedding), *layers, head))
