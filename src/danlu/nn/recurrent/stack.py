"""Recurrent layers together: both directions at once, and a stack of layers over a stream cut in pieces."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.errors import ConfigError
from danlu.nn.attention.sequence import PerToken, replaced, tokens
from danlu.nn.combine import Activation, Sequential
from danlu.nn.dense import Dense
from danlu.nn.dropout import Dropout
from danlu.nn.embedding import Embedding
from danlu.nn.layer import Layer, Params, Shape, State
from danlu.nn.norm import BatchNorm, LayerNorm
from danlu.nn.recurrent.rnn import Recurrent

__all__ = ["Bidirectional", "stream"]


class Bidirectional(Layer):
    """A recurrent layer from the first step to the last and another from the last to the first, outputs side by side.

    With ``return_sequences``, step ``t`` holds what the one knows of the steps up to ``t`` and the other of those from ``t``
    on; otherwise each gives its last output. Padding may stand anywhere: neither carry changes there.

    Args:
        layer: the layer of the forward direction; the other is its ``reverse``, with weights of its own.

    Params and state: a pair, forward first. In PyTorch: the parameters without and with the suffix ``_reverse``.

    Raises:
        ConfigError: ``layer`` is not recurrent, or is a reverse one.

    Reference: Schuster & Paliwal (1997), "Bidirectional recurrent neural networks".

    Example:
        >>> from danlu.nn.recurrent.lstm import LSTM
        >>> Bidirectional(LSTM(4)).out_shape((10, 3))
        (10, 8)
    """

    layer: Recurrent

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layer.reverse:
            raise ConfigError(
                f"Bidirectional.layer is {self.layer!r}; expected a recurrent layer with reverse=False",
                hint="such as Bidirectional(LSTM(64))",
            )

    def children(self) -> tuple[tuple[str, Layer], ...]:
        return (("forward", self.layer), ("reverse", self.layer.replace(reverse=True)))

    def init(self, key: jax.Array, in_shape: Shape) -> tuple[Params, State, Shape]:
        done = [layer.init(jax.random.fold_in(key, i), in_shape) for i, (_, layer) in enumerate(self.children())]
        shape = tokens(done[0][2])
        out_shape = replaced(done[0][2], (*shape[:-1], 2 * shape[-1]))
        return tuple(d[0] for d in done), tuple(d[1] for d in done), out_shape

    def apply(
        self, params: Params, state: State, x: Any, *, train: bool = False, key: jax.Array | None = None
    ) -> tuple[Any, State]:
        outputs = [layer.apply(params[i], state[i], x)[0] for i, (_, layer) in enumerate(self.children())]
        return self.merged(outputs), state

    def merged(self, outputs: list[Any]) -> Any:
        """The outputs of both directions as one."""
        return replaced(outputs[0], jnp.concatenate([tokens(y) for y in outputs], axis=-1))

    def shares(self, d_y: Any) -> list[Any]:
        """Each direction's half of an error signal of the merged output."""
        return [replaced(d_y, half) for half in jnp.split(tokens(d_y), 2, axis=-1)]

    def flops(self, in_shape: Shape) -> int:
        return 2 * self.layer.flops(in_shape)


# What treats each step alone, so that a stream may be cut anywhere.
_STEPWISE = (Activation, BatchNorm, Dense, Dropout, Embedding, LayerNorm)


def stream(layer: Layer, params: Params, state: State, x: Any, carry: Any = None) -> tuple[Any, Any]:
    """The output of a network for one piece of a long stream, and the carry with which the next piece goes on.

    Pieces one after the other give exactly what the whole gives at once; a piece may be one step. It is the network in use
    (no dropout), a pure function, and can be compiled.

    Args:
        layer: a recurrent layer, a layer that treats each step alone, or a Sequential of such (a :class:`CharRNN`).
        params, state: the network's.
        x: the piece, ``(batch, time, ...)``, or such a dict with a mask.
        carry: what the piece before returned; None at the start.

    Returns:
        ``(y, carry)``; the carry is a tuple with the structure of the layers.

    Raises:
        ConfigError: a layer that needs the steps to come (``reverse``, :class:`Bidirectional`), or one that is not known to
            treat each step alone; wrap it in :class:`PerToken` if it does.

    Example:
        >>> from danlu.nn.recurrent.gru import GRU
        >>> net = Sequential((GRU(4), Dense(2)))
        >>> params, state, _ = net.init(jax.random.key(0), (6, 3))
        >>> x = jax.random.normal(jax.random.key(1), (1, 6, 3))
        >>> y, carry = stream(net, params, state, x[:, :4])
        >>> rest, _ = stream(net, params, state, x[:, 4:], carry)
        >>> bool(jnp.allclose(rest, net.apply(params, state, x)[0][:, 4:], atol=1e-6))
        True
    """
    layer = layer.expanded
    if isinstance(layer, Sequential):
        carries = (None,) * len(layer.layers) if carry is None else carry
        after = []
        for index, part in enumerate(layer.layers):
            x, own = stream(part, params[index], state[index], x, carries[index])
            after.append(own)
        return x, tuple(after)
    if isinstance(layer, Recurrent) and not layer.reverse:
        return layer.run(params, x, carry)
    if not isinstance(layer, (PerToken, *_STEPWISE)):
        raise ConfigError(
            f"stream received {layer!r}, which may look at future steps",
            hint="take PerToken(layer) if it treats each step alone",
        )
    return layer.apply(params, state, x)[0], ()
