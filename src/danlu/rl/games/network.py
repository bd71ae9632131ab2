"""The networks of players: from a board to a policy and a value."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.errors import ConfigError
from danlu.nn import Activation, Conv, Dense, Flatten, GroupNorm, Parallel, Residual, Sequential
from danlu.nn.initializers import Orthogonal
from danlu.nn.layer import Layer, Params, Shape, State
from danlu.rl.games.board import Game

__all__ = ["BODIES", "Gated", "Planes", "board_network"]

BODIES = ("auto", "dense", "windows", "residual")


class Planes(Layer):
    """A board as float32, from any type. Params and state: ``{}``."""

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        return {}, {}, in_shape

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[jax.Array, State]:
        return jnp.asarray(x, jnp.float32), state


class Gated(Layer):
    """A layer that learns with one set of weights and is used with another, set by the last :meth:`keep`.

    Params: the layer's. State: ``{"layer": the layer's, "kept": weights in use}``. In training (``train=True``) the params count, otherwise
    the kept ones.

    Example:
        >>> layer = Gated(Dense(1))
        >>> params, state, _ = layer.init(jax.random.key(0), (2,))
        >>> learnt = jax.tree.map(lambda leaf: leaf + 1, params)
        >>> x = jnp.ones((1, 2))
        >>> bool((layer.apply(learnt, state, x)[0] == layer.apply(params, state, x)[0]).all())
        True
        >>> state = layer.keep(learnt, state)
        >>> bool((layer.apply(learnt, state, x)[0] == layer.apply(params, state, x)[0]).all())
        True
    """

    layer: Layer

    def children(self) -> tuple[tuple[str, Layer], ...]:
        return ()

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        params, state, shape = self.layer.init(key, in_shape)
        return params, {"layer": state, "kept": jax.tree.map(jnp.array, params)}, shape

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        y, inner = self.layer.apply(params if train else state["kept"], state["layer"], x, train=train, key=key)
        return y, {**state, "layer": inner}

    def keep(self, params: Params, state: State) -> State:
        """The state in which ``params`` are the weights in use."""
        return {**state, "kept": params}

    def flops(self, in_shape: Shape) -> int | None:
        return self.layer.flops(in_shape)


def board_network(game: Game, *, body: str, hidden: tuple[int, ...], channels: int, blocks: int) -> Layer:
    """A body with two heads: ``{"policy": (batch, actions) logits, "value": (batch, 1) in −1 … 1}``, for the player to move.

    The logits are of all moves; who uses them leaves the illegal ones out.

    Args:
        body: ``"dense"``: hidden layers on the flat board. ``"windows"``: a 4 × 4 convolution without a border, then hidden layers: every
            four in a row lies in one window, and on a CPU it is ten times as fast as a residual tower. ``"residual"``: a tower of
            ``blocks`` of two 3 × 3 convolutions round a shortcut. ``"auto"``: what suits the size of the board.
        hidden: units of the hidden layers.
        channels: of the convolutions.
        blocks: of the tower.

    Reference: Silver et al. (2017), "Mastering the game of Go without human knowledge", methods, for the tower and the heads; here each
    block begins with group norm over the whole board (He et al., arXiv:1603.05027) in place of batch norm: nothing depends on the batch.

    Example:
        >>> net = board_network(Game("connect-four"), body="windows", hidden=(64,), channels=32, blocks=0)
        >>> net.out_shape((6, 7, 2))
        {'policy': (7,), 'value': (1,)}
    """
    if body == "auto":
        rows, columns = game.board_shape[:2]
        body = "dense" if min(rows, columns) < 4 else "windows" if min(rows, columns) < 8 else "residual"
    if min(game.board_shape[:2]) < 4 and body == "windows":
        raise ConfigError(f"a board of {game.board_shape[:2]} has no 4 x 4 window", hint='use body="dense"')
    units = tuple(Dense(units, "relu", Orthogonal(2**0.5)) for units in hidden)
    heads: tuple[Layer, Layer] = (
        Dense(game.actions, initializer=Orthogonal(0.1)),
        Dense(1, "tanh", Orthogonal(0.1)),
    )
    if body == "residual":
        inner: tuple[Layer, ...] = (Conv(channels), *(_block(channels) for _ in range(blocks)), Activation("relu"))
        heads = (
            Sequential((Conv(max(channels // 4, 2), 1, activation="relu"), Flatten(), heads[0])),
            Sequential((Conv(max(channels // 8, 1), 1, activation="relu"), Flatten(), *units[-1:], heads[1])),
        )
    elif body == "windows":
        inner = (Conv(channels, 4, padding="valid", activation="relu"), Flatten(), *units)
    else:
        inner = (Flatten(), *units)
    return Sequential((Planes(), *inner, Parallel(heads, merge="dict", outputs=("policy", "value"))))


def _block(channels: int) -> Layer:
    return Residual(
        Sequential((GroupNorm(1), Activation("relu"), Conv(channels), GroupNorm(1), Activation("relu"), Conv(channels)))
    )
