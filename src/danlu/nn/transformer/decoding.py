"""The shared part of generation: checks the prompt, encodes the source once, creates the caches, and leaves tokens out."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from danlu.errors import DataError
from danlu.nn.attention.sequence import padding_mask, tokens
from danlu.nn.layer import Layer, Params, State
from danlu.nn.quantized.layer import Quantized
from danlu.nn.transformer.cache import Cache, init_cache
from danlu.nn.transformer.encoder_decoder import EncoderDecoder

__all__ = ["beginning", "opened", "permitted"]


def beginning(owner: str, model: Layer, prompt: Any) -> tuple[Layer, jax.Array, jax.Array, Any]:
    """The expanded model, the given tokens ``(batch, time)``, which of them are real, and what an encoder reads (or None).

    Raises:
        DataError: an empty prompt, or one of another shape.
    """
    network, source = model.expanded, None
    inner = network.layer.expanded if isinstance(network, Quantized) else network
    if isinstance(inner, EncoderDecoder):
        source = inner.source(prompt)
        prompt = {"x": prompt["target"], **({"mask": prompt["target_mask"]} if "target_mask" in prompt else {})}
    given, mask = jnp.asarray(tokens(prompt)), padding_mask(prompt)
    if given.ndim != 2 or given.shape[1] < 1:
        raise DataError(f"{owner} received a prompt of shape {given.shape}; expected (batch, time), at least one token")
    return network, given, jnp.ones(given.shape, jnp.bool_) if mask is None else mask, source


def opened(
    network: Layer, params: Params, state: State, source: Any, batch: int, length: int, *, copies: int = 1
) -> tuple[Layer, Params, State, Cache]:
    """The decoder for one token at a time, its variables, and an empty cache for ``batch · copies`` sequences.

    Args:
        source: what the encoder of an :class:`EncoderDecoder` reads, ``batch`` rows of it; it is read here, once.
        length: the most tokens that each sequence will have.
        copies: sequences of each row, side by side.
    """
    if isinstance(network, Quantized) and isinstance(network.layer.expanded, EncoderDecoder):
        params, state = network.merge(params, state)  # it is read in two parts, with real numbers
        network = network.layer.expanded
    if not isinstance(network, EncoderDecoder):
        return network, params, state, init_cache(network, params, batch * copies, length)
    context = tokens(network.encoder.apply(params[0], state[0], source)[0])
    context, seen = (None if a is None else jnp.repeat(a, copies, axis=0) for a in (context, source.get("mask")))
    cache = init_cache(network.decoder, params[1], batch * copies, length, context=context, context_mask=seen)
    return network.decoder, params[1], state[1], cache


def permitted(logits: jax.Array, forbidden: tuple[int, ...]) -> jax.Array:
    """``logits`` ``(..., vocabulary)`` with those of forbidden tokens at −∞.

    >>> permitted(jnp.array([1.0, 3.0, 2.0]), (1,)).tolist()
    [1.0, -inf, 2.0]
    """
    refused = np.isin(np.arange(logits.shape[-1]), forbidden)
    # (1, …, vocabulary), as many axes as the logits
    return jnp.where(refused.reshape((1,) * (logits.ndim - 1) + (-1,)), -jnp.inf, logits)
