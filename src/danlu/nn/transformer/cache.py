"""A model one token at a time: what its attention and recurrent layers keep of earlier tokens, as one pure function.

``cached_step`` gives for new tokens what ``apply`` gives for them at the end of the whole sequence, at the cost of the new
tokens alone. It walks the model: attention looks into its cache, recurrent layers go on from their carry, positions continue, and every
other layer, which treats each token alone, is applied as it is.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from danlu.errors import ConfigError, DataError
from danlu.nn.attention.attention import MultiHeadAttention
from danlu.nn.attention.cache import cached_attention, context_cache, empty_cache
from danlu.nn.attention.positions import LearnedPositions, SinusoidalPositions
from danlu.nn.attention.sequence import PerToken, tokens
from danlu.nn.combine import Activation, Sequential
from danlu.nn.dense import Dense
from danlu.nn.dropout import Dropout
from danlu.nn.embedding import Embedding
from danlu.nn.layer import Layer, Params, State
from danlu.nn.norm import LayerNorm
from danlu.nn.quantized.layer import Quantized
from danlu.nn.recurrent.rnn import Recurrent
from danlu.nn.rms_norm import RMSNorm
from danlu.nn.swiglu import SwiGLU
from danlu.nn.transformer.block import Sublayer
from danlu.nn.transformer.feed_forward import FeedForward
from danlu.nn.transformer.tied import Tied

__all__ = ["Cache", "cached_step", "init_cache"]

Cache = dict[str, Any]
_COMPOSITE = (PerToken, Sequential, Sublayer, Tied)
_TOKENWISE = (
    Activation, Dense, Dropout, Embedding, FeedForward, LayerNorm, LearnedPositions, RMSNorm, SinusoidalPositions, SwiGLU,
)  # fmt: skip


def init_cache(
    model: Layer,
    params: Params,
    batch: int,
    length: int,
    *,
    context: jax.Array | None = None,
    context_mask: jax.Array | None = None,
) -> Cache:
    """An empty cache for a decoder.

    Args:
        model, params: a causal model such as :class:`~danlu.nn.GPT` or :class:`~danlu.nn.CharRNN`, or the decoder of an
            :class:`~danlu.nn.EncoderDecoder`.
        batch: how many sequences.
        length: the most tokens that each will ever have, > 0.
        context, context_mask: what the encoder gave, for a decoder with cross-attention; its keys and values are computed
            here, once.

    Returns:
        A tree of arrays; ``"index"`` counts the places taken, ``"mask"`` tells which hold real tokens.

    Raises:
        ConfigError: a layer that cannot work one token at a time, such as attention to the future.
        DataError: more tokens than the model has positions, or a missing context.
    """

    def room(layer: Layer, params: Params) -> Any:
        layer = layer.layer.expanded if isinstance(layer, Quantized) else layer.expanded
        if isinstance(layer, MultiHeadAttention):
            if layer.cross:
                if context is None:
                    raise DataError("a decoder with cross-attention needs a context", hint="init_cache(..., context=…)")
                return context_cache(layer, params, context)
            if layer.causal:
                return empty_cache(layer, params, batch, length)
        elif isinstance(layer, Recurrent):
            if layer.return_sequences and not layer.reverse:
                return (jnp.zeros((batch, layer.units), params["kernel"].dtype),) * layer.cell.carries
        elif isinstance(layer, _COMPOSITE):
            return tuple(room(child, params[i]) for i, (_, child) in enumerate(layer.children()))
        elif isinstance(layer, _TOKENWISE):
            if isinstance(layer, LearnedPositions) and length > layer.length:
                raise DataError(
                    f"{length} tokens are needed; the model has positions for {layer.length}",
                    hint="generate fewer tokens, or cut the prompt",
                )
            return ()
        raise ConfigError(
            f"{layer} cannot work one token at a time",
            hint="generation needs layers that do not look ahead: MultiHeadAttention(causal=True), GPT, LSTM",
        )

    cache: Cache = {
        "index": jnp.zeros((), jnp.int32),
        "mask": jnp.zeros((batch, length), jnp.bool_),
        "layers": room(model, params),
    }
    if context is not None:
        seen = jnp.ones(context.shape[:2], jnp.bool_) if context_mask is None else context_mask
        cache["context_mask"] = seen
    return cache


def cached_step(
    model: Layer, params: Params, state: State, x: jax.Array, cache: Cache, *, mask: jax.Array | None = None
) -> tuple[jax.Array, Cache]:
    """The model's output for new tokens, and the cache after them.

    Args:
        model, params, state: as for ``apply`` (outside training).
        x: the new tokens, ``(batch, new, ...)``, as the model takes them; their number may change from call to call.
        cache: from :func:`init_cache` or the last call. Tokens past its ``length`` overwrite the last places.
        mask: which of the new tokens are real, ``(batch, new)``; None: all.

    Returns:
        ``(y, cache)``; ``y`` is ``apply``'s output at these tokens.

    Example:
        >>> from danlu.nn.transformer.gpt import GPT
        >>> net, x = GPT(9, 8, dim=4, num_layers=1, num_heads=2), jnp.array([[3, 1, 4, 1]])
        >>> params, state, _ = net.init(jax.random.key(0), (4,))
        >>> cache = init_cache(net, params, batch=1, length=4)
        >>> step = jax.jit(cached_step, static_argnums=0)
        >>> _, cache = step(net, params, state, x[:, :3], cache)
        >>> last, cache = step(net, params, state, x[:, 3:], cache)
        >>> bool(jnp.allclose(last, net.apply(params, state, x)[0][:, 3:], atol=1e-6))
        True
    """
    if isinstance(model, Quantized):

        def step(
            params: Params, state: State, x: jax.Array, cache: Cache, mask: jax.Array | None
        ) -> tuple[jax.Array, Cache]:
            return cached_step(model.layer, params, state, x, cache, mask=mask)

        found: tuple[jax.Array, Cache] = model.computed(step, params, state, x, cache, mask)
        return found
    batch, new = x.shape[:2]
    real = jnp.ones((batch, new), jnp.bool_) if mask is None else mask
    before = jnp.sum(cache["mask"], axis=1, dtype=jnp.int32)
    positions = jnp.maximum(before[:, None] + jnp.cumsum(real, axis=1, dtype=jnp.int32) - 1, 0)
    seen = jax.lax.dynamic_update_slice_in_dim(cache["mask"], real, cache["index"], axis=1)

    def run(layer: Layer, params: Params, state: State, x: jax.Array, part: Any) -> tuple[jax.Array, Any]:
        layer = layer.expanded
        if isinstance(layer, MultiHeadAttention):
            visible = cache["context_mask"] if layer.cross else seen
            return cached_attention(layer, params, x, part, index=cache["index"], positions=positions, mask=visible)
        if isinstance(layer, Recurrent):
            found, carry = layer.run(params, {"x": x, "mask": real}, part)
            return tokens(found), carry
        if isinstance(layer, LearnedPositions | SinusoidalPositions):
            return layer.at(params, x, positions), part
        if not isinstance(layer, _COMPOSITE):
            return layer.apply(params, state, x)[0], part
        after = list(part)

        def child(index: int, x: jax.Array) -> jax.Array:
            inner = layer.children()[index][1]
            y, after[index] = run(inner, params[index], state[index], x, part[index])
            return y

        if isinstance(layer, Tied):
            x = layer.scores(params, child(1, child(0, x)))
        elif isinstance(layer, Sublayer):
            x = x + child(1, child(0, x)) if layer.norm_first else child(0, x + child(1, x))
        else:
            for index in range(len(layer.children())):
                x = child(index, x)
        return x, tuple(after)

    y, layers = run(model, params, state, x, cache["layers"])
    return y, {**cache, "index": cache["index"] + new, "mask": seen, "layers": layers}
