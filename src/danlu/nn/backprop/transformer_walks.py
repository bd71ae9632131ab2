"""How the error signal goes through the Transformer's composite layers: what each child receives, and what is summed.

Each walk takes the layer, its params and input, and ``child(index, x)``, which runs a child forward and gives its output, its new
state and its backward function; it gives the same three for the whole. See :mod:`danlu.nn.backprop.tape`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp

from danlu.nn.attention.sequence import PerToken, replaced, tokens
from danlu.nn.backprop.forecast_walks import forecaster
from danlu.nn.forecast import Forecaster
from danlu.nn.layer import Layer
from danlu.nn.transformer.block import Sublayer
from danlu.nn.transformer.encoder_decoder import EncoderDecoder
from danlu.nn.transformer.tied import Tied

__all__ = ["WALKS"]

Backward = Callable[[Any, list[Any]], tuple[Any, Any]]
Child = Callable[[int, Any], tuple[Any, Any, Backward]]
Walk = Callable[[Any, Any, Any, Child], tuple[Any, Any, Backward]]


def _no_error(a: jax.Array) -> jax.Array | None:
    return jnp.zeros_like(a) if jnp.issubdtype(a.dtype, jnp.floating) else None


def _per_token(layer: PerToken, params: Any, x: Any, child: Child) -> tuple[Any, Any, Backward]:
    """The layer sees the tokens alone; what else is in the dict passes by, and so does its error."""
    y, state, back = child(0, tokens(x))

    def backward(dy: Any, records: list[Any]) -> tuple[Any, Any]:
        dx, own = back(dy if layer.head else tokens(dy), records)
        if not isinstance(x, Mapping):
            return dx, (own,)
        rest = {name: _no_error(a) for name, a in x.items()} if layer.head else dy
        return {**rest, "x": dx}, (own,)

    return y if layer.head else replaced(x, y), (state,), backward


def _sublayer(layer: Sublayer, params: Any, x: Any, child: Child) -> tuple[Any, Any, Backward]:
    """Norm first, ``y = x + f(norm(x))``: ``dy`` takes the shortcut as it is, and joins what comes back through ``f``.

    Norm last, ``y = norm(x + f(x))``: the norm's error does.
    """
    count = len(layer.children())
    done: list[Any] = [None] * count

    def run(index: int, x: Any) -> Any:
        done[index] = child(index, x)
        return done[index][0]

    given = tokens(x)
    added = tokens(run(1, replaced(x, run(0, given)) if layer.norm_first else x))
    added = run(2, added) if layer.dropout else added
    y = given + added if layer.norm_first else run(0, given + added)

    def backward(dy: Any, records: list[Any]) -> tuple[Any, Any]:
        gradients: list[Any] = [None] * count

        def back(index: int, error: Any) -> Any:
            passed, gradients[index] = done[index][2](error, records)
            return passed

        shortcut = tokens(dy) if layer.norm_first else back(0, tokens(dy))
        by_added = back(2, shortcut) if layer.dropout else shortcut
        passed = back(1, replaced(dy, by_added))
        through = back(0, tokens(passed)) if layer.norm_first else tokens(passed)
        return replaced(passed, shortcut + through), tuple(gradients)

    return replaced(x, y), tuple(part[1] for part in done), backward


def _tied(layer: Tied, params: Any, x: Any, child: Child) -> tuple[Any, Any, Backward]:
    """``z = h·Eᵀ``: ``∂L/∂h = dz·E``, and ``E`` has two gradients that add up: ``dzᵀ·h`` as a kernel, and the embedding's."""
    embedded, first, back_embedding = child(0, tokens(x))
    body, last, back_body = child(1, replaced(x, embedded))
    h = tokens(body)

    def backward(dz: Any, records: list[Any]) -> tuple[Any, Any]:
        table = params[0]["table"]
        flat = dz.reshape(-1, dz.shape[-1])  # (batch·time, vocabulary)
        dh = (flat @ table).reshape(h.shape)
        error = {**{name: _no_error(a) for name, a in body.items()}, "x": dh} if isinstance(body, Mapping) else dh
        passed, of_body = back_body(error, records)
        dx, of_embedding = back_embedding(tokens(passed), records)
        as_kernel = flat.T @ h.reshape(-1, h.shape[-1])  # (vocabulary, dim)
        bias = ({"bias": jnp.sum(flat, axis=0)},) if layer.use_bias else ()
        gradients = ({"table": of_embedding["table"] + as_kernel}, of_body, *bias)
        return replaced(passed, dx), gradients

    return layer.scores(params, h), (first, last), backward


def _encoder_decoder(layer: EncoderDecoder, params: Any, x: Any, child: Child) -> tuple[Any, Any, Backward]:
    """The decoder's error for its context is the encoder's error for its output."""
    encoded, first, back_encoder = child(0, layer.source(x))
    y, last, back_decoder = child(1, layer.target(x, encoded))

    def backward(dy: Any, records: list[Any]) -> tuple[Any, Any]:
        passed, of_decoder = back_decoder(dy, records)
        error = {"x": passed["context"], **({"mask": None} if "source_mask" in x else {})}
        by_source, of_encoder = back_encoder(error, records)
        errors = {**dict.fromkeys(x), "source": tokens(by_source), "target": tokens(passed)}
        return errors, (of_encoder, of_decoder)

    return y, (first, last), backward


WALKS: Mapping[type[Layer], Walk] = MappingProxyType(
    {
        EncoderDecoder: _encoder_decoder,
        Forecaster: forecaster,
        PerToken: _per_token,
        Sublayer: _sublayer,
        Tied: _tied,
    }
)
"""The walk of each composite layer."""
