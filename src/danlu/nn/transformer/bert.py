"""BERT: an encoder over tokens, for masked words or for classes."""

from __future__ import annotations

from danlu.blueprint import setting
from danlu.errors import ConfigError
from danlu.nn.activations import ACTIVATIONS
from danlu.nn.attention.positions import LearnedPositions
from danlu.nn.attention.sequence import PerToken
from danlu.nn.combine import Sequential
from danlu.nn.dense import Dense
from danlu.nn.dropout import Dropout
from danlu.nn.embedding import Embedding
from danlu.nn.initializers import TruncatedNormal
from danlu.nn.layer import Layer
from danlu.nn.norm import LayerNorm
from danlu.nn.shorthand import Shorthand
from danlu.nn.transformer.block import TransformerBlock, check_heads
from danlu.nn.transformer.pool import Pool
from danlu.nn.transformer.segments import Segments
from danlu.nn.transformer.tied import Tied

__all__ = ["BERT"]


class BERT(Shorthand):
    """An encoder in which every token sees every other. The defaults are BERT base.

    It is shorthand: :attr:`expanded` is the same network out of simpler layers, with the same params and state.

    Args:
        vocabulary: how many tokens there are.
        context: the longest sequence.
        dim: features of a token.
        num_layers, num_heads: blocks, and heads of each.
        hidden: of the feed-forward layers; None is ``4·dim``.
        outputs: 0 gives each token's features; with ``head="class"``, how many logits a sequence gets.
        head: ``"none"``; ``"tokens"``: logits over the vocabulary for each token (masked language modelling; the output
            kernel is the embedding's table); ``"class"``: from the first token, through a tanh layer, ``outputs`` logits.
        activation, norm_first, epsilon: see :class:`~danlu.nn.TransformerBlock`.
        dropout: on embeddings, sublayers and attention weights, in [0, 1).
        segments: how many segments a sequence may have (see :class:`~danlu.nn.Segments`), 0 for no such table; published weights
            have 2.
        tokens_bias: whether the logits over the vocabulary have a bias, as those of published weights do.

    Input: token numbers ``(batch, time)``, or ``{"x": numbers, "mask": (batch, time), "segments": (batch, time)}``; see
    :mod:`danlu.nn.attention.sequence`.

    Reference: Devlin et al. (2019), arXiv:1810.04805. :func:`danlu.weights.load` reads published weights.

    Example:
        >>> import jax
        >>> net = BERT(100, 16, dim=8, num_layers=1, num_heads=2, head="class", outputs=3)
        >>> net.init(jax.random.key(0), {"x": (16,), "mask": (16,)})[2]
        (3,)
    """

    vocabulary: int = setting(default=30522, minimum=2, integer=True)
    context: int = setting(default=512, minimum=1, integer=True)
    dim: int = setting(default=768, minimum=1, integer=True)
    num_layers: int = setting(default=12, minimum=1, integer=True)
    num_heads: int = setting(default=12, minimum=1, integer=True)
    hidden: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    head: str = setting(default="none", choices=("none", "tokens", "class"))
    outputs: int = setting(default=0, minimum=0, integer=True)
    activation: str = setting(default="gelu", choices=ACTIVATIONS)
    norm_first: bool = False
    epsilon: float = setting(default=1e-12, above=0)
    dropout: float = setting(default=0.0, minimum=0, below=1)
    segments: int = setting(default=0, minimum=0, integer=True)
    tokens_bias: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.head == "class") != (self.outputs > 0):
            raise ConfigError(
                f"BERT has head={self.head!r} and outputs={self.outputs}; expected outputs with head='class' and no other"
            )
        if self.tokens_bias and self.head != "tokens":
            raise ConfigError(f"BERT has tokens_bias and head={self.head!r}; expected head='tokens' with it")
        check_heads("BERT", self.dim, self.num_heads)

    def build(self) -> Layer:
        small = TruncatedNormal(0.02)
        norm = PerToken(LayerNorm(self.epsilon))
        block = TransformerBlock(
            self.num_heads,
            self.hidden or 4 * self.dim,
            activation=self.activation,
            dropout=self.dropout,
            attention_dropout=self.dropout,
            norm_first=self.norm_first,
            epsilon=self.epsilon,
            initializer=small,
        )
        layers: list[Layer] = [Segments(self.segments, small)] if self.segments else []
        layers += [LearnedPositions(self.context, small), norm]
        if self.dropout:
            layers.append(PerToken(Dropout(self.dropout)))
        layers += [block] * self.num_layers
        if self.norm_first:  # the shortcut has not been normalised since the embeddings
            layers.append(norm)
        embedding = Embedding(self.vocabulary, self.dim, small)
        if self.head == "tokens":
            layers += [PerToken(Dense(self.dim, self.activation, small)), norm]
            return Tied(embedding, Sequential(tuple(layers)), self.tokens_bias)
        if self.head == "class":
            layers += [Pool("first"), Dense(self.dim, "tanh", small), Dense(self.outputs, initializer=small)]
        return Sequential((PerToken(embedding), *layers))
