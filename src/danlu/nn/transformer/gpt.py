"""GPT: a decoder over tokens, from GPT-2's architecture to Llama's by its settings."""

from __future__ import annotations

from danlu.blueprint import setting
from danlu.nn.activations import ACTIVATIONS
from danlu.nn.attention.positions import LearnedPositions, SinusoidalPositions
from danlu.nn.attention.sequence import PerToken
from danlu.nn.combine import Sequential
from danlu.nn.dense import Dense
from danlu.nn.dropout import Dropout
from danlu.nn.embedding import Embedding
from danlu.nn.initializers import Normal
from danlu.nn.layer import Layer
from danlu.nn.shorthand import Shorthand
from danlu.nn.transformer.block import TransformerBlock, check_heads, norm_layer
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
        check_heads("GPT", self.dim, self.num_heads)
        _ = self.expanded

    def build(self) -> Layer:
        small = Normal(0.02)
        block = TransformerBlock(
            self.num_heads,
            self.hidden or 4 * self.dim,
            causal=True,
            num_kv_heads=self.num_kv_heads,
            rotary_base=10000.0 if self.positions == "rotary" else None,
            feed_forward=self.feed_forward,
            activation=self.activation,
            dropout=self.dropout,
            attention_dropout=self.attention_dropout,
            bias=self.bias,
            norm=self.norm,
            epsilon=self.epsilon,
            initializer=small,
            output_initializer=Normal(0.02 / (2 * self.num_layers) ** 0.5),
        )
        layers: list[Layer] = []
        if self.positions != "rotary":
            layers.append(
                LearnedPositions(self.context, small) if self.positions == "learned" else SinusoidalPositions()
            )
        if self.dropout:
            layers.append(PerToken(Dropout(self.dropout)))
        layers += [*[block] * self.num_layers, PerToken(norm_layer(self.norm, self.epsilon))]
        embedding = Embedding(self.vocabulary, self.dim, small)
        if self.tied:
            return Tied(embedding, Sequential(tuple(layers)))
        head = PerToken(Dense(self.vocabulary, initializer=small, use_bias=False), head=True)
        return Sequential((PerToken(embedding), *layers, head))
