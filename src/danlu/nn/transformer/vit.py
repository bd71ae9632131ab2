"""The Vision Transformer: an image as a sequence of patches."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.blueprint import setting
from danlu.errors import ConfigError, DataError
from danlu.nn._precision import repeated
from danlu.nn._shapes import array_shape, on_last_axis
from danlu.nn.activations import ACTIVATIONS
from danlu.nn.attention.positions import LearnedPositions
from danlu.nn.attention.sequence import sequence_shape, tokens
from danlu.nn.combine import Sequential
from danlu.nn.dense import Dense
from danlu.nn.dropout import Dropout
from danlu.nn.initializers import TruncatedNormal
from danlu.nn.layer import Layer, Params, Shape, State
from danlu.nn.norm import LayerNorm
from danlu.nn.shorthand import Shorthand
from danlu.nn.transformer.block import TransformerBlock, check_heads
from danlu.nn.transformer.pool import Pool

__all__ = ["ClassToken", "Patches", "ViT"]


class Patches(Layer):
    """An image cut into squares, row by row, each a vector: ``(height, width, channels) → (patches, side²·channels)``.

    Args:
        side: of a square, in pixels; it must divide height and width.

    Params and state: ``{}``.

    Example:
        >>> Patches(4).init(jax.random.key(0), (8, 12, 3))[2]
        (6, 48)
    """

    side: int = setting(minimum=1, integer=True)

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        shape = array_shape("Patches", in_shape)
        if len(shape) != 3 or shape[0] % self.side or shape[1] % self.side:
            raise ConfigError(
                f"Patches received images of shape {shape}; expected (height, width, channels), height and width multiples "
                f"of {self.side}",
                hint="resize or crop the images, or choose another side",
            )
        height, width, channels = shape
        return {}, {}, (height * width // self.side**2, self.side**2 * channels)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        batch, height, width, channels = x.shape
        cut = x.reshape(batch, height // self.side, self.side, width // self.side, self.side, channels)
        return jax.lax.collapse(jax.lax.collapse(cut.transpose(0, 1, 3, 2, 4, 5), 3), 1, 3), state

    def restore(self, patches: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """The inverse: images of ``shape`` ``(batch, height, width, channels)`` from their patches."""
        batch, height, width, channels = shape
        cut = patches.reshape(batch, height // self.side, width // self.side, self.side, self.side, channels)
        return cut.transpose(0, 1, 3, 2, 4, 5).reshape(shape)


class ClassToken(Layer):
    """A learned token in front of the others, which collects information on the whole sequence.

    Params: ``{"token": (features,)}``, from N(0, 0.02²). State: ``{}``.
    """

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        time, features = sequence_shape("ClassToken", array_shape("ClassToken", in_shape))
        return {"token": TruncatedNormal(0.02)(key, (features,))}, {}, (time + 1, features)

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        if tokens(x) is not x:
            raise DataError("ClassToken received a dict; expected an array without padding")
        token = repeated(on_last_axis(params["token"], 3), (x.shape[0], 1, x.shape[2]))
        return jnp.concatenate([token.astype(x.dtype), x], axis=1), state


class ViT(Shorthand):
    """An image classifier. The defaults are ViT-B/16.

    It is shorthand: :attr:`expanded` is the same network as a Sequential, with the same params and state.

    Args:
        outputs: how many logits.
        patch: side of a patch in pixels; it divides the image's height and width.
        dim: features of a patch.
        num_layers, num_heads: blocks, and heads of each.
        hidden: of the feed-forward layers; None is ``4·dim``.
        pool: ``"first"`` (a class token) or ``"mean"`` (of all patches).
        max_patches: rows of the position table, the class token's included; 197 is 224×224 pixels at 16.
        activation, epsilon: see :class:`~danlu.nn.TransformerBlock`.
        dropout: on embeddings and sublayers, in [0, 1).

    Input: images ``(batch, height, width, channels)``. Output: logits ``(batch, outputs)``.

    Reference: Dosovitskiy et al. (2021), arXiv:2010.11929, eqs. 1 to 4.

    Example:
        >>> net = ViT(10, patch=4, dim=16, num_layers=1, num_heads=2, max_patches=5)
        >>> net.init(jax.random.key(0), (8, 8, 3))[2]
        (10,)
    """

    outputs: int = setting(minimum=1, integer=True)
    patch: int = setting(default=16, minimum=1, integer=True)
    dim: int = setting(default=768, minimum=1, integer=True)
    num_layers: int = setting(default=12, minimum=1, integer=True)
    num_heads: int = setting(default=12, minimum=1, integer=True)
    hidden: int | None = setting(default=None, minimum=1, integer=True, optional=True)
    pool: str = setting(default="first", choices=("first", "mean"))
    max_patches: int = setting(default=197, minimum=1, integer=True)
    activation: str = setting(default="gelu", choices=ACTIVATIONS)
    epsilon: float = setting(default=1e-6, above=0)
    dropout: float = setting(default=0.0, minimum=0, below=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_heads("ViT", self.dim, self.num_heads)

    def build(self) -> Sequential:
        small = TruncatedNormal(0.02)
        block = TransformerBlock(
            self.num_heads,
            self.hidden or 4 * self.dim,
            activation=self.activation,
            dropout=self.dropout,
            epsilon=self.epsilon,
        )
        layers: list[Layer] = [Patches(self.patch), Dense(self.dim)]
        layers += [ClassToken()] if self.pool == "first" else []
        layers.append(LearnedPositions(self.max_patches, small))
        layers += [Dropout(self.dropout)] if self.dropout else []
        layers += [
            *[block] * self.num_layers,
            LayerNorm(self.epsilon),
            Pool(self.pool),
            Dense(self.outputs, initializer="zeros"),
        ]
        return Sequential(tuple(layers))
