"""What a translation looked at: the weights of a decoder's cross-attention."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from danlu.errors import ConfigError
from danlu.nn.attention import MultiHeadAttention, PerToken
from danlu.nn.attention.dot_product import attend_forward
from danlu.nn.combine import Sequential
from danlu.nn.layer import Layer, Params, State
from danlu.nn.transformer.block import Sublayer
from danlu.nn.transformer.encoder_decoder import EncoderDecoder
from danlu.nn.transformer.tied import Tied

__all__ = ["cross_attention"]


def cross_attention(model: Layer, params: Params, state: State, x: Any) -> jax.Array:
    """How much each target token looked at each source token, in each layer and head of the decoder.

    The weights are ``softmax(Q·Kᵀ/√d)`` of the forward pass on ``x``. They say what was read, not what decided: another
    pattern can give the same output (Jain & Wallace 2019, arXiv:1902.10186).

    Args:
        model: an :class:`~danlu.nn.EncoderDecoder`, such as a :class:`~danlu.nn.Transformer`.
        params, state: its variables.
        x: as the model takes it.

    Returns:
        ``(layers, batch, heads, target time, source time)``; over the source's real tokens they sum to 1.

    Raises:
        ConfigError: a model without cross-attention.

    Example:
        >>> from danlu.nn import Transformer
        >>> net = Transformer(50, dim=8, num_layers=3, num_heads=2, hidden=16)
        >>> params, state, _ = net.init(jax.random.key(0), {"source": (9,), "target": (7,)})
        >>> x = {"source": jnp.ones((1, 9), int), "target": jnp.ones((1, 7), int)}
        >>> cross_attention(net, params, state, x).shape
        (3, 1, 2, 7, 9)
    """
    network = model.expanded
    if not isinstance(network, EncoderDecoder):
        raise ConfigError(f"cross_attention received a {type(model).__name__}; expected an encoder-decoder")
    return _weights(network, params, state, x)


@functools.partial(jax.jit, static_argnames="network")
def _weights(network: EncoderDecoder, params: Params, state: State, x: Any) -> jax.Array:
    encoded, _ = network.encoder.apply(params[0], state[0], network.source(x))
    found: list[jax.Array] = []

    def run(layer: Layer, params: Params, state: State, x: Any) -> Any:
        layer = layer.expanded
        if isinstance(layer, Sequential):
            for index, (_, child) in enumerate(layer.children()):
                x = run(child, params[index], state[index], x)
            return x
        if isinstance(layer, Sublayer):
            attention = layer.layer.expanded
            if isinstance(attention, MultiHeadAttention) and attention.cross:
                normed = PerToken(layer.norm).apply((params[0],), (state[0],), x)[0] if layer.norm_first else x
                inputs = attention.prepared(params[1], state[1], normed, train=False, key=None)
                weights = attend_forward(*inputs)[1][3]
                batch, groups, size, time, other = weights.shape
                found.append(weights.reshape(batch, groups * size, time, other))
        return layer.apply(params, state, x)[0]

    decoder, given = network.decoder.expanded, network.target(x, encoded)
    if isinstance(decoder, Tied):
        embedded, _ = decoder.embedding.apply(params[1][0], state[1][0], given["x"])
        decoder, variables, given = decoder.body, (params[1][1], state[1][1]), {**given, "x": embedded}
    else:
        variables = params[1], state[1]
    run(decoder, *variables, given)
    if not found:
        raise ConfigError(f"{type(network.decoder).__name__} has no cross-attention in reach")
    return jnp.stack(found)
