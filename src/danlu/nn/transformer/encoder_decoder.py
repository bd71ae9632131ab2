"""The original Transformer: an encoder reads one sequence, a decoder writes another."""

from __future__ import annotations

from typing import Any

import jax

from danlu.blueprint import setting
from danlu.errors import DataError
from danlu.nn.activations import ACTIVATIONS
from danlu.nn.attention.positions import SinusoidalPositions
from danlu.nn.attention.sequence import PerToken, tokens
from danlu.nn.combine import Sequential, child_key
from danlu.nn.dropout import Dropout
from danlu.nn.embedding import Embedding
from danlu.nn.initializers import Normal
from danlu.nn.layer import Layer, Params, Shape, State
from danlu.nn.shorthand import Shorthand
from danlu.nn.transformer.block import TransformerBlock, check_heads, norm_layer
from danlu.nn.transformer.tied import Tied

__all__ = ["EncoderDecoder", "Transformer"]


class EncoderDecoder(Layer):
    """``decoder(target, context=encoder(source))``.

    Args:
        encoder: from a sequence to a sequence.
        decoder: from a sequence whose dict has ``"context"`` (and maybe ``"context_mask"``) to whatever it gives.

    Input: ``{"source": …, "target": …}`` and maybe ``"source_mask"``, ``"target_mask"``, each ``(batch, time)`` of bool;
    see :mod:`danlu.nn.attention.sequence`. To train, ``target`` is the wanted sequence moved right by one (its first token
    says "begin"), and the loss compares the output with the wanted sequence.

    Reference: Vaswani et al. (2017), arXiv:1706.03762, section 3.1.
    """

    encoder: Layer
    decoder: Layer

    def children(self) -> tuple[tuple[str, Layer], ...]:
        return (("encoder", self.encoder), ("decoder", self.decoder))

    def source(self, x: Any) -> Any:
        """What the encoder receives, of arrays or of shapes."""
        for name in ("source", "target"):
            if name not in x:
                raise DataError(
                    f"EncoderDecoder received {', '.join(map(repr, x)) or 'nothing'}; expected 'source' and 'target'"
                )
        return {"x": x["source"], **({"mask": x["source_mask"]} if "source_mask" in x else {})}

    def target(self, x: Any, context: Any) -> Any:
        """What the decoder receives, of arrays or of shapes."""
        names = (("target_mask", "mask"), ("source_mask", "context_mask"))
        masks = {new: x[old] for old, new in names if old in x}
        return {"x": x["target"], "context": tokens(context), **masks}

    def child_shapes(self, in_shape: Shape) -> tuple[Shape, ...]:
        source = self.source(in_shape)
        return source, self.target(in_shape, self.encoder.out_shape(source))

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        shapes = self.child_shapes(in_shape)
        drawn = [layer.init(jax.random.fold_in(key, i), shapes[i]) for i, (_, layer) in enumerate(self.children())]
        return tuple(d[0] for d in drawn), tuple(d[1] for d in drawn), drawn[1][2]

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        h, first = self.encoder.apply(params[0], state[0], self.source(x), train=train, key=child_key(key, 0))
        y, last = self.decoder.apply(params[1], state[1], self.target(x, h), train=train, key=child_key(key, 1))
        return y, (first, last)

    def flops(self, in_shape: Shape) -> int | None:
        parts = [
            layer.flops(shape) for (_, layer), shape in zip(self.children(), self.child_shapes(in_shape), strict=True)
        ]
        return None if any(part is None for part in parts) else sum(part or 0 for part in parts)


class Transformer(Shorthand):
    """An encoder-decoder for translation and the like; the defaults are the paper's base model but for norms that come first.

    It is shorthand: :attr:`expanded` is the same network out of simpler layers, with the same params and state.

    Args:
        vocabulary: tokens of the target language, and of the source's unless ``source_vocabulary`` says otherwise.
        source_vocabulary: tokens of the source language; None is ``vocabulary``.
        dim, num_heads, hidden: features of a token, heads, size of the feed-forward layers.
        num_layers: blocks of the encoder, and of the decoder.
        activation, norm_first, epsilon: see :class:`~danlu.nn.TransformerBlock`.
        dropout: on embeddings and sublayers, in [0, 1).

    Input: as :class:`EncoderDecoder`, of token numbers. Output: logits ``(batch, target time, vocabulary)``, an array.

    Reference: Vaswani et al. (2017), arXiv:1706.03762. There one table serves source, target and output; here the source
    has its own, since its vocabulary may be another.

    Example:
        >>> net = Transformer(50, dim=8, num_layers=1, num_heads=2, hidden=16)
        >>> net.init(jax.random.key(0), {"source": (9,), "target": (7,), "source_mask": (9,)})[2]
        (7, 50)
    """

    vocabulary: int = setting(minimum=2, integer=True)
    source_vocabulary: int | None = setting(default=None, minimum=2, integer=True, optional=True)
    dim: int = setting(default=512, minimum=1, integer=True)
    num_layers: int = setting(default=6, minimum=1, integer=True)
    num_heads: int = setting(default=8, minimum=1, integer=True)
    hidden: int = setting(default=2048, minimum=1, integer=True)
    activation: str = setting(default="relu", choices=ACTIVATIONS)
    norm_first: bool = True
    epsilon: float = setting(default=1e-5, above=0)
    dropout: float = setting(default=0.0, minimum=0, below=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_heads("Transformer", self.dim, self.num_heads)

    def build(self) -> EncoderDecoder:
        def stack(*, decoder: bool) -> list[Layer]:
            block = TransformerBlock(
                self.num_heads,
                self.hidden,
                activation=self.activation,
                dropout=self.dropout,
                norm_first=self.norm_first,
                epsilon=self.epsilon,
                causal=decoder,
                cross=decoder,
            )
            layers: list[Layer] = [SinusoidalPositions(self.dim**0.5)]
            layers += [PerToken(Dropout(self.dropout))] if self.dropout else []
            layers += [block] * self.num_layers
            return [*layers, PerToken(norm_layer("layer", self.epsilon))] if self.norm_first else layers

        # Times √dim in front of the positions these have variance 1; as an output kernel they keep logits near 1 as well.
        small = Normal(self.dim**-0.5)
        source = Embedding(self.source_vocabulary or self.vocabulary, self.dim, small)
        encoder = Sequential((PerToken(source), *stack(decoder=False)))
        decoder = Tied(Embedding(self.vocabulary, self.dim, small), Sequential(tuple(stack(decoder=True))))
        return EncoderDecoder(encoder, decoder)
